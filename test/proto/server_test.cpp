// Servers: listening, accepting, serving for ever, and the end.
#include <ouro/proto/server.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <stdexcept>

#include "recorder.hpp"
#include "served.hpp"

namespace ouro::test {
namespace {

/// A socket that listens already: connections wait in its queue until it is served.
task<socket> queueing(medium over) {
    const address where = co_await free_place(over);
    auto made = co_await socket::open(loop::current(), where.family());
    co_await made.bind(where);
    co_await made.listen();
    co_return made;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(serving)

// rules 262, 422, 393
OURO_ASYNC_TEST(every_connection_gets_a_protocol_of_its_own) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how);
        BOOST_TEST(at.is_serving());
        const address where = at.addresses().at(0);
        if (how.over == medium::tcp) BOOST_TEST(where.port() != 0);
        std::vector<socket> clients;
        for (int i = 0; i < 10; ++i) {
            clients.push_back(co_await dial(where));
            send_now(clients.back(), std::to_string(i));
        }
        co_await eventually([&] {
            return all.size() == 10 && std::all_of(all.begin(), all.end(), [](const auto& each) {
                       return each->data.size() == 1;
                   });
        });
        BOOST_TEST(at.client_count() == 10U);
        for (std::size_t i = 0; i < 10; ++i) BOOST_TEST(all[i]->data == std::to_string(i));
        clients.clear();
        co_await eventually([&] { return at.client_count() == 0; });
        at.close();
        co_await at.wait_closed();
        for (const auto& each : all) BOOST_TEST(each->story() == "made data eof lost");
    }
}

// rule 343
OURO_ASYNC_TEST(accepted_tcp_connections_send_without_delay) {
    for (const bool given : {false, true}) {
        BOOST_TEST_INFO_SCOPE((given ? "given socket" : "own socket"));
        recorders all;
        auto bound = co_await socket::open(loop::current(), AF_INET);
        co_await bound.bind(co_await address::parse("127.0.0.1:0"));
        auto at =
            given ? co_await create_server(each_into(all), std::move(bound)) : co_await serve(all);
        auto client = co_await dial(at.addresses().at(0));
        co_await eventually([&] { return all.size() == 1; });
        BOOST_REQUIRE(all[0]->link);
        const auto* view = all[0]->link->get_extra_info<const socket_view*>("socket");
        BOOST_REQUIRE(view);
        BOOST_TEST(co_await view->get_option(IPPROTO_TCP, TCP_NODELAY) == 1);
        at.close();
        at.abort_clients();
        co_await at.wait_closed();
    }
}

// rule 285
OURO_ASYNC_TEST(the_names_of_an_accepted_connection_are_known_even_if_the_peer_has_left) {
    recorders all;
    auto at = co_await serve(all);
    auto client = co_await dial(at.addresses().at(0));
    const address name = co_await client.local_address();
    client.close();
    co_await eventually([&] { return all.size() == 1 && all[0]->lost(); });
    BOOST_CHECK(all[0]->link->get_extra_info<address>("peername") == name);
    BOOST_CHECK(all[0]->link->get_extra_info<address>("sockname") == at.addresses().at(0));
    at.close();
    co_await at.wait_closed();
}

// rule 429
OURO_ASYNC_TEST(only_stream_sockets_can_be_served) {
    recorders all;
    const auto before = descriptors();
    auto given = co_await socket::open(loop::current(), AF_INET, SOCK_DGRAM);
    auto outcome = co_await as_result(create_server(each_into(all), std::move(given)));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == errc::value_error);
    BOOST_TEST(descriptors() == before);
}

