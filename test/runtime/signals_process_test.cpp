// Signals and the rest of the process: other threads, forked children, system calls under way.
#include <ouro/runtime/signals.hpp>

#include <boost/test/unit_test.hpp>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "async_test.hpp"
#include "child_process.hpp"
#include "process_signals.hpp"
#include "send_signal.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

bool is_blocked(int signum) {
    sigset_t mask;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return ::sigismember(&mask, signum) == 1;
}
bool is_default(int signum) {
    struct sigaction now{};
    ::sigaction(signum, nullptr, &now);
    return now.sa_handler == SIG_DFL;
}

/// A loop that counts one signal.
struct counting_loop {
    explicit counting_loop(engine which, int number) : home(options_for(which)), signum(number) {
        BOOST_REQUIRE(add_signal_handler(home, signum, [this] {
                          ++told;
                          if (told == awaited) home.stop();
                      }).has_value());
    }
    /// Runs until the handler ran for the `count`th time.
    void run_until(int count) {
        awaited = count;
        if (told < count) home.run_forever();
    }
    /// Runs what is there, and nothing more.
    void run_a_little() {
        home.call_later(5ms, [this] { home.stop(); });
        home.run_forever();
    }

    loop home;
    int signum;
    int told = 0;
    int awaited = -1;
};

/// A thread that was there before anybody blocked a signal. It waits in a system call that
/// ThreadSanitizer knows, which holds handlers back elsewhere.
class open_thread {
  public:
    open_thread() {
        BOOST_REQUIRE(::pipe(ends_) == 0);
        thread_ = std::thread([from = ends_[0]] {
            char byte;
            while (::read(from, &byte, 1) < 0) continue;
        });
    }
    ~open_thread() {
        ::close(ends_[1]);
        thread_.join();
        ::close(ends_[0]);
    }
    open_thread(const open_thread&) = delete;
    open_thread& operator=(const open_thread&) = delete;
    void kill(int signum) { ::pthread_kill(thread_.native_handle(), signum); }

  private:
    int ends_[2] = {-1, -1};
    std::thread thread_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(signals_of_the_process)

BOOST_AUTO_TEST_CASE(a_signal_that_reaches_a_thread_of_before_is_sent_on_to_the_loop) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        const auto child = in_child([which] {
            open_thread other;
            counting_loop counting(which, SIGTERM);
            for (int i = 1; i <= 3; ++i) {
                other.kill(SIGTERM);
                counting.run_until(i);
            }
            // One for the process as a whole, which the kernel gives to the thread that takes it.
            ::kill(::getpid(), SIGTERM);
            counting.run_until(4);
            return counting.told == 4 ? 0 : 1;
        });
        BOOST_TEST(child.signal == 0);
        BOOST_TEST(child.exit_code == 0);
    }
}

