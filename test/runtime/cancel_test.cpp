// Cancellation of tasks: counted, edge-triggered, delivered at the next await.
#include <ouro/runtime/spawn.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// Sleeps until cancelled; then gives what `after` says.
task<int> stubborn(int after) {
    const auto slept = co_await as_result(sleep(1h));
    co_return slept ? 0 : after;
}
task<> sleeper() { co_await sleep(1h); }

}  // namespace

BOOST_AUTO_TEST_SUITE(cancelling)

// rule 100
OURO_ASYNC_TEST(a_task_that_ends_with_the_cancellation_error_is_cancelled) {
    auto asked = spawn(sleeper());
    auto on_its_own = spawn([]() -> task<> { co_await result<>(errc::cancelled); });
    co_await settle();
    asked.cancel();
    co_await settle();
    BOOST_TEST(asked.cancelled());
    BOOST_TEST(on_its_own.cancelled());
    BOOST_TEST(on_its_own.cancelling() == 0U);
    BOOST_TEST((asked.failure() == std::errc::operation_canceled));
}

// rules 84, 101
OURO_ASYNC_TEST(cancel_is_true_for_an_unfinished_task_and_false_for_a_finished_one) {
    auto running = spawn(sleeper());
    co_await settle();
    BOOST_TEST(running.cancel());
    BOOST_TEST(running.cancel());
    co_await settle();
    BOOST_TEST(running.done());
    BOOST_TEST(!running.cancel());
    BOOST_TEST(running.cancelling() == 2U);
    auto finished = spawn([]() -> task<int> { co_return 5; });
    co_await settle();
    BOOST_TEST(!finished.cancel());
    BOOST_TEST(!finished.cancelled());
    BOOST_TEST(co_await finished == 5);
}

// rules 102, 103
OURO_ASYNC_TEST(right_after_cancel_only_the_count_has_changed) {
    bool ended = false;
    auto running = spawn([&ended]() -> task<> {
        (void)co_await as_result(sleep(1h));
        ended = true;
    });
    co_await settle();
    BOOST_TEST(running.cancel());
    BOOST_TEST(!running.done());
    BOOST_TEST(!running.cancelled());
    BOOST_TEST(running.cancelling() == 1U);
    BOOST_TEST(!ended);
    co_await settle();
    BOOST_TEST(ended);
}

// rule 104
OURO_ASYNC_TEST(a_cancel_between_the_wake_up_and_the_step_takes_the_place_of_the_result) {
    auto target = spawn([]() -> task<int> {
        co_await yield();
        co_return 5;
    });
    result<int> seen = 0;
    auto waiting = spawn([&]() -> task<> { seen = co_await as_result(target.join()); });
    while (!target.done()) co_await yield();
    BOOST_TEST(waiting.cancel());  // it is queued, and has not run yet
    co_await settle();
    BOOST_TEST(!seen.has_value());
    BOOST_TEST((seen.error() == errc::cancelled));
    BOOST_TEST(co_await target == 5);
}

// rule 104
OURO_ASYNC_TEST(a_cancel_between_a_failed_wait_and_the_step_takes_the_place_of_the_error) {
    auto target = spawn([]() -> task<int> {
        co_await yield();
        co_return errc::unsupported;
    });
    auto waiting = spawn([&]() -> task<> { (void)co_await target; });
    while (!target.done()) co_await yield();
    BOOST_TEST(waiting.cancel());
    co_await settle();
    BOOST_TEST(waiting.cancelled());
}

// rule 105
OURO_ASYNC_TEST(a_task_cancelled_before_its_first_step_runs_no_statement) {
    bool ran = false;
    auto token = std::make_shared<int>();
    auto started = spawn([&ran, token]() -> task<> {
        ran = true;
        co_return;
    });
    BOOST_TEST(started.cancel());
    co_await settle();
    BOOST_TEST(started.cancelled());
    BOOST_TEST(!ran);
    BOOST_TEST(token.use_count() == 1);
}

