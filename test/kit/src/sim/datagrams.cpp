// Simulated datagrams: where they go, what becomes of them on the way, and where they wait.
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

// IPv4 and IPv6 without jumbograms; a unix datagram is bound by SO_SNDBUF, less what the kernel
// needs for itself.
constexpr std::size_t most_datagram_bytes = 65507;
constexpr std::size_t most_unix_datagram_bytes = 212'992 - 32;
constexpr std::size_t most_queued_unix_datagrams = 11;
constexpr std::size_t datagram_overhead = 512;

bool wildcard(const address& where) {
    const std::string host = where.host();
    return host == "0.0.0.0" || host == "::";
}

bool multicast(const address& where) {
    if (where.family() == AF_INET) {
        const auto& raw = *reinterpret_cast<const sockaddr_in*>(where.raw());
        return IN_MULTICAST(ntohl(raw.sin_addr.s_addr));
    }
    const auto& raw = *reinterpret_cast<const sockaddr_in6*>(where.raw());
    return IN6_IS_ADDR_MULTICAST(&raw.sin6_addr);
}

bool broadcast(const address& where) { return where.host() == "127.255.255.255"; }

bool may_broadcast(const endpoint& what) {
    return std::any_of(what.options.begin(), what.options.end(), [](const auto& option) {
        return option.level == SOL_SOCKET && option.name == SO_BROADCAST &&
               option.value[0] != std::byte{0};
    });
}

}  // namespace

// ---- sending

/// The address a datagram to `to` comes from. A socket without one gets a port.
int world::choose_source(endpoint& what, const address& to, address& source) {
    if (!what.bound) {
        what.local = *address::from_ip(what.family == AF_INET6 ? "::" : "0.0.0.0", 0);
        if (const int failed = choose_port(what)) return failed;
        what.bound = true;
    }
    source = what.local;
    if (!wildcard(source)) return 0;
    const std::string host = to.host();
    const char* own = what.family == AF_INET6   ? (host == "::1" ? "::1" : "fd00::1")
                      : host.starts_with("10.") ? "10.0.0.1"
                                                : "127.0.0.1";
    source = *address::from_ip(own, what.local.port());
    return 0;
}

