#include <ouro/net/pipe.hpp>

#include <fcntl.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "async_test.hpp"
#include "at_once.hpp"

namespace ouro::test {
namespace {

task<std::string> read_all(std::shared_ptr<pipe_end> from) {
    std::string all;
    std::vector<std::byte> room(4096);
    while (const std::size_t got = co_await from->read_into(room)) {
        all += as_text(bytes(room).first(got));
    }
    co_return all;
}

task<std::string> read_some(std::shared_ptr<pipe_end> from) {
    std::vector<std::byte> room(64);
    const std::size_t got = co_await from->read_into(room);
    co_return std::string(as_text(bytes(room).first(got)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pipes_you_await)

OURO_ASYNC_TEST(what_is_written_is_read_to_the_end) {
    auto [reader, writer] = co_await pipe(loop::current());
    const std::string text = pattern(300'000);
    auto reading = spawn(read_all(std::make_shared<pipe_end>(std::move(reader))));
    co_await writer.write_all(as_bytes(text));
    writer.close();
    BOOST_TEST((co_await reading == text));
}

OURO_ASYNC_TEST(both_ends_are_pipes_and_counted) {
    loop& home = loop::current();
    const auto before = home.counters().descriptors;
    auto ends = co_await pipe(home);
    BOOST_TEST(home.counters().descriptors == before + 2);
    BOOST_CHECK(ends.reader.kind() == io::file_kind::pipe);
    BOOST_CHECK(ends.writer.kind() == io::file_kind::pipe);
    BOOST_TEST(ends.reader.fd() != ends.writer.fd());
    ends.reader.close();
    BOOST_TEST(!ends.reader);
    BOOST_TEST(ends.reader.fd() == -1);
    BOOST_TEST(home.counters().descriptors == before + 1);
    const int fd = ends.writer.release();
    BOOST_TEST(home.counters().descriptors == before);
    ends.writer = pipe_end::adopt(home, fd);
    BOOST_TEST(ends.writer.fd() == fd);
}

OURO_KERNEL_TEST(a_half_closed_peer_of_a_full_socket_does_not_make_a_write_spin,
                 "asks fcntl(2) for O_NONBLOCK, which makes writes poll first") {
    loop& home = loop::current();
    auto [near, far] = co_await socket::pair(home);
    fill_now(near);
    end_now(far);
    const int fd = near.release();
    BOOST_REQUIRE(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    auto writer = pipe_end::adopt(home, fd);
    auto writing = spawn([](pipe_end& to) -> task<std::size_t> {
        co_return co_await to.write(as_bytes("x"));
    }(writer));
    const auto before = home.statistics().turns;
    co_await sleep(std::chrono::milliseconds(30));
    BOOST_TEST(home.statistics().turns - before < 200U);
    BOOST_TEST(!writing.done());
    co_await drain(far);
    BOOST_TEST(co_await writing == 1U);
}

// fault 23
OURO_ASYNC_TEST(a_write_without_reader_is_an_error_and_no_signal) {
    auto [reader, writer] = co_await pipe(loop::current());
    reader.close();
    const auto outcome = co_await as_result(writer.write(as_bytes("nobody")));
    BOOST_REQUIRE(!outcome);
    BOOST_CHECK(outcome.error() == std::errc::broken_pipe);
    BOOST_TEST(outcome.error().message().find("write") != std::string::npos);
}

OURO_ASYNC_TEST(closing_an_end_cancels_the_read_that_waits_on_it) {
    auto ends = co_await pipe(loop::current());
    const auto reader = std::make_shared<pipe_end>(std::move(ends.reader));
    auto reading = spawn(read_some(reader));
    co_await settle();
    reader->close();
    const auto outcome = co_await as_result(reading.join());
    BOOST_REQUIRE(!outcome);
    BOOST_CHECK(outcome.error() == errc::cancelled);
}

OURO_ASYNC_TEST(a_cancelled_read_takes_nothing) {
    auto ends = co_await pipe(loop::current());
    const auto reader = std::make_shared<pipe_end>(std::move(ends.reader));
    auto reading = spawn(read_some(reader));
    co_await settle();
    reading.cancel();
    BOOST_CHECK((co_await as_result(reading.join())).error() == errc::cancelled);
    co_await ends.writer.write_all(as_bytes("later"));
    BOOST_TEST(co_await read_some(reader) == "later");
}

OURO_KERNEL_TEST(the_action_of_sigpipe_is_left_alone_when_the_program_has_one,
                 "is about the actions of a process") {
    struct sigaction before{};
    struct sigaction mine{};
    mine.sa_handler = [](int) {};
    BOOST_REQUIRE(::sigaction(SIGPIPE, &mine, &before) == 0);
    {
        auto ends = co_await pipe(loop::current());
    }
    struct sigaction now{};
    ::sigaction(SIGPIPE, &before, &now);
    BOOST_CHECK(now.sa_handler == mine.sa_handler);
    mine.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &mine, nullptr);
    {
        auto ends = co_await pipe(loop::current());
    }
    ::sigaction(SIGPIPE, &before, &now);
    BOOST_CHECK(now.sa_handler == SIG_IGN);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