// rule 106
OURO_ASYNC_TEST(a_task_that_cancels_itself_runs_on_to_its_next_await) {
    std::string order;
    auto own = std::make_shared<task_handle<>>();
    *own = spawn([&order, own]() -> task<> {
        own->cancel();
        order += 'a';
        auto nested = [&order]() -> task<> {
            order += 'b';
            co_await sleep(1h);
            order += 'x';
        };
        co_await nested();
        order += 'y';
    });
    co_await settle();
    BOOST_TEST(own->cancelled());
    BOOST_TEST(order == "ab");
    *own = {};
}

// rule 107
OURO_ASYNC_TEST(a_task_that_cancels_itself_and_returns_ends_cancelled) {
    auto own = std::make_shared<task_handle<int>>();
    *own = spawn([own]() -> task<int> {
        own->cancel();
        co_return 5;
    });
    co_await settle();
    BOOST_TEST(own->cancelled());
    *own = {};
}

// rule 108, fault 60
OURO_ASYNC_TEST(a_task_may_catch_the_cancellation_and_return_a_value) {
    auto running = spawn(stubborn(7));
    co_await settle();
    running.cancel();
    BOOST_TEST(co_await running == 7);
    BOOST_TEST(!running.cancelled());
    BOOST_TEST(running.cancelling() == 1U);
}

// rule 109, fault 60
OURO_ASYNC_TEST(a_task_may_catch_the_cancellation_and_go_on_awaiting) {
    int turns = 0;
    auto running = spawn([&turns]() -> task<> {
        (void)co_await as_result(sleep(1h));
        for (; turns < 5; ++turns) co_await yield();
        co_await sleep(100us);
        ++turns;
    });
    co_await settle();
    running.cancel();
    co_await running;
    BOOST_TEST(turns == 6);
}

// fault 60
OURO_ASYNC_TEST(an_error_or_an_exception_while_cancelling_takes_the_place_of_the_cancellation) {
    auto fails = spawn([]() -> task<> {
        (void)co_await as_result(sleep(1h));
        co_await result<>(errc::unsupported);
    });
    auto throws = spawn([]() -> task<> {
        (void)co_await as_result(sleep(1h));
        throw 42;
    });
    co_await settle();
    fails.cancel();
    throws.cancel();
    co_await settle();
    BOOST_TEST((fails.failure() == errc::unsupported));
    BOOST_TEST(!fails.cancelled());
    BOOST_TEST((throws.failure() == errc::callback_threw));
    BOOST_TEST(!throws.cancelled());
}

// rule 110
OURO_ASYNC_TEST(cancelling_a_waiter_cancels_what_it_waits_for_and_it_waits_for_that_end) {
    std::string order;
    auto inner = spawn([&order]() -> task<> {
        (void)co_await as_result(sleep(1h));
        order += 'i';
        for (int i = 0; i < 3; ++i) co_await yield();
        order += 'j';
        co_await result<>(errc::cancelled);
    });
    auto outer = spawn([&]() -> task<> {
        const auto joined = co_await as_result(inner.join());
        order += joined ? '?' : 'o';
        co_return;
    });
    co_await settle();
    outer.cancel();
    co_await outer;
    BOOST_TEST(inner.cancelled());
    BOOST_TEST(inner.cancelling() == 1U);
    BOOST_TEST(order == "ijo");
}

// rule 110
OURO_ASYNC_TEST(a_waiter_sees_the_value_of_a_task_that_did_not_mind_the_cancellation) {
    auto inner = spawn(stubborn(9));
    auto outer = spawn([&]() -> task<int> { co_return co_await inner; });
    co_await settle();
    outer.cancel();
    BOOST_TEST(co_await outer == 9);
}

