// Injection beneath real transports: an echo session in which each call of the door fails in turn,
// and one that gets through although every byte goes alone.
#include <ouro/testing/injection.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include <ouro/proto/server.hpp>
#include <ouro/testing/simulation.hpp>

#include "injected.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

using testing::door_call;
using testing::fault_kind;
using testing::injection;

/// What became of one echo session.
struct outcome {
    std::vector<std::shared_ptr<recorder>> served;
    std::shared_ptr<recorder> client;
    error refused;  // why there was no server or no connection
    bool complete = false;

    std::size_t losses_with_error() const {
        std::size_t count = client && client->why ? 1 : 0;
        for (const auto& each : served) count += each->why ? 1 : 0;
        return count;
    }
};

std::shared_ptr<recorder> echoing(kind of) {
    auto made = make_recorder(of);
    made->on_data = [self = std::weak_ptr(made)] {
        const auto here = self.lock();
        const auto fresh =
            std::string_view(here->data).substr(here->data.size() - here->chunks.back());
        (void)here->link->write(std::as_bytes(std::span(fresh)));
    };
    return made;
}

/// A client sends `text`, the server sends it back, both end.
task<> echo_session(outcome& seen, kind of, std::string text) {
    auto serving = co_await as_result(create_server(
        [&seen, of] { return seen.served.emplace_back(echoing(of))->as_protocol(); },
        co_await address::parse("127.0.0.1:0"), {.accept_retry = std::chrono::milliseconds(1)}));
    if (!serving) {
        seen.refused = serving.error();
        co_return;
    }
    seen.client = make_recorder(of);
    const auto where = serving->addresses();
    if (!where.empty()) {
        auto linked = co_await as_result(create_connection(factory_of(seen.client), where.front()));
        if (linked) {
            (void)linked->transport->write(std::as_bytes(std::span(text)));
            (void)linked->transport->write_eof();
            co_await eventually(
                [&] { return seen.client->lost() || seen.client->data.size() == text.size(); });
            seen.complete = seen.client->data == text;
            linked->transport->close();
        } else {
            seen.refused = linked.error();
        }
    }
    serving->close();
    serving->abort_clients();
    co_await serving->wait_closed();
    co_await eventually([&] {
        return seen.client->made == seen.client->losses &&
               std::ranges::all_of(seen.served, [](const auto& each) { return each->lost(); });
    });
}

/// The calls of a session in which nothing fails.
std::vector<door_call> calls_of_a_session(kind of) {
    static kind receiver;
    static std::vector<door_call> calls;
    receiver = of;
    run_injected({}, [](injection& faults) -> task<> {
        outcome seen;
        co_await echo_session(seen, receiver, "hello");
        BOOST_REQUIRE(seen.complete);
        calls = faults.seen();
    });
    return calls;
}

