// Watermarks: the arithmetic, and when protocols are told to pause and to resume.
#include <ouro/proto/flow_control.hpp>

#include <limits>
#include <random>

#include "recorder.hpp"

namespace ouro::test {
namespace {

using limits = std::pair<std::size_t, std::size_t>;

/// More than a narrow connection takes, less than `too_much_bytes`.
std::string flood(std::size_t offset = 0) { return pattern(too_much_bytes, offset); }

}  // namespace

BOOST_AUTO_TEST_SUITE(flow)

// rules 269, 272
BOOST_AUTO_TEST_CASE(the_defaults_are_64_and_16_kib) {
    const flow_control flow;
    BOOST_CHECK(flow.limits() == limits(16384, 65536));
}

// rules 270, 273
BOOST_AUTO_TEST_CASE(a_missing_limit_follows_from_the_other) {
    flow_control flow;
    BOOST_CHECK(!flow.set_limits(1000, -1));
    BOOST_CHECK(flow.limits() == limits(250, 1000));
    BOOST_CHECK(!flow.set_limits(7, -1));
    BOOST_CHECK(flow.limits() == limits(1, 7));
    BOOST_CHECK(!flow.set_limits(-1, 100));
    BOOST_CHECK(flow.limits() == limits(100, 400));
    BOOST_CHECK(!flow.set_limits(0, -1));
    BOOST_CHECK(flow.limits() == limits(0, 0));
    BOOST_CHECK(!flow.set_limits(-1, 0));
    BOOST_CHECK(flow.limits() == limits(0, 0));
    BOOST_CHECK(!flow.set_limits(-1, -1));
    BOOST_CHECK(flow.limits() == limits(16384, 65536));
}

// rule 271
BOOST_AUTO_TEST_CASE(limits_are_refused_unless_high_is_at_least_low_and_low_at_least_zero) {
    flow_control flow;
    BOOST_CHECK(flow.set_limits(10, 11) == errc::value_error);
    BOOST_CHECK(flow.set_limits(-2, -1) == errc::value_error);
    BOOST_CHECK(flow.set_limits(10, -2) == errc::value_error);
    BOOST_CHECK(flow.set_limits(0, 1) == errc::value_error);
    BOOST_CHECK(flow.limits() == limits(16384, 65536));
    BOOST_CHECK(!flow.set_limits(10, 10));
}

// rule 271
BOOST_AUTO_TEST_CASE(a_low_limit_too_large_to_quadruple_is_refused) {
    constexpr auto largest = std::numeric_limits<std::ptrdiff_t>::max();
    flow_control flow;
    BOOST_CHECK(flow.set_limits(-1, largest) == errc::value_error);
    BOOST_CHECK(flow.set_limits(-1, largest / 4 + 1) == errc::value_error);
    BOOST_CHECK(flow.limits() == limits(16384, 65536));
    BOOST_CHECK(!flow.set_limits(-1, largest / 4));
    BOOST_CHECK(!flow.set_limits(largest, largest));
}

// rules 274-276
BOOST_AUTO_TEST_CASE(pause_is_strictly_above_high_and_resume_at_or_below_low_in_turns) {
    flow_control flow;
    BOOST_CHECK(!flow.set_limits(100, 20));
    BOOST_TEST(!flow.should_resume(0));
    BOOST_TEST(!flow.should_pause(100));
    BOOST_TEST(!flow.paused());
    BOOST_TEST(flow.should_pause(101));
    BOOST_TEST(flow.paused());
    BOOST_TEST(!flow.should_pause(5000));
    BOOST_TEST(!flow.should_resume(21));
    BOOST_TEST(flow.should_resume(20));
    BOOST_TEST(!flow.should_resume(0));
    BOOST_TEST(flow.should_pause(101));
}

// rules 275, 273
BOOST_AUTO_TEST_CASE(a_low_limit_of_zero_resumes_at_the_empty_queue) {
    flow_control flow;
    BOOST_CHECK(!flow.set_limits(0, 0));
    BOOST_TEST(!flow.should_pause(0));
    BOOST_TEST(flow.should_pause(1));
    BOOST_TEST(!flow.should_resume(1));
    BOOST_TEST(flow.should_resume(0));
}

// rule 276
BOOST_AUTO_TEST_CASE(any_course_of_the_queue_makes_pauses_and_resumes_in_turns) {
    std::mt19937 random(276);
    flow_control flow;
    int pauses = 0;
    int resumes = 0;
    std::size_t queued = 0;
    for (int i = 0; i < 20'000; ++i) {
        if (random() % 50 == 0) {
            const auto high = static_cast<std::ptrdiff_t>(random() % 1000);
            BOOST_CHECK(!flow.set_limits(high, static_cast<std::ptrdiff_t>(random()) % (high + 1)));
        }
        queued = random() % 2000;
        const auto [low, high] = flow.limits();
        const bool was_paused = flow.paused();
        BOOST_TEST(flow.above(queued) == (queued > high));
        const bool pause = flow.should_pause(queued);
        BOOST_TEST(pause == (!was_paused && queued > high));
        pauses += pause;
        const bool resume = flow.should_resume(queued);
        BOOST_TEST(resume == ((was_paused || pause) && queued <= low));
        resumes += resume;
        BOOST_TEST((pauses - resumes == 0 || pauses - resumes == 1));
    }
    BOOST_TEST(resumes > 100);
}

// rules 269, 272
OURO_ASYNC_TEST(a_transport_has_the_default_limits_and_reports_others) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(on.link->get_write_buffer_limits() == limits(16384, 65536));
        BOOST_CHECK(!on.link->set_write_buffer_limits(400));
        BOOST_CHECK(on.link->get_write_buffer_limits() == limits(100, 400));
        BOOST_CHECK(on.link->set_write_buffer_limits(1, 2) == errc::value_error);
        BOOST_CHECK(on.link->get_write_buffer_limits() == limits(100, 400));
        BOOST_CHECK(!on.link->set_write_buffer_limits());
        BOOST_CHECK(on.link->get_write_buffer_limits() == limits(16384, 65536));
    }
}

