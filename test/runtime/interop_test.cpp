// Coroutines beside code that speaks in callbacks.
#include <ouro/runtime/interop.hpp>

#include <boost/test/unit_test.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// An API of the old kind, on the loop's thread: calls wait in a list until a test answers them.
template <class T>
struct legacy {
    std::vector<done_callback<T>> calls;
    int started = 0;
    int cancelled = 0;

    auto start() {
        return [this](done_callback<T> done) {
            ++started;
            calls.push_back(std::move(done));
        };
    }
    auto cancel() {
        return [this] { ++cancelled; };
    }
};

task<int> ask(std::shared_ptr<legacy<int>> api) {
    co_return co_await from_callback<int>(api->start());
}
task<int> ask_with_hook(std::shared_ptr<legacy<int>> api) {
    co_return co_await from_callback<int>(api->start(), api->cancel());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(callbacks)

OURO_ASYNC_TEST(a_callback_call_becomes_a_value) {
    auto api = std::make_shared<legacy<int>>();
    auto asking = spawn(ask(api));
    BOOST_TEST(api->started == 0);
    co_await settle();
    BOOST_REQUIRE(api->calls.size() == 1U);
    BOOST_TEST(!api->calls.at(0).abandoned());
    BOOST_TEST(api->calls.at(0)(5));
    BOOST_TEST(!api->calls.at(0)(6));
    const int got = co_await asking;
    BOOST_TEST(got == 5);
}

OURO_ASYNC_TEST(a_callback_called_at_once_wakes_in_a_later_turn) {
    bool queued_ran = false;
    loop::current().call_soon([&] { queued_ran = true; });
    const int got = co_await from_callback<int>([](auto done) { done(7); });
    BOOST_TEST(got == 7);
    BOOST_TEST(queued_ran);
    co_await from_callback([](auto done) { done(); });
    const auto text = co_await from_callback<std::unique_ptr<std::string>>(
        [](auto done) { done(std::make_unique<std::string>("moved")); });
    BOOST_TEST(*text == "moved");
}

OURO_ASYNC_TEST(a_callback_may_fail_in_every_way) {
    const auto by_error = co_await as_result(
        from_callback<int>([](auto done) { done(error(errc::unsupported, "fly")); }));
    BOOST_TEST((by_error.error() == errc::unsupported));
    BOOST_TEST(by_error.error().doing() == "fly");
    const auto by_errc =
        co_await as_result(from_callback<int>([](auto done) { done(errc::no_address); }));
    BOOST_TEST((by_errc.error() == errc::no_address));
    const auto by_code = co_await as_result(from_callback<int>(
        [](auto done) { done(std::make_error_code(std::errc::connection_reset)); }));
    BOOST_TEST((by_code.error() == std::errc::connection_reset));
    const auto by_result = co_await as_result(
        from_callback<int>([](auto done) { done(result<int>(errc::end_of_stream)); }));
    BOOST_TEST((by_result.error() == errc::end_of_stream));
    const auto well =
        co_await as_result(from_callback<int>([](auto done) { done(result<int>(3)); }));
    BOOST_TEST(well.value() == 3);
    std::string caught;
    try {
        co_await from_callback(
            [](auto done) { done(std::make_exception_ptr(std::runtime_error("crashed"))); });
    } catch (const std::runtime_error& thrown) {
        caught = thrown.what();
    }
    BOOST_TEST(caught == "crashed");
}

OURO_ASYNC_TEST(a_callback_dropped_uncalled_is_a_broken_promise) {
    const auto outcome = co_await as_result(from_callback<int>([](auto) {}));
    BOOST_TEST((outcome.error() == errc::broken_promise));
    BOOST_TEST(outcome.error().doing() == "a callback that was never called");
    auto api = std::make_shared<legacy<int>>();
    auto asking = spawn(ask(api));
    co_await settle();
    api->calls.clear();
    co_await settle();
    BOOST_REQUIRE(asking.done());
    BOOST_TEST((asking.failure() == errc::broken_promise));
}

OURO_ASYNC_TEST(what_the_call_throws_comes_out_of_the_await) {
    std::string caught;
    try {
        co_await from_callback<int>([](auto) { throw std::logic_error("refused"); });
    } catch (const std::logic_error& thrown) {
        caught = thrown.what();
    }
    BOOST_TEST(caught == "refused");
    // An answer that was given first counts, and the exception is reported.
    const int got = co_await from_callback<int>([](auto done) {
        done(1);
        throw std::logic_error("after the answer");
    });
    BOOST_TEST(got == 1);
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0).error.message().find("after the answer") != std::string::npos);
}

