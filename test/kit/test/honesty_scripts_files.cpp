// Honesty: bytes of files and sockets that are carried to a socket, or read at an offset.
#include <unistd.h>

#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"
#include "temporary_file.hpp"

namespace ouro::test {
namespace {

int fetched(const result<std::size_t>& outcome) {
    return outcome ? static_cast<int>(*outcome) : -outcome.error().code().value();
}

task<int> fetch(loop& home, const io::carrier& into, int file, std::uint64_t offset,
                std::size_t count) {
    running by;
    io::fetch(home, by, into, file, offset, count);
    co_return co_await by.end();
}

std::string taken(loop& home, const io::carrier& from) {
    std::string text(64, '\0');
    const auto got = io::take(home, from, std::as_writable_bytes(std::span(text)));
    return got ? quoted(std::string_view(text).substr(0, *got)) : got.error().message();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_files)

HONESTY_OF_STREAMS(a_carrier_takes_file_bytes_to_a_socket) {
    const connected pair = co_await connect_pair(home, kind);
    const temporary_file file("0123456789");
    auto pipe = io::open_carrier(home).value();
    notes.say("fetched", co_await fetch(home, pipe, file.fd(), 2, 5));
    notes.say("position of the file", static_cast<int>(file.position()));
    notes.say("forwarded", fetched(io::try_forward(home, pipe, pair.ours, 3)));
    notes.say("the rest", taken(home, pipe));
    notes.say("fetched near the end", co_await fetch(home, pipe, file.fd(), 8, 100));
    notes.say("forwarded", fetched(io::try_forward(home, pipe, pair.ours, 100)));
    notes.say("fetched at the end", co_await fetch(home, pipe, file.fd(), 10, 100));
    notes.say("fetched behind the end", co_await fetch(home, pipe, file.fd(), 1000, 100));
    io::close_carrier(home, pipe);
    io::close(home, pair.ours);
    notes.say("received", quoted(co_await recv_all(home, pair.theirs)));
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(a_full_socket_takes_nothing_from_a_carrier) {
    const connected pair = co_await connect_pair(home, kind);
    const temporary_file file(pattern(100'000));
    auto pipe = io::open_carrier(home).value();
    const std::int64_t before = co_await fill(home, pair.ours);
    const int first = co_await fetch(home, pipe, file.fd(), 0, 50'000);
    notes.say("fetched", first);
    // A unix socket counts pages of a pipe otherwise than bytes that are copied.
    for (;;) {
        const auto more = io::try_forward(home, pipe, pair.ours, 50'000);
        if (more) continue;
        notes.say("on a full socket", fetched(more));
        break;
    }
    auto reading = spawn(recv_all(home, pair.theirs));
    co_await quiet();
    io::close_carrier(home, pipe);
    io::close(home, pair.ours);
    notes.say("what was there arrives",
              static_cast<std::int64_t>((co_await reading).size()) >= before);
    io::close(home, pair.theirs);
}

HONESTY_OF_STREAMS(a_carrier_breaks_at_a_peer_that_is_gone) {
    const connected pair = co_await connect_pair(home, kind);
    const temporary_file file("0123456789");
    auto pipe = io::open_carrier(home).value();
    notes.say("fetched", co_await fetch(home, pipe, file.fd(), 0, 10));
    io::close(home, pair.theirs);
    co_await quiet();
    (void)io::try_forward(home, pipe, pair.ours, 1);  // TCP meets the reset by it
    co_await quiet();
    const auto broken = io::try_forward(home, pipe, pair.ours, 9);
    notes.say("to a peer that is gone", !broken);
    io::close_carrier(home, pipe);
    io::close(home, pair.ours);
}

HONESTY_OF_STREAMS(a_carrier_takes_bytes_of_a_socket_to_another) {
    const connected pair = co_await connect_pair(home, kind);
    const connected next = co_await connect_pair(home, kind);
    auto pipe = io::open_carrier(home).value();
    notes.say("of an empty socket", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    (void)co_await send_once(home, pair.theirs, "0123456789");
    co_await quiet();
    notes.say("fetched", fetched(io::try_fetch(home, pipe, pair.ours, 4)));
    notes.say("forwarded", fetched(io::try_forward(home, pipe, next.ours, 3)));
    notes.say("the rest", taken(home, pipe));
    notes.say("fetched", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    notes.say("forwarded", fetched(io::try_forward(home, pipe, next.ours, 100)));
    notes.say("of an empty socket", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    co_await quiet();
    // Operations wait for the sockets as before.
    notes.say("received", co_await recv_once(home, next.theirs));
    running later;
    start_recv(home, later, pair.ours, 10);
    co_await quiet();
    notes.say("a receive waits", !later.ended());
    (void)co_await send_once(home, pair.theirs, "last");
    notes.say("then gets", co_await received(later));
    io::close(home, pair.theirs);
    co_await quiet();
    notes.say("at the end", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    notes.say("at the end again", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    io::close_carrier(home, pipe);
    io::close(home, pair.ours);
    close_both(home, next);
}

HONESTY_OF_STREAMS(a_carrier_holds_what_it_was_made_for) {
    const connected pair = co_await connect_pair(home, kind);
    auto pipe = io::open_carrier(home, 5000).value();
    notes.say("capacity", static_cast<int>(pipe.capacity));
    (void)co_await fill(home, pair.theirs);
    notes.say("fetched", between(1, fetched(io::try_fetch(home, pipe, pair.ours, 1'000'000)),
                                 static_cast<std::int64_t>(pipe.capacity)));
    io::close_carrier(home, pipe);
    auto huge = io::open_carrier(home, std::size_t{1} << 40).value();
    notes.say("of a tebibyte", static_cast<int>(huge.capacity));
    io::close_carrier(home, huge);
    close_both(home, pair);
}

HONESTY(a_carrier_meets_the_reset_of_a_socket) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    auto pipe = io::open_carrier(home).value();
    reset_at_once(home, pair.theirs);
    co_await quiet();
    notes.say("of a socket that was reset", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    notes.say("again", fetched(io::try_fetch(home, pipe, pair.ours, 100)));
    io::close_carrier(home, pipe);
    io::close(home, pair.ours);
}

HONESTY(what_cannot_be_carried_is_refused) {
    auto pipe = io::open_carrier(home).value();
    notes.say("no descriptor", co_await fetch(home, pipe, 987'654, 0, 10));
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    notes.say("from a pipe", co_await fetch(home, pipe, ends[0], 0, 10));
    ::close(ends[0]);
    ::close(ends[1]);
    notes.say("of no descriptor", fetched(io::try_fetch(home, pipe, 987'654, 10)));
    notes.say("to no descriptor", fetched(io::try_forward(home, pipe, 987'654, 10)));
    io::close_carrier(home, pipe);
    io::close_carrier(home, pipe);  // harmless
    notes.say("descriptors left", static_cast<int>(home.counters().descriptors));
}

HONESTY(a_file_is_read_at_an_offset) {
    const temporary_file file("0123456789");
    std::string room(6, '.');
    const auto read_at = [&](int fd, std::uint64_t offset) -> task<int> {
        running by;
        io::read_at(home, by, fd, offset, std::as_writable_bytes(std::span(room)));
        co_return co_await by.end();
    };
    notes.say("read", co_await read_at(file.fd(), 1));
    notes.say("is", quoted(room));
    notes.say("read near the end", co_await read_at(file.fd(), 7));
    notes.say("is", quoted(room));
    notes.say("read at the end", co_await read_at(file.fd(), 10));
    notes.say("position of the file", static_cast<int>(file.position()));
    notes.say("no descriptor", co_await read_at(987'654, 0));
    notes.say("set position", io::set_position(home, file.fd(), 4));
    notes.say("position of the file", static_cast<int>(file.position()));
    notes.say("set position of none", io::set_position(home, 987'654, 4));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
