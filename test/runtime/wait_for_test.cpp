// wait_for: one await with a deadline, of a task, a handle or an innermost awaitable.
#include <ouro/runtime/timeout.hpp>

#include <boost/test/unit_test.hpp>

#include <limits>
#include <memory>
#include <stdexcept>
#include <string>

#include <ouro/runtime/future.hpp>
#include <ouro/runtime/shield.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

task<int> give(int value) { co_return value; }
task<int> give_later(int value) {
    co_await yield();
    co_return value;
}
task<> forever() { co_await sleep(1h); }
/// Takes the cancellation and returns all the same, some turns later.
task<int> stubborn(int value) {
    (void)co_await as_result(sleep(1h));
    co_await settle(3);
    co_return value;
}

bool timed_out(const auto& ended) {
    return !ended.has_value() && ended.error() == std::errc::timed_out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(wait_for_one)

// rule 175
OURO_ASYNC_TEST(without_a_limit_it_waits_as_long_as_it_takes) {
    BOOST_TEST(co_await wait_for(give_later(5), std::nullopt) == 5);
    auto started = spawn(give_later(6));
    BOOST_TEST(co_await wait_for(started, std::nullopt) == 6);
    co_await wait_for(sleep(1ms), std::nullopt);
}

// rule 182
OURO_ASYNC_TEST(a_result_in_time_is_the_result) {
    BOOST_TEST(co_await wait_for(give(1), 1h) == 1);
    BOOST_TEST(co_await wait_for(give_later(2), 1h) == 2);
    BOOST_TEST(co_await wait_for(spawn(give_later(3)), 1h) == 3);
    co_await wait_for(sleep(1ms), 1h);
    co_await wait_for(yield(), 1h);
    BOOST_TEST(loop::current().counters().timers <= 1U);  // the watchdog of the test
}

// rules 177, 160
OURO_ASYNC_TEST(each_kind_of_awaitable_times_out) {
    auto running = spawn(forever());
    BOOST_TEST(timed_out(co_await as_result(wait_for(forever(), 1ms))));
    BOOST_TEST(timed_out(co_await as_result(wait_for(running, 1ms))));
    BOOST_TEST(timed_out(co_await as_result(wait_for(spawn(forever()), 1ms))));
    BOOST_TEST(timed_out(co_await as_result(wait_for(sleep(1h), 1ms))));
    BOOST_TEST(running.cancelled());
    BOOST_TEST(current_task().cancelling() == 0U);
}

OURO_ASYNC_TEST(a_timeout_ends_a_task_that_does_not_ask_for_the_result) {
    auto waiting = spawn([]() -> task<> { co_await wait_for(sleep(1h), 1ms); });
    co_await eventually([=] { return waiting.done(); });
    BOOST_TEST((waiting.failure() == std::errc::timed_out));
    BOOST_TEST(!waiting.cancelled());
}

// rule 176
OURO_ASYNC_TEST(without_time_a_task_does_not_even_start) {
    auto ran = std::make_shared<int>(0);
    auto body = [](std::shared_ptr<int> count) -> task<int> { co_return ++*count; };
    for (const auto delay : {clock::duration(0), clock::duration(-1h)}) {
        const auto ended = co_await as_result(wait_for(body(ran), delay));
        BOOST_TEST(timed_out(ended));
        BOOST_TEST(ended.error().doing().starts_with("wait at wait_for_test.cpp:"));
    }
    BOOST_TEST(*ran == 0);
    BOOST_TEST(ran.use_count() == 1);
    auto spawned = spawn(body(ran));
    BOOST_TEST(timed_out(co_await as_result(wait_for(spawned, 0s))));
    BOOST_TEST(*ran == 0);
    BOOST_TEST(spawned.cancelled());
}

// rule 176
OURO_ASYNC_TEST(without_time_the_result_of_a_task_that_is_done_is_there) {
    auto done = spawn(give(5));
    auto failed = spawn([]() -> task<> { co_await result<>(errc::no_address); });
    co_await settle();
    BOOST_TEST(co_await wait_for(done, 0s) == 5);
    BOOST_TEST(co_await wait_for(done, -1s) == 5);
    BOOST_TEST(co_await wait_for(shield(done), 0s) == 5);
    const auto ended = co_await as_result(wait_for(failed, 0s));
    BOOST_TEST((ended.error() == errc::no_address));
}

// rule 176
OURO_ASYNC_TEST(without_time_a_running_task_is_cancelled_and_waited_for) {
    auto running = spawn(forever());
    auto mind = spawn(stubborn(5));
    co_await settle();
    BOOST_TEST(timed_out(co_await as_result(wait_for(running, 0s))));
    BOOST_TEST(running.cancelled());
    BOOST_TEST((running.failure().cause() == cancel_cause::timeout));
    BOOST_TEST(co_await wait_for(mind, 0s) == 5);
    BOOST_TEST(timed_out(co_await as_result(wait_for(sleep(1h), 0s))));
    BOOST_TEST(current_task().cancelling() == 0U);
}

// rules 176, 180
OURO_ASYNC_TEST(a_waiter_without_time_that_is_cancelled_ends_cancelled) {
    auto slow = spawn([]() -> task<> {
        const auto slept = co_await as_result(sleep(1h));
        co_await settle(3);
        co_await result<>(slept);
    });
    co_await settle();
    auto waiting = spawn([slow]() -> task<> { co_await wait_for(slow, 0s); });
    co_await settle(2);
    BOOST_TEST(!waiting.done());
    waiting.cancel();
    co_await settle(8);
    BOOST_TEST(waiting.cancelled());
}

// rule 177
OURO_ASYNC_TEST(the_end_of_the_cancelled_task_is_waited_for) {
    auto ended = std::make_shared<bool>(false);
    auto slow = [](std::shared_ptr<bool> told) -> task<> {
        const auto slept = co_await as_result(sleep(1h));
        co_await sleep(2ms);
        *told = true;
        co_await result<>(slept);
    };
    BOOST_TEST(timed_out(co_await as_result(wait_for(slow(ended), 1ms))));
    BOOST_TEST(*ended);
    *ended = false;
    BOOST_TEST(timed_out(co_await as_result(wait_for(spawn(slow(ended)), 1ms))));
    BOOST_TEST(*ended);
}

// rule 178
OURO_ASYNC_TEST(a_task_that_swallows_the_cancellation_gives_its_value) {
    BOOST_TEST(co_await wait_for(stubborn(5), 1ms) == 5);
    BOOST_TEST(co_await wait_for(spawn(stubborn(6)), 1ms) == 6);
    BOOST_TEST(current_task().cancelling() == 0U);
    co_await yield();
}

// rule 179
OURO_ASYNC_TEST(another_failure_during_the_cancellation_is_the_failure) {
    auto fails = []() -> task<> {
        (void)co_await as_result(sleep(1h));
        co_await result<>(errc::no_address);
    };
    auto throws = []() -> task<> {
        (void)co_await as_result(sleep(1h));
        throw std::runtime_error("burnt");
    };
    BOOST_TEST(((co_await as_result(wait_for(fails(), 1ms))).error() == errc::no_address));
    BOOST_TEST(((co_await as_result(wait_for(spawn(fails()), 1ms))).error() == errc::no_address));
    bool caught = false;
    try {
        co_await wait_for(throws(), 1ms);
    } catch (const std::runtime_error&) {
        caught = true;
    }
    BOOST_TEST(caught);
}

// rule 180
OURO_ASYNC_TEST(a_cancelled_waiter_cancels_the_task_and_waits_for_it) {
    auto slow = spawn([]() -> task<> {
        const auto slept = co_await as_result(sleep(1h));
        co_await settle(3);
        co_await result<>(slept);
    });
    auto waiting = spawn([slow]() -> task<> { co_await wait_for(slow, 2h); });
    co_await settle();
    waiting.cancel();
    co_await settle(2);
    BOOST_TEST(!waiting.done());
    co_await settle(8);
    BOOST_TEST(slow.cancelled());
    BOOST_TEST(waiting.cancelled());
}

// rule 181
OURO_ASYNC_TEST(a_waiter_cancelled_as_the_task_ends_is_cancelled_and_the_value_stays) {
    auto quick = spawn([]() -> task<std::string> {
        co_await yield();
        co_return std::string(100, 'x');
    });
    auto waiting =
        spawn([quick]() -> task<std::string> { co_return co_await wait_for(quick, 1h); });
    while (!quick.done()) co_await yield();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST((co_await quick).size() == 100U);
}

// rule 181
OURO_ASYNC_TEST(the_value_stays_with_the_other_handles) {
    auto text = spawn([]() -> task<std::string> { co_return std::string(100, 'x'); });
    BOOST_TEST((co_await wait_for(text, 1h)).size() == 100U);
    BOOST_TEST((co_await wait_for(text, 0s)).size() == 100U);
    BOOST_TEST((co_await text).size() == 100U);
    auto owned = spawn([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); });
    BOOST_TEST(*co_await wait_for(std::move(owned), 1h) == 5);
}

