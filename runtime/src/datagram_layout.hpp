// How a datagram lies in a buffer that an engine lends: a head, the sender's name, the control
// data, the payload. io_uring's multishot receives write it, `io::datagram_of` reads it.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>

namespace ouro::detail {

/// The head: io_uring's `io_uring_recvmsg_out`. The lengths are what there was, whatever the room.
struct datagram_head {
    std::uint32_t name_bytes;
    std::uint32_t control_bytes;
    std::uint32_t payload_bytes;
    std::uint32_t flags;
};

inline constexpr std::size_t datagram_name_room = 112;  // sockaddr_un, the longest, and padding
inline constexpr std::size_t datagram_control_room = 64;
inline constexpr std::size_t datagram_payload_at =
    sizeof(datagram_head) + datagram_name_room + datagram_control_room;
// What UDP can carry, and what the kernel joins at most (UDP_GRO).
inline constexpr std::size_t datagram_payload_room = 64 * 1024;
inline constexpr std::size_t datagram_buffer_bytes = datagram_payload_at + datagram_payload_room;

}  // namespace ouro::detail
