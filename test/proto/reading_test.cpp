// Stream transports: what is read, in which order, and what ends it.
#include <ouro/proto/protocol.hpp>

#include <numeric>
#include <random>

#include "recorder.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(reading)

// rules 262, 293, 312
OURO_ASYNC_TEST(bytes_arrive_in_order_in_chunks_that_are_never_empty) {
    constexpr std::size_t most_bytes = 262144;
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const std::string sent = pattern(1'000'000);
        auto sending = spawn(send_text(on.kept_peer, sent));
        co_await eventually([&] { return on.seen->data.size() >= sent.size(); });
        co_await sending;
        BOOST_CHECK(on.seen->data == sent);
        BOOST_TEST(on.seen->story() == "made data");
        for (const std::size_t chunk : on.seen->chunks) BOOST_TEST(chunk <= most_bytes);
    }
}

// fault 1
OURO_ASYNC_TEST(bytes_that_come_one_at_a_time_make_the_same_stream) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const std::string sent = pattern(200);
        for (const char each : sent) {
            const std::size_t before = on.seen->data.size();
            send_now(on.peer, {&each, 1});
            co_await eventually([&] { return on.seen->data.size() > before; });
        }
        BOOST_TEST(on.seen->data == sent);
        BOOST_TEST(on.seen->chunks.size() == sent.size());
    }
}

// rule 293
OURO_ASYNC_TEST(any_cutting_of_the_stream_arrives_as_the_same_stream) {
    std::mt19937 random(293);
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(how.receiver);
        seen->give_buffer = [&, room = std::vector<std::byte>(5000)](std::ptrdiff_t) mutable {
            return mut_bytes(room).first(1 + random() % room.size());
        };
        auto on = co_await connect_recorder(seen, how.over);
        const std::string sent = pattern(300'000);
        for (std::size_t at = 0; at < sent.size();) {
            const std::size_t part = std::min<std::size_t>(1 + random() % 9000, sent.size() - at);
            co_await send_text(on.peer, sent.substr(at, part));
            at += part;
            if (random() % 4 == 0) co_await yield();
        }
        end_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(on.seen->data == sent);
        BOOST_TEST(on.seen->story() == "made data eof lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rule 295
OURO_ASYNC_TEST(a_busy_connection_does_not_starve_a_quiet_one) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto busy = co_await connect_recorder(how);
        auto quiet = co_await connect_recorder(how);
        const auto enough = std::make_shared<bool>(false);
        auto flood = spawn(
            [](std::shared_ptr<socket> to, std::shared_ptr<bool> stop) -> task<> {
                const std::string text = pattern(64 * 1024);
                while (!*stop) co_await to->send_all(as_bytes(text));
            },
            busy.kept_peer, enough);
        co_await eventually([&] { return busy.seen->data.size() > 1'000'000; });
        for (int i = 0; i < 20; ++i) {
            const std::size_t before = quiet.seen->data.size();
            const std::size_t flooded = busy.seen->data.size();
            send_now(quiet.peer, "?");
            co_await eventually([&] { return quiet.seen->data.size() > before; });
            BOOST_TEST(busy.seen->data.size() - flooded < 16'000'000U);
        }
        BOOST_TEST(!flood.done());
        *enough = true;
        co_await flood;
    }
}

// rules 302, 360
OURO_ASYNC_TEST(end_of_stream_closes_a_connection_whose_protocol_does_not_mind) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->on_eof = [&] { BOOST_TEST(on.link->is_closing() == false); };
        end_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made eof lost");
        BOOST_CHECK(!on.seen->why);
        BOOST_TEST((co_await read_to_end(on.peer)).empty());
    }
}

// rules 302, 317, 351
OURO_ASYNC_TEST(a_connection_ended_by_its_peer_flushes_before_it_closes) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        const std::string sent = pattern(too_much_bytes);
        BOOST_CHECK(!on.link->write(sent));
        end_now(on.peer);
        co_await eventually([&] { return on.seen->eofs == 1; });
        co_await settle();
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(!on.seen->lost());
        BOOST_CHECK(co_await read_to_end(on.peer) == sent);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made pause eof resume lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 299, 303, 317