OURO_ASYNC_TEST(an_api_that_copies_its_callbacks_is_served) {
    auto kept = std::make_shared<std::vector<std::function<void(int)>>>();
    auto asking = spawn(
        [](auto into) -> task<int> {
            co_return co_await from_callback<int>([into](auto done) {
                into->assign(3, std::function<void(int)>(std::move(done).shared()));
            });
        },
        kept);
    co_await settle();
    BOOST_REQUIRE(kept->size() == 3U);
    kept->erase(kept->begin());
    (*kept)[1](8);
    (*kept)[0](9);
    const int got = co_await asking;
    BOOST_TEST(got == 8);
}

OURO_ASYNC_TEST(a_cancelled_waiter_leaves_and_a_late_result_is_dropped) {
    auto api = std::make_shared<legacy<int>>();
    auto asking = spawn(ask(api));
    auto other = spawn(ask(api));
    co_await settle();
    BOOST_REQUIRE(api->calls.size() == 2U);
    asking.cancel(cancel_cause::timeout);
    BOOST_TEST(api->calls.at(0).abandoned());
    api->calls.at(0)(errc::unsupported);  // no report: nobody wanted to know
    co_await settle();
    BOOST_TEST(asking.cancelled());
    BOOST_TEST((asking.failure().cause() == cancel_cause::timeout));
    BOOST_TEST(asking.failure().doing() == "callback");
    other.cancel();
    co_await settle();
    BOOST_TEST(other.cancelled());
    BOOST_TEST(api->calls.at(1)(3));
    co_await settle();
}

OURO_ASYNC_TEST(a_cancellation_that_is_due_comes_instead_of_the_call) {
    auto api = std::make_shared<legacy<int>>();
    auto self = std::make_shared<task_handle<int>>();
    *self = spawn(
        [](auto with, auto own) -> task<int> {
            own->cancel();
            co_return co_await ask(with);
        },
        api, self);
    co_await settle();
    BOOST_TEST(self->cancelled());
    BOOST_TEST(api->started == 0);
    self.reset();
}

// Data wins.
OURO_ASYNC_TEST(a_call_with_a_cancel_hook_is_asked_to_end_and_waited_for) {
    auto api = std::make_shared<legacy<int>>();
    auto asking = spawn(ask_with_hook(api));
    co_await settle();
    asking.cancel(cancel_cause::timeout);
    asking.cancel(cancel_cause::user);
    co_await settle();
    BOOST_TEST(api->cancelled == 1);
    BOOST_TEST(!asking.done());
    BOOST_TEST(!api->calls.at(0).abandoned());
    api->calls.at(0)(errc::unsupported);
    co_await settle();
    BOOST_REQUIRE(asking.done());
    BOOST_TEST(asking.cancelled());
    BOOST_TEST(asking.failure().doing() == "callback");

    auto dropped = spawn(ask_with_hook(api));
    co_await settle();
    dropped.cancel();
    api->calls.clear();
    co_await settle();
    BOOST_TEST(dropped.cancelled());
}

OURO_ASYNC_TEST(a_result_that_beats_the_cancel_hook_is_delivered) {
    auto api = std::make_shared<legacy<int>>();
    auto got = std::make_shared<int>(0);
    auto asking = spawn(
        [](auto with, auto into) -> task<> {
            *into = co_await from_callback<int>(with->start(), with->cancel());
            co_await yield();  // here the cancellation is due
            *into = -1;
        },
        api, got);
    co_await settle();
    asking.cancel();
    api->calls.at(0)(6);
    co_await settle();
    BOOST_TEST(*got == 6);
    BOOST_TEST(asking.cancelled());

    auto ends = spawn(ask_with_hook(api));  // it waits nowhere after that: its result stands
    co_await settle();
    ends.cancel();
    api->calls.at(1)(7);
    const int value = co_await ends;
    BOOST_TEST(value == 7);
}

OURO_ASYNC_TEST(a_cancel_hook_may_answer_at_once_or_throw) {
    auto kept = std::make_shared<std::vector<done_callback<int>>>();
    auto asking = spawn(
        [](auto into) -> task<int> {
            co_return co_await from_callback<int>(
                [into](auto done) { into->push_back(std::move(done)); },
                [into] { into->at(0)(errc::cancelled); });
        },
        kept);
    auto throwing = spawn([]() -> task<int> {
        std::unique_ptr<done_callback<int>> kept_open;
        co_return co_await from_callback<int>(
            [&](auto done) { kept_open = std::make_unique<done_callback<int>>(std::move(done)); },
            [&] { throw std::logic_error("cannot stop"); });
    });
    co_await settle();
    asking.cancel();
    throwing.cancel();
    co_await settle();
    BOOST_TEST(asking.cancelled());
    BOOST_REQUIRE(throwing.done());
    BOOST_TEST(throwing.failure().message().find("cannot stop") != std::string::npos);
}

