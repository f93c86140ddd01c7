// The first that is done, and the first that succeeds.
#include <ouro/runtime/race.hpp>

#include <boost/test/unit_test.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/runtime/context.hpp>

#include "async_test.hpp"
#include "child_process.hpp"
#include "later.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// Takes no notice of a cancellation.
task<int> stubborn(int value) {
    (void)co_await as_result(sleep(1h));
    for (int i = 0; i < 3; ++i) (void)co_await as_result(yield());
    co_return value;
}

/// Timers but the one that watches over the test.
std::size_t timers_here() { return loop::current().counters().timers - 1; }

struct counted {
    inline static int live = 0;
    int value = 0;
    explicit counted(int of) noexcept : value(of) { ++live; }
    counted(counted&& other) noexcept : value(other.value) { ++live; }
    counted& operator=(counted&&) noexcept = default;
    ~counted() { --live; }
};

task_local<int> request;

/// Attempts of a staggered race, and what happened to them.
struct attempts {
    using factory = std::function<task<int>()>;
    std::shared_ptr<std::string> story = std::make_shared<std::string>();
    std::vector<factory> all;

    /// Gives its number after `delay`.
    attempts& good(std::chrono::milliseconds delay = 0ms) { return add(delay, errc{}); }
    attempts& bad(errc why, std::chrono::milliseconds delay = 0ms) { return add(delay, why); }

