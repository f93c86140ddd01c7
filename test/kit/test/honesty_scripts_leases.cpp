// Honesty: slices of the shared ring that are kept.
#include <algorithm>
#include <random>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
BOOST_AUTO_TEST_SUITE(honesty_of_leases)

HONESTY_OF_STREAMS(kept_slices_keep_their_bytes_while_others_come) {
    const connected pair = co_await connect_pair(home, kind);
    running receive;
    receive.keeps = true;
    io::recv_ring(home, receive, pair.ours);
    for (const std::string_view text : {"one", "two", "three"}) {
        send_at_once(home, pair.theirs, text);
        co_await quiet();
    }
    notes.say("leases out", static_cast<int>(home.counters().leases));
    for (const buffer_lease& each : receive.leases) notes.say("kept", quoted(as_text(each.view())));
    receive.keeps = false;
    for (int i = 0; i < 50; ++i) {
        send_at_once(home, pair.theirs, pattern(10'000));
        co_await quiet();
    }
    for (const buffer_lease& each : receive.leases) notes.say("kept", quoted(as_text(each.view())));
    notes.say("lent buffers", static_cast<int>(home.counters().lent_buffers));
    receive.leases.clear();
    notes.say("leases out", static_cast<int>(home.counters().leases));
    io::close(home, pair.theirs);
    notes.say("ended", co_await receive.end());
    io::close(home, pair.ours);
}

// Eight buffers of 64 KiB, of which four may be withheld: what comes then is copied.
HONESTY_OF_STREAMS(leases_that_come_back_in_any_order_lose_no_byte) {
    constexpr std::size_t total = 2'000'000;
    const connected pair = co_await connect_pair(home, kind);
    const std::string sent = pattern(total);
    std::mt19937 random(7);
    running receive;
    receive.keeps = true;
    io::recv_ring(home, receive, pair.ours);
    std::size_t at = 0;
    bool had_copies = false, whole = true;
    while (receive.received.size() < total) {
        const int taken =
            send_at_once(home, pair.theirs, std::string_view(sent).substr(at, 30'000));
        if (taken > 0) at += static_cast<std::size_t>(taken);
        co_await yield();
        had_copies |= std::any_of(receive.leases.begin(), receive.leases.end(),
                                  [](const auto& each) { return each.is_copy(); });
        while (receive.leases.size() > 40) {
            auto& any = receive.leases[random() % receive.leases.size()];
            whole &= sent.find(as_text(any.view().first(std::min<std::size_t>(any.size(), 64)))) !=
                     std::string::npos;
            std::swap(any, receive.leases.back());
            receive.leases.pop_back();
        }
    }
    notes.say("received", quoted(receive.received));
    notes.say("some were copied", had_copies);
    notes.say("kept bytes are those that were sent", whole);
    receive.leases.clear();
    notes.say("leases out", static_cast<int>(home.counters().leases));
    io::close(home, pair.theirs);
    notes.say("ended", co_await receive.end());
    io::close(home, pair.ours);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
