// Pipe transports on what only the real kernel has: fifos, terminals, devices, files.
#include <ouro/proto/pipe.hpp>

#include <fcntl.h>
#include <pty.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "async_test.hpp"
#include "recorder.hpp"

namespace ouro::test {
namespace {

/// A terminal without echo or line editing: who it belongs to, and who uses it.
struct terminal {
    int master = -1;
    int slave = -1;
    terminal() {
        termios raw{};
        ::cfmakeraw(&raw);
        BOOST_REQUIRE(::openpty(&master, &slave, nullptr, &raw, nullptr) == 0);
    }
};

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

/// A fifo without a name any more, both ends of it.
std::pair<int, int> open_fifo(int flags) {
    char folder[] = "/tmp/ouro-test-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(folder) != nullptr);
    const std::string path = std::string(folder) + "/fifo";
    BOOST_REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    const int reader = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const int writer = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags);
    BOOST_REQUIRE(reader >= 0);
    BOOST_REQUIRE(writer >= 0);
    if (!(flags & O_NONBLOCK)) ::fcntl(reader, F_SETFL, 0);
    ::unlink(path.c_str());
    ::rmdir(folder);
    return {reader, writer};
}

task<std::shared_ptr<recorder>> reading_from(int fd, kind of = kind::streaming) {
    auto seen = make_recorder(of);
    co_await connect_read_pipe(factory_of(seen), fd);
    co_return seen;
}
task<std::shared_ptr<recorder>> writing_to(int fd) {
    auto seen = make_recorder(kind::streaming);
    co_await connect_write_pipe(factory_of(seen), fd);
    co_return seen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pipe_files)

// rule 478
OURO_KERNEL_TEST(files_are_refused_and_stay_open, "is about files") {
    const int file = ::memfd_create("pipe", MFD_CLOEXEC);
    const int folder = ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const int fd : {file, folder}) {
        const auto read = co_await as_result(reading_from(fd));
        const auto write = co_await as_result(writing_to(fd));
        BOOST_REQUIRE(!read);
        BOOST_REQUIRE(!write);
        BOOST_CHECK(read.error() == errc::value_error);
        BOOST_CHECK(write.error() == errc::value_error);
        BOOST_TEST(is_open(fd));
        ::close(fd);
    }
    const auto none = co_await as_result(reading_from(-1));
    BOOST_REQUIRE(!none);
    BOOST_CHECK(none.error() == std::errc::bad_file_descriptor);
    BOOST_TEST(none.error().doing() == "connect a pipe");
}

