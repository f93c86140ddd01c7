// Honesty: file bytes that are carried to a socket or read at an offset.
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

HONESTY(what_cannot_be_carried_is_refused) {
    auto pipe = io::open_carrier(home).value();
    notes.say("no descriptor", co_await fetch(home, pipe, 987'654, 0, 10));
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    notes.say("from a pipe", co_await fetch(home, pipe, ends[0], 0, 10));
    ::close(ends[0]);
    ::close(ends[1]);
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
