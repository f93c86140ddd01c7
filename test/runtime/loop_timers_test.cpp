// Timers of a loop: deadlines, order, cancellation, sleeps.
#include <ouro/runtime/loop.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

struct plain_loop {
    loop home{options_for(engine::uring)};
    std::string order;
    callback note(char what) {
        return [this, what] { order += what; };
    }
    void one_turn() {
        home.stop();
        home.run_forever();
    }
};

template <class... Arguments>
concept timer_arguments =
    requires(loop& home, Arguments... arguments) { home.call_later(std::move(arguments)...); };
template <class... Arguments>
concept deadline_arguments =
    requires(loop& home, Arguments... arguments) { home.call_at(std::move(arguments)...); };

/// Keeps the thread busy until the clock has moved.
void let_time_pass(clock::duration atleast) {
    const auto until = clock::now() + atleast;
    while (clock::now() < until) continue;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(loop_timers, plain_loop)

// rule 31
BOOST_AUTO_TEST_CASE(call_later_counts_from_now_on_the_monotonic_clock_of_the_loop) {
    static_assert(clock::is_steady);
    const auto before = home.time();
    auto timer = home.call_later(1h, note('x'));
    const auto after = home.time();
    BOOST_TEST((timer.when() >= before + 1h));
    BOOST_TEST((timer.when() <= after + 1h));
    const auto exact = home.time() + 1h;
    BOOST_TEST((home.call_at(exact, note('y')).when() == exact));
}

// rule 32
BOOST_AUTO_TEST_CASE(a_timer_never_fires_before_its_deadline) {
    int fired = 0;
    for (int i = 0; i < 100; ++i) {
        const auto due = home.time() + std::chrono::microseconds(20 * i);
        home.call_at(due, [&, due] {
            BOOST_TEST((clock::now() >= due));
            if (++fired == 100) home.stop();
        });
    }
    home.run_forever();
    BOOST_TEST(fired == 100);
}

// rule 33
BOOST_AUTO_TEST_CASE(all_timers_that_are_due_fire_in_the_same_turn) {
    const auto due = home.time();
    for (int i = 0; i < 10; ++i) home.call_at(due - std::chrono::nanoseconds(i), note('x'));
    one_turn();
    BOOST_TEST(order == "xxxxxxxxxx");
}

// rules 34, 35
BOOST_AUTO_TEST_CASE(
    overdue_timers_fire_in_order_of_deadline_and_equal_ones_in_order_of_the_calls) {
    const auto past = home.time() - 1s;
    home.call_at(past + 3ms, note('e'));
    home.call_at(past + 1ms, note('b'));
    home.call_at(past + 2ms, note('d'));
    home.call_at(past + 1ms, note('c'));
    home.call_at(past, note('a'));
    one_turn();
    BOOST_TEST(order == "abcde");
}

// rule 36
BOOST_AUTO_TEST_CASE(a_negative_delay_fires_in_the_next_turn_and_never_inside_the_call) {
    home.call_later(-1h, note('a'));
    home.call_later(std::chrono::duration<double>(-1e300), note('b'));
    home.call_later(0s, note('c'));
    BOOST_TEST(order.empty());
    one_turn();
    BOOST_TEST(order.size() == 3U);
    BOOST_TEST(order.find('c') != std::string::npos);
    home.call_soon([this] { home.call_later(-1s, note('d')); });
    one_turn();
    BOOST_TEST(order.size() == 3U);
    one_turn();
    BOOST_TEST(order.size() == 4U);
}

// rule 37
BOOST_AUTO_TEST_CASE(a_delay_or_a_deadline_cannot_be_left_out) {
    static_assert(timer_arguments<std::chrono::seconds, callback>);
    static_assert(!timer_arguments<callback>);
    static_assert(!timer_arguments<int, callback>);
    static_assert(deadline_arguments<clock::time_point, callback>);
    static_assert(!deadline_arguments<callback>);
    static_assert(!deadline_arguments<std::chrono::system_clock::time_point, callback>);
    BOOST_TEST(true);
}

// rule 38
BOOST_AUTO_TEST_CASE(absurdly_long_delays_never_fire_and_can_be_cancelled) {
    std::vector<timer_handle> timers;
    timers.push_back(home.call_later(std::chrono::hours::max(), note('x')));
    timers.push_back(home.call_later(std::chrono::nanoseconds::max(), note('x')));
    timers.push_back(home.call_later(std::chrono::years(100), note('x')));
    timers.push_back(home.call_later(std::chrono::duration<double>(1e300), note('x')));
    timers.push_back(home.call_later(
        std::chrono::duration<double>(std::numeric_limits<double>::infinity()), note('x')));
    timers.push_back(home.call_at(clock::time_point::max(), note('x')));
    home.call_later(1ms, [this] { home.stop(); });
    home.run_forever();
    BOOST_TEST(order.empty());
    BOOST_TEST(home.counters().timers == timers.size());
    for (timer_handle& each : timers) each.cancel();
    BOOST_TEST(home.counters().timers == 0U);
}

// rule 39
BOOST_AUTO_TEST_CASE(a_timer_made_after_a_long_callback_counts_from_the_fresh_clock) {
    home.call_soon([this] {
        let_time_pass(2ms);
        const auto before = clock::now();
        auto timer = home.call_later(1ms, [this] { home.stop(); });
        BOOST_TEST((timer.when() >= before + 1ms));
    });
    home.run_forever();
}

// fault 66
BOOST_AUTO_TEST_CASE(timers_that_a_long_callback_made_late_are_not_lost) {
    for (char what = 'a'; what <= 'e'; ++what) home.call_later((what - 'a') * 100us, note(what));
    home.call_soon([] { let_time_pass(2ms); });
    home.call_later(2ms, [this] { home.stop(); });
    home.run_forever();
    BOOST_TEST(order == "abcde");
}

// rules 41, 42
BOOST_AUTO_TEST_CASE(a_cancelled_timer_leaves_the_queue_at_once) {
    std::vector<timer_handle> timers;
    for (int i = 0; i < 1000; ++i) timers.push_back(home.call_later(1h, note('x')));
    BOOST_TEST(home.counters().timers == 1000U);
    for (std::size_t i = 0; i < 1000; i += 2) timers[i].cancel();
    BOOST_TEST(home.counters().timers == 500U);
    BOOST_TEST(home.counters().calls == 500U);
}

// rule 43
BOOST_AUTO_TEST_CASE(a_handle_tells_its_deadline_also_after_it_fired_or_was_cancelled) {
    const auto due = home.time();
    auto fires = home.call_at(due, note('x'));
    auto cancelled = home.call_at(due + 1h, note('y'));
    cancelled.cancel();
    one_turn();
    BOOST_TEST(order == "x");
    BOOST_TEST((fires.when() == due));
    BOOST_TEST((cancelled.when() == due + 1h));
    BOOST_TEST((timer_handle().when() == clock::time_point()));
}

BOOST_AUTO_TEST_CASE(a_timer_cancels_another_that_is_due_in_the_same_turn) {
    const auto past = home.time() - 1s;
    timer_handle later;
    home.call_at(past, [&] { later.cancel(); });
    later = home.call_at(past + 1ms, note('x'));
    home.call_at(past + 2ms, note('y'));
    one_turn();
    BOOST_TEST(order == "y");
    BOOST_TEST(home.counters().timers == 0U);
    BOOST_TEST(home.counters().calls == 0U);
}

// rule 44, fault 29
BOOST_AUTO_TEST_CASE(thousands_of_timers_made_and_cancelled_from_timers_lose_none) {
    int fired = 0, made = 0;
    std::vector<timer_handle> doomed;
    function<void()> more = [&] {
        ++fired;
        for (int i = 0; i < 2 && made < 20'000; ++i) {
            ++made;
            home.call_later(std::chrono::microseconds(made % 7), [&] { more(); });
            doomed.push_back(
                home.call_later(std::chrono::microseconds(500 + made % 11), note('x')));
        }
        while (doomed.size() > 10) {
            doomed.front().cancel();
            doomed.erase(doomed.begin());
        }
        if (fired == made + 1) home.stop();
    };
    home.call_soon([&] { more(); });
    home.run_forever();
    BOOST_TEST(fired == 20'001);
    for (timer_handle& each : doomed) each.cancel();
    BOOST_TEST(home.counters().timers == 0U);
}

// fault 29
BOOST_AUTO_TEST_CASE(a_million_timers_are_added_and_dropped) {
    for (int i = 0; i < 1'000'000; ++i)
        home.call_later(1h + std::chrono::nanoseconds(i % 977), [] {});
    BOOST_TEST(home.counters().timers == 1'000'000U);
    one_turn();
    home.close();
    BOOST_TEST(home.counters().timers == 0U);
}

// rule 45
OURO_ASYNC_TEST(cancelling_a_task_that_sleeps_cancels_its_timer) {
    loop& home = loop::current();
    const std::size_t before = home.counters().timers;
    auto sleeper = spawn([]() -> task<> { co_await sleep(1h); });
    co_await settle();
    BOOST_TEST(home.counters().timers == before + 1);
    sleeper.cancel();
    BOOST_TEST(home.counters().timers == before);
    const auto ended = co_await as_result(sleeper.join());
    BOOST_TEST((ended.error() == errc::cancelled));
}

// rule 46
OURO_ASYNC_TEST(a_sleep_of_zero_or_less_gives_up_control_for_exactly_one_turn) {
    loop& home = loop::current();
    for (const auto delay : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
        bool other_ran = false;
        home.call_soon([&] { other_ran = true; });
        const auto before = home.statistics().turns;
        co_await sleep(delay);
        BOOST_TEST(home.statistics().turns == before + 1);
        BOOST_TEST(other_ran);
    }
    const auto before = home.statistics().turns;
    co_await sleep_until(clock::time_point::min());
    BOOST_TEST(home.statistics().turns == before + 1);
    co_await yield();
    BOOST_TEST(home.statistics().turns == before + 2);
}

// rule 47
OURO_ASYNC_TEST(a_sleep_for_not_a_number_is_a_value_error) {
    const auto odd = std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN());
    const auto slept = co_await as_result(sleep(odd));
    BOOST_TEST((slept.error() == errc::value_error));
}

// rule 38
OURO_ASYNC_TEST(an_endless_sleep_can_be_cancelled) {
    auto sleeper = spawn([]() -> task<> {
        co_await sleep(std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
    });
    co_await settle();
    BOOST_TEST(!sleeper.done());
    sleeper.cancel();
    BOOST_TEST(!(co_await as_result(sleeper.join())).has_value());
}

OURO_ASYNC_TEST(sleepers_wake_in_order_of_their_deadlines) {
    std::string order;
    const auto base = loop::current().time();
    std::vector<task_handle<>> sleepers;
    for (const int tenths : {3, 1, 2, 0}) {
        sleepers.push_back(spawn(
            [&order, base](int t) -> task<> {
                co_await sleep_until(base + t * 100us);
                order += static_cast<char>('0' + t);
            },
            tenths));
    }
    for (const auto& each : sleepers) co_await each;
    BOOST_TEST(order == "0123");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
