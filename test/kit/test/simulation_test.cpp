// What a test can do to a simulated world, and what the verdict of a run says. The kernel that is
// played is compared with the real one in honesty_test.cpp.
#include <ouro/testing/simulation.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ouro/net/resolve.hpp>
#include <ouro/net/socket.hpp>
#include <ouro/runtime/spawn.hpp>

#include "played.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using testing::fault_kind;
using testing::parse_fault_plan;
using testing::simulation;
using testing::simulation_options;
using testing::verdict;

constexpr const char* here = "10.0.0.1";
constexpr const char* there = "10.0.0.2";
constexpr const char* elsewhere = "10.0.0.3";
// What the turns of a loop may add to the time on the way.
constexpr microseconds turns = 100us;

/// A healthy network in which everything takes as long.
simulation_options steady(microseconds delay = 1000us) {
    auto world = simulation_options::calm(1);
    world.least_delay = world.most_delay = delay;
    return world;
}

simulation& world() { return simulation::current(); }

task<socket> listen_on(std::string host) {
    auto listener = co_await socket::open(loop::current(), AF_INET);
    co_await listener.bind(co_await address::from_ip(host, 0));
    co_await listener.listen();
    co_return listener;
}

task<socket> connect_from(std::string host, address to) {
    auto client = co_await socket::open(loop::current(), AF_INET);
    co_await client.bind(co_await address::from_ip(host, 0));
    co_await client.connect(to);
    co_return client;
}

/// The two ends of a connection from one host to another.
task<std::pair<socket, socket>> connection(std::string from, std::string to) {
    auto listener = co_await listen_on(to);
    auto client = co_await connect_from(from, co_await listener.local_address());
    auto served = co_await listener.accept();
    co_return std::pair(std::move(client), std::move(served));
}

/// How long a byte takes from one end to the other.
task<microseconds> crossing(socket& from, socket& to) {
    const auto began = world().elapsed();
    co_await from.send_all(as_bytes("x"));
    BOOST_TEST((co_await read_text(to, 1) == "x"));
    co_return world().elapsed() - began;
}

/// Receives, which must fail with `expected`.
task<> receive_and_fail(socket& at, std::errc expected) {
    std::array<std::byte, 8> room;
    const auto got = co_await as_result(at.recv_into(room));
    BOOST_CHECK(!got && got.error() == expected);
}

/// Where `host` is on the network, as texts.
task<std::vector<std::string>> addresses_of(std::string host) {
    std::vector<std::string> found;
    for (const address& each : co_await resolve(std::move(host), 80)) {
        found.push_back(each.to_string());
    }
    co_return found;
}

/// The verdict on `body` in a world of its own.
verdict judge(const simulation_options& options, function<task<>()> body) {
    return simulation(options).run(std::move(body));
}

bool has_line_with(const std::vector<std::string>& lines, std::string_view text) {
    const auto has = [text](const std::string& each) { return each.find(text) != each.npos; };
    return std::ranges::any_of(lines, has);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(simulated_world)

// ---- links

BOOST_AUTO_TEST_CASE(a_delay_of_its_own_makes_one_link_slow_in_both_directions) {
    for (const bool named_in_order : {true, false}) {
        run_in(steady(), [named_in_order]() -> task<> {
            auto [near, near_end] = co_await connection(here, elsewhere);
            auto [far, far_end] = co_await connection(here, there);
            BOOST_TEST((co_await crossing(far, far_end) < 1ms + turns));
            world().set_delay(named_in_order ? here : there, named_in_order ? there : here, 50ms,
                              50ms);
            for (int i = 0; i < 3; ++i) {
                const auto out = co_await crossing(far, far_end);
                const auto back = co_await crossing(far_end, far);
                const auto beside = co_await crossing(near, near_end);
                BOOST_TEST((out >= 50ms && out < 50ms + turns));
                BOOST_TEST((back >= 50ms && back < 50ms + turns));
                BOOST_TEST((beside >= 1ms && beside < 1ms + turns));
            }
        });
    }
}

BOOST_AUTO_TEST_CASE(a_delay_of_its_own_replaces_that_of_the_network_and_the_one_before) {
    run_in(steady(10ms), []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        world().set_delay(here, there, 70ms, 80ms);
        world().set_delay(here, there, 1ms, 3ms);
        microseconds shortest = 1h, longest{};
        for (int i = 0; i < 200; ++i) {
            const auto took = co_await crossing(client, served);
            shortest = std::min(shortest, took);
            longest = std::max(longest, took);
        }
        BOOST_TEST((shortest >= 1ms && shortest < 1500us));
        BOOST_TEST((longest > 2500us && longest < 3ms + turns));
    });
}

