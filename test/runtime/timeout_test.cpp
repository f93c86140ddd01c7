// Deadlines for a block: what becomes of the cancellation, of others' requests and of failures.
#include <ouro/runtime/timeout.hpp>

#include <boost/test/unit_test.hpp>

#include <limits>
#include <memory>
#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

unsigned own_requests() { return current_task().cancelling(); }
clock::time_point now() { return loop::current().time(); }

/// What a timed block noticed; shared, so that tasks may outlive the body of a test.
struct noticed {
    bool expired = false;
    bool ended = false;
    error inside;
};

task<> sleep_under(clock::duration limit_for, std::shared_ptr<noticed> seen) {
    timeout limit(limit_for);
    const auto slept = co_await as_result(sleep(1h));
    seen->expired = limit.expired();
    seen->inside = slept ? error() : slept.error();
    co_await result<>(slept);
}

/// Ends with data when it is cancelled, as an operation does that was quicker.
class wins_against_cancel : public detail::awaitable<wins_against_cancel, int> {
  public:
    wins_against_cancel() : awaitable(kind) {}
    void start() noexcept {}
    int value() const noexcept { return 5; }
    static void cancelled(detail::wait_point& wait, cancel_cause cause) noexcept {
        detail::defer_cancel(wait, cause);
        wait.complete_or_wake();
    }
    static constexpr detail::wait_kind kind{"data", &cancelled};
};

