// One reader and several tasks: cancellation loses nothing, nobody takes what another one was
// promised, views stay.
#include <ouro/streams/reader.hpp>

#include "async_test.hpp"

#include <memory>

#include "fake_transport.hpp"
#include "reads.hpp"

namespace ouro::test {
namespace {

/// The text a read gave, or the code it failed with.
std::string told(const result<std::string>& read) {
    return read ? *read : "error: " + read.error().code().message();
}

task<std::string> read_then_yield(stream_reader& reader, std::size_t count) {
    const bytes view = co_await reader.readexactly(count);
    const std::string before(as_text(view));
    co_await settle();
    co_return before == as_text(view) ? before : "the view changed";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reader_races)

// rule 620
// fault 58
OURO_ASYNC_TEST(a_cancelled_read_loses_nothing_and_allows_another_one) {
    stream_reader reader;
    for (int i = 0; i < 3; ++i) {
        auto reading = spawn(read_exactly(reader, 6));
        co_await settle();
        feed(reader, "ab");
        co_await settle();
        BOOST_TEST(reading.done() == (i == 2));
        reading.cancel();
        if (i < 2) {
            BOOST_TEST(failed_with(co_await as_result(reading.join()), errc::cancelled));
        } else {
            BOOST_TEST(co_await reading == "ababab");
        }
    }
}

// rule 620
OURO_ASYNC_TEST(another_read_may_start_in_the_very_turn_of_the_cancel) {
    stream_reader reader;
    auto cancelled = spawn(read_line(reader));
    co_await settle();
    cancelled.cancel();
    auto next = spawn(read_line(reader));
    feed(reader, "line\n");
    BOOST_TEST(co_await next == "line\n");
    BOOST_TEST(failed_with(co_await as_result(cancelled.join()), errc::cancelled));
}

// rule 620
OURO_ASYNC_TEST(a_read_cancelled_after_its_data_came_leaves_the_data_to_the_next_read) {
    stream_reader reader;
    auto line = spawn(read_line(reader));
    co_await settle();
    feed(reader, "line\n");
    line.cancel();
    BOOST_TEST(failed_with(co_await as_result(line.join()), errc::cancelled));
    auto exactly = spawn(read_exactly(reader, 7));
    co_await settle();
    feed(reader, "ab");
    exactly.cancel();
    BOOST_TEST(failed_with(co_await as_result(exactly.join()), errc::cancelled));
    BOOST_TEST(co_await read_text(reader, 50) == "line\nab");
}

// rule 620
OURO_ASYNC_TEST(a_read_cancelled_before_it_began_leaves_the_data_alone) {
    stream_reader reader;
    feed(reader, "some data");
    reader.feed_eof();
    const auto spoil = [](stream_reader& from) -> task<> { (void)co_await from.readexactly(20); };
    auto reading = spawn(spoil(reader));
    reading.cancel();
    BOOST_TEST(failed_with(co_await as_result(reading.join()), errc::cancelled));
    BOOST_TEST(co_await read_text(reader, 50) == "some data");
}

// rule 620
OURO_ASYNC_TEST(a_cancellation_that_is_due_at_a_failing_read_does_not_empty_the_buffer) {
    stream_reader reader;
    feed(reader, "some data");
    reader.feed_eof();
    task_handle<> self;
    const auto cancel_yourself = [](stream_reader& from, task_handle<>& own) -> task<> {
        own.cancel();
        (void)co_await from.readexactly(20);
    };
    self = spawn(cancel_yourself(reader, self));
    BOOST_TEST(failed_with(co_await as_result(self.join()), errc::cancelled));
    BOOST_TEST(co_await read_text(reader, 50) == "some data");
}

// rule 619
OURO_ASYNC_TEST(what_woke_a_read_is_not_taken_by_another_one) {
    stream_reader reader;
    auto first = spawn(read_exactly(reader, 4));
    co_await settle();
    feed(reader, "abcd");  // the first is on its way to this
    const auto second = co_await as_result(read_exactly(reader, 4));
    const auto taken = co_await as_result(first.join());
    BOOST_TEST(told(taken) == "abcd");
    BOOST_TEST(failed_with(second, errc::already_waiting));
    feed(reader, "efgh");
    BOOST_TEST(co_await read_text(reader, 50) == "efgh");
}

// rule 619
OURO_ASYNC_TEST(a_line_that_woke_a_read_is_not_taken_by_another_one) {
    stream_reader reader;
    auto first = spawn(read_line(reader));
    co_await settle();
    feed(reader, "abcd\n");
    const auto second = co_await as_result(read_text(reader, 3));
    BOOST_TEST(told(co_await as_result(first.join())) == "abcd\n");
    BOOST_TEST(failed_with(second, errc::already_waiting));
}

OURO_ASYNC_TEST(two_tasks_that_read_lines_never_see_a_false_end) {
    stream_reader reader;
    feed(reader, "one\n");
    auto first = spawn(read_line(reader));
    auto second = spawn(read_line(reader));
    co_await settle();
    const std::string got = told(co_await as_result(first.join()));
    BOOST_TEST(got == "one\n");
    feed(reader, "two\n");
    BOOST_TEST(told(co_await as_result(second.join())) == "two\n");
}

OURO_ASYNC_TEST(data_that_comes_between_the_wake_up_and_the_read_is_not_lost) {
    stream_reader reader;
    auto reading = spawn(read_line(reader));
    co_await settle();
    feed(reader, "one\n");
    feed(reader, "two\n");
    reader.feed_eof();
    BOOST_TEST(co_await reading == "one\n");
    BOOST_TEST(co_await read_text(reader) == "two\n");
}

OURO_ASYNC_TEST(an_error_between_the_wake_up_and_the_read_harms_nobody) {
    stream_reader reader;
    auto reading = spawn(read_line(reader));
    co_await settle();
    feed(reader, "one\n");
    reader.set_exception(error(std::errc::connection_reset));
    const auto read = co_await as_result(reading.join());
    BOOST_TEST((read ? *read == "one\n" : read.error() == std::errc::connection_reset));
    BOOST_TEST(failed_with(co_await as_result(reader.readline()), std::errc::connection_reset));
}

OURO_ASYNC_TEST(a_reader_may_be_destroyed_by_the_task_that_feed_data_wakes) {
    auto reader = std::make_unique<stream_reader>();
    const auto read_and_drop = [](std::unique_ptr<stream_reader>& from) -> task<std::string> {
        std::string line(co_await from->readline());
        from.reset();
        co_return line;
    };
    auto reading = spawn(read_and_drop(reader));
    co_await settle();
    // From a callback, where no task is running, so that nothing delays the one that is woken.
    loop::current().call_soon([&reader] { feed(*reader, "line\n"); });
    BOOST_TEST(co_await reading == "line\n");
    BOOST_TEST(!reader);
}

OURO_ASYNC_TEST(a_reader_may_be_destroyed_by_the_task_that_the_end_wakes) {
    auto reader = std::make_unique<stream_reader>();
    const auto read_and_drop = [](std::unique_ptr<stream_reader>& from) -> task<> {
        (void)co_await as_result(from->read());
        from.reset();
    };
    auto reading = spawn(read_and_drop(reader));
    co_await settle();
    loop::current().call_soon([&reader] { reader->feed_eof(); });
    co_await reading;
    reader = std::make_unique<stream_reader>();
    reading = spawn(read_and_drop(reader));
    co_await settle();
    loop::current().call_soon([&reader] { reader->set_exception(error(std::errc::timed_out)); });
    co_await reading;
    BOOST_TEST(!reader);
}

OURO_ASYNC_TEST(a_reader_may_die_before_a_cancelled_read_has_ended) {
    auto reader = std::make_unique<stream_reader>();
    auto reading = spawn(read_text(*reader));
    co_await settle();
    reading.cancel();
    reader.reset();
    BOOST_TEST(failed_with(co_await as_result(reading.join()), errc::cancelled));
}

BOOST_AUTO_TEST_CASE(a_closing_loop_may_end_the_owner_of_a_reader_before_the_task_that_reads) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        loop home(options_for(each));
        home.set_exception_handler([](loop&, const failure_report& report) {
            BOOST_CHECK_MESSAGE(false, report.message);
        });
        const auto own = [](loop& on) -> task<> {
            stream_reader reader;
            auto reading = spawn(read_text(reader));
            on.call_soon([&on] { on.stop(); });
            co_await sleep(std::chrono::hours(1));
        };
        BOOST_TEST(failed_with(home.run_until_complete(own(home)), errc::stopped_early));
        home.close();
        BOOST_TEST(home.counters().tasks == 0U);
    }
}

