// Connecting to one of several addresses: their order, overlapping attempts, local addresses, and
// what is told when none of them answers.
#include <ouro/proto/create_connection.hpp>

#include <algorithm>
#include <new>

#include <ouro/proto/server.hpp>
#include <ouro/testing/allocation_faults.hpp>
#include <ouro/testing/injection.hpp>
#include <ouro/testing/simulation.hpp>

#include "connecting.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using hosts = std::vector<std::string>;

/// A name that no name server is asked for: its first label is too long.
const std::string nobody = std::string(64, 'x') + ".invalid";
/// Another one.
const std::string nobody_else = std::string(64, 'y') + ".invalid";

/// What a failed creation told. As a bare `error` it would end the task that returns it.
struct failure {
    error why;
};

/// The addresses of failed attempts, in order: "127.0.0.1 ::1".
std::string tried(const failure& of) {
    std::string text;
    for (const error& each : of.why.causes()) {
        const std::string& doing = each.doing();
        const auto end = doing.rfind(':');
        std::string host = doing.substr(8, end - 8);  // "connect HOST:PORT"
        if (host.starts_with("[")) host = host.substr(1, host.size() - 2);
        text += (text.empty() ? "" : " ") + host;
    }
    return text;
}

/// Connects to where nobody listens, and gives what came of it.
task<failure> refused(hosts to, std::uint16_t port, connect_options options = {}) {
    auto outcome =
        co_await as_result(create_connection(&any_protocol, std::move(to), port, options));
    BOOST_REQUIRE(!outcome.has_value());
    co_return failure{outcome.error()};
}

task<> connect_and_drop(hosts to, std::uint16_t port, connect_options options) {
    auto made = co_await create_connection(&any_protocol, std::move(to), port, options);
    made.transport->abort();
    co_await yield();
}

