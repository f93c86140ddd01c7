// Honesty: pipes, and what is no socket.
#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

struct pipe_fds {
    int reader = -1;
    int writer = -1;
};

pipe_fds open_pipe(loop& home) {
    int fds[2] = {-1, -1};
    BOOST_TEST(io::make_pipe(home, fds).has_value());
    io::ignore_broken_pipes(home);
    return {fds[0], fds[1]};
}

task<int> write_once(loop& home, int fd, std::string_view text) {
    running write;
    io::write(home, write, fd, as_bytes(text));
    co_return co_await write.end();
}

task<std::string> read_once(loop& home, int fd, std::size_t size = 64) {
    running read;
    read.room.assign(size, '\0');
    io::read(home, read, fd, std::as_writable_bytes(std::span(read.room)));
    co_return co_await received(read);
}

int write_at_once(loop& home, int fd, std::string_view text) {
    const auto taken = io::try_write(home, fd, as_bytes(text));
    return taken ? static_cast<int>(*taken) : outcome_of(result<>(taken.error()));
}

/// Writes until nothing more is taken.
std::int64_t fill_pipe(loop& home, int fd) {
    const std::string block(4096, 'x');
    std::int64_t all = 0;
    for (int taken; (taken = write_at_once(home, fd, block)) > 0;) all += taken;
    return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_pipes)

HONESTY(a_pipe_carries_bytes_and_ends) {
    const pipe_fds ends = open_pipe(home);
    notes.say("descriptors", static_cast<int>(home.counters().descriptors));
    notes.say("write", co_await write_once(home, ends.writer, "hello"));
    notes.say("more", write_at_once(home, ends.writer, " you"));
    notes.say("read", co_await read_once(home, ends.reader));
    running read;
    read.room.assign(8, '\0');
    io::read(home, read, ends.reader, std::as_writable_bytes(std::span(read.room)));
    co_await quiet();
    notes.say("waits", !read.ended());
    notes.say("write", co_await write_once(home, ends.writer, "late"));
    notes.say("read", co_await received(read));
    notes.say("last", write_at_once(home, ends.writer, "last"));
    io::close(home, ends.writer);
    notes.say("left behind", co_await read_once(home, ends.reader));
    notes.say("at the end", co_await read_once(home, ends.reader));
    io::close(home, ends.reader);
}

// fault 23
HONESTY(a_pipe_without_reader_breaks) {
    const pipe_fds ends = open_pipe(home);
    running watch;
    io::poll(home, watch, ends.writer, 0);
    co_await quiet();
    notes.say("nothing yet", !watch.ended());
    io::close(home, ends.reader);
    notes.say("watched", poll_events(co_await watch.end()));
    notes.say("write", co_await write_once(home, ends.writer, "lost"));
    notes.say("at once", write_at_once(home, ends.writer, "lost"));
    notes.say("events", co_await events_now(home, ends.writer, POLLOUT));
    io::close(home, ends.writer);
}

HONESTY(a_full_pipe_makes_writes_wait) {
    const pipe_fds ends = open_pipe(home);
    notes.say("events of an empty one", co_await events_now(home, ends.writer, POLLOUT));
    const std::int64_t capacity = fill_pipe(home, ends.writer);
    notes.say("capacity", between(4096, capacity, 1 << 20));
    notes.say("events of a full one", co_await events_now(home, ends.writer, POLLOUT));
    notes.say("no room", write_at_once(home, ends.writer, "more"));
    running write;
    io::write(home, write, ends.writer, as_bytes("waiting"));
    co_await quiet();
    notes.say("waits", !write.ended());
    std::int64_t taken = 0;
    running read;
    std::vector<std::byte> room(4096);
    while (taken < capacity) {
        read.forget();
        io::read(home, read, ends.reader, room);
        const int got = co_await read.end();
        if (got <= 0) break;
        taken += got;
    }
    notes.say("all read", taken == capacity);
    notes.say("written", co_await write.end());
    notes.say("read", co_await read_once(home, ends.reader));
    write.forget();
    const std::string large(1 << 20, 'y');
    io::write(home, write, ends.writer, as_bytes(large));
    notes.say("a large write is short", between(1, co_await write.end(), (1 << 20) - 1));
    io::close(home, ends.reader);
    io::close(home, ends.writer);
}

HONESTY(a_write_that_waits_meets_the_loss_of_the_reader) {
    const pipe_fds ends = open_pipe(home);
    fill_pipe(home, ends.writer);
    running write, cancelled;
    io::write(home, cancelled, ends.writer, as_bytes("waiting"));
    co_await quiet();
    io::cancel(home, cancelled);
    notes.say("cancelled", co_await cancelled.end());
    io::write(home, write, ends.writer, as_bytes("waiting"));
    co_await quiet();
    io::close(home, ends.reader);
    notes.say("written", co_await write.end());
    io::close(home, ends.writer);
}

HONESTY(ring_reads_bring_all_and_then_the_end) {
    const pipe_fds ends = open_pipe(home);
    running read;
    std::string all;
    std::string text = pattern(10'000);
    io::read_ring(home, read, ends.reader);
    co_await quiet();
    notes.say("waits", !read.ended());
    notes.say("written", write_at_once(home, ends.writer, text));
    co_await quiet();
    io::close(home, ends.writer);
    for (;;) {  // an engine may end it after each piece
        const int last = co_await read.end();
        all += read.received;
        if (last <= 0) {
            notes.say("ended", last);
            break;
        }
        read.forget();
        io::read_ring(home, read, ends.reader);
    }
    notes.say("received", all == text);
    notes.say("lent", static_cast<int>(home.counters().lent_buffers));
    io::close(home, ends.reader);
}

HONESTY(a_ring_read_is_cancelled_and_leaves_later_bytes) {
    const pipe_fds ends = open_pipe(home);
    running read;
    io::read_ring(home, read, ends.reader);
    co_await quiet();
    io::cancel(home, read);
    notes.say("ended", co_await read.end());
    write_at_once(home, ends.writer, "later");
    notes.say("read", co_await read_once(home, ends.reader));
    io::close(home, ends.writer);
    notes.say("events", co_await events_now(home, ends.reader, POLLIN));
    io::close(home, ends.reader);
}

HONESTY(the_ends_of_a_pipe_go_one_way_and_are_no_sockets) {
    const pipe_fds ends = open_pipe(home);
    notes.say("read from the writer", co_await read_once(home, ends.writer));
    notes.say("write to the reader", co_await write_once(home, ends.reader, "x"));
    running wrong;
    io::read_ring(home, wrong, ends.writer);
    notes.say("ring read from the writer", co_await wrong.end());
    notes.say("receive", co_await recv_once(home, ends.reader));
    notes.say("send", co_await send_once(home, ends.writer, "x"));
    notes.say("send at once", send_at_once(home, ends.writer, "x"));
    notes.say("a name", outcome_of(io::get_option(home, ends.reader, SOL_SOCKET, SO_TYPE)));
    notes.say("kind", io::kind_of(home, ends.reader).value() == io::file_kind::pipe);
    const connected pair = co_await connect_pair(home, stream_kind::local);
    notes.say("kind of a socket", io::kind_of(home, pair.ours).value() == io::file_kind::socket);
    notes.say("write to a socket", co_await write_once(home, pair.ours, "written"));
    running read;
    io::read_ring(home, read, pair.theirs);
    co_await quiet();
    io::cancel(home, read);
    co_await read.end();
    notes.say("ring read from a socket", quoted(read.received));
    close_both(home, pair);
    io::close(home, ends.reader);
    io::close(home, ends.writer);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
