// One io_uring: submission entries in, one system call, completions out.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <string>
#include <thread>

#include <ouro/runtime/loop.hpp>

#include "../engine.hpp"

namespace ouro::uring {

/// What this kernel can do for us, found out once. Tested with plain `if`.
struct features {
    bool defer_taskrun = false;        // 6.1: completions are produced when we ask, on our thread
    bool single_issuer = false;        // 6.0
    bool taskrun_flag = false;         // 5.19: the kernel says when there is work to ask for
    bool registered_fd = false;        // 5.18: cheaper enter
    bool absolute_timer = false;       // 6.12
    bool no_iowait = false;            // 6.15
    bool incremental_buffers = false;  // 6.12
    bool fast_send = false;            // 5.17
    bool messages = false;             // 6.12: to rings whose task work is deferred as well
    bool multishot_read = false;       // 6.7: taken as given until a kernel refuses it
};

/// Throws `std::system_error` for a `call` of io_uring's that failed, with the likely cause and the
/// remedy.
[[noreturn]] void refuse(int failure, const char* call);

/// Owns the ring of one loop. Used by the thread that first enters it.
class ring {
  public:
    /// Throws `std::system_error` with cause and remedy.
    explicit ring(const loop_options& options);
    ~ring();
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;

    /// An entry to fill, all of it (the `io_uring_prep_*` do); then call `filled`. Never null.
    io_uring_sqe* get_sqe() noexcept {
        return &uring_.sq.sqes[uring_.sq.sqe_tail++ & (entry_count_ - 1)];
    }
    /// The entry is complete but for its name. A full queue is handed to the kernel, so that there
    /// is always an entry to get.
    void filled(io_uring_sqe& entry, std::uint64_t name) noexcept {
        entry.user_data = name;
        if (uring_.sq.sqe_tail - known_head_ >= entry_count_) [[unlikely]]
            make_room();
    }
    /// Entries filled and not taken by the kernel yet.
    unsigned pending() const noexcept { return uring_.sq.sqe_tail - submitted_tail_; }
    /// True when there is a reason to enter the kernel although nothing is to be waited for.
    bool wants_enter() const noexcept;
    /// Submits everything and, unless `deadline` is `time_point::min()`, waits for a completion
    /// until then.
    void enter(clock::time_point deadline) noexcept;
    /// True while completions wait in the kernel for room in the queue.
    bool overflowed() const noexcept { return (flags() & IORING_SQ_CQ_OVERFLOW) != 0; }
    /// Completions that wait to be reaped.
    unsigned completions() const noexcept {
        return __atomic_load_n(uring_.cq.ktail, __ATOMIC_ACQUIRE) - *uring_.cq.khead;
    }
    /// Calls `each(const io_uring_cqe&)` for the next `count` completions, of those there are.
    template <class Each>
    void reap(unsigned count, Each&& each) noexcept {
        const unsigned mask = *uring_.cq.kring_mask;
        unsigned head = *uring_.cq.khead;
        for (const unsigned end = head + count; head != end; ++head) {
            each(uring_.cq.cqes[head & mask]);
        }
        if (count) __atomic_store_n(uring_.cq.khead, head, __ATOMIC_RELEASE);
    }
    /// Looks until something is in `box`, there is a reason to enter or a completion, or the time
    /// is over.
    detail::sight look_out(const detail::mailbox& box,
                           const detail::sight::span& when) const noexcept;
    /// Makes the calling thread the one that enters the ring; the others cannot. Once. 0 or -errno.
    int enable() noexcept;
    int register_call(unsigned opcode, const void* argument, unsigned count) noexcept;

    int descriptor() const noexcept { return uring_.ring_fd; }
    const features& can() const noexcept { return features_; }
    features& can() noexcept { return features_; }
    std::string report() const;
    bool foreign_process() const noexcept;
    /// True where a single issuer's ring cannot be entered: on any thread but the first that
    /// entered it.
    bool foreign_thread() const noexcept {
        return enabled_ && features_.single_issuer && issuer_ != std::this_thread::get_id();
    }

    std::uint64_t enters = 0;
    std::uint64_t submitted = 0;
    std::uint64_t retries = 0;
    std::uint64_t sq_full = 0;
    std::uint64_t overflows = 0;

  private:
    void make_room() noexcept;
    unsigned flags() const noexcept { return __atomic_load_n(uring_.sq.kflags, __ATOMIC_RELAXED); }
    int enter_once(clock::time_point deadline) noexcept;

    io_uring uring_{};
    features features_;
    unsigned setup_flags_ = 0;
    unsigned entry_count_ = 0;
    unsigned known_head_ = 0;      // the kernel has read the entries below it, at least
    unsigned submitted_tail_ = 0;  // entries below it were taken by the kernel
    bool enabled_ = false;
    unsigned refusals_ = 0;  // of the kernel, in a row
    std::thread::id issuer_;
    int owner_pid_ = 0;
    int enter_fd_ = -1;
    unsigned enter_flags_ = 0;
};

}  // namespace ouro::uring