// rules 478, 479
OURO_KERNEL_TEST(fifos_work_whether_they_block_or_not, "is about fifos") {
    for (const kind receiver : {kind::streaming, kind::buffered}) {
        for (const int flags : {0, O_NONBLOCK}) {
            const auto [reader, writer] = open_fifo(flags);
            auto reads = co_await reading_from(reader, receiver);
            auto writes = co_await writing_to(writer);
            BOOST_TEST((::fcntl(writer, F_GETFL) & O_NONBLOCK) == flags);  // left as it was
            co_await settle();
            const std::string text = pattern(500'000);
            writes->link->write(text);
            writes->link->close();
            co_await eventually([reads] { return reads->lost(); });
            BOOST_TEST((reads->data == text));
            BOOST_TEST(!reads->why);
            BOOST_TEST(!is_open(reader));
            co_await eventually([writes] { return writes->lost(); });
            BOOST_TEST(!is_open(writer));
        }
    }
}

// rule 494
OURO_KERNEL_TEST(terminals_work_in_both_directions, "is about terminals") {
    for (const int flags : {0, O_NONBLOCK}) {
        const terminal pty;
        for (const int fd : {pty.master, pty.slave}) ::fcntl(fd, F_SETFL, flags);
        auto master_in = co_await reading_from(::dup(pty.master));
        auto master_out = co_await writing_to(pty.master);
        auto slave_in = co_await reading_from(::dup(pty.slave), kind::buffered);
        auto slave_out = co_await writing_to(pty.slave);
        const std::string text = pattern(100'000);
        master_out->link->write(text);
        slave_out->link->write(text);
        co_await eventually([=] {
            return master_in->data.size() == text.size() && slave_in->data.size() == text.size();
        });
        BOOST_TEST((master_in->data == text));
        BOOST_TEST((slave_in->data == text));
        for (const auto& each : {master_out, slave_in, slave_out}) each->link->abort();
        // rule 483
        co_await eventually([=] { return master_in->lost(); });
        BOOST_TEST(!master_in->why);
        co_await eventually(
            [=] { return master_out->lost() && slave_in->lost() && slave_out->lost(); });
    }
}

// rule 736
OURO_KERNEL_TEST(terminals_that_wait_hold_no_shared_buffers, "is about terminals") {
    std::vector<std::shared_ptr<recorder>> idle;
    std::vector<int> masters;
    for (int i = 0; i < 24; ++i) {  // more than there are buffers
        const terminal pty;
        masters.push_back(pty.master);
        idle.push_back(co_await reading_from(pty.slave));
    }
    for (const int master : masters) BOOST_TEST(::write(master, "once", 4) == 4);
    co_await eventually([idle] {
        return std::ranges::all_of(idle, [](const auto& each) { return each->data == "once"; });
    });
    // They wait again now.
    const std::uint64_t before = loop::current().statistics().ring_exhausted;
    auto on = co_await connect_recorder({kind::streaming, medium::unix_stream});
    co_await on.kept_peer->send_all(as_bytes("hello"));
    co_await eventually([seen = on.seen] { return seen->data == "hello"; });
    BOOST_TEST(loop::current().statistics().ring_exhausted == before);
    for (const auto& each : idle) each->link->abort();
    co_await eventually([idle] {
        return std::ranges::all_of(idle, [](const auto& each) { return each->lost(); });
    });
    for (const int master : masters) ::close(master);
}

// The read of such a terminal fails, and has taken a shared buffer all the same.
// fault 4
OURO_KERNEL_TEST(terminals_whose_other_side_has_gone_leave_no_shared_buffer_behind,
                 "is about terminals") {
    for (int i = 0; i < 24; ++i) {  // more than there are buffers
        const terminal pty;
        auto seen = co_await reading_from(pty.master);
        ::close(pty.slave);
        co_await eventually([seen] { return seen->lost(); });
        BOOST_TEST(seen->data.empty());
    }
    auto on = co_await connect_recorder({kind::streaming, medium::unix_stream});
    co_await on.kept_peer->send_all(as_bytes("hello"));
    co_await eventually([seen = on.seen] { return seen->data == "hello"; });
    BOOST_TEST(loop::current().statistics().ring_exhausted == 0U);
}

OURO_KERNEL_TEST(a_terminal_that_nobody_reads_holds_up_its_writer_and_not_the_loop,
                 "is about terminals") {
    const terminal pty;
    auto writes = co_await writing_to(pty.slave);
    writes->link->write(pattern(1'000'000));
    for (int i = 0; i < 20; ++i) co_await sleep(std::chrono::milliseconds(1));
    BOOST_TEST(writes->pauses == 1);
    BOOST_TEST(writes->link->get_write_buffer_size() > 0U);
    writes->link->abort();
    co_await eventually([writes] { return writes->lost(); });
    BOOST_TEST(!writes->why);
    ::close(pty.master);
}

// rule 478
OURO_KERNEL_TEST(devices_that_cannot_be_waited_for_are_read_and_written, "is about devices") {
    auto nothing = co_await reading_from(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    co_await eventually([nothing] { return nothing->lost(); });
    BOOST_TEST(nothing->story() == "made eof lost");
    for (const kind receiver : {kind::streaming, kind::buffered}) {
        auto zeros = make_recorder(receiver);
        auto made = co_await connect_read_pipe(factory_of(zeros),
                                               ::open("/dev/zero", O_RDONLY | O_CLOEXEC));
        co_await eventually([zeros] { return zeros->data.size() > 1'000'000; });
        made.transport->close();
        co_await eventually([zeros] { return zeros->lost(); });
        BOOST_TEST(zeros->data.find_first_not_of('\0') == std::string::npos);
    }
    auto sink = co_await writing_to(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    sink->link->write(pattern(300'000));
    sink->link->close();
    co_await eventually([sink] { return sink->lost(); });
    BOOST_TEST(!sink->why);
    // rules 490, 491
    auto full = co_await writing_to(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    full->link->write("no room");
    co_await eventually([full] { return full->lost(); });
    BOOST_CHECK(full->why == std::errc::no_space_on_device);
    BOOST_TEST(full->link->get_write_buffer_size() == 0U);
}

// rule 482
OURO_KERNEL_TEST(a_read_error_loses_the_pipe_without_an_end_of_stream,
                 "needs a descriptor that cannot be read") {
    for (const kind receiver : {kind::streaming, kind::buffered}) {
        auto ends = co_await pipe(loop::current());
        auto seen = make_recorder(receiver);
        co_await connect_read_pipe(factory_of(seen), std::move(ends.writer));
        co_await eventually([seen] { return seen->lost(); });
        BOOST_TEST(seen->story() == "made lost");
        BOOST_CHECK(seen->why == std::errc::bad_file_descriptor);
    }
}

// rule 479
OURO_KERNEL_TEST(the_flags_of_a_pipe_are_left_alone, "is about file status flags") {
    auto ends = co_await pipe(loop::current());
    const int fd = ends.reader.fd();
    const int before = ::fcntl(fd, F_GETFL);
    auto seen = co_await reading_from(ends.reader.release());
    BOOST_TEST(::fcntl(fd, F_GETFL) == before);
    ends.writer.close();
    co_await eventually([seen] { return seen->lost(); });
    BOOST_TEST(!is_open(fd));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
