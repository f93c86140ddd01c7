// How a line of the benchmark runs as the main task of a loop of ouro's.
#pragma once

#include <ouro/runtime/spawn.hpp>

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "lines.hpp"

namespace bench {

/// Runs `Body(count, watch)` on a new loop. A body that fails ends the program: a line that does
/// not do its work has no cost.
template <ouro::task<> (*Body)(std::size_t, stopwatch&)>
void on_loop(std::size_t count, stopwatch& watch) {
    ouro::loop home;
    if (auto done = home.run_until_complete(Body(count, watch)); !done) {
        std::fprintf(stderr, "%s\n", done.error().describe().c_str());
        std::exit(1);
    }
}

/// Ends the line when its work was not done.
inline ouro::result<> demand(bool done) {
    if (!done) return ouro::error(ouro::errc::invalid_state, "do the work of this line");
    return {};
}

/// Waits until all of `started` are done.
inline ouro::task<> join_all(std::vector<ouro::task_handle<>> started) {
    for (const auto& each : started) co_await each;
}

}  // namespace bench
