// Handlers and sets of signals, on a loop.
#include <ouro/runtime/signals.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <ouro/testing/injection.hpp>

#include "async_test.hpp"
#include "send_signal.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// Takes the handler of a test away when its body ends, however it does.
class removed_at_the_end {
  public:
    explicit removed_at_the_end(int signum) : signum_(signum) {}
    ~removed_at_the_end() {
        if (loop::try_current()) remove_signal_handler(signum_);
    }
    removed_at_the_end(const removed_at_the_end&) = delete;
    removed_at_the_end& operator=(const removed_at_the_end&) = delete;

  private:
    int signum_;
};

using shared_text = std::shared_ptr<std::string>;

callback noting(const shared_text& into, char what) {
    return [into, what] { *into += what; };
}

struct how_it_was {
    struct sigaction action{};
    bool blocked = false;
    friend bool operator==(const how_it_was& left, const how_it_was& right) {
        return left.action.sa_handler == right.action.sa_handler && left.blocked == right.blocked;
    }
};
how_it_was state_of(int signum) {
    how_it_was now;
    sigset_t mask;
    ::sigaction(signum, nullptr, &now.action);
    ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    now.blocked = ::sigismember(&mask, signum) == 1;
    return now;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(signals)

// rule 685
OURO_ASYNC_TEST(a_handler_runs_as_a_callback_of_the_loop) {
    const auto told = std::make_shared<std::string>();
    co_await add_signal_handler(harmless, [told] { *told += loop::try_current() ? 'l' : '?'; });
    const removed_at_the_end own(harmless);
    send_signal(harmless);
    BOOST_TEST(*told == "");  // not in signal context
    co_await eventually([told] { return !told->empty(); });
    send_signal(harmless);
    co_await eventually([told] { return told->size() == 2; });
    BOOST_TEST(*told == "ll");
}

// rule 686
BOOST_AUTO_TEST_CASE(a_signal_wakes_a_loop_that_is_blocked_in_its_poll) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        loop home(options_for(which));
        int told = 0;
        BOOST_REQUIRE(add_signal_handler(home, harmless, [&] {
                          ++told;
                          home.stop();
                      }).has_value());
        std::thread other;
        home.call_soon([&] {
            other = std::thread([] {
                std::this_thread::sleep_for(20ms);  // most often the loop is blocked by then
                ::kill(::getpid(), harmless);
            });
        });
        home.run_forever();
        other.join();
        BOOST_TEST(told == 1);
        BOOST_TEST(remove_signal_handler(home, harmless));
        BOOST_TEST(!remove_signal_handler(home, harmless));
    }
}

// rule 691
OURO_ASYNC_TEST(a_second_handler_takes_the_place_of_the_first) {
    const auto told = std::make_shared<std::string>();
    co_await add_signal_handler(harmless, noting(told, '1'));
    const removed_at_the_end own(harmless);
    co_await add_signal_handler(harmless, noting(told, '2'));
    send_signal(harmless);
    co_await eventually([told] { return !told->empty(); });
    BOOST_TEST(*told == "2");
    BOOST_TEST(remove_signal_handler(harmless));
    BOOST_TEST(!remove_signal_handler(harmless));
}

// rules 688, 689
OURO_ASYNC_TEST(what_cannot_be_caught_is_a_value_error_that_says_why) {
    struct refusal {
        int signum;
        const char* why;
    };
    constexpr refusal refusals[] = {
        {SIGKILL, "catch SIGKILL, which cannot be caught"},
        {SIGSTOP, "catch SIGSTOP, which cannot be caught"},
        {SIGSEGV, "catch SIGSEGV, which tells of a fault of the program itself"},
        {SIGFPE, "catch SIGFPE, which tells of a fault of the program itself"},
        {0, "catch signal 0: there is none"},
        {-1, "catch signal -1: there is none"},
        {65, "catch signal 65: there is none"},
        {32, "catch signal 32, which the C library keeps for itself"},
    };
    for (const auto& [signum, why] : refusals) {
        const auto refused = add_signal_handler(signum, [] {});
        BOOST_TEST_REQUIRE(!refused.has_value());
        BOOST_TEST((refused.error() == errc::value_error));
        BOOST_TEST(refused.error().doing() == why);
        BOOST_TEST(!remove_signal_handler(signum));
        BOOST_CHECK_THROW(signal_set{signum}, std::system_error);
    }
    const auto empty = add_signal_handler(harmless, callback());
    BOOST_TEST((empty.error() == errc::value_error));
    BOOST_TEST(loop::current().counters().ops == 0u);
    co_return;
}

