// A workload drawn from the seed of the simulation it runs in.
#pragma once

#include <cstdint>

#include <ouro/runtime/task.hpp>

namespace ouro::simulated {

/// How much is done.
struct scenario_options {
    unsigned tasks = 0;  ///< clients and the like; 0: 10 to 50, drawn
    /// Bytes that one direction of a connection carries at most.
    std::uint64_t most_bytes = 20'000;
    /// The world is a healthy one: nothing may fail, and nobody misbehaves.
    bool strict = false;
    /// A transport must never call an end of stream what is the reset of a connection.
    bool strict_ends = false;
};

/// Servers and clients of all kinds talk while hosts crash, links are cut, servers are closed and
/// tasks are cancelled; then all faults stop, and everything must come to a good end. What breaks
/// a rule is reported, which the simulation takes for a violation.
task<> run_scenario(scenario_options how);

}  // namespace ouro::simulated
