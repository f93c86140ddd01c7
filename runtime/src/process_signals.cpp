// Signals on the real operating system: blocked in the thread of the loop that has them, read
// through signalfd(2), and sent on to that thread when they reach another one.
#include "process_signals.hpp"

#include <pthread.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "engine.hpp"

namespace ouro::detail {
namespace {

/// How things were before a signal was caught.
struct untouched_signal {
    struct sigaction action;
    bool blocked;
};

// One loop of the process has the signals. Its thread alone changes this; the forwarder reads it,
// on any thread, and a forked child.
struct {
    std::atomic<const engine*> owner{nullptr};
    std::atomic<pid_t> thread_id{0};
    pthread_t thread{};
    std::atomic<std::uint64_t> mask{0};
    std::array<untouched_signal, last_signal + 1> before{};
} caught;

pid_t this_thread() noexcept { return static_cast<pid_t>(::syscall(SYS_gettid)); }

sigset_t only(int number) noexcept {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, number);
    return set;
}

/// A signal came to a thread that does not block it: one that was there before the signal was
/// caught. It is sent on to the thread of the loop. If that thread blocks it no longer, it does so
/// again when this returns. If it is gone, the signal does what it did before.
void forward(int number, siginfo_t*, void* context) noexcept {
    const int saved = errno;
    const pid_t to = caught.thread_id.load(std::memory_order_relaxed);
    if (to == this_thread()) ::sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, number);
    if (::syscall(SYS_tgkill, ::getpid(), to, number) != 0) {
        ::sigaction(number, &caught.before[static_cast<std::size_t>(number)].action, nullptr);
        ::syscall(SYS_tgkill, ::getpid(), this_thread(), number);
    }
    errno = saved;
}

int catch_signal(int number) noexcept {
    untouched_signal& before = caught.before[static_cast<std::size_t>(number)];
    if (::sigaction(number, nullptr, &before.action) != 0) return -errno;
    const sigset_t set = only(number);
    sigset_t blocked;
    ::pthread_sigmask(SIG_BLOCK, &set, &blocked);
    before.blocked = ::sigismember(&blocked, number) == 1;
    caught.mask |= signal_bit(number);
    struct sigaction forwarding{};
    forwarding.sa_sigaction = &forward;
    forwarding.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;  // SA_RESTART: rule 696
    ::sigfillset(&forwarding.sa_mask);
    if (::sigaction(number, &forwarding, nullptr) == 0) return 0;
    const int failed = -errno;
    caught.mask &= ~signal_bit(number);
    if (!before.blocked) ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    return failed;
}

/// An action that somebody else has set meanwhile stays.
void release_signal(int number) noexcept {
    const untouched_signal& before = caught.before[static_cast<std::size_t>(number)];
    struct sigaction now{};
    ::sigaction(number, nullptr, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == &forward) {
        ::sigaction(number, &before.action, nullptr);
    }
    caught.mask &= ~signal_bit(number);
    const sigset_t set = only(number);
    if (!before.blocked && ::pthread_equal(caught.thread, ::pthread_self())) {
        ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    }
}

void release_signals(std::uint64_t mask) noexcept {
    for (int number = 1; number <= last_signal; ++number) {
        if (mask & signal_bit(number)) release_signal(number);
    }
}

/// A forked child gets actions and mask back: the signals of the parent's loop are none of its own
/// (rule 27).
void give_back_in_child() noexcept {
    release_signals(caught.mask);
    caught.owner = nullptr;
}

int catch_signals(std::uint64_t mask) noexcept {
    for (int number = 1; number <= last_signal; ++number) {
        if (!(mask & signal_bit(number))) continue;
        if (const int failed = catch_signal(number); failed < 0) {
            release_signals(mask & (signal_bit(number) - 1));
            return failed;
        }
    }
    return 0;
}

int make_descriptor(int fd, std::uint64_t mask) noexcept {
    sigset_t set;
    ::sigemptyset(&set);
    for (int number = 1; number <= last_signal; ++number) {
        if (mask & signal_bit(number)) ::sigaddset(&set, number);
    }
    const int made = ::signalfd(fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return made < 0 ? -errno : made;
}

}  // namespace

signals_blocked::signals_blocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
}
signals_blocked::~signals_blocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

int engine::watch_signals(int fd, std::uint64_t mask) noexcept {
    static const int registered = ::pthread_atfork(nullptr, nullptr, &give_back_in_child);
    (void)registered;
    const engine* owner = nullptr;
    if (caught.owner.compare_exchange_strong(owner, this)) {
        caught.thread_id = this_thread();
        caught.thread = ::pthread_self();
    } else if (owner != this) {
        return mask ? -EBUSY : fd;
    }
    const std::uint64_t before = caught.mask;
    int made = fd;
    if (mask) made = make_descriptor(fd, before | mask);
    const int failed = made < 0 && mask ? made : catch_signals(mask & ~before);
    if (failed < 0) {
        if (made >= 0 && fd < 0) ::close(made);
        if (made >= 0 && fd >= 0) make_descriptor(fd, before);
        if (!before) caught.owner = nullptr;
        return failed;
    }
    release_signals(before & ~mask);
    if (mask && before & ~mask) make_descriptor(made, mask);
    if (!mask) caught.owner = nullptr;
    return made;
}

int engine::take_signal(int fd) noexcept {
    signalfd_siginfo came;
    const ssize_t count = ::read(fd, &came, sizeof came);
    if (count < 0) return -errno;
    return static_cast<int>(came.ssi_signo);
}

bool engine::signal_is_untouched(int signum) noexcept {
    struct sigaction now{};
    if (::getpid() != this_thread() || ::sigaction(signum, nullptr, &now) != 0) return false;
    return !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

}  // namespace ouro::detail
