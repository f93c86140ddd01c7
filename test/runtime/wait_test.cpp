// Innermost awaits: the four ends, foreign coroutine types, operations and the races of their
// cancellation.
#include <ouro/runtime/wait.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <coroutine>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// An await that the test ends by hand.
class manual_wait : public detail::awaitable<manual_wait, int> {
  public:
    explicit manual_wait(manual_wait** out) : awaitable(kind), out_(out) {}
    void start() noexcept { *out_ = this; }
    int value() const noexcept { return 5; }
    static void cancelled(detail::wait_point& wait, cancel_cause cause) noexcept {
        wait.wake_failed(error::cancelled(cause, "manual"));
    }
    static constexpr detail::wait_kind kind{"manual", &cancelled};

  private:
    manual_wait** out_;
};

/// Is given something when it is woken, and counts what it had to give back.
class granted_wait : public detail::awaitable<granted_wait, int> {
  public:
    struct giver {
        granted_wait* open = nullptr;
        int given_back = 0;
    };
    explicit granted_wait(std::shared_ptr<giver> by) : awaitable(kind), by_(std::move(by)) {}
    void start() noexcept { by_->open = this; }
    int value() const noexcept { return 5; }
    static void cancelled(detail::wait_point& wait, cancel_cause cause) noexcept {
        wait.wake_failed(error::cancelled(cause, "granted"));
    }
    static void revoke(detail::wait_point& wait) noexcept {
        ++static_cast<granted_wait&>(wait).by_->given_back;
    }
    static constexpr detail::wait_kind kind{"granted", &cancelled, &revoke};

  private:
    std::shared_ptr<giver> by_;
};

/// Receives through the door as an operation with an await of its own.
class receive : public detail::op_awaitable<receive, int> {
  public:
    receive(loop& on, int fd, std::span<std::byte> into)
        : op_awaitable(on, kind), fd_(fd), into_(into) {}
    void submit(loop& on, op& request) noexcept { io::recv(on, request, fd_, into_); }
    int value() const noexcept { return res(); }
    std::string doing() const { return "receive by test"; }
    static constexpr detail::wait_kind kind{"receive", &op_awaitable::cancel_op};

  private:
    int fd_;
    std::span<std::byte> into_;
};

/// A coroutine type that knows nothing of ouro.
struct foreign {
    struct promise_type {
        foreign get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::abort(); }
    };
};

/// One whose frame has an owner, who may destroy it while it waits.
class owned_coroutine {
  public:
    struct promise_type {
        owned_coroutine get_return_object() noexcept {
            return owned_coroutine(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::abort(); }
    };
    owned_coroutine(owned_coroutine&& from) noexcept : frame_(std::exchange(from.frame_, {})) {}
    ~owned_coroutine() {
        if (frame_) frame_.destroy();
    }

