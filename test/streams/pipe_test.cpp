#include <ouro/streams/pipe.hpp>

#include <memory>
#include <string>

#include <ouro/runtime/inspect.hpp>

#include "async_test.hpp"
#include "reads.hpp"

namespace ouro::test {
namespace {

task<std::string> read_lines(std::shared_ptr<stream_reader> from) {
    std::string all;
    while (true) {
        const auto line = co_await from->readline();
        if (line.empty()) break;
        all += "<" + std::string(line) + ">";
    }
    co_return all;
}

task<std::string> read_bytes(std::shared_ptr<stream_reader> from) {
    co_return std::string(as_text(co_await from->read()));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(streams_on_pipes)

OURO_ASYNC_TEST(lines_written_to_a_pipe_are_read_from_it) {
    auto ends = co_await pipe(loop::current());
    const auto reader =
        std::make_shared<stream_reader>(co_await open_read_pipe(std::move(ends.reader)));
    auto writer = co_await open_write_pipe(std::move(ends.writer));
    auto lines = spawn(read_lines(reader));
    writer.write("one\ntwo\n");
    co_await writer.drain();
    co_await settle();
    writer.write("three");
    writer.close();
    co_await writer.wait_closed();
    BOOST_TEST(co_await lines == "<one\n><two\n><three>");
    BOOST_TEST(reader->at_eof());
}

// rule 496
OURO_ASYNC_TEST(a_reader_with_a_limit_of_one_byte_receives_everything_from_a_pipe) {
    auto ends = co_await pipe(loop::current());
    const auto reader =
        std::make_shared<stream_reader>(co_await open_read_pipe(std::move(ends.reader), 1));
    const std::string text = pattern(200'000);
    auto all = spawn(read_bytes(reader));
    co_await ends.writer.write_all(as_bytes(text));
    ends.writer.close();
    BOOST_TEST((co_await all == text));
}

OURO_ASYNC_TEST(a_pipe_is_closed_when_its_reader_or_writer_is_gone) {
    auto ends = co_await pipe(loop::current());
    {
        auto reader = co_await open_read_pipe(std::move(ends.reader));
    }
    auto writer = co_await open_write_pipe(std::move(ends.writer));
    co_await writer.wait_closed();  // it was idle: no error
    BOOST_TEST(writer.is_closing());
    auto others = co_await pipe(loop::current());
    auto reader = co_await open_read_pipe(std::move(others.reader));
    {
        auto unused = co_await open_write_pipe(std::move(others.writer));
    }
    BOOST_TEST((co_await reader.read()).empty());
}

OURO_ASYNC_TEST(drain_tells_that_nobody_reads_the_pipe) {
    auto ends = co_await pipe(loop::current());
    auto writer = co_await open_write_pipe(std::move(ends.writer));
    writer.write(pattern(500'000));
    ends.reader.close();
    const auto outcome = co_await as_result(writer.drain());
    BOOST_REQUIRE(!outcome);
    BOOST_CHECK(outcome.error() == std::errc::broken_pipe);
}

OURO_ASYNC_TEST(a_read_that_waits_names_the_descriptor_of_its_pipe) {
    auto ends = co_await pipe(loop::current());
    const std::string name = "fd " + std::to_string(ends.reader.fd());
    const auto reader =
        std::make_shared<stream_reader>(co_await open_read_pipe(std::move(ends.reader)));
    auto reading = spawn(read_bytes(reader));
    co_await settle();
    bool named = false;
    for (const task_report& each : capture_tasks(loop::current())) named |= each.details == name;
    BOOST_TEST(named);
    ends.writer.close();
    BOOST_TEST((co_await reading).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
