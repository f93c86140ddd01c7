// Datagram endpoints: how they are made, what they are told, how they end.
#include <ouro/proto/datagram.hpp>

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include <ouro/runtime/timeout.hpp>

#include "datagram_recorder.hpp"

namespace ouro::test {
namespace {

auto silent() {
    return [] { return std::make_shared<datagram_protocol>(); };
}

/// An error to look at: a task that returns one fails with it.
struct refusal {
    error why;
};

task<refusal> refused(datagram_options options) {
    auto made = co_await as_result(create_datagram_endpoint(silent(), std::move(options)));
    if (!made) co_return refusal{made.error()};
    made->transport->abort();
    co_return refusal{};
}

int option_of(const endpoint& of, int name) {
    return of.link->get_extra_info<const socket_view*>("socket")
        ->get_option(SOL_SOCKET, name)
        .value();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(datagram_endpoints)

OURO_ASYNC_TEST(datagrams_go_to_an_address_and_tell_where_they_came_from) {
    const endpoint here = co_await open_bound(), there = co_await open_bound();
    BOOST_CHECK(!here.link->send_to("hello", there.name()));
    co_await received(there.seen, 1);
    BOOST_TEST(there.seen->datagrams.at(0).text == "hello");
    BOOST_CHECK(there.seen->datagrams.at(0).from == here.name());
    BOOST_CHECK(!there.link->send_to("back", there.seen->datagrams.at(0).from));
    co_await received(here.seen, 1);
    BOOST_TEST(here.seen->texts() == "back");
    BOOST_CHECK(!here.link->get_extra_info<address>("peername"));
    const datagram_statistics counted = there.link->statistics();
    BOOST_TEST(counted.sent == 1U);
    BOOST_TEST(counted.sent_bytes == 4U);
    BOOST_TEST(counted.received == 1U);
    BOOST_TEST(counted.received_bytes == 5U);
}

// rule 477
OURO_ASYNC_TEST(the_creator_goes_on_after_connection_made_and_reading_starts_after_it) {
    auto seen = std::make_shared<datagram_recorder>();
    const endpoint other = co_await open_bound();
    seen->on_made = [at = seen.get()] {
        BOOST_TEST(at->link->is_reading());
        BOOST_CHECK(!at->link->send_to("to myself", at->link->get_extra_info<address>("sockname")));
    };
    const endpoint own = co_await open_endpoint({.local = any_port()}, seen);
    BOOST_TEST(seen->made == 1);
    BOOST_TEST(seen->datagrams.empty());
    co_await received(seen, 1);
    BOOST_TEST(seen->texts() == "to myself");
}

// rule 444
OURO_ASYNC_TEST(a_connected_endpoint_sends_to_its_peer_only) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->send_to("without"));
    BOOST_CHECK(!client.link->send_to("with", server.name()));
    BOOST_CHECK(client.link->send_to("elsewhere", client.name()) == errc::value_error);
    BOOST_CHECK(client.link->send_to("of another family", abstract_path()) == errc::value_error);
    co_await received(server.seen, 2);
    BOOST_TEST(server.seen->texts() == "without with");
    BOOST_CHECK(client.link->get_extra_info<address>("peername") == server.name());
}

// rules 458, 475
OURO_ASYNC_TEST(an_endpoint_without_a_peer_needs_an_address_of_its_family) {
    const endpoint own = co_await open_bound();
    BOOST_CHECK(own.link->send_to("nowhere") == std::errc::destination_address_required);
    BOOST_CHECK(own.link->send_to("x", abstract_path()) == std::errc::address_family_not_supported);
    BOOST_CHECK(own.link->send_to("x", address::from_ip("::1", 1).value()) ==
                std::errc::address_family_not_supported);
    co_await settle();
    BOOST_TEST(own.seen->errors.empty());
    BOOST_TEST(!own.link->is_closing());
    BOOST_CHECK(!own.link->send_to("to myself", own.name()));
    co_await received(own.seen, 1);
}

// rules 465, 467
OURO_ASYNC_TEST(an_endpoint_needs_a_family_and_one_only) {
    BOOST_CHECK((co_await refused({})).why == errc::value_error);
    BOOST_CHECK(
        (co_await refused({.local = any_port(), .remote = address::from_ip("::1", 1).value()}))
            .why == errc::value_error);
    BOOST_CHECK((co_await refused({.local = any_port(), .family = AF_INET6})).why ==
                errc::value_error);
    BOOST_CHECK((co_await refused({.local = any_port(), .local_host = "127.0.0.1"})).why ==
                errc::value_error);
    const endpoint made = co_await open_endpoint({.family = AF_INET});
    BOOST_CHECK(!made.name() || made.name().port() == 0);
    if (!co_await has_ipv6()) co_return;
    const endpoint six = co_await open_endpoint({.local = address::from_ip("::1", 0).value()});
    BOOST_CHECK(!six.link->send_to("to myself", six.name()));
    co_await received(six.seen, 1);
    BOOST_CHECK(six.seen->datagrams.at(0).from == six.name());
}

// rule 468
OURO_ASYNC_TEST(names_are_resolved_and_the_first_failure_is_the_error) {
    const endpoint server = co_await open_endpoint({.local_host = "127.0.0.1", .family = AF_INET});
    const endpoint client = co_await open_endpoint(
        {.remote_host = "localhost", .remote_port = server.name().port(), .family = AF_INET});
    BOOST_CHECK(!client.link->send_to("by name"));
    co_await received(server.seen, 1);
    const error taken = (co_await refused({.local = server.name()})).why;
    BOOST_CHECK(taken == std::errc::address_in_use);
    BOOST_TEST(taken.message().find(server.name().to_string()) != std::string::npos);
    const error unknown = (co_await refused({.remote_host = "no-such-host.invalid"})).why;
    BOOST_TEST(bool(unknown));
}

// rule 469
OURO_ASYNC_TEST(a_given_socket_must_not_be_a_stream_socket) {
    auto [one, other] = co_await tcp_pair();
    const auto made = co_await as_result(create_datagram_endpoint(silent(), std::move(one)));
    BOOST_REQUIRE(!made);
    BOOST_CHECK(made.error() == errc::value_error);
    const auto closed = co_await as_result(create_datagram_endpoint(silent(), socket()));
    BOOST_REQUIRE(!closed);
    BOOST_CHECK(closed.error() == errc::value_error);
}

// rules 473, 474
OURO_ASYNC_TEST(a_given_pair_talks_without_addresses) {
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->send_to("hello"));
    co_await received(other.seen, 1);
    BOOST_TEST(other.seen->texts() == "hello");
    BOOST_CHECK(!other.seen->datagrams.at(0).from);
}