  private:
    attempts& add(std::chrono::milliseconds delay, errc why) {
        const int number = static_cast<int>(all.size());
        all.push_back([to = story, number, delay, why] { return one(to, number, delay, why); });
        return *this;
    }
    static task<int> one(std::shared_ptr<std::string> to, int number,
                         std::chrono::milliseconds delay, errc why) {
        *to += "start" + std::to_string(number) + ' ';
        const auto slept = co_await as_result(sleep(delay));
        if (!slept) {
            *to += "cancel" + std::to_string(number) + ' ';
            co_return slept.error();
        }
        *to += "end" + std::to_string(number) + ' ';
        if (why != errc{}) co_return why;
        co_return number;
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(racing)

OURO_ASYNC_TEST(the_first_to_end_wins_and_the_others_are_cancelled_and_waited_for) {
    auto story = std::make_shared<std::string>();
    std::vector<task<int>> all;
    all.push_back(wait_long(story));
    all.push_back(give_later(5, 3ms));
    all.push_back(give_later(6, 9ms));
    all.push_back(stubborn(7));
    const auto first = co_await race(std::move(all));
    BOOST_TEST(first.index == 1U);
    BOOST_TEST(first.value == 5);
    BOOST_TEST(*story == "loser ");
    BOOST_TEST(loop::current().counters().tasks == 1U);
    BOOST_TEST(timers_here() == 0U);
}

OURO_ASYNC_TEST(of_two_that_end_in_the_same_turn_the_first_by_the_order_of_events_wins) {
    auto quick = [](int value) -> task<int> {
        co_await yield();
        co_return value;
    };
    const auto first = co_await race(quick(1), quick(2), quick(3));
    BOOST_TEST(first.index == 0U);
    BOOST_TEST(first.value == 1);
}

OURO_ASYNC_TEST(a_failure_can_come_first) {
    auto story = std::make_shared<std::string>();
    const auto ended =
        co_await as_result(race(wait_long(story), fail_later(errc::unsupported, 1ms)));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(*story == "loser ");
    auto throws = []() -> task<int> {
        co_await yield();
        throw std::runtime_error("thrown on purpose");
    };
    BOOST_CHECK_THROW(co_await race(throws(), wait_long(story)), std::runtime_error);
    const auto none = co_await as_result(race(std::vector<task<int>>{}));
    BOOST_TEST((none.error() == errc::value_error));
}

OURO_ASYNC_TEST(failures_of_losers_are_dropped) {
    auto sore = []() -> task<int> {
        (void)co_await as_result(sleep(1h));
        co_return errc::unsupported;
    };
    auto sorer = []() -> task<int> {
        (void)co_await as_result(sleep(1h));
        throw std::runtime_error("thrown on purpose");
    };
    const auto first = co_await race(sore(), give_later(1, 1ms), sorer());
    BOOST_TEST(first.index == 1U);
    BOOST_TEST(take_reports().empty());
}

OURO_ASYNC_TEST(what_losers_return_is_destroyed) {
    const int before = counted::live;
    {
        auto late = [](int value) -> task<counted> {
            (void)co_await as_result(sleep(1h));
            co_return counted(value);
        };
        auto quick = []() -> task<counted> {
            co_await yield();
            co_return counted(1);
        };
        const auto first = co_await race(late(2), quick(), late(3), quick());
        BOOST_TEST(first.index == 1U);
        BOOST_TEST(first.value.value == 1);
        BOOST_TEST(counted::live == before + 1);
    }
    BOOST_TEST(counted::live == before);
}

OURO_ASYNC_TEST(races_of_nothing_to_return_of_what_moves_and_of_innermost_awaitables) {
    auto waits = [](std::chrono::milliseconds delay) -> task<> { co_await sleep(delay); };
    BOOST_TEST((co_await race(waits(9ms), waits(1ms))).index == 1U);
    auto make = [](int value) -> task<std::unique_ptr<int>> {
        co_await sleep(std::chrono::milliseconds(value));
        co_return std::make_unique<int>(value);
    };
    BOOST_TEST(*(co_await race(make(4), make(2))).value == 2);
    BOOST_TEST((co_await race(sleep(5ms), sleep(2ms), sleep(9ms))).index == 1U);
}

OURO_ASYNC_TEST(a_handle_that_loses_is_cancelled_and_one_that_wins_keeps_its_value) {
    auto story = std::make_shared<std::string>();
    auto loser = spawn(wait_long(story));
    auto winner = spawn([]() -> task<std::string> {
        co_await sleep(1ms);
        co_return "a text that is not short at all";
    });
    auto as_text = [](task_handle<int> from) -> task<std::string> {
        co_return std::to_string(co_await from);
    };
    const auto first = co_await race(as_text(loser), winner);
    BOOST_TEST(first.index == 1U);
    BOOST_TEST(loser.cancelled());
    BOOST_TEST(co_await winner == first.value);
}

OURO_ASYNC_TEST(cancelling_the_waiter_cancels_all_runners) {
    auto story = std::make_shared<std::string>();
    auto waiting = spawn([story]() -> task<> {
        (void)co_await race(wait_long(story), wait_long(story), stubborn(1));
    });
    co_await settle();
    waiting.cancel();
    co_await settle(2);
    BOOST_TEST(!waiting.done());
    co_await settle(8);
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(*story == "user user ");
}

OURO_ASYNC_TEST(ten_thousand_runners) {
    std::vector<task<int>> all;
    for (int i = 0; i < 10'000; ++i) {
        all.push_back(give_later(i, i == 9'000 ? 1ms : 1'000'000ms));
    }
    const auto first = co_await race(std::move(all));
    BOOST_TEST(first.index == 9'000U);
    BOOST_TEST(timers_here() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(staggering)

// rule 213
OURO_ASYNC_TEST(a_staggered_race_over_nothing_has_no_winner_and_no_errors) {
    const auto outcome = co_await staggered_race(std::vector<attempts::factory>{}, {});
    BOOST_TEST(!outcome.winner);
    BOOST_TEST(outcome.errors.empty());
}

// rules 209, 212
OURO_ASYNC_TEST(the_first_attempt_wins_alone_when_it_is_quick) {
    attempts made;
    made.good(2ms).good().good();
    const auto outcome = co_await staggered_race(made.all, 10s);
    BOOST_TEST_REQUIRE(outcome.winner.has_value());
    BOOST_TEST(outcome.winner->index == 0U);
    BOOST_TEST(outcome.winner->value == 0);
    BOOST_TEST_REQUIRE(outcome.errors.size() == 1U);
    BOOST_TEST(!outcome.errors.at(0));
    BOOST_TEST(*made.story == "start0 end0 ");
    BOOST_TEST(timers_here() == 0U);
}

// rules 209, 212
OURO_ASYNC_TEST(a_failed_attempt_starts_the_next_one_at_once) {
    attempts made;
    made.bad(errc::unsupported, 2ms).good(1ms);
    const auto began = loop::current().time();
    const auto outcome = co_await staggered_race(made.all, 10s);
    BOOST_TEST((loop::current().time() - began < 5s));
    BOOST_TEST(outcome.winner.value().index == 1U);
    BOOST_TEST_REQUIRE(outcome.errors.size() == 2U);
    BOOST_TEST((outcome.errors.at(0) == errc::unsupported));
    BOOST_TEST(!outcome.errors.at(1));
    BOOST_TEST(*made.story == "start0 end0 start1 end1 ");
}

// rules 209, 211, 212
OURO_ASYNC_TEST(a_slow_attempt_gets_company_after_the_delay_and_may_lose) {
    attempts made;
    made.good(1'000'000ms).good(1ms);
    const auto outcome = co_await staggered_race(made.all, 5ms);
    BOOST_TEST(outcome.winner.value().index == 1U);
    BOOST_TEST_REQUIRE(outcome.errors.size() == 2U);
    BOOST_TEST((outcome.errors.at(0) == errc::cancelled));
    BOOST_TEST((outcome.errors.at(0).cause() == cancel_cause::not_needed));
    BOOST_TEST(!outcome.errors.at(1));
    BOOST_TEST(*made.story == "start0 start1 end1 cancel0 ");
}

// rule 209
OURO_ASYNC_TEST(the_delay_counts_from_the_start_of_the_newest_attempt) {
    attempts made;
    made.good(1'000'000ms).bad(errc::unsupported).good(1'000'000ms).good(1ms);
    const auto outcome = co_await staggered_race(made.all, 50ms);
    BOOST_TEST(outcome.winner.value().index == 3U);
    BOOST_TEST(*made.story == "start0 start1 end1 start2 start3 end3 cancel0 cancel2 ");
}

// rules 210, 212
OURO_ASYNC_TEST(without_a_delay_attempts_run_one_after_the_other) {
    attempts made;
    made.bad(errc::unsupported, 3ms).bad(errc::no_address, 2ms).bad(errc::value_error);
    const auto outcome = co_await staggered_race(made.all, {});
    BOOST_TEST(!outcome.winner);
    BOOST_TEST_REQUIRE(outcome.errors.size() == 3U);
    BOOST_TEST((outcome.errors.at(0) == errc::unsupported));
    BOOST_TEST((outcome.errors.at(1) == errc::no_address));
    BOOST_TEST((outcome.errors.at(2) == errc::value_error));
    BOOST_TEST(*made.story == "start0 end0 start1 end1 start2 end2 ");
}

OURO_ASYNC_TEST(attempts_that_fail_by_exception_or_cannot_even_be_made_count_as_failed) {
    std::vector<attempts::factory> all;
    all.push_back([]() -> task<int> {
        co_await yield();
        throw std::runtime_error("while it ran");
    });
    all.push_back([]() -> task<int> { throw std::runtime_error("while it was made"); });
    all.push_back(attempts::factory([]() { return give_later(3, 1ms); }));
    all[1] = []() -> task<int> {
        if (true) throw std::runtime_error("while it was made");
        return give_later(0, 0ms);
    };
    const auto outcome = co_await staggered_race(all, {});
    BOOST_TEST(outcome.winner.value().value == 3);
    BOOST_TEST_REQUIRE(outcome.errors.size() == 3U);
    BOOST_TEST(contains(outcome.errors.at(0).message(), "while it ran"));
    BOOST_TEST(contains(outcome.errors.at(1).message(), "while it was made"));
}

// rules 211, 212
OURO_ASYNC_TEST(there_is_one_winner_even_when_two_end_in_the_same_turn) {
    const int before = counted::live;
    {
        auto started = std::make_shared<int>(0);
        std::vector<std::function<task<counted>()>> all;
        for (int i = 0; i < 3; ++i) {
            all.push_back([started, i]() -> task<counted> {
                ++*started;
                while (*started < 3) (void)co_await as_result(yield());
                co_return counted(i);
            });
        }
        const auto outcome = co_await staggered_race(std::move(all), 1ms);
        BOOST_TEST_REQUIRE(outcome.winner.has_value());
        const std::size_t winner = outcome.winner->index;
        BOOST_TEST(outcome.winner->value.value == static_cast<int>(winner));
        BOOST_TEST(counted::live == before + 1);
        BOOST_TEST_REQUIRE(outcome.errors.size() == 3U);
        for (std::size_t i = 0; i < 3; ++i) {
            BOOST_TEST(static_cast<bool>(outcome.errors[i]) == (i != winner));
        }
    }
    BOOST_TEST(counted::live == before);
}

// rule 214
OURO_ASYNC_TEST(a_cancelled_staggered_race_starts_no_more_and_waits_for_all) {
    attempts made;
    made.good(1'000'000ms).good(1'000'000ms).good();
    auto waiting = spawn(
        [](std::vector<attempts::factory> all) -> task<> {
            (void)co_await staggered_race(std::move(all), 100ms);
        },
        made.all);
    co_await eventually([story = made.story] { return *story == "start0 start1 "; });
    BOOST_TEST(timers_here() == 3U);
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(*made.story == "start0 start1 cancel0 cancel1 ");
    BOOST_TEST(timers_here() == 0U);
}

// rule 214
OURO_ASYNC_TEST(every_further_cancellation_is_passed_on_as_well) {
    auto cancels = std::make_shared<int>(0);
    auto waiting = spawn([cancels]() -> task<> {
        std::vector<attempts::factory> all;
        all.push_back([cancels]() -> task<int> {
            while (*cancels < 3) {
                if (!co_await as_result(sleep(1h))) ++*cancels;
            }
            co_return errc::unsupported;
        });
        all.push_back([]() { return give_later(1, 0ms); });
        (void)co_await staggered_race(std::move(all), {});
    });
    co_await settle();
    for (int i = 1; i <= 3; ++i) {
        BOOST_TEST(!waiting.done());
        waiting.cancel();
        co_await settle();
        BOOST_TEST(*cancels == i);
    }
    co_await settle();
    BOOST_TEST(waiting.cancelled());
}

// rule 126
OURO_ASYNC_TEST(every_attempt_sees_the_task_local_values_of_the_caller) {
    request.set(42);
    auto seen = std::make_shared<std::vector<int>>();
    std::vector<attempts::factory> all;
    for (int i = 0; i < 3; ++i) {
        all.push_back([seen, i]() -> task<int> {
            seen->push_back(request.get());
            if (i == 0) co_return errc::unsupported;     // the next one starts at its end
            co_await sleep(i == 1 ? 1'000'000ms : 1ms);  // the next one starts by the timer
            co_return i;
        });
    }
    const auto outcome = co_await staggered_race(std::move(all), 5ms);
    BOOST_TEST(outcome.winner.value().index == 2U);
    BOOST_TEST(*seen == (std::vector<int>{42, 42, 42}), boost::test_tools::per_element());
}

OURO_ASYNC_TEST(ten_thousand_attempts_that_fail_one_after_the_other) {
    std::vector<attempts::factory> all;
    for (int i = 0; i < 10'000; ++i) {
        all.push_back([]() -> task<int> { co_return errc::unsupported; });
    }
    const auto outcome = co_await staggered_race(std::move(all), {});
    BOOST_TEST(!outcome.winner);
    BOOST_TEST(outcome.errors.size() == 10'000U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
