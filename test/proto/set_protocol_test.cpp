// Replacing the protocol of a living connection, with input in flight and held back.
#include <ouro/proto/transport.hpp>

#include <random>
#include <vector>

#include "recorder.hpp"

namespace ouro::test {
namespace {

/// A replacement of one kind by one kind.
struct change {
    kind from;
    kind to;
    medium over;

    friend std::ostream& operator<<(std::ostream& out, const change& of) {
        return out << "from " << name_of(of.from) << " to " << name_of(of.to)
                   << (of.over == medium::tcp ? " over TCP" : " over a unix socket");
    }
};

std::vector<change> all_changes() {
    std::vector<change> all;
    for (const medium over : {medium::tcp, medium::unix_stream}) {
        for (const kind from : {kind::streaming, kind::buffered, kind::leasing}) {
            for (const kind to : {kind::streaming, kind::buffered, kind::leasing}) {
                all.push_back({from, to, over});
            }
        }
    }
    return all;
}

/// A protocol that is put on a connection by set_protocol: it hears no connection_made of its own.
std::shared_ptr<recorder> make_replacement(kind of) {
    auto seen = make_recorder(of);
    seen->made = 1;
    seen->events.emplace_back("set");
    return seen;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(set_protocol)

// rules 288, 290
OURO_ASYNC_TEST(only_later_callbacks_go_to_the_new_protocol) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_recorder(way{of.from, of.over});
        auto next = make_replacement(of.to);
        send_now(on.peer, "old");
        co_await eventually([&] { return on.seen->data == "old"; });
        on.link->set_protocol(next->as_protocol());
        BOOST_TEST(next->story() == "set");
        BOOST_CHECK(on.link->get_protocol() == next->as_protocol());
        send_now(on.peer, "new");
        end_now(on.peer);
        co_await eventually([&] { return next->lost(); });
        BOOST_TEST(next->data == "new");
        BOOST_TEST(next->story() == "set data eof lost");
        BOOST_TEST(on.seen->story() == "made data");
        BOOST_CHECK(on.link->get_protocol() == nullptr);
    }
}

// rules 289, 727
OURO_ASYNC_TEST(bytes_of_a_receive_in_flight_go_to_the_new_protocol) {
    for (const change& of : all_changes()) {
        for (const bool sent_before : {false, true}) {
            BOOST_TEST_INFO_SCOPE(of << (sent_before ? ", sent before" : ", sent after"));
            auto on = co_await connect_recorder(way{of.from, of.over});
            co_await settle();
            auto next = make_replacement(of.to);
            if (sent_before) send_now(on.peer, pattern(3000));
            on.link->set_protocol(next->as_protocol());
            if (!sent_before) send_now(on.peer, pattern(3000));
            co_await eventually([&] { return next->data.size() >= 3000; });
            BOOST_CHECK(next->data == pattern(3000));
            BOOST_TEST(on.seen->story() == "made");
        }
    }
}

// rules 727, 319
OURO_ASYNC_TEST(bytes_that_were_read_already_are_fed_in_rounds_with_a_positive_hint) {
    for (const change& of : all_changes()) {
        if (of.to != kind::buffered) continue;
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_recorder(way{of.from, of.over});
        co_await settle();
        auto next = make_replacement(of.to);
        next->memory.resize(7);
        on.link->pause_reading();
        send_now(on.peer, pattern(100));
        co_await settle(10);
        on.link->set_protocol(next->as_protocol());
        on.link->resume_reading();
        co_await eventually([&] { return next->data.size() == 100; });
        BOOST_CHECK(next->data == pattern(100));
        BOOST_TEST(next->chunks.size() == 15U);
        const auto fed = std::count_if(next->hints.begin(), next->hints.end(),
                                       [](std::ptrdiff_t hint) { return hint > 0; });
        BOOST_TEST(fed == 15);
        BOOST_TEST(next->hints.at(0) == 100);
    }
}

// rules 728, 721
OURO_ASYNC_TEST(held_input_and_end_of_stream_go_to_the_new_protocol) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_recorder(way{of.from, of.over});
        on.link->pause_reading();
        send_now(on.peer, "held back");
        end_now(on.peer);
        co_await settle(10);
        auto next = make_replacement(of.to);
        on.link->set_protocol(next->as_protocol());
        co_await settle(10);
        BOOST_TEST(next->story() == "set");
        on.link->resume_reading();
        co_await eventually([&] { return next->lost(); });
        BOOST_TEST(next->data == "held back");
        BOOST_TEST(next->story() == "set data eof lost");
        BOOST_TEST(on.seen->story() == "made");
    }
}

