// What a server is made of: several hosts, several sockets, and what connections inherit.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cmath>

#include <ouro/proto/server.hpp>

#include "served.hpp"

namespace ouro::test {
namespace {

using strings = std::vector<std::string>;
using namespace std::chrono_literals;

task<socket> bound_socket(int type = SOCK_STREAM) {
    auto made = co_await socket::open(loop::current(), AF_INET, type);
    co_await made.bind(co_await address::parse("127.0.0.1:0"));
    co_return made;
}

task<> end(server& of) {
    of.close();
    of.abort_clients();
    co_await of.wait_closed();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(server_options_)

// rules 390, 394
OURO_ASYNC_TEST(each_distinct_address_of_several_hosts_is_listened_on_once) {
    recorders all;
    auto at =
        co_await create_server(each_into(all), strings{"127.0.0.1", "127.0.0.2", "127.0.0.1"}, 0);
    const auto places = at.addresses();
    BOOST_REQUIRE(places.size() == 2U);
    BOOST_TEST(places.at(0).host() == "127.0.0.1");
    BOOST_TEST(places.at(1).host() == "127.0.0.2");
    BOOST_TEST(places.at(0).port() != 0);
    BOOST_TEST(places.at(1).port() != 0);
    for (const address& where : places) {
        auto client = co_await dial(where);
        send_now(client, where.host());
        co_await eventually([&] { return !all.empty() && all.back()->data == where.host(); });
    }
    co_await end(at);
}

// rule 390
OURO_ASYNC_TEST(one_given_port_is_shared_by_all_hosts) {
    recorders all;
    result<server> at = error(errc::no_address);
    std::uint16_t port = 0;
    for (int tries = 0; !at && tries < 20; ++tries) {  // somebody else may take the port meanwhile
        {
            auto everywhere = co_await socket::open(loop::current(), AF_INET);
            co_await everywhere.bind(co_await address::parse("0.0.0.0:0"));
            port = (co_await everywhere.local_address()).port();
        }
        at = co_await as_result(
            create_server(each_into(all), strings{"127.0.0.1", "127.0.0.2"}, port));
    }
    BOOST_REQUIRE(at.has_value());
    BOOST_TEST(at->addresses().size() == 2U);
    for (const address& where : at->addresses()) BOOST_TEST(where.port() == port);
    co_await end(*at);
}

// rules 399-401
OURO_ASYNC_TEST(one_host_that_cannot_be_listened_on_closes_what_was_opened) {
    recorders all;
    auto taken = co_await create_server(each_into(all), "127.0.0.2", 0);
    const address where = taken.addresses().at(0);
    const auto before = descriptors();
    auto outcome = co_await as_result(
        create_server(each_into(all), strings{"127.0.0.1", "127.0.0.2"}, where.port()));
    BOOST_REQUIRE(!outcome);
    BOOST_CHECK(outcome.error() == std::errc::address_in_use);
    // Another program may have the same port of the first host.
    const std::string which = ":" + std::to_string(where.port());
    BOOST_TEST(outcome.error().message().find(which) != std::string::npos);
    auto unknown = co_await as_result(
        create_server(each_into(all), strings{"127.0.0.1", "no host has this name"}, 0));
    BOOST_CHECK(!unknown);
    auto nothing = co_await as_result(create_server(each_into(all), strings{}, 0));
    BOOST_CHECK(!nothing && nothing.error() == errc::no_address);
    BOOST_TEST(descriptors() == before);
    // An address that this machine does not have is left out.
    auto some = co_await create_server(each_into(all), strings{"192.0.2.1", "127.0.0.1"}, 0);
    BOOST_TEST(some.addresses().size() == 1U);
    co_await end(taken);
    co_await end(some);
}

// rule 429
OURO_ASYNC_TEST(several_given_sockets_are_served_together) {
    recorders all;
    std::vector<socket> given;
    given.push_back(co_await bound_socket());
    given.push_back(co_await bound_socket());
    const address second = co_await given.at(1).local_address();
    auto at = co_await create_server(each_into(all), std::move(given));
    BOOST_REQUIRE(at.sockets().size() == 2U);
    auto client = co_await dial(second);
    co_await eventually([&] { return all.size() == 1; });
    const auto before = descriptors();
    std::vector<socket> mixed;
    mixed.push_back(co_await bound_socket());
    mixed.push_back(co_await bound_socket(SOCK_DGRAM));
    auto refused = co_await as_result(create_server(each_into(all), std::move(mixed)));
    BOOST_CHECK(!refused && refused.error() == errc::value_error);
    auto none = co_await as_result(create_server(each_into(all), std::vector<socket>()));
    BOOST_CHECK(!none && none.error() == errc::value_error);
    auto closed = co_await as_result(create_server(each_into(all), socket()));
    BOOST_CHECK(!closed && closed.error() == errc::value_error);
    BOOST_TEST(descriptors() == before);
    co_await end(at);
}

// rule 393
OURO_ASYNC_TEST(a_socket_given_unbound_is_told_its_port) {
    recorders all;
    auto at =
        co_await create_server(each_into(all), co_await socket::open(loop::current(), AF_INET));
    const auto port = at.addresses().at(0).port();
    BOOST_TEST(port != 0);
    auto client = co_await dial(co_await address::from_ip("127.0.0.1", port));
    co_await eventually([&] { return all.size() == 1; });
    co_await end(at);
}

// rule 398
OURO_ASYNC_TEST(options_of_connections_are_set_on_listeners_and_inherited) {
    struct wish {
        int level, name, usual, asked;
    };
    static constexpr wish wishes[] = {
        {SOL_SOCKET, SO_KEEPALIVE, 0, 1},    {IPPROTO_TCP, TCP_NODELAY, 1, 0},
        {IPPROTO_TCP, TCP_KEEPIDLE, -1, 70}, {IPPROTO_TCP, TCP_KEEPINTVL, -1, 7},
        {IPPROTO_TCP, TCP_KEEPCNT, -1, 5},   {IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 2500}};
    const server_options asked{.no_delay = false,
                               .keep_alive = true,
                               .keep_alive_idle = 70s,
                               .keep_alive_interval = 7s,
                               .keep_alive_probes = 5,
                               .user_timeout = 2500ms};
    for (const bool plain : {true, false}) {
        BOOST_TEST_INFO_SCOPE((plain ? "as usual" : "as asked for"));
        recorders all;
        auto at = co_await serve(all, {}, plain ? server_options() : asked);
        auto client = co_await dial(at.addresses().at(0));
        co_await eventually([&] { return all.size() == 1; });
        BOOST_REQUIRE(all[0]->link);
        const auto* const accepted = all[0]->link->get_extra_info<const socket_view*>("socket");
        BOOST_REQUIRE(accepted);
        for (const auto& [level, name, usual, wanted] : wishes) {
            const int expected = plain ? usual : wanted;
            if (expected < 0) continue;  // the system's own
            BOOST_TEST_INFO_SCOPE("option " << level << ", " << name);
            BOOST_TEST(co_await at.sockets().at(0)->get_option(level, name) == expected);
            BOOST_TEST(co_await accepted->get_option(level, name) == expected);
        }
        co_await end(at);
    }
}

OURO_ASYNC_TEST(unix_servers_have_no_tcp_options_and_do_not_mind) {
    recorders all;
    auto at = co_await serve(all, {kind::streaming, medium::unix_stream},
                             {.keep_alive = true, .keep_alive_probes = 3, .user_timeout = 1s});
    auto client = co_await dial(at.addresses().at(0));
    co_await eventually([&] { return all.size() == 1; });
    co_await end(at);
}

OURO_ASYNC_TEST(options_that_no_server_can_have_are_refused) {
    const server_options senseless[] = {
        {.max_accept_rate = -1},   {.max_accept_rate = std::nan("")}, {.keep_alive_idle = -1s},
        {.keep_alive_probes = -1}, {.user_timeout = 1'000'000h},      {.accept_retry = -1ms},
    };
    const auto before = descriptors();
    for (const auto& options : senseless) {
        recorders all;
        auto outcome = co_await as_result(serve(all, {}, options));
        BOOST_REQUIRE(!outcome);
        BOOST_CHECK(outcome.error() == errc::value_error);
    }
    BOOST_TEST(descriptors() == before);
}

// rule 430
OURO_ASYNC_TEST(an_accepted_socket_handed_in_is_served_like_any_other) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto pair = co_await socket_pair(how.over);
        auto seen = make_recorder(how.receiver);
        auto made = co_await connect_accepted_socket(factory_of(seen), std::move(pair.first));
        linked on(seen, made.transport, std::move(pair.second));
        send_now(on.peer, "hello");
        co_await eventually([&] { return seen->data == "hello"; });
        BOOST_CHECK(!on.link->write("hello yourself"));
        BOOST_TEST(co_await read_text(on.peer, 14) == "hello yourself");
    }
    auto seen = make_recorder(kind::streaming);
    auto refused = co_await as_result(
        connect_accepted_socket(factory_of(seen), co_await bound_socket(SOCK_DGRAM)));
    BOOST_CHECK(!refused && refused.error() == errc::value_error);
    BOOST_TEST(seen->events.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
