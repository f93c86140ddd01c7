// Everything a simulation leaves to chance, drawn from its seed, and the faults that struck.
#pragma once

#include <cstdint>
#include <optional>

#include <ouro/testing/simulation.hpp>

namespace ouro::testing::sim {

/// What a number is drawn for. Each purpose has a sequence of its own, so that one more draw for
/// one of them leaves the others as they were: a run with a fault less stays similar.
enum class purpose : std::uint8_t { order, delay, size, random_bytes, user, count };

class chance {
  public:
    explicit chance(const simulation_options& options);

    std::uint64_t draw(purpose what) noexcept;
    std::uint64_t draw(purpose what, std::uint64_t least, std::uint64_t most) noexcept;

    /// Whether `kind` strikes at this occasion, and how hard: `least` to `most`.
    std::optional<std::int64_t> strikes(fault_kind kind, std::int64_t least = 0,
                                        std::int64_t most = 0);
    /// No further fault strikes.
    void heal() noexcept { healed_ = true; }
    const fault_plan& struck() const noexcept { return struck_; }

  private:
    std::optional<std::int64_t> by_plan(fault_kind kind, std::uint64_t occasion) const noexcept;
    std::optional<std::int64_t> by_rate(fault_kind kind, std::uint64_t occasion, std::int64_t least,
                                        std::int64_t most) const noexcept;

    std::uint64_t seed_;
    std::array<std::uint64_t, fault_kind_count> thresholds_{};  // of a 64-bit number
    std::optional<fault_plan> only_;
    std::array<std::uint64_t, static_cast<std::size_t>(purpose::count)> drawn_{};
    std::array<std::uint64_t, fault_kind_count> occasions_{};
    fault_plan struck_;
    bool healed_ = false;
};

/// Scrambles `number`: splitmix64.
std::uint64_t scramble(std::uint64_t number) noexcept;

}  // namespace ouro::testing::sim
