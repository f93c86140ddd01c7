// How simulated connections come about, carry bytes, and end.
//
// Everything one end sends goes into its `under_way` in order, whatever the links do to it; the
// other end sees it in that order. Acknowledgements are not segments: an end that has read says so
// as soon as the link lets it, and that makes room at the sender.
#include <cerrno>

#include <algorithm>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

using std::chrono::seconds;

// As Linux does by default: tcp_syn_retries 6, and the 15 retransmissions of tcp_retries2.
constexpr int most_syn_tries = 7;
constexpr auto first_syn_retry = seconds(1);
constexpr auto retransmission_limit = seconds(924);
// When a lost segment is sent again, and what it can cost when that is lost too.
constexpr std::int64_t least_retransmission_us = 200'000;
constexpr std::int64_t most_retransmission_us = 3'000'000;

}  // namespace

// ---- connecting

int world::connect(const endpoint_ptr& what, const sockaddr* raw, socklen_t length) {
    address to(raw, length);
    if (what->at == state::connected && what->stream()) return -EISCONN;
    if (what->at == state::connecting) return -EALREADY;
    if (what->at == state::listening) return -EISCONN;
    if (to.family() != what->family) return what->unix_domain() ? -EINVAL : -EAFNOSUPPORT;
    if (what->unix_domain()) return connect_unix(what, to);
    if (to.host() == "0.0.0.0") to = *address::from_ip("127.0.0.1", to.port());
    if (to.host() == "::") to = *address::from_ip("::1", to.port());
    choose_local(*what, to);
    what->remote = to;
    if (!what->stream()) {
        what->at = state::connected;
        return 0;
    }
    what->error = 0;
    what->at = state::connecting;
    send_syn(what, to, 1);
    return -EINPROGRESS;
}

int world::connect_unix(const endpoint_ptr& what, const address& to) {
    if (!what->stream()) return -EPROTOTYPE;
    const endpoint_ptr listener = find_listener(to);
    if (!listener)
        return paths_.contains(to.path()) || to.path()[0] == '\0' ? -ECONNREFUSED : -ENOENT;
    if (static_cast<int>(listener->backlog.size()) > listener->backlog_limit) return -EAGAIN;
    const endpoint_ptr child = make(AF_UNIX, SOCK_STREAM);
    child->local = listener->local;
    child->remote = what->local;
    what->remote = listener->local;
    join(what, child);
    child->listener = listener;
    listener->backlog.push_back(child);
    changed(listener);
    return 0;
}

void world::send_syn(const endpoint_ptr& from, address to, int attempt) {
    const bool lost = luck.strikes(fault_kind::loss).has_value();
    after(travel(from->local, to), [this, from, to, attempt, lost] {
        if (from->at != state::connecting || from->closed) return;  // given up
        if (!lost && !is_cut(from->local, to)) return syn_arrives(from, to, attempt);
        if (attempt == most_syn_tries) return fail_connect(from, ETIMEDOUT);
        after(first_syn_retry * (1 << (attempt - 1)), [this, from, to, attempt] {
            if (from->at == state::connecting && !from->closed) send_syn(from, to, attempt + 1);
        });
    });
}

void world::syn_arrives(const endpoint_ptr& from, const address& to, int attempt) {
    const endpoint_ptr listener = find_listener(to);
    const bool refused = !listener || luck.strikes(fault_kind::refuse);
    if (refused) {
        return after(travel(to, from->local), [this, from] { fail_connect(from, ECONNREFUSED); });
    }
    const auto waiting = static_cast<int>(listener->backlog.size() + listener->half_open.size());
    if (waiting > listener->backlog_limit) {  // no room: as if it had not arrived
        if (attempt == most_syn_tries) return fail_connect(from, ETIMEDOUT);
        return after(first_syn_retry * (1 << (attempt - 1)), [this, from, to, attempt] {
            if (from->at == state::connecting && !from->closed) send_syn(from, to, attempt + 1);
        });
    }
    const endpoint_ptr child = make(from->family, SOCK_STREAM);
    child->local = to;
    child->remote = from->local;
    child->options = listener->options;
    child->send_bytes = listener->send_bytes;
    child->receive_bytes = listener->receive_bytes;
    child->peer = from;
    child->peer_receive_bytes = from->receive_bytes;
    child->at = state::connected;
    child->bound = true;
    child->listener = listener;
    listener->half_open.push_back(child);
    put(child, {segment::kind::accepted});
}

