// References to tasks of any type, the lists of tasks, callbacks at their end, and eager starts.
#include <ouro/runtime/spawn.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/task_group.hpp>

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
task<> sleeper() { co_await sleep(1h); }
task<> fail_with(errc why) { co_await result<>(why); }

task_local<int> request;

bool lists(const std::vector<task_ref>& all, const task_ref& one) {
    for (const auto& each : all) {
        if (each == one) return true;
    }
    return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(references)

OURO_ASYNC_TEST(a_reference_does_what_a_handle_does_whatever_the_task_returns) {
    auto number = spawn(give_later(4));
    const task_ref any = number;
    BOOST_TEST((any == number));
    BOOST_TEST(!any.done());
    any.set_name("worker");
    BOOST_TEST(number.name() == "worker");
    BOOST_TEST(co_await number == 4);
    BOOST_TEST(any.done());
    BOOST_TEST_REQUIRE(any.done());
    BOOST_TEST(!any.failure());
    BOOST_TEST(!any.cancel());

    const task_ref sleeping = spawn(sleeper());
    co_await settle();
    BOOST_TEST(sleeping.cancel(cancel_cause::user, "enough"));
    BOOST_TEST(sleeping.cancelling() == 1U);
    co_await settle();
    BOOST_TEST(sleeping.uncancel() == 0U);
    BOOST_TEST(sleeping.cancelled());
    BOOST_TEST_REQUIRE(sleeping.done());
    BOOST_TEST(contains(sleeping.failure().message(), "enough"));
    BOOST_TEST(!task_ref());
    BOOST_TEST(!(task_ref() == any));
}

OURO_ASYNC_TEST(a_reference_keeps_a_failure_from_being_reported_until_it_is_gone) {
    task_ref kept = spawn(fail_with(errc::unsupported));
    co_await settle();
    BOOST_TEST(take_reports().empty());
    kept = {};
    BOOST_TEST(take_reports().size() == 1U);
}

// rule 123
OURO_ASYNC_TEST(the_current_task_is_the_one_that_runs) {
    const task_ref own = current_task();
    auto seen = std::make_shared<std::vector<task_ref>>();
    auto other = spawn([seen]() -> task<> {
        seen->push_back(current_task());
        co_await yield();
        seen->push_back(current_task());
    });
    co_await yield();
    BOOST_TEST((current_task() == own));
    co_await other;
    BOOST_TEST((*seen == std::vector<task_ref>{other, other}));
    BOOST_TEST((current_task() == own));
    seen->clear();
    auto in_callback = std::make_shared<bool>(true);
    loop::current().call_soon([in_callback] { *in_callback = static_cast<bool>(current_task()); });
    co_await settle();
    BOOST_TEST(!*in_callback);
}

// rules 123, 124
BOOST_AUTO_TEST_CASE(without_a_running_loop_there_is_no_current_task) {
    BOOST_TEST(!current_task());
    loop home(options_for(engine::uring));
    BOOST_TEST(!current_task());
    spawn(home, give(1));
    BOOST_TEST(!current_task());
}

// rule 125
OURO_ASYNC_TEST(all_tasks_are_the_unfinished_ones_in_the_order_they_were_made) {
    loop& home = loop::current();
    auto first = spawn(give(1));
    auto second = spawn(give_later(1, 3));
    BOOST_TEST((all_tasks(home) == std::vector<task_ref>{current_task(), first, second}));
    co_await settle(2);
    BOOST_TEST((all_tasks(home) == std::vector<task_ref>{current_task(), second}));
    co_await settle(5);
    BOOST_TEST((all_tasks(home) == std::vector<task_ref>{current_task()}));
}

// rule 125
BOOST_AUTO_TEST_CASE(all_tasks_are_those_of_one_loop) {
    loop one(options_for(engine::uring));
    loop two(options_for(engine::uring));
    const task_ref first = spawn(one, give(1));
    const task_ref second = spawn(two, give(1));
    BOOST_TEST((all_tasks(one) == std::vector<task_ref>{first}));
    BOOST_TEST((all_tasks(two) == std::vector<task_ref>{second}));
    one.close();
    BOOST_TEST(all_tasks(one).empty());
}

// rules 122, 136
OURO_ASYNC_TEST(a_task_is_started_with_a_name_and_a_place) {
    auto own_name = []() -> task<std::string> { co_return current_task().name(); };
    const unsigned line = __LINE__ + 1;
    auto named = spawn({.name = "named"}, own_name);
    BOOST_TEST(named.name() == "named");
    BOOST_TEST(named.core()->created().line() == line);
    BOOST_TEST(contains(named.core()->created().file_name(), "task_ref_test.cpp"));
    BOOST_TEST(co_await named == "named");
    auto added = spawn({.name = "sum"}, [](int a, int b) -> task<int> { co_return a + b; }, 1, 2);
    BOOST_TEST(co_await added == 3);
    BOOST_TEST(spawn({}, give(1)).name().starts_with("task-"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(callbacks_at_the_end)

// rule 86
OURO_ASYNC_TEST(callbacks_run_in_order_and_in_the_turn_after_the_end) {
    auto story = std::make_shared<std::string>();
    auto started = spawn([story]() -> task<int> {
        co_await settle(2);
        *story += '(';
        loop::current().call_soon([story] { *story += '-'; });
        co_return 1;
    });
    const auto note = [story](char what) { return [story, what] { *story += what; }; };
    started.on_done(note('a'));
    auto waits = [story](task_handle<int> on) -> task<> {
        (void)co_await on;
        *story += 'b';
    };
    spawn(waits, started);
    co_await yield();
    task_ref(started).on_done(note('c'));
    (void)co_await started;
    co_await settle();
    BOOST_TEST(*story == "(-abc");
}

// rule 87
OURO_ASYNC_TEST(a_callback_added_to_a_done_task_runs_in_the_next_turn) {
    auto ran = std::make_shared<int>(0);
    auto started = spawn(give(1));
    co_await settle();
    started.on_done([ran] { ++*ran; });
    BOOST_TEST(*ran == 0);
    co_await settle(2);
    BOOST_TEST(*ran == 1);
}

// rule 88
OURO_ASYNC_TEST(a_callback_can_be_taken_back_before_and_after_the_end) {
    auto story = std::make_shared<std::string>();
    auto token = std::make_shared<int>(0);
    auto started = spawn(give_later(1, 3));
    handle first = started.on_done([story, token] { *story += 'a'; });
    handle second = started.on_done([story, token] { *story += 'b'; });
    handle third = started.on_done([story, token] { *story += 'c'; });
    first.cancel();
    BOOST_TEST(first.cancelled());
    BOOST_TEST(token.use_count() == 3);
    (void)co_await started;  // the callbacks are queued behind this task
    second.cancel();
    co_await settle();
    BOOST_TEST(*story == (second.cancelled() ? "c" : "bc"));
    third.cancel();
    BOOST_TEST(!third.cancelled());
    BOOST_TEST(token.use_count() == 1);
}

// rule 89
OURO_ASYNC_TEST(callbacks_may_add_and_remove_callbacks) {
    auto story = std::make_shared<std::string>();
    auto later = std::make_shared<handle>();
    auto started = spawn(give_later(1, 2));
    started.on_done([=, task = task_ref(started)] {
        *story += 'a';
        later->cancel();
        task.on_done([story] { *story += 'd'; });
    });
    *later = started.on_done([story] { *story += 'b'; });
    started.on_done([story] { *story += 'c'; });
    co_await settle(8);
    BOOST_TEST(*story == "acd");
    *later = {};
}

OURO_ASYNC_TEST(callbacks_run_after_a_failure_and_a_cancellation_too_and_do_not_look_at_it) {
    auto ran = std::make_shared<int>(0);
    spawn(fail_with(errc::unsupported)).on_done([ran] { ++*ran; });
    auto gone = spawn(sleeper());
    gone.on_done([ran] { ++*ran; });
    gone.cancel();
    co_await settle();
    BOOST_TEST(*ran == 2);
    BOOST_TEST(take_reports().size() == 1U);
}

OURO_ASYNC_TEST(what_a_callback_throws_is_reported) {
    const unsigned line = __LINE__ + 1;
    spawn(give(1)).on_done([] { throw std::runtime_error("thrown on purpose"); });
    co_await settle();
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(contains(reports.at(0).describe(), "thrown on purpose"));
    BOOST_TEST(reports.at(0).created.line() == line);
}

BOOST_AUTO_TEST_CASE(a_loop_that_closes_drops_callbacks_unrun) {
    auto ran = std::make_shared<int>(0);
    task_handle<int> kept;
    handle registered;
    {
        loop home(options_for(engine::uring));
        kept = spawn(home, give_later(1));
        registered = kept.on_done([ran] { ++*ran; });
        BOOST_TEST(ran.use_count() == 2);
        home.close();
        BOOST_TEST(home.counters().describe() == "");
    }
    BOOST_TEST(*ran == 0);
    BOOST_TEST(ran.use_count() == 1);
    BOOST_TEST(registered.cancelled());
    registered.cancel();
    BOOST_TEST(kept.cancelled());
    BOOST_CHECK_EXCEPTION(kept.on_done([] {}), std::system_error, [](const auto& thrown) {
        return thrown.code() == make_error_code(errc::wrong_loop);
    });
}

OURO_ASYNC_TEST(an_empty_callback_is_refused) {
    auto started = spawn(give(1));
    BOOST_CHECK_THROW(started.on_done({}), std::system_error);
    co_await started;
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(eager_starts)

// rule 129
OURO_ASYNC_TEST(the_first_step_runs_inside_the_call_up_to_the_first_wait) {
    auto story = std::make_shared<std::string>();
    auto started = spawn({.eager = true}, [story]() -> task<> {
        *story += 'a';
        co_await yield();
        *story += 'c';
    });
    *story += 'b';
    BOOST_TEST(*story == "ab");
    BOOST_TEST(!started.done());
    co_await started;
    BOOST_TEST(*story == "abc");
}

// rule 130
OURO_ASYNC_TEST(one_that_never_waits_is_done_when_spawn_returns) {
    const auto before = loop::current().counters();
    auto started = spawn({.eager = true}, give(5));
    BOOST_TEST(started.done());
    BOOST_TEST(loop::current().counters().tasks == before.tasks);
    BOOST_TEST(co_await started == 5);
    auto failed = spawn({.eager = true}, fail_with(errc::unsupported));
    BOOST_TEST(failed.done());
    BOOST_TEST_REQUIRE(failed.done());
    BOOST_TEST((failed.failure() == errc::unsupported));
    auto threw = spawn({.eager = true}, []() -> task<> {
        throw std::runtime_error("thrown on purpose");
        co_return;
    });
    BOOST_TEST(threw.done());
    BOOST_TEST_REQUIRE(threw.done());
    BOOST_TEST((threw.failure() == errc::callback_threw));
}

// rule 91
OURO_ASYNC_TEST(a_failure_inside_the_call_that_nobody_looks_at_is_reported) {
    spawn({.eager = true}, fail_with(errc::unsupported));
    BOOST_TEST(take_reports().size() == 1U);
    co_return;
}

// rules 131, 132, 136
OURO_ASYNC_TEST(during_the_eager_step_the_new_task_is_the_current_one_and_has_its_name) {
    const task_ref own = current_task();
    struct findings {
        task_ref during;
        std::string name;
        bool listed = false;
    };
    auto found = std::make_shared<findings>();
    auto look = [found](int turns) -> task<> {
        found->during = current_task();
        found->name = current_task().name();
        found->listed = lists(all_tasks(loop::current()), current_task());
        co_await settle(turns);
    };
    auto waits = spawn({.name = "eager one", .eager = true}, look, 2);
    BOOST_TEST((current_task() == own));
    BOOST_TEST((found->during == waits));
    BOOST_TEST(found->name == "eager one");
    BOOST_TEST(found->listed);
    BOOST_TEST(lists(all_tasks(loop::current()), waits));
    co_await waits;
    BOOST_TEST(!lists(all_tasks(loop::current()), waits));
    auto ends = spawn({.eager = true}, look, 0);
    BOOST_TEST((found->during == ends));
    BOOST_TEST(found->listed);
    BOOST_TEST(!lists(all_tasks(loop::current()), ends));
    found->during = {};
}

OURO_ASYNC_TEST(eager_tasks_start_each_other_inside_each_other) {
    auto story = std::make_shared<std::string>();
    auto inner = [story]() -> task<std::uint64_t> {
        *story += "(";
        co_await yield();
        *story += ")";
        co_return current_task().core()->id();
    };
    auto outer = [story, inner]() -> task<bool> {
        const std::uint64_t own = current_task().core()->id();
        *story += "[";
        auto started = spawn({.eager = true}, inner);
        *story += current_task().core()->id() == own ? "]" : "?";
        co_return co_await started == started.core()->id();
    };
    auto started = spawn({.eager = true}, outer);
    BOOST_TEST(*story == "[(]");
    BOOST_TEST(co_await started);
    BOOST_TEST(*story == "[(])");
}

// rule 133
OURO_ASYNC_TEST(what_the_eager_step_sets_is_not_seen_by_the_creator) {
    request.set(1);
    auto sets = [](int value) -> task<int> {
        const int before = request.get();
        request.set(value);
        co_await yield();
        co_return before * 100 + request.get();
    };
    auto started = spawn({.eager = true}, sets, 2);
    BOOST_TEST(request.get() == 1);
    request.set(3);
    BOOST_TEST(co_await started == 102);
    context none;
    BOOST_TEST(co_await spawn({.eager = true, .values = none}, sets, 4) == 4);
    BOOST_TEST(request.get() == 3);
}

// rule 134
OURO_ASYNC_TEST(cancel_of_an_eager_task_works_once_it_waits) {
    auto finished = spawn({.eager = true}, give(5));
    BOOST_TEST(!finished.cancel());
    BOOST_TEST(!finished.cancelled());
    BOOST_TEST(co_await finished == 5);
    auto waits = spawn({.eager = true}, sleeper());
    BOOST_TEST(waits.cancel("enough"));
    co_await settle();
    BOOST_TEST(waits.cancelled());
    BOOST_TEST_REQUIRE(waits.done());
    BOOST_TEST(contains(waits.failure().message(), "enough"));
}

// rule 107
OURO_ASYNC_TEST(an_eager_task_that_cancels_itself_ends_cancelled) {
    auto started = spawn({.eager = true}, []() -> task<> {
        current_task().cancel();
        co_return;
    });
    BOOST_TEST(started.cancelled());
    auto waits = spawn({.eager = true}, []() -> task<> {
        current_task().cancel();
        co_await sleep(1h);
    });
    BOOST_TEST(!waits.done());
    co_await settle();
    BOOST_TEST(waits.cancelled());
}

OURO_ASYNC_TEST(from_a_callback_the_first_step_runs_at_once_too) {
    auto story = std::make_shared<std::string>();
    loop::current().call_soon([story] {
        *story += 'a';
        spawn({.eager = true}, [story]() -> task<> {
            *story += current_task() ? 'b' : '?';
            co_await yield();
            *story += 'd';
        });
        *story += current_task() ? '?' : 'c';
    });
    co_await settle();
    BOOST_TEST(*story == "abcd");
}

// rule 135
BOOST_AUTO_TEST_CASE(when_its_loop_does_not_run_an_eager_task_starts_like_any_other) {
    loop home(options_for(engine::uring));
    loop other(options_for(engine::uring));
    bool ran = false;
    task_handle<> started;
    auto body = [&]() -> task<> {
        ran = true;
        co_return;
    };
    auto main = [&]() -> task<> {
        // It runs, but not in this thread.
        started = detail::launch(other, body(), {.eager = true});
        co_return;
    };
    BOOST_TEST(home.run_until_complete(main()).has_value());
    BOOST_TEST(!ran);
    BOOST_TEST(other.run_until_complete(started).has_value());
    BOOST_TEST(ran);
}

OURO_ASYNC_TEST(an_eager_child_that_fails_inside_the_call_ends_its_group) {
    auto story = std::make_shared<std::string>();
    const auto ended = co_await as_result(with_group([story](task_group& group) -> task<> {
        group.spawn(sleeper());
        auto failed = group.spawn(spawn_options{.eager = true}, fail_with(errc::unsupported));
        *story += failed.done() ? 'a' : '?';
        BOOST_CHECK_THROW(group.spawn(give(1)), std::system_error);
        co_await yield();
        *story += '?';
    }));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(*story == "a");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
