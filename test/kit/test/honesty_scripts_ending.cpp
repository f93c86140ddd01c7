// Honesty: half-close, close, reset, and what descriptors mean meanwhile.
#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

constexpr std::uint32_t all_events = POLLIN | POLLOUT | POLLRDHUP;

/// Leaves a receive in flight whose descriptor is closed, and the other end, to the next loop.
task<> close_the_loop_around_a_receive(loop& home, transcript& notes, stream_kind kind) {
    const connected pair = co_await connect_pair(home, kind);
    auto receive = std::make_shared<running>();
    start_recv(home, *receive, pair.ours, 8);
    co_await quiet();
    io::close(home, pair.ours);
    io::disown(home, pair.theirs);
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
    notes.kept = receive;
    notes.kept_descriptors = {pair.theirs};
}

task<> see_what_the_closed_loop_left(loop& home, transcript& notes) {
    const auto& receive = *static_cast<running*>(notes.kept.get());
    notes.say("in flight after the loop was closed", receive.in_flight);
    notes.say("it ended with", receive.results.empty() ? std::string("nothing")
                                                       : outcome_of(receive.results.back()));
    const int theirs = notes.kept_descriptors[0];
    io::adopt(home, theirs);
    notes.say("the peer sees", co_await recv_once(home, theirs));
    io::close(home, theirs);
}

/// Leaves an operation of each kind that waits in flight.
task<> close_the_loop_around_everything(loop& home, transcript& notes) {
    auto ops = std::make_shared<std::array<running, 7>>();
    auto& [receive, ring, accept, many, poll, read, connect] = *ops;
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    const listening listener = listen_on_any(home, stream_kind::local, 0);
    const int first = co_await connect_to(home, listener, stream_kind::local);
    const int waits = start_connect(home, connect, listener, stream_kind::local);
    const listening idle = listen_on_any(home, stream_kind::tcp);
    start_recv(home, receive, pair.ours, 8);
    io::recv_ring(home, ring, pair.theirs);
    io::accept(home, accept, idle.fd);
    io::accept_many(home, many, idle.fd);
    io::poll(home, poll, pair.ours, POLLIN);
    read.room.assign(8, ' ');
    io::read(home, read, pair.ours, std::as_writable_bytes(std::span(read.room)));
    co_await quiet();
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
    for (const int fd : {pair.ours, pair.theirs, listener.fd, first, waits, idle.fd}) {
        io::disown(home, fd);
        notes.kept_descriptors.push_back(fd);
    }
    notes.kept = ops;
}

task<> see_that_everything_ended(loop& home, transcript& notes) {
    for (const running& each : *static_cast<std::array<running, 7>*>(notes.kept.get())) {
        notes.say("completions", static_cast<int>(each.results.size()));
        const int ended = each.results.empty() ? 0 : each.results.back();
        notes.say("ended", ended == -EINTR ? -ECANCELED : ended);  // by whichever way it waited
    }
    for (const int fd : notes.kept_descriptors) io::discard(home, fd);
    co_return;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_ending)

