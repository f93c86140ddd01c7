// What a process can do with a simulated socket: the calls that have an answer at once.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

bool wildcard(const address& where) {
    const std::string host = where.host();
    return host == "0.0.0.0" || host == "::";
}

/// Whether the simulation plays that host.
bool simulated(const address& where) {
    const std::string host = where.host();
    return wildcard(where) || host.starts_with("127.") || host.starts_with("10.") ||
           host == "::1" || host.starts_with("fd00:");
}

// Far more than any protocol numbers its options with.
constexpr int most_option_name = 200;
bool known_option(int level, int name) {
    const bool level_known = level == SOL_SOCKET || level == IPPROTO_TCP || level == IPPROTO_IP ||
                             level == IPPROTO_IPV6 || level == IPPROTO_UDP;
    return level_known && name > 0 && name <= most_option_name;
}

// What the kernel makes of smaller and larger wishes: net.core.wmem_max is 208 KiB by default.
constexpr int least_buffer_bytes = 2304;
constexpr int most_buffer_bytes = 212'992;
constexpr std::size_t most_datagram_bytes = 65507;
constexpr std::size_t most_queued_unix_datagrams = 11;

}  // namespace

// ---- descriptors

endpoint_ptr world::make(int family, int type) {
    auto made = std::make_shared<endpoint>(family, type, ++socket_count_);
    const auto bytes = [&] {
        return static_cast<std::size_t>(
            luck.draw(purpose::size, settings.least_buffer_bytes, settings.most_buffer_bytes));
    };
    made->send_bytes = bytes();
    made->receive_bytes = bytes();
    if (sockets_.size() > 64 && sockets_.size() == sockets_.capacity()) {
        std::erase_if(sockets_, [](const auto& each) { return each.expired(); });
    }
    sockets_.push_back(made);
    return made;
}

int world::publish(endpoint_ptr what) {
    if (open_descriptors() >= settings.descriptor_limit) return -EMFILE;
    if (free_.empty()) {
        free_.insert(first_descriptor + static_cast<int>(descriptors_.size()));
        descriptors_.emplace_back();
    }
    const int fd = free_.extract(free_.begin()).value();  // the lowest that is free
    hold(*what);
    descriptors_[static_cast<std::size_t>(fd - first_descriptor)] = std::move(what);
    return fd;
}

endpoint_ptr world::find(int fd) const noexcept {
    const auto index = static_cast<std::size_t>(fd - first_descriptor);
    return fd >= first_descriptor && index < descriptors_.size() ? descriptors_[index] : nullptr;
}

int world::close(int fd) {
    const endpoint_ptr what = find(fd);
    if (!what) return -EBADF;
    descriptors_[static_cast<std::size_t>(fd - first_descriptor)] = nullptr;
    free_.insert(fd);
    let_go(what);
    return 0;
}

void world::let_go(const endpoint_ptr& what) {
    if (--what->users == 0) finish(what);
}

int world::open(int family, int type, int) {
    const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX) return -EAFNOSUPPORT;
    const bool packets = kind == SOCK_SEQPACKET && family == AF_UNIX;  // can be had, and no more
    if (kind != SOCK_STREAM && kind != SOCK_DGRAM && !packets) return -EPROTONOSUPPORT;
    if (luck.strikes(fault_kind::no_descriptor)) return -EMFILE;
    return publish(make(family, kind));
}

int world::open_pair(int family, int type, int (&fds)[2]) {
    if (family != AF_UNIX) return -EOPNOTSUPP;
    const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (open_descriptors() + 2 > settings.descriptor_limit) return -EMFILE;
    const endpoint_ptr one = make(family, kind), other = make(family, kind);
    join(one, other);
    fds[0] = publish(one);
    fds[1] = publish(other);
    return 0;
}

void world::join(const endpoint_ptr& one, const endpoint_ptr& other) {
    one->peer = other;
    other->peer = one;
    one->peer_receive_bytes = other->receive_bytes;
    other->peer_receive_bytes = one->receive_bytes;
    one->at = other->at = state::connected;
}

// ---- names of sockets

bool world::bind_conflict(const endpoint& what, const address& where, bool to_listen) const {
    const auto reuses = [](const endpoint& each, int name) {
        return std::any_of(each.options.begin(), each.options.end(), [&](const auto& option) {
            return option.level == SOL_SOCKET && option.name == name &&
                   option.value[0] != std::byte{0};
        });
    };
    for (const auto& each : sockets_) {
        const endpoint_ptr other = each.lock();
        if (!other || other.get() == &what || other->closed || !other->bound) continue;
        if (other->family != where.family() || other->type != what.type) continue;
        if (other->local.port() != where.port()) continue;
        const bool meets = other->local == where || wildcard(other->local) || wildcard(where);
        if (!meets) continue;
        if (reuses(what, SO_REUSEPORT) && reuses(*other, SO_REUSEPORT)) continue;
        const bool both_reuse = reuses(what, SO_REUSEADDR) && reuses(*other, SO_REUSEADDR);
        if (both_reuse && (other->at != state::listening || !what.stream())) continue;
        if (to_listen && other->at != state::listening) continue;
        return true;
    }
    return false;
}

