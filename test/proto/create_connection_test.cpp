// Connecting: addresses in turn, errors that tell of each, and cancellation at every point.
#include <ouro/proto/create_connection.hpp>

#include <unistd.h>

#include <stdexcept>

#include <ouro/net/resolve.hpp>

#include "connecting.hpp"

namespace ouro::test {
// The empty host is this machine: both of its loopback addresses, IPv6 first, where there is IPv6.

BOOST_AUTO_TEST_SUITE(connecting)

// rules 379, 267
OURO_ASYNC_TEST(a_host_and_port_become_a_connection_whose_factory_ran_once) {
    for (const way& how : each_kind) {
        BOOST_TEST_INFO_SCOPE(how);
        auto server = co_await listening();
        const address where = co_await server.local_address();
        auto seen = make_recorder(how.receiver);
        int calls = 0;
        auto made = co_await create_connection(
            [&] {
                ++calls;
                return seen->as_protocol();
            },
            "127.0.0.1", where.port());
        BOOST_TEST(calls == 1);
        BOOST_TEST(seen->story() == "made");
        linked on(seen, made.transport, co_await server.accept());
        BOOST_CHECK(on.link->get_extra_info<address>("peername") == where);
        BOOST_CHECK(on.link->get_extra_info<address>("sockname") ==
                    co_await on.peer.peer_address());
        BOOST_CHECK(!on.link->write("hello"));
        BOOST_TEST(co_await read_text(on.peer, 5) == "hello");
    }
}

// rule 369
OURO_ASYNC_TEST(an_address_connects_over_tcp_and_unix_sockets) {
    const std::string name = "unix:@ouro-test-connect-" + std::to_string(::getpid());
    for (const std::string& text : {std::string("127.0.0.1:0"), name}) {
        const address where = co_await address::parse(text);
        auto server = co_await socket::open(loop::current(), where.family());
        co_await server.bind(where);
        co_await server.listen();
        auto seen = make_recorder(kind::streaming);
        auto made = co_await create_connection(factory_of(seen), co_await server.local_address());
        linked on(seen, made.transport, co_await server.accept());
        send_now(on.peer, text);
        co_await eventually([&] { return seen->data == text; });
    }
}

// rule 369
OURO_ASYNC_TEST(addresses_of_a_name_are_tried_until_one_connects) {
    auto server = co_await listening();  // on IPv4 only
    const address where = co_await server.local_address();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_connection(factory_of(seen), "", where.port());
    linked on(seen, made.transport, co_await server.accept());
    BOOST_CHECK(on.link->get_extra_info<address>("peername") == where);
}

// rules 371, 379, 384, 374
// fault 42
OURO_ASYNC_TEST(a_port_nobody_listens_on_refuses_and_no_protocol_is_made) {
    auto [held, where] = co_await deaf_port();
    const auto before = descriptors();
    int calls = 0;
    const auto factory = [&] {
        ++calls;
        return make_recorder(kind::streaming)->as_protocol();
    };
    auto by_name = co_await as_result(create_connection(factory, "127.0.0.1", where.port()));
    auto by_address = co_await as_result(create_connection(factory, where));
    for (const auto* outcome : {&by_name, &by_address}) {
        BOOST_REQUIRE(!outcome->has_value());
        BOOST_CHECK(outcome->error() == std::errc::connection_refused);
        BOOST_TEST(outcome->error().message().find(where.to_string()) != std::string::npos);
    }
    BOOST_TEST(calls == 0);
    BOOST_TEST(descriptors() == before);
}

// rules 370, 372
OURO_ASYNC_TEST(the_failures_of_all_addresses_become_one_error) {
    auto [held, where] = co_await deaf_port();
    const auto found = co_await resolve("", where.port());
    auto outcome = co_await as_result(create_connection(
        [] { return make_recorder(kind::streaming)->as_protocol(); }, "", where.port()));
    BOOST_REQUIRE(!outcome.has_value());
    // Of no address of the family, where that is not there.
    BOOST_CHECK((outcome.error() == std::errc::connection_refused || !co_await has_ipv6()));
    if (found.size() == 1 || !co_await has_ipv6()) co_return;
    BOOST_TEST(outcome.error().causes().size() == found.size());
    BOOST_TEST(outcome.error().message().starts_with("connect [::1]:"));
    BOOST_TEST(outcome.error().message().find("; " + where.to_string()) != std::string::npos);
}

// rule 373
OURO_ASYNC_TEST(all_errors_are_given_on_request_even_a_single_one) {
    auto [held, where] = co_await deaf_port();
    auto outcome = co_await as_result(
        create_connection([] { return make_recorder(kind::streaming)->as_protocol(); }, "127.0.0.1",
                          where.port(), {.all_errors = true}));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == errc::several_failures);
    BOOST_REQUIRE_EQUAL(outcome.error().causes().size(), 1U);
    BOOST_CHECK(outcome.error().causes()[0] == std::errc::connection_refused);
}

