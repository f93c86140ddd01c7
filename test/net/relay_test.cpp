// Bytes from one socket to another.
#include <ouro/net/relay.hpp>

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>

#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/testing/injection.hpp>

#include "async_test.hpp"
#include "failing_call.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using shared_socket = std::shared_ptr<socket>;

/// A client, the two sockets of whoever stands in the middle, and a server.
struct chain {
    shared_socket client, one, other, server;
    std::shared_ptr<relay_report> moved = std::make_shared<relay_report>();
};

enum class kind { tcp, local };

task<std::pair<shared_socket, shared_socket>> connect_two(kind of) {
    auto pair = of == kind::tcp ? co_await tcp_pair() : co_await socket::pair(loop::current());
    co_return std::pair(std::make_shared<socket>(std::move(pair.first)),
                        std::make_shared<socket>(std::move(pair.second)));
}

task<chain> make_chain(kind of) {
    auto [client, one] = co_await connect_two(of);
    auto [other, server] = co_await connect_two(of);
    co_return chain{client, one, other, server};
}

task<relay_report> relay_on(chain on, relay_options how = {}) {
    how.progress = on.moved.get();
    co_return co_await relay(*on.one, *on.other, how);
}

task<> send_text(shared_socket to, std::string text) { co_await to->send_all(as_bytes(text)); }

task<> send_and_end(shared_socket to, std::string text) {
    co_await to->send_all(as_bytes(text));
    co_await to->shutdown_write();
}

task<std::string> read_to_end(shared_socket from) {
    std::string text;
    std::vector<std::byte> room(64 * 1024);
    while (const std::size_t got = co_await from->recv_into(room)) {
        text += as_text(bytes(room).first(got));
    }
    co_return text;
}

task<std::string> read_some(shared_socket from) {
    std::vector<std::byte> room(1000);
    const std::size_t got = co_await from->recv_into(room);
    co_return std::string(as_text(bytes(room).first(got)));
}

/// So that the peer meets a reset.
void reset(socket& which) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    BOOST_TEST(
        which.set_option(SOL_SOCKET, SO_LINGER, std::as_bytes(std::span(&at_once, 1))).has_value());
    which.close();
}

bool text_has(const error& why, std::string_view part) {
    return why.message().find(part) != std::string::npos;
}

