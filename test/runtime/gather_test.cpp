// Several awaits at once: results in order, the first failure, cancellation, and no memory midway.
#include <ouro/runtime/gather.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include <ouro/runtime/context.hpp>
#include <ouro/runtime/frame_pool.hpp>
#include <ouro/runtime/future.hpp>
#include <ouro/runtime/shield.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"
#include "child_process.hpp"
#include "later.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using testing::allocation_faults;

task<int> give_later(int value, int turns) {
    for (int i = 0; i < turns; ++i) co_await yield();
    co_return value;
}
task<> nothing(int turns = 1) { co_await settle(turns); }
task<int> fail_later(errc why, int turns = 1) {
    co_await settle(turns);
    co_return why;
}
task<int> throw_later(int turns = 1) {
    co_await settle(turns);
    throw std::runtime_error("thrown on purpose");
}
/// Takes no notice of a cancellation.
task<int> stubborn(int value, int turns) {
    (void)co_await as_result(sleep(1h));
    for (int i = 0; i < turns; ++i) (void)co_await as_result(yield());
    co_return value;
}

/// Counts what was not destroyed, moved from or not.
struct counted {
    inline static int live = 0;
    counted() noexcept { ++live; }
    counted(counted&&) noexcept { ++live; }
    counted& operator=(counted&&) noexcept = default;
    ~counted() { --live; }
};

task_local<int> request;

}  // namespace

BOOST_AUTO_TEST_SUITE(gathering)

