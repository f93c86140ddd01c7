// Waking a loop from another thread.
#include "bell.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "kernel_abi.hpp"
#include "ring.hpp"

namespace ouro::uring {
namespace {

// Whether this kernel takes a message from a thread without a ring (6.13), found out by trying.
std::atomic<bool> may_call{true};

}  // namespace

bell::bell(const uring::ring& home) {
    event_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_ < 0) refuse(errno, "eventfd");
    // Without a further descriptor the eventfd does.
    if (home.can().messages) ring_ = ::fcntl(home.descriptor(), F_DUPFD_CLOEXEC, 0);
}

bell::~bell() {
    if (ring_ >= 0) ::close(ring_);
    ::close(event_);
}

void bell::ring() noexcept {
    if (takes_messages() && may_call.load(std::memory_order_relaxed)) {
        io_uring_sqe entry;
        prepare(entry);
        if (::syscall(__NR_io_uring_register, -1, abi::register_send_message, &entry, 1) >= 0)
            return;
        // Not so when the ring is not enabled yet (EBADFD), or for want of memory.
        if (errno == EINVAL || errno == EPERM || errno == ENOSYS) may_call.store(false);
    }
    ring_by_event();
}

void bell::ring_by_event() noexcept {
    const std::uint64_t one = 1;
    // It fails only when the counter is at its limit, and then the loop is awake for long.
    [[maybe_unused]] const auto written = ::write(event_, &one, sizeof one);
}

void bell::prepare(io_uring_sqe& entry) const noexcept {
    io_uring_prep_msg_ring(&entry, ring_, 0, tag, 0);
}

bool bell::answer_event() noexcept {
    std::uint64_t count = 0;
    return ::read(event_, &count, sizeof count) == sizeof count;
}

}  // namespace ouro::uring
