// Draws and faults from a seed.
#include "chance.hpp"

#include <cmath>

namespace ouro::testing::sim {
namespace {

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15;

std::uint64_t between(std::uint64_t number, std::uint64_t least, std::uint64_t most) noexcept {
    return most <= least ? least : least + number % (most - least + 1);
}

}  // namespace

std::uint64_t scramble(std::uint64_t number) noexcept {
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
    number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
    return number ^ (number >> 31);
}

chance::chance(const simulation_options& options)
    : seed_(scramble(options.seed + golden)), only_(options.only) {
    for (std::size_t i = 0; i < fault_kind_count; ++i) {
        const double rate = options.rates[i];
        thresholds_[i] = rate <= 0   ? 0
                         : rate >= 1 ? ~std::uint64_t{0}
                                     : static_cast<std::uint64_t>(std::ldexp(rate, 64));
    }
}

std::uint64_t chance::draw(purpose what) noexcept {
    const auto index = static_cast<std::size_t>(what);
    return scramble(seed_ ^ scramble((index + 1) * golden) ^ scramble(++drawn_[index] * golden));
}

std::uint64_t chance::draw(purpose what, std::uint64_t least, std::uint64_t most) noexcept {
    return most <= least ? least : between(draw(what), least, most);
}

std::optional<std::int64_t> chance::strikes(fault_kind kind, std::int64_t least,
                                            std::int64_t most) {
    const auto index = static_cast<std::size_t>(kind);
    const std::uint64_t occasion = ++occasions_[index];
    if (healed_) return {};
    if (!only_ && thresholds_[index] == 0) return {};
    const auto value = only_ ? by_plan(kind, occasion) : by_rate(kind, occasion, least, most);
    if (value) struck_.push_back({kind, occasion, *value});
    return value;
}

std::optional<std::int64_t> chance::by_plan(fault_kind kind,
                                            std::uint64_t occasion) const noexcept {
    for (const fault& each : *only_) {
        const bool due = each.sticky ? occasion >= each.at : occasion == each.at;
        if (each.kind == kind && due) return each.value;
    }
    return {};
}

std::optional<std::int64_t> chance::by_rate(fault_kind kind, std::uint64_t occasion,
                                            std::int64_t least, std::int64_t most) const noexcept {
    const auto index = static_cast<std::size_t>(kind);
    const std::uint64_t number =
        scramble(seed_ ^ scramble((index + 1000) * golden) ^ scramble(occasion * golden));
    if (number > thresholds_[index]) return {};
    return static_cast<std::int64_t>(between(scramble(number), static_cast<std::uint64_t>(least),
                                             static_cast<std::uint64_t>(most)));
}

}  // namespace ouro::testing::sim
