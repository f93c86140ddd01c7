// What the other end of a connection does from within a call, without the loop's next turn.
#pragma once

#include <cstddef>
#include <string_view>

#include <ouro/net/socket.hpp>

namespace ouro::test {

/// Sends: the bytes are in the other's socket before the loop's next turn.
void send_now(const socket& from, std::string_view text);
/// The same on a descriptor.
void send_now(loop& home, int from, std::string_view text);
/// Sends until the socket takes no more.
void fill_now(const socket& to);
/// Says end of stream.
void end_now(const socket& of);
/// The same on a descriptor.
void end_now(loop& home, int of);
/// Closes so that the other end meets a reset. TCP only.
void reset_now(socket& of);

/// What a receive would find.
struct peeked {
    std::size_t byte_count = 0;  ///< bytes that can be read at once
    bool ended = false;          ///< nothing is left, and the peer will send no more
};
/// Looks at what has arrived, without taking it.
peeked peek(const socket& at);

/// True when this end was told that the peer will send no more.
inline bool sees_end(const socket& at) { return peek(at).ended; }
/// Bytes that can be read at once, without taking them.
inline std::size_t readable_bytes(const socket& at) { return peek(at).byte_count; }
/// Takes all that has come.
task<> drain(socket& from);

}  // namespace ouro::test
