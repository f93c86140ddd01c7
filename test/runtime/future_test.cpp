// Results that user code sets.
#include <ouro/runtime/future.hpp>

#include <boost/test/unit_test.hpp>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

/// Awaits `what` beside the caller; the handle has the outcome.
template <class T>
task_handle<T> await_beside(future<T> what) {
    return spawn([](future<T> from) -> task<T> { co_return co_await std::move(from); },
                 std::move(what));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(futures)

// rules 81, 82
OURO_ASYNC_TEST(a_new_future_is_pending_and_has_nothing_to_read) {
    const promise<int> maker;
    const future<int> made = maker.get_future();
    BOOST_TEST(!made.done());
    BOOST_TEST(!made.cancelled());
    BOOST_TEST(!maker.done());
    BOOST_TEST((made.get_now().error() == errc::invalid_state));
    BOOST_TEST((made.failure() == errc::invalid_state));
    BOOST_TEST(!future<int>());
    co_return;
}

// rule 83
OURO_ASYNC_TEST(a_result_is_set_once) {
    const promise<std::string> maker;
    const auto made = maker.get_future();
    BOOST_TEST(maker.set_value("first"));
    BOOST_TEST(made.done());
    BOOST_TEST(!maker.set_value("second"));
    BOOST_TEST(!maker.set_error(errc::unsupported));
    BOOST_TEST(!maker.set_exception(std::make_exception_ptr(std::runtime_error("late"))));
    BOOST_TEST(made.get_now().value() == "first");
    BOOST_TEST(!made.failure());
    co_return;
}

// rules 83, 84, 85, 95
OURO_ASYNC_TEST(a_cancelled_future_says_why_and_takes_no_result) {
    const promise<int> maker;
    auto made = maker.get_future();
    BOOST_TEST(made.cancel(cancel_cause::user, "the client went away"));
    BOOST_TEST(made.done());
    BOOST_TEST(made.cancelled());
    BOOST_TEST(!made.cancel(cancel_cause::user, "again"));
    BOOST_TEST(!maker.set_value(1));
    BOOST_TEST(!maker.set_error(errc::unsupported));
    BOOST_TEST((made.failure() == errc::cancelled));
    BOOST_TEST(made.failure().doing() == "the client went away");
    BOOST_TEST((made.get_now().error().cause() == cancel_cause::user));
    co_return;
}

// rule 84
OURO_ASYNC_TEST(cancelling_a_finished_future_changes_nothing) {
    const promise<int> maker;
    auto made = maker.get_future();
    maker.set_value(7);
    BOOST_TEST(!made.cancel());
    BOOST_TEST(!made.cancelled());
    BOOST_TEST(made.get_now().value() == 7);
    co_return;
}

OURO_ASYNC_TEST(all_who_wait_get_the_value) {
    const promise<std::string> maker;
    std::vector<task_handle<std::string>> waiting;
    for (int i = 0; i < 3; ++i) waiting.push_back(await_beside(maker.get_future()));
    co_await settle();
    maker.set_value("for all");
    for (auto& each : waiting) {
        const std::string got = co_await each;
        BOOST_TEST(got == "for all");
    }
}

// rule 90
OURO_ASYNC_TEST(the_await_of_a_done_future_does_not_suspend) {
    const promise<int> maker;
    const auto made = maker.get_future();
    maker.set_value(3);
    bool queued_ran = false;
    loop::current().call_soon([&] { queued_ran = true; });
    const int value = co_await made;
    const auto again = co_await as_result(made.wait());
    BOOST_TEST(!queued_ran);
    BOOST_TEST(value == 3);
    BOOST_TEST(again.value() == 3);
    co_await settle();
}

// rule 90
OURO_ASYNC_TEST(the_await_of_a_failed_future_does_not_suspend) {
    const promise<> maker;
    maker.set_error(error(errc::unsupported, "fly"));
    auto failing = spawn([](future<> from) -> task<> { co_await from; }, maker.get_future());
    bool queued_ran = false;
    loop::current().call_soon([&] { queued_ran = true; });
    const auto outcome = co_await as_result(maker.get_future().wait());
    BOOST_TEST(!queued_ran);
    BOOST_TEST(outcome.error().doing() == "fly");
    co_await yield();
    BOOST_TEST(failing.done());  // its first step was its last
    BOOST_TEST((failing.failure() == errc::unsupported));
    BOOST_TEST(failing.failure().trail().size() > 0U);
}

OURO_ASYNC_TEST(an_exception_is_rethrown_where_the_future_is_awaited) {
    const promise<int> maker;
    const auto made = maker.get_future();
    maker.set_exception(std::make_exception_ptr(std::runtime_error("thrown")));
    std::string caught;
    try {
        co_await made;
    } catch (const std::runtime_error& thrown) {
        caught = thrown.what();
    }
    BOOST_TEST(caught == "thrown");
    BOOST_TEST((made.failure() == errc::callback_threw));
    BOOST_TEST((made.get_now().error().exception() != nullptr));
}

OURO_ASYNC_TEST(a_value_that_cannot_be_copied_goes_to_the_one_who_moves_it) {
    const promise<std::unique_ptr<int>> maker;
    auto first = maker.get_future();
    auto second = maker.get_future();
    maker.set_value(new int(5));
    const auto got = co_await std::move(first);
    BOOST_TEST(*got == 5);
    const auto late = co_await as_result(std::move(second).wait());
    BOOST_TEST((late.error() == errc::invalid_state));
    BOOST_TEST((maker.get_future().get_now().error() == errc::invalid_state));
}

OURO_ASYNC_TEST(a_value_moves_only_when_no_other_future_refers_to_it) {
    const promise<std::string> maker;
    const std::string text(100, 'x');
    auto first = maker.get_future();
    auto second = first;
    maker.set_value(text);
    const std::string copied = co_await std::move(first);
    BOOST_TEST(copied == text);
    BOOST_TEST(second.get_now().value() == text);
    const std::string moved = co_await std::move(second);
    BOOST_TEST(moved == text);
    BOOST_TEST((maker.get_future().get_now().error() == errc::invalid_state));
}

OURO_ASYNC_TEST(the_last_promise_that_goes_unset_breaks_the_future) {
    auto maker = std::make_unique<promise<int>>();
    auto copy = std::make_unique<promise<int>>(*maker);
    auto waiting = await_beside(maker->get_future());
    const auto watched = maker->get_future();
    co_await settle();
    maker.reset();
    co_await settle();
    BOOST_TEST(!waiting.done());
    copy.reset();
    co_await settle();
    BOOST_REQUIRE(waiting.done());
    BOOST_TEST((waiting.failure() == errc::broken_promise));
    BOOST_TEST((watched.failure() == errc::broken_promise));
}

OURO_ASYNC_TEST(a_cancelled_waiter_leaves_the_future_to_the_others) {
    const promise<int> maker;
    auto leaves = await_beside(maker.get_future());
    auto stays = await_beside(maker.get_future());
    co_await settle();
    leaves.cancel(cancel_cause::timeout);
    co_await settle();
    BOOST_REQUIRE(leaves.cancelled());
    BOOST_TEST((leaves.failure().cause() == cancel_cause::timeout));
    BOOST_TEST(!maker.done());
    maker.set_value(9);
    const int got = co_await stays;
    BOOST_TEST(got == 9);
}

// rule 112
OURO_ASYNC_TEST(a_future_that_others_cancel_cancels_who_waits_without_a_request) {
    const promise<int> maker;
    auto waiting = await_beside(maker.get_future());
    co_await settle();
    maker.get_future().cancel();
    co_await settle();
    BOOST_REQUIRE(waiting.done());
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(waiting.cancelling() == 0U);
}

// rule 111
OURO_ASYNC_TEST(a_task_and_its_future_cancelled_together_end_the_task_once) {
    for (const bool task_first : {true, false}) {
        const promise<int> maker;
        auto ends = std::make_shared<int>(0);
        auto waiting = spawn(
            [](future<int> from, std::shared_ptr<int> count) -> task<> {
                const auto outcome = co_await as_result(from.wait());
                if (!outcome && outcome.error() == errc::cancelled) ++*count;
                co_await yield();
                ++*count;  // a second cancellation would have ended it at the await before
            },
            maker.get_future(), ends);
        co_await settle();
        auto made = maker.get_future();
        if (task_first) waiting.cancel();
        made.cancel();
        if (!task_first) waiting.cancel();
        co_await settle();
        BOOST_TEST(waiting.done());
        BOOST_TEST(!waiting.cancelled());
        BOOST_TEST(*ends == 2);
    }
}

// rules 86, 87
OURO_ASYNC_TEST(callbacks_run_in_a_later_turn_in_the_order_they_came) {
    const promise<int> maker;
    const auto made = maker.get_future();
    auto order = std::make_shared<std::string>();
    made.on_done([order] { *order += 'a'; });
    auto between = spawn(
        [](future<int> from, std::shared_ptr<std::string> into) -> task<> {
            co_await from;
            *into += 'b';
        },
        made, order);
    co_await settle();
    made.on_done([order] { *order += 'c'; });
    maker.set_value(1);
    made.on_done([order] { *order += 'd'; });
    BOOST_TEST(order->empty());
    co_await settle();
    BOOST_TEST(*order == "abcd");
    made.on_done([order] { *order += 'e'; });
    BOOST_TEST(*order == "abcd");
    co_await settle();
    BOOST_TEST(*order == "abcde");
}

// rule 88
OURO_ASYNC_TEST(a_callback_is_taken_back_by_its_handle) {
    const promise<int> maker;
    const auto made = maker.get_future();
    auto order = std::make_shared<std::string>();
    auto token = std::make_shared<int>();
    handle early = made.on_done([order, token] { *order += 'x'; });
    handle late = made.on_done([order] { *order += 'y'; });
    made.on_done([order] { *order += 'z'; });
    early.cancel();
    BOOST_TEST(early.cancelled());
    BOOST_TEST(token.use_count() == 1);
    early.cancel();
    maker.set_value(1);
    late.cancel();  // it is in the ready queue already
    co_await settle();
    BOOST_TEST(*order == "z");
}

// rule 89
OURO_ASYNC_TEST(callbacks_may_add_and_remove_callbacks) {
    const promise<int> maker;
    const auto made = maker.get_future();
    auto order = std::make_shared<std::string>();
    auto second = std::make_shared<handle>();
    made.on_done([order, second, made] {
        *order += '1';
        second->cancel();
        made.on_done([order] { *order += '3'; });
    });
    *second = made.on_done([order] { *order += '2'; });
    maker.set_value(0);
    co_await settle();
    BOOST_TEST(*order == "13");
}

OURO_ASYNC_TEST(a_callback_keeps_a_result_wanted_that_no_future_refers_to) {
    auto maker = std::make_unique<promise<int>>();
    BOOST_TEST(maker->abandoned());
    auto called = std::make_shared<int>(0);
    maker->get_future().on_done([called] { ++*called; });
    BOOST_TEST(!maker->abandoned());
    handle second = maker->get_future().on_done([called] { ++*called; });
    second.cancel();
    BOOST_TEST(!maker->abandoned());
    maker.reset();  // a broken promise is told as well
    co_await settle();
    BOOST_TEST(*called == 1);
}

OURO_ASYNC_TEST(a_callback_that_throws_is_reported) {
    const promise<int> maker;
    maker.get_future().on_done([] { throw std::runtime_error("in a callback"); });
    maker.set_value(1);
    co_await settle();
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0).subject == "on_done");
}

