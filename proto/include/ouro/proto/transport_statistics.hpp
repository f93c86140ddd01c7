// What a transport has done and what it holds: numbers for monitoring.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ouro/runtime/loop.hpp>

namespace ouro {

/// The figures of one transport. Times are exact to a few milliseconds.
struct transport_statistics {
    std::size_t bytes_queued = 0;         ///< written, and not taken by the kernel
    std::uint64_t bytes_received = 0;     ///< from the start
    std::uint64_t bytes_sent = 0;         ///< taken by the kernel, from the start
    std::uint64_t high_water_hits = 0;    ///< how often `pause_writing` was called
    clock::duration paused_time{};        ///< between pause and resume, altogether until now
    clock::duration oldest_queued_age{};  ///< how long the oldest queued byte has waited
    clock::time_point made_at{};          ///< when the connection was made
};

}  // namespace ouro
