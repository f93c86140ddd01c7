// Faults of the ring and of system calls (docs/faults.md, 1-31) that need a played kernel, a call
// that fails, or a heap that fails.
#include <ouro/testing/injection.hpp>

#include <algorithm>
#include <array>
#include <new>

#include <ouro/testing/allocation_faults.hpp>
#include <ouro/testing/simulation.hpp>

#include "async_test.hpp"
#include "at_once.hpp"
#include "echo.hpp"
#include "injected.hpp"
#include "played.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using testing::allocation_faults;
using testing::door_call;
using testing::fault_kind;
using testing::fault_plan;
using testing::injection;
using testing::simulation;
using testing::simulation_options;

/// Runs `body` in a simulation behind an injection of `plan`.
void run_behind(const fault_plan& plan, injected_body body) {
    simulation world(loopback(1));
    injection faults({.plan = plan});
    detail::running_injection = &faults;
    detail::running_body = body;
    run_with(faults.options(world.options(options_for(engine::sim))),
             [] { return detail::running_body(*detail::running_injection); });
}

// How long a server waits that cannot accept.
constexpr auto retry_time = 10ms;

task<server> serve_echo(echo_counts& counts) {
    co_return co_await create_server(echoes(counts), co_await address::parse("127.0.0.1:0"),
                                     {.accept_retry = retry_time});
}

/// Sends a byte to `where` and gets it back.
task<> talk(address where) {
    auto client = co_await socket::open(loop::current(), AF_INET);
    co_await client.connect(where);
    co_await client.send_all(as_bytes("x"));
    std::array<std::byte, 1> room;
    if (co_await client.recv_into(room) != 1) co_await result<>(error(errc::end_of_stream, "talk"));
}

/// Some of them at once, so that what grows with use has grown.
task<> talk_at_once(address where) {
    std::vector<task_handle<>> talks;
    for (int i = 0; i < 8; ++i) talks.push_back(spawn(talk(where)));
    for (auto& each : talks) co_await each;
}

