#include <ouro/proto/pipe.hpp>

#include <memory>
#include <string>
#include <vector>

#include "async_test.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

/// A recorder that reads from a pipe, and the end to write to.
struct reading {
    std::shared_ptr<recorder> seen;
    std::shared_ptr<read_transport> link;
    std::shared_ptr<pipe_end> peer;

    reading(std::shared_ptr<recorder> on, std::shared_ptr<read_transport> made, pipe_end other)
        : seen(std::move(on)),
          link(std::move(made)),
          peer(std::make_shared<pipe_end>(std::move(other))) {}
    reading(reading&&) = default;
    reading& operator=(reading&&) = delete;
    ~reading() {
        if (!link) return;
        seen->forget_hooks();
        link->close();
    }
};

/// A recorder that writes to a pipe, and the end to read from.
struct writing {
    std::shared_ptr<recorder> seen;
    std::shared_ptr<write_transport> link;
    std::shared_ptr<pipe_end> peer;

    writing(std::shared_ptr<recorder> on, std::shared_ptr<write_transport> made, pipe_end other)
        : seen(std::move(on)),
          link(std::move(made)),
          peer(std::make_shared<pipe_end>(std::move(other))) {}
    writing(writing&&) = default;
    writing& operator=(writing&&) = delete;
    ~writing() {
        if (!link) return;
        seen->forget_hooks();
        link->abort();
    }
};

task<reading> read_with(std::shared_ptr<recorder> seen) {
    auto ends = co_await pipe(loop::current());
    auto made = co_await connect_read_pipe(factory_of(seen), std::move(ends.reader));
    co_return reading(std::move(seen), std::move(made.transport), std::move(ends.writer));
}
task<writing> write_with(std::shared_ptr<recorder> seen) {
    auto ends = co_await pipe(loop::current());
    auto made = co_await connect_write_pipe(factory_of(seen), std::move(ends.writer));
    co_return writing(std::move(seen), std::move(made.transport), std::move(ends.reader));
}

task<std::string> read_all(std::shared_ptr<pipe_end> from) {
    std::string all;
    std::vector<std::byte> room(16 * 1024);
    while (const std::size_t got = co_await from->read_into(room)) {
        all += as_text(bytes(room).first(got));
    }
    co_return all;
}

constexpr kind both_kinds[] = {kind::streaming, kind::buffered};
// More than a pipe and the high watermark hold.
constexpr std::size_t much_bytes = 400'000;

}  // namespace

BOOST_AUTO_TEST_SUITE(pipes)

// ---- reading

// rules 479, 480, 481
OURO_ASYNC_TEST(a_read_pipe_delivers_everything_then_the_end_then_it_is_lost) {
    for (const kind receiver : both_kinds) {
        for (const bool stays : {false, true}) {
            auto on = co_await read_with(make_recorder(receiver));
            const auto before = loop::current().counters().descriptors;
            on.seen->stay_open_after_eof = stays;
            bool closing_at_eof = false;
            on.seen->on_eof = [&] { closing_at_eof = on.link->is_closing(); };
            const std::string text = pattern(much_bytes);
            co_await on.peer->write_all(as_bytes(text));
            on.peer->close();
            co_await eventually([seen = on.seen] { return seen->lost(); });
            BOOST_TEST(on.seen->story() == "made data eof lost");
            BOOST_TEST((on.seen->data == text));
            BOOST_TEST(!on.seen->why);
            BOOST_TEST(closing_at_eof);
            BOOST_TEST(loop::current().counters().descriptors == before - 2);
        }
    }
}

// rule 486
OURO_ASYNC_TEST(close_of_a_read_pipe_loses_it_without_an_end_of_stream) {
    for (const kind receiver : both_kinds) {
        auto on = co_await read_with(make_recorder(receiver));
        co_await settle();
        on.link->close();
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(!on.link->is_reading());
        BOOST_TEST(!on.seen->lost());
        on.link->close();
        co_await eventually([seen = on.seen] { return seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_TEST(!on.seen->why);
    }
}

// rules 487, 488
OURO_ASYNC_TEST(write_eof_and_close_of_a_write_pipe_flush_and_then_lose_it) {
    for (const bool by_eof : {false, true}) {
        auto on = co_await write_with(make_recorder(kind::streaming));
        const std::string text = pattern(much_bytes);
        on.link->write(text);
        BOOST_TEST(on.link->can_write_eof());
        if (by_eof) {
            BOOST_TEST(!on.link->write_eof());
        } else {
            on.link->close();
        }
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(!on.link->write("dropped"));
        auto all = spawn(read_all(on.peer));
        BOOST_TEST((co_await all == text));
        co_await eventually([seen = on.seen] { return seen->lost(); });
        BOOST_TEST(!on.seen->why);
        BOOST_TEST(!on.link->write("dropped, too"));
    }
}

// rule 489
OURO_ASYNC_TEST(an_idle_write_pipe_closes_itself_when_its_reader_goes) {
    auto on = co_await write_with(make_recorder(kind::streaming));
    on.link->write("taken");
    co_await settle();
    on.peer->close();
    co_await eventually([seen = on.seen] { return seen->lost(); });
    BOOST_TEST(on.seen->story() == "made lost");
    BOOST_TEST(!on.seen->why);
}

// rule 490; fault 23
OURO_ASYNC_TEST(a_reader_that_goes_while_output_is_queued_breaks_the_pipe) {
    auto on = co_await write_with(make_recorder(kind::streaming));
    on.link->write(pattern(much_bytes));
    BOOST_TEST(on.link->get_write_buffer_size() > 0U);
    co_await settle();
    on.peer->close();
    co_await eventually([seen = on.seen] { return seen->lost(); });
    BOOST_CHECK(on.seen->why == std::errc::broken_pipe);
    BOOST_TEST(on.link->get_write_buffer_size() == 0U);
}

// rule 493
OURO_ASYNC_TEST(watermarks_pause_and_resume_the_writer_of_a_pipe) {
    auto on = co_await write_with(make_recorder(kind::streaming));
    BOOST_TEST(!on.link->set_write_buffer_limits(1000, 100));
    on.link->write(pattern(much_bytes));
    BOOST_TEST(on.seen->pauses == 1);
    auto all = spawn(read_all(on.peer));
    co_await eventually([seen = on.seen] { return seen->resumes == 1; });
    BOOST_TEST(on.link->get_write_buffer_size() <= 100U);
    on.link->close();
    BOOST_TEST((co_await all).size() == much_bytes);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