// rule 694
OURO_ASYNC_TEST(a_handler_may_remove_or_replace_itself) {
    const auto told = std::make_shared<std::string>();
    co_await add_signal_handler(harmless, [told] {
        // What it holds lives until it returns.
        const bool replaced = add_signal_handler(harmless, [told] {
                                  const bool removed = remove_signal_handler(harmless);
                                  *told += removed && !remove_signal_handler(harmless) ? '2' : '?';
                              }).has_value();
        *told += replaced ? '1' : '?';
    });
    const removed_at_the_end own(harmless);
    send_signal(harmless);
    co_await eventually([told] { return told->size() == 1; });
    send_signal(harmless);
    co_await eventually([told] { return told->size() == 2; });
    BOOST_TEST(*told == "12");
    co_await eventually([] { return loop::current().counters().ops == 0; });
    BOOST_TEST(loop::current().counters().descriptors == 0u);
}

// rule 694
OURO_ASYNC_TEST(a_handler_may_remove_itself_while_other_signals_are_handled) {
    const auto told = std::make_shared<std::string>();
    const removed_at_the_end own(harmless);
    const removed_at_the_end another(also_harmless);
    co_await add_signal_handler(also_harmless, [told] { *told += '2'; });
    co_await add_signal_handler(harmless, [told] {
        *told += '1';
        remove_signal_handler(harmless);
    });
    send_signal(harmless);
    co_await eventually([told] { return told->size() == 1; });
    send_signal(also_harmless);
    co_await eventually([told] { return told->size() == 2; });
    BOOST_TEST(*told == "12");
}

OURO_ASYNC_TEST(handlers_added_again_in_the_turn_of_their_removal_are_told) {
    const auto told = std::make_shared<std::string>();
    const removed_at_the_end own(harmless);
    for (int i = 0; i < 5; ++i) {
        co_await add_signal_handler(harmless, noting(told, 'x'));
        BOOST_TEST(remove_signal_handler(harmless));
    }
    co_await add_signal_handler(harmless, noting(told, 'y'));
    send_signal(harmless);
    co_await eventually([told] { return !told->empty(); });
    BOOST_TEST(*told == "y");
}

OURO_ASYNC_TEST(several_signals_have_a_handler_each) {
    const auto told = std::make_shared<std::string>();
    co_await add_signal_handler(harmless, noting(told, 'w'));
    const removed_at_the_end own(harmless);
    co_await add_signal_handler(also_harmless, noting(told, 'u'));
    const removed_at_the_end other(also_harmless);
    send_signal(also_harmless);
    co_await eventually([told] { return *told == "u"; });
    BOOST_TEST(remove_signal_handler(also_harmless));
    send_signal(also_harmless);  // ignored, as before
    send_signal(harmless);
    co_await eventually([told] { return *told == "uw"; });
}

OURO_ASYNC_TEST(a_handler_that_throws_is_reported_and_stays) {
    const auto told = std::make_shared<std::string>();
    co_await add_signal_handler(harmless, [told] {
        *told += 't';
        throw std::runtime_error("from a handler");
    });
    const removed_at_the_end own(harmless);
    send_signal(harmless);
    co_await eventually([told] { return *told == "t"; });
    send_signal(harmless);
    co_await eventually([told] { return *told == "tt"; });
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 2u);
    BOOST_TEST(reports.at(0).message == "a signal handler threw");
    BOOST_TEST(reports.at(0).subject == "SIGWINCH");
}