void run_simulated(const testing::simulation_options& options, task<> (*body)()) {
    testing::simulation world(options);
    const auto verdict = world.run(body);
    for (const auto& each : verdict.violations) BOOST_ERROR(each);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(connect_races)

// rule 369
// fault 42
OURO_ASYNC_TEST(hosts_are_tried_in_their_order_until_one_connects) {
    auto server = co_await listening();
    const address where = co_await server.local_address();
    for (const auto delay : {std::optional<std::chrono::nanoseconds>(), {1h}}) {
        auto seen = make_recorder(kind::streaming);
        auto made = co_await create_connection(
            factory_of(seen), hosts{"127.0.0.9", "127.0.0.8", "127.0.0.1", "127.0.0.7"},
            where.port(), {.happy_eyeballs_delay = delay});
        linked on(seen, made.transport, co_await server.accept());
        BOOST_CHECK(on.link->get_extra_info<address>("peername") == where);
    }
}

// rules 386, 387, 388
OURO_ASYNC_TEST(two_hosts_can_be_written_down_in_braces) {
    auto server = co_await create_server(&any_protocol, {"127.0.0.1", "127.0.0.2"}, 0);
    auto made = co_await create_connection(&any_protocol, {"127.0.0.3", "127.0.0.1"},
                                           server.addresses().at(0).port());
    BOOST_TEST(made.transport->get_extra_info<address>("peername").host() == "127.0.0.1");
    made.transport->abort();
    server.close();
    co_await server.wait_closed();
}

OURO_ASYNC_TEST(families_take_turns_as_asked_for) {
    auto [held, where] = co_await deaf_port();
    const hosts all{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"};
    const auto order = [&](connect_options options) -> task<std::string> {
        co_return tried(co_await refused(all, where.port(), options));
    };
    const std::string as_given = "127.0.0.1 127.0.0.2 127.0.0.3 127.0.0.4 ::1";
    const std::string in_turns = "127.0.0.1 ::1 127.0.0.2 127.0.0.3 127.0.0.4";
    BOOST_TEST(co_await order({}) == as_given);
    BOOST_TEST(co_await order({.interleave = 1}) == in_turns);
    BOOST_TEST(co_await order({.happy_eyeballs_delay = 1h}) == in_turns);
    BOOST_TEST(co_await order({.happy_eyeballs_delay = 1h, .interleave = 0}) == as_given);
    BOOST_TEST(co_await order({.interleave = 3}) == "127.0.0.1 127.0.0.2 127.0.0.3 ::1 127.0.0.4");
    BOOST_TEST(co_await order({.interleave = 100}) == as_given);
    BOOST_TEST(tried(co_await refused({"::1", "127.0.0.1", "127.0.0.2"}, where.port(),
                                      {.interleave = 1})) == "::1 127.0.0.1 127.0.0.2");
}

// rule 372
OURO_ASYNC_TEST(the_error_names_every_attempt_and_says_once_what_was_done) {
    auto [held, where] = co_await deaf_port();
    const std::string port = std::to_string(where.port());
    const auto [why] = co_await refused({"127.0.0.2", "127.0.0.1"}, where.port());
    BOOST_CHECK(why == std::errc::connection_refused);
    BOOST_TEST(why.causes().size() == 2U);
    const auto [listed] =
        co_await refused({"127.0.0.2", "127.0.0.1"}, where.port(), {.all_errors = true});
    BOOST_CHECK(listed == errc::several_failures);
    BOOST_TEST(listed.message() == why.message());
    BOOST_TEST(why.message() == "connect 127.0.0.2:" + port + ": Connection refused; 127.0.0.1:" +
                                    port + ": Connection refused");
}

// rule 388
OURO_ASYNC_TEST(overlapping_attempts_fail_with_the_same_error_as_attempts_in_turn) {
    auto [held, where] = co_await deaf_port();
    const hosts two{"127.0.0.2", "127.0.0.1"};
    const auto [in_turn] = co_await refused(two, where.port());
    for (const auto delay : {0ns, std::chrono::nanoseconds(1ms), std::chrono::nanoseconds(1h)}) {
        const auto [why] = co_await refused(two, where.port(), {.happy_eyeballs_delay = delay});
        BOOST_TEST(why.message() == in_turn.message());
    }
    const auto [single] =
        co_await refused({"127.0.0.1"}, where.port(), {.happy_eyeballs_delay = 1ms});
    BOOST_CHECK(single == std::errc::connection_refused);
    const auto [listed] = co_await refused({"127.0.0.1"}, where.port(),
                                           {.all_errors = true, .happy_eyeballs_delay = 1ms});
    BOOST_CHECK(listed == errc::several_failures);
    BOOST_TEST(listed.causes().size() == 1U);
}

// rules 372, 373
OURO_ASYNC_TEST(an_address_that_several_hosts_have_is_tried_once) {
    auto [held, where] = co_await deaf_port();
    const auto [why] = co_await refused({"127.0.0.1", "127.0.0.1"}, where.port());
    BOOST_CHECK(why == std::errc::connection_refused);
    BOOST_TEST(tried(co_await refused({"127.0.0.1", "127.0.0.1"}, where.port(),
                                      {.all_errors = true})) == "127.0.0.1");
}

// rules 385, 374
// faults 42, 43
OURO_ASYNC_TEST(an_address_that_does_not_answer_costs_no_more_than_the_delay) {
    auto server = co_await listening();
    const std::string port = std::to_string((co_await server.local_address()).port());
    auto mute = co_await listening(0, "127.0.0.2:" + port);
    const address unanswered = co_await mute.local_address();
    auto queue = co_await crowd::before(unanswered);
    const auto before = descriptors();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_connection(factory_of(seen), hosts{"127.0.0.2", "127.0.0.1"},
                                           unanswered.port(), {.happy_eyeballs_delay = 5ms});
    {
        linked on(seen, made.transport, co_await server.accept());
        BOOST_TEST(on.link->get_extra_info<address>("peername").host() == "127.0.0.1");
        BOOST_TEST(descriptors() == before + 2);  // both ends of the one that won
    }
    co_await eventually([&] { return descriptors() == before; });
    co_await queue.leave();
}

// rules 374, 380
// fault 58
OURO_ASYNC_TEST(cancelling_overlapping_attempts_at_any_turn_closes_their_sockets) {
    auto server = co_await listening();
    const std::uint16_t port = (co_await server.local_address()).port();
    auto mute = co_await listening(0, "127.0.0.2:" + std::to_string(port));
    auto queue = co_await crowd::before(co_await mute.local_address());
    const auto before = descriptors();
    for (int turns = 0; turns < 12; ++turns) {
        BOOST_TEST_INFO_SCOPE("cancelled after " << turns << " turns");
        auto connecting = spawn(connect_and_drop({"127.0.0.3", "127.0.0.2", "127.0.0.1"}, port,
                                                 {.happy_eyeballs_delay = 0ns}));
        co_await settle(turns);
        connecting.cancel();
        auto outcome = co_await as_result(std::move(connecting).join());
        BOOST_CHECK((outcome || outcome.error() == errc::cancelled));
        co_await eventually([&] { return descriptors() == before; });
    }
    co_await queue.leave();
}

// rule 370
// fault 55
OURO_ASYNC_TEST(a_host_without_an_address_is_one_of_the_failures) {
    auto [held, where] = co_await deaf_port();
    const auto [why] = co_await refused({nobody, "127.0.0.1"}, where.port());
    BOOST_CHECK(why == errc::several_failures);
    BOOST_TEST(why.message().find(nobody) != std::string::npos);
    BOOST_TEST(why.message().find("; 127.0.0.1:") != std::string::npos);
    const auto [single] = co_await refused({nobody}, where.port());
    BOOST_CHECK(single == errc::no_address);
    const auto [both] = co_await refused({nobody, nobody_else}, where.port());
    BOOST_TEST(both.causes().size() == 2U);
    const auto [none] = co_await refused({}, where.port());
    BOOST_CHECK(none == errc::value_error);
}

// rule 370
// fault 55
OURO_ASYNC_TEST(another_host_connects_although_one_has_no_address) {
    auto server = co_await listening();
    const address where = co_await server.local_address();
    auto seen = make_recorder(kind::streaming);
    auto made =
        co_await create_connection(factory_of(seen), hosts{nobody, "127.0.0.1"}, where.port());
    linked on(seen, made.transport, co_await server.accept());
    BOOST_CHECK(on.link->get_extra_info<address>("peername") == where);
}

// rule 376
OURO_ASYNC_TEST(a_local_host_is_bound_before_connecting) {
    auto server = co_await listening();
    const address where = co_await server.local_address();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_connection(factory_of(seen), where, {.local_host = "127.0.0.3"});
    linked on(seen, made.transport, co_await server.accept());
    BOOST_TEST((co_await on.peer.peer_address()).host() == "127.0.0.3");
}

// rule 376
OURO_ASYNC_TEST(a_local_port_without_a_host_is_one_of_any_interface) {
    auto [spare, free] = co_await deaf_port();
    const std::uint16_t port = free.port();
    spare.close();
    auto server = co_await listening();
    const address where = co_await server.local_address();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_connection(factory_of(seen), where, {.local_port = port});
    linked on(seen, made.transport, co_await server.accept());
    BOOST_TEST((co_await on.peer.peer_address()).port() == port);
}

// rules 376, 378
OURO_ASYNC_TEST(the_first_local_address_of_the_family_that_works_is_taken) {
    auto [taken, in_use] = co_await deaf_port();
    auto server = co_await listening();
    const address where = co_await server.local_address();
    const address other_family = co_await address::parse("[::1]:0");
    for (const address& local : {in_use, other_family}) {
        auto seen = make_recorder(kind::streaming);
        auto made = co_await create_connection(factory_of(seen), where,
                                               {.local = local, .local_host = "127.0.0.3"});
        linked on(seen, made.transport, co_await server.accept());
        BOOST_TEST((co_await on.peer.peer_address()).host() == "127.0.0.3");
    }
}

// rules 370, 377
OURO_ASYNC_TEST(when_no_local_address_works_the_last_one_is_named_with_the_peer) {
    auto [taken, in_use] = co_await deaf_port();
    const auto before = descriptors();
    const auto [why] = co_await refused({"127.0.0.1"}, 1,
                                        {.local = co_await address::parse("[::1]:0"),
                                         .local_host = in_use.host(),
                                         .local_port = in_use.port()});
    BOOST_CHECK(why == std::errc::address_in_use);
    BOOST_TEST(why.doing() == "connect 127.0.0.1:1 from " + in_use.to_string());
    const auto [nowhere] = co_await refused({"127.0.0.1"}, 1, {.local_host = nobody});
    BOOST_CHECK(nowhere == errc::no_address);
    BOOST_TEST(nowhere.message().find(nobody) != std::string::npos);
    BOOST_TEST(descriptors() == before);
}

// rule 67
BOOST_AUTO_TEST_CASE(numeric_hosts_are_connected_to_without_a_look_up) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        testing::injection watching;
        run_with(watching.options(options_for(each)), []() -> task<> {
            auto server = co_await listening();
            const std::uint16_t port = (co_await server.local_address()).port();
            auto made = co_await create_connection(
                &any_protocol, hosts{"::1", "127.0.0.9", "127.0.0.1"}, port,
                {.happy_eyeballs_delay = 1ms, .local_host = "127.0.0.3"});
            auto other = co_await server.accept();
            made.transport->abort();
            co_await read_to_end(other);
        });
        const auto& seen = watching.seen();
        BOOST_TEST(std::count(seen.begin(), seen.end(), testing::door_call::connect) ==
                   2);  // no IPv6 to connect from
        BOOST_TEST(std::count(seen.begin(), seen.end(), testing::door_call::resolve) == 0);
    }
}

