// Leases on a transport: kept, passed on, bounded.
#include <ouro/proto/protocol.hpp>

#include <algorithm>

#include "recorder.hpp"

namespace ouro::test {
namespace {

constexpr way leasing_ways[] = {{kind::leasing, medium::tcp}, {kind::leasing, medium::unix_stream}};

/// A transport of somebody who has never heard of leases.
class plain_transport final : public write_transport {
  public:
    std::string written;
    using write_transport::write;
    std::error_code write(bytes data) override {
        written += as_text(data);
        return {};
    }
    std::error_code write(std::vector<std::byte>&& data) override { return write(bytes(data)); }
    std::error_code writelines(std::span<const bytes>) override { return {}; }
    std::error_code write_eof() override { return {}; }
    bool can_write_eof() const noexcept override { return false; }
    void abort() override {}
    std::error_code set_write_buffer_limits(std::ptrdiff_t, std::ptrdiff_t) override { return {}; }
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return {};
    }
    std::size_t get_write_buffer_size() const noexcept override { return 0; }
    void close() override {}
    bool is_closing() const noexcept override { return false; }
    void set_protocol(std::shared_ptr<base_protocol>) override {}
    std::shared_ptr<base_protocol> get_protocol() const override { return nullptr; }
    std::any extra_info(std::string_view) const override { return {}; }
};

std::string all_of(const std::vector<buffer_lease>& leases) {
    std::string text;
    for (const buffer_lease& each : leases) text += as_text(each.view());
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(leasing)

OURO_ASYNC_TEST(what_is_kept_does_not_change) {
    for (const way& how : leasing_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->keeps_leases = true;
        const std::string sent = pattern(100'000);
        auto sending = spawn(send_text(on.kept_peer, sent));
        co_await eventually([&] { return on.seen->data.size() == sent.size(); });
        co_await sending;
        BOOST_CHECK(all_of(on.seen->leases) == sent);
        on.seen->keeps_leases = false;
        auto more = spawn(send_text(on.kept_peer, sent));
        co_await eventually([&] { return on.seen->data.size() == 2 * sent.size(); });
        co_await more;
        BOOST_CHECK(all_of(on.seen->leases) == sent);
        on.seen->leases.clear();
    }
}

// rules 735, 736
OURO_ASYNC_TEST(who_keeps_all_gets_copies_in_the_end_and_starves_nobody) {
    loop& home = loop::current();
    for (const way& how : leasing_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        const loop_statistics before = home.statistics();
        auto on = co_await connect_recorder(how);
        auto other = co_await connect_recorder(way{kind::streaming, how.over});
        on.seen->keeps_leases = true;
        const std::string sent = pattern(6'000'000);  // more than the ring
        auto sending = spawn(send_text(on.kept_peer, sent));
        co_await eventually([&] { return on.seen->data.size() == sent.size(); });
        co_await sending;
        BOOST_TEST(home.statistics().lease_copies > before.lease_copies);
        BOOST_TEST(!on.seen->leases.at(0).is_copy());
        BOOST_TEST(last_of(on.seen->leases).is_copy());
        // Those who keep nothing are read.
        auto crossing = spawn(send_text(other.kept_peer, sent));
        co_await eventually([&] { return other.seen->data.size() == sent.size(); });
        co_await crossing;
        BOOST_CHECK(other.seen->data == sent);
        BOOST_CHECK(all_of(on.seen->leases) == sent);
        // When leases have come back there are new ones.
        on.seen->leases.clear();
        BOOST_TEST(home.counters().leases == 0U);
        send_now(on.peer, "more");
        co_await eventually([&] { return !on.seen->leases.empty(); });
        BOOST_TEST(!last_of(on.seen->leases).is_copy());
        on.seen->leases.clear();
    }
}

// rules 289, 728
OURO_ASYNC_TEST(another_kind_of_protocol_takes_over_from_one_that_keeps_all) {
    for (const kind to : {kind::streaming, kind::buffered}) {
        BOOST_TEST_INFO_SCOPE("to " << name_of(to));
        auto on = co_await connect_recorder(leasing_ways[0]);
        on.seen->keeps_leases = true;
        const std::string sent = pattern(3'000'000);
        auto sending = spawn(send_text(on.kept_peer, sent));
        co_await eventually([&] { return on.seen->data.size() > 1'000'000; });
        auto next = make_recorder(to);
        next->made = 1;
        on.link->set_protocol(next->as_protocol());
        const auto both = [&] { return on.seen->data.size() + next->data.size(); };
        co_await eventually([&] { return both() == sent.size(); });
        co_await sending;
        BOOST_TEST(!next->data.empty());
        BOOST_CHECK(on.seen->data + next->data == sent);
        BOOST_CHECK(all_of(on.seen->leases) == on.seen->data);
        on.seen->leases.clear();
    }
}

// rules 720, 728
OURO_ASYNC_TEST(what_comes_while_paused_is_held_uncopied) {
    loop& home = loop::current();
    for (const way& how : leasing_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->keeps_leases = true;
        co_await settle();
        on.link->pause_reading();
        send_now(on.peer, "held");
        co_await eventually([&] { return home.counters().leases == 1; });
        send_now(on.peer, " and more");
        co_await settle(10);
        BOOST_TEST(on.seen->data.empty());
        on.link->resume_reading();
        co_await eventually([&] { return on.seen->data == "held and more"; });
        BOOST_TEST(!on.seen->leases.at(0).is_copy());
        on.seen->leases.clear();
    }
}

OURO_ASYNC_TEST(a_lease_outlives_its_transport) {
    for (const way& how : leasing_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        on.seen->keeps_leases = true;
        send_now(on.peer, "kept");
        end_now(on.peer);
        co_await eventually([&] { return on.seen->lost(); });
        on.link.reset();
        on.seen->link.reset();
        co_await settle();
        BOOST_TEST(loop::current().counters().leases == 1U);
        BOOST_TEST(all_of(on.seen->leases) == "kept");
        on.seen->leases.clear();
    }
}

// rules 724, 729, 730
OURO_ASYNC_TEST(a_written_lease_is_held_until_the_kernel_has_taken_it) {
    loop& home = loop::current();
    for (const way& how : leasing_ways) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        auto to = co_await connect_narrow(way{kind::streaming, how.over});
        on.seen->keeps_leases = true;
        const std::string sent = pattern(100'000);
        auto sending = spawn(send_text(on.kept_peer, sent));
        co_await eventually([&] { return on.seen->data.size() == sent.size(); });
        co_await sending;
        const std::string front = pattern(too_much_bytes, 1);
        to.link->write(front);
        to.link->write("<");
        for (auto& each : on.seen->leases) to.link->write(std::move(each));
        on.seen->leases.clear();
        to.link->write(">");
        BOOST_TEST(home.counters().leases > 0U);
        co_await settle(10);
        BOOST_TEST(home.counters().leases > 0U);
        BOOST_CHECK(co_await read_text(to.peer, front.size()) == front);
        BOOST_CHECK(co_await read_text(to.peer, sent.size() + 2) == "<" + sent + ">");
        co_await eventually([&] { return home.counters().leases == 0; });
    }
}

OURO_ASYNC_TEST(an_abort_gives_written_leases_back) {
    loop& home = loop::current();
    auto on = co_await connect_recorder(leasing_ways[0]);
    auto to = co_await connect_narrow(way{});
    on.seen->keeps_leases = true;
    send_now(on.peer, "kept");
    co_await eventually([&] { return on.seen->data == "kept"; });
    to.link->write(pattern(too_much_bytes));
    to.link->write(std::move(on.seen->leases.at(0)));
    on.seen->leases.clear();
    to.link->abort();
    co_await eventually([&] { return to.seen->lost(); });
    BOOST_TEST(home.counters().leases == 0U);
    BOOST_CHECK(!to.link->write(buffer_lease::copy_of(as_bytes("dropped"))));
}

OURO_ASYNC_TEST(a_transport_that_knows_no_leases_gets_their_bytes) {
    auto on = co_await connect_recorder(leasing_ways[0]);
    on.seen->keeps_leases = true;
    send_now(on.peer, "kept");
    co_await eventually([&] { return on.seen->data == "kept"; });
    plain_transport to;
    BOOST_CHECK(!to.write(std::move(on.seen->leases.at(0))));
    BOOST_TEST(to.written == "kept");
    on.seen->leases.clear();
    BOOST_TEST(loop::current().counters().leases == 0U);
}

// rule 346
OURO_ASYNC_TEST(a_lease_after_the_end_is_refused) {
    auto on = co_await connect_recorder(leasing_ways[0]);
    on.link->write_eof();
    BOOST_CHECK(on.link->write(buffer_lease::copy_of(as_bytes("late"))) == errc::write_after_eof);
}

// rule 312
OURO_ASYNC_TEST(large_buffers_get_large_receives) {
    for (const medium over : {medium::tcp, medium::unix_stream}) {
        auto seen = make_recorder(kind::buffered);
        seen->memory.resize(1024 * 1024);
        auto on = co_await connect_recorder(seen, over);
        on.link->pause_reading();
        auto sending = spawn(send_text(on.kept_peer, pattern(2'000'000)));
        // One receive may be under way; what comes behind it waits in the socket.
        co_await settle(50);
        on.link->resume_reading();
        co_await eventually([&] { return seen->data.size() == 2'000'000; });
        co_await sending;
        BOOST_CHECK(seen->data == pattern(2'000'000));
        const std::size_t largest = *std::max_element(seen->chunks.begin(), seen->chunks.end());
        BOOST_TEST(largest > 64U * 1024);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
