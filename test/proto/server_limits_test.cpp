// How much a server takes in: connections at a time, and connections a second.
#include <ouro/proto/server.hpp>

#include <ouro/runtime/gather.hpp>

#include "served.hpp"

namespace ouro::test {
namespace {

/// Connects until it is answered: a connection may be aborted before it is accepted.
task<> insist(address where) {
    for (;;) {
        auto client = co_await as_result(dial(where));
        if (!client) continue;
        if (!co_await as_result(client->send(as_bytes("x")))) continue;
        std::array<std::byte, 1> room;
        const auto answer = co_await as_result(client->recv_into(room));
        if (answer && *answer == 1) co_return;
    }
}

/// Clients that have said who they are.
task<std::vector<socket>> dial_many(address where, std::size_t count) {
    std::vector<socket> clients;
    for (std::size_t i = 0; i < count; ++i) {
        clients.push_back(co_await dial(where));
        send_now(clients.back(), std::to_string(i));
    }
    co_return clients;
}

std::size_t live(const recorders& all) {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [](const auto& each) { return !each->lost(); }));
}

/// What a factory may do.
void drop(const std::weak_ptr<server>& held) {
    const auto at = held.lock();
    if (!at) return;
    at->close();
    *at = {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(server_limits)

OURO_ASYNC_TEST(connections_above_the_limit_wait_and_none_is_lost) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        recorders all;
        auto at = co_await serve(all, how, {.max_connections = 2});
        auto clients = co_await dial_many(at.addresses().at(0), 7);
        for (std::size_t gone = 0; gone < 7; ++gone) {
            const std::size_t expected = std::min<std::size_t>(gone + 2, 7);
            co_await eventually(
                [&] { return all.size() == expected && all.back()->data.size() == 1; });
            co_await settle(10);
            BOOST_TEST(all.size() == expected);
            BOOST_TEST(live(all) <= 2U);
            BOOST_TEST(at.client_count() == expected - gone);
            BOOST_TEST(at.is_serving());
            clients[gone].close();
            co_await eventually([&] { return all[gone]->lost(); });
        }
        for (std::size_t i = 0; i < 7; ++i) BOOST_TEST(all[i]->data == std::to_string(i));
        at.close();
        co_await at.wait_closed();
    }
}

OURO_WHOLE_TEST(a_limited_server_may_be_closed_from_connection_made,
                "its factory knows the server by a local") {
    recorders all;
    server at;
    at = co_await create_server(
        [&all, &at] {
            auto made = each_into(all)();
            all.back()->on_made = [&at] { at.close(); };
            return made;
        },
        "127.0.0.1", 0, {.max_connections = 1});
    auto client = co_await dial(at.addresses().at(0));
    co_await eventually([&] { return !at.is_serving(); });
    client.close();
    co_await at.wait_closed();
}

OURO_ASYNC_TEST(a_limit_holds_across_several_listeners) {
    recorders all;
    auto at =
        co_await create_server(each_into(all), std::vector<std::string>{"127.0.0.1", "127.0.0.2"},
                               0, {.start_serving = false, .max_connections = 1});
    const auto places = at.addresses();
    std::vector<socket> clients;
    BOOST_CHECK(at.start_serving().has_value());
    // Both accepts find a connection in the same turn, so one is accepted above the limit.
    auto one = spawn(dial(places.at(0)));
    auto other = spawn(dial(places.at(1)));
    clients.push_back(co_await std::move(one));
    clients.push_back(co_await std::move(other));
    for (std::size_t served = 1; served <= 2; ++served) {
        co_await eventually([&] { return all.size() == served; });
        co_await settle(10);
        BOOST_TEST(all.size() == served);
        BOOST_TEST(live(all) == 1U);
        // Whose turn it was is the kernel's choice.
        BOOST_REQUIRE(all.back()->link);
        const auto name = all.back()->link->get_extra_info<address>("peername");
        for (socket& each : clients) {
            if (each && co_await each.local_address() == name) each.close();
        }
        co_await eventually([&] { return all[served - 1]->lost(); });
    }
    // Both listeners accept again.
    for (const address& where : places) {
        const auto before = all.size();
        auto client = co_await dial(where);
        co_await eventually([&] { return all.size() == before + 1; });
        client.close();
        co_await eventually([&] { return all_lost(all); });
    }
    at.close();
    co_await at.wait_closed();
}

// rules 427, 737
OURO_ASYNC_TEST(what_waits_at_the_limit_is_dropped_when_the_server_closes) {
    recorders all;
    auto at =
        co_await create_server(each_into(all), std::vector<std::string>{"127.0.0.1", "127.0.0.2"},
                               0, {.max_connections = 1});
    std::vector<socket> clients;
    for (const address& where : at.addresses()) clients.push_back(co_await dial(where));
    co_await eventually([&] { return all.size() == 1; });
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
    for (socket& each : clients) {
        std::array<std::byte, 1> room;
        const auto got = co_await as_result(each.recv_into(room));
        BOOST_CHECK(!got || *got == 0);  // closed or reset
    }
    BOOST_TEST(all.size() == 1U);
}