void world::fail_connect(const endpoint_ptr& what, int failure) {
    if (what->at != state::connecting) return;
    what->at = state::fresh;
    what->error = failure;
    changed(what);
}

/// The handshake is complete: a listener's connection can be accepted.
void world::become_acceptable(const endpoint_ptr& child) {
    const endpoint_ptr listener = child->listener.lock();
    if (listener) std::erase(listener->half_open, child);
    if (!listener || listener->at != state::listening) {  // it was closed meanwhile
        child->listener.reset();
        child->at = state::ended;
        put(child, {segment::kind::reset});
        return;
    }
    listener->backlog.push_back(child);
    changed(listener);
}

// ---- on the way

void world::put(const endpoint_ptr& from, segment what) {
    what.sent = now_;
    what.due = now_ + travel(from->local, from->remote);
    if (what.what == segment::kind::data) {
        if (auto again =
                luck.strikes(fault_kind::loss, least_retransmission_us, most_retransmission_us)) {
            what.due += std::chrono::microseconds(*again);
        }
        if (luck.strikes(fault_kind::reset)) return reset_both(from);
    }
    if (!from->under_way.empty()) what.due = std::max(what.due, from->under_way.back().due);
    from->under_way.push_back(std::move(what));
    if (from->under_way.size() > 1) return;
    // On a link without delay it arrives before the call returns, as on the loopback device.
    const auto due = from->under_way.front().due;
    due <= now_ ? pump(from) : pump_at(from, due);
}

void world::pump_at(const endpoint_ptr& from, clock::time_point when) {
    if (from->pump_due) return;
    from->pump_due = true;
    at(std::max(when, now_), [this, from] {
        from->pump_due = false;
        pump(from);
    });
}

/// Lets arrive what is due, as long as the link holds.
void world::pump(const endpoint_ptr& from) {
    while (!from->under_way.empty()) {
        const segment& first = from->under_way.front();
        if (is_cut(from->local, from->remote)) {
            // It is tried again when the link is mended, and given up in the end.
            const auto limit = first.sent + retransmission_limit;
            if (now_ >= limit) return reset(from, ETIMEDOUT);
            return at(limit, [this, from] { pump(from); });
        }
        if (first.due > now_) return pump_at(from, first.due);
        segment arriving = std::move(from->under_way.front());
        from->under_way.pop_front();
        arrive(from, from->peer.lock(), std::move(arriving));
    }
}

void world::arrive(const endpoint_ptr& from, const endpoint_ptr& to, segment what) {
    using kind = segment::kind;
    const bool there = to && (to->at == state::connected || to->at == state::connecting) &&
                       !(to->closed && what.what == kind::data);
    if (!there) {
        // Nobody there any more: it answers with a reset, but not to a reset.
        if (what.what == kind::reset || what.what == kind::fin) return;
        return after(travel(from->remote, from->local), [this, from] { reset(from, ECONNRESET); });
    }
    switch (what.what) {
    case kind::accepted:
        to->peer = from;
        to->peer_receive_bytes = from->receive_bytes;
        to->at = state::connected;
        changed(to);
        return put(to, {kind::established});
    case kind::established:
        return become_acceptable(to);
    case kind::data:
        if (to->shut_read) return report_read(to, what.bytes.size());
        to->inbox.append(what.bytes);
        return changed(to);
    case kind::fin:
        to->ended_by_peer = true;
        return changed(to);
    case kind::reset:
        return reset(to, ECONNRESET);
    }
}

