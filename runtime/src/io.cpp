// The door: counts what goes through it and hands it to the engine of the loop.
#include <ouro/runtime/io.hpp>

#include <sys/stat.h>

#include <cerrno>

#include "loop_state.hpp"
#include "resolve.hpp"

namespace ouro {
namespace detail {

void cancel_op_of(loop& home, op& target) noexcept { io::cancel(home, target); }

namespace {

/// Marks `request` as started. Null when the loop is closing and the op ends cancelled at once.
engine* begin(loop& home, op& request) noexcept {
    OURO_ASSERT(!request.in_flight, "an operation was started while it was in flight");
    loop_state& state = home.state();
    request.in_flight = true;
    ++request.generation;
    request.engine_state = 0;
    ++state.live_ops;
    if (!state.refusing) return state.kernel.get();
    state.complete_later(request, -ECANCELED);
    return nullptr;
}

void came_back(ready_node& node) noexcept {
    auto& request = static_cast<remote_op&>(node);
    request.engine_state = completion_queued;
    request.home->state().deliver({&request, nullptr, 0, 0, 0, request.generation});
}

}  // namespace

bool start_remote(loop& home, remote_op& request) noexcept {
    request.home = &home;
    return begin(home, request) != nullptr;
}

void hand_over(remote_op& request, void (*ask)(remote_op&) noexcept) noexcept {
    request.way_back = request.home->state().box;
    request.ask = ask;
    request.engine_state = elsewhere;
    request.ready_node::run = &came_back;
}

void end_remote(remote_op& request) noexcept {
    mailbox& to = *request.way_back;
    if (to.is_here()) return make_ready(*request.home, request);
    to.leave(request, request.way_back);
}

}  // namespace detail

namespace io {
namespace {

using detail::begin;
using detail::loop_state;

detail::engine& kernel(loop& home) noexcept { return *home.state().kernel; }

result<> checked(int outcome) {
    if (outcome < 0) return error::from_errno(-outcome);
    return {};
}

}  // namespace

void recv(loop& home, op& request, int fd, std::span<std::byte> into) noexcept {
    if (auto* engine = begin(home, request)) engine->recv(request, fd, into);
}
void recv_ring(loop& home, op& request, int fd) noexcept {
    if (auto* engine = begin(home, request)) engine->recv_ring(request, fd);
}
void send(loop& home, op& request, int fd, std::span<const std::byte> from,
          send_mode mode) noexcept {
    if (auto* engine = begin(home, request)) engine->send(request, fd, from, mode);
}
void send_pieces(loop& home, op& request, int fd, std::span<const iovec> pieces) noexcept {
    if (auto* engine = begin(home, request)) engine->send_pieces(request, fd, pieces);
}
void accept(loop& home, op& request, int fd) noexcept {
    if (auto* engine = begin(home, request)) engine->accept(request, fd);
}
void accept_many(loop& home, op& request, int fd) noexcept {
    if (auto* engine = begin(home, request)) engine->accept_many(request, fd);
}
void connect(loop& home, op& request, int fd, const sockaddr* peer, socklen_t length) noexcept {
    if (auto* engine = begin(home, request)) engine->connect(request, fd, peer, length);
}
void read(loop& home, op& request, int fd, std::span<std::byte> into, file_kind kind) noexcept {
    if (auto* engine = begin(home, request)) engine->read(request, fd, into, kind);
}
void poll(loop& home, op& request, int fd, std::uint32_t events) noexcept {
    if (auto* engine = begin(home, request)) engine->poll_fd(request, fd, events);
}
void send_message(loop& home, op& request, int fd, const msghdr& message) noexcept {
    if (auto* engine = begin(home, request)) engine->send_message(request, fd, message);
}
void recv_message(loop& home, op& request, int fd, msghdr& into, int flags) noexcept {
    if (auto* engine = begin(home, request)) engine->recv_message(request, fd, into, flags);
}
void recv_datagrams(loop& home, op& request, int fd) noexcept {
    if (auto* engine = begin(home, request)) engine->recv_datagrams(request, fd);
}
void read_ring(loop& home, op& request, int fd, file_kind kind) noexcept {
    if (auto* engine = begin(home, request)) engine->read_ring(request, fd, kind);
}
void write(loop& home, op& request, int fd, std::span<const std::byte> from,
           file_kind kind) noexcept {
    if (auto* engine = begin(home, request)) engine->write(request, fd, from, kind);
}
void fetch(loop& home, op& request, const carrier& into, int file, std::uint64_t offset,
           std::size_t count) noexcept {
    if (auto* engine = begin(home, request)) engine->fetch(request, into, file, offset, count);
}
void read_at(loop& home, op& request, int file, std::uint64_t offset,
             std::span<std::byte> into) noexcept {
    if (auto* engine = begin(home, request)) engine->read_at(request, file, offset, into);
}
void resolve(loop& home, resolve_op& request) noexcept {
    detail::engine* const engine = begin(home, request);
    if (engine && !engine->resolve(request)) detail::start_resolve(home.state(), request);
}

void offload(loop& home, job_op& request) noexcept {
    request.home = &home;
    if (begin(home, request)) detail::start_job(home.state(), request);
}

void cancel(loop& home, op& request) noexcept {
    if (!request.in_flight || request.engine_state == detail::completion_queued) return;
    if (request.engine_state == detail::elsewhere) {
        auto& remote = static_cast<detail::remote_op&>(request);
        return remote.ask(remote);
    }
    if (request.engine_state == detail::resolving) {
        return detail::cancel_resolve(home.state(), static_cast<resolve_op&>(request));
    }
    kernel(home).cancel(request);
}

result<int> socket(loop& home, int family, int type, int protocol) {
    const int fd = kernel(home).open_socket(family, type, protocol);
    if (fd < 0) return error::from_errno(-fd, "open a socket");
    ++home.state().live_descriptors;
    return fd;
}
result<> socket_pair(loop& home, int family, int type, int (&fds)[2]) {
    if (const int failed = kernel(home).open_pair(family, type, fds); failed < 0) {
        return error::from_errno(-failed, "make a socket pair");
    }
    home.state().live_descriptors += 2;
    return {};
}
result<> bind(loop& home, int fd, const sockaddr* where, socklen_t length) {
    return checked(kernel(home).bind(fd, where, length));
}
result<> listen(loop& home, int fd, int backlog_count) {
    return checked(kernel(home).listen(fd, backlog_count));
}
result<std::size_t> try_send(loop& home, int fd, std::span<const std::byte> from) {
    const std::int64_t sent = kernel(home).try_send(fd, from);
    if (sent < 0) return error::from_errno(static_cast<int>(-sent));
    return static_cast<std::size_t>(sent);
}
result<std::size_t> try_send_messages(loop& home, int fd, std::span<mmsghdr> messages) {
    const int sent = kernel(home).try_send_messages(fd, messages);
    if (sent < 0) return error::from_errno(-sent);
    return static_cast<std::size_t>(sent);
}
result<> shutdown(loop& home, int fd, int how) { return checked(kernel(home).shutdown(fd, how)); }
result<int> get_option(loop& home, int fd, int level, int name) {
    int value = 0;
    if (const int failed = kernel(home).get_option(fd, level, name, value); failed < 0) {
        return error::from_errno(-failed, "getsockopt");
    }
    return value;
}
result<> set_option(loop& home, int fd, int level, int name, std::span<const std::byte> value) {
    return checked(kernel(home).set_option(fd, level, name, value));
}
std::uint64_t random(loop& home) noexcept {
    std::uint64_t number = 0;
    kernel(home).random(std::as_writable_bytes(std::span(&number, 1)));
    return number;
}
result<resolved> local_name(loop& home, int fd) {
    resolved name;
    if (const int failed = kernel(home).local_name(fd, name); failed < 0) {
        return error::from_errno(-failed, "getsockname");
    }
    return name;
}
result<resolved> peer_name(loop& home, int fd) {
    resolved name;
    if (const int failed = kernel(home).peer_name(fd, name); failed < 0) {
        return error::from_errno(-failed, "getpeername");
    }
    return name;
}
result<int> watch_signals(loop& home, int fd, std::uint64_t mask) {
    const int outcome = kernel(home).watch_signals(fd, mask);
    if (outcome < 0 && mask) return error::from_errno(-outcome, "watch signals");
    if (fd < 0 && outcome >= 0) ++home.state().live_descriptors;
    return outcome;
}
int take_signal(loop& home, int fd) noexcept {
    const int came = kernel(home).take_signal(fd);
    return came > 0 ? came : 0;
}
bool signal_is_untouched(loop& home, int signum) noexcept {
    return kernel(home).signal_is_untouched(signum);
}
result<std::size_t> try_write(loop& home, int fd, std::span<const std::byte> from) {
    const std::int64_t taken = kernel(home).try_write(fd, from);
    if (taken < 0) return error::from_errno(static_cast<int>(-taken));
    return static_cast<std::size_t>(taken);
}
result<> make_pipe(loop& home, int (&fds)[2]) {
    if (const int failed = kernel(home).make_pipe(fds); failed < 0) {
        return error::from_errno(-failed, "make a pipe");
    }
    home.state().live_descriptors += 2;
    return {};
}
result<int> duplicate(loop& home, int fd) {
    const int copy = kernel(home).duplicate(fd);
    if (copy < 0) return error::from_errno(-copy, "duplicate a descriptor");
    ++home.state().live_descriptors;
    return copy;
}
result<file_kind> kind_of(loop& home, int fd) {
    file_kind kind{};
    if (const int failed = kernel(home).kind_of(fd, kind); failed < 0) {
        return error::from_errno(-failed, "fstat");
    }
    return kind;
}
void ignore_broken_pipes(loop& home) noexcept { kernel(home).ignore_broken_pipes(); }
result<carrier> open_carrier(loop& home, std::size_t wanted_bytes) {
    carrier made;
    if (const int failed = kernel(home).open_carrier(made, wanted_bytes); failed < 0) {
        return error::from_errno(-failed, "open a carrier of bytes");
    }
    home.state().live_descriptors += 2;
    return made;
}
void close_carrier(loop& home, carrier& used) noexcept {
    if (used.in < 0) return;
    kernel(home).close_carrier(used);
    home.state().live_descriptors -= 2;
    used = {};
}
result<std::size_t> try_fetch(loop& home, const carrier& into, int fd, std::size_t count) {
    const std::int64_t got = kernel(home).try_fetch(into, fd, count);
    if (got < 0) return error::from_errno(static_cast<int>(-got));
    return static_cast<std::size_t>(got);
}
result<std::size_t> try_forward(loop& home, const carrier& from, int fd, std::size_t count) {
    const std::int64_t taken = kernel(home).try_forward(from, fd, count);
    if (taken < 0) return error::from_errno(static_cast<int>(-taken));
    return static_cast<std::size_t>(taken);
}
result<std::size_t> take(loop& home, const carrier& from, std::span<std::byte> into) {
    const std::int64_t got = kernel(home).take(from, into);
    if (got < 0) return error::from_errno(static_cast<int>(-got), "take file bytes");
    return static_cast<std::size_t>(got);
}
result<> set_position(loop& home, int file, std::uint64_t offset) {
    return checked(kernel(home).set_position(file, offset));
}
void adopt(loop& home, int) noexcept { ++home.state().live_descriptors; }
void disown(loop& home, int) noexcept { --home.state().live_descriptors; }
void discard(loop& home, int fd) noexcept { kernel(home).close(fd); }
void close(loop& home, int fd) noexcept {
    loop_state& state = home.state();
    --state.live_descriptors;
    if (is_claimed(home, fd)) state.claimed[static_cast<std::size_t>(fd)] = false;
    kernel(home).close(fd);
}
void claim(loop& home, int fd) noexcept try {
    auto& claimed = home.state().claimed;
    const auto index = static_cast<std::size_t>(fd);
    if (claimed.size() <= index) claimed.resize(index + 1);
    claimed[index] = true;
} catch (const std::bad_alloc&) {
    // What is not noted is not refused, and that is all.
}
bool is_claimed(loop& home, int fd) noexcept {
    const auto& claimed = home.state().claimed;
    const auto index = static_cast<std::size_t>(fd);  // a negative one is beyond all
    return index < claimed.size() && claimed[index];
}

bool file_identity::is_socket() const noexcept { return S_ISSOCK(mode); }
result<file_identity> identify_file(loop& home, const char* path) {
    file_identity found;
    if (const int failed = kernel(home).identify_file(path, found); failed < 0) {
        return error::from_errno(-failed, [&] { return std::string("look at ") + path; });
    }
    return found;
}
result<> remove_file(loop& home, const char* path) {
    if (const int failed = kernel(home).remove_file(path); failed < 0) {
        return error::from_errno(-failed, [&] { return std::string("remove ") + path; });
    }
    return {};
}
result<> set_file_mode(loop& home, const char* path, std::uint32_t mode) {
    if (const int failed = kernel(home).set_file_mode(path, mode); failed < 0) {
        return error::from_errno(-failed, [&] { return std::string("set the mode of ") + path; });
    }
    return {};
}
result<credentials> peer_credentials(loop& home, int fd) {
    credentials found;
    if (const int failed = kernel(home).peer_credentials(fd, found); failed < 0) {
        return error::from_errno(-failed, "ask for the peer's credentials");
    }
    return found;
}
result<> set_close_on_exec(loop& home, int fd) {
    return checked(kernel(home).set_close_on_exec(fd));
}

}  // namespace io
}  // namespace ouro
