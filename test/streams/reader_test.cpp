// Readers fed by hand: every kind of read, its edges, its errors.
#include <ouro/streams/reader.hpp>

#include "async_test.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <ouro/testing/allocation_faults.hpp>

#include "reads.hpp"

namespace ouro::test {
namespace {

/// A reader with nothing more to come.
stream_reader ended(std::string_view text, std::size_t limit_bytes = default_stream_limit_bytes) {
    stream_reader reader(limit_bytes);
    feed(reader, text);
    reader.feed_eof();
    return reader;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reader)

// rule 594
BOOST_AUTO_TEST_CASE(a_limit_of_zero_is_refused) {
    BOOST_CHECK_EXCEPTION(stream_reader(0), std::system_error,
                          [](const auto& thrown) { return thrown.code() == errc::value_error; });
    BOOST_CHECK_NO_THROW(stream_reader(1));
}

// rule 595
OURO_ASYNC_TEST(an_empty_chunk_neither_wakes_a_reader_nor_ends_the_stream) {
    stream_reader reader;
    auto reading = spawn(read_text(reader, 10));
    co_await settle();
    feed(reader, "");
    co_await settle();
    BOOST_TEST(!reading.done());
    feed(reader, "x");
    BOOST_TEST(co_await reading == "x");
}

// rule 595
BOOST_AUTO_TEST_CASE(feeding_after_the_end_is_a_mistake_that_ends_the_program) {
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL);
        ::close(STDERR_FILENO);
        stream_reader reader = ended("x");
        feed(reader, "y");
        ::_exit(0);
    }
    int status = 0;
    BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
    BOOST_TEST((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}

// rule 596
OURO_ASYNC_TEST(read_of_nothing_returns_at_once_and_takes_nothing) {
    stream_reader reader;
    BOOST_TEST(co_await read_text(reader, 0) == "");
    feed(reader, "data");
    BOOST_TEST(co_await read_text(reader, 0) == "");
    BOOST_TEST(co_await read_text(reader, 10) == "data");
}

// rule 597
OURO_ASYNC_TEST(read_returns_what_is_there_and_never_more_than_asked_for) {
    stream_reader reader;
    feed(reader, "line1");
    feed(reader, "line2");
    BOOST_TEST(co_await read_text(reader, 5) == "line1");
    BOOST_TEST(co_await read_text(reader, 50) == "line2");
}

// rule 597
OURO_ASYNC_TEST(read_waits_for_the_first_byte_only) {
    stream_reader reader;
    auto reading = spawn(read_text(reader, 100));
    co_await settle();
    feed(reader, "a");
    BOOST_TEST(co_await reading == "a");
}

OURO_ASYNC_TEST(read_some_gives_everything_there_is_and_nothing_at_the_end_only) {
    stream_reader reader = ended("everything");
    BOOST_TEST(as_text(co_await reader.read_some()) == "everything");
    BOOST_TEST(as_text(co_await reader.read_some()) == "");
}

// rules 598, 600
OURO_ASYNC_TEST(read_to_the_end_collects_far_more_than_the_limit) {
    stream_reader reader(4);
    auto reading = spawn(read_text(reader));
    const std::string sent = pattern(300'000);
    for (std::size_t at = 0; at < sent.size(); at += 1000) {
        feed(reader, std::string_view(sent).substr(at, 1000));
        if (at % 50'000 == 0) co_await settle();
    }
    co_await settle();
    BOOST_TEST(!reading.done());
    reader.feed_eof();
    BOOST_CHECK(co_await reading == sent);
}

// rule 599
OURO_ASYNC_TEST(every_read_at_the_end_gives_nothing_again_and_again) {
    stream_reader reader = ended("");
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST(co_await read_text(reader, 7) == "");
        BOOST_TEST(co_await read_text(reader) == "");
        BOOST_TEST(co_await read_line(reader) == "");
    }
}

// rule 600
OURO_ASYNC_TEST(read_and_readexactly_are_not_bounded_by_the_limit) {
    stream_reader reader(3);
    feed(reader, "chunk1chunk2");
    BOOST_TEST(co_await read_text(reader, 6) == "chunk1");
    feed(reader, "tail");
    BOOST_TEST(co_await read_exactly(reader, 10) == "chunk2tail");
}

// rule 601
OURO_ASYNC_TEST(readexactly_of_nothing_returns_at_once_and_takes_nothing) {
    stream_reader reader;
    BOOST_TEST(co_await read_exactly(reader, 0) == "");
    feed(reader, "data");
    BOOST_TEST(co_await read_exactly(reader, 0) == "");
    BOOST_TEST(co_await read_exactly(reader, 4) == "data");
}

OURO_ASYNC_TEST(readexactly_waits_until_all_of_it_is_there_and_leaves_the_rest) {
    stream_reader reader;
    auto reading = spawn(read_exactly(reader, 7));
    for (const char* part : {"ab", "cd", "ef"}) {
        feed(reader, part);
        co_await settle();
        BOOST_TEST(!reading.done());
    }
    feed(reader, "gh");
    BOOST_TEST(co_await reading == "abcdefg");
    BOOST_TEST(co_await read_text(reader, 10) == "h");
}

// rule 602
OURO_ASYNC_TEST(readexactly_that_meets_the_end_while_waiting_tells_what_had_come) {
    stream_reader reader;
    auto reading = spawn(read_exactly(reader, 7));
    feed(reader, "abc");
    co_await settle();
    reader.feed_eof();
    const auto read = co_await as_result(reading.join());
    BOOST_REQUIRE(failed_with(read, errc::incomplete_read));
    BOOST_TEST(read.error().partial() == "abc");
    BOOST_TEST(read.error().count() == 7U);
    BOOST_TEST(reader.at_eof());
}

// rule 602
OURO_ASYNC_TEST(readexactly_after_the_end_tells_what_had_come) {
    stream_reader reader = ended("abc");
    const auto read = co_await as_result(reader.readexactly(7));
    BOOST_REQUIRE(failed_with(read, errc::incomplete_read));
    BOOST_TEST(read.error().partial() == "abc");
    BOOST_TEST(read.error().count() == 7U);
    BOOST_TEST(reader.at_eof());
    BOOST_TEST(co_await read_text(reader) == "");
}

// rule 603
OURO_ASYNC_TEST(readuntil_gives_all_up_to_the_separator_with_it_and_leaves_the_rest) {
    stream_reader reader;
    feed(reader, "one!two!");
    BOOST_TEST(co_await read_until(reader, "!") == "one!");
    BOOST_TEST(co_await read_until(reader, "!") == "two!");
    auto reading = spawn(read_until(reader, "!"));
    feed(reader, "three");
    co_await settle();
    BOOST_TEST(!reading.done());
    feed(reader, "!four");
    BOOST_TEST(co_await reading == "three!");
    BOOST_TEST(co_await read_text(reader, 10) == "four");
}

OURO_ASYNC_TEST(readuntil_looks_for_newlines_unless_told_otherwise) {
    stream_reader reader;
    feed(reader, "a\nb");
    BOOST_TEST((co_await reader.readuntil()) == "a\n");
}

// rule 604
OURO_ASYNC_TEST(a_separator_is_found_however_its_bytes_are_split_over_chunks) {
    const std::string text = "xxaabaabaacyy";  // prefixes of the separator repeat before it
    for (std::size_t first = 0; first <= text.size(); ++first) {
        for (std::size_t second = first; second <= text.size(); ++second) {
            stream_reader reader;
            auto reading = spawn(read_until(reader, "aabaac"));
            for (const auto& part :
                 {text.substr(0, first), text.substr(first, second - first), text.substr(second)}) {
                feed(reader, part);
                co_await yield();
            }
            BOOST_TEST(co_await reading == "xxaabaabaac");
            BOOST_TEST(co_await read_text(reader, 10) == "yy");
        }
    }
}

// rule 604
OURO_ASYNC_TEST(a_separator_that_comes_byte_by_byte_is_found) {
    stream_reader reader;
    auto reading = spawn(read_until(reader, "separator"));
    for (const char each : std::string_view("sesepaseparseparatoseparator!")) {
        feed(reader, {&each, 1});
        co_await yield();
    }
    BOOST_TEST(co_await reading == "sesepaseparseparatoseparator");
}

// rule 605
OURO_ASYNC_TEST(empty_separators_are_refused_and_take_nothing) {
    stream_reader reader;
    feed(reader, "data\n");
    const auto empty = co_await as_result(reader.readuntil(""));
    BOOST_TEST(failed_with(empty, errc::value_error));
    const auto none =
        co_await as_result(reader.readuntil(std::initializer_list<std::string_view>{}));
    BOOST_TEST(failed_with(none, errc::value_error));
    const auto one_of_them = co_await as_result(reader.readuntil({"x", ""}));
    BOOST_TEST(failed_with(one_of_them, errc::value_error));
    BOOST_TEST(co_await read_line(reader) == "data\n");
}

// rule 606
OURO_ASYNC_TEST(of_several_separators_the_match_that_ends_first_wins) {
    stream_reader reader;
    feed(reader, "some data part1 part2");
    BOOST_TEST(co_await read_until_either(reader, "data", "some data part") == "some data");
    BOOST_TEST(co_await read_until_either(reader, "part1 part", "t1") == " part1");
    BOOST_TEST(co_await read_text(reader, 50) == " part2");
    feed(reader, "abc;def,");
    BOOST_TEST(co_await read_until_either(reader, ",", ";") == "abc;");
    BOOST_TEST(co_await read_until_either(reader, ",", ";") == "def,");
}

// rule 607
OURO_ASYNC_TEST(a_long_separator_does_not_make_the_search_start_before_the_buffer) {
    stream_reader reader;
    auto reading = spawn(read_until_either(reader, "a long separator", "!"));
    for (const char* part : {"d", "a", "ta", "!", "rest"}) {
        feed(reader, part);
        co_await yield();
    }
    BOOST_TEST(co_await reading == "data!");
    BOOST_TEST(co_await read_text(reader, 9) == "rest");
}

// rule 608
OURO_ASYNC_TEST(readuntil_that_meets_the_end_tells_what_had_come_and_empties_the_buffer) {
    stream_reader reader = ended("some data");
    const auto read = co_await as_result(reader.readuntil("!"));
    BOOST_REQUIRE(failed_with(read, errc::incomplete_read));
    BOOST_TEST(read.error().partial() == "some data");
    BOOST_TEST(read.error().count() == 0U);
    BOOST_TEST(reader.at_eof());
    stream_reader waited_on;
    auto reading = spawn(read_until(waited_on, "!"));
    feed(waited_on, "later");
    co_await settle();
    waited_on.feed_eof();
    const auto late = co_await as_result(reading.join());
    BOOST_REQUIRE(failed_with(late, errc::incomplete_read));
    BOOST_TEST(late.error().partial() == "later");
}

// rule 608, fault 20
OURO_ASYNC_TEST(readuntil_meets_the_end_also_when_there_is_no_memory_to_tell_what_had_come) {
    stream_reader reader = ended("more than a short string holds");
    testing::allocation_faults::arm(1, true);
    const auto read = co_await as_result(reader.readuntil("!"));
    const bool struck = testing::allocation_faults::struck();
    testing::allocation_faults::disarm();
    BOOST_TEST(struck);
    BOOST_TEST(failed_with(read, errc::incomplete_read));
}

// rules 609, 616
OURO_ASYNC_TEST(a_complete_line_is_given_also_after_the_end_was_fed) {
    stream_reader reader = ended("some data\nhalf");
    BOOST_TEST(!reader.at_eof());
    BOOST_TEST((co_await reader.readuntil()) == "some data\n");
    BOOST_TEST(!reader.at_eof());
    BOOST_TEST(co_await read_line(reader) == "half");
    BOOST_TEST(reader.at_eof());
}

// rule 610
// fault 38
OURO_ASYNC_TEST(a_separator_that_starts_beyond_the_limit_is_refused_and_the_data_kept) {
    stream_reader reader(3);
    feed(reader, "some dataAAA");
    const auto read = co_await as_result(reader.readuntil("AAA"));
    BOOST_REQUIRE(failed_with(read, errc::limit_overrun));
    BOOST_TEST(read.error().count() == 9U);
    BOOST_TEST(co_await read_text(reader, 50) == "some dataAAA");
}

// rule 611
// fault 38
OURO_ASYNC_TEST(a_separator_that_does_not_come_within_the_limit_is_refused_and_the_data_kept) {
    stream_reader reader(3);
    feed(reader, "some dataAA");
    const auto read = co_await as_result(reader.readuntil("AAA"));
    BOOST_REQUIRE(failed_with(read, errc::limit_overrun));
    BOOST_TEST(read.error().count() == 11U + 1 - 3);
    feed(reader, "A");
    const auto found = co_await as_result(reader.readuntil("AAA"));
    BOOST_REQUIRE(failed_with(found, errc::limit_overrun));
    BOOST_TEST(found.error().count() == 9U);
    const auto of_two = co_await as_result(reader.readuntil({"no", "separator"}));
    BOOST_REQUIRE(failed_with(of_two, errc::limit_overrun));
    BOOST_TEST(of_two.error().count() == 12U + 1 - 9);
    BOOST_TEST(co_await read_text(reader, 50) == "some dataAAA");
}

// rules 610, 611
OURO_ASYNC_TEST(a_waiting_readuntil_is_refused_as_soon_as_the_limit_is_passed) {
    stream_reader reader(4);
    auto reading = spawn(read_until(reader, "!!"));
    feed(reader, "12345");  // four bytes searched: the separator may still start at the fifth
    co_await settle();
    BOOST_TEST(!reading.done());
    feed(reader, "6");
    const auto read = co_await as_result(reading.join());
    BOOST_REQUIRE(failed_with(read, errc::limit_overrun));
    BOOST_TEST(read.error().count() == 5U);
    BOOST_TEST(co_await read_exactly(reader, read.error().count()) == "12345");
}

// rule 612
OURO_ASYNC_TEST(a_line_of_exactly_the_limit_is_allowed_and_one_byte_more_is_not) {
    for (const std::size_t limit : {std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
        const std::string longest = std::string(limit, 'x') + "\n";
        stream_reader reader(limit);
        feed(reader, longest);
        BOOST_TEST(co_await read_line(reader) == longest);
        feed(reader, longest);
        BOOST_TEST(co_await read_until(reader, "\n") == longest);
        feed(reader, "x" + longest + "next\n");
        const auto refused = co_await as_result(reader.readuntil("\n"));
        BOOST_REQUIRE(failed_with(refused, errc::limit_overrun));
        BOOST_TEST(refused.error().count() == limit + 1);
    }
}

// rule 612
OURO_ASYNC_TEST(a_line_of_exactly_the_limit_is_allowed_when_its_newline_comes_later) {
    stream_reader reader(5);
    auto reading = spawn(read_line(reader));
    feed(reader, "12345");
    co_await settle();
    BOOST_TEST(!reading.done());
    feed(reader, "\n");
    BOOST_TEST(co_await reading == "12345\n");
}

// rule 613
OURO_ASYNC_TEST(readline_gives_the_rest_at_the_end_and_then_nothing) {
    stream_reader reader = ended("line\nrest");
    BOOST_TEST(co_await read_line(reader) == "line\n");
    BOOST_TEST(co_await read_line(reader) == "rest");
    BOOST_TEST(co_await read_line(reader) == "");
    stream_reader waited_on;
    auto reading = spawn(read_line(waited_on));
    feed(waited_on, "half");
    co_await settle();
    waited_on.feed_eof();
    BOOST_TEST(co_await reading == "half");
}

// rule 614
OURO_ASYNC_TEST(readline_skips_a_line_over_the_limit_and_goes_on_with_the_next) {
    stream_reader reader(3);
    feed(reader, "line1\nab\n");
    const auto read = co_await as_result(reader.readline());
    BOOST_REQUIRE(failed_with(read, errc::value_error));
    BOOST_TEST(co_await read_line(reader) == "ab\n");
}

// rule 614
OURO_ASYNC_TEST(readline_drops_everything_when_a_line_over_the_limit_has_no_end_yet) {
    stream_reader reader(3);
    auto reading = spawn(read_line(reader));
    feed(reader, "abcd");
    const auto read = co_await as_result(reading.join());
    BOOST_REQUIRE(failed_with(read, errc::value_error));
    feed(reader, "e\nf\n");
    BOOST_TEST(co_await read_line(reader) == "e\n");
    BOOST_TEST(co_await read_line(reader) == "f\n");
}

// rule 615
OURO_ASYNC_TEST(lines_one_after_the_other_end_with_an_empty_one) {
    stream_reader reader = ended("one\n\nthree\nfour");
    std::vector<std::string> lines;
    for (std::string line; !(line = co_await read_line(reader)).empty();) lines.push_back(line);
    const std::vector<std::string> expected{"one\n", "\n", "three\n", "four"};
    BOOST_TEST(lines == expected, boost::test_tools::per_element());
}

// rule 616
OURO_ASYNC_TEST(at_eof_needs_the_end_and_an_empty_buffer) {
    stream_reader reader;
    BOOST_TEST(!reader.at_eof());
    feed(reader, "some data\n");
    BOOST_TEST(!reader.at_eof());
    (void)co_await reader.readline();
    BOOST_TEST(!reader.at_eof());
    feed(reader, "rest");
    reader.feed_eof();
    BOOST_TEST(!reader.at_eof());
    (void)co_await reader.read();
    BOOST_TEST(reader.at_eof());
}

// rule 617
OURO_ASYNC_TEST(a_stored_error_fails_every_read_even_of_data_that_is_there) {
    stream_reader reader;
    feed(reader, "line\n");
    BOOST_TEST(!reader.exception());
    reader.set_exception(error(std::errc::connection_reset, "receive"));
    BOOST_TEST((reader.exception() == std::errc::connection_reset));
    const auto is_it = [](const auto& read) {
        return !read && read.error() == std::errc::connection_reset;
    };
    for (int i = 0; i < 2; ++i) {
        BOOST_TEST(is_it(co_await as_result(reader.read(0))));
        BOOST_TEST(is_it(co_await as_result(reader.read(2))));
        BOOST_TEST(is_it(co_await as_result(reader.read())));
        BOOST_TEST(is_it(co_await as_result(reader.read_some())));
        BOOST_TEST(is_it(co_await as_result(reader.readexactly(0))));
        BOOST_TEST(is_it(co_await as_result(reader.readexactly(2))));
        BOOST_TEST(is_it(co_await as_result(reader.readuntil("i"))));
        BOOST_TEST(is_it(co_await as_result(reader.readline())));
    }
}

// rule 618
OURO_ASYNC_TEST(storing_an_error_wakes_the_waiting_reader_with_it) {
    stream_reader reader;
    auto reading = spawn(read_line(reader));
    co_await settle();
    reader.set_exception(error(std::errc::timed_out, "keep alive"));
    const auto read = co_await as_result(reading.join());
    BOOST_REQUIRE(!read);
    BOOST_TEST(failed_with(read, std::errc::timed_out));
    BOOST_TEST(read.error().doing() == "keep alive");
}

// rule 618
OURO_ASYNC_TEST(storing_an_error_is_harmless_when_the_waiting_reader_was_just_cancelled) {
    stream_reader reader;
    auto reading = spawn(read_line(reader));
    co_await settle();
    reading.cancel();
    reader.set_exception(error(std::errc::timed_out));
    const auto read = co_await as_result(reading.join());
    BOOST_TEST(failed_with(read, errc::cancelled));
}

// rule 619
// fault 62
OURO_ASYNC_TEST(a_second_read_fails_while_another_one_waits_and_leaves_it_alone) {
    stream_reader reader;
    auto first = spawn(read_exactly(reader, 4));
    co_await settle();
    feed(reader, "ab");
    const auto some = co_await as_result(reader.read(1));
    BOOST_TEST(failed_with(some, errc::already_waiting));
    const auto line = co_await as_result(reader.readline());
    BOOST_TEST(failed_with(line, errc::already_waiting));
    const auto nothing = co_await as_result(reader.readexactly(1));
    BOOST_TEST(failed_with(nothing, errc::already_waiting));
    feed(reader, "cd");
    BOOST_TEST(co_await first == "abcd");
    feed(reader, "ef");
    BOOST_TEST(co_await read_text(reader, 2) == "ef");
}

OURO_ASYNC_TEST(data_that_is_there_is_given_without_a_turn_of_the_loop) {
    stream_reader reader;
    feed(reader, "abline\nuntil!rest");
    reader.feed_eof();
    const auto turns = loop::current().statistics().turns;
    (void)co_await reader.readexactly(2);
    (void)co_await reader.readline();
    (void)co_await reader.readuntil("!");
    (void)co_await reader.read();
    BOOST_TEST(loop::current().statistics().turns == turns);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