// rules 274, 275, 277, 341
OURO_ASYNC_TEST(a_writer_pauses_inside_the_write_that_crosses_high_and_resumes_at_low) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        on.seen->on_pause = [&] {
            BOOST_TEST(on.link->get_write_buffer_size() >
                       on.link->get_write_buffer_limits().second);
        };
        on.seen->on_resume = [&] {
            BOOST_TEST(on.link->get_write_buffer_size() <=
                       on.link->get_write_buffer_limits().first);
        };
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_TEST(on.seen->story() == "made pause");  // no turn has passed
        BOOST_CHECK(!on.link->write("more"));
        BOOST_TEST(on.seen->story() == "made pause");
        co_await settle(10);
        BOOST_TEST(on.seen->story() == "made pause");
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes + 4) == flood() + "more");
        co_await eventually([&] { return on.seen->resumes == 1; });
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
        BOOST_TEST(on.seen->story() == "made pause resume");
    }
}

// rules 276, 275
OURO_ASYNC_TEST(pauses_and_resumes_alternate_over_many_rounds) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        for (int round = 1; round <= 3; ++round) {
            for (int i = 0; i < 4; ++i) BOOST_CHECK(!on.link->write(flood().substr(0, 600'000)));
            BOOST_TEST(on.seen->pauses == round);
            BOOST_TEST((co_await read_text(on.peer, 2'400'000)).size() == 2'400'000U);
            co_await eventually([&] { return on.seen->resumes == round; });
        }
    }
}

// rules 280, 731
OURO_ASYNC_TEST(what_the_kernel_takes_at_once_pauses_nobody) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->set_write_buffer_limits(1000));
        BOOST_CHECK(!on.link->write(pattern(40'000)));
        BOOST_TEST(on.seen->pauses == 0);
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        // Small writes are staged; above high they are offered to the kernel before anybody is
        // told to pause.
        for (int i = 0; i < 50; ++i) BOOST_CHECK(!on.link->write(pattern(100)));
        BOOST_TEST(on.seen->pauses == 0);
        BOOST_TEST((co_await read_text(on.peer, 45'000)).size() == 45'000U);
        BOOST_TEST(on.seen->story() == "made");
    }
}

// rule 273
OURO_ASYNC_TEST(with_a_high_limit_of_zero_the_first_byte_that_stays_pauses) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->set_write_buffer_limits(0));
        BOOST_CHECK(!on.link->write("taken"));
        BOOST_TEST(on.seen->pauses == 0);
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_TEST(on.seen->pauses == 1);
        BOOST_TEST((co_await read_text(on.peer, 5 + too_much_bytes)).size() == 5 + too_much_bytes);
        co_await eventually([&] { return on.seen->resumes == 1; });
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
    }
}

// rules 278, 279
OURO_ASYNC_TEST(lower_limits_pause_at_once_and_higher_ones_resume_nobody) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->set_write_buffer_limits(100'000'000));
        BOOST_CHECK(!on.link->write(flood()));
        co_await settle(10);
        BOOST_TEST(on.seen->story() == "made");
        BOOST_CHECK(!on.link->set_write_buffer_limits(1000));
        BOOST_TEST(on.seen->story() == "made pause");
        BOOST_CHECK(!on.link->set_write_buffer_limits(100'000'000, 100'000'000));
        co_await settle(10);
        BOOST_TEST(on.seen->story() == "made pause");
        BOOST_TEST((co_await read_text(on.peer, too_much_bytes)).size() == too_much_bytes);
        co_await eventually([&] { return on.seen->resumes == 1; });
    }
}