/// Things any failure may do, and none may undo.
void check_session(const outcome& seen, const injection& faults) {
    BOOST_TEST(faults.struck() >= 1U);
    // The recorders refuse a second connection_lost, or any call after it.
    for (const auto& each : seen.served) BOOST_TEST(each->losses == each->made);
    if (seen.client) BOOST_TEST(seen.client->losses == seen.client->made);
    for (const failure_report& report : take_reports()) {
        BOOST_TEST(report.message.starts_with("accepting pauses"), report.message);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(injected_sessions)

// rule 267
// faults 18, 22
BOOST_AUTO_TEST_CASE(whichever_call_fails_everything_ends_once_and_nothing_is_left) {
    static kind receiver;
    for (const kind of : {kind::streaming, kind::buffered, kind::leasing}) {
        receiver = of;
        const auto calls = calls_of_a_session(of);
        BOOST_REQUIRE_GT(calls.size(), 10U);
        std::size_t unharmed = 0;
        static std::size_t complete;
        complete = 0;
        for (std::size_t number = 1; number <= calls.size(); ++number) {
            for (const int failure : testing::legal_errors(calls[number - 1])) {
                ++unharmed;
                run_injected({.plan = {{fault_kind::op_fails, number, failure}}},
                             [](injection& faults) -> task<> {
                                 outcome seen;
                                 co_await echo_session(seen, receiver, "hello");
                                 check_session(seen, faults);
                                 complete += seen.complete;
                             });
            }
        }
        // Some failures are got over (accepting again, options that are not vital), others not.
        BOOST_TEST(complete > 0U);
        BOOST_TEST(complete < 2 * unharmed);
    }
}

// faults 22, 86
BOOST_AUTO_TEST_CASE(a_receive_that_fails_is_told_once_with_its_error) {
    static std::size_t nth;
    static kind receiver;
    static std::errc failure;
    for (const kind of : {kind::streaming, kind::buffered, kind::leasing}) {
        receiver = of;
        const auto calls = calls_of_a_session(of);
        const auto wanted = of == kind::buffered ? door_call::recv : door_call::recv_ring;
        nth = static_cast<std::size_t>(std::ranges::find(calls, wanted) - calls.begin()) + 1;
        for (const auto with : {std::errc::timed_out, std::errc::connection_aborted}) {
            failure = with;
            run_injected(
                {.plan = {{fault_kind::op_fails, nth, static_cast<int>(with)}}},
                [](injection& faults) -> task<> {
                    outcome seen;
                    co_await echo_session(seen, receiver, "hello");
                    check_session(seen, faults);
                    BOOST_TEST(seen.losses_with_error() >= 1U);
                    const auto is_it = [](const auto& each) { return each->why == failure; };
                    BOOST_TEST((is_it(seen.client) || std::ranges::any_of(seen.served, is_it)));
                    BOOST_TEST(!seen.complete);
                });
        }
    }
}

// faults 17, 18
BOOST_AUTO_TEST_CASE(an_accept_that_fails_is_tried_again) {
    static std::size_t nth;
    const auto calls = calls_of_a_session(kind::streaming);
    nth =
        static_cast<std::size_t>(std::ranges::find(calls, door_call::accept_many) - calls.begin()) +
        1;
    static int failure;
    for (const int each : testing::legal_errors(door_call::accept_many)) {
        failure = each;
        run_injected({.plan = {{fault_kind::op_fails, nth, each}}}, [](injection&) -> task<> {
            outcome seen;
            co_await echo_session(seen, kind::streaming, "hello");
            BOOST_TEST(seen.complete);
            const bool shortage =
                failure == EMFILE || failure == ENFILE || failure == ENOBUFS || failure == ENOMEM;
            BOOST_TEST(take_reports().size() == (shortage ? 1U : 0U));
        });
    }
}

// faults 1, 2
BOOST_AUTO_TEST_CASE(an_echo_gets_through_although_every_byte_goes_alone) {
    for (const kind of : {kind::streaming, kind::buffered}) {
        static kind receiver;
        receiver = of;
        run_injected({.hostile_io = true}, [](injection& faults) -> task<> {
            outcome seen;
            co_await echo_session(seen, receiver, pattern(40'000));
            BOOST_TEST(seen.complete);
            BOOST_TEST(seen.losses_with_error() == 0U);
            for (const auto& each : {seen.client, seen.served.at(0)}) {
                BOOST_TEST(*std::ranges::max_element(each->chunks) == 1U);
            }
            const auto sends = std::ranges::count_if(faults.seen(), [](door_call call) {
                return call == door_call::send || call == door_call::send_pieces ||
                       call == door_call::try_send;
            });
            BOOST_TEST(sends >= 2 * 40'000 / 3);
        });
    }
}

// faults 1, 2
BOOST_AUTO_TEST_CASE(an_injection_goes_around_a_simulation_as_well) {
    static injection* running;
    injection faults(
        {.plan = testing::parse_fault_plan("op_waits@9+").value(), .hostile_io = true});
    running = &faults;
    testing::simulation world(testing::simulation_options::calm(1));
    run_with(faults.options(world.options(options_for(engine::sim))), []() -> task<> {
        BOOST_TEST(loop::current().engine_report().starts_with("inject + sim"));
        outcome seen;
        co_await echo_session(seen, kind::streaming, pattern(2000));
        BOOST_TEST(seen.complete);
        BOOST_TEST(*std::ranges::max_element(seen.client->chunks) == 1U);
        BOOST_TEST(running->struck() > 1000U);
    });
}

BOOST_AUTO_TEST_CASE(an_echo_gets_through_although_every_operation_waits) {
    for (const kind of : {kind::streaming, kind::buffered}) {
        static kind receiver;
        receiver = of;
        run_with_plan("op_waits@1+=2,op_short@5+=100", [](injection& faults) -> task<> {
            outcome seen;
            co_await echo_session(seen, receiver, pattern(40'000));
            BOOST_TEST(seen.complete);
            BOOST_TEST(faults.struck() > 800U);
        });
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
