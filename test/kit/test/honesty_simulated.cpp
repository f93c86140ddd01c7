// The one place where the honesty scripts meet the simulation.
#include <ouro/testing/simulation.hpp>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {

std::string run_simulated(const honesty_script& script, std::uint64_t seed) {
    auto world = testing::simulation_options::calm(seed);
    if (script.descriptor_limit) world.descriptor_limit = script.descriptor_limit;
    testing::simulation machine(world);
    return run_parts(machine.options(options_for(engine::uring)), script);
}

}  // namespace ouro::test