// rule 281
OURO_ASYNC_TEST(resume_writing_may_write_until_it_is_paused_again) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        std::size_t written = too_much_bytes;
        on.seen->on_resume = [&] {
            if (on.seen->resumes == 4) return;
            BOOST_CHECK(!on.link->write(flood(written)));
            written += too_much_bytes;
            BOOST_TEST(on.seen->pauses == on.seen->resumes + 1);
        };
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_CHECK(co_await read_text(on.peer, 4 * too_much_bytes) == pattern(4 * too_much_bytes));
        co_await eventually([&] { return on.seen->resumes == 4; });
        BOOST_TEST(on.seen->story() == "made pause resume pause resume pause resume pause resume");
    }
}

// rule 281
OURO_ASYNC_TEST(resume_writing_may_write_to_another_transport) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        auto other = co_await connect_recorder(how);
        on.seen->on_resume = [&] { BOOST_CHECK(!other.link->write("room again")); };
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_TEST((co_await read_text(on.peer, too_much_bytes)).size() == too_much_bytes);
        BOOST_TEST(co_await read_text(other.peer, 10) == "room again");
    }
}

// rule 282
OURO_ASYNC_TEST(resume_writing_may_close_or_abort) {
    for (const way& how : every_way) {
        for (const bool drop : {false, true}) {
            BOOST_TEST_INFO_SCOPE(how << (drop ? ", abort" : ", close"));
            auto on = co_await connect_narrow(how);
            on.seen->on_resume = [&] { drop ? on.link->abort() : on.link->close(); };
            BOOST_CHECK(!on.link->write(flood()));
            auto reading = spawn(read_to_end(on.kept_peer));
            co_await eventually([&] { return on.seen->lost(); });
            BOOST_TEST(on.seen->story() == "made pause resume lost");
            BOOST_CHECK(!on.seen->why);
            const std::string got = co_await std::move(reading);
            BOOST_CHECK(flood().starts_with(got));
            if (!drop) BOOST_TEST(got.size() == too_much_bytes);
        }
    }
}

// rules 283, 355
OURO_ASYNC_TEST(a_paused_protocol_that_is_aborted_hears_no_resume) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(flood()));
        on.link->abort();
        BOOST_TEST(on.link->get_write_buffer_size() == 0U);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(!on.link->set_write_buffer_limits(0));
        BOOST_CHECK(!on.link->write("late"));
        co_await settle();
        BOOST_TEST(on.seen->story() == "made pause lost");
    }
}

// rule 744
OURO_ASYNC_TEST(an_abort_inside_pause_writing_is_followed_by_the_end_only) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        on.seen->on_pause = [&] {
            on.link->abort();
            BOOST_TEST(on.link->get_write_buffer_size() == 0U);
            BOOST_TEST(!on.seen->lost());
        };
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_TEST(on.seen->story() == "made pause");
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made pause lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rule 745
OURO_ASYNC_TEST(a_close_inside_pause_writing_still_flushes_and_resumes_once) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        on.seen->on_pause = [&] { on.link->close(); };
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_CHECK(co_await read_to_end(on.peer) == flood());
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made pause resume lost");
        BOOST_CHECK(!on.seen->why);
    }
}

// rules 274, 324
OURO_ASYNC_TEST(a_write_inside_pause_writing_is_queued_behind) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        on.seen->on_pause = [&] { BOOST_CHECK(!on.link->write("[one more]")); };
        BOOST_CHECK(!on.link->write(flood()));
        BOOST_CHECK(!on.link->write("[after]"));
        BOOST_TEST(on.seen->pauses == 1);
        const std::string all = flood() + "[one more][after]";
        BOOST_CHECK(co_await read_text(on.peer, all.size()) == all);
    }
}

// fault 37
OURO_ASYNC_TEST(a_writer_that_heeds_its_pauses_keeps_the_queue_bounded) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        constexpr std::size_t piece_bytes = 10'000;
        std::size_t largest = 0;
        std::size_t written = 0;
        const auto write_on = [&] {
            while (on.seen->pauses == on.seen->resumes && written < 10 * too_much_bytes) {
                BOOST_CHECK(!on.link->write(pattern(piece_bytes, written)));
                written += piece_bytes;
                largest = std::max(largest, on.link->get_write_buffer_size());
            }
        };
        write_on();
        co_await settle(20);  // the peer reads nothing: nothing more is written
        BOOST_TEST(on.seen->pauses == 1);
        BOOST_TEST(written < too_much_bytes);
        on.seen->on_resume = write_on;
        std::string got;
        while (got.size() < 4 * too_much_bytes) got += co_await read_text(on.peer, 50'000);
        BOOST_CHECK(got == pattern(got.size()));
        BOOST_TEST(largest <= 65536 + piece_bytes);
        BOOST_TEST(on.seen->pauses > 3);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
