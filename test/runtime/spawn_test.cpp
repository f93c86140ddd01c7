// Tasks beside you: start, join, names, outcomes nobody looked at.
#include <ouro/runtime/spawn.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <csignal>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

task<int> give(int value) { co_return value; }
task<int> give_later(int value, int turns = 1) {
    for (int i = 0; i < turns; ++i) co_await yield();
    co_return value;
}
task<> fail_with(errc why) { co_await result<>(why); }
task<> throw_text() {
    throw std::runtime_error("thrown text");
    co_return;
}
task<> note(std::string& into, char what) {
    into += what;
    co_return;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(spawning)

// rules 2, 98
OURO_ASYNC_TEST(a_spawned_task_starts_in_the_next_turn_and_not_inside_the_call) {
    std::string order;
    loop& home = loop::current();
    auto started = spawn(note(order, 'a'));
    BOOST_TEST(order.empty());
    BOOST_TEST(home.counters().tasks == 2U);
    const auto before = home.statistics().turns;
    co_await started;
    BOOST_TEST(order == "a");
    BOOST_TEST(home.statistics().turns <= before + 2);
}

// rule 99
OURO_ASYNC_TEST(tasks_take_their_first_step_in_the_order_of_the_calls) {
    std::string order;
    for (char what = 'a'; what <= 'j'; ++what) spawn(note(order, what));
    loop::current().call_soon([&] { order += '.'; });
    co_await settle();
    BOOST_TEST(order == "abcdefghij.");
}

// rule 81
OURO_ASYNC_TEST(a_new_task_is_neither_done_nor_cancelled) {
    auto started = spawn(give(1));
    BOOST_TEST(static_cast<bool>(started));
    BOOST_TEST(!started.done());
    BOOST_TEST(!started.cancelled());
    BOOST_TEST(started.cancelling() == 0U);
    BOOST_TEST(co_await started == 1);
    BOOST_TEST(started.done());
    BOOST_TEST(!started.cancelled());
    BOOST_TEST(!started.failure());
}

// rule 82
BOOST_AUTO_TEST_CASE(asking_for_the_failure_of_a_task_that_runs_is_a_mistake) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        auto started = spawn(home, give(1));
        (void)started.failure();
        return 0;
    });
    BOOST_TEST(child.signal == SIGABRT);
    BOOST_TEST(contains(child.errors, "still running"));
}

OURO_ASYNC_TEST(a_handle_joins_from_any_number_of_places) {
    auto started = spawn([]() -> task<std::string> {
        co_await yield();
        co_return "shared by all who wait for it";
    });
    std::vector<task_handle<std::size_t>> readers;
    for (int i = 0; i < 5; ++i) {
        readers.push_back(spawn(
            [](task_handle<std::string> from) -> task<std::size_t> {
                const std::string text = co_await from;
                co_return text.size();
            },
            started));
    }
    for (const auto& reader : readers) BOOST_TEST(co_await reader == 29U);
    BOOST_TEST(co_await started == "shared by all who wait for it");
    BOOST_TEST(co_await std::move(started) == "shared by all who wait for it");
}

OURO_ASYNC_TEST(an_rvalue_handle_moves_the_value_out) {
    auto value =
        co_await spawn([]() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); });
    BOOST_TEST(*value == 4);
    auto later = co_await as_result(spawn([]() -> task<std::unique_ptr<int>> {
                                        co_await yield();
                                        co_return std::make_unique<int>(5);
                                    }).join());
    BOOST_REQUIRE(later.has_value());
    BOOST_TEST(**later == 5);
}

BOOST_AUTO_TEST_CASE(run_until_complete_of_a_handle_leaves_the_value_to_others) {
    loop home(options_for(engine::uring));
    auto started =
        spawn(home, []() -> task<std::string> { co_return "a text that is not short"; }());
    BOOST_TEST(home.run_until_complete(started).value() == "a text that is not short");
    BOOST_TEST(home.run_until_complete(started).value() == "a text that is not short");
}