int world::choose_port(endpoint& what) {
    constexpr std::uint16_t first = 32768, last = 60999;
    for (unsigned tries = first; tries <= last; ++tries) {
        address where = what.local;
        where.set_port(next_port_);
        next_port_ = next_port_ == last ? first : static_cast<std::uint16_t>(next_port_ + 1);
        if (bind_conflict(what, where)) continue;
        what.local = where;
        return 0;
    }
    return -EADDRNOTAVAIL;
}

int world::bind(endpoint& what, const sockaddr* raw, socklen_t length) {
    if (what.bound) return -EINVAL;
    address where(raw, length);
    if (where.family() != what.family) return what.unix_domain() ? -EINVAL : -EAFNOSUPPORT;
    if (what.unix_domain()) {
        if (paths_.contains(where.path())) return -EADDRINUSE;
        paths_.insert(where.path());
        what.local = where;
    } else {
        if (!simulated(where)) return -EADDRNOTAVAIL;
        if (where.port() != 0 && bind_conflict(what, where)) return -EADDRINUSE;
        what.local = where;
        if (where.port() == 0) {
            if (const int failed = choose_port(what)) return failed;
        }
    }
    what.bound = true;
    return 0;
}

/// A socket that connects without having been bound.
void world::choose_local(endpoint& what, const address& peer) {
    if (what.bound && !wildcard(what.local)) return;
    const std::uint16_t port = what.bound ? what.local.port() : 0;
    const std::string host = peer.host();
    const char* own = what.family == AF_INET6   ? (host == "::1" ? "::1" : "fd00::1")
                      : host.starts_with("10.") ? "10.0.0.1"
                                                : "127.0.0.1";
    what.local = *address::from_ip(own, port);
    if (port == 0) (void)choose_port(what);
    what.bound = true;
}

int world::listen(endpoint& what, int backlog) {
    if (!what.stream()) return -EOPNOTSUPP;
    if (what.at != state::fresh && what.at != state::listening) return -EINVAL;
    if (!what.bound) {
        if (what.unix_domain()) return -EINVAL;
        what.local = *address::from_ip(what.family == AF_INET6 ? "::" : "0.0.0.0", 0);
        if (const int failed = choose_port(what)) return failed;
        what.bound = true;
    }
    if (what.at == state::fresh && !what.unix_domain() && bind_conflict(what, what.local, true)) {
        return -EADDRINUSE;
    }
    what.at = state::listening;
    what.backlog_limit = std::max(backlog, 0);
    return 0;
}

endpoint_ptr world::find_listener(const address& where) {
    std::vector<endpoint_ptr> exact, any;
    for (const auto& each : sockets_) {
        endpoint_ptr socket = each.lock();
        if (!socket || socket->at != state::listening || socket->closed) continue;
        if (socket->family != where.family() || socket->shut_read) continue;
        if (socket->unix_domain()) {
            if (socket->local.path() == where.path()) return socket;
            continue;
        }
        if (socket->local.port() != where.port()) continue;
        if (socket->local == where)
            exact.push_back(std::move(socket));
        else if (wildcard(socket->local))
            any.push_back(std::move(socket));
    }
    auto& best = exact.empty() ? any : exact;
    if (best.empty()) return nullptr;
    return best[luck.draw(purpose::order, 0, best.size() - 1)];
}

// ---- options

int world::get_option(endpoint& what, int level, int name, int& value) {
    if (level == SOL_SOCKET) {
        switch (name) {
        case SO_TYPE:
            value = what.type;
            return 0;
        case SO_DOMAIN:
            value = what.family;
            return 0;
        case SO_ERROR:
            value = what.take_error();
            return 0;
        case SO_ACCEPTCONN:
            value = what.at == state::listening;
            return 0;
        case SO_SNDBUF:
            value = static_cast<int>(what.send_bytes);
            return 0;
        case SO_RCVBUF:
            value = static_cast<int>(what.receive_bytes);
            return 0;
        case SO_PROTOCOL:
            value = what.unix_domain() ? 0 : what.stream() ? IPPROTO_TCP : IPPROTO_UDP;
            return 0;
        default:
            break;
        }
    } else if (what.unix_domain()) {
        return -EOPNOTSUPP;
    }
    if (!known_option(level, name)) return -ENOPROTOOPT;
    value = 0;
    for (const auto& option : what.options) {
        if (option.level != level || option.name != name) continue;
        std::memcpy(&value, option.value.data(), std::min(option.value.size(), sizeof value));
    }
    return 0;
}