BOOST_AUTO_TEST_CASE(a_signal_unblocked_by_somebody_in_the_loops_thread_reaches_the_loop_too) {
    const auto child = in_child([] {
        counting_loop counting(engine::uring, SIGTERM);
        sigset_t set;
        ::sigemptyset(&set);
        ::sigaddset(&set, SIGTERM);
        ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
        ::kill(::getpid(), SIGTERM);
        counting.run_until(1);
        return is_blocked(SIGTERM) ? 0 : 1;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

BOOST_AUTO_TEST_CASE(when_the_thread_of_the_loop_is_gone_signals_act_as_before) {
    const auto child = in_child([] {
        std::thread([] { new counting_loop(engine::uring, SIGTERM); }).join();
        ::kill(::getpid(), SIGTERM);
        for (;;) ::pause();
        return 0;
    });
    BOOST_TEST(child.signal == SIGTERM);
}

// rule 27
BOOST_AUTO_TEST_CASE(a_signal_of_a_forked_child_does_not_reach_the_loop_of_its_parent) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        counting_loop counting(which, harmless);
        const auto child = in_child([] {
            if (is_blocked(harmless) || !is_default(harmless)) return 1;
            ::kill(::getpid(), harmless);
            return 0;
        });
        BOOST_TEST(child.exit_code == 0);
        counting.run_a_little();
        BOOST_TEST(counting.told == 0);
        send_signal(harmless);
        counting.run_until(1);
    }
}

// rule 27
BOOST_AUTO_TEST_CASE(a_forked_child_dies_of_a_signal_that_its_parent_handles) {
    const auto child = in_child([] {
        counting_loop counting(engine::uring, SIGTERM);
        const auto grandchild = [](auto&& make) {
            child_outcome outcome;
            make([&] {
                outcome = in_child([] {
                    ::kill(::getpid(), SIGTERM);
                    return 0;
                });
            });
            return outcome.signal;
        };
        if (grandchild([](auto&& fork_now) { fork_now(); }) != SIGTERM) return 1;
        // From a thread that is not the loop's: it has a mask of its own.
        sigset_t none, before;
        ::sigemptyset(&none);
        const int other = grandchild([&](auto&& fork_now) {
            std::thread([&] {
                ::pthread_sigmask(SIG_SETMASK, &none, &before);
                fork_now();
            }).join();
        });
        if (other != SIGTERM) return 2;
        counting.run_a_little();
        return counting.told == 0 ? 0 : 3;
    });
    BOOST_TEST(child.exit_code == 0);
}

// rule 27
BOOST_AUTO_TEST_CASE(a_forked_child_may_handle_signals_with_a_loop_of_its_own) {
    const auto child = in_child([] {
        counting_loop of_the_parent(engine::uring, SIGTERM);
        const auto grandchild = in_child([&] {
            counting_loop own(engine::uring, SIGTERM);
            ::kill(::getpid(), SIGTERM);
            own.run_until(1);
            const auto refused = add_signal_handler(of_the_parent.home, SIGHUP, [] {});
            if (refused || refused.error() != errc::invalid_state) return 2;
            return of_the_parent.told == 0 ? 0 : 1;
        });
        return grandchild.exit_code;
    });
    BOOST_TEST(child.exit_code == 0);
}

// rule 696
BOOST_AUTO_TEST_CASE(a_system_call_of_another_thread_goes_on_after_the_signal) {
    const auto child = in_child([] {
        int ends[2];
        if (::pipe(ends) != 0) return 90;
        std::atomic<pthread_t> reader{};
        std::atomic<ssize_t> got{-2};
        std::thread other([&] {
            char byte;
            reader = ::pthread_self();
            got = ::read(ends[0], &byte, 1);
        });
        counting_loop counting(engine::uring, SIGTERM);
        while (!reader) std::this_thread::yield();
        std::this_thread::sleep_for(10ms);  // most often it is inside read(2) by then
        ::pthread_kill(reader, SIGTERM);
        counting.run_until(1);
        if (::write(ends[1], "x", 1) != 1) return 91;
        other.join();
        return got == 1 ? 0 : 1;
    });
    BOOST_TEST(child.exit_code == 0);
}

BOOST_AUTO_TEST_CASE(a_thread_of_the_librarys_own_gets_no_signals) {
    bool all = false;
    {
        const detail::signals_blocked quiet;
        std::thread([&] {
            all = is_blocked(SIGTERM) && is_blocked(SIGINT) && is_blocked(harmless);
        }).join();
    }
    BOOST_TEST(all);
    BOOST_TEST(!is_blocked(harmless));
}

BOOST_AUTO_TEST_CASE(a_signal_between_two_runs_is_kept_for_the_next) {
    const auto child = in_child([] {
        counting_loop counting(engine::uring, SIGTERM);
        counting.run_a_little();
        ::kill(::getpid(), SIGTERM);
        if (counting.told != 0) return 1;
        counting.run_until(1);
        return 0;
    });
    BOOST_TEST(child.exit_code == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
