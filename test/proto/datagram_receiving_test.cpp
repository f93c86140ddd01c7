// How datagrams are received: whole or said to be cut, while paused, and in floods.
#include <sys/socket.h>

#include <string>

#include "datagram_recorder.hpp"

namespace ouro::test {
namespace {

/// A path of a test's own, with nothing at it in the end.
struct own_path {
    loop& home = loop::current();
    const std::string text = "/tmp/ouro-datagrams-" + std::to_string(io::random(home));
    ~own_path() { (void)io::remove_file(home, text.c_str()); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(datagram_receiving)

// rule 461
OURO_ASYNC_TEST(the_largest_datagram_is_received_whole) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->send_to(pattern(65'507)));
    co_await received(server.seen, 1);
    BOOST_TEST((server.seen->datagrams.at(0).text == pattern(65'507)));
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->send_to(pattern(200'000)));
    co_await received(other.seen, 1);
    BOOST_TEST((other.seen->datagrams.at(0).text == pattern(200'000)));
    BOOST_TEST(other.seen->cut.empty());
}

// fault 44
OURO_ASYNC_TEST(a_datagram_that_does_not_fit_is_said_to_be_cut) {
    const endpoint server = co_await open_endpoint({.local = any_port(), .receive_bytes = 8});
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->send_to("12345678"));
    co_await received(server.seen, 1);
    BOOST_TEST(server.seen->cut.empty());
    BOOST_CHECK(!client.link->send_to("1234567890"));
    co_await received(server.seen, 2);
    BOOST_TEST(server.seen->datagrams.at(1).text == "12345678");
    BOOST_CHECK((server.seen->cut == std::vector<std::size_t>{10}));
    BOOST_TEST(server.link->statistics().truncated == 1U);
    server.seen->tells_cuts = true;  // as a protocol that overrides nothing
    BOOST_CHECK(!client.link->send_to("123456789"));
    co_await eventually([seen = server.seen] { return !seen->errors.empty(); });
    BOOST_CHECK(server.seen->errors.at(0) == std::errc::message_size);
    BOOST_TEST(server.seen->errors.at(0).message().find(
                   "9 bytes from " + client.name().to_string()) != std::string::npos);
}

// rule 476, fault 44
OURO_ASYNC_TEST(a_datagram_that_was_cut_while_reading_was_paused_is_said_to_be_cut) {
    const endpoint server = co_await open_endpoint({.local = any_port(), .receive_bytes = 8});
    const endpoint client = co_await open_connected(server.name());
    server.link->pause_reading();
    BOOST_CHECK(!client.link->send_to("1234567890"));
    co_await eventually([link = server.link] { return link->statistics().received == 1; });
    BOOST_TEST(server.seen->datagrams.empty());
    server.link->resume_reading();
    co_await received(server.seen, 1);
    BOOST_TEST(server.seen->datagrams.at(0).text == "12345678");
    BOOST_CHECK((server.seen->cut == std::vector<std::size_t>{10}));
    BOOST_TEST(server.link->statistics().truncated == 1U);
}

// rule 476
OURO_ASYNC_TEST(nothing_is_delivered_while_reading_is_paused_and_nothing_is_lost) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    server.link->pause_reading();
    server.link->pause_reading();
    BOOST_TEST(!server.link->is_reading());
    for (int i = 0; i < 5; ++i) {
        BOOST_CHECK(!client.link->send_to(std::to_string(i)));
        co_await settle();
    }
    BOOST_TEST(server.seen->datagrams.empty());
    server.link->resume_reading();
    BOOST_TEST(server.seen->datagrams.empty());  // from the next turn on
    co_await received(server.seen, 5);
    BOOST_TEST(server.seen->texts() == "0 1 2 3 4");
    BOOST_CHECK(!client.link->send_to("5"));
    co_await received(server.seen, 6);
}

// rule 476
OURO_ASYNC_TEST(a_protocol_pauses_between_two_datagrams_that_came_together) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    server.seen->on_datagram = [at = server.seen.get()] {
        if (at->datagrams.size() == 2 || at->datagrams.size() == 4) at->link->pause_reading();
    };
    for (int i = 0; i < 7; ++i) BOOST_CHECK(!client.link->send_to(std::to_string(i)));
    co_await received(server.seen, 2);
    co_await settle();
    BOOST_TEST(server.seen->texts() == "0 1");
    server.link->resume_reading();
    co_await received(server.seen, 4);
    co_await settle();
    BOOST_TEST(server.seen->texts() == "0 1 2 3");
    server.link->resume_reading();
    co_await received(server.seen, 7);
    BOOST_TEST(server.seen->texts() == "0 1 2 3 4 5 6");
}

OURO_ASYNC_TEST(nothing_is_delivered_after_close) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    server.seen->on_datagram = [at = server.seen.get()] { at->link->close(); };
    for (int i = 0; i < 4; ++i) BOOST_CHECK(!client.link->send_to(std::to_string(i)));
    co_await eventually([seen = server.seen] { return seen->losses == 1; });
    BOOST_TEST(server.seen->texts() == "0");
}

// fault 45
OURO_ASYNC_TEST(a_flood_is_dropped_by_the_kernel_and_counted_not_kept) {
    constexpr int flood = 3000;
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    co_await client.link->get_extra_info<const socket_view*>("socket")->set_option(
        SOL_SOCKET, SO_SNDBUF, 1 << 20);
    co_await server.link->get_extra_info<const socket_view*>("socket")->set_option(
        SOL_SOCKET, SO_RCVBUF, 16 * 1024);
    server.link->pause_reading();
    for (int i = 0; i < flood; ++i) {
        BOOST_CHECK(!client.link->send_to(pattern(static_cast<std::size_t>(1 + i % 7))));
        if (i % 100 == 0) co_await settle(1);
    }
    co_await eventually([link = client.link] { return link->get_write_buffer_size() == 0; });
    co_await sleep(std::chrono::milliseconds(5));
    server.link->resume_reading();
    co_await eventually([seen = server.seen, link = client.link, to = server.name()] {
        // The count comes with a datagram that has found room again.
        if (!seen->datagrams.empty() && last_of(seen->datagrams).text == "room again") return true;
        (void)link->send_to("room again", to);
        return false;
    });
    const datagram_statistics in = server.link->statistics();
    BOOST_TEST(in.received < std::uint64_t{flood} / 2);
    BOOST_TEST(in.overflowed > std::uint64_t{flood} / 2);
}

// rule 472
OURO_ASYNC_TEST(unix_endpoints_with_names_talk_to_each_other) {
    const address name = abstract_path();
    const endpoint server = co_await open_endpoint({.local = name});
    const endpoint client = co_await open_endpoint({.remote = name});
    BOOST_CHECK(!client.link->send_to("from nobody"));
    co_await received(server.seen, 1);
    BOOST_CHECK(!server.seen->datagrams.at(0).from);  // rule 473
    const endpoint named = co_await open_endpoint({.local = abstract_path()});
    BOOST_CHECK(!named.link->send_to("from somebody", name));
    co_await received(server.seen, 2);
    BOOST_CHECK(server.seen->datagrams.at(1).from == named.name());
    BOOST_CHECK(!server.link->send_to("back", named.name()));
    co_await received(named.seen, 1);
    const endpoint nameless = co_await open_endpoint({.family = AF_UNIX});
    BOOST_CHECK(!nameless.link->send_to("hello", name));
    co_await received(server.seen, 3);
}

// rule 472
OURO_ASYNC_TEST(a_socket_file_that_was_left_behind_makes_room) {
    const own_path path;
    const address name = address::from_path(path.text).value();
    {
        const endpoint first = co_await open_endpoint({.local = name});
        BOOST_CHECK(first.name() == name);
    }
    co_await settle();
    const endpoint second = co_await open_endpoint({.local = name});
    const endpoint client = co_await open_endpoint({.remote = name});
    BOOST_CHECK(!client.link->send_to("by path"));
    co_await received(second.seen, 1);
}

// rule 452
OURO_ASYNC_TEST(a_unix_peer_that_is_gone_is_an_error_of_one_datagram) {
    const address name = abstract_path();
    const endpoint own = co_await open_endpoint({.local = abstract_path()});
    BOOST_CHECK(!own.link->send_to("to nobody", name));
    co_await eventually([seen = own.seen] { return seen->errors.size() == 1; });
    BOOST_CHECK(own.seen->errors.at(0) == std::errc::connection_refused);
    const endpoint server = co_await open_endpoint({.local = name});
    BOOST_CHECK(!own.link->send_to("to somebody", name));
    co_await received(server.seen, 1);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
