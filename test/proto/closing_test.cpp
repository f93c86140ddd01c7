// Half-close, close and abort, in every state.
#include <ouro/proto/transport.hpp>

#include "recorder.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(closing)

// rules 344, 347
// fault 34
OURO_ASYNC_TEST(end_of_stream_leaves_at_once_and_input_goes_on) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_TEST(on.link->can_write_eof());
        BOOST_CHECK(!on.link->write_eof());
        BOOST_TEST(sees_end(on.peer));  // no turn has passed
        BOOST_TEST(!on.link->is_closing());
        BOOST_TEST(on.link->is_reading());
        for (int i = 0; i < 5; ++i)
            co_await send_text(on.peer, pattern(50'000, on.seen->data.size()));
        co_await send_text(on.peer, "");
        co_await eventually([&] { return on.seen->data.size() == 250'000; });
        BOOST_TEST(on.seen->story() == "made data");
        end_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 344, 347
OURO_ASYNC_TEST(end_of_stream_waits_for_what_is_queued) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        BOOST_CHECK(!on.link->write_eof());
        BOOST_CHECK(co_await read_to_end(on.peer) == pattern(too_much_bytes));
        BOOST_TEST(!on.link->is_closing());
        send_now(on.peer, "answer");
        co_await eventually([&] { return on.seen->data == "answer"; });
    }
}

// rule 344
OURO_ASYNC_TEST(end_of_stream_follows_a_staged_write) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->write("small"));
        BOOST_CHECK(!on.link->write_eof());
        BOOST_TEST(co_await read_to_end(on.peer) == "small");
        BOOST_TEST(!on.link->is_closing());
    }
}

// rules 344, 278
OURO_ASYNC_TEST(end_of_stream_leaves_when_new_limits_empty_the_queue_at_once) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->write("small"));
        BOOST_CHECK(!on.link->write_eof());
        BOOST_CHECK(!on.link->set_write_buffer_limits(0));
        BOOST_TEST(co_await read_to_end(on.peer) == "small");
        BOOST_TEST(on.seen->story() == "made");
    }
}

// rules 345, 354
OURO_ASYNC_TEST(half_closing_twice_or_after_close_changes_nothing) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        BOOST_CHECK(!on.link->write_eof());
        BOOST_CHECK(!on.link->write_eof());
        on.link->close();
        BOOST_CHECK(!on.link->write_eof());
        BOOST_CHECK(co_await read_to_end(on.peer) == pattern(too_much_bytes));
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.link->write_eof());
        BOOST_TEST(on.seen->story() == "made pause resume lost");
    }
}

// rule 345
OURO_ASYNC_TEST(half_closing_a_closing_connection_does_not_forbid_writes) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.link->close();
        BOOST_CHECK(!on.link->write_eof());
        BOOST_CHECK(!on.link->write("more"));
        BOOST_CHECK(co_await read_to_end(on.peer) == pattern(too_much_bytes) + "more");
        co_await eventually([&] { return on.seen->lost(); });
    }
}

// rules 348, 351
OURO_ASYNC_TEST(a_close_after_a_half_close_flushes) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        BOOST_CHECK(!on.link->write_eof());
        on.link->close();
        co_await settle(10);
        BOOST_TEST(!on.seen->lost());
        BOOST_CHECK(co_await read_to_end(on.peer) == pattern(too_much_bytes));
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 266, 349, 350, 360, 361
OURO_ASYNC_TEST(closing_an_idle_connection_is_over_in_the_next_turns) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->close();
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(!on.link->is_reading());
        BOOST_TEST(!on.seen->lost());
        co_await settle(4);  // the receive is taken back first
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(!on.seen->why);
        BOOST_TEST((co_await read_to_end(on.peer)).empty());
    }
}

// rules 742, 726
// fault 14
OURO_ASYNC_TEST(a_close_with_a_receive_in_flight_reaches_the_peer) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        co_await settle();
        BOOST_TEST(loop::current().counters().ops > 0U);
        on.link->close();
        co_await eventually([&] { return sees_end(on.peer); });
        co_await eventually([] { return loop::current().counters().ops == 0; });
    }
}