BOOST_AUTO_TEST_CASE(a_shorter_delay_lets_nothing_overtake_what_is_under_way) {
    run_in(steady(), []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        world().set_delay(here, there, 50ms, 50ms);
        const auto began = world().elapsed();
        co_await client.send_all(as_bytes("first "));
        world().set_delay(here, there, 1ms, 1ms);
        co_await client.send_all(as_bytes("second"));
        BOOST_TEST((co_await read_text(served, 12) == "first second"));
        BOOST_TEST((world().elapsed() - began >= 50ms));
        BOOST_TEST((world().elapsed() - began < 51ms + turns));
    });
}

BOOST_AUTO_TEST_CASE(a_cut_link_lets_nothing_through_until_it_is_mended) {
    run_in(steady(), []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        auto [beside, beside_end] = co_await connection(here, elsewhere);
        world().cut(there, here);  // a link has no direction
        co_await client.send_all(as_bytes("one "));
        co_await served.send_all(as_bytes("hello"));
        co_await sleep(10s);
        co_await client.send_all(as_bytes("two"));
        co_await sleep(10s);
        BOOST_TEST(readable_bytes(served) == 0U);
        BOOST_TEST(readable_bytes(client) == 0U);
        BOOST_TEST((co_await crossing(beside, beside_end) < 1ms + turns));

        world().mend(here, there);
        co_await sleep(1s);
        BOOST_TEST((co_await read_text(served, 7) == "one two"));
        BOOST_TEST((co_await read_text(client, 5) == "hello"));
        BOOST_TEST((co_await crossing(client, served) < 1ms + turns));
    });
}

BOOST_AUTO_TEST_CASE(a_sender_out_of_room_goes_on_when_the_link_is_mended) {
    auto small = steady();
    small.least_buffer_bytes = small.most_buffer_bytes = 64;
    run_in(small, []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        const std::string all = pattern(1000);
        auto sending = spawn(send_text(client, all));
        co_await sleep(1s);
        BOOST_TEST(!sending.done());
        world().cut(here, there);
        // What has arrived can be read; that there is room again does not reach the sender.
        const std::string before = co_await read_text(served, readable_bytes(served));
        co_await sleep(10s);
        BOOST_TEST(!before.empty());
        BOOST_TEST(readable_bytes(served) == 0U);
        world().mend(here, there);
        const std::string after = co_await read_text(served, all.size() - before.size());
        BOOST_TEST((before + after == all));
        co_await sending.join();
    });
}

BOOST_AUTO_TEST_CASE(tcp_gives_up_on_a_link_that_stays_cut) {
    run_in(steady(), []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        world().cut(here, there);
        const auto began = world().elapsed();
        co_await client.send_all(as_bytes("x"));
        co_await receive_and_fail(client, std::errc::timed_out);
        const auto took = world().elapsed() - began;
        BOOST_TEST((took >= 924s && took < 925s));
        // The other end has sent nothing, so nothing tells it.
        BOOST_TEST(!sees_end(served));
        BOOST_TEST(readable_bytes(served) == 0U);
    });
}

BOOST_AUTO_TEST_CASE(a_connect_across_a_cut_link_comes_through_once_it_is_mended) {
    run_in(steady(), []() -> task<> {
        auto listener = co_await listen_on(there);
        world().cut(here, there);
        auto connecting = spawn(connect_from(here, co_await listener.local_address()));
        co_await sleep(10s);
        BOOST_TEST(!connecting.done());
        world().mend(here, there);
        auto client = co_await connecting.join();
        auto served = co_await listener.accept();
        BOOST_TEST((world().elapsed() < 30s));
        BOOST_TEST((co_await crossing(client, served) < 1ms + turns));
    });
}

BOOST_AUTO_TEST_CASE(healing_mends_every_link_and_ends_the_faults_but_a_far_host_stays_far) {
    auto options = steady();
    options.rate(fault_kind::delay) = 1;
    run_in(options, []() -> task<> {
        auto [one, one_end] = co_await connection(here, there);
        auto [other, other_end] = co_await connection(here, elsewhere);
        world().set_delay(here, elsewhere, 50ms, 50ms);
        world().cut(here, there);
        world().cut(here, elsewhere);
        co_await one.send_all(as_bytes("x"));
        co_await other.send_all(as_bytes("x"));
        co_await sleep(10s);
        BOOST_TEST(readable_bytes(one_end) == 0U);
        BOOST_TEST(readable_bytes(other_end) == 0U);
        const std::size_t struck = world().faults().size();
        BOOST_TEST(struck >= 4U);  // more than one for each connection

        world().heal();
        co_await sleep(1s);
        BOOST_TEST((co_await read_text(one_end, 1) == "x"));
        BOOST_TEST((co_await read_text(other_end, 1) == "x"));
        for (int i = 0; i < 20; ++i) {
            BOOST_TEST((co_await crossing(one, one_end) < 1ms + turns));
            const auto far = co_await crossing(other, other_end);
            BOOST_TEST((far >= 50ms && far < 50ms + turns));
        }
        BOOST_TEST(world().faults().size() == struck);
    });
}

