// Loops on all processors, and calls between them.
#include <ouro/runtime/loop_group.hpp>

#include <pthread.h>
#include <sched.h>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <latch>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

loop_group_options of(unsigned loops) {
    return {.loops = loops, .loop = options_for(engine::uring)};
}
loop_group_options of(unsigned loops, std::chrono::microseconds lookout) {
    loop_group_options options = of(loops);
    options.loop.lookout = lookout;
    return options;
}
std::shared_ptr<loop_group> group_of(unsigned loops) {
    return std::make_shared<loop_group>(of(loops));
}

/// A value that stays on its thread.
struct stays_here {
    explicit stays_here(bool is_set = true) : set(is_set) {}
    stays_here(stays_here&&) = default;
    stays_here& operator=(stays_here&&) = default;
    stays_here(const stays_here& other) : set(other.set) {
        if (set) throw std::runtime_error("a copy");
    }
    bool set;
};
task_local<stays_here> home_value{stays_here(false)};

task<std::thread::id> this_thread() { co_return std::this_thread::get_id(); }

task<> sleep_long(std::shared_ptr<std::atomic<int>> state) {
    struct on_end {
        explicit on_end(std::shared_ptr<std::atomic<int>> of) : state(std::move(of)) {}
        ~on_end() { *state = 2; }
        std::shared_ptr<std::atomic<int>> state;
    };
    const on_end end(state);
    *state = 1;
    co_await sleep(1h);
}

}  // namespace

OURO_KERNEL_TEST(a_task_runs_on_the_loop_it_was_given_to, "real threads") {
    const auto group = group_of(3);
    BOOST_TEST(group->size() == 3U);
    std::set<std::thread::id> threads{std::this_thread::get_id()};
    for (std::size_t i = 0; i < group->size(); ++i) {
        const auto there = co_await group->on(i).submit(this_thread);
        BOOST_TEST(threads.insert(there).second);
        BOOST_TEST((there == co_await group->on(i).submit(this_thread)));
    }
}

OURO_KERNEL_TEST(a_call_gives_values_errors_and_exceptions, "real threads") {
    const auto group = group_of(1);
    const std::string text = co_await group->on(0).submit(
        [](std::string a, const std::string& b) -> task<std::string> {
            co_await yield();
            co_return a + b;
        },
        "to and ", "fro");
    BOOST_TEST(text == "to and fro");
    const auto outcome =
        co_await as_result(group->on(0).submit([]() -> task<int> { co_return errc::queue_full; }));
    BOOST_TEST((outcome.error() == errc::queue_full));
    bool caught = false;
    try {
        co_await group->on(0).submit([]() -> task<> {
            co_await yield();
            throw std::runtime_error("over there");
        });
    } catch (const std::runtime_error& thrown) {
        caught = thrown.what() == std::string("over there");
    }
    BOOST_TEST(caught);
}

OURO_KERNEL_TEST(loops_of_a_group_call_each_other_and_themselves, "real threads") {
    const auto group = group_of(2);
    const int sum = co_await group->on(0).submit(
        [](const loop_group& all) -> task<int> {
            int total = 0;
            for (std::size_t i = 0; i < all.size(); ++i) {
                total += co_await all.on(i).submit(
                    [](int number) -> task<int> {
                        co_await yield();
                        co_return number;
                    },
                    static_cast<int>(i) + 1);
            }
            co_return total;
        },
        std::cref(*group));
    BOOST_TEST(sum == 3);
}

OURO_KERNEL_TEST(a_cancelled_waiter_cancels_the_task_there_and_waits_for_its_end, "real threads") {
    const auto group = group_of(1);
    const auto state = std::make_shared<std::atomic<int>>(0);
    auto waiting = spawn(
        [](auto all, auto sleeps) -> task<> { co_await all->on(0).submit(sleep_long, sleeps); },
        group, state);
    co_await eventually([state] { return *state == 1; });
    waiting.cancel(cancel_cause::timeout);
    const auto outcome = co_await as_result(waiting.join());
    BOOST_TEST(*state == 2);
    BOOST_TEST((outcome.error() == errc::cancelled));
    BOOST_TEST((outcome.error().cause() == cancel_cause::timeout));
}