// rules 391, 392, 394
OURO_ASYNC_TEST(an_empty_host_means_all_interfaces_of_both_families) {
    recorders all;
    auto at = co_await create_server(each_into(all), "", 0);
    const auto places = at.addresses();
    BOOST_TEST(!places.empty());
    for (std::size_t i = 0; i < places.size(); ++i) {
        const bool v6 = places[i].family() == AF_INET6;
        BOOST_TEST(places[i].host() == (v6 ? "::" : "0.0.0.0"));
        BOOST_TEST(places[i].port() != 0);
        if (v6) BOOST_TEST(co_await at.sockets()[i]->get_option(IPPROTO_IPV6, IPV6_V6ONLY) == 1);
        if (v6 && !co_await has_ipv6()) continue;
        const std::size_t before = all.size();
        auto client =
            co_await dial(co_await address::from_ip(v6 ? "::1" : "127.0.0.1", places[i].port()));
        co_await eventually([&] { return all.size() == before + 1; });
    }
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

// rule 392
OURO_ASYNC_TEST(both_families_can_share_a_port) {
    recorders all;
    auto first = co_await create_server(each_into(all), "0.0.0.0", 0);
    const auto port = first.addresses().at(0).port();
    auto second = co_await as_result(create_server(each_into(all), "::", port));
    // A machine without IPv6 has no second family to share with.
    BOOST_CHECK(second.has_value() || second.error() != std::errc::address_in_use);
    first.close();
    if (second) second->close();
    co_await first.wait_closed();
}

// rules 395, 396
OURO_ASYNC_TEST(addresses_are_reused_by_default_and_ports_are_not) {
    recorders all;
    auto plain = co_await serve(all);
    BOOST_TEST(co_await plain.sockets()[0]->get_option(SOL_SOCKET, SO_REUSEADDR) == 1);
    BOOST_TEST(co_await plain.sockets()[0]->get_option(SOL_SOCKET, SO_REUSEPORT) == 0);
    auto other = co_await serve(all, {}, {.reuse_address = false, .reuse_port = true});
    BOOST_TEST(co_await other.sockets()[0]->get_option(SOL_SOCKET, SO_REUSEADDR) == 0);
    auto twin =
        co_await create_server(each_into(all), other.addresses().at(0), {.reuse_port = true});
    BOOST_CHECK(twin.addresses().at(0) == other.addresses().at(0));
    auto local = co_await serve(all, {kind::streaming, medium::unix_stream}, {.reuse_port = true});
    BOOST_TEST(local.is_serving());
    for (auto* each : {&plain, &other, &twin, &local}) {
        each->close();
        co_await each->wait_closed();
    }
}

// rule 399
OURO_ASYNC_TEST(an_address_in_use_is_named_and_leaves_nothing_open) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how);
        const address where = at.addresses().at(0);
        const auto before = descriptors();
        auto outcome = co_await as_result(create_server(each_into(all), where));
        BOOST_REQUIRE(!outcome.has_value());
        BOOST_CHECK(outcome.error() == std::errc::address_in_use);
        BOOST_TEST(outcome.error().message().find(where.to_string()) != std::string::npos);
        if (how.over == medium::tcp) {
            auto by_name = co_await as_result(create_server(each_into(all), "", where.port()));
            BOOST_REQUIRE(!by_name.has_value());
            BOOST_CHECK(by_name.error() == std::errc::address_in_use);
        }
        BOOST_TEST(descriptors() == before);
        at.close();
        co_await at.wait_closed();
    }
}

// rules 400, 401
OURO_ASYNC_TEST(an_address_that_is_not_here_is_an_error_that_names_it) {
    recorders all;
    const auto before = descriptors();
    auto outcome = co_await as_result(create_server(each_into(all), "192.0.2.1", 0));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == std::errc::address_not_available);
    BOOST_TEST(outcome.error().message().find("192.0.2.1") != std::string::npos);
    auto unknown = co_await as_result(create_server(each_into(all), "no host has this name", 0));
    BOOST_REQUIRE(!unknown.has_value());
    BOOST_TEST(unknown.error().message().find("no host has this name") != std::string::npos);
    BOOST_TEST(descriptors() == before);
}

// rules 405, 406
OURO_ASYNC_TEST(nothing_listens_until_serving_starts) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how, {.backlog_count = 5, .start_serving = false});
        const address where = at.addresses().at(0);
        BOOST_TEST(!at.is_serving());
        auto refused = co_await as_result(dial(where));
        BOOST_REQUIRE(!refused.has_value());
        BOOST_CHECK(refused.error() == std::errc::connection_refused);
        BOOST_CHECK(at.start_serving().has_value());
        BOOST_CHECK(at.start_serving().has_value());
        BOOST_TEST(at.is_serving());
        auto client = co_await dial(where);
        co_await eventually([&] { return all.size() == 1; });
        co_await settle();
        BOOST_TEST(all.size() == 1U);
        at.close();
        at.abort_clients();
        co_await at.wait_closed();
    }
}

