// The throttled transport: how fast it is in each direction, how smooth, and that it keeps the
// contract.
#include <ouro/proto/throttled_transport.hpp>

#include <ouro/proto/memory_pipe.hpp>
#include <ouro/runtime/timeout.hpp>

#include "conforming.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

testing::transport_maker throttled_pairs(throttle_options how) {
    return [how](protocol_factory left, protocol_factory right) {
        return connect_wrapped(std::make_shared<throttled_transport>(loop::current(), how),
                               std::move(left), std::move(right));
    };
}

/// A throttled recorder, and a peer at the other end of a memory pipe.
struct slow_pair {
    std::shared_ptr<recorder> seen = make_recorder(kind::streaming);
    std::shared_ptr<recorder> far = make_recorder(kind::streaming);
    std::shared_ptr<throttled_transport> slow;
    std::shared_ptr<transport> peer;
};

task<slow_pair> connect_slow(throttle_options how) {
    slow_pair on;
    on.slow = std::make_shared<throttled_transport>(loop::current(), how);
    auto [one, other] = memory_pipe(loop::current());
    co_await create_connection([&] { return on.slow->wrap(on.seen->as_protocol()); }, one);
    auto made = co_await create_connection(factory_of(on.far), other);
    on.peer = made.transport;
    co_return on;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(throttled_transports)

OURO_ASYNC_TEST(throttled_transports_conform) {
    expect_conforming(co_await testing::check_stream_transport(
        throttled_pairs({.read_bytes_per_second = 300'000'000,
                         .write_bytes_per_second = 200'000'000,
                         .grain = 1ms})));
}

OURO_ASYNC_TEST(an_unlimited_throttle_conforms) {
    expect_conforming(co_await testing::check_stream_transport(throttled_pairs({})));
}

BOOST_AUTO_TEST_CASE(a_pace_lets_a_grain_pass_at_once_and_its_rate_in_the_long_run) {
    detail::pace pace(1000, 100ms);
    const clock::time_point start{1h};
    BOOST_TEST(pace.allowed(start) == 100U);
    pace.spend(start, 100);
    pace.spend(start, 100);  // a quiet time before the start is worth one grain
    BOOST_CHECK(pace.next() == start + 100ms);
    BOOST_TEST(pace.allowed(start) == 0U);
    BOOST_TEST(pace.allowed(start + 50ms) == 50U);
    BOOST_TEST(pace.allowed(start + 100ms) == 100U);
    // Steps that come late make up for it, by a grain at the most.
    pace.spend(start + 130ms, 100);
    BOOST_CHECK(pace.next() == start + 200ms);
    pace.spend(start + 10s, 100);
    BOOST_CHECK(pace.next() == start + 10s);
}

BOOST_AUTO_TEST_CASE(a_pace_slower_than_a_byte_in_a_grain_lets_single_bytes_pass) {
    detail::pace pace(2, 10ms);
    const clock::time_point start{1h};
    BOOST_TEST(pace.allowed(start) == 1U);
    pace.spend(start, 1);
    pace.spend(start, 1);
    BOOST_CHECK(pace.next() == start + 500ms);
    BOOST_TEST(pace.allowed(start + 499ms) == 0U);
    BOOST_TEST(pace.allowed(start + 500ms) == 1U);
}

BOOST_AUTO_TEST_CASE(a_pace_of_nothing_is_no_limit) {
    detail::pace pace(0, 10ms);
    const clock::time_point start{1h};
    pace.spend(start, 1'000'000'000);
    BOOST_TEST(pace.allowed(start) > 1'000'000'000U);
}

// What takes so long takes so long on every engine; how much longer depends on the machine.
OURO_ASYNC_TEST(writing_takes_the_time_its_bytes_are_worth) {
    auto on = co_await connect_slow({.write_bytes_per_second = 100'000, .grain = 5ms});
    const auto start = loop::current().time();
    const std::string sent = pattern(20'000);
    on.slow->write(sent);
    // A grain may go at once, and one more is made up for.
    BOOST_TEST(on.slow->get_write_buffer_size() >= sent.size() - 1000);
    co_await eventually([&] { return on.far->data.size() == sent.size(); });
    BOOST_TEST(on.far->data == sent);
    BOOST_CHECK(loop::current().time() - start >= 190ms);
    // It came in steps of at most two grains.
    BOOST_TEST(on.far->chunks.size() >= 20U);
    BOOST_TEST(*std::max_element(on.far->chunks.begin(), on.far->chunks.end()) <= 1000U);
    on.slow->close();
    co_await eventually([&] { return on.seen->lost() && on.far->lost(); });
}

OURO_ASYNC_TEST(reading_takes_the_time_its_bytes_are_worth) {
    auto on = co_await connect_slow({.read_bytes_per_second = 100'000, .grain = 5ms});
    const auto start = loop::current().time();
    const std::string sent = pattern(20'000);
    on.peer->write(sent);
    on.peer->write_eof();
    on.seen->stay_open_after_eof = true;
    co_await eventually([&] { return on.seen->eofs == 1; });
    BOOST_TEST(on.seen->data == sent);
    BOOST_CHECK(loop::current().time() - start >= 190ms);
    BOOST_TEST(on.seen->chunks.size() >= 20U);
    on.slow->write("the other direction is free");
    co_await eventually([&] { return on.far->data.size() == 27; });
    on.slow->close();
    co_await eventually([&] { return on.seen->lost() && on.far->lost(); });
}

OURO_ASYNC_TEST(the_peer_of_a_slow_reader_is_held_up) {
    auto on = co_await connect_slow({.read_bytes_per_second = 1000, .grain = 5ms});
    on.peer->write(pattern(1'000'000));
    co_await sleep(20ms);
    BOOST_TEST(on.far->pauses == 1);
    BOOST_TEST(on.peer->get_write_buffer_size() > 600'000U);
    on.slow->abort();
    co_await eventually([&] { return on.seen->lost() && on.far->lost(); });
}

OURO_ASYNC_TEST(an_idle_throttle_has_no_timer) {
    auto on = co_await connect_slow(
        {.read_bytes_per_second = 1000, .write_bytes_per_second = 1000, .grain = 10ms});
    const std::size_t before = loop::current().counters().timers;
    on.slow->write("short");
    on.peer->write("short");
    co_await eventually([&] { return on.seen->data == "short" && on.far->data == "short"; });
    BOOST_TEST(loop::current().counters().timers == before);
    on.slow->close();
    co_await eventually([&] { return on.seen->lost() && on.far->lost(); });
    BOOST_CHECK_THROW(throttled_transport(loop::current(), {.grain = 0ms}), std::system_error);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