/// That nothing is under way between them, and bytes go as ever.
task<> expect_usable(chain on) {
    BOOST_TEST(loop::current().counters().ops == 0U);
    co_await on.one->send_all(as_bytes("to the client"));
    BOOST_TEST(co_await read_some(on.client) == "to the client");
    co_await on.client->send_all(as_bytes("from the client"));
    BOOST_TEST(co_await read_some(on.one) == "from the client");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(relays)

OURO_ASYNC_TEST(bytes_go_both_ways_until_both_directions_have_ended) {
    for (const kind of : {kind::tcp, kind::local}) {
        for (const std::size_t size : {0U, 1U, 5000U, 1'500'000U}) {
            const auto on = co_await make_chain(of);
            auto relaying = spawn(relay_on(on));
            const std::string question = pattern(size), answer = pattern(size / 2, 77);
            auto asking = spawn(send_and_end(on.client, question));
            auto answering = spawn(send_and_end(on.server, answer));
            auto heard = spawn(read_to_end(on.server));
            BOOST_TEST((co_await read_to_end(on.client) == answer));
            BOOST_TEST((co_await heard == question));
            co_await asking;
            co_await answering;
            const relay_report report = co_await relaying;
            BOOST_TEST(report.there == question.size());
            BOOST_TEST(report.back == answer.size());
            BOOST_TEST(on.moved->there == question.size());
        }
    }
}

// faults 33, 34
OURO_ASYNC_TEST(the_end_of_one_direction_leaves_the_other_in_either_order) {
    for (const kind of : {kind::tcp, kind::local}) {
        for (const bool client_first : {true, false}) {
            const auto on = co_await make_chain(of);
            auto relaying = spawn(relay_on(on));
            const auto first = client_first ? on.client : on.server;
            const auto last = client_first ? on.server : on.client;
            co_await send_and_end(first, "all I have to say");
            BOOST_TEST(co_await read_to_end(last) == "all I have to say");
            co_await settle();
            BOOST_TEST(!relaying.done());
            co_await last->send_all(as_bytes("still here"));
            BOOST_TEST(co_await read_some(first) == "still here");
            co_await last->shutdown_write();
            BOOST_TEST(co_await read_some(first) == "");
            const relay_report report = co_await relaying;
            BOOST_TEST(report.there == (client_first ? 17U : 10U));
            BOOST_TEST(report.back == (client_first ? 10U : 17U));
        }
    }
}

OURO_ASYNC_TEST(what_was_read_ahead_goes_first) {
    const auto on = co_await make_chain(kind::tcp);
    co_await on.client->send_all(as_bytes("CONNECT\nand more"));
    const std::string head = co_await read_some(on.one);
    const std::string rest = head.substr(head.find('\n') + 1);
    co_await on.other->send_all(as_bytes(rest));
    auto relaying = spawn(relay_on(on));
    co_await send_and_end(on.client, ", and the end");
    BOOST_TEST(co_await read_to_end(on.server) == "and more, and the end");
    on.server->close();
    co_await relaying;
}

// faults 3, 37
OURO_ASYNC_TEST(a_slow_reader_stops_the_sender_and_gets_everything) {
    for (const kind of : {kind::tcp, kind::local}) {
        const auto on = co_await make_chain(of);
        for (const auto& each : {on.client, on.one, on.other, on.server}) {
            co_await each->set_option(SOL_SOCKET, SO_SNDBUF, 32 * 1024);
            co_await each->set_option(SOL_SOCKET, SO_RCVBUF, 32 * 1024);
        }
        constexpr std::size_t total = 4'000'000;
        auto relaying = spawn(relay_on(on, {.pipe_bytes = 64 * 1024}));
        auto sending = spawn(send_and_end(on.client, pattern(total)));
        for (std::uint64_t before = 1; before != on.moved->there; co_await sleep(20ms)) {
            before = on.moved->there;
        }
        BOOST_TEST(!sending.done());
        BOOST_TEST(on.moved->there < 1'000'000U);
        const auto turns = loop::current().statistics().turns;
        co_await sleep(20ms);
        BOOST_TEST(loop::current().statistics().turns - turns < 100U);
        BOOST_TEST((co_await read_to_end(on.server) == pattern(total)));
        co_await sending;
        on.server->close();
        BOOST_TEST((co_await relaying).there == total);
    }
}

// A poll for room is told of the half-close at once, again and again.
// fault 33
OURO_ASYNC_TEST(a_slow_reader_that_has_ended_its_own_direction_costs_nothing_while_it_waits) {
    for (const kind of : {kind::tcp, kind::local}) {
        const auto on = co_await make_chain(of);
        co_await on.server->shutdown_write();
        constexpr std::size_t total = 8'000'000;
        auto relaying = spawn(relay_on(on));
        auto sending = spawn(send_and_end(on.client, pattern(total)));
        for (std::uint64_t before = 1; before != on.moved->there; co_await sleep(20ms)) {
            before = on.moved->there;
        }
        const auto turns = loop::current().statistics().turns;
        co_await sleep(50ms);
        BOOST_TEST(loop::current().statistics().turns - turns < 200U);
        BOOST_TEST((co_await read_to_end(on.server) == pattern(total)));
        co_await sending;
        BOOST_TEST(co_await read_some(on.client) == "");
        BOOST_TEST((co_await relaying).there == total);
    }
}

// faults 22, 32
OURO_ASYNC_TEST(a_reset_of_either_side_ends_both_directions_and_is_named) {
    for (const bool of_client : {true, false}) {
        const auto on = co_await make_chain(kind::tcp);
        auto relaying = spawn(relay_on(on));
        co_await on.client->send_all(as_bytes("hello"));
        BOOST_TEST(co_await read_some(on.server) == "hello");
        reset(of_client ? *on.client : *on.server);
        const auto ended = co_await as_result(relaying.join());
        BOOST_REQUIRE(!ended);
        BOOST_CHECK(ended.error() == std::errc::connection_reset);
        BOOST_TEST(text_has(ended.error(), of_client ? "receive from the first socket"
                                                     : "receive from the second socket"));
        BOOST_TEST(on.moved->there == 5U);
        // Nobody was told of an end.
        const auto survivor = of_client ? on.other : on.one;
        co_await survivor->send_all(as_bytes("more"));
        BOOST_TEST(co_await read_some(of_client ? on.server : on.client) == "more");
    }
}

// fault 32
OURO_ASYNC_TEST(what_came_before_a_reset_is_handed_over_without_an_end) {
    const auto on = co_await make_chain(kind::tcp);
    co_await on.server->send_all(as_bytes("refused, because"));
    co_await on.client->send_all(as_bytes("a long question"));
    co_await sleep(10ms);  // both are there
    reset(*on.server);
    co_await sleep(10ms);
    const auto ended = co_await as_result(relay_on(on));
    BOOST_REQUIRE(!ended);
    BOOST_TEST(text_has(ended.error(), "the second socket"));
    BOOST_TEST(on.moved->back == 16U);
    BOOST_TEST(co_await read_some(on.client) == "refused, because");
    co_await on.one->send_all(as_bytes("more"));
    BOOST_TEST(co_await read_some(on.client) == "more");
}

// The error of a reset goes to whoever asks first, and who reads is told of an end.
// fault 32
OURO_ASYNC_TEST(a_reset_whose_error_is_gone_is_no_end) {
    const auto on = co_await make_chain(kind::tcp);
    reset(*on.server);
    co_await sleep(10ms);
    BOOST_TEST(co_await on.other->get_option(SOL_SOCKET, SO_ERROR) == ECONNRESET);
    const auto ended = co_await as_result(relay_on(on));
    BOOST_CHECK((!ended && ended.error() == std::errc::connection_reset));
    co_await expect_usable(on);
}

OURO_ASYNC_TEST(an_end_that_came_before_a_reset_is_passed_on) {
    const auto on = co_await make_chain(kind::tcp);
    co_await on.client->send_all(as_bytes("the last question"));
    on.client->close();
    co_await on.one->send_all(as_bytes("nobody is there to read this"));
    co_await eventually([one = on.one] { return !one->peer_address(); });  // the answer is a reset
    auto relaying = spawn(relay_on(on));
    BOOST_TEST(co_await read_to_end(on.server) == "the last question");
    BOOST_TEST(on.moved->there == 17U);
    on.server->close();
    (void)co_await as_result(relaying.join());
}

// faults 11, 58
OURO_ASYNC_TEST(a_cancelled_relay_leaves_the_sockets_as_they_are) {
    for (const bool is_full : {false, true}) {
        const auto on = co_await make_chain(kind::tcp);
        const auto before = loop::current().counters().descriptors;
        auto relaying = spawn(relay_on(on));
        auto sending = spawn(send_text(on.server, std::string(is_full ? 20'000'000 : 5, 'x')));
        co_await eventually([moved = on.moved] { return moved->back > 0; });
        if (is_full) co_await sleep(20ms);
        BOOST_TEST(loop::current().counters().descriptors == before + 4);
        relaying.cancel();
        const auto ended = co_await as_result(relaying.join());
        BOOST_CHECK((!ended && ended.error() == errc::cancelled));
        BOOST_TEST(loop::current().counters().descriptors == before);
        sending.cancel();
        (void)co_await as_result(sending.join());
        on.server->close();
        if (!is_full) {
            BOOST_TEST(co_await read_some(on.client) == "xxxxx");
            co_await expect_usable(on);
        }
    }
}

OURO_ASYNC_TEST(a_relay_that_has_not_begun_moves_nothing) {
    const auto on = co_await make_chain(kind::local);
    co_await on.client->send_all(as_bytes("kept"));
    auto relaying = spawn(relay_on(on));
    relaying.cancel();
    BOOST_TEST(!co_await as_result(relaying.join()));
    BOOST_TEST(co_await read_some(on.one) == "kept");
}

// rules 675, 742
// fault 14
OURO_ASYNC_TEST(closing_either_socket_ends_a_relay_whatever_it_waits_for) {
    for (const bool first : {true, false}) {
        for (const bool half_closed : {true, false}) {
            const auto on = co_await make_chain(kind::tcp);
            auto relaying = spawn(relay_on(on));
            if (half_closed) co_await send_and_end(on.client, "asked");
            if (half_closed) BOOST_TEST(co_await read_to_end(on.server) == "asked");
            co_await settle();
            (first ? on.one : on.other)->close();
            const auto ended = co_await as_result(relaying.join());
            BOOST_CHECK((!ended && ended.error() == errc::cancelled));
        }
    }
}

namespace {

task<> note_the_longest_turn(std::shared_ptr<clock::duration> longest) {
    const loop& home = loop::current();
    for (auto before = home.time();; before = home.time()) {
        co_await sleep(1ms);
        *longest = std::max(*longest, home.time() - before);
    }
}

}  // namespace

OURO_ASYNC_TEST(a_relay_in_which_nothing_moves_times_out_and_a_byte_puts_that_off) {
    const loop& home = loop::current();
    for (auto silence = 40ms;; silence *= 4) {
        const auto on = co_await make_chain(kind::tcp);
        const auto longest = std::make_shared<clock::duration>();
        auto watching = spawn(note_the_longest_turn(longest));
        auto relaying = spawn(relay_on(on, {.idle_timeout = silence}));
        co_await sleep(silence / 2);
        const auto sent = home.time();
        co_await on.server->send_all(as_bytes("x"));
        const auto ended = co_await as_result(relaying.join());
        BOOST_REQUIRE(!ended);
        BOOST_CHECK(ended.error() == std::errc::timed_out);
        watching.cancel();
        (void)co_await as_result(watching.join());
        // While the machine stands still, a byte does not move though it was sent.
        if (*longest > silence / 4 && silence < 1min) continue;
        BOOST_TEST(text_has(ended.error(), "nothing moved for "));
        if (silence == 40ms) BOOST_TEST(text_has(ended.error(), "nothing moved for 40 ms"));
        BOOST_CHECK(home.time() >= sent + silence);
        BOOST_TEST(on.moved->back == 1U);
        BOOST_TEST(co_await read_some(on.client) == "x");
        co_await expect_usable(on);
        break;
    }
}

OURO_ASYNC_TEST(a_relay_that_is_not_silent_ends_as_ever) {
    const auto on = co_await make_chain(kind::tcp);
    auto relaying = spawn(relay_on(on, {.idle_timeout = 1h}));
    co_await send_and_end(on.client, "short");
    co_await on.server->shutdown_write();
    BOOST_TEST((co_await relaying).there == 5U);
}

// rules 160, 182
OURO_ASYNC_TEST(a_deadline_ends_a_relay) {
    const auto on = co_await make_chain(kind::tcp);
    const auto ended = co_await as_result(wait_for(relay_on(on), 5ms));
    BOOST_CHECK((!ended && ended.error() == std::errc::timed_out));
    co_await expect_usable(on);
}

namespace {

task<std::uint64_t> one_way(chain on) {
    co_return co_await relay_one_way(*on.one, *on.other, {.progress = on.moved.get()});
}
/// Answers each message it receives from the server, on its own.
task<> answer_in_capitals(chain on) {
    for (;;) {
        std::string text = co_await read_some(on.other);
        if (text.empty()) break;
        std::transform(text.begin(), text.end(), text.begin(),
                       [](char c) { return c - 'a' + 'A'; });
        co_await on.one->send_all(as_bytes(text));
    }
    co_await on.one->shutdown_write();
}

}  // namespace

OURO_ASYNC_TEST(one_direction_leaves_the_other_to_whoever_wants_it) {
    const auto on = co_await make_chain(kind::tcp);
    auto relaying = spawn(one_way(on));
    auto answering = spawn(answer_in_capitals(on));
    for (int i = 0; i < 10; ++i) {
        co_await on.client->send_all(as_bytes("question"));
        BOOST_TEST(co_await read_some(on.server) == "question");
        co_await on.server->send_all(as_bytes("answer"));
        BOOST_TEST(co_await read_some(on.client) == "ANSWER");
    }
    co_await on.client->shutdown_write();
    BOOST_TEST(co_await relaying == 80U);
    BOOST_TEST(co_await read_some(on.server) == "");
    co_await on.server->shutdown_write();
    co_await answering;
}

OURO_ASYNC_TEST(what_makes_no_sense_is_refused) {
    const auto on = co_await make_chain(kind::tcp);
    auto& home = loop::current();
    const auto datagrams =
        std::make_shared<socket>(co_await socket::open(home, AF_INET, SOCK_DGRAM));
    for (auto& [one, other] :
         {std::pair(on.one, on.one), std::pair(on.one, datagrams), std::pair(datagrams, on.one)}) {
        const auto refused = co_await as_result(relay(*one, *other));
        BOOST_CHECK((!refused && refused.error() == errc::value_error));
    }
    const auto unconnected = std::make_shared<socket>(co_await socket::open(home, AF_INET));
    const auto ended = co_await as_result(relay(*on.one, *unconnected));
    BOOST_CHECK((!ended && ended.error() == std::errc::not_connected));
    co_await expect_usable(on);
}

// fault 64
BOOST_AUTO_TEST_CASE(a_loop_that_closes_ends_relays) {
    loop home(options_for(engine::uring));
    const auto start = []() -> task<> {
        const auto on = co_await make_chain(kind::tcp);
        auto relaying = spawn(relay_on(on));
        co_await on.client->send_all(as_bytes("on the way"));
        co_await settle();
        BOOST_TEST(!relaying.done());
    };
    BOOST_TEST(home.run_until_complete(start()).has_value());
    BOOST_TEST(home.counters().ops >= 2U);
    home.close();
    BOOST_TEST(home.counters().ops == 0U);
    BOOST_TEST(home.counters().descriptors == 0U);
}

// ---- what the kernel refuses

namespace {

constexpr std::size_t asked_bytes = 300'000, answered_bytes = 200'000;

task<> expect_all_to_arrive() {
    const auto on = co_await make_chain(kind::tcp);
    auto relaying = spawn(relay_on(on));
    auto asking = spawn(send_and_end(on.client, pattern(asked_bytes)));
    auto answering = spawn(send_and_end(on.server, pattern(answered_bytes, 5)));
    auto heard = spawn(read_to_end(on.server));
    BOOST_TEST((co_await read_to_end(on.client) == pattern(answered_bytes, 5)));
    BOOST_TEST((co_await heard == pattern(asked_bytes)));
    co_await asking;
    co_await answering;
    const relay_report report = co_await relaying;
    BOOST_TEST(report.there == asked_bytes);
    BOOST_TEST(report.back == answered_bytes);
}

std::size_t calls_of(const testing::injection& behind, testing::door_call call) {
    const auto& seen = behind.seen();
    return static_cast<std::size_t>(std::count(seen.begin(), seen.end(), call));
}
void run_behind(testing::injection& faults) {
    run_with(faults.options(options_for(engine::uring)), &expect_all_to_arrive);
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_can_be_carried_is_not_copied) {
    testing::injection none;
    run_behind(none);
    using testing::door_call;
    BOOST_TEST(calls_of(none, door_call::try_fetch) > 1U);
    BOOST_TEST(calls_of(none, door_call::send) == 2U);  // the client's and the server's
}

// faults 2, 72, 74
BOOST_AUTO_TEST_CASE(where_the_kernel_cannot_carry_bytes_are_copied) {
    using testing::door_call;
    testing::injection none;
    run_behind(none);
    for (const auto [call, failure] :
         {std::pair(door_call::try_fetch, EINVAL), std::pair(door_call::try_fetch, EAGAIN),
          std::pair(door_call::try_forward, EINVAL), std::pair(door_call::try_forward, EAGAIN),
          std::pair(door_call::open_carrier, EMFILE)}) {
        testing::injection faults(failing_call(none, call, failure, failing::from_then_on));
        run_behind(faults);
        BOOST_TEST(faults.struck() >= 1U);
        BOOST_TEST(calls_of(faults, door_call::send) > 4U);
    }
}

// fault 74
BOOST_AUTO_TEST_CASE(without_descriptors_bytes_are_copied_in_a_simulation) {
    for (const std::size_t most : {5U, 6U, 8U}) {
        auto settings = loopback(1);
        settings.descriptor_limit = most;
        testing::simulation world(settings);
        testing::injection counting;
        run_with(counting.options(world.options(options_for(engine::sim))), &expect_all_to_arrive);
        const bool has_one = calls_of(counting, testing::door_call::try_fetch) > 0;
        BOOST_TEST(has_one == (most >= 6));
    }
}

// faults 1, 2
BOOST_AUTO_TEST_CASE(pieces_of_any_size_lose_nothing) {
    testing::injection few(
        {.plan = {
             {.kind = testing::fault_kind::op_short, .at = 1, .value = 1000, .sticky = true}}});
    run_behind(few);
    BOOST_TEST(calls_of(few, testing::door_call::try_fetch) > 500U);
}

// fault 23
OURO_KERNEL_TEST(writing_to_who_is_gone_raises_no_signal, "it is about a signal") {
    struct sigaction before{};
    struct sigaction kills{};
    kills.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &kills, &before);
    for (const kind of : {kind::tcp, kind::local}) {
        const auto on = co_await make_chain(of);
        on.server->close();
        for (const char* text : {"one", "two", "three"}) {
            co_await on.client->send_all(as_bytes(text));
        }
        co_await on.other->shutdown_write();
        const auto ended = co_await as_result(one_way(on));
        BOOST_REQUIRE(!ended);
        BOOST_CHECK((ended.error() == std::errc::broken_pipe ||
                     ended.error() == std::errc::connection_reset));
        BOOST_TEST(text_has(ended.error(), "send to the second socket"));
    }
    ::sigaction(SIGPIPE, &before, nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