// rule 474
OURO_ASYNC_TEST(a_socket_that_was_connected_before_sends_without_an_address) {
    const endpoint server = co_await open_bound();
    socket given = co_await socket::open(loop::current(), AF_INET, SOCK_DGRAM);
    co_await given.connect(server.name());
    auto seen = std::make_shared<datagram_recorder>();
    auto made = co_await create_datagram_endpoint([seen] { return seen; }, std::move(given));
    const endpoint client(seen, made.transport);
    BOOST_CHECK(!client.link->send_to("hello"));
    co_await received(server.seen, 1);
    BOOST_CHECK(server.seen->datagrams.at(0).from == client.name());
}

// rule 470
OURO_ASYNC_TEST(nothing_is_shared_or_broadcast_unless_asked_for) {
    const endpoint plain = co_await open_bound();
    for (const int name : {SO_REUSEADDR, SO_REUSEPORT, SO_BROADCAST}) {
        BOOST_TEST(option_of(plain, name) == 0);
    }
    const endpoint first = co_await open_endpoint({.local = any_port(), .reuse_port = true});
    BOOST_TEST(option_of(first, SO_REUSEPORT) == 1);
    BOOST_TEST(option_of(first, SO_REUSEADDR) == 0);
    const endpoint second = co_await open_endpoint({.local = first.name(), .reuse_port = true});
    BOOST_CHECK(second.name() == first.name());
    const endpoint sender = co_await open_bound();
    BOOST_CHECK(!sender.link->send_to("to one of them", first.name()));
    co_await eventually([one = first.seen, other = second.seen] {
        return one->datagrams.size() + other->datagrams.size() == 1;
    });
}

