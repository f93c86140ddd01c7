// Honesty: sends, short, full, refused and in order.
#include <sys/uio.h>

#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

// More than any pair of sockets takes while nobody reads.
constexpr int large_count = 16 * 1024 * 1024;
const std::string& large_text() {
    static const std::string text = pattern(large_count);
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_sending)

// fault 2
HONESTY_OF_STREAMS(a_send_waits_for_the_reader_and_completes_with_every_byte) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string& text = large_text();
    running send;
    io::send(home, send, pair.ours, as_bytes(text), io::send_mode::all);
    co_await quiet();
    notes.say("pending while nobody reads", !send.ended());
    auto reading = spawn(recv_all(home, pair.theirs));
    notes.say("sent all", co_await send.end() == large_count);
    io::close(home, pair.ours);
    notes.say("read all, as sent", co_await reading == text);
    notes.say("completions", static_cast<int>(send.results.size()));
    io::close(home, pair.theirs);
}

// fault 3
HONESTY_OF_STREAMS(a_cancelled_send_says_how_much_of_it_went) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string& text = large_text();
    running send;
    io::send(home, send, pair.ours, as_bytes(text), io::send_mode::all);
    co_await quiet();
    io::cancel(home, send);
    const int count = co_await send.end();
    notes.say("sent", between(1, count, large_count - 1));
    io::close(home, pair.ours);
    const std::string got = co_await recv_all(home, pair.theirs);
    notes.say("the peer gets that many", static_cast<int>(got.size()) == count);
    notes.say("as sent", got == text.substr(0, got.size()));
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(a_cancelled_send_of_which_nothing_went_is_cancelled) {
    const connected pair = co_await connect_pair(home, kind);
    const std::int64_t before = co_await fill(home, pair.ours);
    running send;
    io::send(home, send, pair.ours, as_bytes("more"), io::send_mode::all);
    co_await quiet();
    notes.say("pending", !send.ended());
    io::cancel(home, send);
    notes.say("ended", co_await send.end());
    io::close(home, pair.ours);
    const std::string got = co_await recv_all(home, pair.theirs);
    notes.say("nothing more came", static_cast<std::int64_t>(got.size()) == before);
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(a_fast_send_takes_what_there_is_room_for_and_does_not_wait) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string& text = large_text();
    notes.say("a small one", co_await send_fast(home, pair.ours, "small"));
    notes.say("received", co_await recv_once(home, pair.theirs));
    const int first = co_await send_fast(home, pair.ours, text);
    notes.say("a large one", between(1, first, large_count - 1));
    const std::int64_t more = co_await fill(home, pair.ours);
    notes.say("on a full socket", co_await send_fast(home, pair.ours, "x"));
    notes.say("try_send on a full socket", send_at_once(home, pair.ours, "x"));
    io::close(home, pair.ours);
    const std::string got = co_await recv_all(home, pair.theirs);
    notes.say("the peer gets what was counted",
              static_cast<std::int64_t>(got.size()) == first + more);
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(a_full_socket_takes_more_once_it_was_read) {
    const connected pair = co_await connect_pair(home, kind);
    const std::int64_t before = co_await fill(home, pair.ours);
    running send;
    io::send(home, send, pair.ours, as_bytes("the end"), io::send_mode::all);
    co_await quiet();
    notes.say("pending", !send.ended());
    auto reading = spawn(recv_all(home, pair.theirs));
    notes.say("sent", co_await send.end());
    io::close(home, pair.ours);
    const std::string got = co_await reading;
    notes.say("all came", static_cast<std::int64_t>(got.size()) == before + 7);
    notes.say("the last last", got.ends_with("the end"));
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(pieces_leave_in_order_and_a_send_of_nothing_is_a_send) {
    const connected pair = co_await connect_pair(home, kind);
    running send;
    {
        std::string words[] = {"one ", "", "two ", "three"};
        std::vector<iovec> pieces;
        for (std::string& word : words) pieces.push_back({word.data(), word.size()});
        io::send_pieces(home, send, pair.ours, pieces);
        pieces.assign(pieces.size(), {});  // the list may change, the memory behind it may not
        notes.say("pieces", co_await send.end());
    }
    co_await quiet();
    notes.say("received", co_await recv_once(home, pair.theirs));
    notes.say("nothing", co_await send_once(home, pair.ours, ""));
    notes.say("try_send of nothing", send_at_once(home, pair.ours, ""));
    send.forget();
    io::send_pieces(home, send, pair.ours, {});
    notes.say("no pieces", co_await send.end());
    send_at_once(home, pair.ours, "still");
    notes.say("received", co_await recv_once(home, pair.theirs));
    close_both(home, pair);
}

HONESTY_OF_STREAMS(fast_sends_of_one_turn_leave_in_order_and_each_completes) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string text = "abcdefghij";
    running sends[10];
    for (std::size_t i = 0; i < text.size(); ++i) {
        io::send(home, sends[i], pair.ours, as_bytes(std::string_view(text).substr(i, 1)),
                 io::send_mode::fast);
    }
    co_await quiet();
    int sum = 0;
    for (running& each : sends) sum += co_await each.end();
    notes.say("sent", sum);
    notes.say("received", co_await recv_once(home, pair.theirs));
    close_both(home, pair);
}

// faults 22, 23
HONESTY_OF_STREAMS(a_send_to_a_peer_that_closed_fails_at_last_and_raises_no_signal) {
    const connected pair = co_await connect_pair(home, kind);
    io::close(home, pair.theirs);
    co_await quiet();
    notes.say("first", co_await send_once(home, pair.ours, "x"));
    co_await quiet();
    notes.say("second", co_await send_once(home, pair.ours, "x"));
    notes.say("third", co_await send_once(home, pair.ours, "x"));
    notes.say("try_send", send_at_once(home, pair.ours, "x"));
    notes.say("fast send", co_await send_fast(home, pair.ours, "x"));
    notes.say("receive", co_await recv_once(home, pair.ours));
    io::close(home, pair.ours);
}

// The end of the stream was seen before the reset: receives keep to it.
HONESTY(a_receive_between_the_reset_and_the_send_is_at_the_end) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    io::close(home, pair.theirs);
    co_await quiet();
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    co_await quiet();
    notes.say("receive", co_await recv_once(home, pair.ours));
    notes.say("receive again", co_await recv_once(home, pair.ours));
    notes.say("events", co_await events_now(home, pair.ours, POLLIN | POLLOUT | POLLRDHUP));
    notes.say("SO_ERROR", -outcome_of(io::get_option(home, pair.ours, SOL_SOCKET, SO_ERROR)));
    notes.say("send again", co_await send_once(home, pair.ours, "x"));
    io::close(home, pair.ours);
}

