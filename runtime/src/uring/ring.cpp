// Entering the kernel: everything submitted, deadlines kept, and no errno of io_uring_enter(2) that
// loses an entry.
#include "ring.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>

#include <ouro/runtime/assert.hpp>

#include "../mailbox.hpp"
#include "kernel_abi.hpp"

namespace ouro::uring {
namespace {

// A kernel that refuses again and again is given time, and the loop its turns.
constexpr unsigned most_refusals = 100;
constexpr unsigned nap_us = 1000;

// While a loop looks out: reading the clock costs as much as a few looks.
constexpr unsigned looks_for_each_clock = 8;

/// Tells the processor that this is a loop that waits: it needs less, and its sibling gets more.
void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

struct __kernel_timespec timespec_of(std::chrono::nanoseconds since) noexcept {
    return {.tv_sec = since.count() / 1'000'000'000, .tv_nsec = since.count() % 1'000'000'000};
}

}  // namespace

void ring::make_room() noexcept {
    for (;;) {
        known_head_ = __atomic_load_n(uring_.sq.khead, __ATOMIC_ACQUIRE);
        if (uring_.sq.sqe_tail - known_head_ < entry_count_) return;
        ++sq_full;
        enter(clock::time_point::min());
    }
}

bool ring::wants_enter() const noexcept {
    // Without the flag of the kernel we cannot know, so we ask.
    if (!features_.taskrun_flag) return true;
    return pending() != 0 || (flags() & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

detail::sight ring::look_out(const detail::mailbox& box,
                             const detail::sight::span& when) const noexcept {
    bool soon = true;
    for (unsigned looks = 1;; ++looks) {
        if (box.pending()) return {detail::sight::mail, soon};
        if (completions() || wants_enter()) return {detail::sight::completion, soon};
        if (looks % looks_for_each_clock == 0) {
            const auto now = clock::now();
            if (now >= when.end) return {};
            soon = now < when.soon;
        }
        pause();
    }
}

void ring::enter(clock::time_point deadline) noexcept {
    if (!enabled_) {
        const int refused = enable();
        OURO_ASSERT(refused == 0, "the ring could not be enabled");
    }
    if (overflowed()) ++overflows;
    __atomic_store_n(uring_.sq.ktail, uring_.sq.sqe_tail, __ATOMIC_RELEASE);
    for (;;) {
        const int outcome = enter_once(deadline);
        ++enters;
        if (outcome >= 0) {
            submitted += static_cast<unsigned>(outcome);
            submitted_tail_ += static_cast<unsigned>(outcome);
            refusals_ = 0;
            if (pending() == 0) return;
            continue;  // the kernel stopped early; what is left goes now, before anything else
        }
        switch (-outcome) {
        case ETIME:
            return;  // the deadline: everything had been submitted
        case EINTR:  // a signal came, and entries may not have been taken
            ++retries;
            submitted_tail_ = __atomic_load_n(uring_.sq.khead, __ATOMIC_ACQUIRE);
            if (pending() == 0 || ++refusals_ > most_refusals) return;
            continue;
        case EAGAIN:  // no memory for requests,
        case ENOMEM:  // or for the kernel's record of this thread,
        case EBUSY:   // or the completion queue is full: make room first
            ++retries;
            submitted_tail_ = __atomic_load_n(uring_.sq.khead, __ATOMIC_ACQUIRE);
            if (++refusals_ > most_refusals) ::usleep(nap_us);
            return;  // the loop reaps and comes back: what is pending keeps it from sleeping
        case EEXIST:
            OURO_ASSERT(false, "a loop was used by a thread other than the one that ran it first");
            return;
        default:
            OURO_ASSERT(false, "io_uring_enter failed in a way that no retry can mend");
        }
    }
}

int ring::enter_once(clock::time_point deadline) noexcept {
    const bool waits = deadline != clock::time_point::min() && !completions();
    struct __kernel_timespec limit{};
    io_uring_getevents_arg argument{};
    argument.sigmask_sz = _NSIG / 8;
    if (waits && deadline != clock::time_point::max()) {
        limit = timespec_of(features_.absolute_timer ? deadline.time_since_epoch()
                                                     : deadline - clock::now());
        if (limit.tv_sec < 0 || limit.tv_nsec < 0) limit = {};
        argument.ts = reinterpret_cast<std::uintptr_t>(&limit);
    }
    // Always with GETEVENTS: under DEFER_TASKRUN a plain submit leaves finished operations unseen.
    const unsigned flags = enter_flags_ | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    const long outcome = ::syscall(__NR_io_uring_enter, enter_fd_, pending(), waits ? 1U : 0U,
                                   flags, &argument, sizeof argument);
    return outcome < 0 ? -errno : static_cast<int>(outcome);
}

}  // namespace ouro::uring
