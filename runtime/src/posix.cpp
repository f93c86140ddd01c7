// The synchronous part of the door on the real operating system, and the choice of an engine.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "engine.hpp"

namespace ouro::detail {
namespace {

template <class Outcome>
Outcome or_errno(Outcome outcome) noexcept {
    return outcome < 0 ? static_cast<Outcome>(-errno) : outcome;
}

sockaddr* raw(io::resolved& name) noexcept { return reinterpret_cast<sockaddr*>(&name.storage); }

}  // namespace

int engine::open_socket(int family, int type, int protocol) noexcept {
    return or_errno(::socket(family, type | SOCK_CLOEXEC, protocol));
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
int engine::set_option(int fd, int level, int name, int value) noexcept {
    return or_errno(::setsockopt(fd, level, name, &value, sizeof value));
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

std::unique_ptr<engine> make_engine(const loop_options& options) { return uring::make(options); }

}  // namespace ouro::detail
