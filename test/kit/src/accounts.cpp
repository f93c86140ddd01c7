// The end of a test.
#include <ouro/testing/accounts.hpp>

#include <ouro/runtime/spawn.hpp>

namespace ouro::testing {

task<> farewell(loop& home, clock::duration step, int most_turns) {
    for (int i = 0; i < most_turns; ++i) {
        const loop_counters left = home.counters();
        if (left.tasks <= 1 && !left.ops && !left.resources && !left.descriptors) co_return;
        co_await sleep(left.ops ? step : clock::duration::zero());
    }
}

}  // namespace ouro::testing