// rule 111
OURO_ASYNC_TEST(cancelling_a_task_and_what_it_waits_for_ends_it_once) {
    int ends = 0;
    auto inner = spawn(sleeper());
    auto outer = spawn([&]() -> task<> {
        const auto joined = co_await as_result(inner.join());
        ++ends;
        co_await result<>(joined.error());
    });
    co_await settle();
    outer.cancel();
    inner.cancel();
    co_await settle();
    BOOST_TEST(outer.cancelled());
    BOOST_TEST(inner.cancelled());
    BOOST_TEST(ends == 1);
}

// rule 112
OURO_ASYNC_TEST(when_somebody_else_cancels_what_a_task_waits_for_its_own_count_stays_zero) {
    auto inner = spawn(sleeper());
    auto outer = spawn([&]() -> task<> { co_await inner; });
    co_await settle();
    inner.cancel();
    co_await settle();
    BOOST_TEST(outer.cancelled());
    BOOST_TEST(outer.cancelling() == 0U);
}

// rule 113
OURO_ASYNC_TEST(every_cancel_counts_one_and_every_uncancel_takes_one_off_but_not_below_zero) {
    auto running = spawn(stubborn(1));
    co_await settle();
    BOOST_TEST(running.uncancel() == 0U);
    running.cancel();
    running.cancel();
    BOOST_TEST(running.cancelling() == 2U);
    BOOST_TEST(running.uncancel() == 1U);
    BOOST_TEST(running.uncancel() == 0U);
    BOOST_TEST(running.uncancel() == 0U);
    BOOST_TEST(co_await running == 1);
}

// rule 114
OURO_ASYNC_TEST(an_uncancel_to_zero_drops_a_cancellation_that_was_not_delivered) {
    bool ran = false;
    auto started = spawn([&ran]() -> task<int> {
        ran = true;
        co_await yield();
        co_return 5;
    });
    started.cancel();
    started.cancel();
    started.uncancel();
    BOOST_TEST(started.uncancel() == 0U);
    BOOST_TEST(co_await started == 5);
    BOOST_TEST(ran);
}

// rule 114
OURO_ASYNC_TEST(one_request_that_is_left_still_cancels) {
    auto started = spawn([]() -> task<int> { co_return 5; });
    started.cancel();
    started.cancel();
    BOOST_TEST(started.uncancel() == 1U);
    co_await settle();
    BOOST_TEST(started.cancelled());
}

// rule 115
OURO_ASYNC_TEST(an_uncancel_of_a_finished_task_does_not_change_how_it_ended) {
    auto running = spawn(sleeper());
    co_await settle();
    running.cancel();
    co_await settle();
    BOOST_TEST(running.uncancel() == 0U);
    BOOST_TEST(running.cancelled());
    BOOST_TEST((running.failure() == errc::cancelled));
}

// rule 116
OURO_ASYNC_TEST(a_scope_takes_back_its_own_request_and_leaves_that_of_others) {
    // What a timeout does: cancel, see it arrive, take it back, convert only if nobody else asked.
    auto own = std::make_shared<task_handle<std::string>>();
    const auto body = [](std::shared_ptr<task_handle<std::string>> self) -> task<std::string> {
        const unsigned before = self->cancelling();
        loop::current().call_soon([self] { self->cancel(cancel_cause::timeout); });
        const auto slept = co_await as_result(sleep(1h));
        if (slept) co_return "slept";
        co_return self->uncancel() <= before ? "timed out" : "cancelled by another";
    };
    *own = spawn(body, own);
    BOOST_TEST(co_await *own == "timed out");
    BOOST_TEST(own->cancelling() == 0U);
    *own = spawn(body, own);
    co_await yield();
    own->cancel();
    BOOST_TEST(co_await *own == "cancelled by another");
    *own = {};
}