// fault 55
BOOST_AUTO_TEST_CASE(the_look_ups_of_several_hosts_take_no_longer_than_the_slowest) {
    auto options = loopback(1);
    options.only = testing::parse_fault_plan("slow_name@1=9000000,slow_name@2=10000000").value();
    run_simulated(options, []() -> task<> {
        auto& world = testing::simulation::current();
        world.set_name("one.example", {"10.0.1.1"});
        world.set_name("two.example", {"10.0.1.2"});
        auto server = co_await listening(100, "10.0.1.2:4000");
        const auto began = world.elapsed();
        auto made =
            co_await create_connection(&any_protocol, hosts{"one.example", "two.example"}, 4000);
        const auto took = world.elapsed() - began;
        BOOST_TEST((took >= 10s && took < 11s));
        auto other = co_await server.accept();
        made.transport->abort();
        co_await read_to_end(other);
    });
}

// fault 55
BOOST_AUTO_TEST_CASE(a_slow_look_up_is_left_at_once_by_who_is_cancelled) {
    auto options = loopback(1);
    options.only = testing::parse_fault_plan("slow_name@1=30000000").value();
    run_simulated(options, []() -> task<> {
        auto& world = testing::simulation::current();
        auto connecting = spawn(connect_and_drop({"localhost", "127.0.0.9"}, 4000, {}));
        co_await sleep(1s);
        const auto began = world.elapsed();
        connecting.cancel();
        const auto ended = co_await as_result(std::move(connecting).join());
        BOOST_REQUIRE(!ended.has_value());
        BOOST_CHECK(ended.error() == errc::cancelled);
        BOOST_TEST((world.elapsed() - began < 10ms));
    });
}

