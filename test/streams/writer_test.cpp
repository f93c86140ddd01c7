// Writers: drain, wait_closed, and what dropping one does.
#include <ouro/streams/writer.hpp>

#include "async_test.hpp"

#include <optional>

#include <ouro/streams/open_connection.hpp>

#include "fake_transport.hpp"
#include "reads.hpp"

namespace ouro::test {
namespace {

task<> drain(stream_writer& writer) { co_await writer.drain(); }
task<> wait_closed(stream_writer& writer) { co_await writer.wait_closed(); }

}  // namespace

BOOST_AUTO_TEST_SUITE(writer)

OURO_ASYNC_TEST(what_is_written_reaches_the_transport_in_order) {
    fake_stream fake;
    fake.writer.write("one ");
    fake.writer.write(as_bytes("two "));
    const std::string owned = "three ";
    fake.writer.write(std::vector<std::byte>(as_bytes(owned).begin(), as_bytes(owned).end()));
    const bytes chunks[] = {as_bytes("four "), as_bytes(""), as_bytes("five")};
    fake.writer.writelines(chunks);
    BOOST_TEST(fake.link->written == "one two three four five");
    BOOST_TEST(fake.writer.can_write_eof());
    BOOST_TEST(!fake.link->eof_written);
    fake.writer.write_eof();
    BOOST_TEST(fake.link->eof_written);
    BOOST_TEST(&fake.writer.transport() == fake.link.get());
    co_return;
}

// rule 627
OURO_ASYNC_TEST(drain_returns_at_once_unless_writing_is_paused) {
    fake_stream fake;
    const auto turns = loop::current().statistics().turns;
    co_await fake.writer.drain();
    BOOST_TEST(loop::current().statistics().turns == turns);
    fake.core->pause_writing();
    auto draining = spawn(drain(fake.writer));
    co_await settle();
    BOOST_TEST(!draining.done());
    fake.core->resume_writing();
    co_await draining;
    co_await fake.writer.drain();
}

// rule 628
OURO_ASYNC_TEST(one_resume_releases_every_drain) {
    fake_stream fake;
    fake.core->pause_writing();
    std::vector<task_handle<>> drains;
    for (int i = 0; i < 10; ++i) drains.push_back(spawn(drain(fake.writer)));
    co_await settle();
    for (const auto& each : drains) BOOST_TEST(!each.done());
    fake.core->resume_writing();
    for (const auto& each : drains) co_await each;
}

// rule 629
OURO_ASYNC_TEST(cancelling_one_drain_leaves_the_others_waiting) {
    fake_stream fake;
    fake.core->pause_writing();
    auto first = spawn(drain(fake.writer));
    auto second = spawn(drain(fake.writer));
    auto third = spawn(drain(fake.writer));
    co_await settle();
    second.cancel();
    BOOST_TEST(failed_with(co_await as_result(second.join()), errc::cancelled));
    co_await settle();
    BOOST_TEST(!first.done());
    BOOST_TEST(!third.done());
    fake.core->resume_writing();
    co_await first;
    co_await third;
}

// rule 630
OURO_ASYNC_TEST(drain_fails_with_the_error_that_is_stored_in_the_reader) {
    fake_stream fake;
    fake.reader.set_exception(error(std::errc::timed_out, "keep alive"));
    const auto drained = co_await as_result(fake.writer.drain());
    BOOST_REQUIRE(failed_with(drained, std::errc::timed_out));
    BOOST_TEST(drained.error().doing() == "keep alive");
}

// rule 631
OURO_ASYNC_TEST(drain_on_a_closing_transport_gives_a_turn_and_goes_on_while_it_lives) {
    fake_stream fake;
    fake.writer.close();
    BOOST_TEST(fake.writer.is_closing());
    const auto turns = loop::current().statistics().turns;
    co_await fake.writer.drain();
    BOOST_TEST(loop::current().statistics().turns > turns);
}

// rule 631
OURO_ASYNC_TEST(drain_on_a_closing_transport_fails_once_the_connection_is_lost) {
    fake_stream fake;
    fake.writer.close();
    loop::current().call_soon([&fake] { fake.core->connection_lost({}); });
    const auto first = co_await as_result(fake.writer.drain());
    BOOST_TEST(failed_with(first, std::errc::connection_reset));
    BOOST_TEST(failed_with(co_await as_result(fake.writer.drain()), std::errc::connection_reset));
}

// rule 631
OURO_ASYNC_TEST(a_cancelled_drain_on_a_closing_transport_is_forgotten) {
    fake_stream fake;
    fake.writer.close();
    auto first = spawn(drain(fake.writer));
    auto second = spawn(drain(fake.writer));
    co_await yield();
    first.cancel();
    BOOST_TEST(failed_with(co_await as_result(first.join()), errc::cancelled));
    co_await second;
}

// rules 631, 634
OURO_ASYNC_TEST(writing_after_close_fails_at_the_drain_and_not_at_the_write) {
    auto [near, far] = co_await tcp_pair();
    auto [reader, writer] = co_await open_connection(std::move(near));
    writer.close();
    co_await writer.wait_closed();
    BOOST_TEST(!writer.write("dropped"));
    BOOST_TEST(failed_with(co_await as_result(writer.drain()), std::errc::connection_reset));
    BOOST_TEST(failed_with(co_await as_result(writer.drain()), std::errc::connection_reset));
}

// rule 632
OURO_ASYNC_TEST(who_only_writes_and_drains_notices_soon_that_the_peer_has_gone) {
    auto [near, far] = co_await tcp_pair();
    auto [reader, writer] = co_await open_connection(std::move(near));
    writer.write("unread");
    co_await writer.drain();
    co_await settle();
    far.close();  // with unread data, which resets the connection
    result<> drained;
    int rounds = 0;
    for (; drained && rounds < 3000; ++rounds) {
        writer.write(pattern(1000));
        drained = co_await as_result(writer.drain());
    }
    BOOST_REQUIRE(!drained);
    const error& why = drained.error();
    BOOST_TEST((why == std::errc::connection_reset || why == std::errc::broken_pipe),
               why.message());
    const auto closed = co_await as_result(writer.wait_closed());
    BOOST_TEST(!closed);  // rule 635
}

// rules 633, 634
OURO_ASYNC_TEST(waiting_drains_fail_with_the_error_that_ended_the_connection) {
    fake_stream fake;
    fake.core->pause_writing();
    auto first = spawn(drain(fake.writer));
    auto second = spawn(drain(fake.writer));
    co_await settle();
    fake.core->connection_lost(error(std::errc::timed_out, "send"));
    BOOST_TEST(failed_with(co_await as_result(first.join()), std::errc::timed_out));
    BOOST_TEST(failed_with(co_await as_result(second.join()), std::errc::timed_out));
    BOOST_TEST(!co_await as_result(fake.writer.drain()));
}

// rules 633, 634
OURO_ASYNC_TEST(waiting_drains_return_when_the_connection_ends_without_error_and_later_ones_fail) {
    fake_stream fake;
    fake.core->pause_writing();
    auto first = spawn(drain(fake.writer));
    auto second = spawn(drain(fake.writer));
    co_await settle();
    fake.core->connection_lost({});
    co_await first;
    co_await second;
    BOOST_TEST(failed_with(co_await as_result(fake.writer.drain()), std::errc::connection_reset));
}

// rule 635
OURO_ASYNC_TEST(wait_closed_works_before_and_after_close_and_after_the_end) {
    auto [near, far] = co_await tcp_pair();
    auto [reader, writer] = co_await open_connection(std::move(near));
    auto early = spawn(wait_closed(writer));
    co_await settle();
    BOOST_TEST(!early.done());
    writer.write("last words");
    writer.close();
    co_await writer.wait_closed();
    co_await early;
    co_await writer.wait_closed();
    std::array<std::byte, 20> room;
    BOOST_TEST(as_text(bytes(room).first(co_await far.recv_into(room))) == "last words");
    BOOST_TEST(co_await far.recv_into(room) == 0U);
}

// rules 635, 638
OURO_ASYNC_TEST(wait_closed_fails_with_the_error_of_the_loss_each_time) {
    fake_stream fake;
    auto waiting = spawn(wait_closed(fake.writer));
    co_await settle();
    fake.core->connection_lost(error(std::errc::connection_reset, "receive"));
    BOOST_TEST(failed_with(co_await as_result(waiting.join()), std::errc::connection_reset));
    BOOST_TEST(
        failed_with(co_await as_result(fake.writer.wait_closed()), std::errc::connection_reset));
    BOOST_TEST(
        failed_with(co_await as_result(fake.writer.wait_closed()), std::errc::connection_reset));
}

// rule 636
OURO_ASYNC_TEST(wait_closed_returns_with_unread_data_in_the_reader) {
    auto [near, far] = co_await tcp_pair();
    auto [reader, writer] =
        co_await open_connection(std::move(near), {.connect = {}, .limit_bytes = 100});
    co_await far.send_all(as_bytes(pattern(5000)));
    while (writer.transport().is_reading()) co_await sleep(std::chrono::microseconds(100));
    writer.close();
    co_await writer.wait_closed();
    BOOST_TEST(!reader.at_eof());
    const std::string got = co_await read_text(reader);
    BOOST_TEST(got.size() > 200U);
    BOOST_TEST(pattern(5000).starts_with(got));
}

// rule 637
OURO_ASYNC_TEST(cancelling_one_wait_closed_leaves_the_others_alone) {
    fake_stream fake;
    auto first = spawn(wait_closed(fake.writer));
    auto second = spawn(wait_closed(fake.writer));
    co_await settle();
    first.cancel();
    BOOST_TEST(failed_with(co_await as_result(first.join()), errc::cancelled));
    co_await settle();
    BOOST_TEST(!second.done());
    fake.core->connection_lost({});
    co_await second;
    co_await fake.writer.wait_closed();
}

// rule 638
OURO_ASYNC_TEST(a_loss_that_nobody_asks_about_is_not_reported) {
    auto [near, far] = co_await tcp_pair();
    {
        auto [reader, writer] = co_await open_connection(std::move(near));
        writer.write("unread");
        co_await settle();
        far.close();  // resets
        while (!writer.is_closing()) co_await sleep(std::chrono::microseconds(100));
        co_await settle();
        BOOST_TEST((reader.exception() == std::errc::connection_reset));
    }
    BOOST_TEST(take_reports().empty());
}

// rule 640
OURO_ASYNC_TEST(a_writer_that_is_dropped_sends_what_it_has_and_closes_the_connection) {
    auto [near, far] = co_await tcp_pair();
    const std::string sent = pattern(500'000);
    {
        auto [reader, writer] = co_await open_connection(std::move(near));
        writer.write(sent);
    }
    std::string got;
    for (auto data = co_await far.recv(100'000); !data.empty(); data = co_await far.recv(100'000)) {
        got += as_text(data);
    }
    BOOST_CHECK(got == sent);
}

// rule 640
OURO_ASYNC_TEST(a_writer_that_outlives_its_reader_goes_on_writing) {
    auto [near, far] = co_await tcp_pair();
    auto opened = co_await open_connection(std::move(near));
    {
        const stream_reader dropped(std::move(opened.reader));
    }
    stream_writer moved(std::move(opened.writer));
    moved.write("hello");
    co_await moved.drain();
    std::array<std::byte, 20> room;
    BOOST_TEST(as_text(bytes(room).first(co_await far.recv_into(room))) == "hello");
    BOOST_TEST(!moved.is_closing());
}

OURO_ASYNC_TEST(a_reader_that_outlives_its_writer_reads_what_had_come_and_then_the_end) {
    auto [near, far] = co_await tcp_pair();
    std::optional<stream_reader> reader;
    {
        auto opened = co_await open_connection(std::move(near));
        co_await far.send_all(as_bytes("before the end"));
        const std::string first = co_await read_exactly(opened.reader, 6);
        BOOST_TEST(first == "before");
        reader.emplace(std::move(opened.reader));
    }
    BOOST_TEST(co_await read_text(*reader) == " the end");
}

// rule 627
// fault 37
OURO_ASYNC_TEST(a_writer_to_a_peer_that_does_not_read_waits_in_drain_and_everything_arrives) {
    auto [near, far] = co_await socket::pair(loop::current());  // TCP's timers would pace it
    auto [reader, writer] = co_await open_connection(std::move(near));
    const std::string sent = pattern(3'000'000);
    const auto send = [](stream_writer& to, const std::string& text) -> task<> {
        for (std::size_t at = 0; at < text.size(); at += 10'000) {
            to.write(std::string_view(text).substr(at, 10'000));
            co_await to.drain();
            BOOST_REQUIRE(to.transport().get_write_buffer_size() < 80'000U);
        }
        to.close();
    };
    auto sending = spawn(send(writer, sent));
    while (writer.transport().get_write_buffer_size() <= 64 * 1024) co_await settle(1);
    BOOST_TEST(!sending.done());
    std::string got;
    for (auto data = co_await far.recv(50'000); !data.empty(); data = co_await far.recv(50'000)) {
        got += as_text(data);
    }
    BOOST_CHECK(got == sent);
    co_await sending;
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
