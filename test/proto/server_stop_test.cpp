// Stopping a server in order: let finish, close, abort, and the report.
#include <ouro/proto/server.hpp>

#include <ouro/runtime/timeout.hpp>

#include "served.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

task<std::vector<socket>> three_clients(server& at, const recorders& all) {
    std::vector<socket> clients;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(co_await dial(at.addresses().at(0)));
        co_await eventually([&] { return all.size() == clients.size(); });
        BOOST_REQUIRE(all.back()->link);
    }
    co_return clients;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(server_stop)

OURO_ASYNC_TEST(connections_that_finish_by_themselves_are_waited_for) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how);
        auto clients = co_await three_clients(at, all);
        auto stopping = spawn(at.stop(24h));
        co_await settle();
        BOOST_TEST(!at.is_serving());
        BOOST_TEST(!stopping.done());
        for (std::size_t i = 0; i < 3; ++i) {
            send_now(clients[i], "last words");  // they are still heard
            co_await eventually([&] { return all[i]->data == "last words"; });
            clients[i].close();
        }
        const stop_report told = co_await std::move(stopping);
        BOOST_TEST(told.clients == 3U);
        BOOST_TEST(told.finished == 3U);
        BOOST_TEST(told.closed == 0U);
        BOOST_TEST(told.aborted.empty());
        BOOST_TEST(all_lost(all));
    }
}

OURO_ASYNC_TEST(at_the_deadline_who_has_output_left_is_aborted_and_named) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how);
        auto clients = co_await three_clients(at, all);
        const std::string much = pattern(8'000'000);  // more than the sockets take
        BOOST_CHECK(!all[1]->link->write(much));
        co_await settle();
        const auto queued = all[1]->link->get_write_buffer_size();
        const stop_report told = co_await at.stop(0s);
        BOOST_TEST(told.clients == 3U);
        BOOST_TEST(told.finished == 0U);
        BOOST_TEST(told.closed == 2U);
        BOOST_REQUIRE(told.aborted.size() == 1U);
        BOOST_TEST(told.aborted.at(0).bytes_queued > 0U);
        BOOST_TEST(told.aborted.at(0).bytes_queued <= queued);
        if (how.over == medium::tcp) {
            BOOST_CHECK(told.aborted.at(0).peer == co_await clients[1].local_address());
        }
        BOOST_TEST(all_lost(all));
        for (const auto& each : all) BOOST_CHECK(!each->why);
        BOOST_TEST(at.client_count() == 0U);
    }
}

OURO_ASYNC_TEST(output_that_drains_in_the_second_half_of_the_grace_is_no_abort) {
    recorders all;
    auto at = co_await serve(all);
    auto clients = co_await three_clients(at, all);
    const std::string much = pattern(8'000'000);
    BOOST_CHECK(!all[1]->link->write(much));
    auto stopping = spawn(at.stop(30s));
    // Time passes at once in a simulation; elsewhere the connections are asked to close by hand.
    co_await settle();
    at.close_clients();
    BOOST_TEST(co_await read_to_end(clients[1]) == much);
    const stop_report told = co_await std::move(stopping);
    BOOST_TEST(told.clients == 3U);
    BOOST_TEST(told.aborted.empty());
    BOOST_TEST(told.finished + told.closed == 3U);
}

BOOST_AUTO_TEST_CASE(each_step_takes_its_half_of_the_grace) {
    testing::simulation world({.seed = 5});
    const auto outcome = world.run([]() -> task<> {
        recorders all;
        auto at = co_await serve(all);
        auto clients = co_await three_clients(at, all);
        BOOST_CHECK(!all[2]->link->write(pattern(8'000'000)));
        auto stopping = spawn(at.stop(10s));
        co_await sleep(4s);
        BOOST_TEST(at.client_count() == 3U);
        clients[0].close();
        co_await sleep(2s);  // 6 s: the second one was closed
        BOOST_TEST(at.client_count() == 1U);
        BOOST_TEST(all[1]->lost());
        BOOST_TEST(!all[2]->lost());
        const stop_report told = co_await std::move(stopping);
        BOOST_TEST(told.finished == 1U);
        BOOST_TEST(told.closed == 1U);
        BOOST_TEST(told.aborted.size() == 1U);
        BOOST_CHECK(told.took >= 10s && told.took < 11s);
    });
    for (const auto& each : outcome.violations) BOOST_ERROR(each);
}

OURO_ASYNC_TEST(a_server_without_connections_stops_at_once) {
    for (const bool serving : {false, true}) {
        recorders all;
        auto at = co_await serve(all, {}, {.start_serving = serving});
        const stop_report told = co_await at.stop(24h);
        BOOST_TEST(told.clients == 0U);
        BOOST_TEST(at.sockets().empty());
        const stop_report again = co_await at.stop(24h);  // closed already
        BOOST_TEST(again.clients == 0U);
    }
}

// rule 410
OURO_ASYNC_TEST(a_stop_ends_serve_forever_and_may_be_given_up) {
    recorders all;
    auto at = co_await serve(all);
    auto forever = spawn(at.serve_forever());
    auto clients = co_await three_clients(at, all);
    auto stopping = spawn(at.stop(24h));
    co_await settle();
    stopping.cancel();
    auto outcome = co_await as_result(std::move(stopping).join());
    BOOST_CHECK(!outcome && outcome.error() == errc::cancelled);
    BOOST_TEST(!at.is_serving());
    BOOST_TEST(at.client_count() == 3U);
    auto second = spawn(at.stop(24h));
    auto third = spawn(at.stop(24h));
    clients.clear();
    BOOST_TEST((co_await std::move(second)).finished == 3U);
    BOOST_TEST((co_await std::move(third)).finished == 3U);
    auto ended = co_await as_result(std::move(forever).join());
    BOOST_CHECK(!ended && ended.error() == errc::cancelled);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