// rule 183
OURO_ASYNC_TEST(a_shielded_task_is_left_alone) {
    auto running = spawn(stubborn(5));
    co_await settle();
    BOOST_TEST(timed_out(co_await as_result(wait_for(shield(running), 1ms))));
    BOOST_TEST(timed_out(co_await as_result(wait_for(shield(running), 0s))));
    BOOST_TEST(running.cancelling() == 0U);
    BOOST_TEST(!running.done());
    running.cancel();
    BOOST_TEST(co_await running == 5);
}

// rule 38
OURO_ASYNC_TEST(a_limit_too_far_away_never_comes) {
    using seconds = std::chrono::duration<double>;
    BOOST_TEST(co_await wait_for(give_later(1), std::chrono::hours::max()) == 1);
    BOOST_TEST(co_await wait_for(give_later(2), clock::duration::max()) == 2);
    BOOST_TEST(co_await wait_for(give_later(3), seconds(1e300)) == 3);
    const seconds odd(std::numeric_limits<double>::quiet_NaN());
    BOOST_TEST(co_await wait_for(spawn(give_later(4)), odd) == 4);
    BOOST_TEST(timed_out(co_await as_result(wait_for(give_later(5), seconds(-1e300)))));
}

OURO_ASYNC_TEST(limits_may_be_nested) {
    const auto inner = co_await as_result(wait_for(wait_for(wait_for(forever(), 3h), 1ms), 2h));
    BOOST_TEST(timed_out(inner));
    const auto outer = co_await as_result(wait_for(wait_for(wait_for(forever(), 3h), 2h), 1ms));
    BOOST_TEST(timed_out(outer));
    BOOST_TEST(current_task().cancelling() == 0U);
}

OURO_ASYNC_TEST(dropping_it_unawaited_runs_nothing) {
    auto ran = std::make_shared<int>(0);
    auto body = [](std::shared_ptr<int> count) -> task<> {
        ++*count;
        co_return;
    };
    {
        auto dropped = wait_for(body(ran), 1h);
        auto at_once = wait_for(body(ran), 0s);
    }
    co_await settle();
    BOOST_TEST(*ran == 0);
    BOOST_TEST(ran.use_count() == 1);
}

// rules 103, 177
OURO_ASYNC_TEST(a_future_that_is_too_late_is_left_alone) {
    promise<int> gives;
    auto wanted = gives.get_future();
    const auto missed = co_await as_result(wait_for(wanted, std::chrono::milliseconds(5)));
    BOOST_TEST((missed.error() == std::errc::timed_out));
    BOOST_TEST(!wanted.done());
    gives.set_value(7);
    BOOST_TEST(co_await wait_for(wanted, std::chrono::milliseconds(5)) == 7);
    BOOST_TEST(co_await wait_for(wanted, std::chrono::milliseconds(0)) == 7);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
