// The life of a server: it starts to serve, it is closed, and who waits for that.
#include <ouro/proto/server.hpp>

#include <ouro/runtime/timeout.hpp>

#include "server_state.hpp"
#include "stream_transport.hpp"

namespace ouro {
namespace detail {

server_state::listener::listener(server_state& of, loop& home, int fd) noexcept
    : socket_view(home, fd), op(&server_state::accepted), owner(&of) {
    timer_node::fire = &server_state::retry;
}

server_state::server_state(loop& home, protocol_factory factory, const server_options& options)
    : home_(&home), factory_(std::move(factory)), options_(options) {
    pace_.owner = this;
    pace_.fire = &server_state::pace_came;
    loop_resource::shut = [](loop_resource& self) noexcept {
        auto& state = static_cast<server_state&>(self);
        const auto keep = state.shared_from_this();
        state.close();
        state.abort_clients();
    };
}

server_state::~server_state() {
    for (const auto& each : listeners_) {
        remove_file_of(*each);
        if (each->fd() >= 0) io::close(*home_, each->fd());
    }
}

result<> server_state::start_serving() {
    if (closed_) return error(errc::server_closed, "start serving");
    if (serving_) return {};
    for (const auto& each : listeners_) {
        if (auto listening = io::listen(*home_, each->fd(), options_.backlog_count); !listening) {
            listening.error().while_doing("listen on " + each->where.to_string());
            return listening;
        }
        // listen(2) binds what was given unbound.
        if (auto bound = each->local_address()) each->where = *bound;
    }
    serving_ = true;
    self_ = shared_from_this();
    add_resource(*home_, *this);
    go_on();
    return {};
}

// ---- the end

void server_state::close() noexcept {
    if (closed_) return;
    closed_ = true;
    const bool was_serving = std::exchange(serving_, false);
    remove_timer(*home_, pace_);
    for (const int fd : std::exchange(in_hand_, {})) io::close(*home_, fd);
    for (const auto& each : listeners_) {
        remove_file_of(*each);
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

/// As long as the socket is open, no other file can have the number of its own (rules 436, 437).
void server_state::remove_file_of(const listener& at) noexcept {
    if (at.path.empty() || at.fd() < 0) return;
    const auto found = io::identify_file(*home_, at.path.c_str());
    if (found && *found == at.file) (void)io::remove_file(*home_, at.path.c_str());
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

std::vector<stop_report::aborted_client> server_state::abort_the_rest() {
    std::vector<stop_report::aborted_client> told;
    told.reserve(client_count_);
    for (loop_resource* each = clients_.front(); each; each = clients_.after(*each)) {
        const auto& link = static_cast<const stream_transport&>(*each);
        if (link.is_ending()) continue;
        told.push_back({link.get_extra_info<address>("peername"), link.get_write_buffer_size()});
    }
    abort_clients();
    return told;
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

task<> wait_gone(std::shared_ptr<detail::server_state> state) {
    if (!state->gone()) co_await state->closed_waiters.wait(closed_kind);
}

/// Waits for its end, but no longer than `limit`.
task<> wait_gone(std::shared_ptr<detail::server_state> state, std::chrono::nanoseconds limit) {
    if (state->gone()) co_return;
    auto waited = co_await as_result(wait_for(wait_gone(std::move(state)), limit));
    if (!waited && waited.error() != std::errc::timed_out) co_await std::move(waited);
}

task<stop_report> stop_in_order(std::shared_ptr<detail::server_state> state,
                                std::chrono::nanoseconds grace) {
    const auto began = state->home().time();
    stop_report told{.clients = state->client_count()};
    state->close();
    co_await wait_gone(state, grace / 2);
    told.finished = told.clients - state->client_count();
    state->close_clients();
    co_await wait_gone(state, grace - grace / 2);
    told.aborted = state->abort_the_rest();
    co_await wait_gone(state);
    told.closed = told.clients - told.finished - told.aborted.size();
    told.took = state->home().time() - began;
    co_return told;
}

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
    co_await wait_gone(state);
    co_await std::move(ended);
}

task<> server::wait_closed() { return wait_gone(state_); }

task<stop_report> server::stop(std::chrono::nanoseconds grace) {
    return stop_in_order(state_, grace);
}

}  // namespace ouro