  private:
    explicit owned_coroutine(std::coroutine_handle<> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<> frame_;
};

std::array<std::byte, 64>& scrap() {
    static std::array<std::byte, 64> room;
    return room;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(waits)

OURO_WHOLE_TEST(wake_and_wake_failed_end_the_await_through_the_ready_queue,
                "ends waits by hand that are there only if each step before was done") {
    manual_wait* open = nullptr;
    std::vector<result<int>> seen;
    auto waiting = spawn([&]() -> task<> {
        seen.push_back(co_await as_result(manual_wait(&open)));
        seen.push_back(co_await as_result(manual_wait(&open)));
        seen.push_back(co_await manual_wait(&open));
        (void)co_await manual_wait(&open);
        seen.push_back(99);
    });
    co_await settle();
    open->wake();
    BOOST_TEST(seen.empty());
    co_await settle();
    BOOST_TEST_REQUIRE(seen.size() == 1U);
    BOOST_TEST(seen.at(0).value() == 5);
    open->wake_failed(error(errc::no_address, "by hand"));
    co_await settle();
    BOOST_TEST_REQUIRE(seen.size() == 2U);
    BOOST_TEST(seen.at(1).error().doing() == "by hand");
    open->wake();
    co_await settle();
    open->wake_failed(errc::no_address);
    co_await settle();
    BOOST_TEST(seen.size() == 3U);
    BOOST_TEST((waiting.failure() == errc::no_address));
}

OURO_WHOLE_TEST(complete_and_fail_resume_there_and_then_in_the_run_phase,
                "ends waits by hand that are there only if each step before was done") {
    manual_wait* open = nullptr;
    std::vector<result<int>> seen;
    auto waiting = spawn([&]() -> task<> {
        seen.push_back(co_await as_result(manual_wait(&open)));
        seen.push_back(co_await as_result(manual_wait(&open)));
        (void)co_await manual_wait(&open);
    });
    co_await settle();
    loop::current().call_soon([&] {
        open->complete();
        BOOST_TEST(seen.size() == 1U);
        open->fail(errc::no_address);
        BOOST_TEST(seen.size() == 2U);
        BOOST_TEST((seen.at(1).error() == errc::no_address));
        open->fail(errc::unsupported);
        BOOST_TEST(waiting.done());
    });
    co_await settle();
    BOOST_TEST((waiting.failure() == errc::unsupported));
}

OURO_WHOLE_TEST(complete_or_wake_resumes_at_once_only_between_the_steps_of_tasks,
                "ends waits by hand that are there only if each step before was done") {
    manual_wait* open = nullptr;
    int steps = 0;
    auto waiting = spawn([&]() -> task<> {
        (void)co_await manual_wait(&open);
        ++steps;
        (void)co_await manual_wait(&open);
        ++steps;
    });
    co_await settle();
    open->complete_or_wake();  // this task is being stepped
    BOOST_TEST(steps == 0);
    co_await settle();
    BOOST_TEST(steps == 1);
    loop::current().call_soon([&] {
        open->complete_or_wake();
        BOOST_TEST(steps == 2);
    });
    co_await waiting;
}

// rules 127, 131
OURO_WHOLE_TEST(what_the_end_of_an_eager_task_completes_is_resumed_after_the_task_around_it,
                "ends a wait by hand that is there only if each step before was done") {
    struct completes_when_gone {
        ~completes_when_gone() {
            if (*open) std::exchange(*open, nullptr)->complete_or_wake();
        }
        manual_wait** open;
    };
    auto open = std::make_shared<manual_wait*>(nullptr);
    auto steps = std::make_shared<int>(0);
    auto waiting = spawn([open, steps]() -> task<> {
        (void)co_await manual_wait(open.get());
        ++*steps;
    });
    co_await settle();
    // An argument dies with the frame, when the task has ended.
    auto eager = [](std::unique_ptr<completes_when_gone>) -> task<> { co_return; };
    auto gone = std::make_unique<completes_when_gone>(open.get());
    spawn({.eager = true}, eager(std::move(gone)));
    BOOST_TEST(!*open);
    BOOST_TEST(*steps == 0);
    co_await waiting;
    BOOST_TEST(*steps == 1);
}

// rule 104
OURO_WHOLE_TEST(a_wait_gives_back_what_it_was_granted_when_a_cancellation_takes_its_place,
                "ends waits by hand that are there only if each step before was done") {
    auto giver = std::make_shared<granted_wait::giver>();
    const auto body = [giver]() -> task<int> { co_return co_await granted_wait(giver); };
    auto cancelled_late = spawn(body);
    co_await settle();
    giver->open->wake();
    cancelled_late.cancel();
    co_await settle();
    BOOST_TEST(cancelled_late.cancelled());
    BOOST_TEST(giver->given_back == 1);
    auto cancelled_early = spawn(body);  // was granted nothing
    co_await settle();
    cancelled_early.cancel();
    cancelled_early.cancel();
    co_await settle();
    BOOST_TEST(cancelled_early.cancelled());
    auto failed = spawn(body);  // nor is one whose wait had failed
    co_await settle();
    giver->open->wake_failed(errc::no_address);
    failed.cancel();
    co_await settle();
    BOOST_TEST(failed.cancelled());
    auto taken_back = spawn(body);
    co_await settle();
    giver->open->wake();
    taken_back.cancel();
    taken_back.uncancel();
    BOOST_TEST(co_await taken_back == 5);
    BOOST_TEST(giver->given_back == 1);
}

OURO_ASYNC_TEST(a_wait_that_a_cancellation_is_due_at_starts_nothing) {
    manual_wait* open = nullptr;
    auto own = std::make_shared<task_handle<>>();
    *own = spawn([&open, own]() -> task<> {
        own->cancel();
        (void)co_await manual_wait(&open);
    });
    co_await settle();
    BOOST_TEST(own->cancelled());
    BOOST_TEST(!open);
    *own = {};
}

OURO_WHOLE_TEST(a_foreign_coroutine_waits_too_and_sees_a_failure_as_an_exception,
                "nobody takes down a foreign coroutine that was not run to its end") {
    manual_wait* open = nullptr;
    std::string order;
    auto body = [&]() -> foreign {
        order += std::to_string(co_await manual_wait(&open));
        try {
            (void)co_await manual_wait(&open);
        } catch (const std::system_error& thrown) {
            order += thrown.code() == errc::no_address ? 'e' : '?';
        }
        const auto caught = co_await as_result(manual_wait(&open));
        order += caught ? '?' : 'r';
        co_await sleep(10us);
        co_await yield();
        order += 's';
    };
    body();
    open->wake();
    BOOST_TEST(order.empty());
    co_await settle();
    BOOST_TEST(order == "5");
    open->wake_failed(errc::no_address);
    co_await settle();
    BOOST_TEST(order == "5e");
    open->wake_failed(errc::no_address);
    co_await eventually([&] { return order.size() == 4; });
    BOOST_TEST(order == "5ers");
}

OURO_WHOLE_TEST(a_foreign_coroutine_joins_a_task,
                "nobody takes down a foreign coroutine that was not run to its end") {
    int seen = 0;
    auto started = spawn([]() -> task<int> {
        co_await yield();
        co_return 5;
    });
    auto failing = spawn([]() -> task<> {
        co_await yield();
        co_await result<>(errc::unsupported);
    });
    auto body = [](task_handle<int> good, task_handle<> bad, int& into) -> foreign {
        into = co_await good;
        try {
            co_await bad;
        } catch (const std::system_error& thrown) {
            if (thrown.code() == errc::unsupported) into += 10;
        }
    };
    body(started, failing, seen);
    co_await settle(10);
    BOOST_TEST(seen == 15);
}

OURO_ASYNC_TEST(a_foreign_coroutine_destroyed_between_wake_up_and_turn_is_not_resumed) {
    struct waiting {
        manual_wait* open = nullptr;
        std::unique_ptr<owned_coroutine> coroutine;
        int resumed = 0;
    };
    const auto begin = [] {
        auto made = std::make_shared<waiting>();
        auto body = [](waiting* in) -> owned_coroutine {
            (void)co_await as_result(manual_wait(&in->open));
            ++in->resumed;
            (void)co_await as_result(manual_wait(&in->open));
            ++in->resumed;
        };
        made->coroutine = std::make_unique<owned_coroutine>(body(made.get()));
        return made;
    };
    loop& home = loop::current();
    const auto calls_before = home.counters().calls;
    auto at_once = begin();
    at_once->open->wake();
    at_once->coroutine.reset();
    auto failed = begin();
    failed->open->wake_failed(errc::no_address);
    failed->coroutine.reset();
    auto in_its_turn = begin();  // by what is queued before it
    home.call_soon([in_its_turn] { in_its_turn->coroutine.reset(); });
    in_its_turn->open->wake();
    auto second_wait = begin();
    second_wait->open->wake();
    auto lives = begin();
    lives->open->wake();
    co_await settle();
    BOOST_TEST(second_wait->resumed == 1);
    second_wait->open->wake();
    second_wait->coroutine.reset();
    lives->open->wake();
    co_await settle();
    BOOST_TEST(at_once->resumed == 0);
    BOOST_TEST(failed->resumed == 0);
    BOOST_TEST(in_its_turn->resumed == 0);
    BOOST_TEST(second_wait->resumed == 1);
    BOOST_TEST(lives->resumed == 2);
    BOOST_TEST(home.counters().calls == calls_before);
}

BOOST_AUTO_TEST_CASE(a_foreign_coroutine_may_outlive_the_loop_that_would_have_resumed_it) {
    manual_wait* open = nullptr;
    bool resumed = false;
    auto body = [&]() -> owned_coroutine {
        (void)co_await manual_wait(&open);
        resumed = true;
    };
    auto coroutine = body();
    {
        loop home(options_for(engine::uring));
        home.call_soon([&] {
            open->wake();
            home.stop();
        });
        home.run_forever();
    }
    BOOST_TEST(!resumed);
}

BOOST_AUTO_TEST_CASE(a_foreign_coroutine_may_outlive_the_loop_in_which_it_sleeps) {
    std::vector<std::string> reports;
    bool resumed = false;
    auto body = [&]() -> owned_coroutine {
        co_await sleep(1h);
        resumed = true;
    };
    std::optional<owned_coroutine> coroutine;
    {
        loop home(options_for(engine::uring));
        home.set_exception_handler(
            [&](loop&, const failure_report& report) { reports.push_back(report.message); });
        home.call_soon([&] {
            coroutine.emplace(body());
            home.stop();
        });
        home.run_forever();
    }
    coroutine.reset();
    BOOST_TEST(!resumed);
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0) == "the loop closed with 1 timers left");
}

OURO_ASYNC_TEST(an_operation_yields_its_value_or_an_error_that_names_it) {
    loop& home = loop::current();
    descriptors fds(home);
    fds.peer_sends("abc");
    BOOST_TEST(co_await receive(home, fds.ours, scrap()) == 3);
    const auto bad = co_await as_result(receive(home, -1, scrap()));
    BOOST_TEST((bad.error() == std::errc::bad_file_descriptor));
    BOOST_TEST(bad.error().doing() == "receive by test");
}

// fault 58
OURO_ASYNC_TEST(a_cancelled_operation_ends_its_await_only_with_its_own_completion) {
    loop& home = loop::current();
    descriptors fds(home);
    result<int> seen = 0;
    auto waiting =
        spawn([&]() -> task<> { seen = co_await as_result(receive(home, fds.ours, scrap())); });
    co_await settle();
    BOOST_TEST(home.counters().ops == 1U);
    waiting.cancel(cancel_cause::timeout);
    BOOST_TEST(home.counters().ops == 1U);
    co_await waiting;
    BOOST_TEST(home.counters().ops == 0U);
    BOOST_TEST((seen.error() == errc::cancelled));
    BOOST_TEST((seen.error().cause() == cancel_cause::timeout));
    BOOST_TEST(seen.error().doing() == "receive by test");
}

OURO_ASYNC_TEST(an_operation_that_starts_and_is_cancelled_in_one_turn_ends_cancelled) {
    loop& home = loop::current();
    descriptors fds(home);
    auto waiting = spawn([&]() -> task<> { (void)co_await receive(home, fds.ours, scrap()); });
    co_await yield();  // it has taken its first step, nothing is submitted yet
    BOOST_TEST(home.counters().ops == 1U);
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    fds.peer_sends("kept");
    BOOST_TEST(co_await receive(home, fds.ours, scrap()) == 4);
}

// faults 10, 58
OURO_ASYNC_TEST(data_that_won_is_delivered_and_the_next_await_is_cancelled) {
    loop& home = loop::current();
    descriptors fds(home);
    fds.peer_sends("abc");
    int got = 0;
    result<> next;
    auto waiting = spawn([&]() -> task<> {
        got = co_await receive(home, fds.ours, scrap());
        next = co_await as_result(sleep(1h));
    });
    co_await yield();
    waiting.cancel(cancel_cause::timeout);  // the receive is ahead of its cancel and finds data
    co_await waiting;
    BOOST_TEST(got == 3);
    BOOST_TEST(!next.has_value());
    BOOST_TEST((next.error().cause() == cancel_cause::timeout));
}

// faults 10, 58
OURO_ASYNC_TEST(data_that_won_in_the_last_await_is_what_the_task_gives) {
    loop& home = loop::current();
    descriptors fds(home);
    fds.peer_sends("abc");
    auto waiting =
        spawn([&]() -> task<int> { co_return co_await receive(home, fds.ours, scrap()); });
    co_await yield();
    BOOST_TEST(waiting.cancel());
    BOOST_TEST(co_await waiting == 3);
    BOOST_TEST(!waiting.cancelled());
    BOOST_TEST(waiting.cancelling() == 1U);
}

OURO_ASYNC_TEST(an_error_of_its_own_wins_too_and_the_next_await_is_cancelled) {
    loop& home = loop::current();
    result<int> seen = 0;
    result<> next;
    auto waiting = spawn([&]() -> task<> {
        seen = co_await as_result(receive(home, -1, scrap()));
        next = co_await as_result(sleep(1h));
    });
    co_await yield();
    waiting.cancel();
    co_await waiting;
    BOOST_TEST((seen.error() == std::errc::bad_file_descriptor));
    BOOST_TEST((next.error() == errc::cancelled));
}

// rule 114
OURO_ASYNC_TEST(a_request_taken_back_before_the_data_won_does_not_reach_the_next_await) {
    loop& home = loop::current();
    descriptors fds(home);
    fds.peer_sends("abc");
    int got = 0;
    result<> next;
    auto waiting = spawn([&]() -> task<> {
        got = co_await receive(home, fds.ours, scrap());
        next = co_await as_result(sleep(10us));
    });
    co_await yield();
    waiting.cancel();
    BOOST_TEST(waiting.uncancel() == 0U);
    co_await waiting;
    BOOST_TEST(got == 3);
    BOOST_TEST(next.has_value());
}

// fault 58
OURO_ASYNC_TEST(a_task_cancelled_twice_while_its_operation_is_in_flight_is_cancelled_once) {
    loop& home = loop::current();
    descriptors fds(home);
    int cancelled = 0;
    auto waiting = spawn([&]() -> task<> {
        for (int i = 0; i < 3; ++i) {
            cancelled += !co_await as_result(receive(home, fds.ours, scrap()));
        }
    });
    co_await settle();
    waiting.cancel();
    waiting.cancel();
    fds.peer_sends("a");
    co_await settle();
    waiting.cancel();
    co_await settle(20);
    BOOST_TEST(cancelled == 2);
    fds.peer_sends("b");
    co_await settle();
    fds.peer_sends("c");
    co_await waiting;
    BOOST_TEST(cancelled <= 2);
}

// fault 59
OURO_ASYNC_TEST(a_task_whose_handle_was_dropped_finishes_its_operation) {
    loop& home = loop::current();
    descriptors fds(home);
    int got = 0;
    spawn([&]() -> task<> { got = co_await receive(home, fds.ours, scrap()); });
    co_await settle();
    BOOST_TEST(home.counters().ops == 1U);
    fds.peer_sends("abcd");
    co_await eventually([&] { return got != 0; });
    BOOST_TEST(got == 4);
}

// rule 127
BOOST_AUTO_TEST_CASE(stepping_a_task_from_inside_the_step_of_another_is_a_mistake) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        manual_wait* open = nullptr;
        auto waits = [&]() -> task<> { (void)co_await manual_wait(&open); };
        auto steps = [&]() -> task<> {
            co_await settle();
            open->complete();
        };
        spawn(home, waits());
        (void)home.run_until_complete(steps());
        return 0;
    });
    BOOST_TEST(child.signal == SIGABRT);
    BOOST_TEST(contains(child.errors, "inside another one's step"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