// rule 693
BOOST_AUTO_TEST_CASE(a_failed_installation_leaves_no_trace) {
    const how_it_was before = state_of(harmless);
    testing::injection faults({.plan = testing::parse_fault_plan("op_fails@1=EMFILE").value()});
    loop home(faults.options(options_for(engine::uring)));
    const auto failed = add_signal_handler(home, harmless, [] {});
    BOOST_TEST_REQUIRE(!failed.has_value());
    BOOST_TEST((failed.error() == std::errc::too_many_files_open));
    BOOST_TEST(!remove_signal_handler(home, harmless));
    BOOST_TEST(home.counters().describe() == "");
    BOOST_TEST((state_of(harmless) == before));
    // Nor does it take the signals away from another loop.
    loop other(options_for(engine::uring));
    BOOST_TEST(add_signal_handler(other, harmless, [] {}).has_value());
    // And a later failure leaves the earlier handler.
    BOOST_TEST(!add_signal_handler(home, also_harmless, [] {}).has_value());
    BOOST_TEST(remove_signal_handler(other, harmless));
    BOOST_TEST((state_of(harmless) == before));
}

OURO_ASYNC_TEST(a_set_gives_each_signal_once) {
    signal_set both{harmless, also_harmless};
    send_signal(harmless);
    BOOST_TEST(co_await both.next() == harmless);
    send_signal(also_harmless);
    BOOST_TEST(co_await both.next() == also_harmless);
}

OURO_ASYNC_TEST(a_set_keeps_what_comes_between_two_waits) {
    const auto both =
        std::make_shared<signal_set>(std::initializer_list<int>{harmless, also_harmless});
    send_signal(harmless);
    send_signal(also_harmless);
    co_await sleep(1ms);
    co_await settle(20);
    BOOST_TEST(co_await both->next() == also_harmless);  // the lower number
    BOOST_TEST(co_await both->next() == harmless);
    auto waits = spawn([both]() -> task<int> { co_return co_await both->next(); });
    co_await settle();
    BOOST_TEST(!waits.done());
    waits.cancel();
    const auto ended = co_await as_result(waits.join());
    BOOST_TEST((ended.error() == errc::cancelled));
}

OURO_ASYNC_TEST(a_cancelled_wait_loses_no_signal) {
    const auto set = std::make_shared<signal_set>(std::initializer_list<int>{harmless});
    auto first = spawn([set]() -> task<int> { co_return co_await set->next(); });
    co_await settle();
    // Told and cancelled, in whichever order: it is the next one's.
    co_await add_signal_handler(harmless, [first]() mutable { first.cancel(); });
    const removed_at_the_end own(harmless);
    send_signal(harmless);
    const auto ended = co_await as_result(first.join());
    BOOST_TEST((!ended && ended.error() == errc::cancelled));
    BOOST_TEST(co_await set->next() == harmless);
}

OURO_ASYNC_TEST(a_second_waiter_of_a_set_is_refused) {
    const auto set = std::make_shared<signal_set>(std::initializer_list<int>{harmless});
    auto first = spawn([set]() -> task<int> { co_return co_await set->next(); });
    co_await settle();
    const auto second = co_await as_result(set->next());
    BOOST_TEST((!second && second.error() == errc::already_waiting));
    send_signal(harmless);
    BOOST_TEST(co_await first == harmless);
}

OURO_ASYNC_TEST(sets_and_a_handler_of_one_signal_are_all_told) {
    const auto told = std::make_shared<std::string>();
    signal_set one{harmless};
    signal_set other{harmless};
    co_await add_signal_handler(harmless, noting(told, 'h'));
    const removed_at_the_end own(harmless);
    send_signal(harmless);
    BOOST_TEST(co_await one.next() == harmless);
    BOOST_TEST(co_await other.next() == harmless);
    co_await eventually([told] { return *told == "h"; });
}

