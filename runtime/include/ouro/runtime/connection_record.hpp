// What is left of a connection when it is over: one record for a log.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include <ouro/runtime/error.hpp>
#include <ouro/runtime/loop.hpp>

namespace ouro {

/// Who ended a connection.
enum class closed_by : std::uint8_t {
    us,       ///< `close` or `abort`
    peer,     ///< its end of stream, which was answered by closing
    failure,  ///< an error of the connection or of its protocol
};
/// "us", "peer" or "failure".
const char* to_string(closed_by who) noexcept;

/// One connection, from its start to its end. `loop::set_connection_log`.
struct connection_record {
    std::string local{};                ///< the own address, as text
    std::string peer{};                 ///< the peer's
    clock::time_point made_at{};        ///< on the loop's clock, to a few milliseconds
    clock::time_point lost_at{};        ///< likewise
    closed_by who = closed_by::us;      ///< who ended it
    bool aborted = false;               ///< `abort` was called, by the program or a closing loop
    error why{};                        ///< what `connection_lost` was told
    std::uint64_t bytes_received = 0;   ///< by the transport
    std::uint64_t bytes_sent = 0;       ///< taken by the kernel
    std::uint64_t bytes_dropped = 0;    ///< written, and not sent any more
    std::uint64_t high_water_hits = 0;  ///< how often the protocol was asked to pause writing
    clock::duration paused_time{};      ///< for how long altogether

    /// One line: "127.0.0.1:80 <- 127.0.0.1:5000, 3.2 s, 120 B in, 80 B out, closed by peer".
    std::string describe() const;
};

}  // namespace ouro