// faults 33, 34
HONESTY_OF_STREAMS(a_half_closed_connection_carries_the_other_direction) {
    const connected pair = co_await connect_pair(home, kind);
    send_at_once(home, pair.ours, "request");
    notes.say("half-close", io::shutdown(home, pair.ours, SHUT_WR));
    notes.say("theirs", co_await recv_once(home, pair.theirs));
    notes.say("theirs", co_await recv_once(home, pair.theirs));
    notes.say("answer", co_await send_once(home, pair.theirs, "answer"));
    notes.say("ours", co_await recv_once(home, pair.ours));
    notes.say("half-close", io::shutdown(home, pair.theirs, SHUT_WR));
    notes.say("ours", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

// fault 35
HONESTY_OF_STREAMS(both_ends_may_say_the_end_at_the_same_moment) {
    const connected pair = co_await connect_pair(home, kind);
    running ours, theirs;
    start_recv(home, ours, pair.ours, 8);
    start_recv(home, theirs, pair.theirs, 8);
    co_await quiet();
    notes.say("one", io::shutdown(home, pair.ours, SHUT_WR));
    notes.say("the other", io::shutdown(home, pair.theirs, SHUT_WR));
    notes.say("ours", co_await received(ours));
    notes.say("theirs", co_await received(theirs));
    notes.say("SO_ERROR", outcome_of(io::get_option(home, pair.ours, SOL_SOCKET, SO_ERROR)));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(the_own_shutdown_ends_a_pending_receive) {
    for (const int how : {SHUT_RD, SHUT_RDWR}) {
        const connected pair = co_await connect_pair(home, kind);
        running receive, ring;
        start_recv(home, receive, pair.ours, 8);
        co_await quiet();
        notes.say(how == SHUT_RD ? "read side" : "both sides", io::shutdown(home, pair.ours, how));
        notes.say("the receive", co_await received(receive));
        io::recv_ring(home, ring, pair.ours);
        notes.say("a ring receive after it", co_await ring.end());
        close_both(home, pair);
    }
}

HONESTY_OF_STREAMS(the_own_shutdown_ends_a_pending_ring_receive) {
    const connected pair = co_await connect_pair(home, kind);
    running ring;
    io::recv_ring(home, ring, pair.ours);
    co_await quiet();
    notes.say("shutdown", io::shutdown(home, pair.ours, SHUT_RDWR));
    notes.say("ended", co_await ring.end());
    notes.say("the peer sees", co_await recv_once(home, pair.theirs));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(a_shutdown_needs_a_connection_and_may_come_twice) {
    const int fresh = open_stream(home, kind);
    // A fresh unix socket may be shut down on Linux, a fresh TCP socket may not.
    notes.say("not connected", io::shutdown(home, fresh, SHUT_WR));
    io::close(home, fresh);
    const connected pair = co_await connect_pair(home, kind);
    notes.say("once", io::shutdown(home, pair.ours, SHUT_WR));
    notes.say("twice", io::shutdown(home, pair.ours, SHUT_WR));
    notes.say("a bad way", io::shutdown(home, pair.ours, 17));
    notes.say("a bad descriptor", io::shutdown(home, -1, SHUT_WR));
    close_both(home, pair);
}

HONESTY(a_unix_peer_that_does_not_read_any_more_breaks_the_pipe) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    notes.say("shutdown", io::shutdown(home, pair.theirs, SHUT_RD));
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    notes.say("the other direction", co_await send_once(home, pair.theirs, "y"));
    notes.say("received", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

// fault 32
HONESTY(a_reset_is_told_once_and_then_the_stream_is_at_its_end) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    reset_at_once(home, pair.theirs);
    notes.say("a pending receive", co_await received(receive));
    notes.say("the next", co_await recv_once(home, pair.ours));
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    notes.say("shutdown", io::shutdown(home, pair.ours, SHUT_WR));
    io::close(home, pair.ours);
}

// fault 32
HONESTY(data_that_came_before_the_reset_is_received_first) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    send_at_once(home, pair.theirs, "before");
    co_await quiet();
    reset_at_once(home, pair.theirs);
    co_await quiet();
    for (const char* which : {"first", "second", "third"}) {
        notes.say(which, co_await recv_once(home, pair.ours));
    }
    io::close(home, pair.ours);
}

HONESTY(the_error_option_takes_the_reset) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    reset_at_once(home, pair.theirs);
    co_await quiet();
    const auto so_error = [&] {
        return -outcome_of(io::get_option(home, pair.ours, SOL_SOCKET, SO_ERROR));
    };
    notes.say("SO_ERROR", so_error());
    notes.say("SO_ERROR again", so_error());
    notes.say("receive", co_await recv_once(home, pair.ours));
    notes.say("the peer's name", io::peer_name(home, pair.ours).has_value());
    io::close(home, pair.ours);
}

// fault 32
HONESTY_OF_STREAMS(a_close_with_unread_data_resets_the_peer) {
    const connected pair = co_await connect_pair(home, kind);
    send_at_once(home, pair.theirs, "never read");
    send_at_once(home, pair.ours, "on the way");
    co_await quiet();
    io::close(home, pair.ours);
    co_await quiet();
    for (const char* which : {"first", "second", "third"}) {
        notes.say(which, co_await recv_once(home, pair.theirs));
    }
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(a_close_with_unread_data_ends_the_peers_pending_receive) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.theirs, 8);
    send_at_once(home, pair.theirs, "never read");
    co_await quiet();
    io::close(home, pair.ours);
    notes.say("ended", co_await received(receive));
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(linger_0_makes_a_close_a_reset_of_tcp) {
    const connected pair = co_await connect_pair(home, kind);
    reset_at_once(home, pair.theirs);
    co_await quiet();
    notes.say("received", co_await recv_once(home, pair.ours));
    notes.say("then", co_await recv_once(home, pair.ours));
    io::close(home, pair.ours);
}

// fault 14
HONESTY_OF_STREAMS(a_closed_descriptor_stays_open_for_the_receive_in_flight) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    io::close(home, pair.ours);
    notes.say("the peer sees", co_await events_now(home, pair.theirs, POLLIN | POLLRDHUP));
    send_at_once(home, pair.theirs, "late");
    notes.say("the receive gets", co_await received(receive));
    notes.say("now the peer sees", co_await recv_once(home, pair.theirs));
    io::close(home, pair.theirs);
}

// fault 14
HONESTY_OF_STREAMS(a_cancel_lets_go_of_a_closed_descriptor) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    io::close(home, pair.ours);
    co_await quiet();
    io::cancel(home, receive);
    notes.say("the receive", co_await received(receive));
    notes.say("the peer sees", co_await recv_once(home, pair.theirs));
    io::close(home, pair.theirs);
}