// rule 90
OURO_ASYNC_TEST(awaiting_a_done_task_does_not_give_up_control) {
    auto started = spawn(give(1));
    co_await settle();
    bool other_ran = false;
    loop::current().call_soon([&] { other_ran = true; });
    BOOST_TEST(co_await started == 1);
    BOOST_TEST(!other_ran);
    co_await settle();
}

// rule 87
OURO_ASYNC_TEST(joining_a_task_that_has_failed_already_resumes_through_the_ready_queue) {
    auto started = spawn(fail_with(errc::unsupported));
    co_await settle();
    bool other_ran = false;
    loop::current().call_soon([&] { other_ran = true; });
    const auto joined = co_await as_result(started.join());
    BOOST_TEST((joined.error() == errc::unsupported));
    BOOST_TEST(other_ran);
}

// rule 86
OURO_ASYNC_TEST(waiters_resume_in_the_order_they_came_and_never_inside_the_end_of_the_task) {
    std::string order;
    auto target = spawn([&order]() -> task<> {
        co_await yield();
        co_await yield();
        order += '(';
        co_return;
    });
    for (char what = 'a'; what <= 'e'; ++what) {
        spawn(
            [&order](task_handle<> on, char as) -> task<> {
                co_await on;
                order += as;
            },
            target, what);
    }
    co_await target;
    co_await settle();
    BOOST_TEST(order == "(abcde");
}

// rule 128
OURO_ASYNC_TEST(tasks_that_wait_for_two_that_end_one_after_the_other_resume_in_that_order) {
    std::string order;
    auto first = spawn(give_later(1, 3));
    auto second = spawn(give_later(2, 3));
    auto waits = [&order](task_handle<int> on, char as) -> task<> {
        (void)co_await on;
        order += as;
    };
    spawn(waits, second, 'b');
    spawn(waits, first, 'a');
    co_await settle(10);
    BOOST_TEST(order == "ab");
}

OURO_ASYNC_TEST(a_failure_of_the_task_ends_the_one_that_joins_it) {
    auto started = spawn(fail_with(errc::unsupported));
    bool passed = false;
    auto waits = [&]() -> task<> {
        co_await started;
        passed = true;
    };
    const auto ended = co_await as_result(waits());
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(!passed);
    const auto again = co_await as_result(started.join());
    BOOST_TEST((again.error() == errc::unsupported));
    BOOST_TEST((started.failure() == errc::unsupported));
}

OURO_ASYNC_TEST(an_exception_of_the_task_is_rethrown_at_every_join) {
    auto started = spawn(throw_text());
    for (int i = 0; i < 2; ++i) {
        bool caught = false;
        try {
            co_await started;
        } catch (const std::runtime_error& thrown) {
            caught = std::string(thrown.what()) == "thrown text";
        }
        BOOST_TEST(caught);
    }
    BOOST_TEST((started.failure() == errc::callback_threw));
    BOOST_TEST(contains(started.failure().message(), "thrown text"));
}

OURO_ASYNC_TEST(a_callable_and_its_arguments_live_as_long_as_the_task) {
    auto token = std::make_shared<int>(1);
    auto started = spawn(
        [token](std::shared_ptr<int> other, std::string text) -> task<std::size_t> {
            co_await yield();
            co_await yield();
            co_return text.size() + static_cast<std::size_t>(*token + *other);
        },
        token, "a text that is copied along");
    BOOST_TEST(token.use_count() == 3);
    BOOST_TEST(co_await started == 29U);
    BOOST_TEST(token.use_count() == 1);
}

// rule 121
OURO_ASYNC_TEST(dropping_the_handle_changes_nothing_about_the_task) {
    std::string order;
    {
        auto dropped = spawn([&order]() -> task<> {
            co_await settle(3);
            order += 'x';
        });
    }
    co_await settle(8);
    BOOST_TEST(order == "x");
}