/// The number of the first accept of `serve_echo`.
std::uint64_t first_accept() {
    static std::uint64_t number;
    run_behind({}, [](injection& faults) -> task<> {
        echo_counts counts;
        auto at = co_await serve_echo(counts);
        const auto& calls = faults.seen();
        number = 1 + static_cast<std::uint64_t>(std::ranges::find(calls, door_call::accept_many) -
                                                calls.begin());
        at.close();
        co_await at.wait_closed();
    });
    return number;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(faults_of_the_ring)

// fault 2: each send makes a byte of progress or none at all
BOOST_AUTO_TEST_CASE(sockets_that_take_a_byte_or_nothing_get_everything_in_order) {
    for (const kind receiver : {kind::streaming, kind::buffered}) {
        auto world = simulation_options::calm(1);
        world.least_buffer_bytes = world.most_buffer_bytes = 1;
        world.rate(fault_kind::short_send) = 1;
        run_in(world, [receiver]() -> task<> {
            auto linked = co_await connect_recorder(make_recorder(receiver), medium::tcp);
            BOOST_TEST(!linked.link->set_write_buffer_limits(100, 10));
            linked.seen->on_resume = [&] {
                BOOST_TEST(linked.link->get_write_buffer_size() <= 10U);
            };
            const std::string all = pattern(3000);
            for (std::size_t at = 0; at < all.size(); at += 150) {
                (void)linked.link->write(std::string_view(all).substr(at, 150));
            }
            BOOST_TEST(linked.seen->pauses == 1);
            (void)linked.link->write_eof();
            BOOST_TEST((co_await read_to_end(linked.peer) == all));
            BOOST_TEST(linked.seen->resumes == 1);
            BOOST_TEST(linked.link->get_write_buffer_size() == 0U);
        });
    }
}

// fault 12
BOOST_AUTO_TEST_CASE(a_task_whose_receive_cannot_be_stopped_at_once_waits_for_it) {
    for (const bool data_comes : {false, true}) {
        auto world = simulation_options::calm(1);
        world.only = testing::parse_fault_plan("cancel_misses@1+=2000").value();
        run_in(world, [data_comes]() -> task<> {
            auto [ours, theirs] = co_await tcp_pair();
            std::array<std::byte, 8> room{};
            auto receiving =
                spawn([&]() -> task<std::size_t> { co_return co_await ours.recv_into(room); });
            co_await settle();
            receiving.cancel();
            co_await sleep(1ms);
            BOOST_TEST(!receiving.done());  // its memory is the kernel's until it is back
            if (data_comes) send_now(theirs, "data");
            const auto ended = co_await as_result(receiving.join());
            BOOST_TEST(ended.has_value() == data_comes);
            if (data_comes) BOOST_TEST((as_text(bytes(room).first(*ended)) == "data"));
            if (!data_comes) BOOST_CHECK(ended.error() == errc::cancelled);
            BOOST_TEST(!simulation::current().faults().empty());
        });
    }
}

// fault 18: what fails for good must not spin
BOOST_AUTO_TEST_CASE(accepting_that_fails_for_good_is_tried_now_and_then_and_reported_once) {
    const auto first = first_accept();
    for (const int failure : testing::legal_errors(door_call::accept_many)) {
        BOOST_TEST_CONTEXT(std::generic_category().message(failure)) {
            run_behind({{fault_kind::op_fails, first, failure, true}},
                       [](injection& faults) -> task<> {
                           echo_counts counts;
                           auto at = co_await serve_echo(counts);
                           co_await sleep(100 * retry_time);
                           BOOST_TEST(faults.struck() >= 90U);
                           BOOST_TEST(faults.struck() <= 200U);
                           BOOST_TEST(take_reports().size() == 1U);
                           BOOST_TEST(at.is_serving());
                           at.close();
                           co_await at.wait_closed();
                           BOOST_TEST(counts.made == 0U);
                       });
        }
    }
}

// fault 18
BOOST_AUTO_TEST_CASE(a_server_accepts_again_when_accepting_stops_failing) {
    const auto first = first_accept();
    for (const int failure : testing::legal_errors(door_call::accept_many)) {
        for (const std::uint64_t times : {1U, 3U, 40U}) {
            fault_plan plan;
            for (std::uint64_t i = 0; i < times; ++i) {
                plan.push_back({fault_kind::op_fails, first + i, failure});
            }
            run_behind(plan, [](injection&) -> task<> {
                echo_counts counts;
                auto at = co_await serve_echo(counts);
                co_await sleep(50 * retry_time);
                co_await talk(at.addresses().front());
                BOOST_TEST(take_reports().size() <= 1U);
                at.close();
                co_await at.wait_closed();
                BOOST_TEST(counts.made == 1U);
                BOOST_TEST(counts.lost == 1U);
            });
        }
    }
}

// fault 20: in a loop that has been in use
BOOST_AUTO_TEST_CASE(whichever_allocation_fails_the_loop_goes_on_serving) {
    static std::uint64_t nth;
    static bool sticky, struck;
    for (const bool all_after_it : {false, true}) {
        sticky = all_after_it;
        nth = 0;
        do {
            ++nth;
            BOOST_TEST_CONTEXT("allocation " << nth << (sticky ? " and all after it" : "")) {
                run_on(engine::uring, []() -> task<> {
                    echo_counts counts;
                    auto at = co_await serve_echo(counts);
                    const address where = at.addresses().front();
                    for (int i = 0; i < 4; ++i) co_await talk_at_once(where);
                    bool failed = false;
                    allocation_faults::arm(nth, sticky);
                    try {
                        const auto ended = co_await as_result(talk(where));
                        failed = !ended;
                    } catch (const std::bad_alloc&) {
                        failed = true;
                    }
                    struck = allocation_faults::struck();
                    allocation_faults::disarm();
                    BOOST_TEST((struck || !failed));
                    (void)take_reports();
                    co_await talk(where);
                    at.close();
                    co_await at.wait_closed();
                    BOOST_TEST(counts.made == counts.lost);
                });
            }
        } while (struck && nth < 1000);
        BOOST_TEST(nth > 3U);
        BOOST_TEST(!struck);
    }
}

// fault 20: a part of it went, and there is no memory for the rest
BOOST_AUTO_TEST_CASE(a_write_without_memory_leaves_no_gap_in_the_stream) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        run_on(which, []() -> task<> {
            auto narrow = co_await connect_narrow({});
            const std::string all = pattern(too_much_bytes);
            bool refused = false;
            allocation_faults::arm(1, true);
            try {
                (void)narrow.link->write(as_bytes(all));
            } catch (const std::bad_alloc&) {
                refused = true;
            }
            allocation_faults::disarm();
            BOOST_TEST(refused);
            (void)narrow.link->write("what comes next");
            (void)narrow.link->write_eof();
            std::string got;
            std::vector<std::byte> room(64 * 1024);
            for (;;) {
                const auto count = co_await as_result(narrow.peer.recv_into(room));
                if (!count || *count == 0) break;
                got += as_text(bytes(room).first(*count));
            }
            BOOST_TEST(!got.empty());
            BOOST_TEST((all.starts_with(got)));
            co_await eventually([&] { return narrow.seen->lost(); });
            BOOST_CHECK(narrow.seen->why == std::errc::not_enough_memory);
        });
    }
}

