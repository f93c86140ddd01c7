// Faults of peers (docs/faults.md, 32-55) that need virtual time or thousands of connections.
#include <ouro/testing/simulation.hpp>

#include <algorithm>
#include <array>
#include <vector>

#include <ouro/proto/flow_control.hpp>
#include <ouro/proto/server.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include "echo.hpp"
#include "injected.hpp"
#include "played.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;
using testing::allocation_faults;
using testing::door_call;
using testing::fault_kind;
using testing::injection;
using testing::simulation;
using testing::simulation_options;

/// A healthy network whose segments take a millisecond.
simulation_options far_away() {
    auto world = simulation_options::calm(1);
    world.least_delay = world.most_delay = 1000us;
    return world;
}

const address& service() {
    static const address where = address::parse("10.0.0.2:7").value();
    return where;
}

task<socket> dial(address where = service()) {
    auto client = co_await socket::open(loop::current(), AF_INET);
    co_await client.connect(where);
    co_return client;
}

/// Sends `text` and waits for as much to come back.
task<std::string> ask(socket& over, std::string text) {
    co_await over.send_all(as_bytes(text));
    co_return co_await read_text(over, text.size());
}

task<> shut(server& at) {
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

/// Ends a connection on which no whole line came for a minute.
class patient_lines final : public protocol {
  public:
    static constexpr auto patience = 60s;

    explicit patient_lines(echo_counts& counts) noexcept : counts_(&counts) {}
    void connection_made(std::shared_ptr<transport> link) override {
        ++counts_->made;
        link_ = std::move(link);
        wait();
    }
    void data_received(bytes data) override {
        line_ += as_text(data);
        if (!line_.ends_with('\n')) return;
        (void)link_->write(std::exchange(line_, {}));
        deadline_.cancel();
        wait();
    }
    void connection_lost(error) override {
        ++counts_->lost;
        deadline_.cancel();
        link_.reset();
    }

  private:
    void wait() {
        deadline_ = loop::current().call_later(patience, [this] { link_->abort(); });
    }
    echo_counts* counts_;
    std::shared_ptr<transport> link_;
    std::string line_;
    timer_handle deadline_;
};

/// Sends a byte every ten seconds until the server has enough of it; tells how long that took.
task<> trickle(microseconds after, std::vector<microseconds>& lasted) {
    co_await sleep(after);
    auto client = co_await dial();
    const auto began = simulation::current().elapsed();
    while (co_await as_result(client.send_all(as_bytes("x")))) {
        co_await sleep(10s);
        if (peek(client).ended) break;
    }
    lasted.push_back(simulation::current().elapsed() - began);
}

/// The longest round trip of `count` lines, one a second.
task<microseconds> slowest_answer(socket& over, int count) {
    microseconds slowest{};
    for (int i = 0; i < count; ++i) {
        const auto began = simulation::current().elapsed();
        BOOST_TEST((co_await ask(over, "hello\n") == "hello\n"));
        slowest = std::max(slowest, simulation::current().elapsed() - began);
        co_await sleep(1s);
    }
    co_return slowest;
}

/// Writes whenever it may, and gives up on a peer that lets it wait for half a minute.
class talkative final : public protocol {
  public:
    static constexpr auto patience = 30s;
    static constexpr std::size_t piece_bytes = 1024;
    struct figures : echo_counts {
        std::size_t most_queued = 0;
    };

    explicit talkative(figures& seen) noexcept : seen_(&seen) {}
    void connection_made(std::shared_ptr<transport> link) override {
        ++seen_->made;
        link_ = std::move(link);
        talk();
    }
    void pause_writing() override {
        paused_ = true;
        deadline_ = loop::current().call_later(patience, [this] { link_->abort(); });
    }
    void resume_writing() override {
        paused_ = false;
        deadline_.cancel();
        talk();
    }
    void connection_lost(error) override {
        ++seen_->lost;
        deadline_.cancel();
        link_.reset();
    }

  private:
    void talk() {
        while (!paused_ && !link_->is_closing()) {
            (void)link_->write(std::string_view(piece_));
            seen_->most_queued = std::max(seen_->most_queued, link_->get_write_buffer_size());
        }
    }
    figures* seen_;
    std::shared_ptr<transport> link_;
    timer_handle deadline_;
    std::string piece_ = pattern(piece_bytes);
    bool paused_ = false;
};

/// Connects and ends, in order or with a reset.
task<> come_and_go(address where, bool orderly) {
    auto client = co_await dial(where);
    if (!orderly) {
        reset_now(client);
        co_return;
    }
    end_now(client);
    std::array<std::byte, 1> room;
    BOOST_TEST(co_await client.recv_into(room) == 0U);
}

/// What a loop and the heap hold.
struct holdings {
    std::size_t descriptors = loop::current().counters().descriptors;
    std::size_t resources = loop::current().counters().resources;
    std::size_t ops = loop::current().counters().ops;
    std::int64_t blocks = allocation_faults::live_blocks();
};

/// `rounds` times two connections, after as many to get warm; nothing may have grown.
task<> churn(address where, int rounds) {
    auto go = [&]() -> task<> {
        for (int i = 0; i < rounds; ++i) {
            co_await come_and_go(where, true);
            co_await come_and_go(where, false);
        }
        co_await sleep(20ms);
    };
    co_await go();
    const holdings before;
    co_await go();
    const holdings after;
    BOOST_TEST(after.descriptors == before.descriptors);
    BOOST_TEST(after.resources == before.resources);
    BOOST_TEST(after.ops == before.ops);
    BOOST_TEST(after.blocks <= before.blocks + 16);  // a queue may have taken another block
}

}  // namespace

