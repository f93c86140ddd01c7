// The logging transport: what it tells, and that it changes nothing.
#include <ouro/proto/logging_transport.hpp>

#include <stdexcept>

#include <ouro/proto/memory_pipe.hpp>

#include "conforming.hpp"

namespace ouro::test {
namespace {

using lines = std::shared_ptr<std::vector<std::string>>;

std::shared_ptr<logging_transport> logging_to(const lines& into, logging_options options = {}) {
    return std::make_shared<logging_transport>(
        [into](std::string_view line) { into->emplace_back(line); }, std::move(options));
}

task<testing::transport_pair> connect_logged(protocol_factory left, protocol_factory right) {
    return connect_wrapped(std::make_shared<logging_transport>([](std::string_view) {}),
                           std::move(left), std::move(right));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(logging_transports)

BOOST_AUTO_TEST_CASE(text_is_escaped_for_one_line) {
    using namespace std::string_view_literals;
    BOOST_TEST(escaped(as_bytes("plain text")) == "plain text");
    BOOST_TEST(escaped(as_bytes("a\r\n\t\\\"\0\x7f\xff"sv)) == R"(a\r\n\t\\\"\x00\x7f\xff)");
    BOOST_TEST(escaped(as_bytes("12345"), 3) == "123...");
    BOOST_TEST(escaped(as_bytes("123"), 3) == "123");
    BOOST_TEST(escaped({}).empty());
}

OURO_ASYNC_TEST(logging_transports_conform) {
    expect_conforming(co_await testing::check_stream_transport(connect_logged));
}

OURO_ASYNC_TEST(a_log_is_told_of_calls_and_callbacks_in_order) {
    for (const kind of : {kind::streaming, kind::buffered}) {
        const auto told = std::make_shared<std::vector<std::string>>();
        const auto logged = logging_to(told, {.name = "one", .most_bytes = 5});
        const auto seen = make_recorder(of), far = make_recorder(kind::streaming);
        auto [one, other] = memory_pipe(loop::current());
        co_await create_connection([&] { return logged->wrap(seen->as_protocol()); }, one);
        auto peer = co_await create_connection(factory_of(far), other);
        BOOST_CHECK(seen->link == logged);
        const bytes pieces[] = {as_bytes("a"), as_bytes("bc")};
        logged->write("hello\n");
        logged->writelines(pieces);
        logged->pause_reading();
        logged->resume_reading();
        logged->set_write_buffer_limits(10, 5);
        peer.transport->write("hi\n");
        co_await eventually([&] { return seen->data == "hi\n"; });
        peer.transport->close();
        co_await eventually([&] { return seen->lost(); });
        const std::vector<std::string> expected = {"one < made",
                                                   "one > write 6 \"hello...\"",
                                                   "one > writelines 2: 1 \"a\" 2 \"bc\"",
                                                   "one > pause_reading",
                                                   "one > resume_reading",
                                                   "one > limits 10 5",
                                                   "one < data 3 \"hi\\n\"",
                                                   "one < eof",
                                                   "one < lost"};
        BOOST_TEST(*told == expected, boost::test_tools::per_element());
        BOOST_TEST(far->data == "hello\nabc");
    }
}

OURO_ASYNC_TEST(a_log_is_told_of_pauses_and_errors) {
    const auto told = std::make_shared<std::vector<std::string>>();
    const auto logged = logging_to(told, {.name = {}, .most_bytes = 0});
    const auto seen = make_recorder(kind::streaming);
    auto [one, other] = memory_pipe(loop::current(), {.capacity_bytes = 10});
    co_await create_connection([&] { return logged->wrap(seen->as_protocol()); }, one);
    logged->set_write_buffer_limits(0, -1);
    logged->write(std::string(20, 'x'));
    other.reset();
    co_await eventually([&] { return seen->lost(); });
    const std::vector<std::string> expected = {"< made", "> limits 0 -1", "> write 20 \"...\"",
                                               "< pause_writing"};
    BOOST_REQUIRE_GE(told->size(), 5U);
    BOOST_TEST(std::vector(told->begin(), told->begin() + 4) == expected,
               boost::test_tools::per_element());
    BOOST_TEST(last_of(*told).starts_with("< lost: send"));
}

OURO_ASYNC_TEST(a_log_that_throws_is_reported_and_harms_nobody) {
    const auto logged = std::make_shared<logging_transport>(
        [](std::string_view) { throw std::runtime_error("disk full"); });
    const auto seen = make_recorder(kind::streaming);
    auto [one, other] = memory_pipe(loop::current());
    co_await create_connection([&] { return logged->wrap(seen->as_protocol()); }, one);
    BOOST_TEST(take_reports().size() == 1U);
    logged->write("goes out all the same");
    BOOST_TEST(take_reports().size() == 1U);
    BOOST_TEST(!logged->is_closing());
    one->abort();
    co_await eventually([&] { return seen->lost(); });
    BOOST_TEST(take_reports().size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
