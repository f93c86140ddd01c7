// Simulated messages: sendmsg(2) and recvmsg(2), and the descriptors that go along on unix sockets.
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

constexpr std::size_t most_joined_bytes = 65507;

byte_vector gathered(const msghdr& message) {
    byte_vector all;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
        const auto* const start = static_cast<const std::byte*>(message.msg_iov[i].iov_base);
        all.insert(all.end(), start, start + message.msg_iov[i].iov_len);
    }
    return all;
}

std::size_t room_of(const msghdr& message) {
    std::size_t all = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) all += message.msg_iov[i].iov_len;
    return all;
}

void scatter(std::span<const std::byte> from, const msghdr& into) {
    for (std::size_t i = 0; i < into.msg_iovlen && !from.empty(); ++i) {
        const std::size_t count = std::min(from.size(), into.msg_iov[i].iov_len);
        std::memcpy(into.msg_iov[i].iov_base, from.data(), count);
        from = from.subspan(count);
    }
}

void give_name(const address& name, msghdr& into) {
    const socklen_t room = std::exchange(into.msg_namelen, name ? name.length() : 0);
    if (!into.msg_name || !name) return;
    std::memcpy(into.msg_name, name.raw(), std::min(room, name.length()));
}

/// UDP_SEGMENT of a message, or 0.
std::size_t segment_of(msghdr message) {
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
        if (each->cmsg_level != IPPROTO_UDP || each->cmsg_type != UDP_SEGMENT) continue;
        std::uint16_t size = 0;
        std::memcpy(&size, CMSG_DATA(each), sizeof size);
        return size;
    }
    return 0;
}

/// Adds a number to the control data, of which `room` bytes are there.
void say(int level, int type, int number, std::size_t room, msghdr& into) {
    const std::size_t used = into.msg_controllen;
    if (!into.msg_control || room < used + CMSG_SPACE(sizeof number)) return;
    cmsghdr head{};
    head.cmsg_len = CMSG_LEN(sizeof number);
    head.cmsg_level = level;
    head.cmsg_type = type;
    auto* const at = static_cast<std::byte*>(into.msg_control) + used;
    std::memcpy(at, &head, sizeof head);
    std::memcpy(at + CMSG_LEN(0), &number, sizeof number);
    into.msg_controllen = used + CMSG_SPACE(sizeof number);
}

bool option_is_on(const endpoint& of, int level, int name) {
    return std::any_of(of.options.begin(), of.options.end(), [&](const auto& option) {
        return option.level == level && option.name == name && option.value[0] != std::byte{0};
    });
}

}  // namespace

// ---- the two calls

std::int64_t world::send_message(const endpoint_ptr& what, const msghdr& message) {
    sockaddr_storage name{};  // the caller's may lie anywhere, as for the kernel
    if (message.msg_namelen > sizeof name) return -EINVAL;
    std::vector<endpoint_ptr> rights;
    if (what->unix_domain() && !collect_rights(message, rights)) return -EBADF;
    for (const endpoint_ptr& each : rights) hold(*each);
    if (message.msg_namelen) std::memcpy(&name, message.msg_name, message.msg_namelen);
    const address to(reinterpret_cast<const sockaddr*>(&name), message.msg_namelen);
    std::int64_t outcome = 0;
    if (!what->stream()) {
        if (const std::size_t segment = segment_of(message)) {
            return send_segments(what, message, message.msg_namelen ? &to : nullptr, segment);
        }
        outcome = send_datagram(what, {{}, gathered(message), rights, 0, 0},
                                message.msg_namelen ? &to : nullptr);
        if (outcome < 0) drop_rights(std::move(rights));
        return outcome;
    }
    const endpoint_ptr receiver = what->unix_domain() ? what->peer.lock() : nullptr;
    const std::size_t before = receiver ? receiver->inbox.size() : 0;
    if (receiver && !rights.empty()) {
        // First, because the send may make a waiting receive take the bytes there and then.
        receiver->passed.push_back({before, room_of(message), rights});
    }
    outcome = send(what, gathered(message), false);
    if (rights.empty()) return outcome;
    if (outcome <= 0) {
        if (receiver) receiver->passed.pop_back();
        drop_rights(std::move(rights));
    } else if (!receiver->passed.empty() && receiver->passed.back().rights == rights) {
        receiver->passed.back().length = static_cast<std::size_t>(outcome);
    }
    return outcome;
}

int world::send_messages(const endpoint_ptr& what, std::span<mmsghdr> messages) {
    int sent = 0;
    for (mmsghdr& each : messages) {
        const std::int64_t taken = send_message(what, each.msg_hdr);
        if (taken < 0) return sent ? sent : static_cast<int>(taken);
        each.msg_len = static_cast<unsigned>(taken);
        ++sent;
    }
    return sent;
}

