// Groups and timeouts whose memory runs out at every single allocation: whoever was started is
// waited for, and no failure vanishes.
#include <ouro/runtime/task_group.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>

#include <ouro/runtime/frame_pool.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/testing/allocation_faults.hpp>
#include <ouro/testing/simulation.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using testing::allocation_faults;

constexpr errc children_fail_with[] = {errc::no_address, errc::queue_full, errc::queue_empty};

/// What happened, noted without memory: one bit for each failure.
struct account {
    int alive = 0;
    int alive_when_over = -1;
    unsigned requests_when_over = 99;
    unsigned failed = 0;
    unsigned seen = 0;

    void see(const error& why) {
        for (unsigned i = 0; i < std::size(children_fail_with); ++i) {
            if (why == children_fail_with[i]) seen |= 1U << i;
        }
        for (const error& each : why.causes()) see(each);
    }
};

/// Lives a while, cleans up when it is cancelled, and fails with the code number `index`.
task<> fails(account& notes, unsigned index) {
    struct living {
        explicit living(account& in) : notes(in) { ++notes.alive; }
        ~living() { --notes.alive; }
        account& notes;
    };
    const living here(notes);
    (void)co_await as_result(sleep(index == 0 ? 1ms : 2ms));
    co_await yield();
    notes.failed |= 1U << index;
    co_return co_await result<>(children_fail_with[index]);
}

task<> group_of_three(account& notes, bool eager) {
    timeout limit(1h);
    co_await with_group([&](task_group& group) -> task<> {
        for (unsigned i = 0; i < 3; ++i) {
            group.spawn(
                {.eager = eager}, [&notes](unsigned index) { return fails(notes, index); }, i);
        }
        co_await sleep(10ms);
    });
}

task<> keep_account(account& notes, std::uint64_t fail_at, bool sticky, bool eager) {
    // The loop needs room for its timers once: without it, it tries again until there is memory.
    account warm_up;
    (void)co_await as_result(group_of_three(warm_up, eager));
    detail::frame_pool::trim();
    allocation_faults::arm(fail_at, sticky);
    try {
        const auto ended = co_await as_result(group_of_three(notes, eager));
        if (!ended) notes.see(ended.error());
    } catch (...) {
        // What could not be allocated, as an exception; the failures were reported.
    }
    notes.alive_when_over = notes.alive;
    notes.requests_when_over = current_task().cancelling();
    allocation_faults::disarm();
}

/// One run. True when an allocation failed in it.
bool run_with_fault(std::uint64_t fail_at, bool sticky, bool eager) {
    account notes;
    testing::simulation world(loopback(1));
    loop home(world.options(options_for(engine::sim)));
    home.set_exception_handler(
        [&notes](loop&, const failure_report& report) { notes.see(report.error); });
    const auto ended = home.run_until_complete(keep_account(notes, fail_at, sticky, eager));
    const bool struck = allocation_faults::struck();
    BOOST_TEST_CONTEXT("allocation " << fail_at << (sticky ? " and all after it" : "")) {
        BOOST_TEST(ended.has_value());
        BOOST_TEST(notes.alive_when_over == 0);
        BOOST_TEST(notes.requests_when_over == 0U);
        BOOST_TEST(notes.seen == notes.failed);
        BOOST_TEST(home.counters().tasks == 0U);
        BOOST_TEST(home.counters().timers == 0U);
        if (!struck) BOOST_TEST(notes.failed == 7U);
    }
    return struck;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(groups_without_memory)

// rules 138, 140
BOOST_AUTO_TEST_CASE(children_are_waited_for_and_failures_told_at_whatever_allocation_fails) {
    for (const bool sticky : {false, true}) {
        for (const bool eager : {false, true}) {
            std::uint64_t fail_at = 1;
            while (run_with_fault(fail_at, sticky, eager)) ++fail_at;
            BOOST_TEST(fail_at > 10U);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
