// Accepting while the process has no descriptor left.
#include <ouro/proto/server.hpp>

#include <ouro/runtime/loop.hpp>

#include "no_descriptors.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

task<server> quiet_server(std::vector<std::shared_ptr<recorder>>& all,
                          std::chrono::milliseconds retry, std::size_t max_connections = 0) {
    co_return co_await create_server(
        [&all] { return all.emplace_back(make_recorder(kind::streaming))->as_protocol(); },
        co_await address::parse("127.0.0.1:0"),
        {.start_serving = false, .accept_retry = retry, .max_connections = max_connections});
}

void connect_now(const socket& from, const address& to) {
    BOOST_REQUIRE_EQUAL(::connect(from.fd(), to.raw(), to.length()), 0);
}

/// Two clients come while there is no descriptor, and are served when there is.
task<> outlast_a_shortage(std::size_t max_connections) {
    std::vector<std::shared_ptr<recorder>> all;
    auto at = co_await quiet_server(all, std::chrono::milliseconds(2), max_connections);
    const address where = at.addresses().at(0);
    auto one = co_await socket::open(loop::current(), AF_INET);
    auto two = co_await socket::open(loop::current(), AF_INET);
    {
        const no_descriptors shortage;
        BOOST_CHECK(at.start_serving().has_value());
        co_await settle();
        connect_now(one, where);
        connect_now(two, where);
        send_now(one, "patient");
        std::vector<failure_report> reports;
        co_await eventually([&] { return !(reports = take_reports()).empty(); });
        BOOST_TEST(reports.size() == 1U);
        BOOST_CHECK(reports.at(0).error == std::errc::too_many_files_open);
        const auto turns = loop::current().statistics().turns;
        co_await sleep(std::chrono::milliseconds(7));                  // several retries
        BOOST_TEST(loop::current().statistics().turns - turns < 50U);  // it does not spin
        BOOST_TEST(take_reports().empty());
        BOOST_TEST(all.empty());
        BOOST_TEST(at.is_serving());
    }
    co_await eventually([&] { return all.size() == 2; });
    co_await eventually([&] { return all[0]->data == "patient" || all[1]->data == "patient"; });
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(server_shortage)

// rule 425
// fault 17
OURO_KERNEL_TEST(a_server_without_descriptors_reports_once_waits_and_accepts_later,
                 "takes the descriptors of the process away with setrlimit(2)") {
    for (const std::size_t max_connections : {0U, 100U}) {  // many accepts in one, or one by one
        BOOST_TEST_INFO_SCOPE("max_connections " << max_connections);
        co_await outlast_a_shortage(max_connections);
    }
}

// rules 425, 412
// fault 17
OURO_KERNEL_TEST(a_server_can_be_closed_while_it_waits_for_descriptors,
                 "takes the descriptors of the process away with setrlimit(2)") {
    std::vector<std::shared_ptr<recorder>> all;
    const auto timers = loop::current().counters().timers;
    auto at = co_await quiet_server(all, std::chrono::hours(1));
    const address where = at.addresses().at(0);
    auto client = co_await socket::open(loop::current(), AF_INET);
    {
        const no_descriptors shortage;
        BOOST_CHECK(at.start_serving().has_value());
        co_await settle();
        connect_now(client, where);
        co_await eventually([] { return take_reports().size() == 1; });
    }
    at.close();
    co_await at.wait_closed();
    BOOST_TEST(loop::current().counters().timers == timers);
    std::array<std::byte, 1> room;
    const auto got = co_await as_result(client.recv_into(room));
    BOOST_CHECK(!got || *got == 0);
    BOOST_TEST(all.empty());
}

// rules 420, 425
// fault 64
BOOST_AUTO_TEST_CASE(a_loop_closes_while_a_forgotten_server_waits_for_descriptors) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        std::vector<std::shared_ptr<recorder>> all;
        std::size_t reports = 0;
        loop home(options_for(which));
        home.set_exception_handler([&](loop&, const failure_report&) { ++reports; });
        const auto outcome = home.run_until_complete(
            [](std::vector<std::shared_ptr<recorder>>& into, std::size_t& told) -> task<> {
                auto at = co_await quiet_server(into, std::chrono::hours(1));
                const address where = at.addresses().at(0);
                auto client = co_await socket::open(loop::current(), AF_INET);
                const no_descriptors shortage;
                BOOST_CHECK(at.start_serving().has_value());
                co_await settle();
                connect_now(client, where);
                co_await eventually([&] { return told == 1; });
            }(all, reports));
        BOOST_CHECK(outcome.has_value());
        home.close();
        BOOST_TEST(reports == 1U);
        BOOST_TEST(home.counters().descriptors == 0U);
        BOOST_TEST(home.counters().resources == 0U);
        BOOST_TEST(home.counters().timers == 0U);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