// rule 375
// fault 20
BOOST_AUTO_TEST_CASE(an_exception_is_no_failed_attempt_and_ends_the_search) {
    using testing::allocation_faults;
    bool went_through = false;
    for (std::uint64_t at = 1; !went_through; ++at) {
        static std::uint64_t fail_at;
        fail_at = at;
        loop home(options_for(engine::uring));
        home.set_exception_handler([](loop&, const failure_report&) {});  // what a recorder meets
        const auto body = []() -> task<bool> {
            auto server = co_await listening();
            const std::uint16_t port = (co_await server.local_address()).port();
            const hosts both{"127.0.0.2", "127.0.0.1"};  // one allocation of a refused attempt
            auto connecting = create_connection(&any_protocol, both, port);
            allocation_faults::arm(fail_at, false);
            bool thrown = false;
            try {
                auto made = co_await as_result(std::move(connecting));
                allocation_faults::disarm();
                BOOST_TEST_INFO_SCOPE("allocation " << fail_at);
                if (made) {
                    made->transport->abort();
                } else {
                    BOOST_CHECK_MESSAGE(made.error() == std::errc::not_enough_memory,
                                        made.error().describe());
                }
            } catch (const std::bad_alloc&) {
                thrown = true;
            }
            const bool struck = allocation_faults::struck();
            allocation_faults::disarm();
            BOOST_TEST((!thrown || struck));
            co_return !struck;
        };
        auto ended = home.run_until_complete(body());
        BOOST_REQUIRE(ended.has_value());
        went_through = *ended;
    }
}