// rule 376
OURO_ASYNC_TEST(a_local_address_is_bound_before_connecting) {
    auto server = co_await listening();
    const address where = co_await server.local_address();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_connection(factory_of(seen), "127.0.0.1", where.port(),
                                           {.local = co_await address::parse("127.0.0.2:0")});
    linked on(seen, made.transport, co_await server.accept());
    BOOST_TEST((co_await on.peer.peer_address()).host() == "127.0.0.2");
}

// rules 377, 374
OURO_ASYNC_TEST(a_failed_bind_names_the_local_address_and_keeps_the_code) {
    auto server = co_await listening();
    const address where = co_await server.local_address();
    const auto before = descriptors();
    auto outcome = co_await as_result(
        create_connection([] { return make_recorder(kind::streaming)->as_protocol(); }, "127.0.0.1",
                          where.port(), {.local = where}));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == std::errc::address_in_use);
    BOOST_TEST(outcome.error().message().find(where.to_string()) != std::string::npos);
    BOOST_TEST(descriptors() == before);
}

// rules 378, 374
OURO_ASYNC_TEST(a_local_address_of_another_family_fits_nothing) {
    const auto before = descriptors();
    auto outcome = co_await as_result(
        create_connection([] { return make_recorder(kind::streaming)->as_protocol(); }, "127.0.0.1",
                          1, {.local = co_await address::parse("[::1]:0")}));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == errc::no_address);
    BOOST_TEST(outcome.error().message().find("no matching local address") != std::string::npos);
    BOOST_TEST(descriptors() == before);
}

// rules 374, 375
OURO_ASYNC_TEST(a_cancelled_attempt_ends_the_search_and_closes_its_socket) {
    auto server = co_await listening(0);
    const address where = co_await server.local_address();
    auto queue = co_await crowd::before(where);
    const auto before = descriptors();
    for (const bool by_name : {false, true}) {
        const auto factory = [] { return make_recorder(kind::streaming)->as_protocol(); };
        auto connecting = by_name ? spawn(create_connection(factory, "localhost", where.port()))
                                  : spawn(create_connection(factory, where));
        co_await eventually([&] { return descriptors() > before || connecting.done(); });
        co_await settle(20);
        connecting.cancel();
        auto outcome = co_await as_result(std::move(connecting).join());
        BOOST_REQUIRE(!outcome.has_value());
        BOOST_CHECK(outcome.error() == errc::cancelled);
        co_await eventually([&] { return descriptors() == before; });
    }
    co_await queue.leave();
}

// rule 365
OURO_ASYNC_TEST(only_stream_sockets_are_taken) {
    for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
        const auto before = descriptors();
        auto given = co_await socket::open(loop::current(), AF_UNIX, type);
        auto outcome = co_await as_result(create_connection(
            [] { return make_recorder(kind::streaming)->as_protocol(); }, std::move(given)));
        BOOST_REQUIRE(!outcome.has_value());
        BOOST_CHECK(outcome.error() == errc::value_error);
        BOOST_TEST(descriptors() == before);
    }
}

// rule 366
OURO_ASYNC_TEST(a_given_socket_belongs_to_the_transport) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [own, other] = co_await socket_pair(how.over);
        const int fd = own.fd();
        const auto before = descriptors();
        auto seen = make_recorder(how.receiver);
        auto made = co_await create_connection(factory_of(seen), std::move(own));
        linked on(seen, made.transport, std::move(other));
        BOOST_TEST(!own);
        BOOST_TEST(on.link->get_extra_info<const socket_view*>("socket")->fd() == fd);
        BOOST_TEST(descriptors() == before);
        on.link->close();
        co_await eventually([&] { return seen->lost(); });
        BOOST_TEST(descriptors() == before - 1);
    }
}

