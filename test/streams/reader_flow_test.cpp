// What a reader does to its transport: pausing a fast peer, and never waiting for what it has
// paused itself.
#include <ouro/streams/reader.hpp>

#include "async_test.hpp"

#include <memory>
#include <optional>

#include <ouro/streams/open_connection.hpp>

#include "fake_transport.hpp"
#include "reads.hpp"

namespace ouro::test {
namespace {

/// A stream on one end of a pair of connected sockets; the other end is raw.
struct stream_and_peer {
    ouro::stream stream;
    std::shared_ptr<socket> peer;  // what sends shares it
};

task<stream_and_peer> stream_pair(std::size_t limit_bytes = default_stream_limit_bytes) {
    // Not TCP, whose timers would pace a peer that is held back.
    auto [near, far] = co_await socket::pair(loop::current());
    auto opened =
        co_await open_connection(std::move(near), {.connect = {}, .limit_bytes = limit_bytes});
    co_return stream_and_peer{std::move(opened), std::make_shared<socket>(std::move(far))};
}

task<> send_and_finish(std::shared_ptr<socket> peer, std::string text) {
    co_await peer->send_all(as_bytes(text));
    co_await peer->shutdown_write();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reader_flow)

// rule 621
OURO_ASYNC_TEST(twice_the_limit_does_not_pause_the_transport_and_one_byte_more_does) {
    fake_stream fake(8);
    fake.arrive(pattern(16));
    BOOST_TEST(fake.link->pauses == 0);
    fake.arrive("x");
    BOOST_TEST(fake.link->pauses == 1);
    fake.arrive("more that was under way");
    BOOST_TEST(fake.link->pauses == 1);
    co_return;
}

// rule 622
OURO_ASYNC_TEST(a_read_that_leaves_at_most_the_limit_resumes_the_transport) {
    fake_stream fake(8);
    fake.arrive(pattern(20));
    BOOST_TEST(fake.link->paused);
    (void)co_await fake.reader.readexactly(11);
    BOOST_TEST(fake.link->paused);
    (void)co_await fake.reader.read(1);
    BOOST_TEST(!fake.link->paused);
    BOOST_TEST(fake.link->resumes == 1);
    BOOST_TEST(co_await read_text(fake.reader, 50) == pattern(8, 12));
    BOOST_TEST(fake.link->resumes == 1);
}

// rule 622
OURO_ASYNC_TEST(skipping_a_line_over_the_limit_resumes_the_transport) {
    fake_stream fake(4);
    fake.arrive("a long line, much longer\nab\n");
    BOOST_TEST(fake.link->paused);
    BOOST_TEST(failed_with(co_await as_result(fake.reader.readline()), errc::value_error));
    BOOST_TEST(!fake.link->paused);
    BOOST_TEST(co_await read_line(fake.reader) == "ab\n");
}

// rule 623
OURO_ASYNC_TEST(a_read_that_must_wait_resumes_a_paused_transport) {
    fake_stream fake(4);
    fake.arrive(pattern(9));
    BOOST_TEST(fake.link->paused);
    auto reading = spawn(read_exactly(fake.reader, 20));
    co_await settle();
    BOOST_TEST(!fake.link->paused);
    fake.arrive(pattern(11, 9));
    BOOST_CHECK(co_await reading == pattern(20));
}

// rules 598, 600, 623
OURO_ASYNC_TEST(a_read_beyond_the_limit_is_never_left_waiting_on_a_paused_transport) {
    fake_stream fake(4);
    auto reading = spawn(read_exactly(fake.reader, 100));
    co_await settle();
    bool ever_left_paused = false;
    for (std::size_t at = 0; at < 100; at += 5) {
        ever_left_paused |= fake.link->paused;
        fake.arrive(pattern(5, at));
        co_await settle(1);
    }
    BOOST_CHECK(co_await reading == pattern(100));
    auto rest = spawn(read_text(fake.reader));
    co_await settle();
    for (std::size_t at = 0; at < 100; at += 7) {
        ever_left_paused |= fake.link->paused;
        fake.arrive(pattern(7, at));
        co_await settle(1);
    }
    fake.core->eof_received();
    BOOST_CHECK(co_await rest == pattern(105));
    BOOST_TEST(!ever_left_paused);
}

// rules 598, 623
OURO_ASYNC_TEST(reading_to_the_end_of_a_real_connection_is_not_bounded_by_the_limit) {
    auto [stream, peer] = co_await stream_pair(1000);
    const std::string sent = pattern(1'000'000);
    auto sending = spawn(send_and_finish(peer, sent));
    BOOST_CHECK(co_await read_text(stream.reader) == sent);
    co_await sending;
}

// rules 600, 623
OURO_ASYNC_TEST(readexactly_far_beyond_the_limit_of_a_real_connection_ends) {
    auto [stream, peer] = co_await stream_pair(1000);
    const std::string sent = pattern(500'000);
    auto sending = spawn(send_and_finish(peer, sent));
    BOOST_CHECK(co_await read_exactly(stream.reader, 400'000) == sent.substr(0, 400'000));
    BOOST_CHECK(co_await read_exactly(stream.reader, 100'000) == sent.substr(400'000));
    BOOST_TEST(co_await read_text(stream.reader) == "");
    co_await sending;
}

// rules 621, 622
// fault 37
OURO_ASYNC_TEST(a_peer_that_is_not_read_from_is_held_back_and_nothing_is_lost) {
    auto [stream, peer] = co_await stream_pair(1000);
    const std::string sent = pattern(3'000'000);
    auto sending = spawn(send_and_finish(peer, sent));
    while (stream.writer.transport().is_reading()) co_await sleep(std::chrono::microseconds(100));
    co_await settle(50);
    BOOST_TEST(!stream.writer.transport().is_reading());
    BOOST_TEST(!sending.done());
    std::string got;
    for (;;) {
        const bytes some = co_await stream.reader.read(700);
        if (some.empty()) break;
        got += as_text(some);
    }
    BOOST_CHECK(got == sent);
    co_await sending;
}

OURO_ASYNC_TEST(a_view_stays_while_the_kernel_writes_behind_it) {
    auto [stream, peer] = co_await stream_pair();
    const std::string sent = pattern(200'000);
    auto sending = spawn(send_and_finish(peer, sent));
    std::string got;
    for (std::size_t size = 1;; size = size * 7 % 3001 + 1) {
        const bytes view = co_await stream.reader.read(static_cast<std::ptrdiff_t>(size));
        if (view.empty()) break;
        const std::string before(as_text(view));
        co_await settle(3);  // more arrives; the buffer grows and moves
        BOOST_REQUIRE(before == as_text(view));
        got += before;
    }
    BOOST_CHECK(got == sent);
    co_await sending;
}

// rule 620
// fault 10
OURO_ASYNC_TEST(reads_cancelled_at_every_moment_of_a_transfer_lose_nothing) {
    auto [stream, peer] = co_await stream_pair(2000);
    const std::string sent = pattern(150'000);
    auto sending = spawn(send_and_finish(peer, sent));
    std::string got;
    for (int round = 0; got.size() < sent.size(); ++round) {
        auto reading = spawn(
            read_exactly(stream.reader, std::min<std::size_t>(997, sent.size() - got.size())));
        co_await settle(round % 4);
        reading.cancel();
        const auto read = co_await as_result(std::move(reading).join());
        if (read) {
            got += *read;
        } else {
            BOOST_REQUIRE(failed_with(read, errc::cancelled));
            const bytes some = co_await stream.reader.read(311);  // progress, whatever the races do
            got += as_text(some);
        }
    }
    BOOST_CHECK(got == sent);
    co_await sending;
}

// rule 626
OURO_ASYNC_TEST(a_connection_lost_without_error_ends_the_stream_and_keeps_what_came) {
    fake_stream fake;
    fake.arrive("data");
    fake.core->connection_lost({});
    BOOST_TEST(!fake.reader.at_eof());
    BOOST_TEST(co_await read_text(fake.reader) == "data");
    BOOST_TEST(fake.reader.at_eof());
}

// rule 626
OURO_ASYNC_TEST(a_connection_lost_with_an_error_gives_it_to_the_reader) {
    fake_stream fake;
    auto reading = spawn(read_text(fake.reader));
    fake.arrive("data");
    co_await settle();
    fake.core->connection_lost(error(std::errc::connection_reset, "receive"));
    BOOST_TEST(failed_with(co_await as_result(reading.join()), std::errc::connection_reset));
    BOOST_TEST(failed_with(co_await as_result(fake.reader.read(1)), std::errc::connection_reset));
    BOOST_TEST((fake.reader.exception() == std::errc::connection_reset));
}

// rule 626
OURO_ASYNC_TEST(closing_the_writer_ends_the_stream_for_the_reader_too) {
    auto [stream, peer] = co_await stream_pair();
    auto reading = spawn(read_text(stream.reader));
    co_await settle();
    stream.writer.close();
    BOOST_TEST(co_await reading == "");
    BOOST_TEST(stream.reader.at_eof());
    BOOST_TEST(co_await read_text(stream.reader, 10) == "");  // rule 599
}

// rule 641
OURO_ASYNC_TEST(without_a_reader_what_arrives_is_discarded_and_writing_goes_on) {
    auto [stream, peer] = co_await stream_pair(1000);
    std::optional<stream_reader> reader(std::move(stream.reader));
    auto sending = spawn(send_and_finish(peer, pattern(1'000'000)));
    while (stream.writer.transport().is_reading()) co_await sleep(std::chrono::microseconds(100));
    reader.reset();  // also when the transport was paused for its sake
    co_await sending;
    stream.writer.write("still here");
    std::array<std::byte, 20> room;
    BOOST_TEST(as_text(bytes(room).first(co_await peer->recv_into(room))) == "still here");
    BOOST_TEST(stream.writer.transport().is_reading());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
