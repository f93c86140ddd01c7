// Blocking work on other threads.
#include <ouro/runtime/thread_pool.hpp>

#include <pthread.h>
#include <signal.h>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <semaphore>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

std::string thread_name() {
    char name[16] = {};
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
    return name;
}

/// Jobs that hold their thread until they are let go.
struct gate {
    std::counting_semaphore<> begun{0};
    std::counting_semaphore<> open{0};
    std::atomic<int> passed{0};
    void pass() {
        begun.release();
        open.acquire();
        ++passed;
    }
};

}  // namespace

// rules 52, 61
OURO_ASYNC_TEST(a_job_gets_its_arguments_and_gives_its_result_to_who_waits) {
    const int sum = co_await to_thread([](int a, int b) { return a + b; }, 2, 3);
    BOOST_TEST(sum == 5);
    const std::string text = co_await to_thread(
        [](const std::string& left, std::string right) { return left + right; }, "co", "py");
    BOOST_TEST(text == "copy");
    auto moved = co_await to_thread([](std::unique_ptr<int> only) { return only; },
                                    std::make_unique<int>(7));
    BOOST_TEST(*moved == 7);
    struct counter {
        int calls = 0;
        int count(int by) { return calls += by; }
    } counted;
    BOOST_TEST(co_await to_thread(&counter::count, &counted, 2) == 2);
    BOOST_TEST(counted.calls == 2);
}

// rules 52, 61
OURO_ASYNC_TEST(a_job_is_called_exactly_once_and_without_a_loop) {
    auto calls = std::make_shared<int>(0);
    auto loop_seen = std::make_shared<bool>(true);
    co_await to_thread([calls, loop_seen] {
        ++*calls;
        *loop_seen = loop::try_current() != nullptr;
    });
    BOOST_TEST(*calls == 1);
    BOOST_TEST(!*loop_seen);
    BOOST_TEST((loop::try_current() == &loop::current()));
}

// rules 52, 61
OURO_ASYNC_TEST(what_a_job_throws_is_rethrown_at_the_await) {
    bool caught = false;
    try {
        co_await to_thread([] { throw std::runtime_error("in the job"); });
    } catch (const std::runtime_error& thrown) {
        caught = thrown.what() == std::string("in the job");
    }
    BOOST_TEST(caught);
}

// rule 52
OURO_ASYNC_TEST(a_result_is_unwrapped_and_its_error_ends_the_await) {
    const int value = co_await to_thread([]() -> result<int> { return 4; });
    BOOST_TEST(value == 4);
    co_await to_thread([]() -> result<> { return {}; });
    const auto outcome = co_await as_result(
        to_thread([]() -> result<int> { return error(std::errc::no_such_file_or_directory); }));
    BOOST_TEST((outcome.error() == std::errc::no_such_file_or_directory));
}

OURO_ASYNC_TEST(a_job_of_a_simulation_runs_in_a_later_turn) {
    auto ran = std::make_shared<bool>(false);
    auto waiting = spawn(
        [](std::shared_ptr<bool> done) -> task<> { co_await to_thread([done] { *done = true; }); },
        ran);
    const auto before = loop::current().statistics().turns;
    co_await waiting;
    BOOST_TEST(*ran);
    BOOST_TEST(loop::current().statistics().turns > before + 1);
}

OURO_ASYNC_TEST(jobs_of_several_tasks_all_end) {
    auto sum = std::make_shared<int>(0);
    std::vector<task_handle<>> all;
    for (int i = 1; i <= 20; ++i) {
        all.push_back(spawn(
            [](std::shared_ptr<int> into, int number) -> task<> {
                *into += co_await to_thread([number] { return number; });
            },
            sum, i));
    }
    for (const auto& each : all) co_await each;
    BOOST_TEST(*sum == 210);
}

// rule 55
OURO_ASYNC_TEST(a_job_that_is_cancelled_at_once_ends_cancelled_or_not_at_all) {
    auto ran = std::make_shared<std::atomic<int>>(0);
    auto waiting = spawn(
        [](std::shared_ptr<std::atomic<int>> count) -> task<> {
            co_await to_thread([count] { ++*count; });
        },
        ran);
    co_await yield();
    waiting.cancel();
    const auto outcome = co_await as_result(waiting.join());
    BOOST_TEST((waiting.cancelled() || *ran == 1));
    BOOST_TEST((waiting.cancelled() || outcome.has_value()));
}