// fault 55
BOOST_AUTO_TEST_CASE(the_last_of_many_addresses_of_a_name_connects) {
    run_simulated(loopback(1), []() -> task<> {
        auto server = co_await listening(100, "10.0.1.50:4000");
        hosts all;
        for (int i = 1; i <= 50; ++i) all.push_back("10.0.1." + std::to_string(i));
        testing::simulation::current().set_name("many.example", all);
        auto made = co_await create_connection(&any_protocol, "many.example", 4000);
        auto other = co_await server.accept();
        BOOST_TEST(made.transport->get_extra_info<address>("peername").host() == "10.0.1.50");
        made.transport->abort();
        co_await read_to_end(other);
    });
}

// rule 385
// faults 42, 43
BOOST_AUTO_TEST_CASE(without_a_delay_a_dead_address_is_waited_for_and_with_one_it_is_not) {
    run_simulated(loopback(1), []() -> task<> {
        auto& world = testing::simulation::current();
        auto server = co_await listening(100, "10.0.1.2:4000");
        world.set_name("pair.example", {"10.0.1.1", "10.0.1.2"});
        world.cut("10.0.0.1", "10.0.1.1");
        const auto takes = [&](connect_options options) -> task<std::chrono::microseconds> {
            const auto began = world.elapsed();
            auto made = co_await create_connection(&any_protocol, "pair.example", 4000, options);
            const auto took = world.elapsed() - began;
            auto other = co_await server.accept();
            made.transport->abort();
            co_await read_to_end(other);
            co_return took;
        };
        const auto in_turn = co_await takes({});
        BOOST_TEST((in_turn > 60s));
        const auto overlapping = co_await takes({.happy_eyeballs_delay = 250ms});
        BOOST_TEST((overlapping >= 250ms && overlapping < 300ms));
    });
}

// rule 385
BOOST_AUTO_TEST_CASE(a_slow_first_address_still_wins_when_it_answers_first) {
    run_simulated(loopback(1), []() -> task<> {
        auto& world = testing::simulation::current();
        auto slow = co_await listening(100, "10.0.1.1:4000");
        auto slower = co_await listening(100, "10.0.1.2:4000");
        world.set_name("pair.example", {"10.0.1.1", "10.0.1.2"});
        world.set_delay("10.0.0.1", "10.0.1.1", 200ms, 200ms);
        world.set_delay("10.0.0.1", "10.0.1.2", 900ms, 900ms);
        const auto before = descriptors();
        auto made = co_await create_connection(&any_protocol, "pair.example", 4000,
                                               {.happy_eyeballs_delay = 250ms});
        BOOST_TEST(made.transport->get_extra_info<address>("peername").host() == "10.0.1.1");
        BOOST_TEST(descriptors() == before + 1);
        auto other = co_await slow.accept();
        made.transport->abort();
        co_await read_to_end(other);
    });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