OURO_KERNEL_TEST(a_task_there_that_has_a_value_wins_over_the_cancellation, "real threads") {
    const auto group = group_of(1);
    const auto state = std::make_shared<std::atomic<int>>(0);
    auto waiting = spawn(
        [](auto all, auto seen) -> task<> {
            const int value = co_await all->on(0).submit(
                [](auto at) -> task<int> {
                    *at = 1;
                    while (!(co_await as_result(sleep(1h))).error()) continue;
                    co_return 7;
                },
                seen);
            *seen = value;
            co_await yield();
            *seen = -1;
        },
        group, state);
    co_await eventually([state] { return *state == 1; });
    waiting.cancel();
    BOOST_TEST(((co_await as_result(waiting.join())).error() == errc::cancelled));
    BOOST_TEST(*state == 7);
}

OURO_KERNEL_TEST(a_stopped_group_ends_what_runs_there_and_starts_nothing, "real threads") {
    const auto group = group_of(2);
    const auto state = std::make_shared<std::atomic<int>>(0);
    auto waiting = spawn(
        [](auto all, auto sleeps) -> task<> { co_await all->on(1).submit(sleep_long, sleeps); },
        group, state);
    co_await eventually([state] { return *state == 1; });
    BOOST_TEST(group->stop());
    const auto outcome = co_await as_result(waiting.join());
    BOOST_TEST((outcome.error() == errc::cancelled));
    BOOST_TEST((outcome.error().cause() == cancel_cause::shutdown));
    BOOST_TEST(!group->on(0).post([] {}));
    const auto refused = co_await as_result(group->on(0).submit(this_thread));
    BOOST_TEST((refused.error() == errc::loop_closed));
}

OURO_KERNEL_TEST(a_task_local_value_that_cannot_be_copied_ends_the_call_with_its_exception,
                 "real threads") {
    const auto group = group_of(1);
    const auto held = home_value.bind(stays_here());
    BOOST_CHECK_THROW(co_await group->on(0).submit(this_thread), std::runtime_error);
}

OURO_KERNEL_TEST(a_call_is_cancelled_and_a_group_stopped_whatever_task_local_values_there_are,
                 "real threads") {
    auto group = group_of(1);
    auto state = std::make_shared<std::atomic<int>>(0);
    auto waits =
        spawn([](auto in, auto seen) -> task<> { co_await in->on(0).submit(sleep_long, seen); },
              group, state);
    while (*state != 1) co_await yield();
    const auto held = home_value.bind(stays_here());
    waits.cancel();
    const auto outcome = co_await as_result(waits.join());
    BOOST_TEST((outcome.error() == errc::cancelled));
    BOOST_TEST(*state == 2);
    group = nullptr;
}

BOOST_AUTO_TEST_SUITE(loop_groups)

BOOST_AUTO_TEST_CASE(threads_have_names_and_are_pinned_to_different_processors) {
    const auto about = [](bool pinned, unsigned loops) {
        loop_group_options options = of(loops);
        options.pinned = pinned;
        loop_group group(options);
        std::vector<std::pair<std::string, int>> all;
        for (std::size_t i = 0; i < group.size(); ++i) {
            auto facts =
                run_threadsafe(group.on(i).handle(), []() -> task<std::pair<std::string, int>> {
                    char name[16] = {};
                    ::pthread_getname_np(::pthread_self(), name, sizeof name);
                    cpu_set_t set;
                    ::sched_getaffinity(0, sizeof set, &set);
                    co_return std::pair<std::string, int>(name, CPU_COUNT(&set));
                });
            all.push_back(facts.get().value());
        }
        return all;
    };
    cpu_set_t mine;
    ::sched_getaffinity(0, sizeof mine, &mine);
    const auto pinned = about(true, 3);  // more loops than processors share them
    BOOST_TEST(pinned[2].first == "ouro-loop-2");
    for (const auto& each : pinned) BOOST_TEST(each.second == 1);
    for (const auto& each : about(false, 2)) BOOST_TEST(each.second == CPU_COUNT(&mine));
    BOOST_TEST(about(true, 0).size() == static_cast<std::size_t>(CPU_COUNT(&mine)));
}

