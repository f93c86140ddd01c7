// Honesty: when a cancel wins, when it loses, and what it leaves behind.
#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
BOOST_AUTO_TEST_SUITE(honesty_of_cancelling)

// fault 11
HONESTY_OF_STREAMS(a_receive_cancelled_in_the_turn_of_its_start_is_cancelled) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    io::cancel(home, receive);
    notes.say("inside the call nothing ends", !receive.ended());
    notes.say("ended", co_await received(receive));
    close_both(home, pair);
}

// faults 11, 58
HONESTY_OF_STREAMS(a_receive_cancelled_in_flight_leaves_every_byte_to_the_next) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    io::cancel(home, receive);
    notes.say("ended", co_await received(receive));
    send_at_once(home, pair.theirs, "later");
    co_await quiet();
    notes.say("completions", static_cast<int>(receive.results.size()));
    notes.say("the next receive", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

// fault 10
HONESTY_OF_STREAMS(a_cancel_loses_against_data_that_was_there) {
    const connected pair = co_await connect_pair(home, kind);
    send_at_once(home, pair.theirs, "data");
    co_await quiet();
    running receive;
    start_recv(home, receive, pair.ours, 8);
    io::cancel(home, receive);
    notes.say("ended", co_await received(receive));
    close_both(home, pair);
}

// fault 10: whoever wins, the bytes come once
HONESTY_OF_STREAMS(a_cancel_that_races_with_data_loses_no_byte) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    send_at_once(home, pair.theirs, "data");
    io::cancel(home, receive);
    std::string got = co_await received(receive);
    if (got == "-ECANCELED") got = co_await recv_once(home, pair.ours);
    notes.say("received in the end", got);
    close_both(home, pair);
}

// fault 16
HONESTY_OF_STREAMS(a_cancel_after_the_end_is_ignored_and_does_not_hit_the_next_use) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    io::cancel(home, receive);  // never started
    send_at_once(home, pair.theirs, "one");
    co_await quiet();
    start_recv(home, receive, pair.ours, 8);
    notes.say("first", co_await received(receive));
    io::cancel(home, receive);
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    notes.say("the second is pending", !receive.ended());
    send_at_once(home, pair.theirs, "two");
    notes.say("second", co_await received(receive));
    close_both(home, pair);
}

// fault 16
HONESTY_OF_STREAMS(a_cancelled_op_is_started_again_at_once) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    for (int i = 0; i < 5; ++i) {
        start_recv(home, receive, pair.ours, 8);
        if (i % 2 == 0) co_await quiet();
        io::cancel(home, receive);
        notes.say("ended", co_await received(receive));
    }
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    notes.say("the last is pending", !receive.ended());
    send_at_once(home, pair.theirs, "data");
    notes.say("ended", co_await received(receive));
    close_both(home, pair);
}

// fault 58
HONESTY_OF_STREAMS(a_cancel_twice_is_a_cancel) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    io::cancel(home, receive);
    io::cancel(home, receive);
    notes.say("ended", co_await received(receive));
    io::cancel(home, receive);
    co_await quiet();
    notes.say("completions", static_cast<int>(receive.results.size()));
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(a_cancel_of_one_op_leaves_the_others_alone) {
    const connected pair = co_await connect_pair(home, kind);
    running receive, poll, other;
    start_recv(home, receive, pair.ours, 8);
    io::poll(home, poll, pair.ours, POLLRDHUP);
    start_recv(home, other, pair.theirs, 8);
    co_await quiet();
    io::cancel(home, poll);
    notes.say("the poll", co_await poll.end());
    co_await quiet();
    notes.say("the receive is pending", !receive.ended());
    notes.say("the receive of the other end is pending", !other.ended());
    send_at_once(home, pair.theirs, "data");
    notes.say("the receive", co_await received(receive));
    io::cancel(home, other);
    notes.say("the other", co_await received(other));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(an_idle_ring_receive_is_cancelled) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    io::recv_ring(home, receive, pair.ours);
    co_await quiet();
    io::cancel(home, receive);
    notes.say("ended", co_await receive.end());
    notes.say("completions", static_cast<int>(receive.results.size()));
    io::recv_ring(home, receive, pair.ours);
    io::cancel(home, receive);
    receive.forget();
    notes.say("in the turn of its start", co_await receive.end());
    close_both(home, pair);
}

// fault 13
HONESTY_OF_STREAMS(a_cancelled_accept_leaves_later_connections_in_the_backlog) {
    const listening listener = listen_on_any(home, kind);
    running accept;
    io::accept(home, accept, listener.fd);
    co_await quiet();
    io::cancel(home, accept);
    notes.say("ended", co_await accept.end());
    const int client = co_await connect_to(home, listener, kind);
    send_at_once(home, client, "hello");
    co_await quiet();
    const int server = co_await accept_from(home, listener.fd);
    notes.say("the next accept gets it", server >= 0);
    notes.say("received", co_await recv_once(home, server));
    for (const int fd : {client, server, listener.fd}) io::close(home, fd);
}

// fault 13
HONESTY_OF_STREAMS(a_cancel_of_an_accept_loses_against_a_connection_that_was_there) {
    const listening listener = listen_on_any(home, kind);
    const int client = co_await connect_to(home, listener, kind);
    co_await quiet();
    running accept;
    io::accept(home, accept, listener.fd);
    io::cancel(home, accept);
    const int server = co_await accept.end();
    notes.say("accepted", server >= 0);
    if (server >= 0) io::discard(home, server);
    notes.say("the client sees", co_await recv_once(home, client));
    for (const int fd : {client, listener.fd}) io::close(home, fd);
}

// fault 43: a TCP connect waits while the backlog is full, or is done before
HONESTY_OF_STREAMS(a_connect_that_waits_is_cancelled) {
    const listening listener = listen_on_any(home, kind, 1);
    std::vector<std::unique_ptr<running>> connects;
    std::vector<int> clients;
    do {  // how many fit is the kernel's affair
        connects.push_back(std::make_unique<running>());
        clients.push_back(start_connect(home, *connects.back(), listener, kind));
        co_await quiet();
    } while (connects.back()->ended() && clients.size() < 16);
    notes.say("one waits", !connects.back()->ended());
    io::cancel(home, *connects.back());
    notes.say("ended", co_await connects.back()->end());
    for (const int client : clients) io::close(home, client);
    io::close(home, listener.fd);
}

HONESTY_OF_STREAMS(a_poll_is_cancelled) {
    const connected pair = co_await connect_pair(home, kind);
    running poll;
    io::poll(home, poll, pair.ours, POLLIN);
    co_await quiet();
    io::cancel(home, poll);
    notes.say("in flight", co_await poll.end());
    poll.forget();
    io::poll(home, poll, pair.ours, POLLIN);
    io::cancel(home, poll);
    notes.say("in the turn of its start", co_await poll.end());
    poll.forget();
    io::poll(home, poll, pair.ours, POLLOUT);
    io::cancel(home, poll);
    notes.say("when its event holds", poll_events(co_await poll.end()));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(a_read_is_cancelled) {
    const connected pair = co_await connect_pair(home, kind);
    running read;
    std::array<std::byte, 8> room;
    io::read(home, read, pair.ours, room);
    co_await quiet();
    io::cancel(home, read);
    notes.say("ended", co_await read.end());
    send_at_once(home, pair.theirs, "kept");
    notes.say("received", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
