// Honesty: UDP on loopback, and look-ups of names.
#include <netdb.h>

#include <algorithm>
#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

/// A look-up that writes down its end.
struct looking : io::resolve_op {
    looking() noexcept
        : resolve_op([](op& done) noexcept {
              auto& self = static_cast<looking&>(done);
              ++self.terminals;
              self.endings.wake_all();
          }) {}
    task<int> end() {
        while (terminals == 0) co_await endings.wait();
        co_return res;
    }
    int terminals = 0;
    detail::waiter_list endings;
};

task<std::string> look_up(loop& home, std::string host, std::string service, int family,
                          int flags = 0) {
    looking request;
    request.host = std::move(host);
    request.service = std::move(service);
    request.family = family;
    request.flags = flags;
    io::resolve(home, request);
    if (co_await request.end() < 0) {
        co_return request.gai_code != 0 ? "an error and its code" : "an error";
    }
    std::string text;
    for (const io::resolved& each : request.answers) {
        const address answer(reinterpret_cast<const sockaddr*>(&each.storage), each.length);
        text += (text.empty() ? "" : ", ") + answer.to_string();
    }
    co_return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_datagrams)

HONESTY(connected_datagrams_go_both_ways_and_keep_their_bounds) {
    const connected pair = co_await datagram_pair(home);
    notes.say("sent", co_await send_once(home, pair.ours, "one"));
    co_await quiet();  // datagrams may overtake each other
    notes.say("sent", co_await send_once(home, pair.ours, "two"));
    co_await quiet();
    notes.say("received", co_await recv_once(home, pair.theirs));
    notes.say("received", co_await recv_once(home, pair.theirs));
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    notes.say("pending", !receive.ended());
    notes.say("sent", send_at_once(home, pair.theirs, "back"));
    notes.say("received", co_await received(receive));
    close_both(home, pair);
}

// fault 44
HONESTY(a_datagram_is_cut_to_the_room_for_it) {
    const connected pair = co_await datagram_pair(home);
    send_at_once(home, pair.ours, "abcdef");
    co_await quiet();
    send_at_once(home, pair.ours, "next");
    co_await quiet();
    notes.say("room for 3", co_await recv_once(home, pair.theirs, 3));
    notes.say("the rest is gone", co_await recv_once(home, pair.theirs, 64));
    close_both(home, pair);
}

// fault 44
HONESTY(an_empty_datagram_is_a_datagram) {
    const connected pair = co_await datagram_pair(home);
    notes.say("sent", co_await send_once(home, pair.ours, ""));
    co_await quiet();
    send_at_once(home, pair.ours, "next");
    co_await quiet();
    notes.say("received", co_await recv_once(home, pair.theirs));
    notes.say("received", co_await recv_once(home, pair.theirs));
    close_both(home, pair);
}