// rule 427
OURO_ASYNC_TEST(a_limited_server_lives_as_long_as_the_connection_whose_factory_dropped_it) {
    recorders all;
    const auto at = std::make_shared<server>();
    *at = co_await create_server(
        [all, held = std::weak_ptr(at)]() mutable {
            drop(held);
            return each_into(all)();
        },
        co_await free_place(medium::tcp), {.max_connections = 1});
    auto client = co_await dial(at->addresses().at(0));
    co_await eventually([&] { return !all.empty() && all[0]->made == 1; });
    client.close();
    co_await eventually([&] { return all_lost(all); });
    co_await eventually([] { return loop::current().counters().resources == 0; });
}

// rules 423, 427
OURO_ASYNC_TEST(a_factory_that_drops_its_server_and_fails_ends_it) {
    recorders all;
    const auto at = std::make_shared<server>();
    *at = co_await create_server(
        [all, held = std::weak_ptr(at)]() mutable -> std::shared_ptr<base_protocol> {
            if (all.empty()) return each_into(all)();
            drop(held);
            throw std::runtime_error("not today");
        },
        std::vector<std::string>{"127.0.0.1", "127.0.0.2"}, 0, {.max_connections = 1});
    // At once, so that the second one is in hand.
    const std::vector<address> where = at->addresses();
    auto [one, other] = co_await gather(dial(where.at(0)), dial(where.at(1)));
    co_await eventually([&] { return all.size() == 1 && all[0]->made == 1; });
    one.close();
    other.close();
    co_await eventually([&] { return all_lost(all); });
    co_await eventually([] { return loop::current().counters().resources == 0; });
}

// rule 423
OURO_ASYNC_TEST(a_factory_that_fails_takes_no_place_at_the_limit) {
    recorders all;
    auto at = co_await create_server(
        [all, calls = 0]() mutable -> std::shared_ptr<base_protocol> {
            if (++calls <= 3) throw std::runtime_error("not today");
            return each_into(all)();
        },
        co_await free_place(medium::tcp), {.max_connections = 1});
    auto clients = co_await dial_many(at.addresses().at(0), 4);
    co_await eventually([&] { return all.size() == 1 && all[0]->data == "3"; });
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

OURO_ASYNC_TEST(connections_come_in_no_faster_than_the_accept_rate) {
    recorders all;
    auto times = std::make_shared<std::vector<clock::time_point>>();
    auto at = co_await create_server(
        [all, times]() mutable {
            times->push_back(loop::current().time());
            return all.add(kind::streaming);
        },
        co_await free_place(medium::tcp), {.max_accept_rate = 50});
    auto clients = co_await dial_many(at.addresses().at(0), 4);
    co_await eventually([&] { return all.size() == 4 && all.back()->data == "3"; });
    // One in 20 ms, and 10 ms of slack.
    for (std::size_t i = 1; i < 4; ++i) {
        const auto least = std::chrono::milliseconds(20 * i - 10);
        BOOST_CHECK((*times)[i] - (*times)[0] >= least);
    }
    for (std::size_t i = 0; i < 4; ++i) BOOST_TEST(all[i]->data == std::to_string(i));
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

OURO_ASYNC_TEST(a_server_can_be_closed_while_the_rate_holds_it_back) {
    recorders all;
    const auto timers = loop::current().counters().timers;
    auto at = co_await serve(all, {}, {.max_accept_rate = 1e-300});
    auto clients = co_await dial_many(at.addresses().at(0), 2);
    co_await eventually([&] { return all.size() == 1; });
    co_await settle(10);
    BOOST_TEST(all.size() == 1U);
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
    BOOST_TEST(loop::current().counters().timers == timers);
}

// rules 425, 426
// faults 5, 12, 17, 18
BOOST_AUTO_TEST_CASE(failing_accepts_lose_no_connection_under_any_limit) {
    for (std::uint64_t seed = 1; seed <= 40; ++seed) {
        auto options = testing::simulation_options::calm(seed);
        options.rate(testing::fault_kind::accept_fails) = 0.3;
        options.rate(testing::fault_kind::multishot_ends) = 0.2;
        options.rate(testing::fault_kind::cancel_misses) = 0.3;
        options.rate(testing::fault_kind::late_completion) = 0.2;
        testing::simulation world(options);
        const auto outcome = world.run([]() -> task<> {
            auto& here = testing::simulation::current();
            auto at = co_await create_server(make_echo(),
                                             std::vector<std::string>{"127.0.0.1", "127.0.0.2"}, 0,
                                             {.accept_retry = std::chrono::milliseconds(50),
                                              .max_connections = here.draw(0, 3),
                                              .max_accept_rate = here.draw(0, 1) ? 100.0 : 0.0});
            std::vector<task_handle<>> clients;
            for (int i = 0; i < 5; ++i) {
                for (const address& where : at.addresses()) clients.push_back(spawn(insist(where)));
            }
            for (const auto& each : clients) co_await each;
            const stop_report told = co_await at.stop(std::chrono::seconds(1));
            BOOST_TEST(told.aborted.empty());
        });
        for (const auto& each : outcome.violations) BOOST_ERROR("seed " << seed << ": " << each);
    }
}

OURO_ASYNC_TEST(a_high_rate_and_a_high_limit_are_in_nobodys_way) {
    recorders all;
    auto at = co_await serve(all, {}, {.max_connections = 1000, .max_accept_rate = 1e6});
    auto clients = co_await dial_many(at.addresses().at(0), 40);
    co_await eventually([&] { return all.size() == 40; });
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
