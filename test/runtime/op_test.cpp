// The contract of an operation: it ends once, it is the engine's until then, data wins.
#include <ouro/runtime/op.hpp>

#include <boost/test/unit_test.hpp>
#include <poll.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "async_test.hpp"
#include "child_process.hpp"
#include "noted_op.hpp"

namespace ouro::test {
BOOST_AUTO_TEST_SUITE(ops)

OURO_ASYNC_TEST(a_started_op_ends_once_and_is_in_flight_until_then) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    const auto room = receive.room(8);
    BOOST_TEST(!receive.in_flight);
    io::recv(home, receive, fds.ours, room);
    BOOST_TEST(receive.in_flight);
    co_await settle();
    BOOST_TEST(receive.in_flight);
    BOOST_TEST(home.counters().ops == 1U);
    fds.peer_sends("abc");
    BOOST_TEST(co_await receive.end() == 3);
    BOOST_TEST(!receive.in_flight);
    co_await settle();
    BOOST_TEST(receive.terminals == 1);
    BOOST_TEST(as_text(bytes(room).first(3)) == "abc");
}

OURO_ASYNC_TEST(nothing_completes_inside_the_call_that_starts_or_cancels) {
    loop& home = loop::current();
    descriptors fds(home);
    fds.peer_sends("ready");
    noted_op receive, waiting;
    const auto room = receive.room(8);
    io::recv(home, receive, fds.ours, room);
    BOOST_TEST(receive.terminals == 0);
    io::poll(home, waiting, fds.theirs, POLLIN);
    io::cancel(home, waiting);
    BOOST_TEST(waiting.terminals == 0);
    BOOST_TEST(co_await receive.end() == 5);
    BOOST_TEST(co_await waiting.end() == -ECANCELED);
}

// fault 11
OURO_ASYNC_TEST(a_cancelled_op_that_did_nothing_ends_with_ecanceled_and_loses_no_byte) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    const auto room = receive.room(8);
    io::recv(home, receive, fds.ours, room);
    co_await settle();
    io::cancel(home, receive);
    BOOST_TEST(receive.in_flight);
    BOOST_TEST(co_await receive.end() == -ECANCELED);
    fds.peer_sends("xy");
    receive.forget();
    io::recv(home, receive, fds.ours, room);
    BOOST_TEST(co_await receive.end() == 2);
}

// fault 10
OURO_ASYNC_TEST(a_cancel_that_comes_after_the_data_leaves_the_data_to_the_op) {
    loop& home = loop::current();
    descriptors fds(home);
    fds.peer_sends("hello");
    noted_op receive;
    const auto room = receive.room(8);
    io::recv(home, receive, fds.ours, room);
    io::cancel(home, receive);  // in the same batch, behind it
    BOOST_TEST(co_await receive.end() == 5);
    BOOST_TEST(receive.terminals == 1);
}

OURO_ASYNC_TEST(an_op_is_cancelled_before_it_was_handed_over) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    const auto room = receive.room(8);
    io::recv(home, receive, fds.ours, room);
    io::cancel(home, receive);
    io::cancel(home, receive);
    BOOST_TEST(co_await receive.end() == -ECANCELED);
    co_await settle();
    BOOST_TEST(receive.terminals == 1);
}

OURO_ASYNC_TEST(a_cancel_of_an_op_that_has_ended_or_never_started_is_harmless) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    const auto room = receive.room(8);
    io::cancel(home, receive);
    fds.peer_sends("1");
    io::recv(home, receive, fds.ours, room);
    BOOST_TEST(co_await receive.end() == 1);
    io::cancel(home, receive);
    receive.forget();
    io::recv(home, receive, fds.ours, room);
    co_await settle();
    BOOST_TEST(receive.in_flight);  // the old cancel has not hit the new use
    fds.peer_sends("22");
    BOOST_TEST(co_await receive.end() == 2);
}

// fault 16
OURO_ASYNC_TEST(a_cancel_that_is_late_does_not_hit_the_next_use_of_the_same_op) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    const auto room = receive.room(8);
    fds.peer_sends("1");
    bool restarted = false;
    receive.then = [&](noted_op& self) {
        if (!std::exchange(restarted, true)) io::recv(home, self, fds.ours, room);
    };
    io::recv(home, receive, fds.ours, room);
    // The next turn reaps the completion first and then runs this, before it delivers: too late for
    // the first use.
    home.call_soon([&] { io::cancel(home, receive); });
    co_await settle();
    BOOST_TEST(restarted);
    BOOST_TEST(receive.in_flight);
    fds.peer_sends("22");
    while (receive.in_flight) co_await yield();
    BOOST_TEST(receive.results == (std::vector<std::int32_t>{1, 2}),
               boost::test_tools::per_element());
}

OURO_ASYNC_TEST(an_op_may_be_started_again_from_its_own_completion) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    const auto room = receive.room(1);
    std::string all;
    receive.then = [&](noted_op& self) {
        if (self.res == 1) all += static_cast<char>(room[0]);
        if (all.size() < 5) io::recv(home, self, fds.ours, room);
    };
    io::recv(home, receive, fds.ours, room);
    fds.peer_sends("abcde");
    while (all.size() < 5) co_await yield();
    BOOST_TEST(all == "abcde");
    BOOST_TEST(receive.terminals == 5);
}

OURO_ASYNC_TEST(an_op_is_used_many_more_times_than_its_generation_counts) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op ready;
    int left = 70'000;
    ready.then = [&](noted_op& self) {
        self.results.clear();
        if (--left > 0) io::poll(home, self, fds.ours, POLLOUT);
    };
    io::poll(home, ready, fds.ours, POLLOUT);
    while (left > 0) co_await yield();
    BOOST_TEST(ready.terminals == 70'000);
    BOOST_TEST(home.statistics().late_completions == 0U);
}

// fault 59
BOOST_AUTO_TEST_CASE(an_op_that_dies_in_flight_is_a_mistake_that_stops_the_program) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        descriptors fds(home);
        op in_flight([](op&) noexcept {});
        io::poll(home, in_flight, fds.ours, POLLIN);
        return 0;
    });
    BOOST_TEST(child.signal == SIGABRT);
    BOOST_TEST(contains(child.errors, "still owned it"));
}

BOOST_AUTO_TEST_CASE(starting_an_op_twice_is_a_mistake_that_stops_the_program) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        descriptors fds(home);
        noted_op waiting;
        io::poll(home, waiting, fds.ours, POLLIN);
        io::poll(home, waiting, fds.ours, POLLIN);
        return 0;
    });
    BOOST_TEST(child.signal == SIGABRT);
    BOOST_TEST(contains(child.errors, "while it was in flight"));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