// rules 407, 411, 413
OURO_ASYNC_TEST(a_closed_server_cannot_serve_again) {
    for (const bool started : {false, true}) {
        BOOST_TEST_INFO_SCOPE((started ? "closed while serving" : "closed unstarted"));
        recorders all;
        auto at = co_await serve(all, {}, {.start_serving = started});
        BOOST_TEST(at.sockets().size() == 1U);
        at.close();
        BOOST_TEST(at.sockets().empty());
        BOOST_TEST(at.addresses().empty());
        BOOST_TEST(!at.is_serving());
        auto again = at.start_serving();
        BOOST_REQUIRE(!again.has_value());
        BOOST_CHECK(again.error() == errc::server_closed);
        BOOST_TEST(!at.is_serving());
        auto forever = co_await as_result(at.serve_forever());
        BOOST_REQUIRE(!forever.has_value());
        BOOST_CHECK(forever.error() == errc::server_closed);
        co_await at.wait_closed();
    }
}

// rules 408, 409
OURO_ASYNC_TEST(serve_forever_starts_serves_and_ends_when_cancelled) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how, {.start_serving = false});
        const address where = at.addresses().at(0);
        auto forever = spawn(at.serve_forever());
        co_await settle();
        BOOST_TEST(at.is_serving());
        auto second = co_await as_result(at.serve_forever());
        BOOST_REQUIRE(!second.has_value());
        BOOST_CHECK(second.error() == errc::already_serving);
        auto client = co_await dial(where);
        co_await eventually([&] { return all.size() == 1; });
        forever.cancel();
        co_await settle(10);
        BOOST_TEST(!at.is_serving());
        BOOST_TEST(!forever.done());  // it waits for its client
        client.close();
        auto outcome = co_await as_result(std::move(forever).join());
        BOOST_REQUIRE(!outcome.has_value());
        BOOST_CHECK(outcome.error() == errc::cancelled);
        BOOST_TEST(all_lost(all));
        BOOST_TEST(at.client_count() == 0U);
    }
}

// rule 410
OURO_ASYNC_TEST(closing_the_server_elsewhere_cancels_serve_forever) {
    recorders all;
    auto at = co_await serve(all);
    auto forever = spawn(at.serve_forever());
    co_await settle();
    at.close();
    auto outcome = co_await as_result(std::move(forever).join());
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == errc::cancelled);
}

// rules 412, 413
OURO_ASYNC_TEST(closing_stops_accepting_and_leaves_connections_alone) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how);
        const address where = at.addresses().at(0);
        auto client = co_await dial(where);
        co_await eventually([&] { return all.size() == 1; });
        at.close();
        at.close();
        BOOST_TEST(!at.is_serving());
        co_await settle();
        auto refused = co_await as_result(dial(where));
        BOOST_REQUIRE(!refused.has_value());
        BOOST_CHECK(refused.error() == std::errc::connection_refused);
        BOOST_TEST(!all[0]->lost());
        send_now(client, "still here");
        co_await eventually([&] { return all[0]->data == "still here"; });
        client.close();
        co_await at.wait_closed();
        BOOST_TEST(all.size() == 1U);
    }
}

// rules 414-416
OURO_ASYNC_TEST(waiting_for_the_end_takes_both_the_close_and_the_last_connection) {
    for (const bool close_first : {false, true}) {
        BOOST_TEST_INFO_SCOPE((close_first ? "closed first" : "connection gone first"));
        recorders all;
        auto at = co_await serve(all);
        auto client = co_await dial(at.addresses().at(0));
        co_await eventually([&] { return all.size() == 1; });
        std::vector<task_handle<>> waiting;
        waiting.push_back(spawn(at.wait_closed()));
        co_await settle();
        close_first ? at.close() : client.close();
        waiting.push_back(spawn(at.wait_closed()));
        co_await eventually([&] { return close_first || all_lost(all); });
        co_await settle(10);
        for (const auto& each : waiting) BOOST_TEST(!each.done());
        close_first ? client.close() : at.close();
        for (const auto& each : waiting) co_await each;
        BOOST_TEST(at.client_count() == 0U);
        co_await at.wait_closed();
    }
}

// rule 415
OURO_ASYNC_TEST(a_cancelled_wait_for_the_end_disturbs_nobody) {
    recorders all;
    auto at = co_await serve(all);
    auto one = spawn(at.wait_closed());
    auto two = spawn(at.wait_closed());
    co_await settle();
    one.cancel();
    auto outcome = co_await as_result(std::move(one).join());
    BOOST_CHECK(!outcome && outcome.error() == errc::cancelled);
    BOOST_TEST(at.is_serving());
    at.close();
    co_await two;
}

