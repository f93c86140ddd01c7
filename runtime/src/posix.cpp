// The synchronous part of the door on the real operating system, and the choice of an engine.
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

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
int engine::try_send_messages(int fd, std::span<mmsghdr> messages) noexcept {
    int sent = 0;
    do {
        sent = ::sendmmsg(fd, messages.data(), static_cast<unsigned>(messages.size()),
                          MSG_DONTWAIT | MSG_NOSIGNAL);
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

std::unique_ptr<engine> make_engine(loop& home, const loop_options& options) {
    return options.rig ? options.rig->make_engine(home, options) : uring::make(options);
}

}  // namespace ouro::detail
