// The leases of one loop: where slices come back to, also when the loop is gone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <ouro/runtime/lease.hpp>

#include "engine.hpp"

namespace ouro::detail {

/// Made with the loop, and there until the last lease is gone.
struct lease_bank {
    engine* kernel;  // null once the loop is gone
    std::size_t out = 0;
    std::uint64_t made = 0;
    std::uint64_t copied = 0;
    std::shared_ptr<void> memory{};  // what the leases lie in, once the loop is gone

    void came_back(slice_name slice) noexcept;
    void forget_loop() noexcept;
};

/// The loop's hold. It ends before that of the engine.
struct loop_leaves_bank {
    void operator()(lease_bank* bank) const noexcept { bank->forget_loop(); }
};
using lease_bank_ptr = std::unique_ptr<lease_bank, loop_leaves_bank>;

}  // namespace ouro::detail
