// Barriers.
#include <ouro/runtime/barrier.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct meeting {
    explicit meeting(std::ptrdiff_t parties) : place(parties) {}
    barrier place;
    std::vector<std::size_t> indices;  // of those who went, in order
    std::string order;                 // their names; a capital for one who failed
    error why;                         // of the last one who failed
};
using shared_meeting = std::shared_ptr<meeting>;

task<> come(shared_meeting to, char name) {
    const auto index = co_await as_result(to->place.wait());
    to->order += index ? name : static_cast<char>(name - 'a' + 'A');
    index ? to->indices.push_back(*index) : void(to->why = index.error());
}

task_handle<> party(const shared_meeting& to, char name) { return spawn(&come, to, name); }

std::vector<std::size_t> sorted(std::vector<std::size_t> numbers) {
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

std::error_code thrown_for(std::ptrdiff_t parties) {
    try {
        barrier place(parties);
    } catch (const std::system_error& thrown) {
        return thrown.code();
    }
    return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(barriers)

// rule 240
BOOST_AUTO_TEST_CASE(a_barrier_needs_a_party) {
    BOOST_TEST((thrown_for(0) == errc::value_error));
    BOOST_TEST((thrown_for(-1) == errc::value_error));
    BOOST_TEST(!thrown_for(1));
    BOOST_TEST(barrier(3).parties() == 3U);
}

// rule 241
OURO_ASYNC_TEST(the_last_party_lets_all_go_and_each_has_a_number_of_its_own) {
    auto shared = std::make_shared<meeting>(4);
    for (char name = 'a'; name <= 'c'; ++name) party(shared, name);
    co_await settle();
    BOOST_TEST(shared->order.empty());
    const auto own = co_await shared->place.wait();
    BOOST_TEST(own == 3U);
    BOOST_TEST(shared->order.empty());  // the last one does not suspend
    co_await settle();
    BOOST_TEST(shared->order == "abc");
    BOOST_TEST((sorted(shared->indices) == std::vector<std::size_t>{0, 1, 2}));
}

// rule 241
OURO_ASYNC_TEST(a_barrier_for_one_never_waits) {
    auto shared = std::make_shared<meeting>(1);
    auto other = party(shared, 'a');
    for (int i = 0; i < 3; ++i) BOOST_TEST(co_await shared->place.wait() == 0U);
    BOOST_TEST(shared->order.empty());
    co_await other;
}

// rules 241, 243
OURO_ASYNC_TEST(numbers_are_distinct_also_after_one_left) {
    auto shared = std::make_shared<meeting>(3);
    auto leaves = party(shared, 'a');
    party(shared, 'b');
    co_await settle();
    BOOST_TEST(shared->place.waiting_count() == 2U);
    leaves.cancel();
    co_await settle();
    BOOST_TEST(shared->place.waiting_count() == 1U);
    party(shared, 'c');
    party(shared, 'd');
    co_await settle();
    BOOST_TEST(shared->order == "Adbc");
    BOOST_TEST((sorted(shared->indices) == std::vector<std::size_t>{0, 1, 2}));
}

// rule 242
OURO_ASYNC_TEST(those_who_come_while_others_leave_wait_until_they_have_left) {
    auto shared = std::make_shared<meeting>(2);
    party(shared, 'a');
    co_await settle();
    party(shared, 'n');  // these two run before a, who is woken now
    party(shared, 'm');
    (void)co_await shared->place.wait();
    co_await settle();
    BOOST_TEST(shared->order == "anm");
    BOOST_TEST((shared->indices == std::vector<std::size_t>{0, 0, 1}));
}

// rule 242
OURO_ASYNC_TEST(a_crowd_goes_in_rounds) {
    auto shared = std::make_shared<meeting>(3);
    for (char name = 'a'; name <= 'k'; ++name) party(shared, name);  // 11: three rounds and two
    co_await settle(20);
    BOOST_TEST(shared->indices.size() == 9U);
    for (std::size_t round = 0; round + 3 <= shared->indices.size(); round += 3) {
        const auto from = shared->indices.begin() + static_cast<std::ptrdiff_t>(round);
        BOOST_TEST((sorted({from, from + 3}) == std::vector<std::size_t>{0, 1, 2}));
    }
    BOOST_TEST(shared->place.waiting_count() == 2U);
    (void)co_await shared->place.wait();
    co_await settle();
    BOOST_TEST(shared->order.size() == 11U);
}

// rule 242
OURO_ASYNC_TEST(one_who_may_go_but_is_cancelled_does_not_hold_up_the_next_round) {
    auto shared = std::make_shared<meeting>(2);
    auto cancelled = party(shared, 'a');
    co_await settle();
    (void)co_await shared->place.wait();
    cancelled.cancel();
    auto next = party(shared, 'b');
    (void)co_await shared->place.wait();
    co_await next;
    BOOST_TEST(shared->order == "Ab");
}

// rule 244
OURO_ASYNC_TEST(a_reset_fails_those_who_wait_and_leaves_an_idle_barrier_alone) {
    auto shared = std::make_shared<meeting>(3);
    shared->place.reset();
    BOOST_TEST(!shared->place.broken());
    auto a = party(shared, 'a');
    party(shared, 'b');
    co_await settle();
    shared->place.reset();
    co_await a;
    BOOST_TEST((shared->why == errc::broken_barrier));
    BOOST_TEST(shared->order == "AB");
    BOOST_TEST(shared->place.waiting_count() == 0U);
    BOOST_TEST(!shared->place.broken());
    party(shared, 'c');
    party(shared, 'd');
    party(shared, 'e');
    co_await settle();
    BOOST_TEST(shared->order.size() == 5U);
    BOOST_TEST(shared->indices.size() == 3U);
}

/// Resets or aborts the barrier while a and b may go and have not gone, and q waits for the next
/// round.
static task<> end_between_rounds(shared_meeting at, void (barrier::*then)() noexcept) {
    party(at, 'a');
    party(at, 'b');
    co_await settle();
    party(at, 'q');  // runs before a and b, who are woken below
    spawn(
        [](shared_meeting to, void (barrier::*ends)() noexcept) -> task<> {
            BOOST_TEST(to->place.waiting_count() == 0U);
            (to->place.*ends)();
            co_return;
        },
        at, then);
    (void)co_await at->place.wait();
    co_await settle();
}

// rule 244
OURO_ASYNC_TEST(a_reset_fails_those_who_may_go_and_not_those_queued_for_the_next_round) {
    auto shared = std::make_shared<meeting>(3);
    co_await end_between_rounds(shared, &barrier::reset);
    BOOST_TEST(shared->order == "AB");
    BOOST_TEST(shared->place.waiting_count() == 1U);
    BOOST_TEST(!shared->place.broken());
    party(shared, 'r');
    (void)co_await as_result(shared->place.wait());
    co_await settle();
    BOOST_TEST(shared->indices.size() == 2U);
}

// rule 245
OURO_ASYNC_TEST(an_abort_fails_those_who_may_go_and_those_queued_for_the_next_round) {
    auto shared = std::make_shared<meeting>(3);
    co_await end_between_rounds(shared, &barrier::abort);
    BOOST_TEST(shared->order == "ABQ");
    BOOST_TEST(shared->place.broken());
    party(shared, 'f');
    co_await settle();
    BOOST_TEST(shared->order == "ABQF");
}

// rule 245
OURO_ASYNC_TEST(an_aborted_barrier_fails_all_until_it_is_reset) {
    auto shared = std::make_shared<meeting>(2);
    auto a = party(shared, 'a');
    co_await settle();
    shared->place.abort();
    BOOST_TEST(shared->place.broken());
    co_await a;
    BOOST_TEST((shared->why == errc::broken_barrier));
    const auto future = co_await as_result(shared->place.wait());
    BOOST_TEST((future.error() == errc::broken_barrier));
    shared->place.reset();
    BOOST_TEST(!shared->place.broken());
    auto b = party(shared, 'b');
    co_await settle();
    BOOST_TEST(co_await shared->place.wait() == 1U);
    co_await b;
}

// rule 246
OURO_ASYNC_TEST(the_waiting_count_is_zero_unless_the_barrier_fills) {
    auto shared = std::make_shared<meeting>(3);
    BOOST_TEST(shared->place.waiting_count() == 0U);
    party(shared, 'a');
    party(shared, 'b');
    co_await settle();
    BOOST_TEST(shared->place.waiting_count() == 2U);
    (void)co_await shared->place.wait();
    BOOST_TEST(shared->place.waiting_count() == 0U);  // a and b are leaving
    party(shared, 'c');
    co_await settle();
    BOOST_TEST(shared->place.waiting_count() == 1U);
    shared->place.abort();
    BOOST_TEST(shared->place.waiting_count() == 0U);
    co_await settle();
}

OURO_WHOLE_TEST(those_who_wait_at_a_barrier_that_is_destroyed_fail_and_those_who_may_go_do_not,
                "destroys what tasks refer to, which they may only once they wait for it") {
    auto waits = [](barrier& at) -> task<std::size_t> { co_return co_await at.wait(); };
    auto place = std::make_unique<barrier>(3);
    auto a = spawn(waits, std::ref(*place));
    auto b = spawn(waits, std::ref(*place));
    co_await settle();
    (void)co_await place->wait();
    place.reset();
    BOOST_TEST(co_await a + co_await b == 1U);
    place = std::make_unique<barrier>(2);
    auto c = spawn(waits, std::ref(*place));
    co_await settle();
    place.reset();
    const auto ended = co_await as_result(c.join());
    BOOST_TEST((ended.error() == errc::broken_promise));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