// rules 52, 61
OURO_ASYNC_TEST(a_submitted_job_tells_its_future) {
    const auto pool = std::make_shared<thread_pool>();
    auto sum = pool->submit([](int a, int b) { return a + b; }, 2, 3);
    auto only = pool->submit([] { return std::make_unique<int>(4); });
    auto fails = pool->submit([]() -> result<> { return error(errc::queue_full); });
    auto throws = pool->submit([] { throw std::runtime_error("in the job"); });
    BOOST_TEST(co_await sum == 5);
    BOOST_TEST(*co_await std::move(only) == 4);
    BOOST_TEST(((co_await as_result(fails.wait())).error() == errc::queue_full));
    BOOST_CHECK_THROW(co_await throws, std::runtime_error);
}

OURO_ASYNC_TEST(a_job_whose_future_was_dropped_runs_all_the_same) {
    const auto pool = std::make_shared<thread_pool>(thread_pool_options{.threads = 1});
    const auto ran = std::make_shared<std::atomic<bool>>(false);
    (void)pool->submit([ran] { *ran = true; });
    co_await eventually([ran] { return ran->load(); });
    co_await pool->submit([] {});  // behind the first, whose end is told by then
    co_await settle();
}

// rule 57
OURO_ASYNC_TEST(a_pool_that_was_shut_down_takes_no_job) {
    const auto pool = std::make_shared<thread_pool>();
    BOOST_TEST(pool->shutdown());
    const auto refused = pool->submit([] { return 1; });
    BOOST_TEST(((co_await as_result(refused.wait())).error() == errc::invalid_state));
}

// rule 57
OURO_ASYNC_TEST(after_its_shutdown_the_default_executor_refuses_and_others_work) {
    co_await to_thread([] {});
    co_await shutdown_default_executor();
    const auto refused = co_await as_result(to_thread([] {}));
    BOOST_TEST((refused.error() == errc::invalid_state));
    const auto own = std::make_shared<thread_pool>();
    BOOST_TEST(co_await own->run([] { return 3; }) == 3);
}

// rules 57, 58
OURO_ASYNC_TEST(the_shutdown_of_an_executor_that_never_was_returns_at_once) {
    const auto before = loop::current().statistics().turns;
    co_await shutdown_default_executor();
    BOOST_TEST(loop::current().statistics().turns == before);
    const auto refused = co_await as_result(to_thread([] {}));
    BOOST_TEST((refused.error() == errc::invalid_state));
    co_await shutdown_default_executor();
}

// rule 53
OURO_KERNEL_TEST(the_default_executor_is_made_on_first_use_and_its_threads_have_names,
                 "real threads") {
    const std::string name = co_await to_thread(&thread_name);
    BOOST_TEST(name == "ouro-pool-1");
    const auto home = std::this_thread::get_id();
    const auto there = co_await to_thread([] { return std::this_thread::get_id(); });
    BOOST_TEST((there != home));
    const auto own =
        std::make_shared<thread_pool>(thread_pool_options{.threads = 1, .name = "own"});
    BOOST_TEST(own->threads() == 0U);
    BOOST_TEST(co_await own->run(&thread_name) == "own-1");
    BOOST_TEST(own->threads() == 1U);
}

// rule 54
OURO_KERNEL_TEST(a_pool_may_be_the_default_executor_of_a_loop, "real threads") {
    const auto shared = std::make_shared<thread_pool>(thread_pool_options{.name = "shared"});
    loop::current().set_default_executor(shared);
    BOOST_TEST(co_await to_thread(&thread_name) == "shared-1");
    loop::current().set_default_executor(nullptr);
    BOOST_TEST(co_await to_thread(&thread_name) == "ouro-pool-1");
}

// rule 62
OURO_ASYNC_TEST(a_job_sees_a_copy_of_the_callers_task_local_values) {
    static task_local<int> request{0};
    request.set(7);
    const auto seen = co_await to_thread([] {
        const int before = request.get();
        request.set(8);
        return before * 10 + request.get();
    });
    BOOST_TEST(seen == 78);
    BOOST_TEST(request.get() == 7);
    const auto later = co_await to_thread([] { return request.get(); });
    BOOST_TEST(later == 7);
}