// rule 289
OURO_ASYNC_TEST(switching_again_and_again_loses_no_byte) {
    std::mt19937 random(289);
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const std::string sent = pattern(500'000);
        std::string received;
        bool paused = false;
        std::vector<std::shared_ptr<recorder>> all;
        const auto replace = [&] {
            auto next = make_replacement(static_cast<kind>(random() % 3));
            next->memory.resize(1 + random() % 3000);
            next->on_data = [&, seen = next.get()] {
                BOOST_TEST(!paused);
                received += std::exchange(seen->data, {});
            };
            all.push_back(next);
            on.link->set_protocol(next->as_protocol());
        };
        replace();
        auto sending = spawn(send_text(on.kept_peer, sent));
        while (received.size() < sent.size()) {
            if (random() % 2) replace();
            paused = random() % 3 == 0;
            paused ? on.link->pause_reading() : on.link->resume_reading();
            co_await settle(static_cast<int>(random() % 3));
        }
        co_await sending;
        BOOST_CHECK(received == sent);
        BOOST_TEST(on.seen->story() == "made");
        for (const auto& each : all) each->forget_hooks();
    }
}

// rule 289
OURO_ASYNC_TEST(a_protocol_may_be_replaced_inside_data_received) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_recorder(way{of.from, of.over});
        on.seen->memory.resize(5);
        auto next = make_replacement(of.to);
        on.seen->on_data = [&] { on.link->set_protocol(next->as_protocol()); };
        send_now(on.peer, "hello world");
        const auto both = [&] { return on.seen->data + next->data; };
        co_await eventually([&] { return both().size() == 11; });
        BOOST_TEST(both() == "hello world");
        BOOST_TEST(on.seen->chunks.size() == 1U);
        send_now(on.peer, "!");
        co_await eventually([&] { return both() == "hello world!"; });
    }
}

// rules 319, 289
OURO_ASYNC_TEST(a_protocol_may_be_replaced_between_two_rounds_of_feeding) {
    for (const kind to : {kind::streaming, kind::buffered, kind::leasing}) {
        BOOST_TEST_INFO_SCOPE("to " << name_of(to));
        auto on = co_await connect_recorder(way{kind::streaming, medium::tcp});
        on.link->pause_reading();
        send_now(on.peer, "0123456789");
        co_await settle(10);
        auto middle = make_replacement(kind::buffered);
        auto last = make_replacement(to);
        middle->memory.resize(4);
        middle->on_data = [&] { on.link->set_protocol(last->as_protocol()); };
        on.link->set_protocol(middle->as_protocol());
        on.link->resume_reading();
        co_await eventually([&] { return last->data.size() == 6; });
        BOOST_TEST(middle->data == "0123");
        BOOST_TEST(last->data == "456789");
    }
}

// rules 319, 297
OURO_ASYNC_TEST(a_pause_between_two_rounds_of_feeding_holds_the_rest) {
    for (const bool in_get_buffer : {false, true}) {
        BOOST_TEST_INFO_SCOPE((in_get_buffer ? "in get_buffer" : "in buffer_updated"));
        auto on = co_await connect_recorder(way{kind::streaming, medium::tcp});
        on.link->pause_reading();
        send_now(on.peer, "0123456789");
        co_await settle(10);
        auto next = make_replacement(kind::buffered);
        next->memory.resize(4);
        auto& where = in_get_buffer ? next->on_get_buffer : next->on_data;
        where = [&] { on.link->pause_reading(); };
        on.link->set_protocol(next->as_protocol());
        on.link->resume_reading();
        co_await settle(10);
        BOOST_TEST(next->data == (in_get_buffer ? "" : "0123"));
        BOOST_TEST(!on.link->is_reading());
        where = nullptr;
        on.link->resume_reading();
        co_await eventually([&] { return next->data == "0123456789"; });
        next->forget_hooks();
    }
}