// rule 188
OURO_ASYNC_TEST(results_come_in_the_order_of_the_arguments_whatever_ends_first) {
    const auto [a, b, c] =
        co_await gather(give_later(1, 5), give_later(2, 1), []() -> task<std::string> {
            co_await settle(3);
            co_return "three";
        }());
    BOOST_TEST(a == 1);
    BOOST_TEST(b == 2);
    BOOST_TEST(c == "three");

    std::vector<task<int>> many;
    for (int i = 0; i < 8; ++i) many.push_back(give_later(i, (i * 5) % 8));
    const std::vector<int> values = co_await gather(std::move(many));
    std::vector<int> expected(8);
    std::iota(expected.begin(), expected.end(), 0);
    BOOST_TEST(values == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(all_of_them_run_side_by_side) {
    auto order = std::make_shared<std::string>();
    auto steps = [](std::shared_ptr<std::string> into, char what) -> task<> {
        for (int i = 0; i < 3; ++i) {
            *into += what;
            co_await yield();
        }
    };
    co_await gather(steps(order, 'a'), steps(order, 'b'), steps(order, 'c'));
    BOOST_TEST(*order == "abcabcabc");
}

// rule 189
OURO_ASYNC_TEST(gathering_nothing_is_done_at_once) {
    bool other_ran = false;
    auto call = loop::current().call_soon([&] { other_ran = true; });
    BOOST_TEST((co_await gather(std::vector<task<int>>{})).empty());
    BOOST_TEST((co_await gather_results(std::vector<task<int>>{})).empty());
    co_await gather(std::vector<task<>>{});
    BOOST_TEST(!other_ran);
    call.cancel();
}

OURO_ASYNC_TEST(what_returns_nothing_has_a_place_among_the_results) {
    auto both = co_await gather(nothing(), give_later(4, 2));
    static_assert(std::is_same_v<decltype(both), std::tuple<std::monostate, int>>);
    BOOST_TEST(std::get<1>(both) == 4);
    std::vector<task<>> many;
    for (int i = 0; i < 3; ++i) many.push_back(nothing(i));
    static_assert(std::is_void_v<detail::awaited<decltype(gather(std::move(many)))>>);
    co_await gather(std::move(many));
    many.clear();
    for (int i = 0; i < 3; ++i) many.push_back(nothing(i));
    const auto each = co_await gather_results(std::move(many));
    BOOST_TEST(each.size() == 3U);
    BOOST_TEST(each.at(2).has_value());
}

OURO_ASYNC_TEST(results_that_can_only_be_moved_are_moved) {
    auto make = [](int value) -> task<std::unique_ptr<int>> {
        co_await yield();
        co_return std::make_unique<int>(value);
    };
    auto [first, second] = co_await gather(make(1), make(2));
    BOOST_TEST(*first + *second == 3);
    std::vector<task<std::unique_ptr<int>>> many;
    for (int i = 0; i < 3; ++i) many.push_back(make(i));
    const auto values = co_await gather(std::move(many));
    BOOST_TEST(*values.at(2) == 2);
    auto [good, bad] = co_await gather_results(make(5), fail_later(errc::unsupported));
    BOOST_REQUIRE(good.has_value());
    BOOST_TEST(**good == 5);
    BOOST_REQUIRE(!bad);
    BOOST_TEST((bad.error() == errc::unsupported));
}

// rule 190
OURO_ASYNC_TEST(the_same_handle_twice_runs_once_and_gives_its_result_in_each_place) {
    auto runs = std::make_shared<int>(0);
    auto started = spawn([runs]() -> task<std::string> {
        ++*runs;
        co_await settle(3);
        co_return "a text that is not short at all";
    });
    const auto [a, b] = co_await gather(started, started);
    BOOST_TEST(a == "a text that is not short at all");
    BOOST_TEST(b == a);
    std::vector handles{started, started, started};
    for (const auto& each : co_await gather(handles)) BOOST_TEST(each == a);
    for (const auto& each : co_await gather_results(handles)) BOOST_TEST(each.value() == a);
    BOOST_TEST(co_await started == a);
    BOOST_TEST(*runs == 1);
}

OURO_ASYNC_TEST(futures_and_innermost_awaitables_are_gathered_too) {
    const promise<int> maker;
    loop::current().call_soon([maker] { maker.set_value(6); });
    const auto [from_future, slept] = co_await gather(maker.get_future(), sleep(1ms));
    BOOST_TEST(from_future == 6);
    (void)slept;
}

// rule 126
OURO_ASYNC_TEST(all_of_them_see_the_task_local_values_of_the_caller) {
    request.set(42);
    auto ask = []() -> task<int> {
        co_await yield();
        co_return request.get();
    };
    const auto [a, b] = co_await gather(ask(), ask());
    BOOST_TEST(a + b == 84);
}

OURO_ASYNC_TEST(the_first_failure_cancels_the_others_and_waits_for_them) {
    auto story = std::make_shared<std::string>();
    const auto ended =
        co_await as_result(gather(wait_long(story), fail_later(errc::unsupported), stubborn(1, 5)));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(ended.error().causes().empty());
    BOOST_TEST(*story == "sibling ");
    BOOST_TEST(loop::current().counters().tasks == 1U);
    BOOST_TEST(current_task().cancelling() == 0U);
}

OURO_ASYNC_TEST(failures_after_the_first_are_its_causes_and_are_not_reported) {
    auto sore = []() -> task<int> {
        (void)co_await as_result(sleep(1h));
        co_return errc::no_address;
    };
    const auto ended =
        co_await as_result(gather(fail_later(errc::unsupported), sore(), give_later(1, 1)));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST_REQUIRE(ended.error().causes().size() == 2U);
    BOOST_TEST((ended.error().causes()[1] == errc::no_address));
    BOOST_TEST(take_reports().empty());
}

OURO_ASYNC_TEST(an_exception_of_one_of_them_is_rethrown) {
    auto story = std::make_shared<std::string>();
    std::string text;
    try {
        co_await gather(throw_later(), wait_long(story));
    } catch (const std::runtime_error& thrown) {
        text = thrown.what();
    }
    BOOST_TEST(text == "thrown on purpose");
    BOOST_TEST(*story == "sibling ");
}

OURO_ASYNC_TEST(results_that_come_after_a_failure_are_destroyed) {
    const int before = counted::live;
    auto late = []() -> task<counted> {
        (void)co_await as_result(sleep(1h));
        co_return counted();
    };
    std::vector<task<counted>> many;
    for (int i = 0; i < 5; ++i) many.push_back(late());
    many.push_back([]() -> task<counted> {
        co_await yield();
        co_return errc::unsupported;
    }());
    const auto ended = co_await as_result(gather(std::move(many)));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(counted::live == before);
}

// rule 193
OURO_ASYNC_TEST(one_that_somebody_else_cancelled_fails_the_others) {
    auto story = std::make_shared<std::string>();
    auto started = spawn(wait_long(story));
    loop::current().call_later(1ms, [started] { started.cancel("not wanted any more"); });
    const auto ended = co_await as_result(gather(started, wait_long(story)));
    BOOST_TEST((ended.error() == errc::cancelled));
    BOOST_TEST(contains(ended.error().message(), "not wanted any more"));
    BOOST_TEST(*story == "user sibling ");
    BOOST_TEST(current_task().cancelling() == 0U);
    co_await yield();  // it is not cancelled itself

    std::vector<task<std::string>> many;
    many.push_back([]() -> task<std::string> { co_return "a text that is not short at all"; }());
    many.push_back([]() -> task<std::string> { co_return errc::cancelled; }());
    const auto on_its_own = co_await as_result(gather(std::move(many)));
    BOOST_TEST((on_its_own.error() == errc::cancelled));
}

// rule 194
OURO_ASYNC_TEST(failures_and_cancellations_can_be_results) {
    auto story = std::make_shared<std::string>();
    auto cancelled = spawn(wait_long(story));
    loop::current().call_later(1ms, [cancelled] { cancelled.cancel(); });
    const auto [good, bad, threw, gone] = co_await gather_results(
        give_later(1, 9), fail_later(errc::unsupported), throw_later(), cancelled);
    BOOST_TEST(good.value() == 1);
    BOOST_TEST((bad.error() == errc::unsupported));
    BOOST_TEST((threw.error() == errc::callback_threw));
    BOOST_TEST(contains(threw.error().message(), "thrown on purpose"));
    BOOST_TEST((gone.error() == errc::cancelled));

    std::vector<task<int>> many;
    many.push_back(fail_later(errc::no_address, 3));
    many.push_back(give_later(2, 5));
    const auto each = co_await gather_results(std::move(many));
    BOOST_TEST((each.at(0).error() == errc::no_address));
    BOOST_TEST(each.at(1).value() == 2);
}

// rules 195, 196
OURO_ASYNC_TEST(cancelling_the_waiter_cancels_all_and_comes_back_once_they_have_ended) {
    for (const bool collect : {false, true}) {
        auto story = std::make_shared<std::string>();
        auto waiting = spawn([story, collect]() -> task<> {
            if (collect) {
                co_await gather_results(wait_long(story), stubborn(1, 5), give_later(1, 1));
            } else {
                co_await gather(wait_long(story), stubborn(1, 5), give_later(1, 1));
            }
            *story += "went on";
        });
        co_await settle(8);
        BOOST_TEST(waiting.cancel("the client went away"));
        co_await settle(3);
        BOOST_TEST(!waiting.done());
        co_await settle(10);
        BOOST_TEST_REQUIRE(waiting.done());
        BOOST_TEST(waiting.cancelled());
        BOOST_TEST(contains(waiting.failure().message(), "the client went away"));
        BOOST_TEST(*story == "user ");
        BOOST_TEST(!waiting.cancel());
    }
}

// rule 196
OURO_ASYNC_TEST(a_cancelled_gather_ends_cancelled_even_if_nobody_minded) {
    auto waiting =
        spawn([]() -> task<> { co_await gather_results(stubborn(1, 2), stubborn(2, 2)); });
    co_await settle();
    waiting.cancel();
    co_await settle(10);
    BOOST_TEST(waiting.cancelled());
}

// rule 195
OURO_ASYNC_TEST(one_that_waits_for_a_handle_passes_the_cancellation_on) {
    auto story = std::make_shared<std::string>();
    auto started = spawn(wait_long(story));
    auto waiting = spawn(
        [](task_handle<int> on) -> task<> { co_await gather(on, give_later(1, 1)); }, started);
    co_await settle();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(started.cancelled());
    BOOST_TEST(*story == "user ");
}

// rules 184, 198
OURO_ASYNC_TEST(a_cancelled_gather_of_shields_leaves_what_they_shield_alone) {
    auto story = std::make_shared<std::string>();
    std::vector<task_handle<int>> inner{spawn(wait_long(story)), spawn(wait_long(story))};
    auto waiting = spawn(
        [](std::vector<task_handle<int>> on) -> task<> {
            co_await gather(shield(on[0]), shield(on[1]));
        },
        inner);
    co_await settle();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(story->empty());
    for (const auto& each : inner) {
        BOOST_TEST(!each.done());
        each.cancel();
    }
    co_await settle();
}

// rule 197
BOOST_AUTO_TEST_CASE(a_task_of_another_loop_cannot_be_gathered) {
    loop home(options_for(engine::uring));
    loop other(options_for(engine::uring));
    auto foreign = spawn(other, give_later(1, 1));
    auto waits = [&]() -> task<> { co_await gather(foreign, give_later(1, 1)); };
    const auto ended = home.run_until_complete(waits());
    BOOST_TEST((ended.error() == errc::wrong_loop));
}

OURO_ASYNC_TEST(ten_thousand_at_once) {
    constexpr std::size_t many_count = 10'000;
    std::vector<task<std::size_t>> many;
    for (std::size_t i = 0; i < many_count; ++i) {
        many.push_back([](std::size_t value) -> task<std::size_t> {
            co_await yield();
            co_return value;
        }(i));
    }
    const auto values = co_await gather(std::move(many));
    BOOST_TEST(values.size() == many_count);
    BOOST_TEST(std::accumulate(values.begin(), values.end(), std::size_t{}) ==
               many_count * (many_count - 1) / 2);
}

/// Runs `scenario` on a loop of its own, again and again, each time with one more allocation that
/// goes well, until nothing fails. Nothing may be left, whichever it was.
///
/// Result  how often it failed.
template <class Scenario>
int fail_each_allocation(Scenario scenario) {
    int failed = 0;
    for (std::uint64_t at = 1; at < 2'000; ++at) {
        detail::frame_pool::trim();  // so that frames are allocations as well
        const long frames_before = detail::frame_pool::live();
        bool struck = false;
        {
            loop home(options_for(engine::uring));
            home.set_exception_handler([](loop&, const failure_report&) {});
            auto main = [&]() -> task<> {
                allocation_faults::arm(at, false);
                try {
                    (void)co_await as_result(scenario());
                } catch (const std::bad_alloc&) {
                    ++failed;
                }
                struck = allocation_faults::struck();
                allocation_faults::disarm();
                co_await settle();
                BOOST_TEST(home.counters().tasks == 1U, "allocation " << at);
                BOOST_TEST(home.counters().timers == 0U, "allocation " << at);
            };
            BOOST_TEST(home.run_until_complete(main()).has_value());
        }
        BOOST_TEST(detail::frame_pool::live() == frames_before, "allocation " << at);
        if (!struck) return failed;
    }
    BOOST_ERROR("it never went well");
    return failed;
}

BOOST_AUTO_TEST_CASE(
    without_memory_for_one_of_a_hundred_the_others_are_cancelled_and_nothing_is_left) {
    const int before = counted::live;
    auto one = []() -> task<counted> {
        co_await yield();
        co_return counted();
    };
    const int failed = fail_each_allocation([&]() -> task<> {
        std::vector<task<counted>> many;
        for (int i = 0; i < 100; ++i) many.push_back(one());
        co_await gather(std::move(many));
    });
    BOOST_TEST(failed > 5);
    BOOST_TEST(counted::live == before);
}

BOOST_AUTO_TEST_CASE(without_memory_midway_a_few_are_left_as_clean_as_many) {
    auto one = [](int turns) -> task<std::string> {
        co_await settle(turns);
        co_return "a text that is not short at all";
    };
    BOOST_TEST(fail_each_allocation([&]() -> task<> { co_await gather(one(1), one(2), one(3)); }) >
               2);
    BOOST_TEST(fail_each_allocation(
                   [&]() -> task<> { co_await gather_results(one(1), one(2), one(3)); }) > 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