// fault 32
HONESTY(a_send_after_the_reset_fails_with_it_once) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    reset_at_once(home, pair.theirs);
    co_await quiet();
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    notes.say("send again", co_await send_once(home, pair.ours, "x"));
    notes.say("receive", co_await recv_once(home, pair.ours));
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(a_send_after_the_own_shutdown_is_a_broken_pipe) {
    const connected pair = co_await connect_pair(home, kind);
    notes.say("shutdown", io::shutdown(home, pair.ours, SHUT_WR));
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    notes.say("try_send", send_at_once(home, pair.ours, "x"));
    notes.say("fast send", co_await send_fast(home, pair.ours, "x"));
    running pieces;
    char letter = 'x';
    const iovec piece{&letter, 1};
    io::send_pieces(home, pieces, pair.ours, std::span(&piece, 1));
    notes.say("pieces", co_await pieces.end());
    notes.say("the peer sees", co_await recv_once(home, pair.theirs));
    close_both(home, pair);
}

HONESTY(a_send_needs_a_connected_socket) {
    for (const stream_kind kind : {stream_kind::tcp, stream_kind::local}) {
        const int fd = open_stream(home, kind);
        notes.say(name_of(kind), co_await send_once(home, fd, "x"));
        notes.say("try_send", send_at_once(home, fd, "x"));
        io::close(home, fd);
    }
}

HONESTY_OF_STREAMS(what_was_sent_before_a_close_arrives) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string text = pattern(50'000);
    notes.say("sent", co_await send_once(home, pair.ours, text));
    io::close(home, pair.ours);
    int ended_with = -1;
    const std::string got = co_await recv_all(home, pair.theirs, &ended_with);
    notes.say("received", quoted(got));
    notes.say("ended with", ended_with);
    io::close(home, pair.theirs);
}

// fault 32: what went is counted, and the failure comes with the next
HONESTY_OF_STREAMS(a_send_whose_peer_closes_reports_what_went) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string& text = large_text();
    running send;
    io::send(home, send, pair.ours, as_bytes(text), io::send_mode::all);
    co_await quiet();
    notes.say("pending", !send.ended());
    io::close(home, pair.theirs);
    notes.say("ended", between(1, co_await send.end(), large_count - 1));
    const int next = co_await send_once(home, pair.ours, "x");
    notes.say("the next fails", next == -EPIPE || next == -ECONNRESET);
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(a_send_and_a_receive_wait_side_by_side) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string& text = large_text();
    running send, receive;
    start_recv(home, receive, pair.ours, 8);
    io::send(home, send, pair.ours, as_bytes(text), io::send_mode::all);
    co_await quiet();
    notes.say("both wait", !send.ended() && !receive.ended());
    send_at_once(home, pair.theirs, "answer");
    notes.say("received", co_await received(receive));
    notes.say("the send waits", !send.ended());
    auto reading = spawn(recv_all(home, pair.theirs));
    notes.say("sent all", co_await send.end() == large_count);
    io::close(home, pair.ours);
    notes.say("read all, as sent", co_await reading == text);
    io::close(home, pair.theirs);
}

// fault 32
HONESTY(a_reset_ends_the_stream_after_what_came_before_it) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    const std::int64_t count = co_await fill(home, pair.ours);
    reset_at_once(home, pair.ours);
    co_await quiet();
    int ended_with = 0;
    const std::string got = co_await recv_all(home, pair.theirs, &ended_with);
    notes.say("some bytes came", !got.empty());
    notes.say("no more than were sent", std::ssize(got) <= count);
    notes.say("ended with", ended_with);
    io::close(home, pair.theirs);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
