// Datagrams in a thousand bad networks: an echo service whose clients ask again until they are
// answered.
#include <boost/test/unit_test.hpp>

#include <memory>
#include <set>
#include <stdexcept>
#include <string>

#include <ouro/proto/datagram.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/testing/explore.hpp>

namespace ouro::test {
namespace {

using testing::fault_kind;

constexpr std::size_t question_count = 40;
constexpr std::uint64_t seed_count = 300;

/// What is said in question `number`; sizes repeat, so that several leave together.
std::string question(std::size_t number) {
    std::string text = std::to_string(number) + ":";
    text.resize(8 + number / 8 % 3 * 100, static_cast<char>('a' + number % 26));
    return text;
}

struct echo_service : datagram_protocol {
    void connection_made(std::shared_ptr<datagram_transport> on) override { link = std::move(on); }
    void datagram_received(bytes data, const address& from) override { link->send_to(data, from); }
    std::shared_ptr<datagram_transport> link;
};

/// Knows which of its questions were answered.
struct asker : datagram_protocol {
    void connection_made(std::shared_ptr<datagram_transport> on) override { link = std::move(on); }
    void datagram_received(bytes data, const address&) override {
        const std::size_t number = std::stoul(std::string(as_text(data)));
        if (as_text(data) != question(number)) throw std::runtime_error("an answer was changed");
        answered.insert(number);
        ++answers;
        // Now and then it takes a while before it hears more.
        if (answers % 7 == 0) link->pause_reading();
    }
    void connection_lost(error why) override { lost_with = std::move(why); }
    std::shared_ptr<datagram_transport> link;
    std::set<std::size_t> answered;
    std::size_t answers = 0;
    error lost_with;
};

task<> every_question_is_answered() {
    const address where = address::from_ip("10.0.0.2", 7).value();
    auto server = co_await create_datagram_endpoint([] { return std::make_shared<echo_service>(); },
                                                    {.local = where});
    auto client = co_await create_datagram_endpoint([] { return std::make_shared<asker>(); },
                                                    {.remote = where});
    const auto asking = client.protocol;
    for (int rounds = 0; asking->answered.size() < question_count; ++rounds) {
        if (rounds == 200) testing::simulation::current().heal();
        if (rounds > 400) throw std::runtime_error("questions are never answered");
        for (std::size_t i = 0; i < question_count; ++i) {
            if (!asking->answered.contains(i)) client.transport->send_to(question(i));
        }
        co_await sleep(std::chrono::milliseconds(40));
        client.transport->resume_reading();
    }
    if (asking->lost_with) throw std::runtime_error("the endpoint was lost");
    const datagram_statistics out = client.transport->statistics();
    if (out.sent < question_count) throw std::runtime_error("fewer were sent than answered");
    client.transport->close();
    server.transport->close();
}

/// The same with unix sockets, which lose nothing and keep the order.
task<> a_unix_echo_comes_back_once_and_in_order() {
    auto pair = co_await socket::pair(loop::current(), SOCK_DGRAM);
    auto server = co_await create_datagram_endpoint([] { return std::make_shared<echo_service>(); },
                                                    std::move(pair.first));
    auto client = co_await create_datagram_endpoint([] { return std::make_shared<asker>(); },
                                                    std::move(pair.second));
    for (std::size_t i = 0; i < question_count; ++i) client.transport->send_to(question(i));
    for (int rounds = 0; client.protocol->answers < question_count; ++rounds) {
        if (rounds > 1000) throw std::runtime_error("questions are never answered");
        co_await sleep(std::chrono::milliseconds(10));
        client.transport->resume_reading();
    }
    if (client.protocol->answered.size() != question_count) {
        throw std::runtime_error("an answer came twice");
    }
    client.transport->close();
    server.transport->close();
}

testing::simulation_options hostile_but_patient(std::uint64_t seed) {
    auto world = testing::simulation_options::hostile(seed);
    world.rate(fault_kind::no_descriptor) = 0;  // making the endpoints is not what is tried
    // One byte of room never takes a datagram.
    world.least_buffer_bytes = 4 * 1024;
    world.most_buffer_bytes = 64 * 1024;
    return world;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(datagram_seeds)

// faults 44, 85
BOOST_AUTO_TEST_CASE(in_any_network_whoever_asks_again_is_answered) {
    const auto report = testing::explore({.seed_count = seed_count, .world = &hostile_but_patient},
                                         &every_question_is_answered);
    if (report.failed) BOOST_ERROR(report.failed->describe());
    BOOST_TEST(report.seeds == seed_count);
    const auto struck = [&](fault_kind kind) {
        return report.faults[static_cast<std::size_t>(kind)];
    };
    for (const fault_kind kind : {fault_kind::loss, fault_kind::duplicate, fault_kind::reorder,
                                  fault_kind::ring_exhausted, fault_kind::multishot_ends}) {
        BOOST_TEST(struck(kind) > 0U, to_string(kind) << " never struck");
    }
}

BOOST_AUTO_TEST_CASE(on_any_engine_unix_datagrams_come_once_and_in_order) {
    const auto report = testing::explore({.seed_count = seed_count, .world = &hostile_but_patient},
                                         &a_unix_echo_comes_back_once_and_in_order);
    if (report.failed) BOOST_ERROR(report.failed->describe());
    BOOST_TEST(report.seeds == seed_count);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
