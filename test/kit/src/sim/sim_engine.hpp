// The engine of a loop in a simulated world.
#pragma once

#include <memory>

#include <ouro/runtime/loop.hpp>

namespace ouro::detail {
class engine;
}

namespace ouro::testing::sim {

class world;

/// An engine that plays the kernel for `home` in `in`, which must outlive it.
std::unique_ptr<ouro::detail::engine> make_engine(world& in, loop& home,
                                                  const loop_options& options);

}  // namespace ouro::testing::sim