BOOST_AUTO_TEST_CASE(a_loop_that_cannot_be_made_is_named_with_the_reason) {
    loop_group_options options = of(2);
    options.loop.ring_buffer_count = 3;
    try {
        loop_group group(options);
        BOOST_ERROR("it was made");
    } catch (const std::system_error& refused) {
        const std::string what = refused.what();
        BOOST_TEST((refused.code() == make_error_code(errc::value_error)));
        BOOST_TEST(what.find("loop 0 of 2") != std::string::npos);
        BOOST_TEST(what.find("power of two") != std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(a_stop_with_a_limit_says_when_a_loop_goes_on) {
    loop_group group(of(2));
    std::latch begun(1), go_on(1);
    group.on(0).post([&] {
        begun.count_down();
        go_on.wait();
    });
    begun.wait();
    BOOST_TEST(!group.stop(1ms));
    go_on.count_down();
    BOOST_TEST(group.stop());
    BOOST_TEST(group.stop());
}

// fault 28
BOOST_AUTO_TEST_CASE(calls_between_all_loops_at_once_lose_no_answer) {
    constexpr int calls = 3000;
    struct caller {
        static task<int> call_all(const loop_group& all) {
            int right = 0;
            for (int i = 0; i < calls; ++i) {
                const auto to = static_cast<std::size_t>(i) % all.size();
                right += co_await all.on(to).submit(
                    [](int number) -> task<int> { co_return number; }, 1);
            }
            co_return right;
        }
    };
    for (const auto lookout : {0us, 1us, 20us}) {
        loop_group group(of(3, lookout));
        std::vector<thread_future<int>> all;
        for (int i = 0; i < 6; ++i) {
            all.push_back(run_threadsafe(group.on(static_cast<std::size_t>(i) % 3).handle(),
                                         &caller::call_all, std::cref(group)));
        }
        for (auto& each : all) BOOST_TEST(each.get().value() == calls);
    }
}

// rule 49
BOOST_AUTO_TEST_CASE(posts_and_calls_of_one_loop_begin_in_their_order) {
    for (const auto lookout : {0us, 20us}) {
        loop_group group(of(2, lookout));
        constexpr int each_turn = 20, turns = 500;
        std::vector<int> posted, began;  // on loop 1; a task begins a turn after its call came
        const auto call = [&](const loop_group& in, int mine) -> task<> {
            co_await in.on(1).submit([&began, mine] {
                began.push_back(mine);
                return []() -> task<> { co_return; }();
            });
        };
        const auto caller = [&](std::shared_ptr<int> number) -> task<> {
            std::vector<task_handle<>> calls;
            for (int turn = 0; turn < turns; ++turn) {
                for (int i = 0; i < each_turn; ++i) {
                    const int mine = (*number)++;
                    if ((mine * 7 + turn) % 3 == 0) {
                        group.on(1).post([&posted, mine] { posted.push_back(mine); });
                        continue;
                    }
                    // Eager, so that it is under way before the next.
                    calls.push_back(spawn({.eager = true}, call, std::cref(group), mine));
                }
                co_await yield();
            }
            for (auto& each : calls) co_await each;
        };
        auto called = run_threadsafe(group.on(0).handle(), caller, std::make_shared<int>(0));
        BOOST_TEST(called.get().has_value());
        BOOST_TEST(group.stop());
        BOOST_TEST(began.size() + posted.size() == std::size_t{turns} * each_turn);
        BOOST_TEST(std::is_sorted(posted.begin(), posted.end()));
        BOOST_TEST(std::is_sorted(began.begin(), began.end()));
    }
}

BOOST_AUTO_TEST_CASE(two_threads_may_stop_a_group_at_once) {
    for (int round = 0; round < 30; ++round) {
        loop_group group(of(2));
        std::latch both(2);
        const auto stop = [&](bool& ended) {
            both.arrive_and_wait();
            ended = group.stop();
        };
        bool here = false, there = false;
        std::thread other(stop, std::ref(there));
        stop(here);
        other.join();
        BOOST_TEST((here && there));
    }
}

BOOST_AUTO_TEST_CASE(stops_and_calls_race_and_every_waiter_hears_of_it) {
    for (int round = 0; round < 30; ++round) {
        loop_group group(of(2, round % 3 ? 20us : 0us));
        std::vector<thread_future<>> all;
        for (std::size_t i = 0; i < 4; ++i) {
            all.push_back(run_threadsafe(
                group.on(i % 2).handle(),
                [](const loop_group& in, std::size_t to) -> task<> {
                    while (true) co_await in.on(to).submit([]() -> task<> { co_await yield(); });
                },
                std::cref(group), (i + 1) % 2));
        }
        if (round % 2) std::this_thread::yield();
        BOOST_TEST(group.stop());
        for (auto& each : all) {
            const auto outcome = each.get();
            BOOST_TEST(
                (outcome.error() == errc::cancelled || outcome.error() == errc::loop_closed));
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