BOOST_AUTO_TEST_CASE(a_partition_ends_by_itself_and_two_that_overlap_with_the_later) {
    for (const char* plan : {"partition@4=3000000", "partition@4=1000000,partition@5=2500000",
                             "partition@4=3000000,partition@5=100000"}) {
        auto options = steady();
        options.only = parse_fault_plan(plan).value();
        run_in(options, []() -> task<> {
            auto [client, served] = co_await connection(here, there);
            const auto began = world().elapsed();
            co_await client.send_all(as_bytes("x"));
            co_await sleep(500ms);
            co_await client.send_all(as_bytes("y"));
            BOOST_TEST((co_await read_text(served, 2) == "xy"));
            const auto took = world().elapsed() - began;
            BOOST_TEST((took >= 3s && took < 3s + 2ms));
        });
    }
}

BOOST_AUTO_TEST_CASE(a_receive_that_finds_no_buffer_is_tried_again_at_once) {
    auto options = steady();
    options.only = parse_fault_plan("ring_exhausted@1").value();
    run_in(options, []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        auto seen = make_recorder(kind::streaming);
        auto made = co_await create_connection(factory_of(seen), std::move(served));
        co_await client.send_all(as_bytes("x"));
        co_await sleep(1s);  // in which nothing else happens
        BOOST_TEST(loop::current().statistics().ring_exhausted == 1U);
        BOOST_TEST(seen->data == "x");
        made.transport->abort();
    });
}

BOOST_AUTO_TEST_CASE(a_link_cut_on_purpose_outlasts_a_partition_that_struck_it) {
    for (const bool healed : {false, true}) {
        auto options = steady();
        options.only = parse_fault_plan("partition@4=5000000").value();
        run_in(options, [healed]() -> task<> {
            auto [client, served] = co_await connection(here, there);
            co_await client.send_all(as_bytes("x"));
            co_await sleep(1s);
            BOOST_TEST(world().faults().size() == 1U);
            BOOST_TEST(readable_bytes(served) == 0U);
            if (healed) world().heal();
            world().cut(here, there);
            co_await client.send_all(as_bytes("y"));
            co_await sleep(10s);
            BOOST_TEST(readable_bytes(served) == 0U);
            world().mend(here, there);
            co_await sleep(1s);
            BOOST_TEST((co_await read_text(served, 2) == "xy"));
        });
    }
}

// ---- hosts and names

BOOST_AUTO_TEST_CASE(a_crash_resets_all_connections_of_the_host_and_leaves_its_listeners) {
    run_in(steady(), []() -> task<> {
        auto listener = co_await listen_on(there);
        const auto where = co_await listener.local_address();
        auto client = co_await connect_from(here, where);
        auto served = co_await listener.accept();
        auto [outward, outward_end] = co_await connection(there, elsewhere);
        auto [beside, beside_end] = co_await connection(here, elsewhere);

        auto waiting = spawn(receive_and_fail(client, std::errc::connection_reset));
        co_await sleep(1s);
        BOOST_TEST(!waiting.done());
        world().crash(there);
        co_await waiting.join();
        for (socket* each : {&served, &outward, &outward_end}) {
            co_await receive_and_fail(*each, std::errc::connection_reset);
        }
        BOOST_TEST((co_await crossing(beside, beside_end) < 1ms + turns));

        auto again = co_await connect_from(here, where);
        auto served_again = co_await listener.accept();
        BOOST_TEST((co_await crossing(again, served_again) < 1ms + turns));
    });
}

BOOST_AUTO_TEST_CASE(a_name_resolves_to_what_it_was_given_last) {
    using texts = std::vector<std::string>;
    run_in(steady(), []() -> task<> {
        BOOST_TEST((co_await addresses_of("localhost") == texts{"127.0.0.1:80", "[::1]:80"}));
        world().set_name("db", {"10.0.0.9", "fd00::9", "10.0.0.5"});
        BOOST_TEST(
            (co_await addresses_of("db") == texts{"10.0.0.9:80", "[fd00::9]:80", "10.0.0.5:80"}));
        world().set_name("db", {"10.0.0.6"});
        BOOST_TEST((co_await addresses_of("db") == texts{"10.0.0.6:80"}));
        world().set_name("db", {});
        for (const std::string name : {"db", "nobody"}) {
            const auto found = co_await as_result(addresses_of(name));
            BOOST_REQUIRE(!found.has_value());
            BOOST_CHECK(found.error() == errc::no_address);
            const std::string why = found.error().describe();
            BOOST_TEST(why.find(name) != std::string::npos, why);
        }
    });
}

