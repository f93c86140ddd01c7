// The io_uring ring under raw_uring.cpp: set up with every flag that measured well, entered inline.
#pragma once

#include <liburing.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <vector>

namespace raw {

// Kernel constants newer than the liburing of Debian 12.
inline constexpr std::uint16_t buffer_ring_inc = 2;      // 6.12
inline constexpr unsigned cqe_buffer_more = 1U << 4;     // 6.12
inline constexpr unsigned enter_no_iowait = 1U << 7;     // 6.15
inline constexpr unsigned feature_no_iowait = 1U << 17;  // 6.15

[[noreturn]] inline void fail(int result, const char* what) {
    throw std::system_error(-result, std::generic_category(), what);
}

class ring {
  public:
    ring() {
        io_uring_params params{};
        params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                       IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP |
                       IORING_SETUP_CQSIZE;
        params.cq_entries = 8192;
        if (const int result = io_uring_queue_init_params(512, &ring_, &params); result < 0)
            fail(result, "io_uring_setup");
        // Entries are used in order for ever, so the kernel's indirection is filled once.
        for (unsigned i = 0; i != ring_.sq.ring_entries; ++i) ring_.sq.array[i] = i;
        // Saves a file lookup per enter. liburing then passes the registered index by itself.
        if (io_uring_register_ring_fd(&ring_) == 1) enter_flags_ |= IORING_ENTER_REGISTERED_RING;
        if ((ring_.features & feature_no_iowait) != 0) enter_flags_ |= enter_no_iowait;
    }
    ~ring() { io_uring_queue_exit(&ring_); }
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    io_uring* get() noexcept { return &ring_; }

    io_uring_sqe* next_sqe() {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
        while (sqe == nullptr) {
            enter(0);
            sqe = io_uring_get_sqe(&ring_);
        }
        return sqe;
    }

    /// Submits everything and waits for `wait_count` completions. GETEVENTS always: with
    /// DEFER_TASKRUN a plain submit leaves finished receives unseen. Returns true if the kernel
    /// took all entries and every completion they caused at once is in the queue.
    bool enter(unsigned wait_count) {
        const unsigned pending = ring_.sq.sqe_tail - submitted_;
        __atomic_store_n(ring_.sq.ktail, ring_.sq.sqe_tail, __ATOMIC_RELEASE);
        const int taken = io_uring_enter2(static_cast<unsigned>(ring_.enter_ring_fd), pending,
                                          wait_count, enter_flags_, nullptr, _NSIG / 8);
        if (taken >= 0) {
            submitted_ += static_cast<unsigned>(taken);
        } else if (taken != -EINTR && taken != -EBUSY && taken != -EAGAIN) {
            fail(taken, "io_uring_enter");
        }
        const unsigned state = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
        return submitted_ == ring_.sq.sqe_tail && (state & IORING_SQ_CQ_OVERFLOW) == 0;
    }

    /// Calls `on_completion(cqe)` for what is in the queue now, not for what arrives meanwhile.
    /// Returns how many there were.
    template <typename OnCompletion>
    unsigned drain(OnCompletion on_completion) {
        const unsigned mask = *ring_.cq.kring_mask;
        const unsigned tail = __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE);
        const unsigned first = *ring_.cq.khead;
        unsigned head = first;
        for (; head != tail; ++head) on_completion(ring_.cq.cqes[head & mask]);
        __atomic_store_n(ring_.cq.khead, head, __ATOMIC_RELEASE);
        return head - first;
    }

  private:
    io_uring ring_{};
    unsigned submitted_ = 0;  // how far the kernel has taken the submission queue
    unsigned enter_flags_ = IORING_ENTER_GETEVENTS;
};

/// The receive buffers the kernel picks from. Incremental mode hands out one buffer piece by piece,
/// so a buffer goes back only when the kernel is done with it and no piece is still being sent.
class buffer_pool {
  public:
    enum class mode : std::uint16_t { whole = 0, incremental = buffer_ring_inc };

    buffer_pool(ring& ring, unsigned buffer_count, std::size_t buffer_bytes, mode mode)
        : mask_(buffer_count - 1),
          bytes_(buffer_bytes),
          incremental_(mode == mode::incremental),
          states_(buffer_count) {
        memory_ = static_cast<char*>(map(buffer_count * buffer_bytes));
        madvise(memory_, buffer_count * buffer_bytes, MADV_HUGEPAGE);
        entries_ = static_cast<io_uring_buf_ring*>(map(buffer_count * sizeof(io_uring_buf)));
        io_uring_buf_reg request{};
        request.ring_addr = reinterpret_cast<std::uintptr_t>(entries_);
        request.ring_entries = buffer_count;
        request.bgid = group;
        request.pad = static_cast<std::uint16_t>(mode);  // newer headers call this field `flags`
        if (const int result = io_uring_register_buf_ring(ring.get(), &request, 0); result < 0)
            fail(result, "register buffer ring");
        for (unsigned id = 0; id != buffer_count; ++id) give(static_cast<std::uint16_t>(id));
    }

    static constexpr int group = 1;

    /// The memory a completion filled. The caller owes one release() for it.
    char* take(std::uint16_t id, std::uint32_t bytes, unsigned cqe_flags) noexcept {
        if (!incremental_) return memory_ + id * bytes_;
        state& buffer = states_[id];
        char* const data = memory_ + id * bytes_ + buffer.offset;
        buffer.offset += bytes;
        ++buffer.users;
        buffer.kernel_done = (cqe_flags & cqe_buffer_more) == 0;
        return data;
    }

    void release(std::uint16_t id) noexcept {
        if (incremental_) {
            state& buffer = states_[id];
            if (--buffer.users != 0 || !buffer.kernel_done) return;
            buffer = state{};
        }
        give(id);
    }

    /// Makes released buffers visible to the kernel: one store per batch.
    void publish() noexcept { __atomic_store_n(&entries_->tail, tail_, __ATOMIC_RELEASE); }

  private:
    struct state {
        std::uint32_t offset = 0;
        std::uint32_t users = 0;
        bool kernel_done = false;
    };

    static void* map(std::size_t bytes) {
        void* memory =
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) fail(-errno, "mmap");
        return memory;
    }

    void give(std::uint16_t id) noexcept {
        io_uring_buf& entry = entries_->bufs[tail_ & mask_];
        // `resv` of entry 0 is the ring's tail, so the fields are set one by one.
        entry.addr = reinterpret_cast<std::uintptr_t>(memory_ + id * bytes_);
        entry.len = static_cast<std::uint32_t>(bytes_);
        entry.bid = id;
        ++tail_;
    }

    std::uint16_t tail_ = 0;
    unsigned mask_;
    std::size_t bytes_;
    bool incremental_;
    char* memory_ = nullptr;
    io_uring_buf_ring* entries_ = nullptr;
    std::vector<state> states_;
};

}  // namespace raw