OURO_KERNEL_TEST(a_callback_may_be_called_by_any_thread, "threads") {
    std::vector<std::jthread> threads;
    int sum = 0;
    for (int i = 1; i <= 20; ++i) {
        sum += co_await from_callback<int>([&](auto done) {
            threads.emplace_back([i, done = std::move(done)]() mutable { done(i); });
        });
    }
    BOOST_TEST(sum == 210);
    const auto dropped = co_await as_result(
        from_callback<int>([&](auto done) { threads.emplace_back([done = std::move(done)] {}); }));
    BOOST_TEST((dropped.error() == errc::broken_promise));
}

OURO_KERNEL_TEST(a_thread_that_answers_a_waiter_that_left_does_no_harm, "threads") {
    for (int i = 0; i < 50; ++i) {
        auto thread = std::make_shared<std::jthread>();
        auto asking = spawn(
            [](auto with) -> task<std::string> {
                co_return co_await from_callback<std::string>([with](auto done) {
                    *with = std::jthread(
                        [done = std::move(done)]() mutable { done(std::string(100, 'x')); });
                });
            },
            thread);
        co_await yield();
        if (i % 2) co_await yield();
        asking.cancel();
        const auto outcome = co_await as_result(asking.join());
        BOOST_TEST((outcome || outcome.error() == errc::cancelled));
    }
}

// ---- to_callback

OURO_ASYNC_TEST(a_task_calls_back_once_with_its_value) {
    auto got = std::make_shared<std::vector<std::string>>();
    const auto work = []() -> task<std::string> {
        co_await yield();
        co_return "done";
    };
    auto running = to_callback(
        work(), [got](result<std::string> outcome) { got->push_back(outcome ? *outcome : "?"); });
    BOOST_TEST(got->empty());
    const std::string also = co_await running;
    BOOST_TEST(also == "done");
    BOOST_REQUIRE(got->size() == 1U);
    BOOST_TEST(got->front() == "done");
    const auto nothing = []() -> task<> { co_return; };
    to_callback(nothing(), [got](result<> outcome) { got->push_back(outcome ? "void" : "?"); });
    const auto unique = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(3); };
    to_callback(unique(), [got](result<std::unique_ptr<int>> outcome) {
        got->push_back(outcome ? std::to_string(**outcome) : "?");
    });
    co_await settle();
    BOOST_REQUIRE(got->size() == 3U);
    BOOST_TEST(got->at(1) == "void");
    BOOST_TEST(got->at(2) == "3");
}

OURO_ASYNC_TEST(a_task_calls_back_with_its_failure_and_nothing_is_reported) {
    auto got = std::make_shared<std::vector<error>>();
    const auto keep = [got](const auto& outcome) { got->push_back(outcome.error()); };
    const auto fails = []() -> task<int> { co_return error(errc::unsupported, "fly"); };
    const auto throws = []() -> task<int> {
        co_await yield();
        throw std::runtime_error("crashed");
    };
    const auto waits = []() -> task<int> {
        co_await sleep(std::chrono::hours(1));
        co_return 1;
    };
    to_callback(fails(), keep);
    to_callback(throws(), keep);
    auto unstarted = to_callback(waits(), keep);
    unstarted.cancel();
    auto started = to_callback(waits(), keep);
    co_await settle();
    started.cancel(cancel_cause::timeout);
    co_await settle();
    BOOST_REQUIRE(got->size() == 4U);
    int unsupported = 0, cancelled = 0, threw = 0;
    for (const error& each : *got) {
        unsupported += each == errc::unsupported;
        cancelled += each == errc::cancelled;
        threw += each.exception() != nullptr;
    }
    BOOST_TEST(unsupported == 1);
    BOOST_TEST(cancelled == 2);
    BOOST_TEST(threw == 1);
    BOOST_TEST((got->back().cause() == cancel_cause::timeout));
}

OURO_ASYNC_TEST(what_a_called_back_function_throws_is_reported) {
    const auto work = []() -> task<int> { co_return 1; };
    to_callback(work(), [](const result<int>&) { throw std::runtime_error("in the callback"); });
    co_await settle();
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0).error.message().find("in the callback") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_closing_loop_calls_back_and_a_closed_one_refuses) {
    auto called = std::make_shared<std::vector<error>>();
    const auto keep = [called](const result<>& outcome) { called->push_back(outcome.error()); };
    const auto waits = []() -> task<> { co_await sleep(std::chrono::hours(1)); };
    loop home(options_for(engine::uring));
    to_callback(home, waits(), keep);
    home.close();
    BOOST_REQUIRE(called->size() == 1U);
    BOOST_TEST((called->front().cause() == cancel_cause::shutdown));
    BOOST_CHECK_THROW(to_callback(home, waits(), keep), std::system_error);
    BOOST_TEST(called->size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
