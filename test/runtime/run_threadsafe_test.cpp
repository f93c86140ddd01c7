// Tasks that other threads start, wait for and cancel.
#include <ouro/runtime/run_threadsafe.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// Runs `home` while `body` runs on another thread, and stops it when that has ended.
template <class Body>
void beside(loop& home, Body body) {
    std::thread other([&, handle = home.get_handle()] {
        body(handle);
        handle.stop();
    });
    home.run_forever();
    other.join();
}

task<std::string> greet(std::string name) {
    co_await yield();
    co_return "hello " + name;
}

task<> sleep_long(std::shared_ptr<std::atomic<bool>> asleep) {
    *asleep = true;
    co_await sleep(1h);
}

void wait_for(const std::atomic<bool>& flag) {
    while (!flag) std::this_thread::yield();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(threadsafe_runs)

// rule 63
BOOST_AUTO_TEST_CASE(a_thread_gets_what_a_task_on_a_loop_gives) {
    loop home(options_for(engine::uring));
    beside(home, [&](const loop_handle& handle) {
        auto text = run_threadsafe(handle, greet, "world");
        BOOST_TEST(text.get().value() == "hello world");
        BOOST_TEST(text.done());
        BOOST_TEST((text.get().error() == errc::invalid_state));
        auto where = run_threadsafe(
            handle, [&home]() -> task<bool> { co_return &loop::current() == &home; });
        BOOST_TEST(where.get().value());
        auto nothing = run_threadsafe(handle, []() -> task<> { co_return; });
        BOOST_TEST(nothing.get().has_value());
        auto only = run_threadsafe(
            handle,
            [](std::unique_ptr<int> given) -> task<std::unique_ptr<int>> {
                co_return std::move(given);
            },
            std::make_unique<int>(5));
        BOOST_TEST(**only.get() == 5);
    });
    home.close();
    BOOST_TEST(home.counters().describe() == "");
}

// rule 63
BOOST_AUTO_TEST_CASE(a_thread_gets_the_error_and_the_exception_of_a_task) {
    loop home(options_for(engine::uring));
    beside(home, [](const loop_handle& handle) {
        auto fails = run_threadsafe(handle, []() -> task<int> { co_return errc::queue_empty; });
        BOOST_TEST((fails.get().error() == errc::queue_empty));
        auto throws = run_threadsafe(handle, []() -> task<> {
            co_await yield();
            throw std::runtime_error("in the task");
        });
        BOOST_CHECK_THROW((void)throws.get(), std::runtime_error);
    });
}

// rule 63
BOOST_AUTO_TEST_CASE(cancelling_the_future_cancels_the_task) {
    loop home(options_for(engine::uring));
    beside(home, [](const loop_handle& handle) {
        const auto asleep = std::make_shared<std::atomic<bool>>(false);
        auto sleeps = run_threadsafe(handle, sleep_long, asleep);
        wait_for(*asleep);
        BOOST_TEST(!sleeps.wait_for(1ms));
        BOOST_TEST(sleeps.cancel());
        const auto outcome = sleeps.get();
        BOOST_TEST((outcome.error() == errc::cancelled));
        BOOST_TEST((outcome.error().cause() == cancel_cause::user));
        BOOST_TEST(!sleeps.cancel());
    });
}

// rule 64
BOOST_AUTO_TEST_CASE(a_task_that_cancels_itself_is_seen_as_cancelled) {
    loop home(options_for(engine::uring));
    beside(home, [](const loop_handle& handle) {
        auto gives_up = run_threadsafe(handle, []() -> task<int> {
            detail::task_core::current()->cancel(cancel_cause::user);
            co_return 1;
        });
        BOOST_TEST((gives_up.get().error() == errc::cancelled));
    });
}

struct brittle {  // cannot be moved on a loop's thread
    brittle() = default;
    brittle(brittle&&) noexcept(false) {
        if (loop::try_current()) throw std::runtime_error("no task");
    }
};

// rule 65
BOOST_AUTO_TEST_CASE(a_task_that_cannot_be_made_is_told_to_the_thread_and_to_the_loop) {
    loop home(options_for(engine::uring));
    std::vector<failure_report> seen;
    home.set_exception_handler(
        [&](loop&, const failure_report& report) { seen.push_back(report); });
    beside(home, [](const loop_handle& handle) {
        auto never = run_threadsafe(handle, [](brittle) -> task<int> { co_return 1; }, brittle());
        BOOST_CHECK_THROW((void)never.get(), std::runtime_error);
    });
    BOOST_REQUIRE(seen.size() == 1U);
    BOOST_TEST((seen.at(0).error == errc::callback_threw));
}

BOOST_AUTO_TEST_CASE(a_loop_that_is_closed_starts_no_task_and_leaves_nobody_waiting) {
    loop_handle handle;
    const auto asleep = std::make_shared<std::atomic<bool>>(false);
    std::optional<thread_future<>> sleeps, too_late;
    {
        loop home(options_for(engine::uring));
        handle = home.get_handle();
        sleeps = run_threadsafe(handle, sleep_long, asleep);
        home.call_soon([&] { home.call_soon([&] { home.stop(); }); });
        home.run_forever();
        BOOST_TEST(asleep->load());
        too_late = run_threadsafe(handle, sleep_long, asleep);
    }
    BOOST_TEST((sleeps->get().error() == errc::cancelled));
    BOOST_TEST((too_late->get().error() == errc::loop_closed));
    BOOST_TEST((run_threadsafe(handle, sleep_long, asleep).get().error() == errc::loop_closed));
}

BOOST_AUTO_TEST_CASE(a_thread_that_runs_a_loop_is_not_blocked) {
    loop home(options_for(engine::uring));
    home.call_soon([&] {
        auto text = run_threadsafe(home.get_handle(), greet, "world");
        BOOST_TEST(!text.wait_for(1h));
        BOOST_TEST((text.get().error() == errc::wrong_thread));
        home.call_later(1ms, [&, text = std::move(text)]() mutable {
            BOOST_TEST(text.get().value() == "hello world");
            home.stop();
        });
    });
    home.run_forever();
}

BOOST_AUTO_TEST_CASE(many_threads_start_many_tasks) {
    loop home(options_for(engine::uring));
    beside(home, [](const loop_handle& handle) {
        constexpr int threads = 4, tasks = 500;
        std::atomic<int> right{0};
        std::vector<std::thread> all;
        for (int i = 0; i < threads; ++i) {
            all.emplace_back([&] {
                for (int j = 0; j < tasks; ++j) {
                    auto sum = run_threadsafe(
                        handle,
                        [](int a, int b) -> task<int> {
                            co_await yield();
                            co_return a + b;
                        },
                        j, 1);
                    if (j % 5 == 0) sum.cancel();
                    const auto outcome = sum.get();
                    right += outcome ? *outcome == j + 1 : outcome.error() == errc::cancelled;
                }
            });
        }
        for (std::thread& each : all) each.join();
        BOOST_TEST(right == threads * tasks);
    });
    BOOST_TEST(home.counters().tasks == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
