// Many seeds of one test: the first that fails is made small and printed as one command.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <ouro/testing/simulation.hpp>

namespace ouro::testing {

/// Which seeds are tried, and in what world.
struct exploration {
    std::uint64_t first_seed = 1;
    std::uint64_t seed_count = 1000;
    /// The world of a seed.
    std::function<simulation_options(std::uint64_t seed)> world = &simulation_options::hostile;
    /// How many runs may be spent on making a failing seed small.
    unsigned shrink_runs = 400;
};

/// A seed that fails.
struct finding {
    std::uint64_t seed = 0;
    /// What is wrong with the smallest run found.
    std::vector<std::string> violations;
    /// The faults that it needs; all others were left out and it still failed.
    fault_plan faults;
    /// How many struck at first.
    std::size_t faults_before = 0;
    /// A command line for a shell: `OURO_SEED='...'`, which makes `explore` repeat just this run,
    /// and the program and its arguments as they were started.
    std::string repeat;
    /// The finding as a text of some lines.
    std::string describe() const;
};

/// What all the runs came to.
struct exploration_report {
    std::optional<finding> failed;
    std::uint64_t seeds = 0;
    std::uint64_t ops = 0;
    std::chrono::microseconds virtual_time{};
    std::array<std::uint64_t, fault_kind_count> faults{};  ///< that struck, by kind
    /// All traces in one number: equal for equal runs.
    std::uint64_t trace_hash = 0;
    /// The figures as one line.
    std::string figures() const;
};

/// Runs `body` in one simulation after the other until one fails. `OURO_SEED='7'` or
/// `OURO_SEED='7 reset@3,loss@1'` in the environment runs only that, in every `explore` of the
/// program.
///
/// Result  `failed` is empty when every seed passed.
/// Errors  throws `std::invalid_argument` when OURO_SEED cannot be read; says on stderr when none
///         of its faults struck, as happens after the program has changed.
/// Cost    a run of a small service takes about a millisecond.
exploration_report explore(const exploration& how, const std::function<task<>()>& body);

}  // namespace ouro::testing