BOOST_AUTO_TEST_SUITE(faults_of_peers)

// fault 32: while the connection is being made
BOOST_AUTO_TEST_CASE(clients_that_vanish_during_the_handshake_disturb_nobody) {
    run_in(far_away(), []() -> task<> {
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), service());
        for (const bool crash : {false, true}) {
            for (int step = 0; step < 12; ++step) {
                auto client = spawn(dial());
                co_await sleep(step * 400us);
                if (crash) simulation::current().crash("10.0.0.1");
                client.cancel();
                auto ended = co_await as_result(client.join());
                if (ended) reset_now(*ended);
            }
        }
        co_await sleep(1s);
        BOOST_TEST(counts.made > 0U);   // some came through
        BOOST_TEST(counts.made < 24U);  // and some did not
        BOOST_TEST(counts.lost == counts.made);
        auto good = co_await dial();
        BOOST_TEST((co_await ask(good, "still there?") == "still there?"));
        co_await shut(at);
    });
}

// fault 35
BOOST_AUTO_TEST_CASE(two_ends_that_close_at_the_same_moment_meet_no_error) {
    for (const bool half : {false, true}) {
        run_in(far_away(), [half]() -> task<> {
            auto served = make_recorder(kind::streaming);
            auto at = co_await create_server(factory_of(served), service());
            auto client = make_recorder(kind::buffered);
            auto made = co_await create_connection(factory_of(client), service());
            co_await eventually([&] { return served->made == 1; });
            for (const auto& each : {served, client}) {
                each->stay_open_after_eof = true;
                (void)each->link->write("bye");
            }
            co_await sleep(10ms);
            for (const auto& each : {served, client}) {
                half ? (void)each->link->write_eof() : each->link->close();
            }
            co_await sleep(10ms);
            for (const auto& each : {served, client}) {
                BOOST_TEST(each->data == "bye");
                if (half) {
                    BOOST_TEST(each->eofs == 1);
                    BOOST_TEST(!each->lost());
                    each->link->close();
                }
            }
            co_await sleep(10ms);
            for (const auto& each : {served, client}) {
                BOOST_TEST(each->losses == 1);
                BOOST_TEST(!each->why);
            }
            at.close();
            co_await at.wait_closed();
        });
    }
}

