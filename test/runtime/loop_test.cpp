// The loop: order of what runs, runs and stops, what is refused.
#include <ouro/runtime/loop.hpp>

#include <boost/test/unit_test.hpp>
#include <fcntl.h>
#include <poll.h>

#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

struct plain_loop {
    loop home{options_for(engine::uring)};
    std::string order;
    callback note(char what) {
        return [this, what] { order += what; };
    }
};

/// True when `call` throws a `std::system_error` with `code`.
template <class Call>
bool refused_with(errc code, Call&& call) {
    try {
        call();
    } catch (const std::system_error& thrown) {
        return thrown.code() == code;
    }
    return false;
}

task<int> give(int value) { co_return value; }
task<> fail_with(errc why) { co_await result<>(why); }
task<> note_later(std::string& into, char what, int turns) {
    for (int i = 0; i < turns; ++i) co_await yield();
    into += what;
}

/// Posts itself again and again while `on`.
void spin(loop& home, const std::shared_ptr<bool>& on) {
    if (*on) home.call_soon([&home, on] { spin(home, on); });
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(loops, plain_loop)

// rule 1
BOOST_AUTO_TEST_CASE(callbacks_run_in_the_order_of_the_calls) {
    for (char what = 'a'; what <= 'z'; ++what) home.call_soon(note(what));
    home.call_soon([this] { home.stop(); });
    home.run_forever();
    BOOST_TEST(order == "abcdefghijklmnopqrstuvwxyz");
}

// rule 2
BOOST_AUTO_TEST_CASE(a_callback_never_runs_inside_the_call_that_queues_it) {
    home.call_soon(note('a'));
    BOOST_TEST(order.empty());
    home.call_soon([this] {
        home.call_soon(note('b'));
        BOOST_TEST(order == "a");
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(order == "a");
}

// rule 3
BOOST_AUTO_TEST_CASE(what_a_callback_queues_runs_in_the_next_turn) {
    std::uint64_t first = 0, second = 0;
    home.call_soon([&] {
        first = home.statistics().turns;
        home.call_soon([&] {
            second = home.statistics().turns;
            home.stop();
        });
    });
    home.call_soon([&] { BOOST_TEST(home.statistics().turns == first); });
    home.run_forever();
    BOOST_TEST(second == first + 1);
}

// rule 4
BOOST_AUTO_TEST_CASE(a_turn_runs_queued_callbacks_then_completions_then_timers) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        loop tested(options_for(which));
        std::string seen;
        loopless_descriptors fds;
        noted_op ready;
        ready.then = [&](noted_op&) { seen += 'c'; };
        io::poll(tested, ready, fds.ours, POLLOUT);
        tested.call_at(clock::time_point::min(), [&] { seen += 't'; });
        tested.call_soon([&] { seen += 'q'; });
        tested.stop();
        tested.run_forever();
        BOOST_TEST(seen == "qct");
    }
}

// rules 5, 40
BOOST_AUTO_TEST_CASE(a_loop_with_nothing_ready_sleeps_until_the_earliest_timer) {
    auto far = home.call_later(std::chrono::hours(1), note('f'));
    auto cancelled = home.call_later(std::chrono::microseconds(100), note('c'));
    home.call_later(std::chrono::milliseconds(3), [this] { home.stop(); });
    cancelled.cancel();
    const auto before = home.statistics();
    home.run_forever();
    const auto after = home.statistics();
    BOOST_TEST(after.turns - before.turns <= 3U);
    BOOST_TEST(order.empty());
    far.cancel();
}

// rule 5
BOOST_AUTO_TEST_CASE(a_loop_does_not_sleep_while_something_is_ready_or_a_stop_is_requested) {
    int left = 1000;
    function<void()> again = [&] {
        if (--left == 0) return home.stop();
        home.call_soon([&] { again(); });
    };
    home.call_soon([&] { again(); });
    home.run_forever();  // hangs if a turn waits: nothing else ever happens
    BOOST_TEST(left == 0);
    home.stop();
    home.run_forever();
}

// rule 6
BOOST_AUTO_TEST_CASE(a_callback_cancelled_before_its_turn_does_not_run) {
    home.call_soon(note('a'));
    auto gone = home.call_soon(note('b'));
    handle later;
    home.call_soon([&] { later.cancel(); });
    later = home.call_soon(note('c'));
    gone.cancel();
    home.stop();
    home.run_forever();
    BOOST_TEST(order == "a");
    BOOST_TEST(home.counters().calls == 0U);
}

// rule 7
BOOST_AUTO_TEST_CASE(cancelling_destroys_the_callback_at_once) {
    auto token = std::make_shared<int>(1);
    auto queued = home.call_soon([token] {});
    auto timed = home.call_later(std::chrono::hours(1), [token] {});
    BOOST_TEST(token.use_count() == 3);
    queued.cancel();
    BOOST_TEST(token.use_count() == 2);
    timed.cancel();
    BOOST_TEST(token.use_count() == 1);
    queued.cancel();
    BOOST_TEST(queued.cancelled());
    BOOST_TEST(timed.cancelled());
}

// rules 7, 8
BOOST_AUTO_TEST_CASE(a_callback_that_ran_is_destroyed_and_its_handle_is_not_cancelled) {
    auto token = std::make_shared<int>(1);
    auto queued = home.call_soon([token] {});
    home.stop();
    home.run_forever();
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(!queued.cancelled());
    queued.cancel();
    BOOST_TEST(!queued.cancelled());
}

BOOST_AUTO_TEST_CASE(handles_are_copied_moved_and_dropped_without_any_effect) {
    handle empty;
    empty.cancel();
    BOOST_TEST(!empty.cancelled());
    handle first = home.call_soon(note('a'));
    handle copy = first;
    first = std::move(copy);
    copy = first;
    handle& same = copy;
    copy = same;
    home.call_soon(note('b'));
    home.stop();
    home.run_forever();
    BOOST_TEST(order == "ab");
    BOOST_TEST(!copy.cancelled());
}

BOOST_AUTO_TEST_CASE(a_callback_may_cancel_its_own_handle) {
    handle own;
    own = home.call_soon([&] {
        own.cancel();
        order += 'x';
    });
    home.stop();
    home.run_forever();
    BOOST_TEST(order == "x");
    BOOST_TEST(!own.cancelled());
}

// rules 11, 13
BOOST_AUTO_TEST_CASE(a_stop_lets_the_turn_end_and_keeps_what_was_queued_for_the_next_run) {
    loopless_descriptors fds;
    noted_op ready;
    io::poll(home, ready, fds.ours, POLLOUT);
    home.call_soon([this] {
        home.stop();
        order += 'a';
        home.call_soon(note('c'));
    });
    home.call_soon(note('b'));
    home.run_forever();
    BOOST_TEST(order == "ab");
    home.stop();
    home.run_forever();
    BOOST_TEST(order == "abc");
    BOOST_TEST(ready.terminals == 1);
}

// rule 12
BOOST_AUTO_TEST_CASE(a_stop_before_the_run_makes_exactly_one_turn) {
    home.call_soon([this] {
        order += 'a';
        home.call_soon(note('b'));
    });
    const auto before = home.statistics().turns;
    home.stop();
    home.run_forever();
    BOOST_TEST(home.statistics().turns == before + 1);
    BOOST_TEST(order == "a");
    home.stop();
    home.run_forever();
    BOOST_TEST(order == "ab");
}

BOOST_AUTO_TEST_CASE(run_until_complete_gives_the_value_or_the_error) {
    const auto value = home.run_until_complete(give(7));
    BOOST_TEST(value.value() == 7);
    const auto failed = home.run_until_complete(fail_with(errc::unsupported));
    BOOST_TEST((failed.error() == errc::unsupported));
    auto thrower = []() -> task<> {
        throw std::runtime_error("thrown");
        co_return;
    };
    BOOST_CHECK_THROW((void)home.run_until_complete(thrower()), std::runtime_error);
    BOOST_TEST(!home.is_running());
    BOOST_TEST(home.run_until_complete(give(8)).value() == 8);
}

// rules 14, 17
BOOST_AUTO_TEST_CASE(a_stop_before_the_task_is_done_is_an_error_and_the_task_goes_on_later) {
    auto main = spawn(home, note_later(order, 'm', 3));
    home.call_soon([this] { home.stop(); });
    const auto first = home.run_until_complete(main);
    BOOST_TEST((first.error() == errc::stopped_early));
    BOOST_TEST(!main.done());
    BOOST_TEST(order.empty());
    // The first run left nothing behind that would stop this one when `main` is done.
    const auto longer = home.run_until_complete(note_later(order, 'l', 10));
    BOOST_TEST(longer.has_value());
    BOOST_TEST(order == "ml");
    BOOST_TEST(main.done());
    BOOST_TEST(home.run_until_complete(main).has_value());
}

// rule 18
BOOST_AUTO_TEST_CASE(a_task_that_throws_leaves_no_stop_behind) {
    auto thrower = []() -> task<> {
        co_await yield();
        throw 42;
    };
    BOOST_CHECK_THROW((void)home.run_until_complete(thrower()), int);
    BOOST_TEST(home.run_until_complete(note_later(order, 'x', 5)).has_value());
    BOOST_TEST(order == "x");
}

// rule 15
BOOST_AUTO_TEST_CASE(a_task_of_another_loop_is_refused) {
    loop other(options_for(engine::uring));
    auto foreign = spawn(other, give(1));
    const auto ran = home.run_until_complete(foreign);
    BOOST_TEST((ran.error() == errc::value_error));
    BOOST_TEST(!foreign.done());
    BOOST_TEST(other.run_until_complete(foreign).value() == 1);
}

template <class Main>
concept can_be_run = requires(loop& on, Main main) { on.run_until_complete(std::move(main)); };

// rule 16
BOOST_AUTO_TEST_CASE(only_tasks_and_their_handles_can_be_run) {
    static_assert(can_be_run<task<int>>);
    static_assert(can_be_run<task_handle<int>>);
    static_assert(!can_be_run<int>);
    static_assert(!can_be_run<callback>);
    BOOST_TEST(home.run_until_complete(give(3)).value() == 3);
}

// rule 19, fault 65
BOOST_AUTO_TEST_CASE(a_loop_that_runs_cannot_be_run_again_nor_another_one_in_its_thread) {
    loop other(options_for(engine::plain_uring));
    bool inner_ran = false;
    auto inner = [&]() -> task<> {
        inner_ran = true;
        co_return;
    };
    home.call_soon([&] {
        BOOST_TEST(refused_with(errc::loop_running, [&] { home.run_forever(); }));
        BOOST_TEST(refused_with(errc::loop_running, [&] { other.run_forever(); }));
        BOOST_TEST((home.run_until_complete(inner()).error() == errc::loop_running));
        BOOST_TEST((other.run_until_complete(inner()).error() == errc::loop_running));
        BOOST_TEST(home.is_running());
        BOOST_TEST(!other.is_running());
        home.call_soon([this] { home.stop(); });
    });
    home.run_forever();
    home.stop();
    home.run_forever();
    other.stop();
    other.run_forever();
    BOOST_TEST(!inner_ran);  // what was refused must not run behind one's back
    BOOST_TEST(home.counters().tasks == 0U);
    BOOST_TEST(other.counters().tasks == 0U);
}

// rule 20
BOOST_AUTO_TEST_CASE(closing_a_running_loop_is_refused_and_it_goes_on) {
    home.call_soon([this] {
        BOOST_TEST(refused_with(errc::loop_running, [this] { home.close(); }));
        home.call_soon([this] {
            order += 'x';
            home.stop();
        });
    });
    home.run_forever();
    BOOST_TEST(order == "x");
    BOOST_TEST(!home.is_closed());
}

// rule 25
BOOST_AUTO_TEST_CASE(the_running_loop_is_known_in_its_thread_for_as_long_as_it_runs) {
    BOOST_TEST(!loop::try_current());
    home.call_soon([this] {
        BOOST_TEST(loop::try_current() == &home);
        BOOST_TEST(&loop::current() == &home);
        std::thread([] { BOOST_TEST(!loop::try_current()); }).join();
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(!loop::try_current());
    BOOST_CHECK_THROW((void)home.run_until_complete([]() -> task<> {
        throw 1;
        co_return;
    }()),
                      int);
    BOOST_TEST(!loop::try_current());
    (void)home.run_until_complete(fail_with(errc::unsupported));
    BOOST_TEST(!loop::try_current());
}

// rule 124
BOOST_AUTO_TEST_CASE(asking_for_the_running_loop_where_none_runs_is_a_mistake) {
    const auto child = in_child([] {
        (void)loop::current();
        return 0;
    });
    BOOST_TEST(child.signal == SIGABRT);
    BOOST_TEST(contains(child.errors, "no loop runs in this thread"));
}

// rule 25
BOOST_AUTO_TEST_CASE(loops_of_different_threads_do_not_see_each_other) {
    loop other(options_for(engine::plain_uring));
    home.call_soon([&] {
        std::thread([&] {
            other.call_soon([&] {
                BOOST_TEST(loop::try_current() == &other);
                other.stop();
            });
            other.run_forever();
        }).join();
        BOOST_TEST(loop::try_current() == &home);
        home.stop();
    });
    home.run_forever();
}

// rule 29
BOOST_AUTO_TEST_CASE(the_standard_descriptors_keep_their_flags) {
    int before[3];
    for (int fd = 0; fd < 3; ++fd) before[fd] = ::fcntl(fd, F_GETFD);
    {
        loop made(options_for(engine::uring));
        BOOST_TEST(made.run_until_complete(give(1)).value() == 1);
        for (int fd = 0; fd < 3; ++fd) BOOST_TEST(::fcntl(fd, F_GETFD) == before[fd]);
    }
    for (int fd = 0; fd < 3; ++fd) BOOST_TEST(::fcntl(fd, F_GETFD) == before[fd]);
}

// rule 78
BOOST_AUTO_TEST_CASE(an_empty_callback_is_refused) {
    BOOST_TEST(refused_with(errc::value_error, [this] { home.call_soon(callback()); }));
    BOOST_TEST(refused_with(errc::value_error, [this] { home.call_at(clock::now(), callback()); }));
    BOOST_TEST(home.counters().calls == 0U);
}

// faults 27, 67
OURO_ASYNC_TEST(a_callback_that_posts_itself_for_ever_leaves_room_for_io_and_timers) {
    loop& home = loop::current();
    const auto spinning = std::make_shared<bool>(true);
    spin(home, spinning);
    descriptors fds(home);
    for (int i = 0; i < 20; ++i) {
        noted_op receive;
        io::recv(home, receive, fds.ours, receive.room(8));
        fds.peer_sends("x");
        BOOST_TEST(co_await receive.end() == 1);
    }
    co_await sleep(std::chrono::milliseconds(1));
    *spinning = false;
    co_await settle();
}

BOOST_AUTO_TEST_CASE(the_engine_tells_what_it_is) {
    BOOST_TEST(home.engine_report().starts_with("io_uring, 64 + 256 entries"));
    loop plain(options_for(engine::plain_uring));
    BOOST_TEST(plain.engine_report() != home.engine_report());
    for (const char* feature : {"deferred task work", "single issuer", "no iowait", "fast send"}) {
        BOOST_TEST(plain.engine_report().find(feature) == std::string::npos);
    }
}

BOOST_AUTO_TEST_CASE(an_idle_loop_counts_nothing) {
    const loop_counters idle = home.counters();
    for (const std::size_t each : {idle.ops, idle.tasks, idle.timers, idle.calls, idle.descriptors,
                                   idle.resources, idle.lent_buffers}) {
        BOOST_TEST(each == 0U);
    }
    home.call_soon(note('a'));
    home.call_later(std::chrono::hours(1), note('b'));
    auto waiting = spawn(home, give(1));
    BOOST_TEST(home.counters().calls == 2U);
    BOOST_TEST(home.counters().timers == 1U);
    BOOST_TEST(home.counters().tasks == 1U);
    home.stop();
    home.run_forever();
    BOOST_TEST(home.counters().calls == 1U);
    BOOST_TEST(home.counters().tasks == 0U);
}

BOOST_AUTO_TEST_CASE(absurd_sizes_are_made_to_fit) {
    loop_options huge;
    huge.sq_entries = 1'000'000;
    huge.cq_entries = 1'000'000'000;
    huge.ring_buffer_count = 2;
    loop clamped(huge);
    BOOST_TEST(clamped.run_until_complete(give(5)).value() == 5);
    loop_options odd = options_for(engine::uring);
    odd.sq_entries = 3;
    odd.cq_entries = 1;
    loop rounded(odd);
    BOOST_TEST(rounded.run_until_complete(give(6)).value() == 6);
}

BOOST_AUTO_TEST_CASE(sizes_that_make_no_ring_are_refused_with_a_reason_that_is_true) {
    loop_options none = options_for(engine::uring);
    none.sq_entries = 0;
    loop_options odd = options_for(engine::uring);
    odd.ring_buffer_count = 3;
    for (const loop_options& options : {none, odd}) {
        try {
            loop made(options);
            BOOST_TEST(made.run_until_complete(give(5)).value() == 5);
        } catch (const std::system_error& thrown) {
            // The kernel is not to blame.
            BOOST_TEST(std::string(thrown.what()).find("newer") == std::string::npos);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