OURO_KERNEL_TEST(all_signals_are_blocked_in_the_threads_of_a_pool, "real threads") {
    const bool blocked = co_await to_thread([] {
        sigset_t mask;
        ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        return sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) &&
               sigismember(&mask, SIGUSR1);
    });
    BOOST_TEST(blocked);
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    BOOST_TEST(!sigismember(&mask, SIGUSR1));
}

OURO_KERNEL_TEST(a_pool_has_as_many_threads_as_it_needs_and_no_more_than_it_may, "real threads") {
    const auto pool = std::make_shared<thread_pool>(thread_pool_options{.threads = 3});
    co_await pool->run([] {});
    BOOST_TEST(pool->threads() == 1U);
    struct tally {
        std::atomic<int> now{0}, most{0};
    };
    const auto counts = std::make_shared<tally>();
    std::vector<task_handle<>> all;
    for (int i = 0; i < 30; ++i) {
        all.push_back(spawn(
            [](std::shared_ptr<thread_pool> in, std::shared_ptr<tally> seen) -> task<> {
                co_await in->run([seen] {
                    const int now = ++seen->now;
                    int most = seen->most;
                    while (now > most && !seen->most.compare_exchange_weak(most, now)) continue;
                    std::this_thread::yield();
                    --seen->now;
                });
            },
            pool, counts));
    }
    for (const auto& each : all) co_await each;
    BOOST_TEST(counts->most <= 3);
    BOOST_TEST(pool->threads() <= 3U);
}

// rule 55
OURO_KERNEL_TEST(a_cancelled_job_that_no_thread_has_begun_is_taken_back, "real threads") {
    const auto pool = std::make_shared<thread_pool>(thread_pool_options{.threads = 1});
    const auto held = std::make_shared<gate>();
    const auto ran = std::make_shared<bool>(false);
    auto first =
        spawn([](std::shared_ptr<thread_pool> in,
                 std::shared_ptr<gate> at) -> task<> { co_await in->run([at] { at->pass(); }); },
              pool, held);
    auto second =
        spawn([](std::shared_ptr<thread_pool> in,
                 std::shared_ptr<bool> did) -> task<> { co_await in->run([did] { *did = true; }); },
              pool, ran);
    struct lets_go {  // also when this test ends early
        ~lets_go() { held->open.release(); }
        std::shared_ptr<gate> held;
    } const at_end{held};
    co_await settle();
    BOOST_TEST(pool->waiting() <= 2U);
    second.cancel();
    BOOST_TEST(((co_await as_result(second.join())).error() == errc::cancelled));
    BOOST_TEST(!*ran);
    BOOST_TEST(!first.done());
    held->open.release();
    co_await first;
    BOOST_TEST(!*ran);
    held->begun.acquire();
}

// rule 55
OURO_KERNEL_TEST(a_cancelled_job_that_has_begun_is_waited_for, "real threads") {
    const auto held = std::make_shared<gate>();
    const auto came_on = std::make_shared<int>(0);
    auto waiting = spawn(
        [](std::shared_ptr<gate> at, std::shared_ptr<int> steps) -> task<> {
            int local = 0;  // the job writes to this frame
            co_await to_thread([&local, at] {
                at->pass();
                local = 1;
            });
            *steps += local;
            co_await yield();  // here the cancellation is due
            ++*steps;
        },
        held, came_on);
    struct lets_go {
        ~lets_go() { held->open.release(); }
        std::shared_ptr<gate> held;
    } const at_end{held};
    co_await settle();
    held->begun.acquire();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(!waiting.done());
    held->open.release();
    BOOST_TEST(((co_await as_result(waiting.join())).error() == errc::cancelled));
    BOOST_TEST(*came_on == 1);
}

// rule 55
OURO_KERNEL_TEST(a_submitted_job_that_is_cancelled_before_it_began_never_runs, "real threads") {
    const auto pool = std::make_shared<thread_pool>(thread_pool_options{.threads = 1});
    const auto held = std::make_shared<gate>();
    const auto ran = std::make_shared<std::atomic<int>>(0);
    struct lets_go {
        ~lets_go() { held->open.release(); }
        std::shared_ptr<gate> held;
    } const at_end{held};
    auto first = pool->submit([held] { held->pass(); });
    auto second = pool->submit([ran] { ++*ran; });
    auto third = pool->submit([] { return 3; });
    held->begun.acquire();
    BOOST_TEST(first.cancel());  // it has begun: it goes on, and nobody hears of it
    BOOST_TEST(second.cancel());
    BOOST_TEST(((co_await as_result(first.wait())).error() == errc::cancelled));
    BOOST_TEST(((co_await as_result(second.wait())).error() == errc::cancelled));
    BOOST_TEST(held->passed == 0);
    held->open.release();
    BOOST_TEST(co_await third == 3);
    BOOST_TEST(held->passed == 1);
    BOOST_TEST(*ran == 0);
}