// rules 417, 418
OURO_ASYNC_TEST(clients_are_closed_gracefully_or_aborted_and_the_server_goes_on) {
    for (const way& how : every_way) {
        for (const bool drop : {false, true}) {
            BOOST_TEST_INFO_SCOPE(how << (drop ? ", abort" : ", close"));
            recorders all;
            auto at = co_await serve(all, how);
            std::vector<socket> clients;
            for (int i = 0; i < 3; ++i) clients.push_back(co_await dial(at.addresses().at(0)));
            co_await eventually([&] { return all.size() == 3; });
            const std::string sent = pattern(8'000'000);  // more than the sockets take
            for (const auto& each : all) BOOST_CHECK(!each->link->write(sent));
            drop ? at.abort_clients() : at.close_clients();
            BOOST_TEST(at.is_serving());
            if (drop) co_await eventually([&] { return at.client_count() == 0; });
            for (auto& each : clients) {
                const std::string got = co_await read_to_end(each);
                BOOST_CHECK(sent.starts_with(got));
                if (!drop) BOOST_TEST(got.size() == sent.size());
            }
            co_await eventually([&] { return at.client_count() == 0; });
            BOOST_TEST(all_lost(all));
            for (const auto& each : all) BOOST_CHECK(!each->why);
            clients.push_back(co_await dial(at.addresses().at(0)));
            co_await eventually([&] { return all.size() == 4; });
            at.close();
            at.close_clients();
            co_await at.wait_closed();
        }
    }
}

// rule 421
OURO_ASYNC_TEST(a_closed_server_is_freed_with_its_last_connection) {
    recorders all;
    auto token = std::make_shared<int>(0);
    const std::weak_ptr<int> alive = token;
    auto at = co_await create_server([all, held = std::move(token)] { return each_into(all)(); },
                                     "127.0.0.1", 0);
    auto client = co_await dial(at.addresses().at(0));
    co_await eventually([&] { return all.size() == 1; });
    at.close();
    at = {};
    co_await settle();
    BOOST_TEST(!alive.expired());
    client.close();
    co_await eventually([&] { return alive.expired(); });
    BOOST_TEST(all_lost(all));
}

// rule 423
// fault 56
OURO_ASYNC_TEST(a_factory_that_fails_closes_its_connection_only) {
    for (const bool debug : {false, true}) {
        BOOST_TEST_INFO_SCOPE((debug ? "in debug mode" : "not in debug mode"));
        loop::current().set_debug(debug);
        recorders all;
        auto at = co_await create_server(
            [all, calls = 0]() mutable -> std::shared_ptr<base_protocol> {
                if (++calls == 1) throw std::runtime_error("not today");
                return each_into(all)();
            },
            co_await free_place(medium::tcp));
        auto first = co_await dial(at.addresses().at(0));
        BOOST_TEST((co_await read_to_end(first)).empty());
        BOOST_TEST(take_reports().size() == (debug ? 1U : 0U));
        BOOST_TEST(at.is_serving());
        auto next = co_await dial(at.addresses().at(0));
        co_await eventually([&] { return all.size() == 1; });
        BOOST_TEST(at.client_count() == 1U);
        at.close();
        at.abort_clients();
        co_await at.wait_closed();
        loop::current().set_debug(false);
    }
}

// rule 426
// faults 18, 32
OURO_ASYNC_TEST(connections_reset_before_they_are_accepted_disturb_nobody) {
    recorders all;
    auto at = co_await create_server(each_into(all), co_await queueing(medium::tcp),
                                     {.start_serving = false});
    const address where = at.addresses().at(0);
    for (int i = 0; i < 5; ++i) {
        auto client = co_await dial(where);  // nobody accepts yet
        reset_now(client);
    }
    BOOST_CHECK(at.start_serving().has_value());
    for (int i = 0; i < 5; ++i) {
        auto client = co_await dial(where);  // perhaps accepted, perhaps not
        reset_now(client);
        co_await settle();
    }
    auto alive = co_await dial(where);
    send_now(alive, "alive");
    co_await eventually([&] { return !all.empty() && all.back()->data == "alive"; });
    at.close();
    alive.close();
    co_await at.wait_closed();
    BOOST_TEST(all_lost(all));
}