// rules 349, 351
OURO_ASYNC_TEST(closing_flushes_what_is_queued) {
    for (const way& how : every_way) {
        for (const std::size_t size : {std::size_t{5}, std::size_t{50'000}, too_much_bytes}) {
            BOOST_TEST_INFO_SCOPE(how << ", " << size << " bytes");
            auto on = co_await connect_narrow(how);
            BOOST_CHECK(!on.link->write("<"));
            BOOST_CHECK(!on.link->write(pattern(size)));
            on.link->close();
            BOOST_CHECK(co_await read_to_end(on.peer) == "<" + pattern(size));
            co_await eventually([&] { return on.seen->lost(); });
            BOOST_CHECK(!on.seen->why);
        }
    }
}

// rule 352
OURO_ASYNC_TEST(a_closing_connection_takes_writes_while_it_flushes) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        std::string all = pattern(too_much_bytes);
        BOOST_CHECK(!on.link->write(all));
        on.link->close();
        const bytes chunks[] = {as_bytes(" and"), as_bytes(" lines")};
        BOOST_CHECK(!on.link->write(" more"));
        BOOST_CHECK(!on.link->writelines(chunks));
        all += " more and lines";
        BOOST_CHECK(co_await read_to_end(on.peer) == all);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.link->write("too late"));
        BOOST_TEST(on.seen->story() == "made pause resume lost");
    }
}

// rules 352, 351
OURO_ASYNC_TEST(close_finishes_when_a_later_write_empties_the_queue_at_once) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->set_write_buffer_limits(1000));
        BOOST_CHECK(!on.link->write("staged "));
        on.link->close();
        BOOST_CHECK(!on.link->write(pattern(40'000)));
        BOOST_CHECK(co_await read_to_end(on.peer) == "staged " + pattern(40'000));
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
    }
}

// rules 353, 360, 732
OURO_ASYNC_TEST(an_error_while_flushing_is_the_reason_of_the_end) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.link->close();
        co_await settle(10);
        on.peer.close();  // with unread input
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made pause lost");
        BOOST_CHECK(on.seen->why == std::errc::broken_pipe ||
                    on.seen->why == std::errc::connection_reset);
    }
}

// rules 354, 357
// fault 63
OURO_ASYNC_TEST(any_order_of_closes_and_aborts_loses_a_connection_once) {
    const std::string_view orders[] = {"cc", "ca", "ac", "aa", "cac", "caa", "eca", "aec"};
    for (const way& how : every_way) {
        for (const std::string_view order : orders) {
            for (const int turns : {0, 1, 2}) {
                BOOST_TEST_INFO_SCOPE(how << ", " << order << ", " << turns << " turns between");
                auto on = co_await connect_recorder(how);
                BOOST_CHECK(!on.link->write("x"));
                for (const char step : order) {
                    if (step == 'c') on.link->close();
                    if (step == 'a') on.link->abort();
                    if (step == 'e') BOOST_CHECK(!on.link->write_eof());
                    co_await settle(turns);
                }
                co_await eventually([&] { return on.seen->lost(); });
                co_await settle();
                BOOST_TEST(on.seen->story() == "made lost");
                BOOST_CHECK(!on.seen->why);
            }
        }
    }
}

// rules 355, 358, 266
OURO_ASYNC_TEST(aborting_drops_what_is_queued_and_calls_nothing_from_inside) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.link->abort();
        BOOST_TEST(on.link->is_closing());
        BOOST_TEST(!on.link->is_reading());
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        BOOST_TEST(on.seen->story() == "made pause");
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.seen->why);
        BOOST_TEST((co_await read_to_end(on.peer)).size() < too_much_bytes);
    }
}