// rules 307, 319
OURO_ASYNC_TEST(closing_inside_get_buffer_ends_the_feeding) {
    for (const bool drop : {false, true}) {
        BOOST_TEST_INFO_SCOPE((drop ? "abort" : "close"));
        auto on = co_await connect_recorder(way{kind::streaming, medium::tcp});
        on.link->pause_reading();
        send_now(on.peer, "0123456789");
        co_await settle(10);
        auto next = make_replacement(kind::buffered);
        next->on_get_buffer = [&] { drop ? on.link->abort() : on.link->close(); };
        on.link->set_protocol(next->as_protocol());
        on.link->resume_reading();
        co_await eventually([&] { return next->lost(); });
        BOOST_TEST(next->story() == "set lost");
    }
}

// rule 289
OURO_ASYNC_TEST(get_buffer_may_replace_the_protocol) {
    for (const kind to : {kind::streaming, kind::buffered, kind::leasing}) {
        for (const bool feeding : {false, true}) {
            BOOST_TEST_INFO_SCOPE("to " << name_of(to) << (feeding ? ", while fed" : ""));
            auto on = co_await connect_recorder(way{kind::streaming, medium::tcp});
            on.link->pause_reading();
            if (feeding) send_now(on.peer, "0123456789");
            co_await settle(10);
            auto middle = make_replacement(kind::buffered);
            auto last = make_replacement(to);
            middle->on_get_buffer = [&] { on.link->set_protocol(last->as_protocol()); };
            on.link->set_protocol(middle->as_protocol());
            on.link->resume_reading();
            co_await settle(10);
            if (!feeding) send_now(on.peer, "0123456789");
            co_await eventually([&] { return last->data.size() + middle->data.size() == 10; });
            BOOST_TEST(last->data == "0123456789");
            BOOST_TEST(middle->hints.size() == 1U);
        }
    }
}

// rule 288
// fault 57
OURO_ASYNC_TEST(a_protocol_survives_the_callback_in_which_it_is_replaced) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_recorder(way{of.from, of.over});
        auto next = make_replacement(of.to);
        auto destroyed = std::make_shared<bool>(false);
        bool destroyed_inside = false;
        on.seen->destroyed = destroyed;
        on.seen->on_data = [&, link = on.link] {
            link->set_protocol(next->as_protocol());
            destroyed_inside = *destroyed;
        };
        const std::weak_ptr<recorder> old = on.seen;
        on.seen->link = nullptr;
        on.seen = next;  // only the transport holds the old one now
        send_now(on.peer, "x");
        co_await eventually([&] { return *destroyed; });
        BOOST_TEST(!destroyed_inside);
        BOOST_TEST(old.expired());
    }
}

// rules 288, 289
OURO_ASYNC_TEST(a_protocol_replaced_inside_connection_made_reads_nothing) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto seen = make_recorder(of.from);
        auto next = make_replacement(of.to);
        seen->on_made = [&] { seen->link->set_protocol(next->as_protocol()); };
        auto on = co_await connect_recorder(seen, of.over);
        send_now(on.peer, "for the second");
        co_await eventually([&] { return next->data == "for the second"; });
        BOOST_TEST(seen->story() == "made");
        BOOST_TEST(seen->hints.empty());
    }
}

// rules 288, 362
OURO_ASYNC_TEST(a_protocol_set_on_a_closing_connection_hears_of_its_end) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_recorder(way{of.from, of.over});
        auto next = make_replacement(of.to);
        auto late = make_replacement(of.to);
        on.link->close();
        on.link->set_protocol(next->as_protocol());
        co_await eventually([&] { return next->lost(); });
        on.link->set_protocol(late->as_protocol());
        co_await settle();
        BOOST_TEST(next->story() == "set lost");
        BOOST_TEST(late->story() == "set");
        BOOST_TEST(on.seen->story() == "made");
    }
}

// rules 288, 274, 275
OURO_ASYNC_TEST(a_new_protocol_is_told_to_resume_what_the_old_one_paused) {
    for (const change& of : all_changes()) {
        BOOST_TEST_INFO_SCOPE(of);
        auto on = co_await connect_narrow(way{of.from, of.over});
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        BOOST_TEST(on.seen->story() == "made pause");
        auto next = make_replacement(of.to);
        next->pauses = 1;
        on.link->set_protocol(next->as_protocol());
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes) == pattern(too_much_bytes));
        co_await eventually([&] { return next->resumes == 1; });
        BOOST_TEST(next->story() == "set resume");
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
