// Buffered protocols: whose memory is filled, by whom, and when it is given back.
#include <ouro/proto/protocol.hpp>

#include <sys/mman.h>

#include <numeric>

#include "recorder.hpp"

namespace ouro::test {
namespace {

/// Pages a user-space write to which would end the process, while the kernel only says EFAULT.
class forbidden_pages {
  public:
    forbidden_pages() {
        memory_ = ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        BOOST_REQUIRE(memory_ != MAP_FAILED);
    }
    forbidden_pages(const forbidden_pages&) = delete;
    forbidden_pages& operator=(const forbidden_pages&) = delete;
    ~forbidden_pages() { ::munmap(memory_, size); }
    mut_bytes span() const { return {static_cast<std::byte*>(memory_), size}; }

  private:
    static constexpr std::size_t size = 4096;
    void* memory_;
};

std::size_t total(const std::vector<std::size_t>& chunks) {
    return std::accumulate(chunks.begin(), chunks.end(), std::size_t{0});
}

}  // namespace

BOOST_AUTO_TEST_SUITE(buffered)

constexpr way buffered_ways[] = {{kind::buffered, medium::tcp},
                                 {kind::buffered, medium::unix_stream}};

// rule 311
OURO_ASYNC_TEST(the_hint_is_minus_one_or_a_size_and_binds_nobody) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(kind::buffered);
        seen->give_buffer = [small = std::vector<std::byte>(3),
                             large = std::vector<std::byte>(1 << 20),
                             turn = 0](std::ptrdiff_t) mutable {
            return ++turn % 5 ? mut_bytes(small) : mut_bytes(large);
        };
        auto on = co_await connect_recorder(seen, how.over);
        auto sending = spawn(send_text(on.kept_peer, pattern(2000)));
        co_await eventually([&] { return on.seen->data.size() == 2000; });
        co_await sending;
        BOOST_CHECK(on.seen->data == pattern(2000));
        for (const auto hint : on.seen->hints) BOOST_TEST((hint == -1 || hint > 0));
    }
}

// rule 312
// fault 21
OURO_KERNEL_TEST(the_kernel_itself_writes_into_the_memory_of_the_protocol,
                 "only the real kernel survives writing to pages that are forbidden") {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        const forbidden_pages untouchable;
        auto seen = make_recorder(kind::buffered);
        seen->give_buffer = [&](std::ptrdiff_t) { return untouchable.span(); };
        auto on = co_await connect_recorder(seen, how.over);
        send_now(on.peer, "a copy made by the library would be a segmentation fault");
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_CHECK(on.seen->why == std::errc::bad_address);
    }
}

// rules 312, 320
OURO_ASYNC_TEST(the_bytes_stand_at_the_start_of_the_buffer_and_nothing_else_changed) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(kind::buffered);
        std::vector<std::byte> room(64, std::byte{'.'});
        seen->give_buffer = [&](std::ptrdiff_t) { return mut_bytes(room).subspan(16, 32); };
        auto on = co_await connect_recorder(seen, how.over);
        send_now(on.peer, "twelve bytes");
        co_await eventually([&] { return on.seen->data == "twelve bytes"; });
        on.link->abort();
        co_await eventually([&] { return on.seen->lost(); });  // until then it is lent out again
        BOOST_TEST(as_text(room) == std::string(16, '.') + "twelve bytes" + std::string(36, '.'));
    }
}

// rule 313
OURO_ASYNC_TEST(a_buffer_may_stay_unused_at_the_end) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        co_await eventually([&] { return on.seen->hints.size() == 1; });
        end_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made eof lost");
        BOOST_TEST(on.seen->hints.size() == 1U);
    }
}

// rule 314
OURO_ASYNC_TEST(a_get_buffer_that_throws_ends_the_connection) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->on_get_buffer = [] { throw std::runtime_error("no memory for you"); };
        send_now(on.peer, "one");
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->data == "one");  // what came before is not taken back
        BOOST_TEST(on.seen->story() == "made data lost");
        BOOST_CHECK(on.seen->why == errc::callback_threw);
        BOOST_TEST(take_reports().size() == 1U);
    }
}

// rules 314, 267
OURO_ASYNC_TEST(a_first_get_buffer_that_throws_still_gives_the_creator_its_pair) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(kind::buffered);
        seen->on_get_buffer = [] { throw std::runtime_error("never"); };
        auto on = co_await connect_recorder(seen, how.over);
        BOOST_TEST(on.link->is_closing());
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->story() == "made lost");
        BOOST_TEST(take_reports().size() == 1U);
    }
}

