// Bytes that go from one connection to another inside the kernel.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

/// How many bytes a relay has handed over.
struct relay_report {
    std::uint64_t there = 0;  ///< from the first socket to the second
    std::uint64_t back = 0;   ///< from the second to the first
};

/// How a relay works.
struct relay_options {
    /// How many bytes may be between the sockets, in each direction: the size of a pipe, which the
    /// system rounds up, and makes smaller for users who have much in pipes.
    std::size_t pipe_bytes = 256 * 1024;
    /// Ends it with `std::errc::timed_out` once no byte has moved either way for so long; 0: never.
    clock::duration idle_timeout{};
    /// Kept up to date, also when the relay fails or is cancelled. Null: nobody wants to know.
    relay_report* progress = nullptr;
};

/// Passes on what either of two stream sockets receives to the other one, until both directions
/// have ended. The end of what one sends ends the other's input and nothing else: the opposite
/// direction goes on. Neither socket is closed.
///
///     auto server = co_await reach(target);
///     co_await server.send_all(rest);  // what was read of the client and not yet dealt with
///     const auto report = co_await as_result(relay(client, server, {.idle_timeout = 10min}));
///
/// The bytes do not come to user space, except where the kernel cannot carry them, or has no
/// descriptor for a pipe: then they are copied. A receiver that is slow stops its sender once the
/// buffers of both sockets and the pipe are full; that such a sender is gone is noticed when there
/// is room again, or by `idle_timeout`.
///
/// Result    how many bytes went each way.
/// Errors    `errc::value_error` for the same socket twice or one that is no stream; what receive
///           and send fail with, which says at which of the two sockets; `std::errc::timed_out`.
///           The first failure ends both directions; what had come by then is handed over as far
///           as it is taken at once. The end is not passed on: the other peer would take what it
///           got for everything. Give it a reset as well (SO_LINGER, with a time of 0).
/// Cancel    stops it; what is in a pipe is lost: at most `pipe_bytes` each way.
/// Lifetime  `progress` lives until the end. Closing either socket ends it with `errc::cancelled`.
/// Threads   the loop's thread. Nothing else receives or sends on the sockets meanwhile.
/// Cost      two pipes, two tasks or four; for each wait one operation, for each piece two splices
///           of four system calls each.
task<relay_report> relay(socket& one, socket& other, relay_options how = {});

/// One direction of `relay`: passes on what `from` receives until its end, which it makes the end
/// of what `to` is sent. Other tasks may use the opposite direction. A peer of `to` that is gone is
/// noticed when there are bytes for it.
///
/// Result    how many bytes went.
/// Errors    as `relay`.
/// Cancel    as `relay`.
/// Lifetime  as `relay`; `progress` counts in `there`.
/// Threads   the loop's thread. Nothing else receives on `from` or sends on `to` meanwhile.
task<std::uint64_t> relay_one_way(socket& from, socket& to, relay_options how = {});

}  // namespace ouro
