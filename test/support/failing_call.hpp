// A door call that fails, found in a run in which nothing does.
#pragma once

#include <algorithm>
#include <cstdint>

#include <boost/test/unit_test.hpp>

#include <ouro/testing/injection.hpp>

namespace ouro::test {

enum class failing : bool { once, from_then_on };

/// What lets a run as the one that `probe` has seen fail with `failure` at the first `call`.
inline testing::injection::settings
failing_call(const testing::injection& probe, testing::door_call call, int failure, failing how) {
    const auto first = std::ranges::find(probe.seen(), call);
    BOOST_REQUIRE(first != probe.seen().end());
    return {.plan = {{.kind = testing::fault_kind::op_fails,
                      .at = static_cast<std::uint64_t>(first - probe.seen().begin()) + 1,
                      .value = failure,
                      .sticky = how == failing::from_then_on}}};
}

}  // namespace ouro::test
