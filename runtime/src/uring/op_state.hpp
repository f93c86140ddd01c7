// What the engine notes in an op, and how entries name ops.
#pragma once

#include <cstdint>

#include <ouro/runtime/op.hpp>

namespace ouro::uring {

// op::engine_state
inline constexpr std::uint8_t fast_send = 1;  // over once it is handed over; only failure is told
inline constexpr std::uint8_t ring_receive = 2;
inline constexpr std::uint8_t direct_receive = 3;  // `data`, `length`: the memory the kernel owns
inline constexpr std::uint8_t datagram_receive = 4;
inline constexpr std::uint8_t starved_receive = 5;  // waits for a shared buffer, not in the kernel
inline constexpr std::uint8_t starved_datagrams = 6;
// Files that are no sockets; `op::engine_fd` says which. What is not ready is polled for, and tried
// again.
inline constexpr std::uint8_t file_read = 8;     // `data`, `length`: the memory the kernel owns
inline constexpr std::uint8_t ring_read = 9;     // again and again
inline constexpr std::uint8_t single_read = 10;  // once, into the shared ring
inline constexpr std::uint8_t file_write = 11;
inline constexpr std::uint8_t await_room = 12;  // only the poll
inline constexpr std::uint8_t starved_read = 13;
inline constexpr std::uint8_t on_worker = 0x10;  // beside one of these: on a thread of the kernel's
inline constexpr std::uint8_t polled_for = 0x20;  // beside one of these
inline constexpr std::uint8_t kinds = 0x0f;
inline constexpr std::uint8_t cancel_sent = 0x80;

constexpr bool of_file(std::uint8_t state) noexcept {
    return (state & kinds) >= file_read && (state & kinds) <= await_room;
}
constexpr bool is_starved(std::uint8_t state) noexcept {
    const auto kind = state & kinds;
    return kind == starved_receive || kind == starved_datagrams || kind == starved_read;
}

// An op's address and, above it, which use of the op this is: a late cancel cannot hit the next one
// at the same place.
inline constexpr unsigned generation_shift = 48;
inline std::uint64_t tag(const op& request) noexcept {
    return reinterpret_cast<std::uintptr_t>(&request) |
           (std::uint64_t{request.generation} << generation_shift);
}

}  // namespace ouro::uring