OURO_KERNEL_TEST(a_pool_with_a_limit_refuses_submitted_jobs_and_lets_awaited_ones_wait,
                 "real threads") {
    const auto pool =
        std::make_shared<thread_pool>(thread_pool_options{.threads = 2, .max_waiting = 1});
    const auto held = std::make_shared<gate>();
    struct lets_go {
        ~lets_go() { held->open.release(2); }
        std::shared_ptr<gate> held;
    } const at_end{held};
    // A thread that is still to be made counts as free: only the third waits.
    auto first = pool->submit([held] { held->pass(); });
    auto second = pool->submit([held] { held->pass(); });
    auto third = pool->submit([] { return 3; });
    const auto refused = pool->submit([] { return 4; });
    BOOST_TEST(((co_await as_result(refused.wait())).error() == errc::queue_full));
    auto awaits = [](std::shared_ptr<thread_pool> in) -> task<int> {
        co_return co_await in->run([] { return 5; });
    };
    auto fifth = spawn(awaits, pool);
    co_await settle();
    BOOST_TEST(!fifth.done());
    const auto beside_it = pool->submit([] { return 6; });
    BOOST_TEST(((co_await as_result(beside_it.wait())).error() == errc::queue_full));
    held->open.release(2);
    co_await first;
    co_await second;
    BOOST_TEST(co_await third == 3);
    BOOST_TEST(co_await fifth == 5);
    BOOST_TEST(co_await pool->submit([] { return 7; }) == 7);
}

// rule 59
OURO_KERNEL_TEST(a_shutdown_that_takes_too_long_is_a_warning_and_waits_no_more, "real threads") {
    const auto held = std::make_shared<gate>();
    auto waiting = spawn(
        [](std::shared_ptr<gate> at) -> task<> { co_await to_thread([at] { at->pass(); }); }, held);
    struct lets_go {
        ~lets_go() { held->open.release(); }
        std::shared_ptr<gate> held;
    } const at_end{held};
    co_await settle();
    held->begun.acquire();
    co_await shutdown_default_executor(1ms);
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).level == severity::warning));
    held->open.release();
    co_await waiting;  // it is told of its end all the same
    BOOST_TEST(held->passed == 1);
}