// fault 33
OURO_ASYNC_TEST(a_protocol_that_wants_it_goes_on_writing_after_end_of_stream) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->stay_open_after_eof = true;
        end_now(on.peer);
        co_await eventually([&] { return on.seen->eofs == 1; });
        co_await settle();
        BOOST_TEST(!on.link->is_closing());
        BOOST_TEST(on.link->is_reading());
        for (int i = 0; i < 3; ++i) {
            BOOST_CHECK(!on.link->write("still here"));
            BOOST_TEST(co_await read_text(on.peer, 10) == "still here");
        }
        BOOST_TEST(on.seen->story() == "made eof");
        on.link->close();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made eof lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rule 265
OURO_ASYNC_TEST(end_of_stream_is_told_once_however_often_reading_pauses) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->stay_open_after_eof = true;
        end_now(on.peer);
        co_await eventually([&] { return on.seen->eofs == 1; });
        for (int i = 0; i < 3; ++i) {
            on.link->pause_reading();
            co_await settle();
            on.link->resume_reading();
            co_await settle();
        }
        BOOST_TEST(on.seen->story() == "made eof");
    }
}

// rules 306, 317
OURO_ASYNC_TEST(what_was_sent_right_before_a_close_arrives_before_the_end) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const std::string last_words = pattern(50'000);
        send_now(on.peer, last_words);
        on.peer.close();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(on.seen->data == last_words);
        BOOST_TEST(on.seen->story() == "made data eof lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 307, 723, 739
OURO_ASYNC_TEST(closing_inside_data_received_stops_delivery) {
    for (const way& how : every_way) {
        for (const bool drop : {false, true}) {
            BOOST_TEST_INFO_SCOPE(how << (drop ? ", abort" : ", close"));
            auto on = co_await connect_recorder(how);
            on.seen->memory.resize(10);
            on.seen->on_data = [&] { drop ? on.link->abort() : on.link->close(); };
            send_now(on.peer, pattern(100'000));
            co_await eventually([&] { return on.seen->lost(); });
            BOOST_TEST(on.seen->chunks.size() == 1U);
            BOOST_TEST(on.seen->story() == "made data lost");
            BOOST_CHECK(!on.seen->why);
        }
    }
}

// rules 308, 349, 723
OURO_ASYNC_TEST(what_arrives_after_a_local_close_is_discarded) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        const std::string sent = pattern(too_much_bytes);
        BOOST_CHECK(!on.link->write(sent));
        send_now(on.peer, "before");
        on.link->close();
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(!on.link->is_reading());
        send_now(on.peer, "after");
        co_await settle();
        BOOST_CHECK((co_await read_text(on.peer, sent.size())) == sent);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->data.empty());
        BOOST_TEST(on.seen->eofs == 0);
    }
}

// rules 301, 360
// faults 22, 32
// rule 76: the rig fails a test whose loop was told of anything
OURO_ASYNC_TEST(a_reset_ends_the_connection_with_its_error_and_without_end_of_stream) {
    for (const way& how : each_kind) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        reset_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.seen->why == std::errc::connection_reset);
        BOOST_TEST(on.seen->why.message().find("receive") != std::string::npos);
    }
}

// rules 301, 363
OURO_ASYNC_TEST(a_peer_that_closes_with_unread_input_is_a_reset) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->write("never read"));
        co_await eventually([&] { return readable_bytes(on.peer) == 10; });
        on.peer.close();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.seen->why == std::errc::connection_reset);
    }
}

// fault 32
OURO_ASYNC_TEST(what_came_before_a_reset_was_delivered_before_it) {
    for (const way& how : each_kind) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        send_now(on.peer, "first");
        co_await eventually([&] { return on.seen->data == "first"; });
        reset_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made data lost");
        BOOST_CHECK(on.seen->why == std::errc::connection_reset);
    }
}

// fault 35
OURO_ASYNC_TEST(both_ends_may_close_at_the_same_moment) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [one, two] = co_await socket_pair(how.over);
        auto left = make_recorder(how.receiver);
        auto right = make_recorder(how.receiver);
        auto on_left = co_await create_connection(factory_of(left), std::move(one));
        auto on_right = co_await create_connection(factory_of(right), std::move(two));
        BOOST_CHECK(!on_left.transport->write("ping"));
        BOOST_CHECK(!on_right.transport->write("pong"));
        co_await eventually([&] { return left->data == "pong" && right->data == "ping"; });
        on_left.transport->close();
        on_right.transport->close();
        co_await eventually([&] { return left->lost() && right->lost(); });
        BOOST_CHECK(!left->why);
        BOOST_CHECK(!right->why);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
