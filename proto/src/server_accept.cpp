// What comes in at a server: accepting, its limits, and the shortage of descriptors.
#include <ouro/proto/server.hpp>

#include <algorithm>
#include <cerrno>

#include <ouro/runtime/awaited.hpp>

#include "server_state.hpp"
#include "stream_transport.hpp"

namespace ouro::detail {
namespace {

constexpr unsigned most_failures_in_a_row = 16;
// How far the accept rate may get ahead of an even spread: many a timer is saved by that.
constexpr auto rate_slack = std::chrono::milliseconds(10);

}  // namespace

/// With a limit one accept takes one connection; otherwise it goes on.
void server_state::arm(listener& at) noexcept {
    at.keep = shared_from_this();
    at.held = false;
    limited() ? io::accept(*home_, at, at.fd()) : io::accept_many(*home_, at, at.fd());
}

/// Arms what may accept and does not.
void server_state::go_on() noexcept {
    for (const auto& each : listeners_) {
        if (each->idle() && serving_ && may_accept()) arm(*each);
    }
}

/// No accept is to take another connection.
void server_state::hold_back() noexcept {
    for (const auto& each : listeners_) {
        if (!each->op::in_flight) continue;
        each->held = true;
        io::cancel(*home_, *each);
    }
}

void server_state::accepted(op& done) noexcept {
    auto& at = static_cast<listener&>(done);
    const auto keep = at.keep;
    server_state& self = *keep;
    const context::use in(self.values_);
    if (done.res >= 0) {
        self.warned_ = false;
        at.failures = 0;
        self.came_in(done.res);
    }
    if (done.in_flight) return;
    at.keep.reset();
    if (self.closed_) {
        if (at.fd() >= 0) io::close(*self.home_, at.fd());
        at.forget_descriptor();
        return self.leave_if_gone();
    }
    const bool held = at.held && done.res == -ECANCELED;
    if (done.res < 0 && !held) return self.refused(at, -done.res);
    self.go_on();  // the accept was to take one, or the kernel ended it for reasons of its own
}

/// A connection came in. A closed server drops it at once (rules 427, 737); a full one keeps it in
/// hand, because the accept was under way when the limit was reached at another listener.
void server_state::came_in(int fd) noexcept {
    io::adopt(*home_, fd);
    if (closed_) return io::close(*home_, fd);
    count_for_rate();
    if (full()) return in_hand_.push_back(fd);
    take_connection(fd);
    if (limited() && !may_accept()) hold_back();
}

/// A protocol is put on a connection.
void server_state::take_connection(int fd) noexcept {
    ++client_count_;  // from here on: the factory may close the server and drop it
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
        return client_gone();
    }
    link->begin(link, clients_, *this);
}

/// What came in above the limit is served as far as there is a place now.
void server_state::take_from_hand() noexcept {
    if (in_hand_.empty()) return;
    const context::use in(values_);
    while (!in_hand_.empty() && !full()) {
        const int fd = in_hand_.front();
        in_hand_.erase(in_hand_.begin());
        take_connection(fd);
    }
}

void server_state::client_gone() noexcept {
    const auto keep = shared_from_this();  // a factory may drop it, and fail
    --client_count_;
    if (!closed_) {
        take_from_hand();
        go_on();
    }
    if (!gone()) return;
    closed_waiters.wake_all();
    leave_if_gone();
}

// ---- the accept rate

void server_state::count_for_rate() noexcept {
    if (options_.max_accept_rate <= 0) return;
    const std::chrono::duration<double> apart(1 / options_.max_accept_rate);
    next_accept_ = std::max(next_accept_, home_->time() - rate_slack) + bounded(apart);
    if (next_accept_ <= home_->time() || pace_.queued()) return;
    pace_.when = next_accept_;
    try {
        add_timer(*home_, pace_);
    } catch (...) {
        // No memory for the timer: the next one is not held back.
    }
}

void server_state::pace_came(timer_node& timer) noexcept {
    server_state& self = *static_cast<pacemaker&>(timer).owner;
    if (self.next_accept_ > self.home_->time()) {  // others came in meanwhile
        self.pace_.when = self.next_accept_;
        try {
            return add_timer(*self.home_, self.pace_);
        } catch (...) {
            // As above.
        }
    }
    self.go_on();
}

// ---- what went wrong

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
        if (++at.failures < most_failures_in_a_row) return go_on();
        break;
    default:
        break;
    }
    if (!std::exchange(warned_, true)) warn_of(failure);
    at.when = home_->time() + options_.accept_retry;
    at.keep = shared_from_this();
    try {
        add_timer(*home_, at);
    } catch (...) {
        at.keep.reset();
        go_on();  // no memory even for a timer: try again now
    }
}

void server_state::warn_of(int failure) noexcept {
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

void server_state::retry(timer_node& timer) noexcept {
    auto& at = static_cast<listener&>(timer);
    const auto keep = std::move(at.keep);
    keep->go_on();
}

}  // namespace ouro::detail