OURO_KERNEL_TEST(a_thread_that_cannot_be_had_is_an_error_of_the_await, "a pool without threads") {
    const auto pool = std::make_shared<thread_pool>();
    BOOST_TEST(pool->shutdown());
    const auto refused = co_await as_result(pool->run([] {}));
    BOOST_TEST((refused.error() == errc::invalid_state));
    BOOST_TEST(refused.error().message().find("shut down") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE(thread_pools)

BOOST_AUTO_TEST_CASE(the_end_of_a_pool_waits_for_its_jobs) {
    loop home(options_for(engine::uring));
    std::atomic<int> done{0};
    auto pool = std::make_shared<thread_pool>(thread_pool_options{.threads = 2});
    for (int i = 0; i < 10; ++i) {
        (void)spawn(home, [](thread_pool& in, std::atomic<int>& count) -> task<> {
            co_await in.run([&count] {
                std::this_thread::yield();
                ++count;
            });
        }(*pool, done));
    }
    home.call_soon([&] {
        home.call_soon([&] {
            pool = nullptr;
            BOOST_TEST(done == 10);
            home.stop();
        });
    });
    home.run_forever();
    home.close();
}

BOOST_AUTO_TEST_CASE(a_pool_may_end_in_a_job_of_its_own) {
    loop home(options_for(engine::uring));
    auto pool = std::make_shared<thread_pool>();
    thread_pool& in = *pool;
    auto outcome = home.run_until_complete([](thread_pool& runs, auto& last) -> task<int> {
        co_return co_await runs.run([&last] {
            last = nullptr;
            return 1;
        });
    }(in, pool));
    BOOST_TEST(*outcome == 1);
}

BOOST_AUTO_TEST_CASE(the_only_thread_of_a_pool_does_what_is_queued_after_the_job_that_ends_it) {
    const auto child = in_child([] {  // which is ended if it hangs
        loop home(options_for(engine::uring));
        auto pool = std::make_shared<thread_pool>(thread_pool_options{.threads = 1});
        std::counting_semaphore<> queued{0};
        const auto outcome = home.run_until_complete([](auto& last, auto& both) -> task<int> {
            auto ends_it = last->submit([&last, &both] {
                both.acquire();
                const bool all_done = last->shutdown();
                last = nullptr;
                return all_done ? 50 : 0;
            });
            auto next = last->submit([] { return 7; });
            both.release();
            co_return co_await ends_it + co_await next;
        }(pool, queued));
        return outcome ? *outcome : 51;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 7);
}

// rules 56, 60
BOOST_AUTO_TEST_CASE(a_loop_that_closes_waits_for_a_job_that_uses_a_frame_of_its_own) {
    std::counting_semaphore<> begun{0};
    std::atomic<bool> closing{false};
    std::atomic<int> ended{0};
    {
        loop home(options_for(engine::uring));
        (void)spawn(home, [](auto& begins, auto& closes, auto& ends) -> task<> {
            int local = 0;
            co_await to_thread([&] {
                begins.release();
                while (!closes) std::this_thread::yield();
                local = 1;
                ++ends;
            });
            ends += local;
        }(begun, closing, ended));
        home.call_soon([&] { home.call_soon([&] { home.stop(); }); });
        home.run_forever();
        begun.acquire();
        closing = true;
        home.close();
        BOOST_TEST(home.counters().describe() == "");
    }
    BOOST_TEST(ended == 2);
}

BOOST_AUTO_TEST_CASE(another_default_executor_does_not_wait_for_the_jobs_of_the_one_before) {
    const auto child = in_child([] {  // which is ended if it hangs
        loop home(options_for(engine::uring));
        gate held;
        return *home.run_until_complete([](gate& at) -> task<int> {
            auto job =
                spawn([](gate& all) -> task<> { co_await to_thread([&all] { all.pass(); }); }(at));
            co_await yield();
            loop::current().set_default_executor(std::make_shared<thread_pool>());
            at.open.release();
            co_await job;
            co_return co_await to_thread([&at] { return at.passed.load(); });
        }(held));
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 1);
}

// rules 56, 60
BOOST_AUTO_TEST_CASE(a_loop_closes_without_waiting_for_a_submitted_job) {
    const auto held = std::make_shared<gate>();
    const auto pool = std::make_shared<thread_pool>();
    {
        loop home(options_for(engine::uring));
        home.set_default_executor(pool);
        home.call_soon([&] {
            (void)pool->submit([held] {
                held->pass();
                return std::string("nobody hears of it");
            });
            home.stop();
        });
        home.run_forever();
        held->begun.acquire();
        home.close();
        BOOST_TEST(held->passed == 0);
        BOOST_TEST(home.counters().describe() == "");
    }
    held->open.release();
    BOOST_TEST(pool->shutdown());
    BOOST_TEST(held->passed == 1);
}

// rule 60
BOOST_AUTO_TEST_CASE(a_loop_lets_its_own_executor_go_when_it_closes) {
    std::weak_ptr<thread_pool> own;
    loop home(options_for(engine::uring));
    (void)home.run_until_complete([](auto& made) -> task<> {
        const auto pool = std::make_shared<thread_pool>();
        loop::current().set_default_executor(pool);
        made = pool;
        co_await to_thread([] {});
    }(own));
    BOOST_TEST(!own.expired());
    home.close();
    BOOST_TEST(own.expired());
}

BOOST_AUTO_TEST_CASE(jobs_and_closing_loops_race_and_nothing_is_lost) {
    const auto shared = std::make_shared<thread_pool>(thread_pool_options{.threads = 4});
    for (int round = 0; round < 100; ++round) {
        loop home(options_for(engine::uring));
        home.set_default_executor(shared);
        for (int i = 0; i < 10; ++i) {
            (void)spawn(home, []() -> task<> {
                while (true) co_await to_thread([] { std::this_thread::yield(); });
            }());
        }
        int turns = round % 7;
        function<void()> count = [&] {
            if (turns-- <= 0) return home.stop();
            home.call_soon([&] { count(); });
        };
        home.call_soon([&] { count(); });
        home.run_forever();
        home.close();
        BOOST_TEST(home.counters().describe() == "");
    }
    BOOST_TEST(shared->shutdown());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
