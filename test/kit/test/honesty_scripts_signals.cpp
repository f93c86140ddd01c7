// Honesty: which signals are told, when, and in which order.
#include "async_test.hpp"
#include "honesty_scripts.hpp"
#include "send_signal.hpp"

namespace ouro::test {
namespace {

constexpr std::uint64_t mask_of(int signum) { return std::uint64_t{1} << (signum - 1); }

/// The numbers that come, in order.
void say_taken(loop& home, transcript& notes, int fd) {
    while (const int signum = io::take_signal(home, fd)) notes.say("taken", signum);
    notes.say("and no more");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_signals)

HONESTY(watched_signals_make_a_descriptor_readable_once_each_and_the_lowest_comes_first) {
    const int fd = co_await io::watch_signals(home, -1, mask_of(harmless) | mask_of(also_harmless));
    notes.say("before", co_await events_now(home, fd, POLLIN | POLLOUT));
    say_taken(home, notes, fd);
    send_signal(harmless);
    notes.say("after", co_await events_now(home, fd, POLLIN | POLLOUT));
    say_taken(home, notes, fd);
    notes.say("then", co_await events_now(home, fd, POLLIN | POLLOUT));
    for (const int signum : {harmless, also_harmless, harmless, harmless}) send_signal(signum);
    say_taken(home, notes, fd);
    notes.say("given back", co_await io::watch_signals(home, fd, 0) == fd);
    io::close(home, fd);
}

HONESTY(a_poll_that_waits_is_woken_by_a_signal) {
    const int fd = co_await io::watch_signals(home, -1, mask_of(harmless));
    running poll;
    io::poll(home, poll, fd, POLLIN);
    co_await quiet();
    notes.say("it waits", !poll.ended());
    send_signal(harmless);
    notes.say("woken with", poll_events(co_await poll.end()));
    say_taken(home, notes, fd);
    poll.forget();
    io::poll(home, poll, fd, POLLIN);
    co_await quiet();
    io::cancel(home, poll);
    notes.say("cancelled", co_await poll.end());
    (void)io::watch_signals(home, fd, 0);
    io::close(home, fd);
}

HONESTY(only_what_is_watched_is_told) {
    const int fd = co_await io::watch_signals(home, -1, mask_of(harmless));
    notes.say("the same descriptor for more",
              co_await io::watch_signals(home, fd, mask_of(harmless) | mask_of(also_harmless)) ==
                  fd);
    send_signal(also_harmless);
    say_taken(home, notes, fd);
    notes.say("and for less", co_await io::watch_signals(home, fd, mask_of(harmless)) == fd);
    send_signal(also_harmless);
    send_signal(harmless);
    say_taken(home, notes, fd);
    // What came and was not taken acts as before: these two do nothing.
    send_signal(harmless);
    (void)io::watch_signals(home, fd, 0);
    io::close(home, fd);
    const int again = co_await io::watch_signals(home, -1, mask_of(harmless));
    say_taken(home, notes, again);
    (void)io::watch_signals(home, again, 0);
    io::close(home, again);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