// fault 44
HONESTY(a_datagram_that_is_too_long_is_refused) {
    const connected pair = co_await datagram_pair(home);
    notes.say("70000 bytes", co_await send_once(home, pair.ours, pattern(70'000)));
    notes.say("65507 bytes", co_await send_once(home, pair.ours, pattern(65'507)));
    notes.say("received", co_await recv_once(home, pair.theirs, 70'000));
    notes.say("65508 bytes", send_at_once(home, pair.ours, pattern(65'508)));
    close_both(home, pair);
}

// fault 44
HONESTY(a_refused_datagram_is_told_by_the_next_call) {
    connected pair = co_await datagram_pair(home);
    io::close(home, std::exchange(pair.theirs, -1));
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    co_await quiet();
    notes.say("poll", co_await events_now(home, pair.ours, POLLIN | POLLOUT));
    running receive;
    start_recv(home, receive, pair.ours, 8);
    notes.say("receive", co_await received(receive));
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    notes.say("the next is pending", !receive.ended());
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    notes.say("it is told", co_await received(receive));
    notes.say("send", co_await send_once(home, pair.ours, "x"));
    co_await quiet();
    notes.say("send after it", co_await send_once(home, pair.ours, "x"));
    close_both(home, pair);
}

HONESTY(a_connected_datagram_socket_hears_its_peer_only) {
    const connected pair = co_await datagram_pair(home);
    const auto name = co_await io::local_name(home, pair.ours);
    const int stranger = co_await io::socket(home, AF_INET, SOCK_DGRAM, 0);
    notes.say("send without a peer", co_await send_once(home, stranger, "x"));
    running connect;
    io::connect(home, connect, stranger, raw(name), name.length);
    notes.say("connect", co_await connect.end());
    notes.say("stranger sends", co_await send_once(home, stranger, "stranger"));
    co_await quiet();
    notes.say("peer sends", co_await send_once(home, pair.theirs, "peer"));
    notes.say("received", co_await recv_once(home, pair.ours));
    notes.say("then", co_await events_now(home, pair.ours, POLLIN));
    io::close(home, stranger);
    close_both(home, pair);
}

HONESTY(a_ring_receive_brings_datagrams_one_by_one) {
    const connected pair = co_await datagram_pair(home);
    running receive;
    io::recv_ring(home, receive, pair.ours);
    for (const std::string_view text : {"one", "three", "seventh"}) {
        send_at_once(home, pair.theirs, text);
        co_await quiet();
    }
    std::string sizes;
    for (const int each : receive.results) sizes += std::to_string(each) + " ";
    notes.say("sizes", sizes);
    notes.say("received", quoted(receive.received));
    notes.say("in flight", receive.in_flight);
    io::cancel(home, receive);
    notes.say("ended", co_await receive.end());
    close_both(home, pair);
}

HONESTY(datagrams_need_no_listener_and_have_no_end) {
    const connected pair = co_await datagram_pair(home);
    notes.say("listen", io::listen(home, pair.ours, 1));
    running accept;
    io::accept(home, accept, pair.ours);
    notes.say("accept", co_await accept.end());
    notes.say("SO_TYPE is SOCK_DGRAM",
              outcome_of(io::get_option(home, pair.ours, SOL_SOCKET, SO_TYPE)) == SOCK_DGRAM);
    notes.say("idle", co_await events_now(home, pair.ours, POLLIN | POLLOUT | POLLRDHUP));
    running receive;
    start_recv(home, receive, pair.ours, 8);
    co_await quiet();
    io::close(home, std::exchange(const_cast<connected&>(pair).theirs, -1));
    co_await quiet();
    notes.say("the receive is pending", !receive.ended());
    io::cancel(home, receive);
    notes.say("cancelled", co_await received(receive));
    close_both(home, pair);
}

HONESTY(a_udp_port_in_use_is_refused) {
    const connected pair = co_await datagram_pair(home);
    const auto name = co_await io::local_name(home, pair.ours);
    const int other = co_await io::socket(home, AF_INET, SOCK_DGRAM, 0);
    notes.say("bind", io::bind(home, other, raw(name), name.length));
    const listening stream = listen_on_any(home, stream_kind::tcp);
    const auto of_stream = loopback_address(port_of(stream.name));
    notes.say("the port of a TCP listener",
              io::bind(home, other, raw(of_stream), of_stream.length));
    for (const int fd : {other, stream.fd}) io::close(home, fd);
    close_both(home, pair);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(honesty_of_names)

HONESTY(numeric_hosts_and_localhost_are_known) {
    notes.say("numeric", co_await look_up(home, "127.0.0.1", "80", AF_UNSPEC));
    notes.say("numeric, version 6", co_await look_up(home, "::1", "80", AF_UNSPEC));
    notes.say("numeric only", co_await look_up(home, "10.1.2.3", "1", AF_INET, AI_NUMERICHOST));
    notes.say("localhost", co_await look_up(home, "localhost", "80", AF_INET));
    notes.say("localhost, no service", co_await look_up(home, "localhost", "", AF_INET));
    notes.say("no host, passive", co_await look_up(home, "", "80", AF_INET, AI_PASSIVE));
    notes.say("no host", co_await look_up(home, "", "80", AF_INET));
    const std::string any = co_await look_up(home, "localhost", "80", AF_UNSPEC);
    notes.say("localhost of any family has it", any.find("127.0.0.1:80") != std::string::npos);
}

// fault 55
HONESTY(unknown_names_fail) {
    notes.say("unknown", co_await look_up(home, "no-such-host.invalid", "80", AF_UNSPEC));
    notes.say("the wrong family", co_await look_up(home, "::1", "80", AF_INET));
    notes.say("a name where a number is wanted",
              co_await look_up(home, "localhost", "80", AF_INET, AI_NUMERICHOST));
}

// fault 55
HONESTY(a_cancelled_look_up_ends_at_once_and_once) {
    looking request;
    request.host = "localhost";
    request.service = "80";
    io::resolve(home, request);
    io::cancel(home, request);
    notes.say("inside the call nothing ends", request.terminals == 0);
    notes.say("ended", co_await request.end());
    co_await quiet();
    notes.say("completions", request.terminals);
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