// fault 36
BOOST_AUTO_TEST_CASE(ten_thousand_slow_peers_are_closed_in_time_and_delay_nobody) {
    static constexpr std::size_t peers = 10'000;
    auto world = far_away();
    world.descriptor_limit = 3 * peers;
    run_in(world, []() -> task<> {
        echo_counts counts;
        auto at = co_await create_server(
            [&counts] { return std::make_shared<patient_lines>(counts); }, service());
        auto good = co_await dial();
        const auto alone = co_await slowest_answer(good, 10);
        std::vector<microseconds> lasted;
        std::vector<task_handle<>> slow;
        for (std::size_t i = 0; i < peers; ++i) slow.push_back(spawn(trickle(i * 1ms, lasted)));
        const auto in_company = co_await slowest_answer(good, 100);
        for (auto& each : slow) co_await each;
        BOOST_TEST(counts.made == peers + 1);
        BOOST_TEST(at.client_count() == 1U);  // the good one
        BOOST_TEST(lasted.size() == peers);
        BOOST_TEST((*std::ranges::min_element(lasted) >= patient_lines::patience - 1s));
        BOOST_TEST((*std::ranges::max_element(lasted) <= patient_lines::patience + 11s));
        BOOST_TEST((in_company <= 2 * alone));
        co_await shut(at);
        BOOST_TEST(counts.lost == peers + 1);
    });
}

// fault 37
BOOST_AUTO_TEST_CASE(a_thousand_peers_that_never_read_cost_bounded_memory_and_end_in_time) {
    static constexpr std::size_t peers = 1000;
    auto world = far_away();
    world.least_buffer_bytes = world.most_buffer_bytes = 4096;
    run_in(world, []() -> task<> {
        talkative::figures seen;
        auto at = co_await create_server([&seen] { return std::make_shared<talkative>(seen); },
                                         service(), {.backlog_count = peers});
        std::vector<socket> silent;
        for (std::size_t i = 0; i < peers; ++i) silent.push_back(co_await dial());
        co_await sleep(talkative::patience - 10s);
        BOOST_TEST(seen.made == peers);
        BOOST_TEST(seen.lost == 0U);
        BOOST_TEST(seen.most_queued > flow_control::default_high_bytes);
        BOOST_TEST(seen.most_queued <= flow_control::default_high_bytes + talkative::piece_bytes);
        co_await sleep(20s);
        BOOST_TEST(seen.lost == peers);
        BOOST_TEST(at.client_count() == 0U);
        co_await shut(at);
    });
}

// fault 40
BOOST_AUTO_TEST_CASE(ten_thousand_connections_and_as_many_resets_leave_nothing) {
    run_in(simulation_options::calm(1), []() -> task<> {
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), service());
        co_await churn(service(), 5000);
        BOOST_TEST(counts.made == 20'000U);
        BOOST_TEST(counts.lost == 20'000U);
        co_await shut(at);
    });
}

// fault 40
BOOST_AUTO_TEST_CASE(hundreds_of_connections_and_as_many_resets_leave_nothing_in_the_kernel) {
    for (const auto which : {engine::uring, engine::plain_uring}) {
        run_on(which, []() -> task<> {
            echo_counts counts;
            auto at =
                co_await create_server(echoes(counts), co_await address::parse("127.0.0.1:0"));
            co_await churn(at.addresses().front(), 150);
            BOOST_TEST(counts.made == 600U);
            BOOST_TEST(counts.lost == 600U);
            co_await shut(at);
        });
    }
}

// fault 41
BOOST_AUTO_TEST_CASE(a_client_without_a_port_left_says_so_and_connects_later) {
    static address where;
    static std::uint64_t nth;
    const auto body = [](injection& faults) -> task<> {
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), co_await address::parse("127.0.0.1:0"));
        where = at.addresses().front();
        auto seen = make_recorder(kind::streaming);
        auto refused = co_await as_result(create_connection(factory_of(seen), where));
        BOOST_TEST(refused.has_value() == (faults.struck() == 0));
        if (refused) {
            nth = 1 +
                  static_cast<std::uint64_t>(std::ranges::find(faults.seen(), door_call::connect) -
                                             faults.seen().begin());
        } else {
            BOOST_CHECK(refused.error() == std::errc::address_not_available);
            BOOST_TEST(refused.error().describe().find(where.to_string()) != std::string::npos);
            BOOST_TEST(seen->made == 0);
            refused = co_await as_result(create_connection(factory_of(seen), where));
            BOOST_TEST(refused.has_value());
        }
        co_await shut(at);
        co_await eventually([&] { return seen->lost(); });
    };
    run_injected({}, body);
    run_injected({.plan = {{fault_kind::op_fails, nth, EADDRNOTAVAIL}}}, body);
}

