// Pausing and resuming reading, with receives in flight and input held back.
#include <ouro/proto/transport.hpp>

#include <random>

#include "recorder.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(pausing)

// rules 296, 299
OURO_ASYNC_TEST(pausing_and_resuming_twice_is_the_same_as_once) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_TEST(on.link->is_reading());
        on.link->resume_reading();
        BOOST_TEST(on.link->is_reading());
        on.link->pause_reading();
        on.link->pause_reading();
        BOOST_TEST(!on.link->is_reading());
        on.link->resume_reading();
        on.link->resume_reading();
        BOOST_TEST(on.link->is_reading());
        send_now(on.peer, "once");
        co_await eventually([&] { return on.seen->data == "once"; });
        BOOST_TEST(on.seen->chunks.size() == 1U);
    }
}

// rules 297, 720
OURO_ASYNC_TEST(nothing_is_delivered_while_paused_and_everything_afterwards_in_order) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();  // a receive is in flight
        send_now(on.peer, "held ");
        co_await settle();
        send_now(on.peer, "back ");
        co_await settle();
        BOOST_TEST(on.seen->story() == "made");
        on.link->resume_reading();
        send_now(on.peer, "then later");
        co_await eventually([&] { return on.seen->data.size() == 20; });
        BOOST_TEST(on.seen->data == "held back then later");
    }
}

// rule 297
OURO_ASYNC_TEST(input_that_is_there_already_is_not_delivered_after_a_pause) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        send_now(on.peer, "there already");
        on.link->pause_reading();
        co_await settle(20);
        BOOST_TEST(on.seen->story() == "made");
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->data == "there already"; });
    }
}

// rule 298
OURO_ASYNC_TEST(resume_delivers_nothing_from_inside_the_call) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        send_now(on.peer, "held");
        co_await settle();
        on.link->resume_reading();
        BOOST_TEST(on.seen->story() == "made");
        co_await eventually([&] { return on.seen->data == "held"; });
    }
}

// rules 721, 265
OURO_ASYNC_TEST(end_of_stream_waits_for_the_resume) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        end_now(on.peer);
        co_await settle(20);
        BOOST_TEST(on.seen->story() == "made");
        BOOST_TEST(!on.link->is_closing());
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made eof lost");
    }
}

// rules 720, 721
OURO_ASYNC_TEST(held_data_and_the_end_behind_it_come_in_this_order) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        send_now(on.peer, "last words");
        end_now(on.peer);
        co_await settle(20);
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->data == "last words");
        BOOST_TEST(on.seen->story() == "made data eof lost");
    }
}

// rules 720, 721
OURO_ASYNC_TEST(end_of_stream_does_not_overtake_held_data) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        for (int turns_between = 0; turns_between < 4; ++turns_between) {
            auto on = co_await connect_recorder(how);
            on.link->pause_reading();
            send_now(on.peer, "held");
            co_await settle(1);
            end_now(on.peer);
            co_await settle(turns_between);
            on.link->resume_reading();
            co_await eventually([&] { return on.seen->lost(); });
            BOOST_TEST(on.seen->data == "held");
            BOOST_TEST(on.seen->story() == "made data eof lost");
        }
    }
}

// rule 721
OURO_ASYNC_TEST(a_read_error_waits_for_the_resume) {
    for (const way& how : each_kind) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        reset_now(on.peer);
        co_await settle(20);
        BOOST_TEST(on.seen->story() == "made");
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(on.seen->why == std::errc::connection_reset);
    }
}

// rule 721
OURO_ASYNC_TEST(a_write_error_ends_a_connection_whose_reading_is_paused) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        on.peer.close();
        // The first write may still be taken by TCP and answered with a reset; the next one fails.
        while (!on.seen->lost()) {
            BOOST_CHECK(!on.link->write("into the void"));
            co_await settle();
        }
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.seen->why == std::errc::broken_pipe ||
                    on.seen->why == std::errc::connection_reset);
        BOOST_CHECK(take_reports().empty());
    }
}