// rules 91, 92, 93
OURO_ASYNC_TEST(a_failure_nobody_saw_is_reported_once_when_the_last_reference_goes) {
    {
        promise<int> maker;
        auto made = std::make_unique<future<int>>(maker.get_future());
        maker.set_error(error(errc::unsupported, "fly"));
        made.reset();
        BOOST_TEST(take_reports().empty());  // the promise can still give a future
    }
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == errc::unsupported));
    BOOST_TEST(reports.at(0).created.line() != 0U);
    const auto quiet = [](auto look) {
        const promise<int> maker;
        auto made = maker.get_future();
        maker.set_error(errc::unsupported);
        look(made);
    };
    quiet([](future<int>& made) { BOOST_TEST((made.failure() == errc::unsupported)); });
    quiet([](future<int>& made) { BOOST_TEST((made.get_now().error() == errc::unsupported)); });
    quiet([](future<int>& made) { BOOST_TEST(!made.cancel()); });
    {
        const promise<int> maker;
        const auto pending = maker.get_future();
    }
    {
        auto maker = std::make_unique<promise<int>>();
        const auto broken = maker->get_future();
        maker.reset();
    }
    {
        const promise<int> maker;
        maker.get_future().cancel();
    }
    {
        const promise<int> maker;
        maker.set_exception(std::make_exception_ptr(std::runtime_error("unseen")));
    }
    const auto thrown = take_reports();
    BOOST_REQUIRE(thrown.size() == 1U);
    BOOST_TEST((thrown.at(0).error == errc::callback_threw));
    co_return;
}