/// `reader` has taken `count` bytes: the sender hears of that.
void world::report_read(const endpoint_ptr& reader, std::size_t count) {
    reader->unreported += count;
    send_report(reader);
}

void world::send_report(const endpoint_ptr& reader) {
    if (reader->report_due) return;
    const endpoint_ptr sender = reader->peer.lock();
    if (!sender) return;
    if (reader->unix_domain()) {
        sender->outstanding -= std::min(sender->outstanding, reader->unreported);
        reader->unreported = 0;
        return changed(sender);
    }
    // When it is mended: also after the reader has closed, as a probe of the sender would tell.
    if (is_cut(reader->local, reader->remote)) return unheard_.push_back(reader);
    reader->report_due = true;
    after(travel(reader->local, reader->remote), [this, reader] {
        reader->report_due = false;
        const endpoint_ptr waiting = reader->peer.lock();
        if (!waiting) return;
        if (is_cut(reader->local, reader->remote)) return unheard_.push_back(reader);
        waiting->outstanding -= std::min(waiting->outstanding, reader->unreported);
        reader->unreported = 0;
        changed(waiting);
    });
}

// ---- the end

/// This end sends no more.
void world::say_end(const endpoint_ptr& from) {
    const endpoint_ptr to = from->peer.lock();
    if (from->unix_domain()) {
        if (!to) return;
        to->ended_by_peer = true;
        return changed(to);
    }
    if (from->stream() && from->at == state::connected) put(from, {segment::kind::fin});
}

/// The connection is dead for `what`, which may not know it yet.
void world::reset(const endpoint_ptr& what, int failure) {
    if (what->at == state::connecting) return fail_connect(what, ECONNREFUSED);
    if (what->at != state::connected) return;
    what->at = state::ended;
    what->error = failure == ECONNRESET && what->ended_by_peer ? EPIPE : failure;
    what->shut_write = true;
    what->under_way.clear();
    if (const auto listener = what->listener.lock()) std::erase(listener->half_open, what);
    changed(what);
}

/// Something on the way, or a machine that restarts, ends the connection for both.
void world::reset_both(const endpoint_ptr& from) {
    const endpoint_ptr to = from->peer.lock();
    reset(from, ECONNRESET);
    if (to) reset(to, ECONNRESET);
}

void world::drop_backlog(const endpoint_ptr& what) {
    for (const endpoint_ptr& child : std::exchange(what->backlog, {})) {
        child->listener.reset();
        child->abandoned = true;
        finish(child);
    }
}

/// The last holder let go: what close(2) does.
void world::finish(const endpoint_ptr& what) {
    if (what->of_pipe()) return close_pipe(what);
    what->closed = true;
    const std::string path = what->local.path();  // abstract names go with their socket
    if (what->bound && what->unix_domain() && path.starts_with('\0')) paths_.erase(path);
    if (what->at == state::listening) {
        what->at = state::ended;
        return drop_backlog(what);
    }
    if (!what->stream()) {
        const endpoint_ptr to = what->peer.lock();
        if (to) changed(to);
        return;
    }
    if (what->at == state::connecting) what->at = state::ended;
    if (what->at != state::connected) return;
    const endpoint_ptr to = what->peer.lock();
    const bool unread = !what->inbox.empty();
    if (what->unix_domain()) {
        what->at = state::ended;
        if (!to) return;
        to->ended_by_peer = true;
        to->at = state::ended;
        if (unread || what->abandoned) to->error = ECONNRESET;
        return changed(to);
    }
    if (unread || what->linger_reset || what->abandoned) {
        what->inbox.clear();
        put(what, {segment::kind::reset});
        what->at = state::ended;
    } else if (!what->shut_write) {
        what->shut_write = true;
        say_end(what);
    }
}

}  // namespace ouro::testing::sim
