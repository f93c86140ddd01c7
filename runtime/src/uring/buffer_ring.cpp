// The loop's shared receive memory.
#include "buffer_ring.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

#include "kernel_abi.hpp"

namespace ouro::uring {
namespace {

int register_with(ring& owner, void* entries, unsigned count, unsigned flags) noexcept {
    abi::buffer_ring_registration request{};
    request.ring_address = reinterpret_cast<std::uintptr_t>(entries);
    request.entry_count = count;
    request.group = buffer_ring::group;
    request.flags = static_cast<std::uint16_t>(flags);
    return owner.register_call(abi::register_buffer_ring, &request, 1);
}

// Without incremental buffers each receive takes a whole one: the same memory is cut into more and
// smaller ones.
constexpr std::size_t whole_buffer_bytes = 32 * 1024;

}  // namespace

mapping::mapping(std::size_t bytes) : bytes_(bytes) {
    void* memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::system_error(errno, std::system_category(),
                                "map the shared receive buffers (loop_options::ring_buffer_bytes "
                                "and ring_buffer_count say how large they are)");
    }
    ::madvise(memory, bytes, MADV_DONTFORK);  // a child must not write where our kernel side writes
    start_ = static_cast<std::byte*>(memory);
}

mapping::~mapping() {
    if (start_) ::munmap(start_, bytes_);
}

buffer_ring::buffer_ring(ring& owner, const loop_options& options)
    : owner_(owner), buffer_bytes_(options.ring_buffer_bytes), count_(options.ring_buffer_count) {
    int outcome = -EINVAL;
    if (owner.can().incremental_buffers) {
        outcome = set_up_entries(abi::buffer_ring_incremental);
        incremental_ = outcome == 0;
    }
    if (outcome == -EINVAL) {
        while (buffer_bytes_ > whole_buffer_bytes && count_ < max_count) {
            buffer_bytes_ /= 2;
            count_ *= 2;
        }
        outcome = set_up_entries(0);
    }
    owner.can().incremental_buffers = incremental_;
    if (outcome < 0) refuse(-outcome, "io_uring_register of the shared receive buffers");
    used_.resize(count_);
    accounts_ = detail::slice_accounts(count_, buffer_bytes_, options.lease_bytes);
    memory_map_ = std::make_shared<mapping>(buffer_bytes_ * count_);
    memory_ = memory_map_->start();
    for (unsigned i = 0; i < count_; ++i) offer(static_cast<std::uint16_t>(i));
    publish();
    detail::poison(memory_, buffer_bytes_ * count_);
}

int buffer_ring::set_up_entries(unsigned flags) {
    const std::size_t bytes = count_ * sizeof(io_uring_buf);
    mapping memory(bytes);
    const int outcome = register_with(owner_, memory.start(), count_, flags);
    if (outcome < 0) return outcome;
    entries_memory_ = std::move(memory);
    entries_ = reinterpret_cast<io_uring_buf_ring*>(entries_memory_.start());
    return outcome;
}

// The kernel's side goes with the ring.
buffer_ring::~buffer_ring() { detail::unpoison(memory_, buffer_bytes_ * count_); }

void buffer_ring::offer(std::uint16_t buffer) noexcept {
    io_uring_buf& entry = entries_->bufs[tail_ & (count_ - 1)];
    entry.addr = reinterpret_cast<std::uintptr_t>(start_of(buffer));
    entry.len = static_cast<std::uint32_t>(buffer_bytes_);
    entry.bid = buffer;
    ++tail_;
}

/// A kept slice is in use; which one of a buffer's slices that is, nobody counts.
void buffer_ring::poison_unless_kept(std::uint32_t lease, const std::byte* data,
                                     std::size_t length) const noexcept {
    if (!accounts_.kept(static_cast<std::uint16_t>(lease))) detail::poison(data, length);
}

/// The kernel will not write there any more.
void buffer_ring::filled(std::uint16_t buffer) noexcept {
    if (accounts_.filled(buffer)) recycle(buffer);
}

void buffer_ring::recycle(std::uint16_t buffer) noexcept {
    used_[buffer] = 0;
    detail::poison(start_of(buffer), buffer_bytes_);
    offer(buffer);
    publish();
}

void buffer_ring::publish() noexcept { __atomic_store_n(&entries_->tail, tail_, __ATOMIC_RELEASE); }

}  // namespace ouro::uring
