// Honesty: full queues, full descriptor tables, and the wake-up of the loop.
#include <algorithm>
#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

constexpr unsigned few_descriptors = 64;

/// Takes all descriptors that can be had, and gives `spare` of them back.
std::vector<int> take_descriptors(loop& home, std::size_t spare, transcript& notes) {
    std::vector<int> taken;
    for (;;) {
        const auto fd = io::socket(home, AF_UNIX, SOCK_STREAM, 0);
        if (!fd) {
            notes.say("no descriptor is left", outcome_of(fd));
            break;
        }
        taken.push_back(*fd);
    }
    for (; spare > 0; --spare) {
        io::close(home, taken.back());
        taken.pop_back();
    }
    return taken;
}

void close_all(loop& home, std::vector<int>& fds) {
    for (const int fd : fds) io::close(home, fd);
    fds.clear();
}

// fault 17
task<> accept_without_descriptors(loop& home, transcript& notes, stream_kind kind) {
    const listening listener = listen_on_any(home, kind);
    running accept;
    io::accept_many(home, accept, listener.fd);
    co_await quiet();
    const int client = open_stream(home, kind);
    std::vector<int> taken = take_descriptors(home, 0, notes);
    running connect;
    io::connect(home, connect, client, raw(listener.name), listener.name.length);
    notes.say("connected", co_await connect.end());
    send_at_once(home, client, "patient");
    notes.say("accept_many ends with", co_await accept.end());
    notes.say("completions", static_cast<int>(accept.results.size()));
    accept.forget();
    io::accept(home, accept, listener.fd);
    notes.say("an accept ends with", co_await accept.end());
    accept.forget();
    io::accept_many(home, accept, listener.fd);
    notes.say("accept_many again", co_await accept.end());
    close_all(home, taken);
    const int server = co_await accept_from(home, listener.fd);
    notes.say("accepted once there is a descriptor", server >= 0);
    notes.say("received", co_await recv_once(home, server));
    for (const int fd : {client, server, listener.fd}) io::close(home, fd);
}

// fault 74
task<> pairs_without_descriptors(loop& home, transcript& notes) {
    std::vector<int> taken = take_descriptors(home, 1, notes);
    int fds[2] = {-1, -1};
    notes.say("a pair with one descriptor left", io::socket_pair(home, AF_UNIX, SOCK_STREAM, fds));
    const auto one = io::socket(home, AF_UNIX, SOCK_STREAM, 0);
    notes.say("a socket with one left", one.has_value());
    notes.say("a socket with none left", outcome_of(io::socket(home, AF_INET, SOCK_DGRAM, 0)));
    if (one) io::close(home, *one);
    close_all(home, taken);
    notes.say("descriptors", static_cast<int>(home.counters().descriptors));
    co_return;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_limits)

// fault 7: 64 entries in the submission queue
HONESTY_OF_STREAMS(a_burst_of_sends_keeps_its_order) {
    const connected pair = co_await connect_pair(home, kind);
    const std::string text = pattern(200);
    std::vector<std::unique_ptr<running>> sends;
    for (std::size_t i = 0; i < text.size(); ++i) {
        sends.push_back(std::make_unique<running>());
        io::send(home, *sends.back(), pair.ours, as_bytes(std::string_view(text).substr(i, 1)),
                 io::send_mode::all);
    }
    int sum = 0, terminals = 0;
    for (auto& each : sends) sum += co_await each->end();
    for (auto& each : sends) terminals += each->terminals;
    notes.say("sent", sum);
    notes.say("terminal completions", terminals);
    io::close(home, pair.ours);
    notes.say("received", quoted(co_await recv_all(home, pair.theirs)));
    io::close(home, pair.theirs);
}

// fault 6: 256 entries in the completion queue
HONESTY(more_completions_than_the_queue_holds_all_come) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    std::vector<std::unique_ptr<running>> polls;
    for (int i = 0; i < 600; ++i) {
        polls.push_back(std::make_unique<running>());
        io::poll(home, *polls.back(), pair.ours, POLLIN);
    }
    co_await quiet();
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
    send_at_once(home, pair.theirs, "x");
    int right = 0;
    for (auto& each : polls) right += co_await each->end() == POLLIN;
    co_await quiet();
    for (auto& each : polls) right += each->results.size() == 1;
    notes.say("right and once", right);
    notes.say("operations in flight", static_cast<int>(home.counters().ops));
    close_both(home, pair);
}

