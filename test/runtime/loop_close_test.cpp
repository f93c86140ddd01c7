// The end of a loop: nothing left in the kernel, every frame destroyed, what was forgotten named.
#include <ouro/runtime/loop.hpp>

#include <boost/test/unit_test.hpp>
#include <netinet/in.h>
#include <poll.h>

#include <memory>
#include <string>
#include <vector>

#include <ouro/runtime/event.hpp>
#include <ouro/runtime/run.hpp>
#include <ouro/runtime/thread_pool.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"
#include "child_process.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

struct reporting_loop {
    reporting_loop() {
        home->set_exception_handler(
            [this](loop&, const failure_report& report) { seen.push_back(report); });
    }
    void turns(int count = 1) {
        for (int i = 0; i < count; ++i) {
            home->stop();
            home->run_forever();
        }
    }
    std::vector<failure_report> seen;
    std::unique_ptr<loop> home = std::make_unique<loop>(options_for(engine::uring));
};

template <class Call>
bool refused_as_closed(Call&& call) {
    try {
        call();
    } catch (const std::system_error& thrown) {
        return thrown.code() == errc::loop_closed;
    }
    return false;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(closing, reporting_loop)

// rule 21
BOOST_AUTO_TEST_CASE(closing_drops_callbacks_and_timers_unrun_and_may_be_repeated) {
    auto token = std::make_shared<int>();
    bool ran = false;
    auto queued = home->call_soon([token, &ran] { ran = true; });
    auto timed = home->call_later(1h, [token, &ran] { ran = true; });
    home->close();
    BOOST_TEST(home->is_closed());
    BOOST_TEST(token.use_count() == 1);
    home->close();
    BOOST_TEST(home->counters().calls == 0U);
    BOOST_TEST(home->counters().timers == 0U);
    BOOST_TEST(!ran);
    BOOST_TEST(seen.empty());
    queued.cancel();
    timed.cancel();
    home.reset();
    queued.cancel();
    BOOST_TEST(timed.cancelled());
}

BOOST_AUTO_TEST_CASE(a_loop_closes_without_memory) {
    const auto child = in_child([] {  // which ends if anything throws where nothing may
        for (const bool in_order : {false, true}) {
            loop home(options_for(engine::uring));
            home.set_exception_handler([](loop&, const failure_report&) {});
            event never;
            home.call_later(1h, [] {});
            home.call_soon([] {});
            const auto sleeps = spawn(home, []() -> task<> { co_await sleep(1h); }());
            const auto waits = spawn(home, [](event& on) -> task<> {
                const timeout limit(1h);
                co_await on.wait();
            }(never));
            const auto stays = spawn(home, []() -> task<> {
                for (int i = 0; i < 3; ++i) (void)co_await as_result(sleep(1h));
            }());
            const auto works = spawn(home, []() -> task<> { co_await to_thread([] {}); }());
            (void)home.run_until_complete(works);
            testing::allocation_faults::arm(1, true);
            if (in_order) (void)shut_down(home, 1s);
            home.close();
            testing::allocation_faults::disarm();
            if (!sleeps.cancelled() || !waits.cancelled() || !stays.done()) return 50;
        }
        return 0;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// rule 21
BOOST_AUTO_TEST_CASE(what_dropped_callbacks_schedule_as_they_die_does_not_run_either) {
    struct scheduler {
        ~scheduler() { then(); }
        function<void()> then;
    };
    spawn(*home, []() -> task<> {  // the loop turns for as long as it takes to end
        for (int i = 0; i < 3; ++i) (void)co_await as_result(sleep(1ms));
    }());
    turns();
    int ran = 0;
    const auto after = [](auto schedule) {
        return [owned = std::make_unique<scheduler>(std::move(schedule))] {};
    };
    home->call_later(1h, after([&] { home->call_soon([&] { ++ran; }); }));
    home->call_soon(after([&] { home->call_later(1us, [&] { ++ran; }); }));
    home->call_soon(after([&] { home->get_handle().post([&] { ++ran; }); }));
    home->close();
    BOOST_TEST(ran == 0);
    BOOST_TEST(home->counters().describe() == "");
}

// rule 22, fault 65
BOOST_AUTO_TEST_CASE(a_closed_loop_refuses_all_work) {
    home->close();
    BOOST_TEST(refused_as_closed([this] { home->call_soon([] {}); }));
    BOOST_TEST(refused_as_closed([this] { home->call_later(1s, [] {}); }));
    BOOST_TEST(refused_as_closed([this] { home->call_at(clock::now(), [] {}); }));
    BOOST_TEST(refused_as_closed([this] { home->run_forever(); }));
    BOOST_TEST(refused_as_closed([this] { spawn(*home, []() -> task<> { co_return; }()); }));
    BOOST_TEST(!home->get_handle().post([] {}));
    BOOST_TEST(home->counters().calls == 0U);
    BOOST_TEST(home->counters().tasks == 0U);
}

// rule 22
BOOST_AUTO_TEST_CASE(a_task_of_a_closed_loop_cannot_be_run_again) {
    auto finished = spawn(*home, []() -> task<int> { co_return 1; }());
    turns();
    home->close();
    BOOST_TEST((home->run_until_complete(finished).error() == errc::loop_closed));
}

// rule 24
BOOST_AUTO_TEST_CASE(a_task_that_a_closed_loop_refuses_is_destroyed_unrun) {
    home->close();
    auto token = std::make_shared<int>();
    bool ran = false;
    auto body = [&ran](std::shared_ptr<int>) -> task<> {
        ran = true;
        co_return;
    };
    BOOST_TEST(refused_as_closed([&] { spawn(*home, body(token)); }));
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(!ran);
    BOOST_TEST(seen.empty());
}

// rule 105
BOOST_AUTO_TEST_CASE(a_task_that_never_started_ends_cancelled_without_running) {
    auto token = std::make_shared<int>();
    bool ran = false;
    auto body = [&ran](std::shared_ptr<int>) -> task<> {
        ran = true;
        co_return;
    };
    auto waiting = spawn(*home, body(token));
    home->close();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST((waiting.failure().cause() == cancel_cause::shutdown));
    BOOST_TEST(token.use_count() == 1);
    BOOST_TEST(!ran);
    BOOST_TEST(seen.empty());
}

BOOST_AUTO_TEST_CASE(waiting_tasks_are_cancelled_and_may_clean_up) {
    std::string order;
    auto sleeps = [&]() -> task<> {
        const auto ended = co_await as_result(sleep(1h));
        order += ended.error().cause() == cancel_cause::shutdown ? 's' : '?';
        co_await settle(10);
        order += 'e';
    };
    spawn(*home, sleeps());
    turns(2);
    home->close();
    BOOST_TEST(order == "se");
    BOOST_TEST(seen.empty());
}

BOOST_AUTO_TEST_CASE(a_task_may_take_a_moment_on_the_clock_to_clean_up) {
    std::string order;
    auto sleeps = [&]() -> task<> {
        (void)co_await as_result(sleep(1h));
        order += 's';
        co_await sleep(1ms);
        order += 'e';
    };
    spawn(*home, sleeps());
    turns(2);
    home->close();
    BOOST_TEST(order == "se");
    BOOST_TEST(seen.empty());
}

// rule 121
BOOST_AUTO_TEST_CASE(a_task_that_does_not_end_is_destroyed_innermost_first_and_reported_once) {
    std::string order;
    struct letter {
        ~letter() { *into += name; }
        std::string* into;
        char name;
    };
    const unsigned line = __LINE__;
    auto inner = [&]() -> task<> {
        letter on_stack{&order, 'i'};
        for (;;) co_await yield();
    };
    auto outer = [&]() -> task<> {
        letter on_stack{&order, 'o'};
        for (;;) (void)co_await as_result(inner());
    };
    auto endless = spawn(*home, outer());
    endless.set_name("endless");
    turns(3);
    home->close();
    BOOST_TEST(order.ends_with("io"));
    BOOST_TEST(endless.done());
    int destroyed = 0;
    for (const auto& report : seen) {
        if (!contains(report.message, "destroyed") || report.subject != "endless") continue;
        ++destroyed;
        const auto trail = report.error.trail();
        BOOST_TEST_REQUIRE(trail.size() == 2U);
        BOOST_TEST(trail[0].line() == line + 3);
        BOOST_TEST(trail[1].line() == line + 7);
        BOOST_TEST(report.created.line() == line + 9);
    }
    BOOST_TEST(destroyed == 1);
    BOOST_TEST(home->counters().tasks == 0U);
}

BOOST_AUTO_TEST_CASE(tasks_that_wait_for_one_that_does_not_end_are_destroyed_too) {
    // Whoever of the two is destroyed first must not leave the other in a queue.
    for (const bool joiner_first : {false, true}) {
        auto tested = std::make_unique<loop>(options_for(engine::uring));
        tested->set_exception_handler([](loop&, const failure_report&) {});
        auto target = std::make_shared<task_handle<>>();
        auto joins = [target]() -> task<> {
            while (!*target) co_await yield();
            for (;;) (void)co_await as_result(target->join());
        };
        auto endless = []() -> task<> {
            for (;;) (void)co_await as_result(sleep(1h));
        };
        if (joiner_first) spawn(*tested, joins());
        *target = spawn(*tested, endless());
        if (!joiner_first) spawn(*tested, joins());
        for (int i = 0; i < 4; ++i) {
            tested->stop();
            tested->run_forever();
        }
        tested->close();
        BOOST_TEST(tested->counters().tasks == 0U);
        *target = {};
    }
}

BOOST_AUTO_TEST_CASE(tasks_that_wait_for_each_other_in_a_circle_do_not_keep_a_loop_from_closing) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        home.set_exception_handler([](loop&, const failure_report&) {});
        auto circle = std::make_shared<std::vector<task_handle<>>>(2);
        auto joins = [&](std::size_t other) -> task<> { co_await (*circle)[other].join(); };
        (*circle)[0] = spawn(home, joins(1));
        (*circle)[1] = spawn(home, joins(0));
        home.stop();
        home.run_forever();
        home.close();
        return home.counters().tasks == 0 ? 0 : 1;
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// fault 31
BOOST_AUTO_TEST_CASE(operations_in_flight_are_ended_before_the_loop_is_gone) {
    std::vector<std::unique_ptr<loopless_descriptors>> pairs;
    std::vector<std::unique_ptr<noted_op>> ops;
    std::vector<std::array<std::byte, 64>> rooms(500);
    for (std::size_t i = 0; i < rooms.size(); ++i) {
        pairs.push_back(std::make_unique<loopless_descriptors>());
        ops.push_back(std::make_unique<noted_op>());
        i % 2 ? io::recv(*home, *ops[i], pairs[i]->ours, rooms[i])
              : io::recv_ring(*home, *ops[i], pairs[i]->ours);
    }
    turns();
    BOOST_TEST(home->counters().ops == rooms.size());
    home->close();
    BOOST_TEST(home->counters().ops == 0U);
    for (auto& each : ops) BOOST_TEST_REQUIRE(each->terminals == 1);
    BOOST_TEST(seen.empty());
}

// faults 31, 64
BOOST_AUTO_TEST_CASE(a_task_in_the_middle_of_io_ends_and_its_peer_sees_the_end_of_the_stream) {
    loopless_descriptors fds;
    auto receives = [&]() -> task<> {
        auto mine = socket::adopt(*home, ::dup(fds.ours));
        std::array<std::byte, 64> room;
        for (;;) (void)co_await mine.recv_into(room);
    };
    auto accepts = [&]() -> task<> {
        auto listener = co_await socket::open(*home, AF_INET);
        co_await listener.bind(co_await address::parse("127.0.0.1:0"));
        co_await listener.listen();
        (void)co_await listener.accept();
    };
    auto receiving = spawn(*home, receives());
    auto accepting = spawn(*home, accepts());
    turns(3);
    home->close();
    BOOST_TEST(receiving.cancelled());
    BOOST_TEST(accepting.cancelled());
    BOOST_TEST(seen.empty());
    ::shutdown(fds.ours, SHUT_WR);
    char end = 0;
    BOOST_TEST(::recv(fds.theirs, &end, 1, MSG_DONTWAIT) == 0);
}

BOOST_AUTO_TEST_CASE(an_operation_started_while_the_loop_closes_ends_cancelled) {
    loopless_descriptors fds;
    noted_op first, second;
    std::array<std::byte, 8> room;
    first.then = [&](noted_op&) { io::recv(*home, second, fds.ours, room); };
    io::recv(*home, first, fds.ours, room);
    turns();
    home->close();
    BOOST_TEST(last_of(first.results) == -ECANCELED);
    BOOST_TEST(!second.in_flight);
    BOOST_TEST(home->counters().ops == 0U);
}

BOOST_AUTO_TEST_CASE(a_task_cannot_spawn_or_schedule_while_the_loop_closes) {
    int refused = 0;
    auto tries = [&]() -> task<> {
        (void)co_await as_result(sleep(1h));
        refused += refused_as_closed([&] { spawn([]() -> task<> { co_return; }()); });
        refused += refused_as_closed([&] { home->call_soon([] {}); });
        refused += refused_as_closed([&] { home->call_later(1s, [] {}); });
    };
    spawn(*home, tries());
    turns(2);
    home->close();
    BOOST_TEST(refused == 3);
    BOOST_TEST(seen.empty());
}

BOOST_AUTO_TEST_CASE(what_was_forgotten_is_named_in_one_report) {
    const int forgotten = io::socket(*home, AF_INET, SOCK_STREAM, 0).value();
    home->close();
    BOOST_TEST_REQUIRE(seen.size() == 1U);
    BOOST_TEST((seen.at(0).level == severity::warning));
    BOOST_TEST(contains(seen.at(0).message, "1 open descriptor"));
    BOOST_TEST(seen.at(0).subject == "loop close");
    ::close(forgotten);
}

BOOST_AUTO_TEST_CASE(a_loop_that_left_nothing_behind_says_nothing) {
    BOOST_TEST(home->run_until_complete([]() -> task<> { co_await sleep(1us); }()).has_value());
    home.reset();
    BOOST_TEST(seen.empty());
}

BOOST_AUTO_TEST_CASE(a_failure_that_comes_up_while_the_loop_closes_is_reported) {
    auto fails = []() -> task<> {
        (void)co_await as_result(sleep(1h));
        co_await result<>(errc::unsupported);
    };
    spawn(*home, fails());
    turns(2);
    home->close();
    BOOST_TEST_REQUIRE(seen.size() == 1U);
    BOOST_TEST((seen.at(0).error == errc::unsupported));
}

BOOST_AUTO_TEST_CASE(a_failure_that_the_close_has_reported_may_be_read_in_full_afterwards) {
    const auto failed = spawn(
        *home, []() -> task<> { co_await result<>(error(errc::unsupported, "turn the key")); }());
    const promise<> broken(*home);
    const auto refused = broken.get_future();
    broken.set_error(error(errc::unsupported, "open the door"));
    turns();
    home->close();
    BOOST_TEST_REQUIRE(seen.size() == 2U);
    BOOST_TEST(seen.at(0).error.doing() == "turn the key");
    BOOST_TEST(seen.at(1).error.doing() == "open the door");
    BOOST_TEST(failed.failure().doing() == "turn the key");
    BOOST_TEST(failed.failure().trail().size() == 1U);
    BOOST_TEST(refused.failure().doing() == "open the door");
}

BOOST_AUTO_TEST_CASE(many_loops_are_made_and_closed_without_losing_descriptors) {
    const auto lowest_free = [] {
        const int fd = ::dup(0);
        ::close(fd);
        return fd;
    };
    const int before = lowest_free();
    for (int i = 0; i < 50; ++i) {
        loop made(options_for(i % 2 ? engine::uring : engine::plain_uring));
        BOOST_TEST_REQUIRE(
            made.run_until_complete([]() -> task<> { co_await yield(); }()).has_value());
    }
    BOOST_TEST(lowest_free() == before);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
