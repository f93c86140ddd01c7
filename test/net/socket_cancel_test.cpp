// Raw sockets, interrupted: cancelled and closed with operations under way, and never a byte or a
// connection lost.
#include <ouro/net/socket.hpp>

#include "async_test.hpp"
#include "at_once.hpp"

#include <sys/socket.h>

#include <optional>

namespace ouro::test {
namespace {

template <class Result>
bool was_cancelled(const Result& outcome) {
    return !outcome && outcome.error() == errc::cancelled;
}

task<std::string> receive(socket& from, std::size_t most) {
    std::vector<std::byte> room(most);
    const std::size_t count = co_await from.recv_into(room);
    co_return std::string(as_text(bytes(room).first(count)));
}
task<std::size_t> send_some(socket& to, std::string text) {
    co_return co_await to.send(as_bytes(text));
}
task<socket> accept(socket& on) { co_return co_await on.accept(); }
task<> connect(socket& from, address to) { co_await from.connect(to); }

/// A listener on loopback.
task<socket> listening(int backlog_count = 100) {
    auto made = co_await socket::open(loop::current(), AF_INET);
    co_await made.bind(co_await address::parse("127.0.0.1:0"));
    co_await made.listen(backlog_count);
    co_return made;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(socket_interruptions)

// rule 670
// fault 11
OURO_ASYNC_TEST(a_cancelled_receive_takes_nothing_and_the_next_one_works_in_the_same_turn) {
    auto [client, server] = co_await tcp_pair();
    auto receiving = spawn(receive(server, 10));
    co_await settle();
    receiving.cancel();
    auto next = spawn(receive(server, 10));
    BOOST_TEST(was_cancelled(co_await as_result(receiving.join())));
    co_await settle();
    BOOST_TEST(!next.done());
    co_await client.send_all(as_bytes("data"));
    BOOST_TEST(co_await next == "data");
}

// rules 671, 738
// fault 10
OURO_ASYNC_TEST(data_that_came_before_a_receive_was_cancelled_is_never_lost) {
    auto [client, server] = co_await tcp_pair();
    int kept = 0;
    int left = 0;
    for (int i = 0; i < 200; ++i) {
        auto receiving = spawn(receive(server, 10));
        co_await settle(1 + i % 3);
        const std::string text = std::to_string(i);
        if (i % 4 == 0) {
            co_await client.send_all(as_bytes(text));
        } else {
            send_now(client, text);
        }
        if (i % 5 == 0) co_await yield();
        receiving.cancel();
        const auto received = co_await as_result(receiving.join());
        if (received) {
            ++kept;
            BOOST_REQUIRE(*received == text);
        } else {
            ++left;
            BOOST_REQUIRE(was_cancelled(received));
            BOOST_REQUIRE(co_await receive(server, 10) == text);
        }
    }
    BOOST_TEST_MESSAGE("given in spite of the cancel: " << kept << ", left for the next: " << left);
    BOOST_TEST(kept + left == 200);
}

// rule 738
OURO_ASYNC_TEST(a_receive_whose_data_won_gives_it_and_the_next_await_is_cancelled) {
    auto [client, server] = co_await tcp_pair();
    const auto got = std::make_shared<std::string>();
    const auto receive_twice = [](socket& from, std::shared_ptr<std::string> into) -> task<> {
        *into = co_await receive(from, 10);
        co_await yield();
        *into += " and went on";
    };
    auto receiving = spawn(receive_twice(server, got));
    co_await settle();
    send_now(client, "data");
    // Cancelled from inside the turn that brings the data, whichever of the two comes first.
    loop::current().call_soon([receiving]() mutable { receiving.cancel(); });
    BOOST_TEST(was_cancelled(co_await as_result(receiving.join())));
    if (got->empty()) *got = co_await receive(server, 10);
    BOOST_TEST(*got == "data");
}

// rule 670
// fault 3
OURO_ASYNC_TEST(a_cancelled_send_tells_how_much_went_out) {
    auto [client, server] = co_await socket::pair(loop::current());
    const std::string sent = pattern(5'000'000);
    auto sending = spawn(send_some(client, sent));
    co_await settle(20);
    BOOST_REQUIRE(!sending.done());
    sending.cancel();
    const auto outcome = co_await as_result(sending.join());
    BOOST_REQUIRE(outcome.has_value());  // something went out, so the cancel came too late
    client.close();
    std::size_t arrived = 0;
    for (auto data = co_await server.recv(100'000); !data.empty();
         data = co_await server.recv(100'000)) {
        BOOST_REQUIRE(as_text(data) == std::string_view(sent).substr(arrived, data.size()));
        arrived += data.size();
    }
    BOOST_TEST(arrived > 0U);
    BOOST_TEST(*outcome == arrived);
}

// rule 670
OURO_ASYNC_TEST(a_send_after_a_cancelled_one_goes_on_where_it_stopped) {
    auto [client, server] = co_await socket::pair(loop::current());
    const std::string sent = pattern(3'000'000);
    auto sending = spawn(send_some(client, sent));
    co_await settle(20);
    sending.cancel();
    const std::size_t count = (co_await as_result(sending.join())).value();
    BOOST_TEST(count > 0U);
    BOOST_TEST(count < sent.size());
    const auto send_rest = [](socket to, std::string text) -> task<> {
        co_await to.send_all(as_bytes(text));
    };
    auto rest = spawn(send_rest(std::move(client), sent.substr(count)));
    std::string got;
    for (auto data = co_await server.recv(100'000); !data.empty();
         data = co_await server.recv(100'000)) {
        got += as_text(data);
    }
    BOOST_CHECK(got == sent);
    co_await rest;
}

// rule 670
// fault 13
OURO_ASYNC_TEST(a_cancelled_accept_takes_no_connection_and_the_next_one_works_in_the_same_turn) {
    auto listener = co_await listening();
    auto accepting = spawn(accept(listener));
    co_await settle();
    accepting.cancel();
    auto next = spawn(accept(listener));
    BOOST_TEST(was_cancelled(co_await as_result(std::move(accepting).join())));
    auto client = co_await socket::open(loop::current(), AF_INET);
    co_await client.connect(co_await listener.local_address());
    auto server = co_await std::move(next);
    co_await server.send_all(as_bytes("welcome"));
    BOOST_TEST(co_await receive(client, 10) == "welcome");
}

// rules 670, 738
// fault 13
OURO_ASYNC_TEST(an_accept_that_is_cancelled_while_a_connection_comes_neither_loses_nor_leaks_it) {
    auto listener = co_await listening();
    const address where = co_await listener.local_address();
    for (int i = 0; i < 100; ++i) {
        auto accepting = spawn(accept(listener));
        co_await settle(1 + i % 2);
        auto client = co_await socket::open(loop::current(), AF_INET);
        auto connecting = spawn(connect(client, where));
        co_await settle(i % 4);
        accepting.cancel();
        auto accepted = co_await as_result(std::move(accepting).join());
        co_await connecting;
        std::optional<ouro::socket> server;
        if (accepted) {
            server.emplace(std::move(*accepted));
        } else {
            BOOST_REQUIRE(was_cancelled(accepted));
            server.emplace(co_await accept(listener));
        }
        send_now(*server, "x");
        BOOST_REQUIRE(co_await receive(client, 1) == "x");
    }
}

OURO_ASYNC_TEST(a_cancelled_connect_ends_and_its_socket_closes) {
    auto listener = co_await listening(0);
    const address where = co_await listener.local_address();
    std::vector<ouro::socket> sockets(20);
    std::optional<task_handle<>> waiting;
    for (auto& each : sockets) {  // until the queue is full and a connect has to wait
        each = co_await socket::open(loop::current(), AF_INET);
        auto connecting = spawn(connect(each, where));
        co_await sleep(std::chrono::milliseconds(1));
        if (!connecting.done()) {
            waiting = std::move(connecting);
            break;
        }
        co_await connecting;
    }
    BOOST_REQUIRE(waiting.has_value());
    waiting->cancel();
    BOOST_TEST(was_cancelled(co_await as_result(waiting->join())));
}

// rules 675, 742
// fault 55
OURO_ASYNC_TEST(closing_or_cancelling_ends_a_connect_by_name_in_any_turn) {
    auto listener = co_await listening();
    const std::uint16_t port = (co_await listener.local_address()).port();
    for (int turns = 0; turns < 6; ++turns) {
        for (const bool closes : {true, false}) {
            BOOST_TEST_INFO_SCOPE((closes ? "closed" : "cancelled") << " after " << turns);
            auto client = co_await socket::open(loop::current(), AF_INET);
            auto connecting = spawn(client.connect("localhost", port));
            co_await settle(turns);
            closes ? client.close() : static_cast<void>(connecting.cancel());
            const auto ended = co_await as_result(connecting.join());
            BOOST_TEST((ended || was_cancelled(ended)));
        }
    }
    auto closed = co_await socket::open(loop::current(), AF_INET);
    auto late = closed.connect("localhost", port);
    closed.close();
    BOOST_TEST(was_cancelled(co_await as_result(std::move(late))));
}

// rules 675, 742
// fault 55
BOOST_AUTO_TEST_CASE(closing_a_socket_does_not_wait_for_a_slow_look_up) {
    auto options = loopback(1);
    options.only = testing::parse_fault_plan("slow_name@1=30000000").value();
    testing::simulation world(options);
    const auto verdict = world.run([]() -> task<> {
        auto client = co_await socket::open(loop::current(), AF_INET);
        auto connecting = spawn(client.connect("localhost", 4000));
        co_await sleep(std::chrono::seconds(1));
        client.close();
        BOOST_TEST(was_cancelled(co_await as_result(connecting.join())));
        const auto took = testing::simulation::current().elapsed();
        BOOST_TEST((took < std::chrono::seconds(2)));
    });
    for (const auto& each : verdict.violations) BOOST_ERROR(each);
}

// rules 675, 742
// fault 14
OURO_ASYNC_TEST(closing_a_socket_ends_its_receive_and_the_peer_sees_the_end) {
    auto [client, server] = co_await tcp_pair();
    auto receiving = spawn(receive(server, 10));
    co_await settle();
    server.close();
    BOOST_TEST(!server);
    BOOST_TEST(was_cancelled(co_await as_result(receiving.join())));
    BOOST_TEST(co_await receive(client, 10) == "");
}

// rules 675, 742
// fault 14
OURO_ASYNC_TEST(destroying_a_socket_ends_what_is_under_way_on_it) {
    auto [near, client] = co_await socket::pair(loop::current());
    std::optional<ouro::socket> server(std::move(near));
    const std::string much = pattern(3'000'000);
    auto receiving = spawn(receive(*server, 10));
    auto sending = spawn(send_some(*server, much));
    co_await settle(20);
    server.reset();
    BOOST_TEST(was_cancelled(co_await as_result(receiving.join())));
    const auto sent = co_await as_result(sending.join());
    BOOST_TEST((was_cancelled(sent) || *sent < much.size()));
    std::size_t arrived = 0;
    for (auto data = co_await client.recv(100'000); !data.empty();
         data = co_await client.recv(100'000)) {
        arrived += data.size();
    }
    if (sent) BOOST_TEST(arrived == *sent);
}

// rule 742
OURO_ASYNC_TEST(closing_a_listener_ends_its_accept_and_refuses_new_connections) {
    auto listener = co_await listening();
    const address where = co_await listener.local_address();
    auto accepting = spawn(accept(listener));
    co_await settle();
    listener.close();
    BOOST_TEST(was_cancelled(co_await as_result(std::move(accepting).join())));
    auto client = co_await socket::open(loop::current(), AF_INET);
    const auto refused = co_await as_result(client.connect(where));
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error() == std::errc::connection_refused));
}

// rules 675, 726
// fault 15
OURO_ASYNC_TEST(a_new_socket_never_gets_the_data_or_the_cancel_of_an_old_one_with_its_number) {
    for (int i = 0; i < 50; ++i) {
        auto [old_client, old_server] = co_await tcp_pair();
        const int number = old_server.fd();
        auto old_receive = spawn(receive(old_server, 10));
        co_await settle(1 + i % 3);
        old_server.close();
        auto [client, server] = co_await socket::pair(loop::current());
        if (!old_receive.done()) BOOST_REQUIRE((client.fd() != number && server.fd() != number));
        auto fresh = spawn(receive(server, 10));
        BOOST_REQUIRE(was_cancelled(co_await as_result(old_receive.join())));
        co_await client.send_all(as_bytes("new"));
        BOOST_REQUIRE(co_await fresh == "new");
    }
}

// rule 675
BOOST_AUTO_TEST_CASE(closing_the_loop_releases_a_socket_with_a_receive_under_way) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        loop home(options_for(each));
        std::optional<std::pair<ouro::socket, ouro::socket>> ends;
        const auto start =
            [](std::optional<std::pair<ouro::socket, ouro::socket>>& into) -> task<> {
            into.emplace(co_await socket::pair(loop::current()));
            spawn(receive(into->first, 10));
            co_await settle();
        };
        BOOST_TEST(home.run_until_complete(start(ends)).has_value());
        ends->first.close();
        home.set_exception_handler([](loop&, const failure_report&) {});  // of the open peer
        home.close();
        BOOST_TEST(home.counters().ops == 0U);
        BOOST_TEST(home.counters().descriptors == 1U);
        ends.reset();
        BOOST_TEST(home.counters().descriptors == 0U);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