// rule 721
OURO_ASYNC_TEST(aborting_ends_a_connection_that_holds_input) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        send_now(on.peer, "held");
        end_now(on.peer);
        co_await settle(20);
        on.link->abort();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 722, 297
OURO_ASYNC_TEST(any_pauses_and_resumes_lose_nothing) {
    std::mt19937 random(722);
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->memory.resize(777);
        bool paused = false;
        on.seen->on_data = [&] {
            BOOST_TEST(!paused);
            if (random() % 8 == 0) {
                paused = true;
                on.link->pause_reading();
            }
        };
        const std::string sent = pattern(400'000);
        auto sending = spawn(send_text(on.kept_peer, sent));
        while (on.seen->data.size() < sent.size()) {
            paused = random() % 2 == 0;
            paused ? on.link->pause_reading() : on.link->resume_reading();
            if (random() % 3) co_await yield();
        }
        co_await sending;
        BOOST_CHECK(on.seen->data == sent);
    }
}

// rule 722
OURO_ASYNC_TEST(a_pause_taken_back_in_the_same_turn_submits_no_second_receive) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        co_await settle();
        const auto ops = loop::current().counters().ops;
        for (int i = 0; i < 5; ++i) {
            on.link->pause_reading();
            on.link->resume_reading();
        }
        co_await settle();
        BOOST_TEST(loop::current().counters().ops == ops);
        send_now(on.peer, "intact");
        co_await eventually([&] { return on.seen->data == "intact"; });
    }
}

// rules 297, 307
OURO_ASYNC_TEST(pausing_inside_data_received_holds_the_rest) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->memory.resize(100);
        on.seen->on_data = [&] { on.link->pause_reading(); };
        const std::string sent = pattern(150'000);
        auto sending = spawn(send_text(on.kept_peer, sent));
        while (on.seen->data.size() < sent.size()) {
            const std::size_t before = on.seen->chunks.size();
            on.link->resume_reading();
            co_await eventually([&] { return on.seen->chunks.size() > before; });
            co_await settle(3);
            BOOST_REQUIRE_EQUAL(on.seen->chunks.size(), before + 1);
        }
        co_await sending;
        BOOST_CHECK(on.seen->data == sent);
    }
}

// rules 735, 293
OURO_ASYNC_TEST(what_is_held_back_is_bounded_and_delivered_in_bounded_chunks) {
    constexpr int generous_bytes = 4 * 1024 * 1024;
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [own, other] = co_await socket_pair(how.over);
        co_await own.set_option(SOL_SOCKET, SO_RCVBUF, generous_bytes);
        co_await other.set_option(SOL_SOCKET, SO_SNDBUF, generous_bytes);
        auto seen = make_recorder(how.receiver);
        auto made = co_await create_connection(factory_of(seen), std::move(own));
        linked on(seen, made.transport, std::move(other));
        on.link->pause_reading();
        const std::string sent = pattern(16 * 1024 * 1024);
        auto sending = spawn(send_text(on.kept_peer, sent));
        co_await settle(50);
        BOOST_TEST(seen->story() == "made");
        BOOST_TEST(!sending.done());  // the rest stays with the peer
        BOOST_TEST(loop::current().counters().lent_buffers == 0U);
        on.link->resume_reading();
        co_await eventually([&] { return seen->data.size() == sent.size(); });
        co_await sending;
        BOOST_CHECK(seen->data == sent);
        BOOST_TEST(*std::max_element(seen->chunks.begin(), seen->chunks.end()) <= 262144U);
    }
}

// rules 268, 359
OURO_ASYNC_TEST(a_pause_inside_connection_made_keeps_reading_from_starting) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(how.receiver);
        seen->on_made = [&] { seen->link->pause_reading(); };
        co_await eventually([] { return loop::current().counters().ops == 0; });
        auto on = co_await connect_recorder(seen, how.over);
        BOOST_TEST(loop::current().counters().ops == 0U);
        send_now(on.peer, "early");
        co_await settle(20);
        BOOST_TEST(seen->story() == "made");
        BOOST_TEST(seen->hints.empty());
        on.link->resume_reading();
        co_await eventually([&] { return seen->data == "early"; });
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