// rule 97
OURO_ASYNC_TEST(an_outcome_is_copied_from_one_future_to_another) {
    const auto copied = [](auto prepare) {
        const promise<int> from, to;
        prepare(from, to);
        to.set_result(from.get_future().get_now());
        return to.get_future();
    };
    using both = const promise<int>&;
    BOOST_TEST(copied([](both from, both) { from.set_value(4); }).get_now().value() == 4);
    BOOST_TEST(copied([](both from, both) { from.get_future().cancel(); }).cancelled());
    const auto failed = copied([](both from, both) { from.set_error(errc::unsupported); });
    BOOST_TEST((failed.failure() == errc::unsupported));
    const auto skipped = copied([](both from, both to) {
        from.set_value(5);
        to.get_future().cancel();
    });
    BOOST_TEST(skipped.cancelled());
    const auto threw = copied([](both from, both) {
        from.set_exception(std::make_exception_ptr(std::logic_error("kept")));
    });
    std::string text;
    try {
        co_await threw;
    } catch (const std::logic_error& thrown) {
        text = thrown.what();
    }
    BOOST_TEST(text == "kept");
}

// rule 96
BOOST_AUTO_TEST_CASE(a_future_of_another_loop_fails_the_task_that_awaits_it) {
    loop other(options_for(engine::uring));
    loop home(options_for(engine::uring));
    const promise<int> maker(other);
    auto waits = [](future<int> from) -> task<int> { co_return co_await from; };
    const auto outcome = home.run_until_complete(waits(maker.get_future()));
    BOOST_TEST((outcome.error() == errc::wrong_loop));
    BOOST_TEST(!maker.done());
}

