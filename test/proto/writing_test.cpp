// Stream transports: what is written, in which order it leaves, and what becomes of it.
#include <ouro/proto/transport.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <random>

#include "recorder.hpp"

namespace ouro::test {
namespace {

std::vector<std::byte> owned(std::string_view text) {
    const bytes data = as_bytes(text);
    return {data.begin(), data.end()};
}

template <class Argument>
concept writable = requires(transport& link, Argument argument) { link.write(argument); };

std::uint64_t submissions() { return loop::current().statistics().submitted; }

/// Reads `count` bytes in pieces of random sizes, now and then letting time pass.
task<std::string> read_in_pieces(std::shared_ptr<socket> from, std::size_t count, unsigned seed) {
    std::mt19937 random(seed);
    std::string text;
    while (text.size() < count) {
        const auto most = std::min<std::size_t>(1 + random() % 60'000, count - text.size());
        text += co_await read_text(*from, most);
        if (random() % 4 == 0) co_await settle(static_cast<int>(random() % 4));
    }
    co_return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(writing)

// rules 322, 323, 341
OURO_ASYNC_TEST(a_large_write_to_an_idle_connection_leaves_at_once) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->write(pattern(20'000)));
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        BOOST_TEST(readable_bytes(on.peer) == 20'000U);  // no turn has passed
        BOOST_CHECK(co_await read_text(on.peer, 20'000) == pattern(20'000));
    }
}

// rules 322, 341
// fault 39
OURO_ASYNC_TEST(small_writes_of_one_turn_leave_together_at_its_end) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        co_await settle();
        const auto before = submissions();
        for (int i = 0; i < 100; ++i) BOOST_CHECK(!on.link->write("0123456789"));
        BOOST_TEST(on.link->get_write_buffer_size() == 1000U);
        co_await settle(2);
        BOOST_TEST(submissions() - before <= 2U);
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
        BOOST_TEST((co_await read_text(on.peer, 1000)).size() == 1000U);
    }
}

// rules 324, 342, 730
// faults 2, 39
OURO_ASYNC_TEST(many_small_writes_arrive_complete_and_in_order_under_back_pressure) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        constexpr std::size_t piece_bytes = 73;
        constexpr std::size_t pieces = 30'000;
        const std::string all = pattern(pieces * piece_bytes);
        for (std::size_t i = 0; i < pieces; ++i) {
            BOOST_REQUIRE(
                !on.link->write(std::string_view(all).substr(i * piece_bytes, piece_bytes)));
        }
        BOOST_TEST(on.seen->pauses == 1);
        BOOST_CHECK(co_await read_in_pieces(on.kept_peer, all.size(), 342) == all);
        co_await eventually([&] { return on.seen->resumes == 1; });
    }
}

// rules 324, 331, 337, 342, 730
// fault 2
OURO_ASYNC_TEST(any_mixture_of_writes_arrives_byte_for_byte) {
    std::mt19937 random(324);
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        const std::string all = pattern(3'000'000);
        auto reading = spawn(read_in_pieces(on.kept_peer, all.size(), 730));
        for (std::size_t at = 0; at < all.size();) {
            const std::size_t most = random() % 5 ? 500 : 70'000;
            const auto part = std::string_view(all).substr(at, random() % most);
            at += part.size();
            const std::size_t cut = part.empty() ? 0 : random() % part.size();
            switch (random() % 3) {
            case 0:
                BOOST_REQUIRE(!on.link->write(part));
                break;
            case 1:
                BOOST_REQUIRE(!on.link->write(owned(part)));
                break;
            default: {
                const bytes chunks[] = {
                    as_bytes(part.substr(0, cut)), {}, as_bytes(part.substr(cut))};
                BOOST_REQUIRE(!on.link->writelines(chunks));
            }
            }
            if (random() % 10 == 0) co_await yield();
            if (on.seen->pauses > on.seen->resumes && random() % 4 == 0) {
                co_await eventually([&] { return on.seen->pauses == on.seen->resumes; });
            }
        }
        BOOST_CHECK(co_await std::move(reading) == all);
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
    }
}

// rules 325, 729
OURO_ASYNC_TEST(a_full_socket_is_no_error_and_what_is_in_flight_counts) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        const std::size_t left = on.link->get_write_buffer_size();
        BOOST_TEST(left > 0U);
        BOOST_TEST(left < too_much_bytes);
        co_await settle(10);  // a send of the rest is in flight now
        BOOST_CHECK(!on.link->write("more"));
        BOOST_TEST(on.link->get_write_buffer_size() <= left + 4);
        BOOST_TEST(on.link->get_write_buffer_size() > 4U);
        BOOST_CHECK(!on.link->is_closing());
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes + 4) ==
                    pattern(too_much_bytes) + "more");
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
    }
}

