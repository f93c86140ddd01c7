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

// rule 492
OURO_ASYNC_TEST(abort_drops_what_is_queued_and_loses_the_pipe_once_also_after_close) {
    for (const bool closed_before : {false, true}) {
        auto on = co_await write_with(make_recorder(kind::streaming));
        on.link->write(pattern(much_bytes));
        if (closed_before) on.link->close();
        on.link->abort();
        on.link->abort();
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        co_await eventually([seen = on.seen] { return seen->lost(); });
        BOOST_TEST(!on.seen->why);
        auto rest = spawn(read_all(on.peer));
        BOOST_TEST((co_await rest).size() < much_bytes);
    }
}

// rule 485
OURO_ASYNC_TEST(the_half_that_a_pipe_does_not_have_is_unsupported) {
    auto reads = co_await read_with(make_recorder(kind::streaming));
    const auto writes_not = reads.seen->link;
    std::vector<std::byte> data(3);
    const bytes piece(data);
    BOOST_TEST(writes_not->write("abc") == errc::unsupported);
    BOOST_TEST(writes_not->write(std::vector<std::byte>(3)) == errc::unsupported);
    BOOST_TEST(writes_not->writelines({&piece, 1}) == errc::unsupported);
    BOOST_TEST(writes_not->write_eof() == errc::unsupported);
    BOOST_TEST(!writes_not->can_write_eof());
    BOOST_TEST(writes_not->set_write_buffer_limits(1) == errc::unsupported);
    BOOST_TEST(writes_not->get_write_buffer_size() == 0U);

    auto writes = co_await write_with(make_recorder(kind::streaming));
    const auto reads_not = writes.seen->link;
    BOOST_TEST(!reads_not->is_reading());
    const auto is_unsupported = [](const std::system_error& thrown) {
        return thrown.code() == errc::unsupported;
    };
    BOOST_CHECK_EXCEPTION(reads_not->pause_reading(), std::system_error, is_unsupported);
    BOOST_CHECK_EXCEPTION(reads_not->resume_reading(), std::system_error, is_unsupported);
}

// rule 484
OURO_ASYNC_TEST(what_a_protocol_throws_on_data_is_reported_and_reading_goes_on) {
    for (const kind receiver : both_kinds) {
        auto on = co_await read_with(make_recorder(receiver));
        on.seen->on_data = [seen = on.seen.get()] {
            seen->on_data = nullptr;
            throw std::runtime_error("cannot take it");
        };
        co_await on.peer->write_all(as_bytes("first "));
        co_await eventually([seen = on.seen] { return seen->data == "first "; });
        co_await on.peer->write_all(as_bytes("second"));
        on.peer->close();
        co_await eventually([seen = on.seen] { return seen->lost(); });
        BOOST_TEST(on.seen->data == "first second");
        BOOST_TEST(!on.seen->why);
        BOOST_TEST(take_reports().size() == 1U);
    }
}

OURO_ASYNC_TEST(a_buffered_protocol_without_a_buffer_ends_its_pipe) {
    auto on = co_await read_with(make_recorder(kind::buffered));
    on.seen->give_buffer = [](std::ptrdiff_t) { return mut_bytes(); };
    co_await settle();
    co_await on.peer->write_all(as_bytes("into the first buffer"));
    co_await eventually([seen = on.seen] { return seen->lost(); });
    BOOST_CHECK(on.seen->why == errc::empty_buffer);
    BOOST_TEST(take_reports().size() == 1U);
}