OURO_ASYNC_TEST(a_reader_may_die_between_the_wake_up_and_the_read) {
    fake_stream fake;
    auto reader = std::make_unique<stream_reader>(std::move(fake.reader));
    auto reading = spawn(read_exactly(*reader, 3));
    co_await settle();
    fake.arrive("abc");
    reader.reset();
    const auto read = co_await as_result(reading.join());
    BOOST_TEST((!read || *read == "abc" || read->empty()));
    fake.arrive(pattern(10'000));  // the buffer is still in order
    fake.writer.write("x");
    BOOST_TEST(fake.link->written == "x");
}

OURO_ASYNC_TEST(a_view_stays_as_it_is_while_more_arrives_and_the_buffer_grows) {
    stream_reader reader;
    feed(reader, "0123456789");
    const bytes view = co_await reader.readexactly(4);
    const std::string sent = pattern(700'000, 7);
    for (std::size_t at = 0, size = 1; at < sent.size(); at += size, size = size * 3 % 5003 + 1) {
        feed(reader, std::string_view(sent).substr(at, size));
        BOOST_REQUIRE(as_text(view) == "0123");
    }
    reader.feed_eof();
    BOOST_TEST(as_text(view) == "0123");
    BOOST_CHECK(co_await read_text(reader) == "456789" + sent);
}

OURO_ASYNC_TEST(the_view_of_a_line_stays_until_the_next_read_begins) {
    stream_reader reader;
    feed(reader, "line\n");
    const std::string_view view = co_await reader.readline();
    feed(reader, pattern(100'000));
    co_await settle();
    BOOST_TEST(view == "line\n");
    (void)reader.at_eof();
    (void)reader.exception();
    reader.feed_eof();
    BOOST_TEST(view == "line\n");
    BOOST_CHECK(co_await read_text(reader) == pattern(100'000));
}

OURO_ASYNC_TEST(a_view_stays_while_another_task_is_refused_a_read) {
    stream_reader reader;
    auto viewing = spawn(read_then_yield(reader, 3));
    feed(reader, "abc");
    co_await yield();
    feed(reader, pattern(50'000));
    BOOST_TEST(co_await viewing == "abc");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
