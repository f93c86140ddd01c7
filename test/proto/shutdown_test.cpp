// Loops that close, or meet the limits of their shared buffers, with connections in every state.
#include <ouro/proto/server.hpp>

#include <sys/socket.h>

#include <fcntl.h>
#include <unistd.h>

#include "recorder.hpp"

namespace ouro::test {
namespace {

using recorders = std::vector<std::shared_ptr<recorder>>;

/// Runs `body` on a loop, closes the loop and checks that nothing is left and nothing was reported.
void run_and_close(loop_options options, std::function<task<>()> body) {
    std::vector<std::string> reports;
    loop home(options);
    home.set_exception_handler(
        [&](loop&, const failure_report& report) { reports.push_back(report.message); });
    const auto outcome = home.run_until_complete(body());
    BOOST_CHECK_MESSAGE(outcome.has_value(), (outcome ? "" : outcome.error().describe()));
    home.close();
    for (const auto& each : reports) BOOST_CHECK_MESSAGE(false, each);
    const auto left = home.counters();
    BOOST_TEST(left.ops == 0U);
    BOOST_TEST(left.tasks == 0U);
    BOOST_TEST(left.timers == 0U);
    BOOST_TEST(left.descriptors == 0U);
    BOOST_TEST(left.resources == 0U);
    BOOST_TEST(left.lent_buffers == 0U);
}

constexpr engine every_engine[] = {engine::uring, engine::plain_uring};

/// Leaves a connection open behind it, in a state that `prepare` made.
task<> leave_open(way how, recorders& all, socket& peer, std::function<task<>(linked&)> prepare) {
    auto on = co_await connect_narrow(how);
    all.push_back(on.seen);
    co_await prepare(on);
    peer = std::move(on.peer);
    on.link.reset();  // so that it is not aborted here
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shutdown)

// rules 263, 360
// fault 64
BOOST_AUTO_TEST_CASE(connections_in_every_state_are_lost_once_when_the_loop_closes) {
    const std::vector<std::function<task<>(linked&)>> states = {
        [](linked&) -> task<> { co_return; },          // new
        [](linked&) -> task<> { co_await settle(); },  // idle
        [](linked& on) -> task<> {                     // staged
            BOOST_CHECK(!on.link->write("staged"));
            co_return;
        },
        [](linked& on) -> task<> {  // sending
            BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
            co_await settle(10);
        },
        [](linked& on) -> task<> {  // flushing
            BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
            on.link->close();
            co_await settle(10);
        },
        [](linked& on) -> task<> {  // holding input and its end
            on.link->pause_reading();
            send_now(on.peer, "held");
            end_now(on.peer);
            co_await settle(10);
        },
        [](linked& on) -> task<> {  // resumed, not delivered
            on.link->pause_reading();
            send_now(on.peer, "held");
            co_await settle(10);
            on.link->resume_reading();
        },
        [](linked& on) -> task<> {  // aborted in this turn
            BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
            co_await settle(10);
            on.link->abort();
        },
    };
    for (const engine which : every_engine) {
        for (const way& how : every_way) {
            for (std::size_t i = 0; i < states.size(); ++i) {
                BOOST_TEST_INFO_SCOPE(how << ", state " << i);
                recorders all;
                run_and_close(options_for(which), [&]() -> task<> {
                    socket peer;
                    co_await leave_open(how, all, peer, states[i]);
                });
                BOOST_TEST(all.at(0)->made == 1);
                BOOST_TEST(all.at(0)->losses == 1);
            }
        }
    }
}

// rules 420, 414
// fault 64
BOOST_AUTO_TEST_CASE(a_server_without_a_handle_serves_until_the_loop_closes) {
    for (const engine which : every_engine) {
        recorders all;
        run_and_close(options_for(which), [&]() -> task<> {
            address where;
            {
                auto at = co_await create_server(
                    [&] { return all.emplace_back(make_recorder(kind::streaming))->as_protocol(); },
                    "127.0.0.1", 0);
                where = at.addresses().at(0);
            }
            co_await settle();
            for (int i = 0; i < 2; ++i) {
                auto client = co_await socket::open(loop::current(), AF_INET);
                co_await client.connect(where);
                send_now(client, "served");
                co_await eventually([&] { return !all.empty() && all.back()->data == "served"; });
                (void)::close(client.release());
            }
            auto last = co_await socket::open(loop::current(), AF_INET);
            co_await last.connect(where);  // perhaps accepted, perhaps not, when the loop closes
        });
        BOOST_TEST(all.size() >= 2U);
        for (const auto& each : all) BOOST_TEST(each->losses == 1);
    }
}

// rules 263, 417
// fault 64
BOOST_AUTO_TEST_CASE(a_loop_closes_with_servers_tasks_and_connects_under_way) {
    for (const engine which : every_engine) {
        recorders all;
        run_and_close(options_for(which), [&]() -> task<> {
            const auto factory = [&] {
                return all.emplace_back(make_recorder(kind::buffered))->as_protocol();
            };
            auto at = co_await create_server(factory, "127.0.0.1", 0);
            const auto port = at.addresses().at(0).port();
            auto unstarted =
                co_await create_server(factory, "127.0.0.1", 0, {.start_serving = false});
            spawn([](server on) -> task<> { co_await on.serve_forever(); }, at);
            spawn([](server on) -> task<> { co_await on.wait_closed(); }, at);
            spawn(create_connection(factory, "127.0.0.1", port));
            spawn(create_connection(factory, "localhost", port));
            co_await settle(2);
            spawn(create_connection(factory, "127.0.0.1", port));
        });
        for (const auto& each : all) BOOST_TEST(each->made == each->losses);
    }
}

// rules 736, 735
// faults 4, 5
BOOST_AUTO_TEST_CASE(an_exhausted_shared_ring_loses_nothing_and_ends_nothing) {
    for (const engine which : every_engine) {
        auto options = options_for(which);
        options.ring_buffer_bytes = 4096;
        options.ring_buffer_count = 2;
        recorders all;
        run_and_close(options, [&]() -> task<> {
            std::vector<linked> links;
            std::vector<task_handle<>> sending;
            const std::string sent = pattern(150'000);
            for (int i = 0; i < 8; ++i) {
                links.push_back(co_await connect_recorder(every_way[i % 4]));
                all.push_back(links.back().seen);
            }
            for (auto& each : links) sending.push_back(spawn(send_text(each.kept_peer, sent)));
            co_await eventually([&] {
                return std::all_of(all.begin(), all.end(), [&](const auto& each) {
                    return each->data.size() == sent.size();
                });
            });
            for (const auto& each : sending) co_await each;
            BOOST_TEST(loop::current().statistics().ring_exhausted > 0U);
            for (const auto& each : all) {
                BOOST_CHECK(each->data == sent);
                BOOST_TEST(each->story() == "made data");
            }
        });
    }
}

// rules 736, 723
// faults 4, 64
BOOST_AUTO_TEST_CASE(connections_that_wait_for_a_shared_buffer_can_be_paused_and_ended) {
    for (const engine which : every_engine) {
        auto options = options_for(which);
        options.ring_buffer_bytes = 4096;
        options.ring_buffer_count = 1;
        recorders all;
        run_and_close(options, [&]() -> task<> {
            std::vector<linked> links;
            for (int i = 0; i < 12; ++i) {
                links.push_back(co_await connect_recorder(each_medium[i % 2]));
                all.push_back(links.back().seen);
                links.back().seen->on_data = [&, i] {
                    // Whoever gets the buffer ends or pauses its neighbours, which found none.
                    auto& next = links[static_cast<std::size_t>(i + 1) % links.size()].link;
                    i % 3 == 0 ? next->abort() : i % 3 == 1 ? next->pause_reading() : next->close();
                };
            }
            for (auto& each : links) send_now(each.peer, pattern(100'000));
            co_await settle(50);
            for (auto& each : links) each.link->resume_reading();
            co_await settle(50);
        });
        for (const auto& each : all) BOOST_TEST(each->losses == 1);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