// rule 471
OURO_ASYNC_TEST(a_broadcasting_endpoint_is_not_connected_to_its_target) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_endpoint(
        {.local = any_port(), .remote = server.name(), .allow_broadcast = true});
    BOOST_TEST(option_of(client, SO_BROADCAST) == 1);
    BOOST_CHECK(!client.link->send_to("to the default"));
    const endpoint other = co_await open_bound();
    BOOST_CHECK(!client.link->send_to("elsewhere", other.name()));
    co_await received(server.seen, 1);
    co_await received(other.seen, 1);
    BOOST_CHECK(!other.link->send_to("from a stranger", client.name()));
    co_await received(client.seen, 1);
}

// rule 471
OURO_ASYNC_TEST(a_broadcast_reaches_all_that_listen_on_the_port) {
    const address everywhere = address::from_ip("0.0.0.0", 0).value();
    const endpoint server = co_await open_endpoint({.local = everywhere, .reuse_port = true});
    const endpoint other = co_await open_endpoint({.local = server.name(), .reuse_port = true});
    const address all = address::from_ip("127.255.255.255", server.name().port()).value();
    const endpoint quiet = co_await open_bound();
    BOOST_CHECK(!quiet.link->send_to("not allowed", all));
    co_await eventually([seen = quiet.seen] { return seen->errors.size() == 1; });
    BOOST_CHECK(quiet.seen->errors.at(0) == std::errc::permission_denied);
    const endpoint loud = co_await open_endpoint({.local = any_port(), .allow_broadcast = true});
    BOOST_CHECK(!loud.link->send_to("to all", all));
    co_await received(server.seen, 1);
    co_await received(other.seen, 1);
}

OURO_ASYNC_TEST(members_of_a_group_get_what_is_sent_to_it) {
    constexpr unsigned loopback_index = 1;
    const endpoint member =
        co_await open_endpoint({.local = address::from_ip("0.0.0.0", 0).value()});
    const address group = address::from_ip("239.1.2.3", member.name().port()).value();
    const endpoint sender = co_await open_bound();
    // The address of the interface, as it lies in memory.
    const int loopback_device = static_cast<int>(htonl(INADDR_LOOPBACK));
    BOOST_CHECK(sender.link->get_extra_info<const socket_view*>("socket")->set_option(
        IPPROTO_IP, IP_MULTICAST_IF, loopback_device));
    co_await member.link->join_group(group, loopback_index);
    BOOST_TEST(!member.link->join_group(group, loopback_index).has_value());
    BOOST_CHECK(!sender.link->send_to("to the group", group));
    co_await received(member.seen, 1);
    co_await member.link->leave_group(group, loopback_index);
    const auto twice = member.link->leave_group(group, loopback_index);
    BOOST_REQUIRE(!twice);
    BOOST_CHECK(twice.error() == std::errc::address_not_available);
    BOOST_TEST(twice.error().message().find("239.1.2.3") != std::string::npos);
    BOOST_CHECK(!sender.link->send_to("after it left", group));
    BOOST_CHECK(!sender.link->send_to("directly", member.name()));
    BOOST_CHECK(member.link->join_group(address::from_ip("ff02::1", 1).value()).error() ==
                errc::value_error);
    BOOST_TEST(!member.link->join_group(address::from_ip("10.0.0.1", 1).value()).has_value());
    const address direct = address::from_ip("127.0.0.1", member.name().port()).value();
    BOOST_CHECK(!sender.link->send_to("directly", direct));
    co_await eventually([seen = member.seen] {
        return !seen->datagrams.empty() && last_of(seen->datagrams).text == "directly";
    });
    BOOST_TEST(member.seen->texts().find("after it left") == std::string::npos);
}

// ---- the end