// rules 91, 79
OURO_ASYNC_TEST(a_failure_that_nobody_looked_at_is_reported_once_with_name_and_place) {
    const unsigned line = __LINE__ + 2;
    {
        auto started = spawn(fail_with(errc::unsupported));
        started.set_name("lonely");
        co_await settle();
        BOOST_TEST(take_reports().empty());
    }
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == errc::unsupported));
    BOOST_TEST((reports.at(0).level == severity::failure));
    BOOST_TEST(reports.at(0).subject == "lonely");
    BOOST_TEST(reports.at(0).created.line() == line);
    BOOST_TEST(contains(reports.at(0).created.file_name(), "spawn_test.cpp"));
}

// rule 79
OURO_ASYNC_TEST(the_place_of_a_spawned_callable_is_the_place_of_the_call) {
    const unsigned line = __LINE__ + 1;
    spawn([]() -> task<> { co_await result<>(errc::unsupported); });
    co_await settle();
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(contains(reports.at(0).created.file_name(), "spawn_test.cpp"));
    BOOST_TEST(reports.at(0).created.line() == line);
}

// rule 91
OURO_ASYNC_TEST(an_exception_that_nobody_looked_at_is_reported_once) {
    spawn(throw_text());
    co_await settle();
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == errc::callback_threw));
    BOOST_TEST(contains(reports.at(0).error.message(), "thrown text"));
}

// rule 92
OURO_ASYNC_TEST(a_failure_that_was_joined_or_asked_for_is_not_reported) {
    {
        auto asked = spawn(fail_with(errc::unsupported));
        auto joined = spawn(fail_with(errc::unsupported));
        auto threw = spawn(throw_text());
        co_await settle();
        BOOST_TEST((asked.failure() == errc::unsupported));
        BOOST_TEST(!(co_await as_result(joined.join())));
        BOOST_TEST(static_cast<bool>(threw.failure()));
    }
    BOOST_TEST(take_reports().empty());
}

// rule 92
OURO_ASYNC_TEST(cancelling_a_task_that_has_failed_counts_as_having_looked) {
    {
        auto started = spawn(fail_with(errc::unsupported));
        co_await settle();
        BOOST_TEST(!started.cancel());
    }
    BOOST_TEST(take_reports().empty());
}

// rule 93
OURO_ASYNC_TEST(values_and_cancellations_that_nobody_looked_at_are_not_reported) {
    spawn(give(1));
    spawn([]() -> task<> { co_await sleep(1h); }).cancel();
    co_await settle();
    BOOST_TEST(take_reports().empty());
}

// rule 122
OURO_ASYNC_TEST(a_task_has_a_name_given_or_numbered_and_can_be_renamed) {
    auto first = spawn(give(1));
    auto second = spawn(give(1));
    BOOST_TEST(first.name().starts_with("task-"));
    BOOST_TEST(std::stol(second.name().substr(5)) > std::stol(first.name().substr(5)));
    first.set_name("worker");
    BOOST_TEST(first.name() == "worker");
    co_await settle();
    BOOST_TEST(first.name() == "worker");
}

// rule 122
BOOST_AUTO_TEST_CASE(numbered_names_are_unique_in_the_process) {
    loop one(options_for(engine::uring));
    loop two(options_for(engine::uring));
    std::set<std::string> names;
    for (int i = 0; i < 3; ++i) {
        names.insert(spawn(one, give(1)).name());
        names.insert(spawn(two, give(1)).name());
    }
    BOOST_TEST(names.size() == 6U);
}

// rule 119
OURO_ASYNC_TEST(a_task_that_awaits_itself_fails) {
    auto own = std::make_shared<task_handle<>>();
    *own = spawn([own]() -> task<> { co_await own->join(); });
    co_await settle();
    BOOST_TEST(own->done());
    BOOST_TEST((own->failure() == errc::invalid_state));
    *own = {};
}