BOOST_AUTO_TEST_CASE(peek_tells_what_could_be_read_and_takes_nothing) {
    run_in(steady(), []() -> task<> {
        auto [client, served] = co_await connection(here, there);
        const auto seen = [&] {
            const auto found = world().peek(served.fd());
            return std::pair(found.bytes, found.ended);
        };
        BOOST_CHECK(seen() == std::pair(std::size_t{0}, false));
        co_await client.send_all(as_bytes("hello"));
        BOOST_CHECK(seen() == std::pair(std::size_t{0}, false));  // on the way
        co_await sleep(2ms);
        for (int i = 0; i < 2; ++i) BOOST_CHECK(seen() == std::pair(std::size_t{5}, false));
        BOOST_TEST((co_await read_text(served, 2) == "he"));
        BOOST_CHECK(seen() == std::pair(std::size_t{3}, false));
        co_await client.shutdown_write();
        co_await sleep(2ms);
        BOOST_CHECK(seen() == std::pair(std::size_t{3}, false));  // first what came before the end
        BOOST_TEST((co_await read_to_end(served) == "llo"));
        BOOST_CHECK(seen() == std::pair(std::size_t{0}, true));
        const int gone = served.fd();
        served.close();
        co_await sleep(2ms);
        const auto nothing = world().peek(gone);
        BOOST_TEST(nothing.bytes == 0U);
        BOOST_TEST(!nothing.ended);
    });
}

// ---- the verdict

BOOST_AUTO_TEST_CASE(a_violation_lets_the_run_go_on_and_fail) {
    bool went_on = false;
    const auto found = judge(steady(), [&went_on]() -> task<> {
        world().violate("two is not one");
        co_await sleep(1s);
        world().violate("nor is three");
        went_on = true;
    });
    BOOST_TEST(went_on);
    BOOST_TEST(!found.passed());
    BOOST_TEST(found.violations == (std::vector<std::string>{"two is not one", "nor is three"}),
               boost::test_tools::per_element());
    BOOST_TEST((found.virtual_time >= 1s));
}

BOOST_AUTO_TEST_CASE(a_report_is_a_violation_unless_it_was_expected) {
    enum class expecting { nothing, that_one, others };
    for (const auto expected : {expecting::nothing, expecting::that_one, expecting::others}) {
        const auto found = judge(steady(), [expected]() -> task<> {
            if (expected != expecting::nothing) {
                world().expect_reports([expected](const failure_report& report) {
                    const bool that_one = report.message == "the lamp went out";
                    return that_one == (expected == expecting::that_one);
                });
            }
            loop::current().call_exception_handler({.message = "the lamp went out"});
            co_return;
        });
        BOOST_TEST(found.passed() == (expected == expecting::that_one));
        if (found.passed()) continue;
        BOOST_TEST(found.violations.size() == 1U);
        BOOST_TEST(has_line_with(found.violations, "nobody expected: the lamp went out"));
    }
}

BOOST_AUTO_TEST_CASE(a_warning_is_no_violation) {
    const auto found = judge(steady(), []() -> task<> {
        loop::current().call_exception_handler(
            {.level = severity::warning, .message = "the lamp flickers"});
        co_return;
    });
    BOOST_TEST(found.passed());
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_a_body_is_in_the_verdict) {
    const auto wrong = [](function<task<>()> body, std::string_view text) {
        const auto found = judge(steady(), std::move(body));
        BOOST_TEST(!found.passed());
        BOOST_TEST_CONTEXT(text) { BOOST_TEST(has_line_with(found.violations, text)); }
    };
    wrong([]() -> task<> { co_await result<>(error(std::errc::io_error, "water the plants")); },
          "water the plants");
    wrong(
        []() -> task<> {
            throw std::runtime_error("thrown");
            co_return;
        },
        "an exception: thrown");
    wrong([]() -> task<> { co_await sleep(3601s); }, "it hangs: it did not end within 3600 s");
    wrong(
        []() -> task<> {
            auto listener = co_await listen_on(there);
            (void)listener.release();
        },
        "1 descriptors are still open");
}