// fault 15
HONESTY_OF_STREAMS(a_descriptor_used_again_does_not_touch_the_old_operation) {
    const connected old = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, old.ours, 8);
    co_await quiet();
    const int plug = open_stream(home, stream_kind::local);  // so that no lower number is free
    io::close(home, old.ours);
    const int fresh = open_stream(home, stream_kind::local);
    notes.say("the same number", fresh == old.ours);
    io::close(home, fresh);
    const connected young = co_await connect_pair(home, stream_kind::local);
    notes.say("the same number again", young.ours == old.ours);
    send_at_once(home, young.theirs, "young");
    co_await quiet();
    notes.say("the old receive is pending", !receive.ended());
    send_at_once(home, old.theirs, "old");
    notes.say("the old receive", co_await received(receive));
    notes.say("the new one", co_await recv_once(home, young.ours));
    for (const int fd : {old.theirs, plug}) io::close(home, fd);
    close_both(home, young);
}

// fault 15
HONESTY(the_lowest_free_descriptor_is_used) {
    std::array<int, 5> fds{};
    for (int& fd : fds) fd = open_stream(home, stream_kind::tcp);
    bool ascending = true;
    for (std::size_t i = 1; i < fds.size(); ++i) ascending = ascending && fds[i - 1] < fds[i];
    notes.say("ascending", ascending);
    for (const std::size_t i : {3U, 1U, 2U}) io::close(home, fds[i]);
    for (const std::size_t i : {1U, 2U, 3U}) {
        const int again = open_stream(home, stream_kind::local);
        notes.say("the lowest first", again == fds[i]);
    }
    for (const int fd : fds) io::close(home, fd);
    co_return;
}