// rules 85, 117
OURO_ASYNC_TEST(the_cause_of_a_cancellation_travels_with_the_error) {
    for (const auto cause : {cancel_cause::user, cancel_cause::timeout, cancel_cause::shutdown,
                             cancel_cause::sibling_failed}) {
        auto inner = spawn(sleeper());
        auto outer = spawn([&]() -> task<> { co_await inner; });
        co_await settle();
        outer.cancel(cause);
        co_await settle();
        BOOST_TEST_REQUIRE((inner.done() && outer.done()));
        BOOST_TEST((inner.failure().cause() == cause));
        BOOST_TEST((outer.failure().cause() == cause));
        const auto joined = co_await as_result(outer.join());
        BOOST_TEST((joined.error().cause() == cause));
    }
    auto unstarted = spawn(sleeper());
    unstarted.cancel(cancel_cause::timeout);
    co_await settle();
    BOOST_TEST((unstarted.failure().cause() == cancel_cause::timeout));
}

// rules 85, 117
OURO_ASYNC_TEST(the_reason_of_a_cancellation_travels_with_the_error) {
    auto inner = spawn(sleeper());
    auto outer = spawn([inner]() -> task<> { co_await inner; });
    auto unstarted = spawn(sleeper());
    unstarted.cancel("never mind");
    co_await settle();
    outer.cancel(cancel_cause::shutdown, "signal SIGTERM");
    co_await settle();
    for (const auto& each : {inner, outer, unstarted}) BOOST_TEST_REQUIRE(each.done());
    BOOST_TEST(inner.failure().message() == "sleep: cancelled: signal SIGTERM");
    BOOST_TEST(outer.failure().reason() == "signal SIGTERM");
    BOOST_TEST((outer.failure().cause() == cancel_cause::shutdown));
    BOOST_TEST(unstarted.failure().message() == "cancelled: never mind");
}

// rule 104
OURO_ASYNC_TEST(a_cancel_between_the_end_of_a_task_and_the_wake_up_of_its_waiter_reaches_that_one) {
    // A hook of the same task that comes before the waiter's, as a group has one.
    struct canceller final : detail::done_hook {
        explicit canceller(task_handle<> of) : whom(std::move(of)) {}
        void task_done() noexcept override { whom.cancel(); }
        task_handle<> whom;
    };
    auto target = spawn([]() -> task<> {
        co_await yield();
        co_await result<>(errc::no_address);
    });
    auto waiting = spawn([target]() -> task<> { co_await target; });
    canceller early(waiting);
    target.core()->on_done(early);
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(waiting.cancelling() == 1U);
}

// The cancellation is edge-triggered: it is delivered once.
OURO_ASYNC_TEST(a_cancellation_is_delivered_once_also_when_it_was_asked_for_twice) {
    int cancelled = 0;
    auto running = spawn([&cancelled]() -> task<> {
        for (int i = 0; i < 4; ++i) cancelled += !co_await as_result(sleep(50us));
    });
    co_await settle();
    running.cancel();
    running.cancel();
    co_await running;
    BOOST_TEST(cancelled == 1);
}

OURO_ASYNC_TEST(a_cancel_after_the_first_one_was_delivered_is_delivered_too) {
    int cancelled = 0;
    auto running = spawn([&cancelled]() -> task<> {
        for (int i = 0; i < 3; ++i) cancelled += !co_await as_result(sleep(1h));
    });
    for (int i = 0; i < 3; ++i) {
        co_await settle();
        running.cancel();
    }
    co_await running;
    BOOST_TEST(cancelled == 3);
}

OURO_ASYNC_TEST(a_cancelled_task_may_be_cancelled_from_its_own_cleanup) {
    auto own = std::make_shared<task_handle<>>();
    int steps = 0;
    *own = spawn([own, &steps]() -> task<> {
        struct cancels_again {
            ~cancels_again() {
                own->cancel();
                ++*steps;
            }
            std::shared_ptr<task_handle<>> own;
            int* steps;
        };
        cancels_again guard{own, &steps};
        co_await sleep(1h);
    });
    co_await settle();
    own->cancel();
    co_await settle();
    BOOST_TEST(own->cancelled());
    BOOST_TEST(steps == 1);
    *own = {};
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
