// Watermarks: when a writer pauses and when it goes on. For makers of transports.
#pragma once

#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <ouro/proto/protocol.hpp>

namespace ouro {

/// Decides pause and resume for one transport (rules 269-279). The edges: pause strictly above
/// high, resume at or below low, strictly in turns, and new limits pause at once but never resume.
class flow_control {
  public:
    static constexpr std::size_t default_high_bytes = 64 * 1024;  ///< rule 269
    static constexpr std::size_t default_low_bytes = 16 * 1024;   ///< rule 269

    /// Sets the limits; -1 stands for "derive from the other one" (rules 270, 271, 273).
    ///
    /// Errors  `errc::value_error`; the limits are then unchanged.
    std::error_code set_limits(std::ptrdiff_t high_bytes, std::ptrdiff_t low_bytes) noexcept;
    /// Low, then high (rule 272).
    std::pair<std::size_t, std::size_t> limits() const noexcept { return {low_, high_}; }
    /// True between pause and resume.
    bool paused() const noexcept { return paused_; }
    /// True when `queued` bytes call for a pause; it is then taken as done.
    bool should_pause(std::size_t queued) noexcept {
        if (paused_ || queued <= high_) return false;
        paused_ = true;
        return true;
    }
    /// True when `queued` bytes call for a resume; it is then taken as done.
    bool should_resume(std::size_t queued) noexcept {
        if (!paused_ || queued > low_) return false;
        paused_ = false;
        return true;
    }
    /// True when `queued` bytes are above the high watermark.
    bool above(std::size_t queued) const noexcept { return queued > high_; }

  private:
    std::size_t high_ = default_high_bytes;
    std::size_t low_ : 63 = default_low_bytes;  // limits come as signed numbers
    std::size_t paused_ : 1 = false;
};

}  // namespace ouro