// rule 315
OURO_ASYNC_TEST(an_empty_buffer_is_a_fatal_error) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->give_buffer = [](std::ptrdiff_t) { return mut_bytes(); };
        send_now(on.peer, "one");
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_CHECK(on.seen->why == errc::empty_buffer);
        const auto reports = take_reports();
        BOOST_REQUIRE_EQUAL(reports.size(), 1U);
        BOOST_CHECK(reports.at(0).error == errc::empty_buffer);
    }
}

// rules 316, 360
OURO_ASYNC_TEST(a_buffer_updated_that_throws_ends_the_connection_with_that_error) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->memory.resize(10);
        on.seen->on_data = [] { throw std::runtime_error("too hard"); };
        send_now(on.peer, pattern(100));
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(on.seen->chunks.size() == 1U);
        BOOST_CHECK(on.seen->why == errc::callback_threw);
        BOOST_REQUIRE(on.seen->why.exception());
        BOOST_CHECK_THROW(std::rethrow_exception(on.seen->why.exception()), std::runtime_error);
        BOOST_TEST(take_reports().size() == 1U);
    }
}

// rules 318, 321
OURO_ASYNC_TEST(buffers_of_any_size_receive_any_amount) {
    for (const way& how : buffered_ways) {
        for (const std::size_t room : {1U, 50U, 100U, 4095U, 300'000U}) {
            BOOST_TEST_INFO_SCOPE(how << ", " << room << " bytes of buffer");
            auto seen = make_recorder(kind::buffered);
            seen->memory.resize(room);
            auto on = co_await connect_recorder(seen, how.over);
            const std::string sent = pattern(std::min<std::size_t>(room * 500, 1'000'000));
            auto sending = spawn(send_text(on.kept_peer, sent));
            co_await eventually([&] { return on.seen->data.size() == sent.size(); });
            co_await sending;
            BOOST_CHECK(on.seen->data == sent);
            BOOST_TEST(total(on.seen->chunks) == sent.size());
        }
    }
}

// rules 320, 725
OURO_ASYNC_TEST(the_buffer_is_not_touched_after_connection_lost) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto seen = make_recorder(kind::buffered);
        std::vector<std::byte> room(1000, std::byte{'.'});
        seen->give_buffer = [&](std::ptrdiff_t) { return mut_bytes(room); };
        auto on = co_await connect_recorder(seen, how.over);
        co_await eventually([&] { return on.seen->hints.size() == 1; });
        on.link->abort();
        // A receive into `room` is still in flight here. It must be back before the protocol
        // hears of the end.
        seen->on_lost = [&] {
            BOOST_TEST(loop::current().counters().ops == 0U);
            std::fill(room.begin(), room.end(), std::byte{'#'});
            send_now(on.peer, "late");
        };
        co_await eventually([&] { return on.seen->lost(); });
        co_await settle();
        BOOST_TEST(as_text(room) == std::string(1000, '#'));
    }
}

// rules 297, 307
OURO_ASYNC_TEST(a_pause_or_close_inside_get_buffer_stops_delivery) {
    for (const way& how : buffered_ways) {
        for (const bool close : {false, true}) {
            BOOST_TEST_INFO_SCOPE(how << (close ? ", close" : ", pause"));
            auto on = co_await connect_recorder(how);
            on.seen->on_get_buffer = [&] { close ? on.link->close() : on.link->pause_reading(); };
            send_now(on.peer, "one");
            co_await eventually([&] { return on.seen->data == "one"; });
            send_now(on.peer, "two");
            co_await settle(20);
            BOOST_TEST(on.seen->data == "one");
            BOOST_TEST(on.seen->lost() == close);
            if (close) continue;
            on.seen->on_get_buffer = nullptr;
            on.link->resume_reading();
            co_await eventually([&] { return on.seen->data == "onetwo"; });
        }
    }
}

// rules 268, 311
OURO_ASYNC_TEST(a_buffer_is_asked_for_only_when_it_will_be_filled) {
    for (const way& how : buffered_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        co_await settle(10);
        BOOST_TEST(on.seen->hints.size() == 1U);  // idle: the one the kernel has
        on.link->pause_reading();
        send_now(on.peer, "held");
        co_await settle(10);
        BOOST_TEST(on.seen->hints.size() == 1U);
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->data == "held"; });
        co_await settle(10);
        BOOST_TEST(on.seen->hints.size() == 2U);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