// fault 42: no answer at all
BOOST_AUTO_TEST_CASE(a_host_that_does_not_answer_is_given_up_and_the_next_one_tried) {
    for (const bool other_answers : {false, true}) {
        run_in(far_away(), [other_answers]() -> task<> {
            simulation& world = simulation::current();
            world.set_name("service", {"10.0.0.2", "10.0.0.3"});
            world.cut("10.0.0.1", "10.0.0.2");
            if (!other_answers) world.cut("10.0.0.1", "10.0.0.3");
            echo_counts counts;
            auto at = co_await create_server(echoes(counts), "10.0.0.3", 7);
            auto seen = make_recorder(kind::streaming);
            const auto began = world.elapsed();
            auto made = co_await as_result(
                create_connection(factory_of(seen), "service", 7, {.all_errors = true}));
            BOOST_TEST(made.has_value() == other_answers);
            BOOST_TEST((world.elapsed() - began > 60s));
            if (!made) {
                const std::string why = made.error().describe();
                BOOST_TEST(why.find("10.0.0.2:7") != std::string::npos, why);
                BOOST_TEST(why.find("10.0.0.3:7") != std::string::npos, why);
                BOOST_TEST(seen->made == 0);
            }
            co_await shut(at);
            co_await eventually([&] { return seen->made == seen->losses; });
        });
    }
}

// fault 42: the deadline is the caller's
BOOST_AUTO_TEST_CASE(a_connect_without_answer_ends_when_it_is_cancelled) {
    run_in(far_away(), []() -> task<> {
        simulation::current().cut("10.0.0.1", "10.0.0.2");
        auto connecting = spawn(dial());
        co_await sleep(5s);
        const auto asked = simulation::current().elapsed();
        BOOST_TEST(!connecting.done());
        connecting.cancel(cancel_cause::timeout);
        const auto ended = co_await as_result(connecting.join());
        BOOST_TEST(!ended.has_value());
        BOOST_CHECK(ended.error() == errc::cancelled);
        BOOST_TEST((simulation::current().elapsed() - asked < 10ms));
    });
}

// fault 55
BOOST_AUTO_TEST_CASE(a_name_with_a_thousand_addresses_leads_to_the_one_that_answers) {
    run_in(far_away(), []() -> task<> {
        std::vector<std::string> all;
        for (int i = 0; i < 1000; ++i) {
            all.push_back("10.0." + std::to_string(1 + i / 250) + "." + std::to_string(i % 250));
        }
        simulation::current().set_name("many", all);
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), all.back(), 7);
        auto seen = make_recorder(kind::streaming);
        auto made = co_await create_connection(factory_of(seen), "many", 7);
        const auto peer = made.transport->get_extra_info<address>("peername");
        BOOST_TEST(peer.to_string() == all.back() + ":7");
        co_await shut(at);
        co_await eventually([&] { return seen->lost(); });
    });
}

// fault 55
BOOST_AUTO_TEST_CASE(a_name_that_takes_long_can_be_given_up_and_one_that_fails_is_named) {
    auto world = far_away();
    world.only = testing::parse_fault_plan("slow_name@1=20000000,no_name@1").value();
    run_in(world, []() -> task<> {
        simulation::current().set_name("service", {"10.0.0.2"});
        auto seen = make_recorder(kind::streaming);
        const auto look = [&] { return create_connection(factory_of(seen), "service", 7); };
        auto slow = spawn(look());
        co_await sleep(1s);
        BOOST_TEST(!slow.done());
        slow.cancel();
        BOOST_CHECK((co_await as_result(slow.join())).error() == errc::cancelled);
        BOOST_TEST((simulation::current().elapsed() < 2s));
        co_await sleep(30s);  // what comes of the look-up in the end disturbs nobody
        const auto failed = co_await as_result(look());
        BOOST_TEST(!failed.has_value());
        BOOST_TEST(failed.error().describe().find("service") != std::string::npos);
        BOOST_TEST(seen->made == 0);
    });
}