// rule 326
OURO_ASYNC_TEST(writing_nothing_does_nothing) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->set_write_buffer_limits(0));
        const auto write_nothing = [&] {
            const std::size_t before = on.link->get_write_buffer_size();
            BOOST_CHECK(!on.link->write(""));
            BOOST_CHECK(!on.link->write(std::vector<std::byte>()));
            BOOST_CHECK(!on.link->writelines({}));
            BOOST_TEST(on.link->get_write_buffer_size() == before);
        };
        write_nothing();
        BOOST_TEST(on.seen->pauses == 0);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        write_nothing();
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes) == pattern(too_much_bytes));
    }
}

// rules 327, 346
OURO_ASYNC_TEST(an_empty_write_after_end_of_stream_is_still_an_error) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->write_eof());
        const bytes one[] = {as_bytes("x")};
        BOOST_CHECK(on.link->write("") == errc::write_after_eof);
        BOOST_CHECK(on.link->write("x") == errc::write_after_eof);
        BOOST_CHECK(on.link->write(std::vector<std::byte>()) == errc::write_after_eof);
        BOOST_CHECK(on.link->write(owned("x")) == errc::write_after_eof);
        BOOST_CHECK(on.link->writelines({}) == errc::write_after_eof);
        BOOST_CHECK(on.link->writelines(one) == errc::write_after_eof);
        BOOST_TEST(!on.link->is_closing());
        BOOST_TEST((co_await read_to_end(on.peer)).empty());
    }
}

// rule 328
BOOST_AUTO_TEST_CASE(what_is_not_bytes_cannot_be_written) {
    static_assert(writable<bytes> && writable<mut_bytes> && writable<const char*>);
    static_assert(writable<std::string> && writable<std::string_view>);
    static_assert(!writable<int> && !writable<std::wstring> && !writable<std::vector<int>>);
    BOOST_TEST(!writable<double>);
}

// rule 329
OURO_ASYNC_TEST(the_buffer_of_the_caller_stays_as_it_is_and_is_free_after_the_call) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        std::vector<std::byte> buffer = owned(pattern(too_much_bytes));
        const auto before = buffer;
        BOOST_CHECK(!on.link->write(bytes(buffer)));
        BOOST_CHECK(buffer == before);
        std::fill(buffer.begin(), buffer.end(), std::byte{0});
        BOOST_CHECK(!on.link->write(bytes(before).first(100)));
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes + 100) ==
                    pattern(too_much_bytes) + pattern(100));
    }
}

// rules 331, 333, 334
OURO_ASYNC_TEST(writelines_sends_all_chunks_in_order_and_in_one_operation) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        co_await settle();
        const std::string text = "from a string";
        const std::vector<std::byte> memory = owned(", from a vector");
        const bytes chunks[] = {{}, as_bytes(text), {}, memory, as_bytes(", from a literal"), {}};
        const auto before = submissions();
        BOOST_CHECK(!on.link->writelines(chunks));
        co_await settle(2);
        BOOST_TEST(submissions() - before <= 2U);
        const std::string all = "from a string, from a vector, from a literal";
        BOOST_TEST(co_await read_text(on.peer, all.size()) == all);
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
    }
}

// rule 332
OURO_ASYNC_TEST(writelines_looks_at_the_high_limit_once_after_all_chunks) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->set_write_buffer_limits(100'000'000));
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        const std::size_t queued = on.link->get_write_buffer_size();
        BOOST_CHECK(!on.link->set_write_buffer_limits(static_cast<std::ptrdiff_t>(queued + 100)));
        std::size_t at_pause = 0;
        on.seen->on_pause = [&] { at_pause = on.link->get_write_buffer_size(); };
        const std::vector<bytes> chunks(10, as_bytes("0123456789012345678901234567890123456789"));
        BOOST_CHECK(!on.link->writelines(chunks));
        BOOST_TEST(on.seen->pauses == 1);
        BOOST_TEST(at_pause == queued + 400);
        BOOST_TEST((co_await read_text(on.peer, too_much_bytes + 400)).size() ==
                   too_much_bytes + 400);
    }
}

// rule 334
OURO_ASYNC_TEST(empty_chunks_do_not_stay_queued) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const bytes only_empty[] = {{}, {}};
        const bytes trailing_empty[] = {as_bytes("x"), {}};
        BOOST_CHECK(!on.link->writelines(only_empty));
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        BOOST_CHECK(!on.link->writelines(trailing_empty));
        on.link->close();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(co_await read_to_end(on.peer) == "x");
    }
}

// rule 335
OURO_ASYNC_TEST(writelines_on_a_lost_connection_is_dropped) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->abort();
        const bytes chunks[] = {as_bytes("a"), {}, as_bytes("b")};
        BOOST_CHECK(!on.link->writelines(chunks));
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.link->writelines(chunks));
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        BOOST_TEST((co_await read_to_end(on.peer)).empty());
    }
}

