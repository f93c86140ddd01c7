// Raw sockets.
#include <ouro/net/socket.hpp>

#include <algorithm>

#include "resolve_for.hpp"
#include "socket_hold.hpp"

namespace ouro {
namespace detail {
const wait_kind recv_kind{"recv", &recv_op::cancel_op, nullptr, &recv_op::describe};
const wait_kind send_kind{"send", &send_op::cancel_op, nullptr, &send_op::describe};
const wait_kind accept_kind{"accept", &accept_op::cancel_op, nullptr, &accept_op::describe};
const wait_kind connect_kind{"connect", &connect_op::cancel_op, nullptr, &connect_op::describe};

const wait_kind recv_from_kind{"recv", &recv_from_op::cancel_op, nullptr, &recv_from_op::describe};
const wait_kind send_to_kind{"send", &send_to_op::cancel_op, nullptr, &send_to_op::describe};

std::string describe_socket(int fd, const address& peer) {
    const bool named = peer && (peer.family() != AF_UNIX || !peer.path().empty());
    return "fd " + std::to_string(fd) + (named ? ", peer " + peer.to_string() : "");
}

std::string connect_op::describe(const wait_point& wait) {
    const auto& self = static_cast<const connect_op&>(wait);
    return describe_socket(self.use_.target->fd, self.peer_);
}

message_of_one::message_of_one(bytes data, const address& with) noexcept
    : piece{const_cast<std::byte*>(data.data()), data.size()}, peer(with) {
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    if (!peer) return;
    header.msg_name = const_cast<sockaddr*>(peer.raw());
    header.msg_namelen = peer.length();
}

recv_from_op::recv_from_op(socket_state& of, mut_bytes into) noexcept
    : socket_awaitable(of, recv_from_kind), message_(into, {}) {
    message_.header.msg_name = const_cast<sockaddr*>(message_.peer.raw());
    message_.header.msg_namelen = sizeof(sockaddr_storage);
}

void recv_from_op::submit(loop& home, op& request) noexcept {
    io::recv_message(home, request, begin(request), message_.header, MSG_TRUNC);
}

datagram recv_from_op::value() const noexcept {
    const auto whole = static_cast<std::size_t>(res());
    const msghdr& header = message_.header;
    return {std::min(whole, message_.piece.iov_len), whole,
            address(static_cast<const sockaddr*>(header.msg_name), header.msg_namelen)};
}

std::string send_to_op::describe(const wait_point& wait) {
    const auto& self = static_cast<const send_to_op&>(wait);
    return describe_socket(self.use_.target->fd, self.message_.peer);
}

std::string accept_op::describe(const wait_point& wait) {
    const socket_state& of = *static_cast<const accept_op&>(wait).use_.target;
    const std::string text = "fd " + std::to_string(of.fd);
    const auto own = to_address(io::local_name(*of.home, of.fd));
    return own ? text + ", listening on " + own->to_string() : text;
}

void socket_state::cancel_uses() noexcept {
    for (use* each = uses.front(); each; each = uses.after(*each)) {
        io::cancel(*home, *each->under_way);
    }
}

void socket_state::drop() noexcept {
    if (--references) return;
    if (fd >= 0) io::close(*home, fd);
    delete this;
}

owned_descriptor::owned_descriptor(loop& home, int fd) {
    io::adopt(home, fd);
    try {
        state_ = new socket_state{.home = &home, .fd = fd};
    } catch (...) {
        io::close(home, fd);
        throw;
    }
}

void owned_descriptor::close() noexcept {
    if (socket_state* state = std::exchange(state_, nullptr)) {
        state->closed = true;
        state->cancel_uses();
        state->drop();
    }
}

int owned_descriptor::release() noexcept {
    OURO_ASSERT(live().uses.empty(), "released with an operation under way");
    io::disown(home(), state_->fd);
    const int fd = std::exchange(state_->fd, -1);
    close();
    return fd;
}

accept_op::~accept_op() {
    if (!claimed_ && res() > 0)
        io::discard(home(), res());  // accepted, and the frame that waited is gone
}

socket accept_op::value() {
    claimed_ = true;  // from here on `adopt` sees to it
    return socket::adopt(home(), res());
}

}  // namespace detail

result<socket> socket::open(loop& home, int family, int type, int protocol) {
    socket made(home);
    auto fd = io::socket(home, family, type, protocol);
    if (!fd) return fd.error();
    made.state_->fd = *fd;
    return made;
}

socket socket::adopt(loop& home, int fd) { return {home, fd}; }

result<std::pair<socket, socket>> socket::pair(loop& home, int type) {
    socket one(home);
    socket other(home);
    int fds[2];
    if (auto made = io::socket_pair(home, AF_UNIX, type, fds); !made) return made.error();
    one.state_->fd = fds[0];
    other.state_->fd = fds[1];
    return std::pair(std::move(one), std::move(other));
}

task<std::vector<std::byte>> socket::recv(std::size_t most) {
    std::vector<std::byte> data(most);
    data.resize(co_await recv_into(data));
    co_return data;
}

task<std::pair<std::vector<std::byte>, address>> socket::recv_from(std::size_t most) {
    std::vector<std::byte> data(most);
    datagram got = co_await recv_from(mut_bytes(data));
    data.resize(got.count);
    co_return std::pair(std::move(data), std::move(got.from));
}

namespace {

using detail::socket_hold;

/// Holds the state, because the socket may be closed or gone by the time a part has been sent.
task<> send_rest(socket_hold on, bytes from) {
    while (!from.empty()) {
        if (on->closed) co_await result<>(error::cancelled(cancel_cause::none, "send"));
        from = from.subspan(co_await detail::send_op(*on, from));
    }
}

task<> connect_by_name(socket_hold on, std::string host, std::uint16_t port) {
    if (!on->closed) {
        const address peer = co_await detail::resolve_for(*on, std::move(host), port);
        if (!on->closed) co_return co_await detail::connect_op(*on, peer);
    }
    co_await result<>(error::cancelled(cancel_cause::none, "connect"));
}

}  // namespace

task<> socket::connect(std::string host, std::uint16_t port) {
    return connect_by_name(detail::socket_access::hold(*this), std::move(host), port);
}

task<> socket::send_all(bytes from) { return send_rest(detail::socket_access::hold(*this), from); }

result<> socket::bind(const address& where) {
    auto bound = io::bind(home(), fd(), where.raw(), where.length());
    if (!bound) bound.error().while_doing("bind " + where.to_string());
    return bound;
}

result<> socket::listen(int backlog_count) { return io::listen(home(), fd(), backlog_count); }
result<> socket::shutdown_write() { return io::shutdown(home(), fd(), SHUT_WR); }
result<> socket::set_option(int level, int name, int value) {
    return io::set_option(home(), fd(), level, name, value);
}
result<> socket::set_option(int level, int name, bytes value) {
    return io::set_option(home(), fd(), level, name, value);
}
result<int> socket::get_option(int level, int name) const {
    return io::get_option(home(), fd(), level, name);
}

namespace detail {
result<address> to_address(result<io::resolved> name) {
    if (!name) return name.error();
    return address(reinterpret_cast<const sockaddr*>(&name->storage), name->length);
}

bool was_reset(loop& home, int fd) {
    if (io::peer_name(home, fd)) return false;
    const auto left = io::get_option(home, fd, SOL_SOCKET, SO_ERROR);
    return !left || *left != EPIPE;
}
}  // namespace detail

result<address> socket::local_address() const {
    return detail::to_address(io::local_name(home(), fd()));
}
result<address> socket::peer_address() const {
    return detail::to_address(io::peer_name(home(), fd()));
}

result<peer_credentials> socket::credentials() const { return io::peer_credentials(home(), fd()); }

}  // namespace ouro
