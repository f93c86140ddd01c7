// A program's main task: exit codes, the order of the end, signals, grace.
#include <ouro/runtime/run.hpp>

#include <boost/test/unit_test.hpp>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <ouro/runtime/signals.hpp>
#include <ouro/runtime/task_group.hpp>
#include <ouro/runtime/thread_pool.hpp>

#include "async_test.hpp"
#include "child_process.hpp"
#include "send_signal.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

task<int> give_later(int value) {
    co_await yield();
    co_return value;
}
task<> fail_with(errc why) { co_await result<>(why); }
task<> sleep_an_hour() { co_await sleep(1h); }
/// One that does not leave, however often it is asked.
task<> stay() {
    for (;;) (void)co_await as_result(sleep(1h));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(running)

// rule 698
BOOST_AUTO_TEST_CASE(run_gives_the_exit_code_of_the_main_task) {
    BOOST_TEST(run([]() -> task<int> { co_return co_await give_later(3); }) == 3);
    BOOST_TEST(
        run([](int a, std::string b) -> task<int> { co_return a + static_cast<int>(b.size()); }, 4,
            "abc") == 7);
    BOOST_TEST(run([]() -> task<> { co_await yield(); }) == 0);
    BOOST_TEST(!loop::try_current());
}

BOOST_AUTO_TEST_CASE(run_tells_why_the_main_task_failed) {
    captured_stderr captured;
    BOOST_TEST(run([]() -> task<> { co_await fail_with(errc::no_address); }) == 1);
    BOOST_TEST(contains(captured.text(), "the name has no address"));
    BOOST_TEST(contains(captured.text(), "run_test.cpp"));
}

// rule 700
BOOST_AUTO_TEST_CASE(run_lets_an_exception_out_once_everything_is_closed) {
    bool ended = false;
    BOOST_CHECK_THROW(run([&]() -> task<> {
                          spawn([&ended]() -> task<> {
                              (void)co_await as_result(sleep(1h));
                              ended = true;
                          });
                          co_await yield();
                          throw std::runtime_error("out");
                      }),
                      std::runtime_error);
    BOOST_TEST(ended);
    BOOST_TEST(!loop::try_current());
}

// rule 701
BOOST_AUTO_TEST_CASE(run_reports_what_fails_while_it_ends_with_the_name_of_the_task) {
    captured_stderr captured;
    BOOST_TEST(run([]() -> task<> {
                   spawn([]() -> task<> {
                       (void)co_await as_result(sleep(1h));
                       co_await result<>(errc::no_address);
                   }).set_name("straggler");
                   co_await yield();
               }) == 0);
    BOOST_TEST(contains(captured.text(), "straggler"));
    BOOST_TEST(contains(captured.text(), "the name has no address"));
}

// rule 703
BOOST_AUTO_TEST_CASE(run_inside_a_running_loop_is_refused) {
    captured_stderr captured;
    bool inner_ran = false;
    const int outer = run([&]() -> task<int> {
        co_return run([&]() -> task<int> {
            inner_ran = true;
            co_return 0;
        });
    });
    BOOST_TEST(outer == 1);
    BOOST_TEST(!inner_ran);
    BOOST_TEST(contains(captured.text(), "already running"));
}

// rules 698, 701
BOOST_AUTO_TEST_CASE(run_cancels_what_the_main_task_left_and_waits_for_it) {
    std::string order;
    BOOST_TEST(run([&]() -> task<int> {
                   spawn([&order]() -> task<> {
                       const auto ended = co_await as_result(sleep(1h));
                       order += ended.error().cause() == cancel_cause::shutdown ? 's' : '?';
                       co_await settle(20);
                       order += 'e';
                   });
                   co_await yield();
                   order += 'm';
                   co_return 0;
               }) == 0);
    BOOST_TEST(order == "mse");
}

// rule 707, fault 80
BOOST_AUTO_TEST_CASE(the_first_signal_cancels_the_main_task_and_the_exit_code_tells_of_it) {
    for (const int signum : {SIGINT, SIGTERM}) {
        const auto child = in_child([signum] {
            cancel_cause cause = cancel_cause::none;
            const int code = run([&]() -> task<> {
                send_signal(signum);
                const auto ended = co_await as_result(sleep(1h));
                cause = ended.error().cause();
                co_await result<>(ended.error());
            });
            return cause == cancel_cause::shutdown ? code : 99;
        });
        BOOST_TEST(child.exit_code == 128 + signum);
        BOOST_TEST(child.errors == "");
    }
}

// rule 710
BOOST_AUTO_TEST_CASE(a_main_task_that_returns_a_value_all_the_same_decides_the_exit_code) {
    const auto child = in_child([] {
        return run([]() -> task<int> {
            send_signal(SIGTERM);
            (void)co_await as_result(sleep(1h));
            co_await sleep(1ms);  // the clean-up
            co_return 7;
        });
    });
    BOOST_TEST(child.exit_code == 7);
    BOOST_TEST(child.errors == "");
}

// rules 116, 707
BOOST_AUTO_TEST_CASE(
    a_main_task_that_ends_its_group_in_order_takes_the_request_of_the_signal_back) {
    for (const bool taken_back : {false, true}) {
        const auto child = in_child([taken_back] {
            return run([taken_back]() -> task<> {
                co_await with_group([taken_back](task_group& group) -> task<> {
                    group.spawn([]() -> task<> { co_await sleep(1h); });
                    send_signal(SIGTERM);
                    (void)co_await as_result(sleep(1h));
                    if (taken_back) current_task().uncancel();
                    group.cancel("no more work");
                    co_await sleep(1h);
                });
            });
        });
        BOOST_TEST(child.exit_code == (taken_back ? 0 : 128 + SIGTERM));
        BOOST_TEST(child.errors == "");
    }
}

// rule 709
BOOST_AUTO_TEST_CASE(a_main_task_that_somebody_else_cancelled_too_failed) {
    const auto child = in_child([] {
        runner main;
        const auto ended = main.run([]() -> task<> {
            send_signal(SIGTERM);
            spawn([]() -> task<> { co_await sleep(1ms); });
            (void)co_await as_result(sleep(1h));
            detail::task_core::current()->cancel(cancel_cause::user);
            co_await sleep(1h);
        });
        return main.signal() == 0 && !ended && ended.error() == errc::cancelled ? 0 : 1;
    });
    BOOST_TEST(child.exit_code == 0);
}

// rule 708
BOOST_AUTO_TEST_CASE(the_second_signal_ends_the_program_and_says_who_did_not_leave_and_where) {
    const auto child = in_child([] {
        return run([]() -> task<> {
            spawn(stay).set_name("the one that stays");
            send_signal(SIGTERM);
            (void)co_await as_result(sleep(1h));
            send_signal(SIGINT);
            co_await sleep(1h);
        });
    });
    BOOST_TEST(child.exit_code == 128 + SIGINT);
    BOOST_TEST(contains(child.errors, "ouro: SIGINT: the second signal; still there:"));
    BOOST_TEST(contains(child.errors, "\"the one that stays\""));
    BOOST_TEST(contains(child.errors, "run_test.cpp:"));
    BOOST_TEST(contains(child.errors, "\ntask "));
}

BOOST_AUTO_TEST_CASE(the_end_of_the_grace_ends_the_program_and_says_who_did_not_leave_and_where) {
    const auto main_stays = in_child([] {
        return run({.grace = 20ms}, []() -> task<> {
            send_signal(SIGTERM);
            co_await stay();
        });
    });
    BOOST_TEST(main_stays.exit_code == 128 + SIGTERM);
    BOOST_TEST(contains(main_stays.errors, "ouro: SIGTERM: the time to end is over; still there:"));
    BOOST_TEST(contains(main_stays.errors, "run_test.cpp:"));
    // The grace counts from the signal, also when the main task has left.
    const auto other_stays = in_child([] {
        return run({.grace = 20ms}, []() -> task<int> {
            spawn(stay).set_name("the one that stays");
            send_signal(SIGTERM);
            (void)co_await as_result(sleep(1h));
            co_return 0;
        });
    });
    BOOST_TEST(other_stays.exit_code == 128 + SIGTERM);
    BOOST_TEST(contains(other_stays.errors, "\"the one that stays\""));
}

// rule 699
BOOST_AUTO_TEST_CASE(after_the_main_task_the_others_are_cancelled_and_then_the_loop_is_closed) {
    const auto child = in_child([] {
        auto order = std::make_shared<std::string>();
        const int code = run([order]() -> task<> {
            spawn([order]() -> task<> {
                const auto ended = co_await as_result(sleep(1h));
                co_await sleep(1ms);  // the loop still runs
                *order += ended.error().cause() == cancel_cause::shutdown ? 's' : '?';
                *order += loop::current().is_closed() ? '?' : 'o';
            });
            send_signal(SIGTERM);
            const auto ended = co_await as_result(sleep(1h));
            co_await settle(20);
            *order += 'm';
            co_await result<>(ended.error());
        });
        return *order == "mso" ? code : 99;
    });
    BOOST_TEST(child.exit_code == 128 + SIGTERM);
}

// rule 711
BOOST_AUTO_TEST_CASE(a_signal_that_is_ignored_or_handled_otherwise_is_left_alone) {
    static int seen = 0;
    const auto child = in_child([] {
        std::signal(SIGINT, SIG_IGN);
        std::signal(SIGTERM, [](int) { ++seen; });
        const int code = run([]() -> task<int> {
            ::kill(::getpid(), SIGINT);
            ::kill(::getpid(), SIGTERM);
            co_await sleep(1ms);
            co_return 3;
        });
        if (code != 3 || seen != 1) return 90;
        std::signal(SIGINT, SIG_DFL);
        // In place again, also for what follows a run.
        const int next = run([]() -> task<int> { co_return 4; });
        struct sigaction now{};
        ::sigaction(SIGINT, nullptr, &now);
        return next == 4 && now.sa_handler == SIG_DFL ? 0 : 91;
    });
    BOOST_TEST(child.exit_code == 0);
}

// rule 711
BOOST_AUTO_TEST_CASE(signals_act_as_always_without_the_option_and_outside_the_main_thread) {
    const auto unwanted = in_child([] {
        return run({.signals = false}, []() -> task<> {
            ::kill(::getpid(), SIGTERM);
            co_await sleep(1h);
        });
    });
    BOOST_TEST(unwanted.signal == SIGTERM);
    const auto elsewhere = in_child([] {
        std::thread([] {
            (void)run([]() -> task<> {
                ::kill(::getpid(), SIGTERM);
                co_await sleep(1h);
            });
        }).join();
        return 0;
    });
    BOOST_TEST(elsewhere.signal == SIGTERM);
}

BOOST_AUTO_TEST_CASE(handlers_and_sets_of_the_program_come_before_those_of_run) {
    const auto child = in_child([] {
        int stage = 0;
        const int code = run([&stage]() -> task<> {
            bool told = false;
            co_await add_signal_handler(SIGTERM, [&told] { told = true; });
            send_signal(SIGTERM);
            co_await eventually([&told] { return told; });
            remove_signal_handler(SIGTERM);
            {
                signal_set set{SIGTERM};
                send_signal(SIGTERM);
                (void)co_await set.next();
            }
            stage = 1;
            send_signal(SIGTERM);  // nobody else listens any more
            co_await sleep(1h);
            stage = 2;
        });
        return stage == 1 ? code : 99;
    });
    BOOST_TEST(child.exit_code == 128 + SIGTERM);
    BOOST_TEST(child.errors == "");
}

BOOST_AUTO_TEST_CASE(sigquit_prints_all_tasks_on_demand_and_the_program_goes_on) {
    const auto child = in_child([] {
        return run({.dump_on_sigquit = true}, []() -> task<int> {
            spawn(sleep_an_hour).set_name("sleeper");
            co_await yield();
            for (int i = 0; i < 2; ++i) {
                send_signal(SIGQUIT);
                co_await sleep(1ms);
            }
            co_return 5;
        });
    });
    BOOST_TEST(child.exit_code == 5);
    BOOST_TEST(contains(child.errors, "ouro: SIGQUIT: all tasks:\n"));
    BOOST_TEST(contains(child.errors, "\"sleeper\": waiting in sleep (another "));
    const auto without = in_child([] {
        return run([]() -> task<> {
            ::kill(::getpid(), SIGQUIT);
            co_await sleep(1h);
        });
    });
    BOOST_TEST(without.signal == SIGQUIT);
}

// rule 705
BOOST_AUTO_TEST_CASE(what_one_main_task_sets_the_next_one_sees) {
    static task_local<int> counted{1};
    runner several;
    const auto count = []() -> task<int> {
        counted.set(counted.get() + 1);
        co_return counted.get();
    };
    BOOST_TEST(several.run(count).value() == 2);
    BOOST_TEST(several.run(count).value() == 3);
    BOOST_TEST(counted.get() == 1);  // outside of them nothing has changed
}

// rules 26, 705
BOOST_AUTO_TEST_CASE(a_child_forked_between_two_runs_leaves_the_runner_alone) {
    const auto child = in_child([] {
        runner several;
        const auto nothing = []() -> task<> { co_return; };
        if (!several.run(nothing)) return 50;
        if (const pid_t forked = ::fork(); forked == 0) {
            // Its loop is the parent's: refused, and left alone at the end.
            return several.run(nothing).has_value() ? 51 : 0;
        } else {
            int status = -1;
            ::waitpid(forked, &status, 0);
            return several.run(nothing).has_value() ? status : 52;
        }
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// rule 699
BOOST_AUTO_TEST_CASE(jobs_of_the_default_executor_end_before_the_loop_does) {
    bool ended = false;
    runner one;
    const auto leave_it = [&ended]() -> task<> {
        auto starts = std::make_shared<std::atomic<bool>>(false);
        spawn([starts, &ended]() -> task<> {
            co_await to_thread([starts, &ended] {
                starts->store(true);
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                ended = true;
            });
        });
        while (!starts->load()) co_await yield();
    };
    BOOST_TEST(one.run(leave_it).has_value());
    BOOST_TEST(one.close().has_value());
    BOOST_TEST(ended);
}

// rules 705, 706
BOOST_AUTO_TEST_CASE(a_runner_makes_its_loop_late_and_runs_several_mains_on_it) {
    int made = 0;
    runner several({.make_loop = [&made] {
        ++made;
        return std::make_unique<loop>(options_for(engine::uring));
    }});
    BOOST_TEST(made == 0);
    loop* where = nullptr;
    task_handle<int> left;
    BOOST_TEST(several
                   .run([&]() -> task<int> {
                       where = &loop::current();
                       left = spawn([]() -> task<int> { co_return co_await give_later(3); });
                       co_return 1;
                   })
                   .value() == 1);
    BOOST_TEST(several
                   .run([&]() -> task<int> {
                       BOOST_TEST(&loop::current() == where);
                       co_return co_await left;  // it was only paused
                   })
                   .value() == 3);
    BOOST_TEST(&several.get_loop() == where);
    BOOST_TEST(made == 1);  // rule 713
    BOOST_TEST(several.close().has_value());
    BOOST_TEST(several.close().has_value());
    const auto late = several.run(sleep_an_hour);
    BOOST_TEST((late.error() == errc::invalid_state));
    BOOST_CHECK_THROW((void)several.get_loop(), std::system_error);
    runner unused({.make_loop = [&made]() -> std::unique_ptr<loop> {
        ++made;
        return nullptr;
    }});
    BOOST_TEST(unused.close().has_value());
    BOOST_TEST(made == 1);
}

// rule 703
BOOST_AUTO_TEST_CASE(a_runner_inside_a_running_loop_is_refused_and_cannot_be_closed_by_its_main) {
    runner outer;
    const auto ended = outer.run([&]() -> task<int> {
        const auto again = outer.run(sleep_an_hour);
        BOOST_TEST((again.error() == errc::loop_running));
        runner inner;
        const auto nested = inner.run(sleep_an_hour);
        BOOST_TEST((nested.error() == errc::loop_running));
        BOOST_TEST((outer.close().error() == errc::loop_running));
        co_return 6;
    });
    BOOST_TEST(ended.value() == 6);
}

// The whole of it in virtual time.
BOOST_AUTO_TEST_CASE(a_simulated_program_ends_in_order_when_it_is_told_to) {
    testing::simulation world(loopback(1));
    runner simulated({.grace = 1h, .loop = world.options()});
    const auto ended = simulated.run([&]() -> task<> {
        spawn([]() -> task<> {
            (void)co_await as_result(sleep(24h));
            co_await sleep(59min);
        });
        spawn([&world]() -> task<> {
            co_await sleep(10s);
            world.raise(SIGTERM);
        });
        co_await sleep(24h);
    });
    BOOST_TEST((!ended && ended.error().cause() == cancel_cause::shutdown));
    BOOST_TEST(simulated.signal() == SIGTERM);
    BOOST_TEST(simulated.close().has_value());
    BOOST_TEST((world.elapsed() >= 59min && world.elapsed() < 1h));
    BOOST_TEST(world.open_descriptors() == 0u);
}

BOOST_AUTO_TEST_CASE(stop_gives_a_limit_of_its_own_and_close_tells_who_did_not_leave) {
    testing::simulation world(loopback(1));
    runner simulated({.loop = world.options()});
    std::vector<std::string> reports;
    simulated.get_loop().set_exception_handler(
        [&](loop&, const failure_report& report) { reports.push_back(report.describe()); });
    const auto ended = simulated.run([&]() -> task<> {
        simulated.stop(5s);
        co_await stay();
    });
    BOOST_TEST((ended.error() == errc::stopped_early));
    BOOST_TEST((world.elapsed() >= 5s && world.elapsed() < 6s));
    const auto left = simulated.close();
    BOOST_TEST_REQUIRE(!left.has_value());
    BOOST_TEST((left.error() == std::errc::timed_out));
    BOOST_TEST(contains(left.error().doing(), ": waiting in sleep (another "));
    BOOST_TEST(contains(left.error().doing(), "run_test.cpp:"));
    BOOST_TEST_REQUIRE(reports.size() == 1u);
    BOOST_TEST(contains(reports.at(0), "sleep (another "));
    BOOST_TEST(contains(reports.at(0), "run_test.cpp:"));

    runner quick({.loop = world.options()});
    const auto obeyed = quick.run([&]() -> task<> {
        quick.stop(5s);
        co_await sleep(1h);
    });
    BOOST_TEST((obeyed.error() == errc::cancelled));
    BOOST_TEST(quick.close().has_value());
}

// rule 19
BOOST_AUTO_TEST_CASE(a_loop_is_not_shut_down_while_another_one_runs_in_this_thread) {
    loop inner(options_for(engine::uring));
    const auto left = spawn(inner, sleep_an_hour());
    runner idle;
    BOOST_TEST(idle.run([] { return give_later(1); }).value() == 1);
    runner outer;
    const auto ended = outer.run([&]() -> task<int> {
        BOOST_TEST((shut_down(inner, 1s).error() == errc::loop_running));
        BOOST_TEST((idle.close().error() == errc::loop_running));
        co_return co_await give_later(6);
    });
    BOOST_TEST(ended.value() == 6);
    BOOST_TEST(!left.done());
    BOOST_TEST(shut_down(inner, 1s).has_value());
    BOOST_TEST(idle.close().has_value());
}

BOOST_AUTO_TEST_CASE(a_stop_of_a_runner_that_does_not_run_has_nothing_to_do) {
    runner several;
    several.stop(1s);
    BOOST_TEST(several.run(give_later, 3).value() == 3);
    BOOST_TEST(several.close().has_value());
    several.stop(1s);
}

BOOST_AUTO_TEST_CASE(a_loop_of_your_own_is_shut_down_with_a_limit_and_a_report) {
    testing::simulation world(loopback(1));
    for (const bool obeys : {true, false}) {
        loop home(world.options());
        home.set_exception_handler([](loop&, const failure_report&) {});
        spawn(home, obeys ? sleep_an_hour() : stay()).set_name("the one");
        home.call_later(1s, [&home] { home.stop(); });
        home.run_forever();
        const auto before = home.time();
        const auto left = shut_down(home, 3s);
        BOOST_TEST(left.has_value() == obeys);
        BOOST_TEST((home.time() - before >= 3s) != obeys);
        if (!obeys) BOOST_TEST(contains(left.error().doing(), "\"the one\""));
        BOOST_TEST(home.is_closed());
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