int world::set_option(endpoint& what, int level, int name, std::span<const std::byte> value) {
    if (value.size() < sizeof(int)) return -EINVAL;
    int number = 0;
    std::memcpy(&number, value.data(), sizeof number);
    if (level == SOL_SOCKET) {
        const auto doubled = static_cast<std::size_t>(
            std::clamp(number, least_buffer_bytes / 2, most_buffer_bytes) * 2);
        switch (name) {
        case SO_SNDBUF:
            what.send_bytes = doubled;
            return 0;
        case SO_RCVBUF:
            what.receive_bytes = doubled;
            if (const auto other = what.peer.lock()) other->peer_receive_bytes = doubled;
            return 0;
        case SO_LINGER: {
            linger how{};
            if (value.size() < sizeof how) return -EINVAL;
            std::memcpy(&how, value.data(), sizeof how);
            what.linger_reset = how.l_onoff && how.l_linger == 0;
            return 0;
        }
        default:
            break;
        }
    } else if (what.unix_domain()) {
        return -EOPNOTSUPP;
    } else if (level == IPPROTO_TCP && !what.stream()) {
        return -EOPNOTSUPP;
    }
    if (!known_option(level, name)) return -ENOPROTOOPT;
    std::erase_if(what.options,
                  [&](const auto& option) { return option.level == level && option.name == name; });
    what.options.push_back({level, name, byte_vector(value.begin(), value.end())});
    return 0;
}

// ---- receiving, sending, accepting

std::int64_t world::receive(const endpoint_ptr& what, std::span<std::byte> into) {
    if (what->of_pipe()) return read_pipe(what, into);
    if (!what->stream()) {
        if (what->error) return -what->take_error();
        if (what->datagrams.empty()) return what->shut_read ? 0 : -EAGAIN;
        const datagram first = std::move(what->datagrams.front());
        what->datagrams.pop_front();
        const std::size_t count = std::min(into.size(), first.bytes.size());
        if (count) std::memcpy(into.data(), first.bytes.data(), count);
        if (const auto sender = what->peer.lock(); sender && what->unix_domain()) changed(sender);
        return static_cast<std::int64_t>(count);
    }
    if (what->at == state::fresh || what->at == state::listening) {
        return what->unix_domain() ? -EINVAL : -ENOTCONN;
    }
    if (!what->inbox.empty()) {
        std::size_t count = std::min(into.size(), what->inbox.size());
        if (auto fewer =
                luck.strikes(fault_kind::short_receive, 1, static_cast<std::int64_t>(count))) {
            count = std::clamp<std::size_t>(static_cast<std::size_t>(*fewer), 1, count);
        }
        what->inbox.take(into.first(count));
        report_read(what, count);
        return static_cast<std::int64_t>(count);
    }
    if (what->ended_by_peer && !what->unix_domain()) return 0;
    if (what->error) return -what->take_error();
    if (what->ended_by_peer || what->shut_read || what->at == state::ended) return 0;
    return -EAGAIN;
}

std::int64_t world::send(const endpoint_ptr& what, std::span<const std::byte> from, bool whole) {
    if (what->of_pipe()) return write_pipe(what, from);
    if (!what->stream()) return send_datagram(what, from);
    if (what->at == state::connecting) return -EAGAIN;
    if (what->error && !what->unix_domain()) return -what->take_error();
    if (what->shut_write || what->at == state::ended) return -EPIPE;
    if (what->at != state::connected) return what->unix_domain() ? -ENOTCONN : -EPIPE;
    const endpoint_ptr to = what->peer.lock();
    if (what->unix_domain() && (!to || to->shut_read)) return -EPIPE;
    std::size_t count = std::min(from.size(), what->room());
    if (count == 0) return from.empty() ? 0 : -EAGAIN;
    if (!whole) {
        if (auto fewer =
                luck.strikes(fault_kind::short_send, 1, static_cast<std::int64_t>(count))) {
            count = std::clamp<std::size_t>(static_cast<std::size_t>(*fewer), 1, count);
        }
    }
    what->outstanding += count;
    const auto part = from.first(count);
    if (what->unix_domain()) {
        to->inbox.append(part);
        changed(to);
    } else {
        put(what, {segment::kind::data, byte_vector(part.begin(), part.end())});
    }
    return static_cast<std::int64_t>(count);
}

