// Servers: accepting, the shortage of descriptors, and the end.
#include <ouro/proto/server.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>

#include <ouro/net/resolve.hpp>

#include "server_state.hpp"
#include "stream_transport.hpp"

namespace ouro {
namespace detail {
namespace {

constexpr unsigned most_failures_in_a_row = 16;

}  // namespace

server_state::listener::listener(server_state& of, loop& home, int fd) noexcept
    : socket_view(home, fd), op(&server_state::accepted), owner(&of) {
    timer_node::fire = &server_state::retry;
}

server_state::server_state(loop& home, protocol_factory factory, const server_options& options)
    : home_(&home), factory_(std::move(factory)), options_(options) {
    loop_resource::shut = [](loop_resource& self) noexcept {
        auto& state = static_cast<server_state&>(self);
        const auto keep = state.shared_from_this();
        state.close();
        state.abort_clients();
    };
}

server_state::~server_state() {
    for (const auto& each : listeners_) {
        if (each->fd() >= 0) io::close(*home_, each->fd());
    }
}

result<> server_state::add(socket bound) {
    auto where = bound.local_address();
    if (!where) return where.error();
    const int fd = bound.fd();
    auto added = std::make_unique<listener>(*this, *home_, fd);
    // Accepted sockets inherit it, which saves each of them the call (rule 343).
    if (auto kind = added->family(); kind && *kind != AF_UNIX) {
        (void)added->set_option(IPPROTO_TCP, TCP_NODELAY,
                                1);  // not TCP after all: nothing to delay
    }
    added->where = *where;
    listeners_.push_back(std::move(added));
    (void)bound.release();
    io::adopt(*home_, fd);
    return {};
}

result<> server_state::start_serving() {
    if (closed_) return error(errc::server_closed, "start serving");
    if (serving_) return {};
    for (const auto& each : listeners_) {
        if (auto listening = io::listen(*home_, each->fd(), options_.backlog_count); !listening) {
            listening.error().while_doing("listen on " + each->where.to_string());
            return listening;
        }
    }
    serving_ = true;
    self_ = shared_from_this();
    add_resource(*home_, *this);
    for (const auto& each : listeners_) arm(*each);
    return {};
}

// ---- accepting

void server_state::arm(listener& at) noexcept {
    at.keep = shared_from_this();
    io::accept_many(*home_, at, at.fd());
}

void server_state::accepted(op& done) noexcept {
    auto& at = static_cast<listener&>(done);
    const auto keep = at.keep;
    server_state& self = *keep;
    const context::use in(self.values_);
    if (done.res >= 0) {
        self.warned_ = false;
        at.failures = 0;
        self.take_connection(done.res);
    }
    if (done.in_flight) return;
    at.keep.reset();
    if (self.closed_) {
        io::close(*self.home_, at.fd());
        at.forget_descriptor();
        return self.leave_if_gone();
    }
    if (done.res >= 0)
        return self.arm(at);  // the kernel ended the multishot for reasons of its own
    self.refused(at, -done.res);
}

/// A connection came in: a protocol is put on it. A closed server drops it at once (rules 427,
/// 737).
void server_state::take_connection(int fd) noexcept {
    io::adopt(*home_, fd);
    if (closed_) return io::close(*home_, fd);
    std::shared_ptr<stream_transport> link;
    try {
        auto receiver = factory_();
        link = std::make_shared<stream_transport>(*home_, fd, std::move(receiver));
    } catch (...) {
        if (!link) io::close(*home_, fd);
        if (home_->get_debug()) {  // rule 423
            home_->call_exception_handler(
                {.message = words("a protocol factory failed; the connection was closed"),
                 .error = error::from_exception(std::current_exception(), "make a protocol"),
                 .subject = "server",
                 .created = {}});
        }
        return;
    }
    ++client_count_;
    link->begin(link, clients_, shared_from_this());
}

/// accept(2) failed. Shortages pause accepting and are reported once; trouble of a single peer is
/// not ours (rules 425, 426).
void server_state::refused(listener& at, int failure) noexcept {
    switch (failure) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
        // So often in a row it is no trouble of single peers.
        if (++at.failures < most_failures_in_a_row) return arm(at);
        break;
    default:
        break;
    }
    if (!std::exchange(warned_, true)) {
        home_->call_exception_handler({.level = severity::warning,
                                       .message = words([this] {
                                           return "accepting pauses for " +
                                                  std::to_string(options_.accept_retry.count()) +
                                                  " ms; connections wait in the kernel's queue";
                                       }),
                                       .error = error::from_errno(failure, "accept"),
                                       .subject = "server",
                                       .created = {}});
    }
    at.when = home_->time() + options_.accept_retry;
    at.keep = shared_from_this();
    try {
        add_timer(*home_, at);
    } catch (...) {
        at.keep.reset();
        arm(at);  // no memory even for a timer: try again now
    }
}

void server_state::retry(timer_node& timer) noexcept {
    auto& at = static_cast<listener&>(timer);
    const auto keep = at.keep;
    if (!keep->closed_) keep->arm(at);
}

// ---- the end

void server_state::close() noexcept {
    if (closed_) return;
    closed_ = true;
    const bool was_serving = std::exchange(serving_, false);
    for (const auto& each : listeners_) {
        if (each->op::in_flight) {
            io::cancel(*home_, *each);  // the descriptor is closed when the accept is back
            continue;
        }
        if (remove_timer(*home_, *each)) each->keep.reset();
        io::close(*home_, each->fd());
        each->forget_descriptor();
    }
    forever_waiters.wake_all_failed(error(errc::cancelled, "serve"));
    if (gone()) closed_waiters.wake_all();
    if (was_serving) leave_if_gone();  // the last statement: it may be the end of this object
}

void server_state::close_clients() noexcept {
    loop_resource* next = nullptr;
    for (loop_resource* each = clients_.front(); each; each = next) {
        next = clients_.after(*each);
        static_cast<stream_transport&>(*each).close();
    }
}

void server_state::abort_clients() noexcept {
    loop_resource* next = nullptr;
    for (loop_resource* each = clients_.front(); each; each = next) {
        next = clients_.after(*each);
        static_cast<stream_transport&>(*each).abort();
    }
}

void server_state::client_gone() noexcept {
    --client_count_;
    if (!gone()) return;
    closed_waiters.wake_all();
    leave_if_gone();
}

/// The loop lets go of a server that is closed, has no connection and no accept under way.
void server_state::leave_if_gone() noexcept {
    if (!gone()) return;
    for (const auto& each : listeners_) {
        if (each->op::in_flight) return;
    }
    remove_resource(*home_, *this);
    self_.reset();
}

std::vector<const socket_view*> server_state::sockets() const {
    std::vector<const socket_view*> open;
    if (closed_) return open;
    for (const auto& each : listeners_) open.push_back(each.get());
    return open;
}

std::vector<address> server_state::addresses() const {
    std::vector<address> found;
    if (closed_) return found;
    for (const auto& each : listeners_) found.push_back(each->where);
    return found;
}

// ---- opening

namespace {

result<socket> open_listener(loop& home, const address& where, const server_options& options) {
    const auto naming = [&](const error& why) {
        return error(why.code(), "listen on " + where.to_string());
    };
    auto made = socket::open(home, where.family());
    if (!made) return naming(made.error());
    const bool ip = where.family() != AF_UNIX;
    result<> outcome;
    if (options.reuse_address && ip) outcome = made->set_option(SOL_SOCKET, SO_REUSEADDR, 1);
    if (outcome && options.reuse_port && ip)
        outcome = made->set_option(SOL_SOCKET, SO_REUSEPORT, 1);
    if (outcome &&
        where.family() == AF_INET6) {  // so that both families can share a port (rule 392)
        outcome = made->set_option(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (outcome) {
        outcome = made->bind(where);
    }
    if (!outcome) return naming(outcome.error());
    return made;
}

task<server> open_server(std::shared_ptr<server_state> state, bool start) {
    if (start) co_await state->start_serving();
    co_return server(std::move(state));
}

}  // namespace

task<server> listen_on(protocol_factory factory, std::string host, std::uint16_t port,
                       server_options options) {
    loop& home = loop::current();
    auto found = co_await resolve(host, port, {.family = options.family, .for_listening = true});
    auto state = std::make_shared<server_state>(home, std::move(factory), options);
    std::vector<address> done;
    error skipped;
    for (const address& where : found) {
        if (std::find(done.begin(), done.end(), where) != done.end()) continue;
        done.push_back(where);
        auto made = open_listener(home, where, options);
        if (!made) {
            // A family that this machine does not have is no failure while another one works (rule
            // 400).
            const auto& why = made.error();
            const bool absent = why == std::errc::address_not_available ||
                                why == std::errc::address_family_not_supported;
            if (!absent) co_return why;
            skipped = why;
            continue;
        }
        co_await state->add(std::move(*made));
    }
    if (state->sockets().empty()) co_return skipped;
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<server> listen_on(protocol_factory factory, address where, server_options options) {
    loop& home = loop::current();
    auto state = std::make_shared<server_state>(home, std::move(factory), options);
    co_await state->add(co_await open_listener(home, where, options));
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<server> listen_on(protocol_factory factory, socket given, server_options options) {
    if (const int type = co_await given.get_option(SOL_SOCKET, SO_TYPE); type != SOCK_STREAM) {
        co_return error(errc::value_error, "serve on a socket that is not a stream socket");
    }
    auto state = std::make_shared<server_state>(loop::current(), std::move(factory), options);
    co_await state->add(std::move(given));
    co_return co_await open_server(std::move(state), options.start_serving);
}

}  // namespace detail

// ---- the handle

server::server(std::shared_ptr<detail::server_state> state) noexcept : state_(std::move(state)) {}

detail::server_state& server::live() const noexcept {
    OURO_ASSERT(state_, "an empty server handle was used");
    return *state_;
}

std::vector<const socket_view*> server::sockets() const { return live().sockets(); }

std::vector<address> server::addresses() const { return live().addresses(); }

bool server::is_serving() const noexcept { return live().serving(); }
result<> server::start_serving() { return live().start_serving(); }
void server::close() noexcept { live().close(); }
void server::close_clients() noexcept { live().close_clients(); }
void server::abort_clients() noexcept { live().abort_clients(); }
std::size_t server::client_count() const noexcept { return live().client_count(); }

namespace {
constexpr detail::wait_kind forever_kind{"serve_forever", &detail::waiter_list::waiter::leave};
constexpr detail::wait_kind closed_kind{"wait_closed", &detail::waiter_list::waiter::leave};
}  // namespace

task<> server::serve_forever() {
    const auto state = state_;
    if (state->closed()) co_await result<>(error(errc::server_closed, "serve_forever"));
    if (state->forever) co_await result<>(error(errc::already_serving, "serve_forever"));
    co_await state->start_serving();
    state->forever = true;
    auto ended = co_await as_result(state->forever_waiters.wait(forever_kind));
    state->forever = false;
    state->close();
    if (!state->gone()) co_await state->closed_waiters.wait(closed_kind);
    co_await std::move(ended);
}

task<> server::wait_closed() {
    const auto state = state_;
    if (!state->gone()) co_await state->closed_waiters.wait(closed_kind);
}

}  // namespace ouro
