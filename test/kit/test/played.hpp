// Runs a test's body in a simulation of its own.
#pragma once

#include <boost/test/unit_test.hpp>

#include <utility>

#include <ouro/testing/simulation.hpp>

namespace ouro::test {

/// Runs `body` in `world`; whatever is wrong is a failure of the test.
inline void run_in(const testing::simulation_options& world, function<task<>()> body) {
    testing::simulation played(world);
    for (const auto& each : played.run(std::move(body)).violations) BOOST_ERROR(each);
}

}  // namespace ouro::test