// fault 6
HONESTY(more_cancels_than_the_queues_hold_all_strike) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    std::vector<std::unique_ptr<running>> receives;
    for (int i = 0; i < 300; ++i) {
        receives.push_back(std::make_unique<running>());
        start_recv(home, *receives.back(), pair.ours, 1);
    }
    co_await quiet();
    for (auto& each : receives) io::cancel(home, *each);
    int right = 0;
    for (auto& each : receives) right += co_await each->end() == -ECANCELED;
    notes.say("cancelled", right);
    send_at_once(home, pair.theirs, "kept");
    notes.say("received", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

// faults 5, 6: a full queue may end a multishot early; started again, it loses nothing
HONESTY(a_flood_of_messages_through_the_ring_loses_none) {
    constexpr std::size_t socket_count = 4, message_count = 100;
    std::array<connected, socket_count> pairs;
    std::array<running, socket_count> receives;
    for (std::size_t i = 0; i < socket_count; ++i) {
        pairs[i] = co_await datagram_pair(home);
        io::recv_ring(home, receives[i], pairs[i].ours);
    }
    co_await quiet();
    for (std::size_t each = 0; each < message_count; ++each) {
        for (const connected& pair : pairs) {
            BOOST_TEST(send_at_once(home, pair.theirs, std::to_string(1000 + each)) == 4);
        }
    }
    for (int rounds = 0; rounds < 10; ++rounds) {
        co_await quiet();
        for (std::size_t i = 0; i < socket_count; ++i) {
            if (receives[i].ended() && receives[i].results.back() > 0) {
                receives[i].terminals = 0;
                io::recv_ring(home, receives[i], pairs[i].ours);
            }
        }
    }
    for (running& receive : receives) {
        std::vector<std::string> messages;
        for (std::size_t at = 0; at < receive.received.size(); at += 4) {
            messages.push_back(receive.received.substr(at, 4));
        }
        std::sort(messages.begin(), messages.end());  // datagrams may overtake each other
        notes.say("messages", static_cast<int>(messages.size()));
        messages.erase(std::unique(messages.begin(), messages.end()), messages.end());
        notes.say("without doubles", static_cast<int>(messages.size()));
        notes.say("in flight", receive.in_flight);
        io::cancel(home, receive);
        notes.say("ended", co_await receive.end());
    }
    for (const connected& pair : pairs) close_both(home, pair);
}

BOOST_AUTO_TEST_CASE(an_accept_without_descriptors_keeps_the_connection) {
    require_honesty("an_accept_without_descriptors_of_tcp",
                    {.first =
                         [](loop& home, transcript& notes) {
                             return accept_without_descriptors(home, notes, stream_kind::tcp);
                         },
                     .descriptor_limit = few_descriptors});
    require_honesty("an_accept_without_descriptors_of_unix",
                    {.first =
                         [](loop& home, transcript& notes) {
                             return accept_without_descriptors(home, notes, stream_kind::local);
                         },
                     .descriptor_limit = few_descriptors});
}

BOOST_AUTO_TEST_CASE(a_pair_needs_two_descriptors_and_leaks_none) {
    require_honesty("pairs_without_descriptors",
                    {.first = &pairs_without_descriptors, .descriptor_limit = few_descriptors});
}

// fault 28
HONESTY(a_post_from_inside_runs_and_wakes_the_loop) {
    int runs = 0;
    const loop_handle handle = home.get_handle();
    for (int i = 0; i < 3; ++i) notes.say("posted", handle.post([&runs] { ++runs; }));
    notes.say("not inside the call", runs);
    co_await quiet();
    notes.say("run", runs);
    const connected pair = co_await connect_pair(home, stream_kind::local);
    handle.post([&] { send_at_once(home, pair.theirs, "from a post"); });
    notes.say("received", co_await recv_once(home, pair.ours));
    close_both(home, pair);
}

HONESTY(counters_follow_what_is_open_and_in_flight) {
    const connected pair = co_await connect_pair(home, stream_kind::tcp);
    running receive;
    notes.say("descriptors", static_cast<int>(home.counters().descriptors));
    notes.say("operations", static_cast<int>(home.counters().ops));
    start_recv(home, receive, pair.ours, 8);
    notes.say("operations", static_cast<int>(home.counters().ops));
    io::cancel(home, receive);
    notes.say("ended", co_await received(receive));
    close_both(home, pair);
    notes.say("operations", static_cast<int>(home.counters().ops));
    notes.say("descriptors", static_cast<int>(home.counters().descriptors));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