// rule 367
OURO_ASYNC_TEST(a_closed_socket_is_refused) {
    const auto factory = [] { return make_recorder(kind::streaming)->as_protocol(); };
    auto outcome = co_await as_result(create_connection(factory, socket()));
    BOOST_REQUIRE(!outcome.has_value());
    BOOST_CHECK(outcome.error() == std::errc::invalid_argument ||
                outcome.error() == std::errc::bad_file_descriptor);
    auto [own, other] = co_await tcp_pair();
    io::discard(loop::current(), own.fd());  // behind its back
    auto late = co_await as_result(create_connection(factory, std::move(own)));
    BOOST_REQUIRE(!late.has_value());
    BOOST_CHECK(late.error() == std::errc::bad_file_descriptor);
}

// rules 368, 380, 374, 264
// fault 64
OURO_ASYNC_TEST(cancelling_the_creation_at_any_turn_leaks_nothing) {
    for (const way& how : every_way) {
        for (int turns = 0; turns < 5; ++turns) {
            BOOST_TEST_INFO_SCOPE(how << ", cancelled after " << turns << " turns");
            auto [own, other] = co_await socket_pair(how.over);
            const auto before = descriptors();
            auto seen = make_recorder(how.receiver);
            auto creating = spawn(create_connection(factory_of(seen), std::move(own)));
            co_await settle(turns);
            creating.cancel();
            auto outcome = co_await as_result(std::move(creating).join());
            if (outcome) {
                outcome->transport->abort();
            } else {
                BOOST_CHECK(outcome.error() == errc::cancelled);
            }
            co_await eventually([&] { return descriptors() == before - 1; });
            BOOST_TEST((co_await read_to_end(other)).empty());
            BOOST_TEST(seen->made == seen->losses);
        }
    }
}

// rules 368, 380
OURO_ASYNC_TEST(a_cancellation_that_is_due_already_closes_the_given_socket) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [own, other] = co_await socket_pair(how.over);
        const auto before = descriptors();
        auto seen = make_recorder(how.receiver);
        task_handle<> self;
        self = spawn([](task_handle<>& me, recorder& on, socket given) -> task<> {
            me.cancel();  // delivered at the next await, which is inside create_connection
            co_await create_connection([&on] { return on.as_protocol(); }, std::move(given));
        }(self, *seen, std::move(own)));
        auto outcome = co_await as_result(self.join());
        BOOST_REQUIRE(!outcome.has_value());
        BOOST_CHECK(outcome.error() == errc::cancelled);
        co_await eventually([&] { return descriptors() == before - 1; });
        BOOST_TEST((co_await read_to_end(other)).empty());
        BOOST_TEST(seen->made == seen->losses);
        self = {};
    }
}

// rule 379
// fault 56
OURO_ASYNC_TEST(a_factory_that_throws_fails_the_creation_and_closes_the_socket) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [own, other] = co_await socket_pair(how.over);
        bool thrown = false;
        try {
            co_await create_connection(
                []() -> std::shared_ptr<protocol> { throw std::runtime_error("no protocol"); },
                std::move(own));
        } catch (const std::runtime_error& why) {
            thrown = why.what() == std::string("no protocol");
        }
        BOOST_TEST(thrown);
        BOOST_TEST((co_await read_to_end(other)).empty());
    }
}

// rules 309, 359
OURO_ASYNC_TEST(the_protocol_comes_back_with_its_own_type) {
    auto [own, other] = co_await tcp_pair();
    auto made = co_await create_connection([] { return std::make_shared<streaming_recorder>(); },
                                           std::move(own));
    static_assert(std::is_same_v<decltype(made.protocol), std::shared_ptr<streaming_recorder>>);
    BOOST_TEST(made.protocol->story() == "made");
    made.transport->abort();
    co_await eventually([&] { return made.protocol->lost(); });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