// rule 96, fault 65
BOOST_AUTO_TEST_CASE(awaiting_a_task_of_another_loop_fails) {
    loop home(options_for(engine::uring));
    loop other(options_for(engine::uring));
    auto foreign = spawn(other, give(1));
    auto waits = [&]() -> task<> { co_await foreign; };
    auto waiting = spawn(home, waits());
    auto watch = [&]() -> task<> { co_await settle(); };
    BOOST_TEST(home.run_until_complete(watch()).has_value());
    BOOST_TEST_REQUIRE(waiting.done());
    BOOST_TEST((waiting.failure() == errc::wrong_loop));
}

template <class Handle>
concept can_be_completed = requires(Handle handle) { handle.set_result(1); } ||
                           requires(Handle handle) { handle.set_error(error()); };

BOOST_AUTO_TEST_CASE(nobody_else_can_set_the_outcome_of_a_task) {
    static_assert(!can_be_completed<task_handle<int>>);
    static_assert(!can_be_completed<task_handle<>>);
    BOOST_TEST(!task_handle<int>());
}

// rule 123
OURO_ASYNC_TEST(the_current_task_is_the_one_being_stepped_and_none_in_a_callback) {
    auto* const own = detail::task_core::current();
    BOOST_TEST(own);
    detail::task_core* other = nullptr;
    auto started = spawn([&other]() -> task<> {
        other = detail::task_core::current();
        co_await yield();
        BOOST_TEST(detail::task_core::current() == other);
    });
    co_await yield();
    BOOST_TEST(detail::task_core::current() == own);
    co_await started;
    BOOST_TEST(detail::task_core::current() == own);
    BOOST_TEST(other != own);
    loop::current().call_soon([] { BOOST_TEST(!detail::task_core::current()); });
    co_await settle();
}

// rule 123
BOOST_AUTO_TEST_CASE(there_is_no_current_task_outside_a_loop) {
    BOOST_TEST(!detail::task_core::current());
}

// rule 125
OURO_ASYNC_TEST(only_unfinished_tasks_are_counted) {
    loop& home = loop::current();
    auto first = spawn(give(1));
    auto second = spawn(give_later(1, 3));
    BOOST_TEST(home.counters().tasks == 3U);
    co_await settle(2);
    BOOST_TEST(home.counters().tasks == 2U);
    co_await settle(5);
    BOOST_TEST(home.counters().tasks == 1U);
    BOOST_TEST(first.done());
}

BOOST_AUTO_TEST_CASE(a_handle_of_nothing_is_false_and_handles_are_values) {
    task_handle<int> none;
    BOOST_TEST(!none);
    loop home(options_for(engine::uring));
    auto first = spawn(home, give(7));
    auto copy = first;
    task_handle<int> moved = std::move(first);
    BOOST_TEST(!first);
    first = copy;
    copy = std::move(moved);
    BOOST_TEST(home.run_until_complete(copy).value() == 7);
    BOOST_TEST(first.done());
}

// rule 91
BOOST_AUTO_TEST_CASE(a_handle_may_outlive_its_loop_even_with_a_failure_nobody_looked_at) {
    const auto child = in_child([] {
        task_handle<> failed;
        task_handle<int> good;
        {
            auto home = std::make_unique<loop>(options_for(engine::uring));
            failed = spawn(*home, fail_with(errc::unsupported));
            good = spawn(*home, give(3));
            home->stop();
            home->run_forever();
            home.reset();
        }
        // Something else lives where the loop was.
        std::vector<std::unique_ptr<std::array<char, 64>>> others;
        for (int i = 0; i < 1000; ++i) {
            others.push_back(std::make_unique<std::array<char, 64>>());
            others.back()->fill(char(0x5a));
        }
        if (!failed.done() || !good.done() || good.failure()) return 1;
        failed = {};
        return 0;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
