// Processes on the real operating system: started beside our memory, known by a pidfd.
//
// No SIGCHLD is needed or handled: a pidfd tells of the end, also while that signal is ignored, and
// on any thread.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <vector>

#include "engine.hpp"
#include "process_signals.hpp"

// The name of clone(2) that sanitizers leave alone: they take any clone for a fork, and this one
// shares its memory.
extern "C" int __clone(int (*body)(void*), void* stack, int flags, void* argument, ...);  // NOLINT

namespace ouro::detail {
namespace {

// What glibc 2.36 and the headers of Linux 6.1 lack.
constexpr unsigned whole_group = 1U << 2;     // PIDFD_SIGNAL_PROCESS_GROUP, 6.9
constexpr unsigned keep_for_exec = 1U << 2;   // CLOSE_RANGE_CLOEXEC, 5.11
constexpr std::uint64_t exit_info = 1U << 3;  // PIDFD_INFO_EXIT, 6.15
struct pidfd_info {
    std::uint64_t mask;
    std::uint64_t cgroup;
    std::array<std::uint32_t, 11> ids;
    std::int32_t exit_code;
};
static_assert(sizeof(pidfd_info) == 64);
constexpr unsigned long get_info = _IOWR(0xFF, 11, pidfd_info);  // PIDFD_GET_INFO, 6.13

// The kernel's own struct sigaction, in which all zeros are the default action.
struct kernel_action {
    std::uintptr_t handler = 0;  // SIG_DFL, SIG_IGN or a function
    std::uintptr_t flags = 0;
    std::uintptr_t restorer = 0;
    std::uint64_t mask = 0;
};
constexpr std::uintptr_t ignored = 1;  // SIG_IGN

/// What the new process does before it becomes the program. It runs beside the parent's memory
/// while the parent stands still, so it makes system calls and nothing else.
struct beginning {
    const io::spawn_request& what;
    std::span<int> ours;  // where the descriptors are, while they are moved
    int failed = 0;       // errno
    spawn_failure failure{};
};

bool fails(beginning& of, spawn_step at, long outcome) noexcept {
    if (outcome >= 0) return false;
    of.failed = errno;
    of.failure.at = at;
    return true;
}

/// Handlers are of the parent's memory. The program gets the default in their place, as it would
/// from execve(2); what is ignored stays ignored, but for SIGPIPE, which a library had ignored.
void drop_handlers() noexcept {
    for (int number = 1; number <= last_signal; ++number) {
        kernel_action now;
        if (::syscall(SYS_rt_sigaction, number, nullptr, &now, sizeof now.mask) != 0) continue;
        if (now.handler == 0 || (now.handler == ignored && number != SIGPIPE)) continue;
        const kernel_action by_default;
        ::syscall(SYS_rt_sigaction, number, &by_default, nullptr, sizeof now.mask);
    }
}

bool place_descriptors(beginning& of) noexcept {
    const auto all = of.what.descriptors;
    const long above = all.empty() ? 0 : all.back().theirs + 1L;
    // First out of the way of each other.
    for (std::size_t i = 0; i < all.size(); ++i) {
        of.failure.descriptor = all[i].ours;
        of.ours[i] = all[i].ours;
        if (all[i].ours == all[i].theirs) continue;
        long moved = all[i].ours;
        if (all[i].ours == io::null_device) {
            moved = ::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
            if (fails(of, spawn_step::descriptor, moved)) return false;
        }
        const long kept = ::syscall(SYS_fcntl, moved, F_DUPFD_CLOEXEC, above);
        if (fails(of, spawn_step::descriptor, kept)) return false;
        of.ours[i] = static_cast<int>(kept);
    }
    long next = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const int target = all[i].theirs;
        of.failure.descriptor = all[i].ours;
        if (of.ours[i] == target) {
            const long kept = ::syscall(SYS_fcntl, target, F_SETFD, 0);
            const bool may_be_closed = target <= STDERR_FILENO && errno == EBADF;
            if (kept < 0 && !may_be_closed) return !fails(of, spawn_step::descriptor, kept);
        } else if (fails(of, spawn_step::descriptor, ::syscall(SYS_dup3, of.ours[i], target, 0))) {
            return false;
        }
        if (next < target) ::syscall(SYS_close_range, next, target - 1, keep_for_exec);
        next = target + 1L;
    }
    const long closed = ::syscall(SYS_close_range, next, UINT_MAX, keep_for_exec);
    return !fails(of, spawn_step::descriptor, closed);
}

void execute(beginning& of) noexcept {
    int refused = 0;
    for (const char* path : of.what.paths) {
        ::syscall(SYS_execve, path, of.what.arguments, of.what.environment);
        if (errno == EACCES) {
            refused = EACCES;
        } else if (errno != ENOENT && errno != ENOTDIR) {
            refused = errno;
            break;
        }
    }
    of.failed = refused ? refused : ENOENT;
    of.failure.at = spawn_step::execute;
}

int begin_child(void* argument) noexcept {
    auto& of = *static_cast<beginning*>(argument);
    const io::spawn_request& what = of.what;
    drop_handlers();
    if (what.new_session && fails(of, spawn_step::session, ::syscall(SYS_setsid))) return 127;
    if (what.new_group && !what.new_session &&
        fails(of, spawn_step::session, ::syscall(SYS_setpgid, 0, 0))) {
        return 127;
    }
    if (what.directory && fails(of, spawn_step::directory, ::syscall(SYS_chdir, what.directory))) {
        return 127;
    }
    if (!place_descriptors(of)) return 127;
    const std::uint64_t none = 0;
    ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof none);
    execute(of);
    return 127;
}