// rules 297, 298, 721
OURO_ASYNC_TEST(a_paused_read_pipe_delivers_nothing_until_it_is_resumed) {
    for (const kind receiver : both_kinds) {
        auto on = co_await read_with(make_recorder(receiver));
        co_await settle();
        on.link->pause_reading();
        BOOST_TEST(!on.link->is_reading());
        const std::string text = pattern(10'000);
        co_await on.peer->write_all(as_bytes(text));
        on.peer->close();
        co_await settle(20);
        BOOST_TEST(on.seen->story() == "made");
        on.link->resume_reading();
        BOOST_TEST(on.seen->story() == "made");
        co_await eventually([seen = on.seen] { return seen->lost(); });
        BOOST_TEST((on.seen->data == text));
        BOOST_TEST(on.seen->story() == "made data eof lost");
    }
}

// rules 289, 727
OURO_ASYNC_TEST(protocols_of_both_kinds_take_turns_on_a_pipe_and_lose_no_byte) {
    auto first = make_recorder(kind::buffered);
    auto on = co_await read_with(first);
    const std::string text = pattern(60'000);
    std::vector<std::shared_ptr<recorder>> all{first};
    for (std::size_t at = 0; at < text.size(); at += 10'000) {
        co_await on.peer->write_all(as_bytes(text).subspan(at, 10'000));
        if (at % 20'000 == 0) co_await settle();
        all.push_back(make_recorder(at % 20'000 ? kind::buffered : kind::streaming));
        all.back()->made = 1;  // it is not told: rule 288
        on.link->set_protocol(all.back()->as_protocol());
    }
    on.peer->close();
    co_await eventually([last = all.back()] { return last->lost(); });
    std::string came;
    for (const auto& each : all) came += each->data;
    BOOST_TEST((came == text));
    BOOST_TEST(first->losses == 0);
}

// rule 496
OURO_ASYNC_TEST(a_buffer_of_one_byte_receives_everything) {
    auto seen = make_recorder(kind::buffered);
    seen->memory.resize(1);
    auto on = co_await read_with(seen);
    const std::string text = pattern(2'000);
    co_await on.peer->write_all(as_bytes(text));
    on.peer->close();
    co_await eventually([seen] { return seen->lost(); });
    BOOST_TEST((seen->data == text));
}

// rule 495
OURO_ASYNC_TEST(the_pipe_is_known_by_its_name_also_after_closing) {
    auto on = co_await read_with(make_recorder(kind::streaming));
    const auto link = on.seen->link;
    const auto* view = link->get_extra_info<const pipe_view*>("pipe");
    BOOST_REQUIRE(view);
    BOOST_TEST(view->fd() >= 0);
    BOOST_CHECK(view->kind() == io::file_kind::pipe);
    link->close();
    co_await eventually([seen = on.seen] { return seen->lost(); });
    BOOST_TEST(link->get_extra_info<const pipe_view*>("pipe") == view);
    BOOST_TEST(view->fd() == -1);
    BOOST_TEST(link->get_extra_info<int>("socket", 7) == 7);
}

// rules 478, 489, 490
OURO_ASYNC_TEST(sockets_are_pipes_too) {
    auto [ours, theirs] = co_await socket::pair(loop::current());
    auto [others, rest] = co_await socket::pair(loop::current());
    auto reads = make_recorder(kind::streaming);
    auto writes = make_recorder(kind::streaming);
    loop& home = loop::current();
    auto in = co_await connect_read_pipe(factory_of(reads), pipe_end::adopt(home, ours.release()));
    auto out =
        co_await connect_write_pipe(factory_of(writes), pipe_end::adopt(home, theirs.release()));
    out.transport->write("through a socket");
    co_await eventually([reads] { return reads->data == "through a socket"; });
    in.transport->close();
    co_await eventually([reads, writes] { return reads->lost() && writes->lost(); });
    BOOST_TEST(!writes->why);

    auto broken = make_recorder(kind::streaming);
    auto full =
        co_await connect_write_pipe(factory_of(broken), pipe_end::adopt(home, others.release()));
    full.transport->write(pattern(4'000'000));
    co_await settle();
    rest.close();
    co_await eventually([broken] { return broken->lost(); });
    BOOST_TEST(bool(broken->why));
}

OURO_ASYNC_TEST(any_protocol_may_be_on_a_write_pipe) {
    auto ends = co_await pipe(loop::current());
    auto made = co_await connect_write_pipe([] { return std::make_shared<base_protocol>(); },
                                            std::move(ends.writer));
    const auto peer = std::make_shared<pipe_end>(std::move(ends.reader));
    std::vector<std::byte> first(as_bytes("one ").begin(), as_bytes("one ").end());
    BOOST_TEST(!made.transport->write(std::move(first)));
    const bytes lines[] = {as_bytes("two "), as_bytes("three")};
    BOOST_TEST(!made.transport->writelines(lines));
    made.transport->close();
    BOOST_TEST(co_await read_all(peer) == "one two three");
}

OURO_ASYNC_TEST(a_creator_that_is_cancelled_closes_the_pipe) {
    auto ends = co_await pipe(loop::current());
    auto seen = make_recorder(kind::streaming);
    const auto before = loop::current().counters().descriptors;
    auto connect = [](auto on, pipe_end end) -> task<> {
        co_await connect_read_pipe(factory_of(on), std::move(end));
    };
    auto connecting = spawn(connect(seen, std::move(ends.reader)));
    co_await yield();
    connecting.cancel();
    BOOST_CHECK((co_await as_result(connecting.join())).error() == errc::cancelled);
    co_await eventually([before] { return loop::current().counters().descriptors < before; });
    BOOST_TEST(seen->made == seen->losses);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