/// The own task asks itself to end, and goes on when it has heard of it.
task<> be_cancelled_once() {
    current_task().cancel();
    (void)co_await as_result(yield());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(timeouts)

// rules 160, 174
OURO_ASYNC_TEST(what_is_awaited_is_cancelled_and_leaves_the_block_as_timed_out) {
    auto seen = std::make_shared<noticed>();
    const auto ended = co_await as_result(sleep_under(1ms, seen));
    BOOST_TEST_REQUIRE(!ended.has_value());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(!(ended.error() == errc::cancelled));
    BOOST_TEST((ended.error().cause() == cancel_cause::timeout));
    BOOST_TEST((seen->inside == errc::cancelled));
    BOOST_TEST((seen->inside.cause() == cancel_cause::timeout));
    BOOST_TEST(seen->expired);
    BOOST_TEST(own_requests() == 0U);
    co_await yield();  // and nothing is left to cancel this
}

// rule 160
OURO_ASYNC_TEST(the_error_names_what_was_awaited_the_deadline_and_its_line) {
    const int line = std::source_location::current().line() + 2;
    auto body = [](auto delay) -> task<> {
        timeout limit(delay);
        co_await sleep(1h);
    };
    const auto quick = co_await as_result(body(1500us));
    const std::string place = " at timeout_test.cpp:" + std::to_string(line);
    BOOST_TEST(quick.error().message() == "sleep: timed out: deadline of 1.5 ms" + place);
    const auto fraction = co_await as_result(body(std::chrono::duration<double>(0.002)));
    BOOST_TEST(fraction.error().reason() == "deadline of 2 ms" + place);
    const auto none = co_await as_result(body(0s));
    BOOST_TEST(none.error().reason() == "deadline of 0 s" + place);
    auto until = []() -> task<> {
        timeout limit = timeout_at(now() + 1ms);
        co_await sleep(1h);
    };
    const auto pointed = co_await as_result(until());
    BOOST_TEST(pointed.error().reason().starts_with("deadline at timeout_test.cpp:"));
}

OURO_ASYNC_TEST(a_block_that_is_quick_enough_notices_nothing) {
    auto body = []() -> task<int> {
        timeout limit(1h);
        co_await sleep(10us);
        BOOST_TEST(!limit.expired());
        co_return 5;
    };
    BOOST_TEST(co_await body() == 5);
    BOOST_TEST(own_requests() == 0U);
}

// rule 173
OURO_ASYNC_TEST(the_end_of_the_block_takes_its_timer_away) {
    const auto before = loop::current().counters().timers;
    {
        timeout limit(1h);
        timeout never(std::nullopt);
        BOOST_TEST(loop::current().counters().timers == before + 1);
    }
    BOOST_TEST(loop::current().counters().timers == before);
    co_return;
}

// rule 161
OURO_ASYNC_TEST(an_inner_block_sees_a_cancellation_when_the_outer_deadline_passes) {
    auto inner = std::make_shared<noticed>();
    auto outer = [&]() -> task<> {
        timeout limit(1ms);
        const auto ended = co_await as_result(sleep_under(1h, inner));
        BOOST_TEST((ended.error() == errc::cancelled));
        BOOST_TEST(limit.expired());
        co_await result<>(ended);
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(!inner->expired);
    BOOST_TEST(own_requests() == 0U);
}

// rule 161
OURO_ASYNC_TEST(an_outer_block_sees_the_timeout_of_an_inner_one_as_any_other_failure) {
    auto outer = []() -> task<> {
        timeout limit(1h);
        const auto ended = co_await as_result(sleep_under(1ms, std::make_shared<noticed>()));
        BOOST_TEST((ended.error() == std::errc::timed_out));
        BOOST_TEST(!limit.expired());
        co_await result<>(ended);
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(own_requests() == 0U);
}

// rule 162
OURO_ASYNC_TEST(of_two_that_pass_together_only_the_outer_one_times_out_and_tells_of_itself) {
    const auto when = now() + 1ms;
    auto inner = [&](bool& expired) -> task<> {
        timeout limit(when);
        const auto slept = co_await as_result(sleep(1h));
        expired = limit.expired();
        co_await result<>(slept);
    };
    const int line = std::source_location::current().line() + 2;
    auto outer = [&]() -> task<> {
        timeout limit(when);
        bool expired = false;
        const auto ended = co_await as_result(inner(expired));
        BOOST_TEST((ended.error() == errc::cancelled));
        BOOST_TEST(expired);
        BOOST_TEST(limit.expired());
        co_await result<>(ended);
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(ended.error().reason() == "deadline at timeout_test.cpp:" + std::to_string(line));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 162
OURO_ASYNC_TEST(a_hundred_that_pass_together_are_one_timeout) {
    const auto when = now() + 1ms;
    int cancelled = 0;
    auto nested = [&](auto& self, int left) -> task<> {
        timeout limit(when);
        if (left == 0) co_await sleep(1h);
        const auto ended = co_await as_result(self(self, left - 1));
        cancelled += ended.error() == errc::cancelled;
        co_await result<>(ended);
    };
    const auto ended = co_await as_result(nested(nested, 99));
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(cancelled == 99);
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 163
OURO_ASYNC_TEST(an_inner_timeout_that_is_dealt_with_leaves_the_outer_deadline_in_force) {
    auto outer = []() -> task<> {
        timeout limit(1h);  // long enough on a machine that is held up
        for (int i = 0; i < 2; ++i) {
            (void)co_await as_result(sleep_under(1ms, std::make_shared<noticed>()));
            BOOST_TEST(!limit.expired());
            BOOST_TEST(own_requests() == 0U);
        }
        limit.reschedule(loop::current().deadline_after(1ms));
        co_await sleep(1h);
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == std::errc::timed_out));
}

// rule 163
OURO_ASYNC_TEST(timeouts_of_tasks_side_by_side_have_nothing_to_do_with_each_other) {
    auto one = std::make_shared<noticed>();
    auto other = std::make_shared<noticed>();
    auto first = spawn(sleep_under(1ms, one));
    auto second = spawn(sleep_under(2ms, other));
    co_await eventually([=] { return first.done() && second.done(); });
    BOOST_TEST((first.failure() == std::errc::timed_out));
    BOOST_TEST((second.failure() == std::errc::timed_out));
    BOOST_TEST(!first.cancelled());
    BOOST_TEST(first.cancelling() == 0U);
}

// rule 164
OURO_ASYNC_TEST(without_a_deadline_nothing_ever_expires) {
    timeout limit(std::nullopt);
    BOOST_TEST(!limit.when());
    co_await sleep(1ms);
    BOOST_TEST(!limit.expired());
}

// rule 164
OURO_ASYNC_TEST(a_deadline_that_has_passed_comes_at_the_first_await_that_suspends) {
    auto at_once = [](auto when) -> task<int> { co_return when; };
    auto body = [&](auto when) -> task<> {
        timeout limit(when);
        BOOST_TEST(co_await at_once(5) == 5);  // does not suspend
        BOOST_TEST(!limit.expired());
        const auto yielded = co_await as_result(yield());
        BOOST_TEST((yielded.error() == errc::cancelled));
        BOOST_TEST(limit.expired());
        co_await result<>(yielded);
    };
    BOOST_TEST(((co_await as_result(body(0s))).error() == std::errc::timed_out));
    BOOST_TEST(((co_await as_result(body(-5ms))).error() == std::errc::timed_out));
    const std::optional passed = now() - 1s;
    BOOST_TEST(((co_await as_result(body(passed))).error() == std::errc::timed_out));
    BOOST_TEST(own_requests() == 0U);
}

// rule 165
OURO_ASYNC_TEST(a_block_without_time_that_never_suspends_ends_normally) {
    {
        timeout limit(0s);
        BOOST_TEST(!limit.expired());
    }
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
    auto fails = []() -> task<> {
        timeout limit(-1s);
        co_await result<>(error(errc::no_address, "look up"));
    };
    const auto failed = co_await as_result(fails());
    BOOST_TEST((failed.error() == errc::no_address));
    BOOST_TEST(failed.error().reason().empty());
    co_await yield();
}

// rule 166
OURO_ASYNC_TEST(a_cancellation_by_somebody_else_passes_through) {
    auto seen = std::make_shared<noticed>();
    auto waiting = spawn(sleep_under(1h, seen));
    co_await settle();
    waiting.cancel(cancel_cause::user, "the client went away");
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(waiting.cancelling() == 1U);
    BOOST_TEST(!seen->expired);
    BOOST_TEST(waiting.failure().message() == "sleep: cancelled: the client went away");
}

// rules 162, 166
OURO_ASYNC_TEST(a_cancellation_by_somebody_else_at_the_same_moment_is_not_turned_into_a_timeout) {
    for (const bool deadline_first : {true, false}) {
        auto seen = std::make_shared<noticed>();
        auto waiting = std::make_shared<task_handle<>>();
        const auto when = now() + 1ms;
        const auto cancel = [=] {
            if (*waiting) waiting->cancel();
        };
        if (!deadline_first) loop::current().call_at(when, cancel);
        *waiting = spawn([=]() -> task<> {
            timeout limit(when);
            if (deadline_first) loop::current().call_at(when, cancel);
            const auto slept = co_await as_result(sleep(1h));
            seen->expired = limit.expired();
            co_await result<>(slept);
        });
        co_await eventually([=] { return waiting->done(); });
        BOOST_TEST(waiting->cancelled());
        BOOST_TEST(waiting->cancelling() == 1U);
        BOOST_TEST(seen->expired);
        *waiting = {};
    }
}

// rule 167
OURO_ASYNC_TEST(a_task_that_was_cancelled_before_may_still_time_out) {
    auto started = spawn([]() -> task<> {
        co_await be_cancelled_once();
        BOOST_TEST(own_requests() == 1U);
        const auto ended = co_await as_result(sleep_under(1ms, std::make_shared<noticed>()));
        BOOST_TEST((ended.error() == std::errc::timed_out));
        const auto none = co_await as_result(sleep_under(0ms, std::make_shared<noticed>()));
        BOOST_TEST((none.error() == std::errc::timed_out));
        BOOST_TEST(own_requests() == 1U);
        co_await yield();
    });
    co_await started;
}

// rule 167
OURO_ASYNC_TEST(a_task_that_was_cancelled_before_and_is_again_in_the_block_ends_cancelled) {
    auto started = spawn([]() -> task<> {
        co_await be_cancelled_once();
        timeout limit(1h);
        current_task().cancel();
        co_await sleep(2h);
    });
    co_await settle();
    BOOST_TEST(started.cancelled());
    BOOST_TEST(started.cancelling() == 2U);
}

// rule 167
OURO_ASYNC_TEST(a_request_that_is_due_at_entry_is_not_taken_for_the_timeout) {
    for (const auto delay : {clock::duration(1h), clock::duration(0)}) {
        auto started = spawn([delay]() -> task<> {
            current_task().cancel(cancel_cause::user, "shutting down");
            timeout limit(delay);
            co_await sleep(2h);
        });
        co_await settle();
        BOOST_TEST(started.cancelled());
        BOOST_TEST(started.cancelling() == 1U);
        BOOST_TEST(started.failure().reason() == "shutting down");
    }
}

// rules 116, 167
OURO_ASYNC_TEST(a_deadline_that_lost_against_the_data_is_forgotten_at_the_end_of_the_block) {
    auto started = spawn([]() -> task<> {
        for (unsigned requests = 0; requests < 2; ++requests) {
            if (requests == 1) co_await be_cancelled_once();
            {
                timeout limit(1ms);
                BOOST_TEST(co_await wins_against_cancel() == 5);
                BOOST_TEST(limit.expired());
            }
            BOOST_TEST(own_requests() == requests);
            const auto next = co_await as_result(yield());
            BOOST_TEST(next.has_value());
        }
    });
    co_await started;
}

OURO_ASYNC_TEST(a_deadline_that_lost_against_the_data_comes_at_the_next_await_of_the_block) {
    auto body = []() -> task<> {
        timeout limit(1ms);
        BOOST_TEST(co_await wins_against_cancel() == 5);
        co_await sleep(1h);
    };
    const auto ended = co_await as_result(body());
    BOOST_TEST((ended.error() == std::errc::timed_out));
}

// rule 168
OURO_ASYNC_TEST(another_failure_of_the_block_passes_and_names_the_deadline) {
    auto fails = [](bool in_time) -> task<> {
        timeout limit(in_time ? 1h : 1ms);
        (void)co_await as_result(sleep(in_time ? 1ms : 2h));
        BOOST_TEST(limit.expired() != in_time);
        co_await result<>(error(errc::no_address, "look up"));
    };
    const auto early = co_await as_result(fails(true));
    BOOST_TEST((early.error() == errc::no_address));
    BOOST_TEST(early.error().reason().empty());
    const auto late = co_await as_result(fails(false));
    BOOST_TEST((late.error() == errc::no_address));
    BOOST_TEST(late.error().reason().starts_with("deadline of 1 ms at timeout_test.cpp:"));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 168
OURO_ASYNC_TEST(an_exception_of_the_block_passes) {
    auto throws = []() -> task<> {
        timeout limit(1ms);
        (void)co_await as_result(sleep(1h));
        BOOST_TEST(limit.expired());
        throw std::runtime_error("burnt");
    };
    bool caught = false;
    try {
        co_await throws();
    } catch (const std::runtime_error&) {
        caught = true;
    }
    BOOST_TEST(caught);
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 169
OURO_ASYNC_TEST(a_block_that_swallows_the_cancellation_ends_normally) {
    {
        timeout limit(1ms);
        const auto slept = co_await as_result(sleep(1h));
        BOOST_TEST((slept.error() == errc::cancelled));
        BOOST_TEST(own_requests() == 1U);
        co_await sleep(1ms);  // it comes once
        BOOST_TEST(limit.expired());
    }
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 160: the failure is on its way out whichever way it leaves
OURO_ASYNC_TEST(a_cancellation_that_is_returned_or_awaited_is_converted_as_well) {
    auto returned = []() -> task<int> {
        timeout limit(1ms);
        const auto slept = co_await as_result(sleep(1h));
        co_return slept.error();
    };
    auto as_a_result = []() -> task<int> {
        timeout limit(1ms);
        const auto slept = co_await as_result(sleep(1h));
        co_return result<int>(slept.error());
    };
    auto awaited = []() -> task<int> {
        timeout limit(1ms);
        const auto slept = co_await as_result(sleep(1h));
        co_await result<>(slept);
        co_return 5;
    };
    BOOST_TEST(((co_await as_result(returned())).error() == std::errc::timed_out));
    BOOST_TEST(((co_await as_result(as_a_result())).error() == std::errc::timed_out));
    BOOST_TEST(((co_await as_result(awaited())).error() == std::errc::timed_out));
}

// A cancellation of something else that is not this deadline's.
// rules 112, 160
OURO_ASYNC_TEST(a_cancelled_task_that_is_joined_is_no_timeout) {
    auto joined = spawn([]() -> task<> { co_await sleep(1h); });
    auto body = [&]() -> task<> {
        timeout limit(1h);
        co_await joined;
    };
    joined.cancel();
    const auto ended = co_await as_result(body());
    BOOST_TEST((ended.error() == errc::cancelled));
}

// rules 110, 160
OURO_ASYNC_TEST(a_deadline_cancels_the_task_that_is_waited_for_and_waits_for_its_end) {
    auto joined = spawn([]() -> task<> {
        const auto slept = co_await as_result(sleep(1h));
        co_await sleep(1ms);
        co_await result<>(slept);
    });
    auto body = [&]() -> task<> {
        timeout limit(1ms);
        co_await joined;
    };
    const auto ended = co_await as_result(body());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(joined.done());
    BOOST_TEST(joined.cancelled());
    BOOST_TEST(own_requests() == 0U);
}

// rules 160, 168: test_nested_timeout_in_finally
OURO_ASYNC_TEST(cleaning_up_behind_a_timeout_may_have_a_timeout_of_its_own) {
    auto body = []() -> task<> {
        timeout limit(1ms);
        const auto slept = co_await as_result(sleep(1h));
        const auto cleaned = co_await as_result(sleep_under(1ms, std::make_shared<noticed>()));
        BOOST_TEST((cleaned.error() == std::errc::timed_out));
        BOOST_TEST(own_requests() == 1U);
        co_await result<>(slept);
    };
    const auto ended = co_await as_result(body());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(own_requests() == 0U);
}

// rule 171
OURO_ASYNC_TEST(a_deadline_may_be_moved_or_taken_away) {
    auto body = []() -> task<> {
        timeout limit(1h);
        const auto first = limit.when();
        BOOST_TEST_REQUIRE(first.has_value());
        BOOST_TEST((*first > now() + 50min));
        BOOST_TEST(limit.reschedule(std::nullopt));
        BOOST_TEST(!limit.when());
        co_await yield();
        const auto soon = now() + 1ms;
        BOOST_TEST(limit.reschedule(soon));
        BOOST_TEST((*limit.when() == soon));
        BOOST_TEST(limit.reschedule(now() + 2ms));
        co_await sleep(1h);
    };
    const auto before = loop::current().counters().timers;
    const auto ended = co_await as_result(body());
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(ended.error().reason().starts_with("deadline at "));
    BOOST_TEST(loop::current().counters().timers == before);
}

// rules 170, 171
OURO_ASYNC_TEST(a_deadline_without_time_may_be_moved_before_it_is_noticed) {
    {
        timeout limit(0s);
        BOOST_TEST(limit.reschedule(now() + 1h));
        BOOST_TEST(own_requests() == 0U);
        co_await yield();
        BOOST_TEST(limit.reschedule(now() - 1s));
        BOOST_TEST(limit.reschedule(std::nullopt));
        co_await yield();
        BOOST_TEST(!limit.expired());
    }
    co_await yield();
}

// rule 170
OURO_ASYNC_TEST(a_deadline_that_has_come_cannot_be_moved) {
    {
        timeout limit(1ms);
        const auto when = limit.when();
        (void)co_await as_result(sleep(1h));
        BOOST_TEST(!limit.reschedule(now() + 1h));
        BOOST_TEST(!limit.reschedule(std::nullopt));
        BOOST_TEST((limit.when() == when));
    }
    BOOST_TEST(own_requests() == 0U);
}

// rule 171: a watchdog that is fed, or put down, from outside
OURO_WHOLE_TEST(a_deadline_may_be_moved_while_the_task_waits,
                "moves a deadline by hand that is there only if the task got that far") {
    struct watched {
        std::optional<timeout> limit;
    };
    auto dog = std::make_shared<watched>();
    auto waiting = spawn([dog]() -> task<> {
        dog->limit.emplace(1h);
        struct let_go {
            std::shared_ptr<watched> from;
            ~let_go() { from->limit.reset(); }
        };
        const let_go at_the_end{dog};
        co_await sleep(2h);
    });
    co_await settle();
    BOOST_TEST(dog->limit->reschedule(now() + 2h));
    co_await settle();
    BOOST_TEST(!waiting.done());
    BOOST_TEST(dog->limit->reschedule(now() - 1s));
    co_await settle();
    BOOST_TEST((waiting.failure() == std::errc::timed_out));
}

// rule 172
BOOST_AUTO_TEST_CASE(outside_of_a_task_there_is_no_timeout) {
    loop home(options_for(engine::uring));
    int refused = 0;
    const auto enter = [&refused] {
        try {
            timeout limit(1h);
        } catch (const std::system_error& thrown) {
            refused += thrown.code() == errc::invalid_state;
        }
    };
    enter();
    home.call_soon(enter);
    home.call_soon([&] { home.stop(); });
    home.run_forever();
    BOOST_TEST(refused == 2);
}

// rule 38
OURO_ASYNC_TEST(deadlines_too_far_away_never_come) {
    using seconds = std::chrono::duration<double>;
    const timeout hours(std::chrono::hours::max());
    const timeout nanoseconds(std::chrono::nanoseconds::max());
    const timeout huge(seconds(1e300));
    const timeout endless{seconds(std::numeric_limits<double>::infinity())};
    const timeout odd{seconds(std::numeric_limits<double>::quiet_NaN())};
    const timeout last(clock::time_point::max());
    co_await sleep(1ms);
    for (const auto* each : {&hours, &nanoseconds, &huge, &endless, &odd, &last}) {
        BOOST_TEST(!each->expired());
    }
    auto past = []() -> task<> {
        timeout limit(seconds(-1e300));
        co_await sleep(1h);
    };
    BOOST_TEST(((co_await as_result(past())).error() == std::errc::timed_out));
    auto long_ago = []() -> task<> {
        timeout limit(clock::time_point::min());
        co_await sleep(1h);
    };
    BOOST_TEST(((co_await as_result(long_ago())).error() == std::errc::timed_out));
}

// A loop that closes destroys what does not end in time: nothing of a timeout is left behind.
BOOST_AUTO_TEST_CASE(a_closing_loop_takes_timeouts_down_with_their_frames) {
    loop home(options_for(engine::uring));
    std::vector<failure_report> reports;
    home.set_exception_handler(
        [&](loop&, const failure_report& report) { reports.push_back(report); });
    auto never_ends = []() -> task<> {
        const timeout outer(1h);
        const timeout inner(2h);
        for (;;) (void)co_await as_result(sleep(1h));
    };
    spawn(home, never_ends());
    home.call_soon([&] { home.stop(); });
    home.run_forever();
    BOOST_TEST(home.counters().timers >= 2U);
    home.close();
    BOOST_TEST(home.counters().timers == 0U);
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(contains(reports.at(0).message, "destroyed"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