HONESTY_OF_STREAMS(poll_tells_the_state_of_a_connection) {
    const connected pair = co_await connect_pair(home, kind);
    const auto now = [&] { return events_now(home, pair.ours, all_events); };
    notes.say("idle", co_await now());
    send_at_once(home, pair.theirs, "x");
    notes.say("data", co_await now());
    notes.say("data, asked for nothing but the end",
              co_await events_now(home, pair.ours, POLLRDHUP));
    BOOST_TEST(io::shutdown(home, pair.theirs, SHUT_WR).has_value());
    notes.say("data and the peer's end", co_await now());
    co_await recv_once(home, pair.ours);
    notes.say("the peer's end", co_await now());
    notes.say("the end, asked for data", co_await events_now(home, pair.ours, POLLIN));
    notes.say("the end, asked for nothing", co_await events_now(home, pair.ours, 0));
    io::close(home, pair.theirs);
    notes.say("the peer is gone", co_await now());
    BOOST_TEST(io::shutdown(home, pair.ours, SHUT_WR).has_value());
    notes.say("both ends", co_await now());
    notes.say("both ends, asked for nothing", co_await events_now(home, pair.ours, 0));
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(poll_tells_of_the_own_half_close_a_full_socket_and_a_reset) {
    const connected half = co_await connect_pair(home, kind);
    BOOST_TEST(io::shutdown(home, half.ours, SHUT_WR).has_value());
    notes.say("own half-close", co_await events_now(home, half.ours, all_events));
    notes.say("the other end", co_await events_now(home, half.theirs, all_events));
    close_both(home, half);

    const connected full = co_await connect_pair(home, kind);
    co_await fill(home, full.ours);
    notes.say("full", co_await events_now(home, full.ours, all_events));
    running poll;
    io::poll(home, poll, full.ours, POLLOUT);
    auto reading = spawn(recv_all(home, full.theirs));
    notes.say("once it is read", poll_events(co_await poll.end()));
    io::close(home, full.ours);
    co_await reading;
    io::close(home, full.theirs);

    const connected gone = co_await connect_pair(home, kind);
    send_at_once(home, gone.theirs, "unread");
    io::close(home, gone.ours);  // not yet: what the peer sent makes it a reset
    co_await quiet();
    send_at_once(home, gone.theirs, "x");
    notes.say("after a close", co_await events_now(home, gone.theirs, all_events));
    io::close(home, gone.theirs);
}

HONESTY_OF_STREAMS(a_poll_for_room_alone_is_told_of_room_and_not_of_the_peers_half_close) {
    const connected pair = co_await connect_pair(home, kind);
    co_await fill(home, pair.ours);
    BOOST_TEST(io::shutdown(home, pair.theirs, SHUT_WR).has_value());
    co_await quiet();
    running poll;
    io::poll(home, poll, pair.ours, POLLOUT);
    co_await quiet();
    notes.say("told", poll.ended());
    io::cancel(home, poll);
    notes.say("cancelled", co_await poll.end());
    poll.forget();
    io::poll(home, poll, pair.ours, POLLOUT);
    auto reading = spawn(recv_all(home, pair.theirs));
    notes.say("has room", (co_await poll.end() & POLLOUT) != 0);
    io::close(home, pair.ours);
    co_await reading;
    io::close(home, pair.theirs);
}

HONESTY(poll_tells_of_a_reset) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    running poll;
    io::poll(home, poll, pair.ours, POLLIN);
    co_await quiet();
    reset_at_once(home, pair.theirs);
    const int woken = co_await poll.end();
    notes.say("a waiting poll is told of an error", (woken & (POLLERR | POLLHUP)) != 0);
    notes.say("reset", co_await events_now(home, pair.ours, all_events));
    notes.say("received", co_await recv_once(home, pair.ours));
    notes.say("reset, error taken", co_await events_now(home, pair.ours, all_events));
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(poll_tells_of_listeners_and_fresh_sockets) {
    const int fresh = open_stream(home, kind);
    notes.say("fresh", co_await events_now(home, fresh, all_events));
    io::close(home, fresh);
    const listening listener = listen_on_any(home, kind);
    notes.say("an idle listener", co_await events_now(home, listener.fd, all_events));
    running poll;
    io::poll(home, poll, listener.fd, POLLIN);
    const int client = co_await connect_to(home, listener, kind);
    notes.say("with a connection", poll_events(co_await poll.end()));
    for (const int fd : {client, listener.fd}) io::close(home, fd);
}

// fault 31
BOOST_AUTO_TEST_CASE(a_closed_loop_ends_its_operations_and_the_peer_sees_the_end) {
    require_honesty("a_closed_loop_of_tcp",
                    {.first =
                         [](loop& home, transcript& notes) {
                             return close_the_loop_around_a_receive(home, notes, stream_kind::tcp);
                         },
                     .second = &see_what_the_closed_loop_left});
    require_honesty("a_closed_loop_of_unix", {.first =
                                                  [](loop& home, transcript& notes) {
                                                      return close_the_loop_around_a_receive(
                                                          home, notes, stream_kind::local);
                                                  },
                                              .second = &see_what_the_closed_loop_left});
}

// fault 31
BOOST_AUTO_TEST_CASE(a_closed_loop_ends_operations_of_every_kind) {
    require_honesty("a_closed_loop_with_everything", {.first = &close_the_loop_around_everything,
                                                      .second = &see_that_everything_ended});
}

HONESTY_OF_STREAMS(a_poll_for_room_is_told_of_the_peers_half_close) {
    const connected pair = co_await connect_pair(home, kind);
    (void)co_await fill(home, pair.ours);
    notes.say("full", co_await events_now(home, pair.ours, POLLOUT));
    notes.say("the peer half-closes", io::shutdown(home, pair.theirs, SHUT_WR));
    notes.say("still full", co_await events_now(home, pair.ours, POLLOUT));
    co_await quiet();
    close_both(home, pair);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