// rules 356, 733, 726
OURO_ASYNC_TEST(an_abort_ends_a_close_that_cannot_flush) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.link->close();
        co_await settle(10);
        BOOST_TEST(!on.seen->lost());
        on.link->abort();
        BOOST_TEST(!on.seen->lost());
        co_await settle(5);  // the peer reads nothing and is not waited for
        BOOST_TEST(on.seen->story() == "made pause lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 355, 726, 733
// fault 12
OURO_ASYNC_TEST(an_abort_takes_back_a_send_to_a_peer_that_has_half_closed) {
    for (const way& how : every_way) {
        for (const int turns : {0, 1, 2, 3, 10, 150, 300}) {
            BOOST_TEST_INFO_SCOPE(how << ", aborted after " << turns << " turns");
            auto on = co_await connect_narrow(how);
            on.seen->stay_open_after_eof = true;
            BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
            end_now(on.peer);
            co_await settle(turns);
            on.link->abort();
            co_await eventually([&] { return on.seen->lost(); });
            BOOST_CHECK(!on.seen->why);
            co_await eventually([] { return loop::current().counters().ops == 0; });
        }
    }
}

// rules 359, 268
OURO_ASYNC_TEST(closing_inside_connection_made_gives_the_creator_a_closing_pair) {
    for (const way& how : every_way) {
        for (const bool drop : {false, true}) {
            BOOST_TEST_INFO_SCOPE(how << (drop ? ", abort" : ", close"));
            auto seen = make_recorder(how.receiver);
            seen->on_made = [&] {
                BOOST_CHECK(!seen->link->write("bye"));
                drop ? seen->link->abort() : seen->link->close();
            };
            auto on = co_await connect_recorder(seen, how.over);
            BOOST_TEST(on.link->is_closing());
            send_now(on.peer, "never read");
            co_await eventually([&] { return seen->lost(); });
            BOOST_TEST(seen->story() == "made lost");
            BOOST_TEST(seen->hints.empty());
        }
    }
}

// rules 361, 287, 285
OURO_ASYNC_TEST(the_descriptor_is_open_during_connection_lost_and_closed_after_it) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const auto* view = on.link->get_extra_info<const socket_view*>("socket");
        const int fd = view->fd();
        const auto descriptors = loop::current().counters().descriptors;
        int fd_inside = -1;
        on.seen->on_lost = [&] { fd_inside = view->fd(); };
        on.link->close();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(fd_inside == fd);
        BOOST_TEST(view->fd() == -1);
        BOOST_TEST(loop::current().counters().descriptors == descriptors - 1);
        BOOST_TEST(on.link->get_extra_info<const socket_view*>("socket") == view);
    }
}

// rules 296, 362
OURO_ASYNC_TEST(every_call_on_a_lost_connection_is_harmless) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->abort();
        const auto call_all = [&] {
            on.link->pause_reading();
            on.link->resume_reading();
            BOOST_TEST(!on.link->is_reading());
            BOOST_CHECK(!on.link->write_eof());
            on.link->close();
            on.link->abort();
            BOOST_CHECK(!on.link->set_write_buffer_limits(0));
            BOOST_TEST(on.link->get_write_buffer_size() == 0U);
            BOOST_TEST(on.link->is_closing());
            BOOST_TEST(!on.link->get_extra_info<std::string>("nothing", "").size());
        };
        call_all();
        on.seen->on_lost = call_all;
        co_await eventually([&] { return on.seen->lost(); });
        for (int i = 0; i < 3; ++i) {
            call_all();
            co_await settle();
        }
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.link->get_protocol() == nullptr);
    }
}

// rule 306
OURO_ASYNC_TEST(an_end_that_came_before_a_reset_is_an_end) {
    for (const way& how : each_kind) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.link->pause_reading();
        send_now(on.peer, "bye");
        on.peer.close();
        co_await settle();
        BOOST_CHECK(!on.link->write("nobody is there to read this"));
        const auto* view = on.link->get_extra_info<const socket_view*>("socket");
        co_await eventually([&] { return !view->peer_address(); });  // the answer is a reset
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->data == "bye");
        BOOST_TEST(on.seen->eofs == 1);
        BOOST_TEST(!on.seen->why);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