// rules 427, 737
// fault 13
OURO_ASYNC_TEST(a_connection_that_comes_as_the_server_closes_is_dropped) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        for (int turns = 0; turns < 3; ++turns) {
            recorders all;
            auto listener = co_await queueing(how.over);
            auto client = co_await dial(co_await listener.local_address());
            // The accept finds the connection in the turn in which it is started.
            auto at = co_await create_server(each_into(all), std::move(listener));
            co_await settle(turns);
            const std::size_t attached = all.size();
            at.close();
            at.abort_clients();
            co_await at.wait_closed();
            std::array<std::byte, 1> room;
            const auto got = co_await as_result(client.recv_into(room));
            BOOST_CHECK(!got || *got == 0);  // closed or reset
            BOOST_TEST(all.size() == attached);
            BOOST_TEST(all_lost(all));
        }
    }
}

// rules 427, 737
// fault 13
OURO_ASYNC_TEST(a_connect_under_way_as_the_server_closes_is_dropped) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        for (int turns = 0; turns < 5; ++turns) {
            recorders all;
            auto at = co_await serve(all, how);
            co_await settle();
            auto connecting = spawn(dial(at.addresses().at(0)));
            co_await settle(turns);
            const std::size_t attached = all.size();
            at.close();
            at.abort_clients();
            co_await at.wait_closed();
            auto client = co_await as_result(std::move(connecting).join());
            if (client) {
                std::array<std::byte, 1> room;
                const auto got = co_await as_result(client->recv_into(room));
                BOOST_CHECK(!got || *got == 0);  // closed or reset
            } else {
                BOOST_CHECK(client.error() == std::errc::connection_refused ||
                            client.error() == std::errc::connection_reset);
            }
            BOOST_TEST(all.size() == attached);
            BOOST_TEST(all_lost(all));
        }
    }
}

// rule 427
OURO_WHOLE_TEST(a_factory_may_close_the_server, "its factory names the server that owns it") {
    recorders all;
    server at;
    at = co_await create_server(
        [&] {
            at.close();
            return each_into(all)();
        },
        co_await free_place(medium::tcp));
    auto client = co_await dial(at.addresses().at(0));
    co_await eventually([&] { return all.size() == 1; });
    client.close();
    co_await at.wait_closed();
    BOOST_TEST(all_lost(all));
}

// rule 429
OURO_ASYNC_TEST(a_given_socket_is_used_as_it_is_and_closed_with_the_server) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        const address place = co_await free_place(how.over);
        auto bound = co_await socket::open(loop::current(), place.family());
        co_await bound.bind(place);
        const int fd = bound.fd();
        const auto before = descriptors();
        auto at = co_await create_server(each_into(all), std::move(bound));
        BOOST_TEST(at.sockets().at(0)->fd() == fd);
        auto client = co_await dial(at.addresses().at(0));
        co_await eventually([&] { return all.size() == 1; });
        client.close();
        at.close();
        co_await at.wait_closed();
        co_await eventually([&] { return descriptors() == before - 1; });
    }
}

// rule 430
OURO_ASYNC_TEST(a_connection_accepted_elsewhere_behaves_like_any_other) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto listener =
            co_await socket::open(loop::current(), how.over == medium::tcp ? AF_INET : AF_UNIX);
        co_await listener.bind(co_await free_place(how.over));
        co_await listener.listen();
        auto client = co_await dial(co_await listener.local_address());
        auto seen = make_recorder(how.receiver);
        auto made = co_await create_connection(factory_of(seen), co_await listener.accept());
        linked on(seen, made.transport, std::move(client));
        send_now(on.peer, "hello");
        co_await eventually([&] { return seen->data == "hello"; });
        BOOST_CHECK(!on.link->write("hello yourself"));
        BOOST_TEST(co_await read_text(on.peer, 14) == "hello yourself");
    }
}

// rules 412, 361
// fault 57
OURO_WHOLE_TEST(a_server_may_be_closed_and_dropped_in_every_callback_of_its_connections,
                "its factory names the server that owns it") {
    for (int where = 0; where < 3; ++where) {
        BOOST_TEST_INFO_SCOPE("callback " << where);
        std::shared_ptr<recorder> seen;
        server at;
        const auto leave = [&] {
            at.close();
            at.abort_clients();
            at = {};
        };
        at = co_await create_server(
            [&] {
                seen = make_recorder(kind::streaming);
                (where == 0 ? seen->on_made : where == 1 ? seen->on_data : seen->on_lost) = leave;
                return seen->as_protocol();
            },
            co_await free_place(medium::tcp));
        auto client = co_await dial(at.addresses().at(0));
        send_now(client, "x");
        co_await eventually([&] { return seen != nullptr; });
        if (where == 2) client.close();
        co_await eventually([&] { return seen->lost(); });
        co_await eventually([] { return loop::current().counters().resources == 0; });
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