BOOST_AUTO_TEST_CASE(a_promise_of_a_closed_loop_is_refused) {
    loop home(options_for(engine::uring));
    home.close();
    const auto refused = [](const std::system_error& thrown) {
        return thrown.code() == make_error_code(errc::loop_closed);
    };
    BOOST_CHECK_EXCEPTION(promise<int>{home}, std::system_error, refused);
}

BOOST_AUTO_TEST_CASE(promises_and_futures_outlive_their_loop) {
    std::vector<failure_report> reports;
    auto token = std::make_shared<int>();
    handle registered;
    std::unique_ptr<promise<std::string>> pending;
    future<std::string> waiting;
    future<int> failed;
    {
        loop home(options_for(engine::uring));
        home.set_exception_handler(
            [&](loop&, const failure_report& report) { reports.push_back(report); });
        pending = std::make_unique<promise<std::string>>(home);
        waiting = pending->get_future();
        registered = waiting.on_done([token] { BOOST_ERROR("called by a closed loop"); });
        const promise<int> fails(home);
        failed = fails.get_future();
        fails.set_error(errc::unsupported);
    }
    // rule 91: the loop told of it, because nobody could do so later
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == errc::unsupported));
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(registered.cancelled());
    registered.cancel();
    BOOST_TEST(pending->set_value("late"));
    BOOST_TEST(waiting.get_now().value() == "late");
    BOOST_CHECK_THROW(waiting.on_done([] {}), std::system_error);

    loop next(options_for(engine::uring));
    const promise<int> maker(next);
    auto waits = [](future<std::string> from) -> task<std::string> { co_return co_await from; };
    BOOST_TEST(next.run_until_complete(waits(waiting)).value() == "late");
}

BOOST_AUTO_TEST_CASE(an_exit_from_inside_a_run_leaves_futures_that_can_be_destroyed) {
    const auto child = in_child([]() -> int {
        static std::unique_ptr<promise<int>> maker, failed;  // destroyed after the loop
        static future<int> unseen;
        static loop home(options_for(engine::uring));
        maker = std::make_unique<promise<int>>(home);
        failed = std::make_unique<promise<int>>(home);
        unseen = failed->get_future();
        failed->set_error(errc::unsupported);
        auto waits = [](future<int> from) -> task<int> { co_return co_await from; };
        spawn(home, waits(maker->get_future()));
        home.call_later(std::chrono::milliseconds(1), [] { std::exit(0); });
        home.run_forever();
        return 1;
    });
    BOOST_TEST(child.exit_code == 0);
    BOOST_TEST(child.signal == 0);
}

BOOST_AUTO_TEST_CASE(a_loop_that_closes_takes_waiters_and_drops_callbacks_on_their_way) {
    loop home(options_for(engine::uring));
    const promise<int> maker(home);
    auto waits = [](future<int> from) -> task<int> { co_return co_await from; };
    auto waiting = spawn(home, waits(maker.get_future()));
    auto token = std::make_shared<int>();
    home.call_soon([&] {
        home.call_soon([&] {
            maker.get_future().on_done([token] { BOOST_ERROR("ran while closing"); });
            maker.set_value(1);
            home.stop();
        });
    });
    home.run_forever();
    home.close();
    BOOST_TEST(waiting.done());
    BOOST_TEST(token.use_count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