// rule 695
BOOST_AUTO_TEST_CASE(closing_the_loop_removes_all_handlers) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        const how_it_was before = state_of(harmless), other_before = state_of(also_harmless);
        std::vector<failure_report> reports;
        loop home(options_for(which));
        home.set_exception_handler(
            [&](loop&, const failure_report& report) { reports.push_back(report); });
        BOOST_TEST(add_signal_handler(home, harmless, [] {}).has_value());
        result<int> waited = 0;
        auto waits = [&]() -> task<> {
            signal_set set{also_harmless};
            waited = co_await as_result(set.next());
            waited = co_await as_result(set.next());
        };
        spawn(home, waits());
        home.call_later(1ms, [&] { home.stop(); });
        home.run_forever();
        BOOST_TEST(!(state_of(harmless) == before));
        BOOST_TEST(home.counters().ops == 1u);
        home.close();
        BOOST_TEST((state_of(harmless) == before));
        BOOST_TEST((state_of(also_harmless) == other_before));
        BOOST_TEST(home.counters().describe() == "");
        BOOST_TEST(reports.size() == 0u);
        BOOST_TEST((!waited && waited.error() == errc::loop_closed));
        BOOST_TEST((add_signal_handler(home, harmless, [] {}).error() == errc::loop_closed));
        BOOST_TEST(!remove_signal_handler(home, harmless));
    }
}

// rule 692
BOOST_AUTO_TEST_CASE(removing_restores_action_and_mask_of_before) {
    loop home(options_for(engine::uring));
    const auto add_and_remove = [&] {
        const how_it_was before = state_of(harmless);
        BOOST_TEST(add_signal_handler(home, harmless, [] {}).has_value());
        BOOST_TEST(state_of(harmless).blocked);
        BOOST_TEST(remove_signal_handler(home, harmless));
        BOOST_TEST(!remove_signal_handler(home, harmless));
        BOOST_TEST((state_of(harmless) == before));
    };
    add_and_remove();
    std::signal(harmless, SIG_IGN);
    add_and_remove();
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, harmless);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    add_and_remove();
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    std::signal(harmless, SIG_DFL);
    // An action that somebody set meanwhile is left alone.
    BOOST_TEST(add_signal_handler(home, harmless, [] {}).has_value());
    std::signal(harmless, SIG_IGN);
    BOOST_TEST(remove_signal_handler(home, harmless));
    BOOST_TEST((state_of(harmless).action.sa_handler == SIG_IGN));
    std::signal(harmless, SIG_DFL);
}

// rule 687
BOOST_AUTO_TEST_CASE(one_loop_of_a_process_has_the_signals_and_other_threads_are_refused) {
    loop home(options_for(engine::uring));
    loop other(options_for(engine::uring));
    BOOST_TEST(add_signal_handler(home, harmless, [] {}).has_value());
    const auto refused = add_signal_handler(other, also_harmless, [] {});
    BOOST_TEST((refused.error() == errc::wrong_loop));
    BOOST_TEST(refused.error().doing() == "catch a signal while another loop has the signals");
    std::thread([&] {
        const auto elsewhere = add_signal_handler(home, also_harmless, [] {});
        BOOST_TEST((elsewhere.error() == errc::wrong_thread));
        auto nothing = []() -> task<> { co_return; };
        BOOST_TEST((home.run_until_complete(nothing()).error() == errc::wrong_thread));
    }).join();
    BOOST_TEST(remove_signal_handler(home, harmless));
    BOOST_TEST(add_signal_handler(other, also_harmless, [] {}).has_value());
    BOOST_TEST((add_signal_handler(home, harmless, [] {}).error() == errc::wrong_loop));
    other.close();
    BOOST_TEST(add_signal_handler(home, harmless, [] {}).has_value());
}

BOOST_AUTO_TEST_CASE(signals_have_names) {
    BOOST_TEST(signal_name(SIGTERM) == "SIGTERM");
    BOOST_TEST(signal_name(SIGRTMAX) == "signal 64");
    BOOST_TEST(signal_name(-3) == "signal -3");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
