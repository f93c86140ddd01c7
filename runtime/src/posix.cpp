// The synchronous part of the door on the real operating system, and the choice of an engine.
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include <ouro/runtime/assert.hpp>

#include "engine.hpp"

namespace ouro::detail {
namespace {

template <class Outcome>
Outcome or_errno(Outcome outcome) noexcept {
    return outcome < 0 ? static_cast<Outcome>(-errno) : outcome;
}

sockaddr* raw(io::resolved& name) noexcept { return reinterpret_cast<sockaddr*>(&name.storage); }

}  // namespace

void engine::random(std::span<std::byte> into) noexcept {
    while (!into.empty()) {
        const ssize_t got = ::getrandom(into.data(), into.size(), 0);
        OURO_ASSERT(got > 0 || errno == EINTR, "getrandom(2) failed");
        if (got > 0) into = into.subspan(static_cast<std::size_t>(got));
    }
}
int engine::open_socket(int family, int type, int protocol) noexcept {
    return or_errno(::socket(family, type | SOCK_CLOEXEC, protocol));
}
int engine::open_pair(int family, int type, int (&fds)[2]) noexcept {
    return or_errno(::socketpair(family, type | SOCK_CLOEXEC, 0, fds));
}
int engine::bind(int fd, const sockaddr* where, socklen_t length) noexcept {
    return or_errno(::bind(fd, where, length));
}
int engine::listen(int fd, int backlog_count) noexcept {
    return or_errno(::listen(fd, backlog_count));
}
std::int64_t engine::try_send(int fd, std::span<const std::byte> from) noexcept {
    ssize_t sent = 0;
    do {
        sent = ::send(fd, from.data(), from.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return or_errno(sent);
}
int engine::shutdown(int fd, int how) noexcept { return or_errno(::shutdown(fd, how)); }
int engine::get_option(int fd, int level, int name, int& value) noexcept {
    socklen_t size = sizeof value;
    return or_errno(::getsockopt(fd, level, name, &value, &size));
}
int engine::set_option(int fd, int level, int name, std::span<const std::byte> value) noexcept {
    return or_errno(
        ::setsockopt(fd, level, name, value.data(), static_cast<socklen_t>(value.size())));
}
int engine::local_name(int fd, io::resolved& into) noexcept {
    into.length = sizeof into.storage;
    return or_errno(::getsockname(fd, raw(into), &into.length));
}
int engine::peer_name(int fd, io::resolved& into) noexcept {
    into.length = sizeof into.storage;
    return or_errno(::getpeername(fd, raw(into), &into.length));
}
void engine::close(int fd) noexcept { ::close(fd); }
std::int64_t engine::try_write(int fd, std::span<const std::byte> from) noexcept {
    const iovec piece{const_cast<std::byte*>(from.data()), from.size()};
    ssize_t taken = 0;
    do {
        taken = ::pwritev2(fd, &piece, 1, -1, RWF_NOWAIT);
    } while (taken < 0 && errno == EINTR);
    if (taken < 0 && errno == EOPNOTSUPP) return -EAGAIN;
    return or_errno(taken);
}
int engine::make_pipe(int (&fds)[2]) noexcept { return or_errno(::pipe2(fds, O_CLOEXEC)); }
int engine::duplicate(int fd) noexcept {
    constexpr int above_the_standard_ones = 3;
    return or_errno(::fcntl(fd, F_DUPFD_CLOEXEC, above_the_standard_ones));
}
namespace {

/// Whether the kernel tells that a pipe has nothing instead of waiting (FMODE_NOWAIT), which those
/// that were opened by a name cannot do. Nothing is read: there is nowhere to put it.
bool can_be_asked(int fd) noexcept {
    const iovec nowhere{nullptr, 1};
    return ::preadv2(fd, &nowhere, 1, -1, RWF_NOWAIT) >= 0 || errno != EOPNOTSUPP;
}

}  // namespace

int engine::kind_of(int fd, io::file_kind& into) noexcept {
    struct stat about{};
    if (::fstat(fd, &about) != 0) return -errno;
    using enum io::file_kind;
    into = S_ISREG(about.st_mode)    ? regular
           : S_ISFIFO(about.st_mode) ? (can_be_asked(fd) ? pipe : fifo)
           : S_ISSOCK(about.st_mode) ? socket
           : S_ISCHR(about.st_mode)  ? (::isatty(fd) ? terminal : device)
                                     : other;
    return 0;
}
void engine::ignore_broken_pipes() noexcept {
    struct sigaction now{};
    if (::sigaction(SIGPIPE, nullptr, &now) != 0 || now.sa_handler != SIG_DFL) return;
    now.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &now, nullptr);
}

std::unique_ptr<engine> make_engine(loop& home, const loop_options& options) {
    return options.rig ? options.rig->make_engine(home, options) : uring::make(options);
}

}  // namespace ouro::detail