// fault 43
BOOST_AUTO_TEST_CASE(a_connection_whose_first_packets_are_lost_is_tried_again) {
    auto world = far_away();
    world.only = testing::parse_fault_plan("loss@1,loss@2").value();
    run_in(world, []() -> task<> {
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), service());
        const auto began = simulation::current().elapsed();
        auto client = co_await dial();
        const auto took = simulation::current().elapsed() - began;
        BOOST_TEST((took >= 3s && took < 4s));  // again after one and after two more seconds
        BOOST_TEST((co_await ask(client, "here") == "here"));
        co_await shut(at);
    });
}

// fault 43
BOOST_AUTO_TEST_CASE(connections_that_find_the_backlog_full_come_in_when_there_is_room) {
    run_in(far_away(), []() -> task<> {
        auto listening = co_await socket::open(loop::current(), AF_INET);
        co_await listening.bind(service());
        co_await listening.listen(1);
        std::vector<task_handle<socket>> clients;
        for (int i = 0; i < 6; ++i) clients.push_back(spawn(dial()));
        co_await sleep(500ms);
        const auto waiting =
            std::ranges::count_if(clients, [](auto& each) { return !each.done(); });
        BOOST_TEST(waiting > 0);
        std::vector<socket> accepted;
        for (int i = 0; i < 6; ++i) accepted.push_back(co_await listening.accept());
        for (auto& each : clients) (void)co_await each;
        BOOST_TEST((simulation::current().elapsed() < 10s));
    });
}

// fault 85
BOOST_AUTO_TEST_CASE(a_link_that_loses_much_and_is_gone_for_a_while_delays_and_changes_nothing) {
    auto world = far_away();
    world.rate(fault_kind::loss) = 0.1;
    run_in(world, []() -> task<> {
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), service());
        const std::string sent = pattern(300'000);
        for (const kind of : {kind::streaming, kind::buffered, kind::leasing}) {
            auto seen = make_recorder(of);
            auto made = co_await create_connection(factory_of(seen), service());
            made.transport->write(sent);
            co_await sleep(1500us);
            BOOST_TEST(seen->data.empty());
            simulation::current().cut("10.0.0.1", "10.0.0.2");
            co_await sleep(1min);
            BOOST_TEST(!seen->lost());
            simulation::current().mend("10.0.0.1", "10.0.0.2");
            for (int s = 0; s < 3600 && seen->data.size() < sent.size(); ++s) co_await sleep(1s);
            BOOST_CHECK(seen->data == sent);
            made.transport->close();
            co_await sleep(1min);
            BOOST_TEST(seen->lost());
            BOOST_TEST(!seen->why);
        }
        co_await shut(at);
    });
}

// fault 85
BOOST_AUTO_TEST_CASE(a_link_that_stays_gone_ends_a_connection_that_has_something_to_send) {
    run_in(far_away(), []() -> task<> {
        echo_counts counts;
        auto at = co_await create_server(echoes(counts), service());
        for (const kind of : {kind::streaming, kind::buffered, kind::leasing}) {
            auto seen = make_recorder(of);
            auto made = co_await create_connection(factory_of(seen), service());
            co_await eventually([&] { return counts.made == counts.lost + 1; });
            simulation::current().cut("10.0.0.1", "10.0.0.2");
            made.transport->write("is anybody there");
            co_await sleep(16min);  // TCP gives up after 924 s
            BOOST_TEST(seen->losses == 1);
            BOOST_CHECK(seen->why == std::errc::timed_out);
            simulation::current().mend("10.0.0.1", "10.0.0.2");
            at.abort_clients();
            co_await eventually([&] { return counts.made == counts.lost; });
        }
        co_await shut(at);
    });
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