// rules 336, 337, 730
OURO_ASYNC_TEST(more_pieces_than_one_call_can_take_arrive_in_order) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        constexpr std::size_t pieces = 3000;
        constexpr std::size_t piece_bytes = 701;
        const std::string all = pattern(pieces * piece_bytes);
        for (std::size_t i = 0; i < pieces; ++i) {
            BOOST_REQUIRE(!on.link->write(owned(all.substr(i * piece_bytes, piece_bytes))));
        }
        BOOST_TEST(on.link->get_write_buffer_size() > 0U);
        BOOST_CHECK(co_await read_in_pieces(on.kept_peer, all.size(), 336) == all);
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
    }
}

// rules 338, 360, 363, 741
// fault 22
OURO_ASYNC_TEST(a_send_error_ends_the_connection_but_not_from_inside_write) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();  // so that it is the send that meets the error
        BOOST_CHECK(!on.link->write("unread"));
        co_await eventually([&] { return readable_bytes(on.peer) == 6; });
        on.peer.close();
        co_await settle(10);
        BOOST_CHECK(!on.link->write(pattern(20'000)));
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        BOOST_TEST(!on.seen->lost());
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.seen->why == std::errc::broken_pipe ||
                    on.seen->why == std::errc::connection_reset);
    }
}

// rules 338, 363
OURO_ASYNC_TEST(a_staged_write_that_fails_ends_the_connection) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        BOOST_CHECK(!on.link->write("unread"));
        co_await eventually([&] { return readable_bytes(on.peer) == 6; });
        on.peer.close();
        co_await settle(10);
        BOOST_CHECK(!on.link->write("small"));
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.seen->why == std::errc::broken_pipe ||
                    on.seen->why == std::errc::connection_reset);
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
    }
}

// rule 339
// fault 63
OURO_ASYNC_TEST(writes_to_a_closed_connection_are_dropped_with_warnings_from_the_fifth_on) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->close();
        for (int i = 0; i < 4; ++i) BOOST_CHECK(!on.link->write("dropped"));
        BOOST_TEST(take_reports().empty());
        co_await eventually([&] { return on.seen->lost(); });
        for (int i = 0; i < 3; ++i) BOOST_CHECK(!on.link->write("dropped"));
        const auto reports = take_reports();
        BOOST_TEST(reports.size() == 3U);
        for (const auto& each : reports) BOOST_CHECK(each.level == severity::warning);
        BOOST_TEST((co_await read_to_end(on.peer)).empty());
    }
}

// rule 340
OURO_ASYNC_TEST(a_write_inside_or_after_connection_lost_is_dropped_on_every_path) {
    enum class path { close, flushed, abort, eof };
    for (const way& how : every_way) {
        for (const path end : {path::close, path::flushed, path::abort, path::eof}) {
            BOOST_TEST_INFO_SCOPE(how << ", path " << static_cast<int>(end));
            auto on = co_await connect_recorder(how);
            const auto write_in_vain = [&] {
                const bytes chunk[] = {as_bytes("late")};
                BOOST_CHECK(!on.link->write("late"));
                BOOST_CHECK(!on.link->writelines(chunk));
                BOOST_TEST(on.link->get_write_buffer_size() == 0U);
            };
            on.seen->on_lost = write_in_vain;
            if (end == path::flushed) BOOST_CHECK(!on.link->write("last"));
            if (end == path::eof) end_now(on.peer);
            if (end == path::abort) on.link->abort();
            if (end == path::close || end == path::flushed) on.link->close();
            co_await eventually([&] { return on.seen->lost(); });
            write_in_vain();
            BOOST_TEST(co_await read_to_end(on.peer) == (end == path::flushed ? "last" : ""));
            BOOST_TEST(take_reports().empty());
        }
    }
}

// rule 343
OURO_ASYNC_TEST(tcp_connections_send_without_delay) {
    auto on = co_await connect_recorder(way{kind::streaming, medium::tcp});
    const auto* view = on.link->get_extra_info<const socket_view*>("socket");
    BOOST_REQUIRE(view != nullptr);
    BOOST_TEST(co_await view->get_option(IPPROTO_TCP, TCP_NODELAY) == 1);
    auto local = co_await connect_recorder(way{kind::streaming, medium::unix_stream});
    const auto* other = local.link->get_extra_info<const socket_view*>("socket");
    BOOST_TEST(!other->get_option(IPPROTO_TCP, TCP_NODELAY).has_value());
}

// rules 724, 355
// fault 3
OURO_ASYNC_TEST(an_abort_takes_back_what_a_peer_that_never_reads_left_in_flight) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        for (int i = 0; i < 20; ++i) BOOST_CHECK(!on.link->write(owned(pattern(200'000))));
        co_await settle(10);
        BOOST_TEST(on.link->get_write_buffer_size() > 0U);
        on.link->abort();
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        co_await eventually([&] { return on.seen->lost(); });
        co_await eventually([] { return loop::current().counters().ops == 0; });
        BOOST_TEST(on.seen->story() == "made pause lost");
        BOOST_CHECK(!on.seen->why);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