std::int64_t world::receive_message(const endpoint_ptr& what, msghdr& into, int flags) {
    std::vector<endpoint_ptr> rights;
    into.msg_flags = 0;
    if (what->stream()) {
        byte_vector bytes(room_of(into));
        const std::int64_t got = receive_stream(what, bytes, rights);
        if (got < 0) return got;
        scatter(std::span(bytes).first(static_cast<std::size_t>(got)), into);
        give_name(what->unix_domain() ? what->remote : address(), into);
        hand_out_rights(std::move(rights), into);
        return got;
    }
    if (what->error) return -what->take_error();
    if (what->datagrams.empty()) {
        if (!what->shut_read) return -EAGAIN;
        give_name(address(), into);
        hand_out_rights({}, into);
        return 0;
    }
    datagram first = take_datagram(what);
    const std::size_t room = room_of(into);
    const std::size_t segment = join_segments(what, first, room);
    scatter(first.bytes, into);
    give_name(first.from, into);
    const std::size_t control_room = into.msg_controllen;
    hand_out_rights(first.rights, into);
    if (first.drops_before && option_is_on(*what, SOL_SOCKET, SO_RXQ_OVFL)) {
        say(SOL_SOCKET, SO_RXQ_OVFL, static_cast<int>(first.drops_before), control_room, into);
    }
    if (segment) say(IPPROTO_UDP, UDP_GRO, static_cast<int>(segment), control_room, into);
    if (first.bytes.size() > room) into.msg_flags |= MSG_TRUNC;
    const bool whole_length = flags & MSG_TRUNC;
    return static_cast<std::int64_t>(whole_length ? first.bytes.size()
                                                  : std::min(room, first.bytes.size()));
}

// ---- messages that are cut up and joined again

std::int64_t world::send_segments(const endpoint_ptr& what, const msghdr& message,
                                  const address* to, std::size_t segment) {
    const byte_vector all = gathered(message);
    constexpr std::size_t most_segments = 128;
    if (all.size() > segment * most_segments) return -EINVAL;
    if (all.size() > most_joined_bytes) return -EMSGSIZE;
    const std::uint64_t number = ++ops;
    std::optional<clock::duration> together;
    for (std::size_t at = 0; at < all.size(); at += segment) {
        const auto from = all.begin() + static_cast<std::ptrdiff_t>(at);
        const auto size = static_cast<std::ptrdiff_t>(std::min(segment, all.size() - at));
        const std::int64_t sent =
            send_datagram(what, {{}, {from, from + size}, {}, number, 0}, to, &together);
        if (sent < 0) return sent;
    }
    return static_cast<std::int64_t>(all.size());
}

/// Joins those that follow `first` and were cut from the same message, for a socket that wants
/// that. Their size, or 0 when there are none.
std::size_t world::join_segments(const endpoint_ptr& what, datagram& first, std::size_t room) {
    if (first.cut_from == 0 || !option_is_on(*what, IPPROTO_UDP, UDP_GRO)) return 0;
    const std::size_t segment = first.bytes.size();
    std::size_t last = segment;
    bool any = false;
    while (last == segment && !what->datagrams.empty()) {
        const datagram& next = what->datagrams.front();
        if (next.cut_from != first.cut_from || next.bytes.size() > segment) break;
        if (first.bytes.size() + next.bytes.size() > std::min(room, most_joined_bytes)) break;
        last = next.bytes.size();
        first.bytes.insert(first.bytes.end(), next.bytes.begin(), next.bytes.end());
        what->datagrams.pop_front();
        any = true;
    }
    return any ? segment : 0;
}

// ---- descriptors that go along

bool world::collect_rights(const msghdr& message, std::vector<endpoint_ptr>& rights) {
    msghdr copy = message;
    for (cmsghdr* each = CMSG_FIRSTHDR(&copy); each; each = CMSG_NXTHDR(&copy, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
            rights.push_back(find(fd));
            if (!rights.back()) return false;
        }
    }
    return true;
}

/// As many as there is room for get a descriptor; the others are closed.
void world::hand_out_rights(std::vector<endpoint_ptr> rights, msghdr& into) {
    const std::size_t room = std::exchange(into.msg_controllen, 0);
    if (rights.empty()) return;
    std::vector<int> fds;
    const std::size_t most =
        into.msg_control && room > CMSG_LEN(0) ? (room - CMSG_LEN(0)) / sizeof(int) : 0;
    while (fds.size() < std::min(most, rights.size())) {
        const int fd = publish(rights[fds.size()]);
        if (fd < 0) break;
        fds.push_back(fd);
    }
    if (fds.size() < rights.size()) into.msg_flags |= MSG_CTRUNC;
    if (!fds.empty()) {
        cmsghdr head{};
        head.cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        head.cmsg_level = SOL_SOCKET;
        head.cmsg_type = SCM_RIGHTS;
        std::memcpy(into.msg_control, &head, sizeof head);
        std::memcpy(static_cast<std::byte*>(into.msg_control) + CMSG_LEN(0), fds.data(),
                    fds.size() * sizeof(int));
        into.msg_controllen = std::min(room, CMSG_SPACE(fds.size() * sizeof(int)));
    }
    drop_rights(std::move(rights));  // the descriptors hold what they stand for
}

void world::drop_rights(std::vector<endpoint_ptr> rights) {
    for (const endpoint_ptr& each : rights) let_go(each);
}

/// Nobody will receive them any more.
void world::drop_rights_of(const endpoint_ptr& what) {
    for (auto& each : std::exchange(what->passed, {})) drop_rights(std::move(each.rights));
    for (auto& each : what->datagrams) drop_rights(std::exchange(each.rights, {}));
}

std::size_t endpoint::reach_rights(std::size_t count, std::vector<endpoint_ptr>& rights) {
    if (passed.empty()) return count;
    passed_along& first = passed.front();
    if (count > first.begin) {
        count = std::min(count, first.begin + first.length);
        rights = std::exchange(first.rights, {});
        passed.pop_front();
    }
    for (passed_along& each : passed) each.begin -= std::min(each.begin, count);
    return count;
}

}  // namespace ouro::testing::sim
