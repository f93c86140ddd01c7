// Signals of a simulated program.
#include <ouro/testing/simulation.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <string>

#include <ouro/runtime/signals.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro::testing {
namespace {

using namespace std::chrono_literals;

}  // namespace

BOOST_AUTO_TEST_SUITE(simulated_signals)

BOOST_AUTO_TEST_CASE(a_signal_nobody_handles_is_a_violation_unless_it_is_ignored_by_default) {
    simulation world;
    const auto found = world.run([]() -> task<> {
        simulation::current().raise(SIGWINCH);
        simulation::current().raise(SIGTERM);
        co_return;
    });
    BOOST_TEST_REQUIRE(found.violations.size() == 1U);
    BOOST_TEST(found.violations[0] ==
               "SIGTERM came and nobody handled it: the program would have ended");
}

BOOST_AUTO_TEST_CASE(a_signal_that_came_before_its_handler_was_removed_acts_as_in_the_kernel) {
    simulation world;
    const auto found = world.run([]() -> task<> {
        co_await add_signal_handler(SIGTERM, [] {});
        simulation::current().raise(SIGTERM);
        BOOST_TEST(remove_signal_handler(SIGTERM));
    });
    BOOST_TEST(found.violations.size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_signal_comes_at_its_virtual_time_and_no_real_one_is_sent) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        auto options = simulation_options::hostile(seed);
        options.rate(fault_kind::no_descriptor) = 0;
        simulation world(options);
        const auto found = world.run([]() -> task<> {
            signal_set asked{SIGTERM, SIGINT};  // what would end this test
            auto sends = []() -> task<> {
                co_await sleep(10min);
                simulation::current().raise(SIGINT);
                simulation::current().raise(SIGTERM);
                simulation::current().raise(SIGINT);
            };
            auto sending = spawn(sends());
            BOOST_TEST(co_await asked.next() == SIGINT);
            BOOST_TEST(co_await asked.next() == SIGTERM);
            BOOST_TEST((simulation::current().elapsed() >= 10min));
            co_await sending;
        });
        BOOST_TEST(found.passed());
    }
}

BOOST_AUTO_TEST_CASE(without_a_descriptor_signals_cannot_be_watched) {
    simulation_options options;
    options.only = parse_fault_plan("no_descriptor@1").value();
    simulation world(options);
    const auto found = world.run([]() -> task<> {
        const auto refused = add_signal_handler(SIGTERM, [] {});
        BOOST_TEST((refused.error() == std::errc::too_many_files_open));
        co_return;
    });
    BOOST_TEST(found.passed());
    BOOST_TEST(found.faults.size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::testing
