// Cancellation at every suspension point and in every race: each operation ends once and no byte is
// lost.
#include <ouro/runtime/spawn.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// Goes through every kind of await there is. `reached` counts those it passed.
task<int> through_everything(int& reached) {
    auto step = [&reached] { ++reached; };
    loop& home = loop::current();
    co_await yield();
    step();
    co_await sleep(1us);
    step();
    auto [one, other] = co_await socket::pair(home);
    co_await one.send(as_bytes("hello"));
    step();
    std::array<std::byte, 16> room;
    const std::size_t count = co_await other.recv_into(room);
    step();
    auto listener = co_await socket::open(home, AF_INET);
    co_await listener.bind(co_await address::parse("127.0.0.1:0"));
    co_await listener.listen();
    auto client = co_await socket::open(home, AF_INET);
    co_await client.connect(co_await listener.local_address());
    step();
    auto server = co_await listener.accept();
    step();
    auto inner = spawn([]() -> task<int> {
        co_await yield();
        co_await sleep(1us);
        co_return 1;
    });
    const int joined = co_await inner;
    step();
    const auto caught = co_await as_result(sleep(1us));
    step();
    co_await result<>(caught ? result<>() : result<>(caught.error()));
    co_return static_cast<int>(count) + joined;
}

struct outcome_of_cancel {
    bool was_running = false;
    bool cancelled = false;
    int reached = 0;
};

/// Cancels after `turns` turns, `times` times.
task<outcome_of_cancel> cancel_after(int turns, int times) {
    outcome_of_cancel seen;
    auto running = spawn(through_everything(seen.reached));
    co_await settle(turns);
    for (int i = 0; i < times; ++i) seen.was_running = running.cancel() || seen.was_running;
    const auto ended = co_await as_result(running.join());
    seen.cancelled = running.cancelled();
    // A cancellation that comes after the last result leaves the result.
    BOOST_TEST((seen.cancelled || ended.value() == 6));
    if (!seen.was_running) BOOST_TEST(!seen.cancelled);
    co_return seen;
}

/// Receives `sent` at `from` with shared-ring receives that are cancelled all the time.
task<> receive_between_cancels(int from, const std::string& sent) {
    loop& home = loop::current();
    std::string got;
    int rounds = 0;
    for (; got.size() < sent.size(); ++rounds) {
        noted_op receive;
        io::recv_ring(home, receive, from);
        co_await settle(rounds % 4);
        io::cancel(home, receive);
        (void)co_await receive.end();
        BOOST_TEST_REQUIRE(receive.terminals == 1);
        got += receive.received;
    }
    BOOST_TEST((got == sent));
    BOOST_TEST(rounds > 1);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cancel_races)

// fault 58
OURO_ASYNC_TEST(a_task_can_be_cancelled_at_every_suspension_point) {
    for (const int times : {1, 2}) {
        std::vector<bool> met(9, false);
        bool finished = false;
        for (int turns = 0; !finished && turns < 2000; ++turns) {
            const auto seen = co_await cancel_after(turns, times);
            met[static_cast<std::size_t>(seen.reached)] = true;
            finished = !seen.was_running;
            while (loop::current().counters().ops + loop::current().counters().descriptors > 0) {
                co_await yield();
            }
        }
        BOOST_TEST(finished);
        BOOST_TEST(met[0]);
        BOOST_TEST(met[8]);
    }
}

// faults 10, 11, 58
OURO_ASYNC_TEST(whoever_wins_the_race_of_cancel_and_data_no_byte_is_lost_or_doubled) {
    loop& home = loop::current();
    descriptors fds(home);
    std::mt19937 random(7);
    int won = 0, lost = 0;
    std::string sent, got;
    for (int round = 0; round < 2000; ++round) {
        noted_op receive;
        const auto room = receive.room(64);
        const auto dice = random() % 6;
        const std::string text = pattern(1 + random() % 32, sent.size());
        if (dice == 0) fds.peer_sends(text);
        io::recv(home, receive, fds.ours, room);
        if (dice >= 2) co_await settle(static_cast<int>(random() % 3));
        if (dice == 2 || dice == 4) fds.peer_sends(text);
        if (dice == 4) co_await settle(1);
        io::cancel(home, receive);
        if (dice == 5) co_await settle(2);
        if (dice == 1 || dice == 3 || dice == 5) fds.peer_sends(text);
        const auto count = co_await receive.end();
        BOOST_TEST_REQUIRE(receive.terminals == 1);
        sent += text;
        if (count >= 0) {
            ++lost;
            got += as_text(bytes(room).first(static_cast<std::size_t>(count)));
        } else {
            BOOST_TEST_REQUIRE(count == -ECANCELED);
            ++won;
        }
        got += co_await drained(fds.ours);
        BOOST_TEST_REQUIRE(got.size() == sent.size());
    }
    BOOST_TEST((got == sent));
    BOOST_TEST(won > 0);
    BOOST_TEST(lost > 0);
}

