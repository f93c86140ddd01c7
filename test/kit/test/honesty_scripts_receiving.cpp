// Honesty: receives, one at a time and through the shared ring.
#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
BOOST_AUTO_TEST_SUITE(honesty_of_receiving)

// fault 1
HONESTY_OF_STREAMS(a_receive_takes_what_there_is_and_leaves_the_rest) {
    const connected pair = co_await connect_pair(home, kind);
    notes.say("sent", send_at_once(home, pair.theirs, "abcdef"));
    co_await quiet();
    notes.say("room for less", co_await recv_once(home, pair.ours, 4));
    notes.say("room for more", co_await recv_once(home, pair.ours, 100));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(a_receive_waits_while_there_is_nothing) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    start_recv(home, receive, pair.ours, 10);
    co_await quiet();
    notes.say("pending", !receive.ended());
    notes.say("sent", send_at_once(home, pair.theirs, "x"));
    notes.say("received", co_await received(receive));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(segments_that_wait_are_received_as_one) {
    const connected pair = co_await connect_pair(home, kind);
    for (const std::string_view text : {"one ", "two ", "three"}) {
        send_at_once(home, pair.theirs, text);
    }
    co_await quiet();
    notes.say("received", co_await recv_once(home, pair.ours, 100));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(the_end_of_the_stream_is_received_after_the_data_and_every_time_then) {
    const connected pair = co_await connect_pair(home, kind);
    send_at_once(home, pair.theirs, "last");
    notes.say("end", io::shutdown(home, pair.theirs, SHUT_WR));
    co_await quiet();
    for (const char* which : {"first", "second", "third"}) {
        notes.say(which, co_await recv_once(home, pair.ours));
    }
    close_both(home, pair);
}

// The engine may remember that a receive emptied the socket, and poll before the next.
HONESTY_OF_STREAMS(one_op_receives_again_and_again_to_the_end) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    for (const std::string_view text : {"one", "two", "three"}) {
        send_at_once(home, pair.theirs, text);
        co_await quiet();
        start_recv(home, receive, pair.ours, 64);
        notes.say("received", co_await received(receive));
    }
    io::close(home, pair.theirs);
    co_await quiet();
    start_recv(home, receive, pair.ours, 64);
    notes.say("at the end", co_await received(receive));
    notes.say("terminal completions", receive.terminals);
    io::close(home, pair.ours);
}

// Which of the two gets which bytes is not promised; that each byte comes once is.
HONESTY_OF_STREAMS(two_receives_on_one_socket_share_the_bytes) {
    const connected pair = co_await connect_pair(home, kind);
    running first, second;
    start_recv(home, first, pair.ours, 1);
    start_recv(home, second, pair.ours, 1);
    co_await quiet();
    send_at_once(home, pair.theirs, "ab");
    const std::string one = co_await received(first), two = co_await received(second);
    notes.say("both, in some order", std::min(one, two) + " " + std::max(one, two));
    close_both(home, pair);
}

HONESTY(a_receive_needs_a_connected_socket) {
    for (const stream_kind kind : {stream_kind::tcp, stream_kind::local}) {
        const int fd = open_stream(home, kind);
        notes.say(std::string("not connected, ") + name_of(kind), co_await recv_once(home, fd));
        io::close(home, fd);
        const listening listener = listen_on_any(home, kind);
        notes.say(std::string("listening, ") + name_of(kind),
                  co_await recv_once(home, listener.fd));
        io::close(home, listener.fd);
    }
}

HONESTY(an_operation_on_a_bad_descriptor_fails_by_its_completion) {
    const io::resolved name = loopback_address(1);
    running ops[6];
    std::byte one{};
    io::recv(home, ops[0], -1, std::span(&one, 1));
    io::recv_ring(home, ops[1], -1);
    io::send(home, ops[2], -1, as_bytes("x"), io::send_mode::all);
    io::accept(home, ops[3], -1);
    io::connect(home, ops[4], -1, raw(name), name.length);
    io::poll(home, ops[5], -1, POLLIN);
    for (running& each : ops) notes.say("ended", co_await each.end());
    notes.say("fast send", co_await send_fast(home, -1, "x"));
    notes.say("try_send", send_at_once(home, -1, "x"));
}

// fault 5
HONESTY_OF_STREAMS(a_ring_receive_brings_all_bytes_in_order_and_ends_once) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    io::recv_ring(home, receive, pair.ours);
    const std::string sent = pattern(100'000);
    for (std::size_t at = 0; at < sent.size(); at += 5000) {
        BOOST_TEST(send_at_once(home, pair.theirs, std::string_view(sent).substr(at, 5000)) ==
                   5000);
        if (at % 20'000 == 0) co_await quiet();
    }
    io::close(home, pair.theirs);
    notes.say("ended", co_await receive.end());
    notes.say("received", quoted(receive.received));
    co_await quiet();
    notes.say("terminal completions", receive.terminals);
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
    notes.say("lent buffers", static_cast<int>(home.counters().lent_buffers));
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(a_ring_receive_starts_on_data_and_end_that_wait) {
    const connected pair = co_await connect_pair(home, kind);
    send_at_once(home, pair.theirs, "early");
    io::close(home, pair.theirs);
    co_await quiet();
    running receive;
    io::recv_ring(home, receive, pair.ours);
    notes.say("ended", co_await receive.end());
    notes.say("received", quoted(receive.received));
    notes.say("completions", static_cast<int>(receive.results.size()));
    io::close(home, pair.ours);
}

// fault 4: eight buffers of 64 KiB
HONESTY(more_ring_receives_than_buffers_lose_no_byte) {
    constexpr std::size_t count = 40;
    const std::string sent = pattern(80'000);
    std::vector<connected> pairs;
    std::vector<std::unique_ptr<running>> receives;
    for (std::size_t i = 0; i < count; ++i) {
        pairs.push_back(co_await connect_pair(home, stream_kind::local));
        receives.push_back(std::make_unique<running>());
        io::recv_ring(home, *receives[i], pairs[i].ours);
    }
    for (const connected& pair : pairs) {
        BOOST_TEST(send_at_once(home, pair.theirs, sent) == 80'000);
        BOOST_TEST(io::shutdown(home, pair.theirs, SHUT_WR).has_value());
    }
    bool all_intact = true;
    for (auto& each : receives) {
        all_intact = co_await each->end() == 0 && each->received == sent && all_intact;
        all_intact = each->terminals == 1 && all_intact;
    }
    notes.say("all intact, all ended by the end of the stream", all_intact);
    notes.say("lent buffers", static_cast<int>(home.counters().lent_buffers));
    for (const connected& pair : pairs) close_both(home, pair);
}

// fault 32
HONESTY(a_ring_receive_ends_with_the_reset) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    running receive;
    io::recv_ring(home, receive, pair.ours);
    send_at_once(home, pair.theirs, "before");
    co_await quiet();
    reset_at_once(home, pair.theirs);
    notes.say("ended", co_await receive.end());
    notes.say("received", quoted(receive.received));
    notes.say("terminal completions", receive.terminals);
    notes.say("then", co_await recv_once(home, pair.ours));
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(a_cancelled_ring_receive_keeps_what_came_and_leaves_what_comes_later) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    io::recv_ring(home, receive, pair.ours);
    send_at_once(home, pair.theirs, "first ");
    co_await quiet();
    notes.say("received", quoted(receive.received));
    notes.say("in flight", receive.in_flight);
    io::cancel(home, receive);
    notes.say("ended", co_await receive.end());
    send_at_once(home, pair.theirs, "second");
    co_await quiet();
    notes.say("still", quoted(receive.received));
    notes.say("the next receive", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

// fault 10
HONESTY_OF_STREAMS(a_ring_receive_cancelled_at_once_takes_the_data_that_waits) {
    const connected pair = co_await connect_pair(home, kind);
    send_at_once(home, pair.theirs, "waits");
    co_await quiet();
    running receive;
    io::recv_ring(home, receive, pair.ours);
    io::cancel(home, receive);
    notes.say("ended", co_await receive.end());
    notes.say("received", quoted(receive.received));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(read_on_a_socket_is_a_receive) {
    const connected pair = co_await connect_pair(home, kind);
    running read;
    std::array<std::byte, 8> room;
    io::read(home, read, pair.ours, room);
    co_await quiet();
    notes.say("pending", !read.ended());
    send_at_once(home, pair.theirs, "abc");
    notes.say("read", co_await read.end());
    notes.say("bytes", std::string_view(reinterpret_cast<const char*>(room.data()), 3));
    io::close(home, pair.theirs);
    read.forget();
    io::read(home, read, pair.ours, room);
    notes.say("at the end", co_await read.end());
    io::close(home, pair.ours);
}

HONESTY(a_socket_pair_works_in_both_directions) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    send_at_once(home, pair.ours, "there");
    send_at_once(home, pair.theirs, "back");
    notes.say("theirs", co_await recv_once(home, pair.theirs));
    notes.say("ours", co_await recv_once(home, pair.ours));
    int fds[2] = {-1, -1};
    notes.say("a pair of TCP sockets", io::socket_pair(home, AF_INET, SOCK_STREAM, fds));
    notes.say("descriptors", static_cast<int>(home.counters().descriptors));
    close_both(home, pair);
    notes.say("descriptors", static_cast<int>(home.counters().descriptors));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