// rule 462
OURO_ASYNC_TEST(close_sends_what_is_queued_first) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->send_to("one"));
    BOOST_CHECK(!client.link->send_to("two"));
    client.link->close();
    client.link->close();
    BOOST_TEST(client.link->is_closing());
    BOOST_TEST(!client.link->is_reading());
    BOOST_TEST(client.seen->losses == 0);
    co_await received(server.seen, 2);
    co_await eventually([seen = client.seen] { return seen->losses == 1; });
    BOOST_TEST(!client.seen->why);
    BOOST_TEST(server.seen->texts() == "one two");
    BOOST_CHECK(!client.link->get_protocol());
}

// rule 463
OURO_ASYNC_TEST(abort_drops_what_is_queued) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->send_to("dropped"));
    client.link->abort();
    BOOST_TEST(client.link->get_write_buffer_size() == 0U);
    co_await eventually([seen = client.seen] { return seen->losses == 1; });
    BOOST_TEST(!client.seen->why);
    const endpoint other = co_await open_connected(server.name());
    BOOST_CHECK(!other.link->send_to("marker"));
    co_await received(server.seen, 1);
    BOOST_TEST(server.seen->texts() == "marker");
}

// rule 464
OURO_ASYNC_TEST(sends_on_a_closed_endpoint_are_dropped_with_a_warning_from_the_fifth_on) {
    for (const bool is_connected : {true, false}) {
        const endpoint server = co_await open_bound();
        const endpoint client =
            is_connected ? co_await open_connected(server.name()) : co_await open_bound();
        client.link->close();
        co_await eventually([seen = client.seen] { return seen->losses == 1; });
        for (int i = 0; i < 4; ++i) BOOST_CHECK(!client.link->send_to("x", server.name()));
        BOOST_TEST(take_reports().empty());
        BOOST_CHECK(!client.link->send_to("x"));
        const auto reports = take_reports();
        BOOST_REQUIRE(reports.size() == 1U);
        BOOST_CHECK(reports.at(0).level == severity::warning);
        BOOST_TEST(client.link->statistics().dropped == 5U);
    }
}

// rule 460
OURO_ASYNC_TEST(what_a_callback_throws_is_reported_and_the_endpoint_stays_open) {
    const endpoint own = co_await open_bound();
    own.seen->on_datagram = [] { throw std::runtime_error("a bug"); };
    BOOST_CHECK(!own.link->send_to("one", own.name()));
    co_await received(own.seen, 1);
    own.seen->on_error = [] { throw std::runtime_error("another bug"); };
    BOOST_CHECK(!own.link->send_to(std::string(70'000, 'x'), own.name()));
    co_await eventually([seen = own.seen] { return !seen->errors.empty(); });
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 2U);
    BOOST_TEST(reports.at(0).message.find("datagram_received") != std::string::npos);
    BOOST_TEST(reports.at(1).message.find("error_received") != std::string::npos);
    own.seen->forget_hooks();
    BOOST_CHECK(!own.link->send_to("two", own.name()));
    co_await received(own.seen, 2);
    BOOST_TEST(!own.link->is_closing());
}

OURO_ASYNC_TEST(another_protocol_gets_what_comes_from_then_on) {
    const endpoint own = co_await open_bound();
    auto second = std::make_shared<datagram_recorder>();
    second->made = 1;
    own.seen->on_datagram = [link = own.link, second] { link->set_protocol(second); };
    BOOST_CHECK(!own.link->send_to("one", own.name()));
    co_await received(own.seen, 1);
    BOOST_CHECK(own.link->get_protocol() == second);
    own.seen->on_datagram = nullptr;
    BOOST_CHECK(!own.link->send_to("two", own.name()));
    co_await received(second, 1);
    BOOST_TEST(own.seen->texts() == "one");
    BOOST_TEST(second->texts() == "two");
    own.link->abort();
    co_await eventually([second] { return second->losses == 1; });
    BOOST_TEST(own.seen->losses == 0);
}

OURO_ASYNC_TEST(a_creator_that_is_cancelled_leaves_no_endpoint) {
    auto making = spawn(
        []() -> task<> { co_await create_datagram_endpoint(silent(), {.local = any_port()}); }());
    co_await yield();
    making.cancel();
    const auto ended = co_await as_result(std::move(making).join());
    if (!ended) BOOST_CHECK(ended.error() == errc::cancelled);
    co_await settle();
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
