// The part of a timer that its owner embeds; the loop's timer queue links it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ouro::detail {

/// One deadline. Set `when` and `fire`, then add it to the queue; it stays where it is, with `when`
/// unchanged, until it is popped or removed.
struct timer_node {
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);

    std::chrono::steady_clock::time_point when{};
    std::uint64_t sequence = 0;   // set by add: equal deadlines fire in this order
    std::size_t position = npos;  // where the queue holds it
    void (*fire)(timer_node&) noexcept = nullptr;

    bool queued() const noexcept { return position != npos; }
};

}  // namespace ouro::detail
