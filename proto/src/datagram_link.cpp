// The life of a datagram transport: made, replaced protocols, groups, and how it comes to be lost.
#include "datagram_link.hpp"

#include <netinet/in.h>
#include <netinet/udp.h>

#include <cstring>

#include <ouro/runtime/io.hpp>

namespace ouro {

void datagram_protocol::connection_made(std::shared_ptr<datagram_transport>) {}
void datagram_protocol::datagram_received(bytes, const address&) {}
void datagram_protocol::datagram_truncated(bytes, const address& from, std::size_t whole_bytes) {
    error_received(error(std::errc::message_size, [&] {
        return "receive a datagram of " + std::to_string(whole_bytes) + " bytes from " +
               from.to_string();
    }));
}
void datagram_protocol::error_received(error) {}

namespace detail {
namespace {

// Errors that wait to be told; more are only counted.
constexpr std::size_t most_untold = 64;
// The segments the kernel cuts a message into.
constexpr std::size_t usual_segment_bytes = 65'000;

}  // namespace

datagram_link::datagram_link(loop& home, int fd, std::shared_ptr<base_protocol> receiver,
                             const datagram_setup& how)
    : transport_life(home, fd),
      datagram_receive_op(&received),
      datagram_send_op(&sent),
      remote_(how.remote),
      room_bytes_(how.receive_bytes),
      family_(how.family),
      connected_(how.connected) {
    io::claim(home, fd);
    turn_end_hook::run = &flush_hook;
    timer_node::fire = &receive_again;
    attach(std::move(receiver));
    const bool is_udp = family_ == AF_INET || family_ == AF_INET6;
    one_by_one_ = room_bytes_ != 0 || !is_udp;
    if (is_udp) (void)set_option(SOL_SOCKET, SO_RXQ_OVFL, 1);  // only to count
    if (!is_udp || !how.segmentation) return;
    most_segment_bytes_ = usual_segment_bytes;
    // Where the kernel does not know it, or this is not UDP, datagrams come one by one.
    if (!one_by_one_) (void)set_option(IPPROTO_UDP, UDP_GRO, 1);
}

void datagram_link::attach(std::shared_ptr<base_protocol> receiver) {
    receiver_ = std::move(receiver);
    protocol_ = dynamic_cast<datagram_protocol*>(receiver_.get());
    OURO_ASSERT(protocol_, "a datagram endpoint needs a datagram_protocol");
}

void datagram_link::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (lost_) return;
    retired_.push_back(receiver_);  // a callback of its own may be what replaces it
    attach(std::move(receiver));
    schedule();
}

// ---- what the ready queue runs for us

void datagram_link::run_due() noexcept {
    retired_.clear();
    for (error& each : std::exchange(errors_, {})) {
        guarded("error_received", [&] { protocol_->error_received(std::move(each)); });
    }
    if (std::exchange(held_due_, false)) deliver_held();
}

/// The protocol hears of it from the ready queue, never from inside a call of its own.
void datagram_link::tell(error why) noexcept {
    ++counted_.errors;
    if (errors_.size() >= most_untold || lost_) return;
    try {
        errors_.push_back(std::move(why));
    } catch (const std::bad_alloc&) {
        return;  // counted all the same
    }
    schedule();
}

std::string datagram_link::describe() const {
    std::string text = "datagram endpoint fd " + std::to_string(fd_);
    const auto own = fd_ >= 0 ? local_address() : result<address>(local_);
    if (own && *own) text += " " + own->to_string();
    return remote_ ? text + " -> " + remote_.to_string() : text;
}

// ---- the end

void datagram_link::close() {
    if (closing_) return;
    closing_ = true;
    held_.clear();
    stop_receiving();
    if (queue_.empty() && !datagram_send_op::in_flight) {
        end({});
    } else {
        schedule_flush();
    }
}

void datagram_link::take_back() noexcept {
    held_.clear();
    turn_end_hook::unlink();
    stop_receiving();
    io::cancel(*home_, static_cast<datagram_send_op&>(*this));
}

void datagram_link::lose() noexcept {
    queue_.clear();
    local_ = local_address().value_or(address());
    tell_lost();
    protocol_ = nullptr;
    inbox_.reset();
    outbox_.reset();
    let_go();
}

// ---- what may be asked

std::any datagram_link::extra_info(std::string_view name) const {
    if (name == "socket") return static_cast<const socket_view*>(this);
    if (name == "peername" && remote_) return remote_;
    if (name != "sockname") return {};
    const auto own = fd_ >= 0 ? local_address() : result<address>(local_);
    return own && *own ? std::any(*own) : std::any();
}

result<> datagram_link::join_group(const address& group, unsigned interface_index) {
    return change_membership(group, interface_index, IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP);
}

result<> datagram_link::leave_group(const address& group, unsigned interface_index) {
    return change_membership(group, interface_index, IP_DROP_MEMBERSHIP, IPV6_LEAVE_GROUP);
}

result<> datagram_link::change_membership(const address& group, unsigned interface_index, int v4,
                                          int v6) {
    if (lost_) return error(errc::invalid_state, "change a membership of a closed endpoint");
    if (group.family() != family_ || family_ == AF_UNIX) {
        return error(errc::value_error, "change a membership: the group is of another family");
    }
    result<> changed;
    if (family_ == AF_INET) {
        ip_mreqn request{};
        request.imr_multiaddr = reinterpret_cast<const sockaddr_in*>(group.raw())->sin_addr;
        request.imr_ifindex = static_cast<int>(interface_index);
        changed =
            io::set_option(*home_, fd_, IPPROTO_IP, v4, std::as_bytes(std::span(&request, 1)));
    } else {
        ipv6_mreq request{};
        request.ipv6mr_multiaddr = reinterpret_cast<const sockaddr_in6*>(group.raw())->sin6_addr;
        request.ipv6mr_interface = interface_index;
        changed =
            io::set_option(*home_, fd_, IPPROTO_IPV6, v6, std::as_bytes(std::span(&request, 1)));
    }
    if (!changed) changed.error().while_doing([&] { return "group " + group.host(); });
    return changed;
}

}  // namespace detail
}  // namespace ouro
