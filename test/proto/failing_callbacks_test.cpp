// Protocols that throw, and protocols that take down what they stand on, in each callback.
#include <ouro/proto/protocol.hpp>

#include <stdexcept>

#include <ouro/proto/server.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

/// The callbacks of a protocol, as places where something may happen.
enum class place { made, data, eof, pause, resume, lost, get_buffer };

constexpr place every_place[] = {place::made,   place::data, place::eof,       place::pause,
                                 place::resume, place::lost, place::get_buffer};

recorder::hook& hook_at(recorder& of, place where) {
    switch (where) {
    case place::made:
        return of.on_made;
    case place::data:
        return of.on_data;
    case place::eof:
        return of.on_eof;
    case place::pause:
        return of.on_pause;
    case place::resume:
        return of.on_resume;
    case place::lost:
        return of.on_lost;
    default:
        return of.on_get_buffer;
    }
}

void throw_boom() { throw std::runtime_error("boom"); }

std::string text_of(const error& why) {
    try {
        if (why.exception()) std::rethrow_exception(why.exception());
    } catch (const std::exception& thrown) {
        return thrown.what();
    }
    return {};
}

/// Exactly one report, and it is about the exception.
void expect_boom_reported() {
    const auto reports = take_reports();
    BOOST_REQUIRE_EQUAL(reports.size(), 1U);
    BOOST_TEST(text_of(reports.at(0).error) == "boom");
    BOOST_CHECK(reports.at(0).level == severity::failure);
    BOOST_TEST(!reports.at(0).subject.empty());
}

/// Drives a connection through all its callbacks, as far as it lets itself be driven.
task<> exercise(linked& on) {
    if (!on.seen->lost()) send_now(on.peer, "some data");
    co_await settle(10);
    BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
    std::vector<std::byte> room(64 * 1024);
    while (true) {
        const auto got = co_await as_result(on.peer.recv_into(room));
        if (!got || *got == 0) break;
        if (on.seen->resumes == 1 && !sees_end(on.peer)) (void)on.peer.shutdown_write();
    }
    if (!on.seen->lost()) on.link->close();
    co_await eventually([&] { return on.seen->lost(); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(failing_callbacks)

// rule 309
// fault 56
OURO_ASYNC_TEST(an_error_of_connection_made_is_reported_and_the_connection_lives) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(how.receiver);
        seen->on_made = throw_boom;
        auto on = co_await connect_recorder(seen, how.over);
        expect_boom_reported();
        BOOST_TEST(!on.link->is_closing());
        send_now(on.peer, "delivered");
        co_await eventually([&] { return on.seen->data == "delivered"; });
        BOOST_CHECK(!on.link->write("answered"));
        BOOST_TEST(co_await read_text(on.peer, 8) == "answered");
    }
}

// rules 300, 316, 360
// fault 56
OURO_ASYNC_TEST(an_error_of_a_data_callback_is_reported_and_ends_the_connection) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        auto bystander = co_await connect_recorder(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.seen->on_data = throw_boom;
        send_now(on.peer, "too much to bear");
        co_await eventually([&] { return on.seen->lost(); });
        expect_boom_reported();
        BOOST_TEST(on.seen->story() == "made pause data lost");
        BOOST_TEST(text_of(on.seen->why) == "boom");
        send_now(bystander.peer, "alive");
        co_await eventually([&] { return bystander.seen->data == "alive"; });
    }
}

// rules 304, 317, 360
// fault 56
OURO_ASYNC_TEST(an_error_of_eof_received_is_reported_and_aborts) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.seen->on_eof = throw_boom;
        end_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        expect_boom_reported();
        BOOST_TEST(on.seen->story() == "made pause eof lost");
        BOOST_TEST(text_of(on.seen->why) == "boom");
    }
}

// rule 310
// fault 56
OURO_ASYNC_TEST(an_error_of_connection_lost_is_reported_and_the_descriptor_released) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const auto before = loop::current().counters().descriptors;
        on.seen->on_lost = throw_boom;
        on.link->close();
        co_await eventually([&] { return on.seen->lost(); });
        expect_boom_reported();
        BOOST_TEST(loop::current().counters().descriptors == before - 1);
        BOOST_TEST((co_await read_to_end(on.peer)).empty());
    }
}

