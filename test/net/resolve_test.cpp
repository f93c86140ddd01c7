// Names to addresses: like getaddrinfo(3) where there is a name, without it where there is none.
#include <ouro/net/resolve.hpp>

#include "async_test.hpp"

#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>

namespace ouro::test {
namespace {

std::string list(const std::vector<address>& found) {
    std::string text;
    for (const address& each : found) text += each.to_string() + " ";
    return text;
}

/// What getaddrinfo(3) says, with the call that blocks.
std::string blocking(const char* host, const char* service, int family = AF_UNSPEC) {
    addrinfo hints{};
    hints.ai_family = family;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(host, service, &hints, &found) != 0) return "failed";
    std::vector<address> all;
    for (addrinfo* each = found; each; each = each->ai_next) {
        all.emplace_back(each->ai_addr, each->ai_addrlen);
    }
    ::freeaddrinfo(found);
    return list(all);
}

task<> resolve_and_go_on(std::string host) {
    (void)co_await resolve(std::move(host), 80);
    co_await yield();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resolving)

// rule 66
OURO_KERNEL_TEST(names_resolve_as_with_the_blocking_resolver,
                 "compares with what getaddrinfo(3) says on this machine") {
    BOOST_TEST(list(co_await resolve("localhost", 80)) == blocking("localhost", "80"));
    BOOST_TEST(list(co_await resolve("127.1", 80)) == blocking("127.1", "80"));
    BOOST_TEST(list(co_await resolve("", 80)) == blocking(nullptr, "80"));
}

// rule 66
OURO_ASYNC_TEST(the_own_machine_has_a_name) {
    BOOST_TEST(list(co_await resolve("localhost", 80, {.family = AF_INET})) == "127.0.0.1:80 ");
}

// rule 67
OURO_ASYNC_TEST(numeric_hosts_are_used_as_they_are_without_a_look_up) {
    const auto turns = loop::current().statistics().turns;
    BOOST_TEST(list(co_await resolve("127.0.0.1", 80)) == "127.0.0.1:80 ");
    BOOST_TEST(list(co_await resolve("::1", 80)) == "[::1]:80 ");
    BOOST_TEST(list(co_await resolve("192.0.2.7", 1, {.family = AF_INET})) == "192.0.2.7:1 ");
    BOOST_TEST(list(co_await resolve("::", 0, {.family = AF_INET6})) == "[::]:0 ");
    BOOST_TEST(loop::current().statistics().turns ==
               turns);  // another thread would have taken some
}

OURO_ASYNC_TEST(a_numeric_host_of_the_other_family_is_refused) {
    const auto found = co_await as_result(resolve("127.0.0.1", 80, {.family = AF_INET6}));
    BOOST_REQUIRE(!found);
    BOOST_TEST((found.error() == errc::no_address));
    BOOST_TEST(found.error().message().find("127.0.0.1") != std::string::npos);
}

// rule 69
OURO_ASYNC_TEST(a_zone_gives_the_scope_id_as_a_number) {
    const auto numeric = co_await resolve("fe80::1%7", 80);
    BOOST_TEST(list(numeric) == "[fe80::1%7]:80 ");
}

// rule 69
OURO_KERNEL_TEST(a_zone_gives_the_scope_id_as_a_name, "asks the kernel for the interface lo") {
    const auto named = co_await resolve("fe80::1%lo", 80);
    BOOST_REQUIRE(named.size() == 1U);
    const auto& raw = *reinterpret_cast<const sockaddr_in6*>(named[0].raw());
    BOOST_TEST(raw.sin6_scope_id == ::if_nametoindex("lo"));
}

OURO_ASYNC_TEST(an_empty_host_means_all_interfaces_for_who_listens) {
    for (const address& each : co_await resolve("", 80, {.for_listening = true})) {
        BOOST_TEST((each.host() == "0.0.0.0" || each.host() == "::"));
        BOOST_TEST(each.port() == 80);
    }
}

OURO_ASYNC_TEST(a_zero_byte_in_a_name_is_refused) {
    using namespace std::string_literals;
    const auto found = co_await as_result(resolve("localhost\0.example"s, 80));
    BOOST_REQUIRE(!found);
    BOOST_TEST((found.error() == errc::value_error));
    const auto numeric = co_await as_result(resolve("127.0.0.1\0"s, 80));
    BOOST_REQUIRE(!numeric);
    BOOST_TEST((numeric.error() == errc::value_error));
}

OURO_ASYNC_TEST(a_name_that_cannot_exist_fails_and_is_named) {
    const std::string label_too_long = std::string(64, 'x') + ".invalid";
    for (const std::string& name :
         {std::string("name.invalid"), label_too_long, std::string("a b.invalid")}) {
        const auto found = co_await as_result(resolve(name, 80));
        BOOST_REQUIRE(!found);
        BOOST_TEST((found.error() == errc::no_address));
        BOOST_TEST(found.error().message().find(name) != std::string::npos);
    }
}

OURO_ASYNC_TEST(many_look_ups_run_at_the_same_time) {
    std::vector<task_handle<std::vector<address>>> all;
    for (std::uint16_t port = 1; port <= 20; ++port) {
        all.push_back(spawn(resolve("localhost", port, {.family = AF_INET})));
    }
    for (std::uint16_t port = 1; port <= 20; ++port) {
        BOOST_TEST(list(co_await all[port - 1U]) == "127.0.0.1:" + std::to_string(port) + " ");
    }
}

OURO_ASYNC_TEST(a_cancelled_look_up_frees_its_waiter_at_once) {
    auto looking = spawn(resolve_and_go_on("localhost"));
    co_await yield();
    BOOST_REQUIRE(looking.cancel());
    const auto ended = co_await as_result(looking.join());
    BOOST_REQUIRE(!ended);
    BOOST_TEST((ended.error() == errc::cancelled));
}

OURO_ASYNC_TEST(a_cancellation_is_never_swallowed_however_long_a_look_up_has_run) {
    for (int i = 0; i < 100; ++i) {
        auto looking = spawn(resolve_and_go_on("localhost"));
        co_await yield();
        co_await sleep(std::chrono::microseconds(i % 30 * 20));
        co_await settle(i % 4);
        if (!looking.cancel()) continue;
        const auto ended = co_await as_result(looking.join());
        BOOST_REQUIRE(!ended);
        BOOST_REQUIRE((ended.error() == errc::cancelled));
    }
}

OURO_KERNEL_TEST(a_cancellation_that_races_with_the_answer_of_a_look_up_is_never_swallowed,
                 "keeps the loop busy in real time until another thread answers") {
    for (int i = 0; i < 300; ++i) {
        auto looking = spawn(resolve_and_go_on("localhost"));
        co_await yield();
        const auto enough = clock::now() + std::chrono::microseconds(i % 30 * 20);
        while (clock::now() < enough) continue;  // the answer arrives in one of these rounds
        co_await settle(i % 4);
        if (!looking.cancel()) continue;
        const auto ended = co_await as_result(looking.join());
        BOOST_REQUIRE(!ended);
        BOOST_REQUIRE((ended.error() == errc::cancelled));
    }
}

// rule 70
BOOST_AUTO_TEST_CASE(a_loop_may_close_while_a_look_up_is_in_flight) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        for (int i = 0; i < 20; ++i) {
            loop home(options_for(each));
            home.set_exception_handler([](loop&, const failure_report& report) {
                BOOST_CHECK_MESSAGE(false, report.message);
            });
            const auto cancel_soon = [](bool cancels) -> task<> {
                auto looking = spawn(resolve_and_go_on("localhost"));
                co_await yield();
                if (!cancels) co_return;  // then the closing loop does
                looking.cancel();
                (void)co_await as_result(looking.join());
            };
            BOOST_TEST(home.run_until_complete(cancel_soon(i % 2 == 0)).has_value());
            home.close();
            BOOST_TEST(home.counters().ops == 0U);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
