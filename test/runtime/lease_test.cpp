// Leases: what can be done with them, and where their bytes stay.
#include <ouro/runtime/lease.hpp>

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async_test.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

std::string text_of(const buffer_lease& lease) { return std::string(as_text(lease.view())); }

/// Receives through the shared ring and keeps what comes. Shared with the operation, which may
/// live longer than the test.
struct keeper {
    std::vector<buffer_lease> leases;
    std::size_t byte_count = 0;

    static std::shared_ptr<keeper> start(loop& home, noted_op& receive, int fd) {
        auto made = std::make_shared<keeper>();
        receive.then = [made, &home](noted_op& of) {
            op& done = of;
            if (!(done.flags & op_flags::lent) || done.res <= 0) return;
            made->byte_count += static_cast<std::size_t>(done.res);
            try {
                made->leases.push_back(
                    io::keep(home, {done.data, static_cast<std::size_t>(done.res)}));
            } catch (const std::bad_alloc&) {
                // Torture takes memory away. What the test asserts fails then, and nothing else.
            }
        };
        io::recv_ring(home, receive, fd);
        return made;
    }
};

task<> stop(loop& home, noted_op& receive) {
    io::cancel(home, receive);
    (void)co_await receive.end();
    receive.then = {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(leases)

BOOST_AUTO_TEST_CASE(a_lease_of_its_own_memory_can_be_cut_shared_and_moved) {
    buffer_lease none;
    BOOST_TEST(none.empty());
    BOOST_TEST(!none.is_copy());
    BOOST_TEST(none.share().empty());
    buffer_lease first = buffer_lease::copy_of(as_bytes("hello world"));
    BOOST_TEST(first.is_copy());
    buffer_lease second = first.share();
    BOOST_TEST(second.data() == first.data());
    first.truncate(5);
    second.remove_prefix(6);
    BOOST_TEST(text_of(first) == "hello");
    BOOST_TEST(text_of(second) == "world");
    BOOST_TEST(!first.join(second));  // the space is missing
    buffer_lease third = std::move(first);
    BOOST_TEST(first.empty());
    third = std::move(second);
    BOOST_TEST(text_of(third) == "world");
    third.truncate(100);
    third.remove_prefix(100);
    BOOST_TEST(third.empty());
    BOOST_TEST(buffer_lease::copy_of({}).empty());
}

BOOST_AUTO_TEST_CASE(neighbours_are_joined) {
    buffer_lease front = buffer_lease::copy_of(as_bytes("abcdef"));
    buffer_lease back = front.share();
    front.truncate(2);
    back.remove_prefix(2);
    BOOST_TEST(front.join(back));
    BOOST_TEST(text_of(front) == "abcdef");
    BOOST_TEST(back.empty());
    buffer_lease other = buffer_lease::copy_of(as_bytes("x"));
    BOOST_TEST(!front.join(other));
    BOOST_TEST(text_of(other) == "x");
}

OURO_ASYNC_TEST(what_is_kept_is_where_it_was_received) {
    loop& home = loop::current();
    const descriptors fds(home);
    noted_op receive;
    const auto kept = keeper::start(home, receive, fds.ours);
    fds.peer_sends("first");
    co_await eventually([&] { return kept->byte_count == 5; });
    fds.peer_sends("second");
    co_await eventually([&] { return kept->byte_count == 11; });
    BOOST_REQUIRE(kept->leases.size() == 2U);
    BOOST_TEST(home.counters().leases == 2U);
    BOOST_TEST(home.statistics().leases == 2U);
    BOOST_TEST(home.statistics().lease_copies == 0U);
    buffer_lease more = kept->leases.at(0).share();
    BOOST_TEST(home.counters().leases == 3U);
    kept->leases.erase(kept->leases.begin());
    BOOST_TEST(text_of(more) == "first");
    BOOST_TEST(text_of(kept->leases.at(0)) == "second");
    BOOST_TEST(!more.is_copy());
    more = {};
    kept->leases.clear();
    BOOST_TEST(home.counters().leases == 0U);
    co_await stop(home, receive);
}

// fault 4
OURO_ASYNC_TEST(beyond_the_bound_bytes_are_copied_and_others_go_on_receiving) {
    loop& home = loop::current();
    const descriptors hoarded(home), other(home);
    noted_op hoarder, receive;
    const auto kept = keeper::start(home, hoarder, hoarded.ours);
    const std::string block = pattern(20'000);
    const auto hoard = [&]() -> task<bool> {  // whether that was copied
        const std::size_t before = kept->byte_count;
        hoarded.peer_sends(block);
        co_await eventually([&] { return kept->byte_count == before + block.size(); });
        co_return last_of(kept->leases).is_copy();
    };
    while (!co_await hoard()) {
    }
    BOOST_TEST(home.statistics().lease_copies > 0U);
    BOOST_TEST(!kept->leases.at(0).is_copy());
    io::recv_ring(home, receive, other.ours);
    for (int i = 0; i < 40; ++i) {  // more than all the memory there is
        receive.received.clear();
        other.peer_sends(block);
        co_await eventually([&] { return receive.received.size() == block.size(); });
        BOOST_CHECK(receive.received == block);
    }
    std::string all;
    for (const auto& each : kept->leases) all += text_of(each);
    for (std::size_t at = 0; at < all.size(); at += block.size()) {
        BOOST_CHECK(all.compare(at, block.size(), block) == 0);
    }
    kept->leases.clear();
    BOOST_TEST(!co_await hoard());  // there is room again
    co_await stop(home, hoarder);
    co_await stop(home, receive);
}

BOOST_AUTO_TEST_CASE(a_ring_of_one_buffer_is_left_to_those_who_keep_nothing) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        loop_options options = options_for(which);
        options.ring_buffer_bytes = 32 * 1024;
        options.ring_buffer_count = 1;
        loop home(options);
        const auto body = []() -> task<> {
            loop& here = loop::current();
            const descriptors fds(here);
            noted_op receive;
            const auto kept = keeper::start(here, receive, fds.ours);
            fds.peer_sends("kept");
            co_await eventually([&] { return kept->byte_count == 4; });
            BOOST_TEST(kept->leases.at(0).is_copy());
            BOOST_TEST(text_of(kept->leases.at(0)) == "kept");
            co_await stop(here, receive);
        };
        BOOST_TEST(home.run_until_complete(body()).has_value());
    }
}

namespace {

/// Puts a lease of "kept" into `into` on a loop that ends then.
void keep_beyond_a_loop(engine which, std::vector<buffer_lease>& into, std::string& report) {
    std::optional<testing::simulation> world;
    loop_options options = options_for(which);
    if (which == engine::sim) options = world.emplace(loopback(1)).options(options);
    loop home(options);
    home.set_exception_handler([&](loop&, const failure_report& what) { report += what.message; });
    const auto body = [](std::vector<buffer_lease>* kept_for) -> task<> {
        loop& here = loop::current();
        const descriptors fds(here);
        noted_op receive;
        const auto kept = keeper::start(here, receive, fds.ours);
        fds.peer_sends("kept");
        co_await eventually([&] { return kept->byte_count == 4; });
        kept_for->push_back(std::move(kept->leases.at(0)));
        kept_for->push_back(kept_for->back().share());
        co_await stop(here, receive);
    };
    BOOST_TEST(home.run_until_complete(body(&into)).has_value());
    BOOST_TEST(text_of(into[0]) == "kept");  // outlives the run
    BOOST_TEST(home.counters().leases == 2U);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_lease_may_outlive_its_loop_which_says_so) {
    for (const engine which : {engine::uring, engine::plain_uring, engine::sim}) {
        std::vector<buffer_lease> kept;
        std::string report;
        keep_beyond_a_loop(which, kept, report);
        BOOST_TEST(report == "the loop closed with 2 leases left");
        BOOST_TEST(text_of(kept[1]) == "kept");
        kept.push_back(kept[0].share());
        kept.erase(kept.begin());
        BOOST_TEST(text_of(kept[1]) == "kept");
    }
}

BOOST_AUTO_TEST_CASE(a_lease_is_given_back_between_two_runs) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        loop home(options_for(which));
        std::vector<buffer_lease> kept;
        std::optional<loopless_descriptors> fds;
        fds.emplace();
        for (int run = 0; run < 100; ++run) {  // more than the ring holds if none came back
            const auto body = [](std::vector<buffer_lease>* into,
                                 const loopless_descriptors* on) -> task<> {
                loop& here = loop::current();
                noted_op receive;
                const auto got = keeper::start(here, receive, on->ours);
                on->peer_sends(pattern(20'000));
                co_await eventually([&] { return got->byte_count == 20'000; });
                for (auto& each : got->leases) into->push_back(std::move(each));
                co_await stop(here, receive);
            };
            BOOST_TEST(home.run_until_complete(body(&kept, &*fds)).has_value());
            std::string all;
            for (const auto& each : kept) all += text_of(each);
            BOOST_CHECK(all == pattern(20'000));
            kept.clear();
            BOOST_TEST(home.counters().leases == 0U);
        }
        BOOST_TEST(home.statistics().lease_copies == 0U);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
