// The figures of a transport, and the record of its end.
#include <ouro/proto/transport_statistics.hpp>

#include <ouro/runtime/connection_record.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

/// Has the records of the running loop put into what is returned.
std::shared_ptr<std::vector<connection_record>> log_of(loop& home) {
    auto all = std::make_shared<std::vector<connection_record>>();
    home.set_connection_log([all](const connection_record& ended) { all->push_back(ended); });
    return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(figures)

OURO_ASYNC_TEST(bytes_are_counted_both_ways) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        send_now(on.peer, pattern(1000));
        co_await eventually([&] { return on.seen->data.size() == 1000; });
        on.link->write("0123456789");
        on.link->write(pattern(20'000));  // offered to the socket at once
        std::vector<std::byte> given(30'000);
        on.link->write(std::move(given));
        on.link->write(buffer_lease::copy_of(as_bytes("lease")));
        BOOST_TEST(on.link->statistics().bytes_queued == on.link->get_write_buffer_size());
        BOOST_TEST((co_await read_text(on.peer, 50'015)).size() == 50'015U);
        co_await eventually([&] { return on.link->statistics().bytes_sent == 50'015; });
        const transport_statistics now = on.link->statistics();
        BOOST_TEST(now.bytes_received == 1000U);
        BOOST_TEST(now.bytes_queued == 0U);
        BOOST_TEST(now.high_water_hits == 0U);
        BOOST_CHECK(now.paused_time == clock::duration::zero());
        BOOST_CHECK(now.oldest_queued_age == clock::duration::zero());
        BOOST_CHECK(now.made_at <= loop::current().time());
        on.link->pause_reading();
        send_now(on.peer, pattern(500));
        co_await settle(10);
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->data.size() == 1500; });
        BOOST_TEST(on.link->statistics().bytes_received == 1500U);
    }
}

OURO_ASYNC_TEST(a_peer_that_does_not_read_shows_in_age_pause_and_hits) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_narrow(how);
        on.link->write(pattern(too_much_bytes));
        BOOST_TEST(on.link->statistics().high_water_hits == 1U);
        co_await sleep(std::chrono::milliseconds(60));
        const transport_statistics stuck = on.link->statistics();
        BOOST_TEST(stuck.bytes_queued > 64'000U);
        BOOST_TEST(stuck.bytes_queued + stuck.bytes_sent <= too_much_bytes);
        BOOST_CHECK(stuck.paused_time > std::chrono::milliseconds(30));
        BOOST_CHECK(stuck.oldest_queued_age > std::chrono::milliseconds(30));
        BOOST_CHECK(co_await read_text(on.peer, too_much_bytes) == pattern(too_much_bytes));
        co_await eventually([&] { return on.seen->resumes == 1; });
        co_await eventually([&] { return on.link->get_write_buffer_size() == 0; });
        const transport_statistics after = on.link->statistics();
        BOOST_TEST(after.bytes_sent == too_much_bytes);
        BOOST_CHECK(after.paused_time >= stuck.paused_time);
        BOOST_CHECK(after.oldest_queued_age == clock::duration::zero());
        BOOST_CHECK(on.link->statistics().paused_time == after.paused_time);
    }
}

OURO_ASYNC_TEST(the_record_says_who_closed_and_what_went_both_ways) {
    const auto log = log_of(loop::current());
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        log->clear();
        auto on = co_await connect_recorder(how);
        on.seen->on_lost = [&] { BOOST_TEST(log->empty()); };
        send_now(on.peer, "question");
        co_await eventually([&] { return on.seen->data == "question"; });
        on.link->write("answer");
        on.link->close();
        co_await eventually([&] { return log->size() == 1; });
        const connection_record& last = log->front();
        BOOST_CHECK(last.who == closed_by::us);
        BOOST_TEST(!last.aborted);
        BOOST_TEST(!last.why);
        BOOST_TEST(last.bytes_received == 8U);
        BOOST_TEST(last.bytes_sent == 6U);
        BOOST_TEST(last.bytes_dropped == 0U);
        BOOST_TEST(last.local == on.link->get_extra_info<address>("sockname").to_string());
        BOOST_TEST(last.peer == on.link->get_extra_info<address>("peername").to_string());
        BOOST_CHECK(last.made_at <= last.lost_at);
        BOOST_TEST(on.link->statistics().bytes_sent == 6U);  // also afterwards
        on.seen->forget_hooks();
    }
}

OURO_ASYNC_TEST(the_record_tells_a_peers_end_from_a_failure_and_from_an_abort) {
    const auto log = log_of(loop::current());
    {
        auto on = co_await connect_recorder(way{});
        end_now(on.peer);
        co_await eventually([&] { return log->size() == 1; });
        BOOST_CHECK(last_of(*log).who == closed_by::peer);
        BOOST_TEST(!last_of(*log).why);
    }
    {
        auto on = co_await connect_recorder(way{});
        reset_now(on.peer);
        co_await eventually([&] { return log->size() == 2; });
        BOOST_CHECK(last_of(*log).who == closed_by::failure);
        BOOST_CHECK(last_of(*log).why == std::errc::connection_reset);
    }
    {
        auto on = co_await connect_narrow(way{});
        on.link->write(pattern(too_much_bytes));
        on.link->abort();
        co_await eventually([&] { return log->size() == 3; });
        BOOST_CHECK(last_of(*log).who == closed_by::us);
        BOOST_TEST(last_of(*log).aborted);
        BOOST_TEST(last_of(*log).high_water_hits == 1U);
        BOOST_TEST(last_of(*log).bytes_dropped + last_of(*log).bytes_sent == too_much_bytes);
    }
    {  // what stays open after the peer's end is ours to close
        auto on = co_await connect_recorder(way{});
        on.seen->stay_open_after_eof = true;
        end_now(on.peer);
        co_await eventually([&] { return on.seen->eofs == 1; });
        on.link->close();
        co_await eventually([&] { return log->size() == 4; });
        BOOST_CHECK(last_of(*log).who == closed_by::us);
    }
}

OURO_ASYNC_TEST(a_log_may_end_the_records_from_inside) {
    auto own = std::make_shared<int>(0);
    const std::weak_ptr<int> kept = own;
    auto was_kept = std::make_shared<bool>(false);
    loop::current().set_connection_log([own = std::move(own), kept, was_kept](const auto&) {
        loop::current().set_connection_log({});
        *was_kept = !kept.expired();
    });
    auto on = co_await connect_recorder(way{});
    on.link->close();
    co_await eventually([&] { return on.seen->lost(); });
    co_await eventually([&] { return kept.expired(); });
    BOOST_TEST(*was_kept);
}

OURO_ASYNC_TEST(a_log_that_throws_is_reported_and_an_empty_one_ends_the_records) {
    loop& home = loop::current();
    home.set_connection_log([](const connection_record&) { throw std::runtime_error("no disk"); });
    {
        auto on = co_await connect_recorder(way{});
        on.link->close();
        co_await eventually([&] { return on.link->get_protocol() == nullptr; });
    }
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0).describe().find("no disk") != std::string::npos);
    const auto log = log_of(home);
    home.set_connection_log({});
    auto on = co_await connect_recorder(way{});
    on.link->close();
    co_await eventually([&] { return on.seen->lost(); });
    co_await settle();
    BOOST_TEST(log->empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