int world::accept(const endpoint_ptr& what) {
    if (!what->stream()) return -EOPNOTSUPP;
    if (what->at != state::listening) return -EINVAL;
    if (what->backlog.empty()) return what->shut_read ? -EINVAL : -EAGAIN;
    constexpr int failures[] = {ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, EPERM};
    if (auto which = luck.strikes(fault_kind::accept_fails, 0, std::size(failures) - 1)) {
        const auto index = static_cast<std::size_t>(*which) % std::size(failures);
        // The connection that was aborted is gone; in a shortage it stays where it is.
        if (failures[index] == ECONNABORTED) {
            const endpoint_ptr gone = std::move(what->backlog.front());
            what->backlog.pop_front();
            gone->listener.reset();
            reset_both(gone);
        }
        return -failures[index];
    }
    const int fd = publish(what->backlog.front());
    if (fd < 0) return fd;
    what->backlog.front()->listener.reset();
    what->backlog.pop_front();
    return fd;
}

int world::shutdown(const endpoint_ptr& what, int how) {
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return -EINVAL;
    if (what->at == state::listening) return stop_listening(what, how);
    const bool connected = what->at == state::connected;
    if (!connected && !what->unix_domain()) return -ENOTCONN;
    if (how == SHUT_RD || how == SHUT_RDWR) {
        what->shut_read = true;
        if (const auto to = what->peer.lock(); to && what->unix_domain()) changed(to);
    }
    if ((how == SHUT_WR || how == SHUT_RDWR) && !what->shut_write) {
        what->shut_write = true;
        say_end(what);
    }
    changed(what);
    return 0;
}

int world::stop_listening(const endpoint_ptr& what, int how) {
    if (how == SHUT_WR) return 0;
    what->shut_read = true;
    if (!what->unix_domain()) {
        what->at = state::fresh;
        drop_backlog(what);
    }
    changed(what);
    return 0;
}

// ---- datagrams

std::int64_t world::send_datagram(const endpoint_ptr& what, std::span<const std::byte> from) {
    if (what->error) return -what->take_error();
    if (what->shut_write) return -EPIPE;
    byte_vector copy(from.begin(), from.end());
    if (what->unix_domain()) {
        if (what->at != state::connected) return -ENOTCONN;
        const endpoint_ptr to = what->peer.lock();
        if (!to || to->closed) return -ECONNREFUSED;
        if (to->datagrams.size() >= most_queued_unix_datagrams) return -EAGAIN;
        to->datagrams.push_back({what->local, std::move(copy)});
        changed(to);
        return static_cast<std::int64_t>(from.size());
    }
    if (what->at != state::connected) return -EDESTADDRREQ;
    if (from.size() > most_datagram_bytes) return -EMSGSIZE;
    const auto takes = travel(what->local, what->remote);
    if (luck.strikes(fault_kind::loss)) return static_cast<std::int64_t>(from.size());
    const auto late = luck.strikes(fault_kind::reorder, 100, 20'000);
    const auto copies = luck.strikes(fault_kind::duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
        const auto when = takes + std::chrono::microseconds(late.value_or(0)) * (i + 1);
        after(when, [this, what, message = datagram{what->local, copy}]() mutable {
            datagram_arrives(what, std::move(message), what->remote);
        });
    }
    return static_cast<std::int64_t>(from.size());
}

endpoint_ptr world::find_receiver(const address& where, const address& from) {
    endpoint_ptr any;
    for (const auto& each : sockets_) {
        endpoint_ptr socket = each.lock();
        if (!socket || socket->closed || socket->stream() || !socket->bound) continue;
        if (socket->family != where.family() || socket->local.port() != where.port()) continue;
        if (!(socket->local == where) && !wildcard(socket->local)) continue;
        if (socket->at == state::connected) {
            if (socket->remote == from) return socket;  // it listens to this peer only
            continue;
        }
        any = std::move(socket);
    }
    return any;
}

void world::datagram_arrives(const endpoint_ptr& from, datagram what, const address& to) {
    if (is_cut(from->local, to)) return;
    if (const endpoint_ptr receiver = find_receiver(to, what.from)) {
        std::size_t held = 0;
        for (const auto& each : receiver->datagrams) held += each.bytes.size() + 512;
        if (held > receiver->receive_bytes) return;  // no room: dropped
        receiver->datagrams.push_back(std::move(what));
        return changed(receiver);
    }
    after(travel(to, from->local), [this, from] {  // the ICMP message of a host without receiver
        if (from->closed) return;
        from->error = ECONNREFUSED;
        changed(from);
    });
}

}  // namespace ouro::testing::sim