// faults 29, 30: both at the same moment of virtual time
BOOST_AUTO_TEST_CASE(data_that_comes_at_the_very_deadline_is_data) {
    auto world = simulation_options::calm(1);
    world.least_delay = world.most_delay = 1000us;
    run_in(world, []() -> task<> {
        loop& home = loop::current();
        auto listener = co_await socket::open(home, AF_INET);
        co_await listener.bind(co_await address::parse("10.0.0.2:7"));
        co_await listener.listen();
        auto theirs = co_await socket::open(home, AF_INET);
        co_await theirs.connect(co_await listener.local_address());
        auto ours = co_await listener.accept();
        for (const auto late : {-500us, -1us, 0us, 1us, 500us}) {
            std::array<std::byte, 8> room{};
            auto receiving =
                spawn([&]() -> task<std::size_t> { co_return co_await ours.recv_into(room); });
            co_await settle();
            const auto sent = simulation::current().elapsed();
            const auto now = home.time();
            send_now(theirs, "x");
            auto deadline =
                home.call_at(now + 1000us + late, [&] { receiving.cancel(cancel_cause::timeout); });
            const auto ended = co_await as_result(receiving.join());
            deadline.cancel();
            BOOST_TEST_CONTEXT("the deadline is " << late.count() << " us after the data") {
                BOOST_TEST(ended.has_value() == (late >= 0us));
                if (!ended) {  // the next one has the byte
                    BOOST_TEST(co_await ours.recv_into(room) == 1U);
                }
                BOOST_TEST((simulation::current().elapsed() - sent >= 1000us));
            }
        }
    });
}

// fault 29
BOOST_AUTO_TEST_CASE(timers_at_any_time_fire_in_order_of_their_deadlines_and_of_their_making) {
    run_in(simulation_options::calm(1), []() -> task<> {
        loop& home = loop::current();
        struct firing {
            std::int64_t deadline;
            std::size_t made;
            auto operator<=>(const firing&) const = default;
        };
        constexpr std::size_t count = 100'000;
        std::vector<firing> fired;
        const auto start = home.time();
        for (std::size_t i = 0; i < count; ++i) {
            const auto in_us =
                static_cast<std::int64_t>(simulation::current().draw(0, 5000)) - 1000;
            home.call_at(start + std::chrono::microseconds(in_us),
                         [&, in_us, i] { fired.push_back({in_us, i}); });
        }
        auto century = home.call_later(24h * 365 * 100, [] { BOOST_ERROR("a century is over"); });
        auto never = home.call_at(clock::time_point::max(), [] { BOOST_ERROR("never is over"); });
        co_await sleep(1s);
        century.cancel();
        never.cancel();
        BOOST_TEST(fired.size() == count);
        BOOST_TEST(std::ranges::is_sorted(fired));
    });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