// faults 10, 11, 58
OURO_ASYNC_TEST(shared_ring_receives_that_are_cancelled_in_mid_stream_lose_no_byte) {
    loop& home = loop::current();
    const auto fds = std::make_shared<descriptors>(home);
    static const std::string sent = pattern(2'000'000);  // the kernel's, if the test ends early
    const auto write = [](std::shared_ptr<descriptors> to) -> task<> {
        for (std::string_view text = sent; !text.empty();
             text.remove_prefix(std::min<std::size_t>(7001, text.size()))) {
            noted_op send;
            io::send(to->home, send, to->theirs, as_bytes(text.substr(0, 7001)),
                     io::send_mode::all);
            if (co_await send.end() < 0) co_return;
        }
    };
    auto writing = spawn(write(fds));
    co_await receive_between_cancels(fds->ours, sent);
    co_await writing;
}

// faults 10, 11, 58
OURO_KERNEL_TEST(shared_ring_receives_that_are_cancelled_while_a_thread_sends_lose_no_byte,
                 "another thread sends in the middle of the loop's turns") {
    loopless_descriptors fds;
    const std::string sent = pattern(2'000'000);
    std::thread writer([&] {
        for (std::size_t at = 0; at < sent.size();) {
            const ssize_t count =
                ::send(fds.theirs, sent.data() + at, std::min<std::size_t>(7001, sent.size() - at),
                       MSG_NOSIGNAL);
            if (count <= 0) return;
            at += static_cast<std::size_t>(count);
        }
    });
    co_await receive_between_cancels(fds.ours, sent);
    writer.join();
}

// fault 14
OURO_ASYNC_TEST(closing_a_socket_under_a_receive_ends_it_and_lets_the_peer_see_the_end) {
    auto [one, other] = co_await socket::pair(loop::current());
    auto receiving = spawn(
        [](class socket from) -> task<> {
            std::array<std::byte, 8> room;
            auto held = spawn(
                [](class socket* of) -> task<> {
                    co_await settle(3);
                    of->close();
                },
                &from);
            const auto ended = co_await as_result(from.recv_into(room));
            BOOST_TEST((ended.error() == errc::cancelled));
            co_await held;
        },
        std::move(one));
    std::array<std::byte, 8> room;
    BOOST_TEST(co_await other.recv_into(room) == 0U);
    co_await receiving;
}

// fault 15
OURO_ASYNC_TEST(a_descriptor_number_that_is_used_again_does_not_mix_up_completions) {
    loop& home = loop::current();
    for (int round = 0; round < 50; ++round) {
        auto [old_one, old_other] = co_await socket::pair(home);
        const auto old_room = std::make_shared<std::array<std::byte, 8>>();
        auto old_receive =
            spawn([](class socket& from, std::shared_ptr<std::array<std::byte, 8>> into)
                      -> task<std::size_t> { co_return co_await from.recv_into(*into); },
                  std::ref(old_one), old_room);
        co_await settle(round % 3 + 1);
        old_one.close();
        old_other.close();
        co_await settle(round % 4);
        auto [one, other] = co_await socket::pair(home);  // likely the same numbers
        std::array<std::byte, 8> room{};
        co_await other.send(as_bytes("new"));
        BOOST_TEST_REQUIRE(co_await one.recv_into(room) == 3U);
        const auto old_end = co_await as_result(old_receive.join());
        BOOST_TEST_REQUIRE((!old_end || *old_end == 0U));
        BOOST_TEST(((*old_room)[0] == std::byte{}));
    }
}

// faults 29, 30
OURO_ASYNC_TEST(a_deadline_and_a_completion_at_the_same_moment_give_exactly_one_outcome) {
    loop& home = loop::current();
    int data = 0, deadline = 0;
    for (int round = 0; round < 300; ++round) {
        descriptors fds(home);
        const auto kept = std::make_shared<noted_op>();
        noted_op& receive = *kept;
        io::recv(home, receive, fds.ours, receive.room(8));
        auto timer = home.call_later(std::chrono::microseconds(round % 5 * 10),
                                     [&home, kept] { io::cancel(home, *kept); });
        co_await settle(round % 3);
        if (round % 2) fds.peer_sends("x");
        co_await settle(round % 2 ? 0 : 1);
        const auto count = co_await receive.end();
        timer.cancel();
        BOOST_TEST_REQUIRE(receive.terminals == 1);
        ++(count == 1 ? data : deadline);
        BOOST_TEST_REQUIRE((count == 1 || count == -ECANCELED));
    }
    BOOST_TEST(data > 0);
    BOOST_TEST(deadline > 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