// rules 80, 274, 275
// fault 56
OURO_ASYNC_TEST(errors_of_pause_and_resume_are_reported_and_the_connection_lives) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        on.seen->on_pause = throw_boom;
        on.seen->on_resume = throw_boom;
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        expect_boom_reported();
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes) == pattern(too_much_bytes));
        co_await eventually([&] { return on.seen->resumes == 1; });
        expect_boom_reported();
        BOOST_TEST(!on.link->is_closing());
        BOOST_CHECK(!on.link->write("still writing"));
        BOOST_TEST(co_await read_text(on.peer, 13) == "still writing");
    }
}

// rules 300, 360
OURO_ASYNC_TEST(a_system_error_that_is_thrown_keeps_its_code) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->on_data = [] {
            throw std::system_error(std::make_error_code(std::errc::no_space_on_device));
        };
        send_now(on.peer, "x");
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(on.seen->why == std::errc::no_space_on_device);
        BOOST_TEST(take_reports().size() == 1U);
    }
}

// rules 263, 732
// fault 56
OURO_ASYNC_TEST(callbacks_that_all_throw_lose_a_connection_once_with_the_first_error) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        BOOST_CHECK(!on.link->write(pattern(too_much_bytes)));
        on.seen->on_data = [] { throw std::runtime_error("first"); };
        on.seen->on_lost = [] { throw std::runtime_error("second"); };
        send_now(on.peer, "x");
        if (how.over == medium::tcp) {
            reset_now(on.peer);
        } else {
            on.peer.close();
        }
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->losses == 1);
        // The reset may come first; then there was no data.
        if (on.seen->data.empty()) {
            BOOST_TEST(take_reports().size() == 1U);
        } else {
            BOOST_TEST(text_of(on.seen->why) == "first");
            BOOST_TEST(take_reports().size() == 2U);
        }
    }
}

// rules 263, 282, 307, 359, 732
// fault 57
OURO_ASYNC_TEST(closing_and_aborting_work_in_every_callback) {
    for (const way& how : every_way) {
        for (const place where : every_place) {
            for (const bool drop : {false, true}) {
                BOOST_TEST_INFO_SCOPE(how << ", callback " << static_cast<int>(where)
                                          << (drop ? ", abort" : ", close"));
                auto seen = make_recorder(how.receiver);
                hook_at(*seen, where) = [&] { drop ? seen->link->abort() : seen->link->close(); };
                auto on = co_await connect_narrow(how, seen);
                co_await exercise(on);
                BOOST_TEST(seen->losses == 1);
                BOOST_CHECK(!seen->why || seen->why == std::errc::connection_reset ||
                            seen->why == std::errc::broken_pipe);
            }
        }
    }
}

// rule 263
// faults 56, 57
OURO_ASYNC_TEST(throwing_works_in_every_callback_also_after_an_abort) {
    for (const way& how : every_way) {
        for (const place where : every_place) {
            for (const bool drop : {false, true}) {
                BOOST_TEST_INFO_SCOPE(how << ", callback " << static_cast<int>(where)
                                          << (drop ? ", after abort" : ""));
                auto seen = make_recorder(how.receiver);
                int thrown = 0;
                hook_at(*seen, where) = [&] {
                    if (thrown++) return;
                    if (drop) seen->link->abort();
                    throw_boom();
                };
                auto on = co_await connect_narrow(how, seen);
                co_await exercise(on);
                BOOST_TEST(seen->losses == 1);
                BOOST_TEST(take_reports().size() == static_cast<std::size_t>(thrown ? 1 : 0));
            }
        }
    }
}

// rules 263, 362
// fault 57
OURO_ASYNC_TEST(dropping_every_reference_inside_a_callback_is_harmless) {
    for (const way& how : every_way) {
        for (const place where :
             {place::made, place::data, place::eof, place::pause, place::lost}) {
            BOOST_TEST_INFO_SCOPE(how << ", callback " << static_cast<int>(where));
            auto [own, other] = co_await socket_pair(how.over);
            auto destroyed = std::make_shared<bool>(false);
            {
                auto seen = make_recorder(how.receiver);
                seen->destroyed = destroyed;
                recorder* const self = seen.get();
                hook_at(*seen, where) = [self] { self->link.reset(); };
                auto made = co_await create_connection(factory_of(std::move(seen)), std::move(own));
                if (where == place::pause) BOOST_CHECK(!made.transport->write(pattern(9'000'000)));
                if (where == place::lost) made.transport->abort();
            }
            if (where == place::data) send_now(other, "x");
            co_await settle();
            other.close();
            co_await eventually(
                [&] { return *destroyed || loop::current().counters().resources == 0; });
            BOOST_TEST(loop::current().counters().resources == 0U);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