std::int64_t world::send_datagram(const endpoint_ptr& what, datagram message, const address* to,
                                  std::optional<clock::duration>* together) {
    if (what->unix_domain()) return send_unix_datagram(what, std::move(message), to);
    if (what->error) return -what->take_error();
    if (what->shut_write) return -EPIPE;
    const auto size = static_cast<std::int64_t>(message.bytes.size());
    if (!to && what->at != state::connected) return -EDESTADDRREQ;
    address where = to ? *to : what->remote;
    if (where.family() != what->family) return -EAFNOSUPPORT;
    if (where.port() == 0) return -EINVAL;
    if (message.bytes.size() > most_datagram_bytes) return -EMSGSIZE;
    if (where.host() == "0.0.0.0") where = *address::from_ip("127.0.0.1", where.port());
    if (where.host() == "::") where = *address::from_ip("::1", where.port());
    if (broadcast(where) && !may_broadcast(*what)) return -EACCES;
    if (const int failed = choose_source(*what, where, message.from)) return failed;
    const auto takes = together && *together ? **together : travel(message.from, where);
    if (together) *together = takes;
    if (luck.strikes(fault_kind::loss)) return size;
    const auto late = luck.strikes(fault_kind::reorder, 100, 20'000);
    const auto copies = luck.strikes(fault_kind::duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
        const auto when = takes + std::chrono::microseconds(late.value_or(0)) * (i + 1);
        after(when, [this, what, copy = message, where]() mutable {
            datagram_arrives(what, std::move(copy), where);
        });
    }
    return size;
}

std::int64_t world::send_unix_datagram(const endpoint_ptr& what, datagram message,
                                       const address* to) {
    if (what->shut_write) return -EPIPE;
    if (!to && what->at != state::connected) return -ENOTCONN;
    if (to && to->family() != AF_UNIX) return -EINVAL;
    if (message.bytes.size() > most_unix_datagram_bytes) return -EMSGSIZE;
    const endpoint_ptr receiver = to ? find_path(*to) : what->peer.lock();
    if (!receiver || receiver->closed) {
        const bool known = !to || to->path().starts_with('\0') || files_.contains(to->path());
        return known ? -ECONNREFUSED : -ENOENT;
    }
    if (receiver->stream()) return -EPROTOTYPE;
    const endpoint_ptr its_peer = receiver->peer.lock();
    if (receiver->at == state::connected && its_peer != what) return -EPERM;
    if (receiver->shut_read) return -EPIPE;
    if (receiver->datagrams.size() >= most_queued_unix_datagrams) {
        receiver->held_up.push_back(what);
        return -EAGAIN;
    }
    const auto size = static_cast<std::int64_t>(message.bytes.size());
    message.from = what->bound ? what->local : address();
    receiver->datagrams.push_back(std::move(message));
    changed(receiver);
    return size;
}

int world::connect_unix_datagrams(const endpoint_ptr& what, const address& to) {
    const endpoint_ptr receiver = find_path(to);
    if (!receiver) {
        const bool known = to.path().starts_with('\0') || files_.contains(to.path());
        return known ? -ECONNREFUSED : -ENOENT;
    }
    if (receiver->stream()) return -EPROTOTYPE;
    const endpoint_ptr its_peer = receiver->peer.lock();
    if (receiver->at == state::connected && its_peer != what) return -EPERM;
    what->peer = receiver;
    what->remote = receiver->local;
    what->at = state::connected;
    return 0;
}

endpoint_ptr world::find_path(const address& where) const {
    const auto file = files_.find(where.path());
    if (file == files_.end()) return nullptr;
    for (const auto& each : sockets_) {
        endpoint_ptr socket = each.lock();
        if (!socket || socket->closed || !socket->bound || !socket->unix_domain()) continue;
        if (socket->inode == file->second.inode) return socket;
    }
    return nullptr;
}

// ---- arriving

endpoint_ptr world::find_receiver(const address& where, const address& from) {
    std::vector<endpoint_ptr> any;
    for (const auto& each : sockets_) {
        endpoint_ptr socket = each.lock();
        if (!socket || socket->closed || socket->stream() || !socket->bound) continue;
        if (socket->family != where.family() || socket->local.port() != where.port()) continue;
        if (!(socket->local == where) && !wildcard(socket->local)) continue;
        if (socket->at == state::connected) {
            if (socket->remote == from) return socket;  // it listens to this peer only
            continue;
        }
        any.push_back(std::move(socket));
    }
    if (any.empty()) return nullptr;
    // Those that share a port: each sender has one of them.
    return any[from.port() % any.size()];
}

/// All that get a datagram for a group, or for everybody.
std::vector<endpoint_ptr> world::find_receivers(const address& where, const address& from) {
    address group = where;
    group.set_port(0);
    std::vector<endpoint_ptr> found;
    for (const auto& each : sockets_) {
        endpoint_ptr socket = each.lock();
        if (!socket || socket->closed || socket->stream() || !socket->bound) continue;
        if (socket->family != where.family() || socket->local.port() != where.port()) continue;
        if (!wildcard(socket->local) && !(socket->local == where)) continue;
        if (socket->at == state::connected && !(socket->remote == from)) continue;
        const auto& groups = socket->groups;
        const bool joined = std::find(groups.begin(), groups.end(), group) != groups.end();
        if (joined || broadcast(where)) found.push_back(std::move(socket));
    }
    return found;
}

int world::change_membership(endpoint& what, int name, std::span<const std::byte> value) {
    address group;
    if (what.family == AF_INET) {
        if (value.size() < sizeof(ip_mreq)) return -EINVAL;
        sockaddr_in raw{};
        raw.sin_family = AF_INET;
        std::memcpy(&raw.sin_addr, value.data(), sizeof raw.sin_addr);
        group = address(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
    } else {
        if (value.size() < sizeof(ipv6_mreq)) return -EINVAL;
        sockaddr_in6 raw{};
        raw.sin6_family = AF_INET6;
        std::memcpy(&raw.sin6_addr, value.data(), sizeof raw.sin6_addr);
        group = address(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
    }
    if (!multicast(group)) return -EINVAL;
    const auto found = std::find(what.groups.begin(), what.groups.end(), group);
    const bool joins = name == IP_ADD_MEMBERSHIP || name == IPV6_JOIN_GROUP;
    if (joins && found != what.groups.end()) return -EADDRINUSE;
    if (!joins && found == what.groups.end()) return -EADDRNOTAVAIL;
    joins ? what.groups.push_back(group) : void(what.groups.erase(found));
    return 0;
}

void world::datagram_arrives(const endpoint_ptr& from, datagram what, const address& to) {
    const address source = what.from;
    if (is_cut(source, to)) return;
    if (multicast(to) || broadcast(to)) {
        for (const endpoint_ptr& each : find_receivers(to, source)) put_datagram(each, what);
        return;
    }
    if (const endpoint_ptr receiver = find_receiver(to, source)) {
        return put_datagram(receiver, std::move(what));
    }
    after(travel(to, source), [this, from, to] {  // the ICMP message of a host without receiver
        if (from->closed || from->at != state::connected || !(from->remote == to)) return;
        from->error = ECONNREFUSED;
        changed(from);
    });
}

void world::put_datagram(const endpoint_ptr& receiver, datagram what) {
    std::size_t held = 0;
    for (const auto& each : receiver->datagrams) held += each.bytes.size() + datagram_overhead;
    if (held > receiver->receive_bytes) {
        ++receiver->drops;
        return;
    }
    what.drops_before = receiver->drops;
    const bool has_brothers = what.cut_from != 0;
    receiver->datagrams.push_back(std::move(what));
    if (!has_brothers) return changed(receiver);
    // Nobody looks before those that arrive at the same moment are there too.
    after({}, [this, receiver] { changed(receiver); });
}

/// The first one that waits; there is one.
datagram world::take_datagram(const endpoint_ptr& what) {
    datagram first = std::move(what->datagrams.front());
    what->datagrams.pop_front();
    for (const auto& each : std::exchange(what->held_up, {})) {
        if (const endpoint_ptr sender = each.lock()) changed(sender);
    }
    return first;
}

}  // namespace ouro::testing::sim