/// How a child ended whose parent ignores SIGCHLD: the kernel has let go of it, and newer ones
/// remember.
int remembered_end(int pidfd, int& status) noexcept {
    for (int attempts = 0; attempts < 100; ++attempts) {
        pidfd_info info{};
        info.mask = exit_info;
        if (::ioctl(pidfd, get_info, &info) != 0) return -ECHILD;
        if (info.mask & exit_info) {
            status = info.exit_code;
            return 0;
        }
        // It is on its way out: a hang-up tells that it is gone.
        pollfd gone{pidfd, 0, 0};
        ::poll(&gone, 1, 1);
    }
    return -ECHILD;
}

}  // namespace

int engine::spawn(const io::spawn_request& what, io::child& made, spawn_failure& failure) noexcept {
    std::vector<int> places;
    try {
        places.resize(what.descriptors.size());
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    beginning of{what, places};
    alignas(64) std::array<std::byte, 64UL * 1024> stack;  // the child's; the parent stands still
    int pidfd = -1;
    pid_t pid = 0;
    {
        const signals_blocked until_it_has_no_handlers;
        pid = __clone(&begin_child, stack.data() + stack.size(),
                      CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &of, &pidfd);
        if (pid < 0) return -errno;
    }
    if (of.failed) {
        siginfo_t ended{};
        while (::waitid(P_PIDFD, static_cast<id_t>(pidfd), &ended, WEXITED) != 0 &&
               errno == EINTR) {
        }
        ::close(pidfd);
        failure = of.failure;
        return -of.failed;
    }
    made = {pid, pidfd};
    return 0;
}

int engine::collect_child(const io::child& whom, int& code) noexcept {
    siginfo_t ended{};
    if (::waitid(P_PIDFD, static_cast<id_t>(whom.pidfd), &ended, WEXITED | WNOHANG) == 0) {
        if (ended.si_pid == 0) return -EAGAIN;
        code = ended.si_code == CLD_EXITED ? ended.si_status : -ended.si_status;
        return 0;
    }
    if (errno != ECHILD) return -errno;
    int status = 0;
    if (const int unknown = remembered_end(whom.pidfd, status); unknown < 0) return unknown;
    code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
    return 0;
}

int engine::signal_child(const io::child& whom, int signum, io::signal_reach reach) noexcept {
    const unsigned flags = reach == io::signal_reach::group ? whole_group : 0;
    if (::syscall(SYS_pidfd_send_signal, whom.pidfd, signum, nullptr, flags) == 0) return 0;
    // Before 6.9 there is no such flag. The group keeps its number as long as its leader was not
    // collected, and the caller has not done that.
    if (errno == EINVAL && flags && ::kill(-whom.pid, signum) == 0) return 0;
    return -errno;
}

}  // namespace ouro::detail