// ---- the seed and the trace

BOOST_AUTO_TEST_CASE(drawn_numbers_come_from_the_seed_and_stay_within_their_limits) {
    const auto drawn = [](std::uint64_t seed) {
        std::vector<std::uint64_t> numbers;
        run_in(simulation_options::calm(seed), [&numbers]() -> task<> {
            for (int i = 0; i < 20; ++i) numbers.push_back(world().draw());
            std::array<int, 6> sides{};
            for (int i = 0; i < 600; ++i) {
                const auto side = world().draw(1, sides.size());
                BOOST_REQUIRE((side >= 1 && side <= sides.size()));
                ++sides[side - 1];
                numbers.push_back(side);
            }
            for (const int times : sides) BOOST_TEST(times > 50);
            BOOST_TEST(world().draw(7, 7) == 7U);
            co_return;
        });
        std::vector first(numbers.begin(), numbers.begin() + 20);
        std::ranges::sort(first);
        BOOST_CHECK(std::ranges::adjacent_find(first) == first.end());
        return numbers;
    };
    BOOST_CHECK(drawn(1) == drawn(1));
    BOOST_CHECK(drawn(1) != drawn(2));
}

BOOST_AUTO_TEST_CASE(what_the_body_draws_leaves_the_network_as_it_was) {
    const auto crossings = [](bool draws) {
        std::vector<microseconds> took;
        run_in(simulation_options::calm(1), [&took, draws]() -> task<> {
            auto [client, served] = co_await connection(here, there);
            for (int i = 0; i < 20; ++i) {
                if (draws) (void)world().draw();
                took.push_back(co_await crossing(client, served));
            }
        });
        return took;
    };
    BOOST_CHECK(crossings(false) == crossings(true));
}

namespace {

/// Bytes on a connection, one at a time, on a network with faults that TCP makes up for.
verdict traffic(std::uint64_t seed, std::optional<testing::fault_plan> only = {}, int count = 50) {
    auto options = simulation_options::calm(seed);
    options.rate(fault_kind::delay) = 0.1;
    options.rate(fault_kind::loss) = 0.1;
    options.rate(fault_kind::late_completion) = 0.1;
    options.only = std::move(only);
    std::uint64_t hash_inside = 0;
    auto found = judge(options, [&hash_inside, count]() -> task<> {
        BOOST_TEST((world().elapsed() < turns));
        auto [client, served] = co_await connection(here, there);
        for (int i = 0; i < count; ++i) {
            const auto before = world().trace_hash();
            (void)co_await crossing(client, served);
            BOOST_TEST(world().trace_hash() != before);
        }
        hash_inside = world().trace_hash();
    });
    BOOST_TEST(found.passed());
    BOOST_TEST(hash_inside != 0U);
    return found;
}

void check_equal(const verdict& one, const verdict& other) {
    BOOST_TEST(one.trace_hash == other.trace_hash);
    BOOST_TEST(one.ops == other.ops);
    BOOST_TEST((one.virtual_time == other.virtual_time));
    BOOST_CHECK((one.faults == other.faults));
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_same_seed_is_the_same_run_and_another_is_another) {
    const auto one = traffic(1);
    BOOST_TEST(one.faults.size() > 5U);
    BOOST_TEST(one.ops > 100U);
    check_equal(one, traffic(1));
    BOOST_TEST(traffic(2).trace_hash != one.trace_hash);
    BOOST_TEST(traffic(1, {}, 51).trace_hash != one.trace_hash);
}

BOOST_AUTO_TEST_CASE(a_run_with_just_the_faults_that_struck_is_the_same_run) {
    const auto one = traffic(1);
    BOOST_REQUIRE(!one.faults.empty());
    check_equal(one, traffic(1, one.faults));
    auto fewer = one.faults;
    fewer.pop_back();
    const auto other = traffic(1, fewer);
    BOOST_TEST(other.trace_hash != one.trace_hash);
    BOOST_TEST(other.faults.size() == fewer.size());
}

BOOST_AUTO_TEST_CASE(a_whole_run_in_a_hostile_world_is_the_same_twice) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        const auto run = [seed] {
            return judge(simulation_options::hostile(seed), []() -> task<> {
                for (int i = 0; i < 5; ++i) {
                    auto ends = co_await as_result(connection(here, there));
                    if (!ends) continue;
                    (void)co_await as_result(ends->first.send_all(as_bytes("hello")));
                    ends->first.close();
                    (void)co_await as_result(read_to_end(ends->second));
                }
            });
        };
        BOOST_TEST_CONTEXT("seed " << seed) { check_equal(run(), run()); }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
