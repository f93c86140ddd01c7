// Reading a datagram out of what the door gave.
#include <netinet/in.h>
#include <netinet/udp.h>

#include <algorithm>
#include <cstring>

#include <ouro/runtime/io.hpp>

#include "datagram_layout.hpp"

namespace ouro::io {
namespace {

/// What the control data say of the datagram.
void read_control(msghdr header, datagram_view& into) noexcept {
    for (cmsghdr* each = CMSG_FIRSTHDR(&header); each; each = CMSG_NXTHDR(&header, each)) {
        std::uint32_t number = 0;
        std::memcpy(&number, CMSG_DATA(each), sizeof number);
        if (each->cmsg_level == IPPROTO_UDP && each->cmsg_type == UDP_GRO) {
            into.segment_bytes = number;
        } else if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_RXQ_OVFL) {
            into.drop_count = number;
        }
    }
}

}  // namespace

datagram_view datagram_of(const op& done) noexcept {
    detail::datagram_head head;
    std::memcpy(&head, done.data, sizeof head);
    std::byte* const name = done.data + sizeof head;
    msghdr control{};
    control.msg_control = name + detail::datagram_name_room;
    control.msg_controllen =
        std::min<std::size_t>(head.control_bytes, detail::datagram_control_room);
    const auto count = static_cast<std::size_t>(done.res) - detail::datagram_payload_at;
    datagram_view what{reinterpret_cast<const sockaddr*>(name),
                       std::min<socklen_t>(head.name_bytes, detail::datagram_name_room),
                       {done.data + detail::datagram_payload_at, count},
                       head.payload_bytes,
                       0,
                       0};
    read_control(control, what);
    return what;
}

datagram_view datagram_of(const msghdr& header, std::size_t whole_bytes) noexcept {
    const iovec& room = header.msg_iov[0];
    datagram_view what{
        static_cast<const sockaddr*>(header.msg_name),
        header.msg_namelen,
        {static_cast<const std::byte*>(room.iov_base), std::min(room.iov_len, whole_bytes)},
        whole_bytes,
        0,
        0};
    read_control(header, what);
    return what;
}

}  // namespace ouro::io
