// Queues: order, limits, cancellation, shutting down.
#include <ouro/runtime/queue.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// A queue and what those who use it saw: a digit for an item that was got, a small letter for a
/// put that succeeded, a capital for a cancellation, "!" for a queue that was shut down.
template <class Queue>
struct observed {
    explicit observed(std::ptrdiff_t max_count = 0) : items(max_count) {}
    Queue items;
    std::string story;
};
using observed_queue = observed<queue<int>>;
using shared_queue = std::shared_ptr<observed_queue>;

char note_of(const error& why, char name) {
    if (why == errc::queue_shut_down) return '!';
    return why == errc::cancelled ? static_cast<char>(name - 'a' + 'A') : '?';
}

task<> get_one(shared_queue from, char name) {
    const auto got = co_await as_result(from->items.get());
    from->story += got ? static_cast<char>('0' + *got) : note_of(got.error(), name);
}

task<> put_one(shared_queue into, int item, char name) {
    const auto put = co_await as_result(into->items.put(item));
    into->story += put ? name : note_of(put.error(), name);
}

task_handle<> getter(const shared_queue& from, char name) { return spawn(&get_one, from, name); }
task_handle<> putter(const shared_queue& into, int item, char name) {
    return spawn(&put_one, into, item, name);
}

shared_queue queue_of(std::ptrdiff_t max_count, int filled = 0) {
    auto made = std::make_shared<observed_queue>(max_count);
    for (int i = 1; i <= filled; ++i) BOOST_TEST(made->items.put_now(i).has_value());
    return made;
}

std::error_code thrown_by_task_done(queue_base& of) {
    try {
        of.task_done();
    } catch (const std::system_error& thrown) {
        return thrown.code();
    }
    return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(queues)

// rule 247
BOOST_AUTO_TEST_CASE(a_maximum_of_zero_or_less_is_none) {
    for (const std::ptrdiff_t max_count : {0, -1, -100}) {
        queue<int> items(max_count);
        BOOST_TEST(items.max_size() == 0U);
        for (int i = 0; i < 1000; ++i) {
            BOOST_TEST(items.put_now(i).has_value());
            BOOST_TEST(!items.full());
        }
        BOOST_TEST(items.size() == 1000U);
    }
    queue<int> two(2);
    BOOST_TEST(two.max_size() == 2U);
    BOOST_TEST(two.empty());
    BOOST_TEST(two.put_now(1).has_value());
    BOOST_TEST((!two.full() && !two.empty()));
    BOOST_TEST(two.put_now(2).has_value());
    BOOST_TEST(two.full());
}

// rule 248
OURO_ASYNC_TEST(put_waits_while_the_queue_is_full_and_get_while_it_is_empty) {
    auto shared = queue_of(1);
    getter(shared, 'g');
    co_await settle();
    BOOST_TEST(shared->story.empty());
    co_await shared->items.put(1);
    BOOST_TEST(shared->story.empty());
    putter(shared, 2, 'p');
    co_await settle();
    BOOST_TEST(shared->story == "1p");
    putter(shared, 3, 'q');
    co_await settle();
    BOOST_TEST(shared->story == "1p");
    BOOST_TEST(co_await shared->items.get() == 2);
    co_await settle();
    BOOST_TEST(shared->story == "1pq");
    BOOST_TEST(co_await shared->items.get() == 3);
}

OURO_ASYNC_TEST(put_and_get_do_not_suspend_when_they_need_not_wait) {
    auto shared = queue_of(2);
    auto other = spawn(
        [](shared_queue on) -> task<> {
            on->story += 'o';
            co_return;
        },
        shared);
    co_await shared->items.put(1);
    (void)co_await as_result(shared->items.put(2));
    BOOST_TEST(co_await shared->items.get() == 1);
    const auto second = co_await as_result(shared->items.get());
    BOOST_TEST(second.value() == 2);
    BOOST_TEST(shared->story.empty());  // the other task was ready all the time
    co_await other;
}

// rule 249
OURO_ASYNC_TEST(the_calls_that_do_not_wait_say_full_or_empty_at_once) {
    auto shared = queue_of(1);
    BOOST_TEST((shared->items.get_now().error() == errc::queue_empty));
    BOOST_TEST(shared->items.put_now(1).has_value());
    BOOST_TEST((shared->items.put_now(2).error() == errc::queue_full));
    BOOST_TEST(shared->items.get_now().value() == 1);
    getter(shared, 'g');
    co_await settle();
    BOOST_TEST(shared->items.put_now(3).has_value());
    BOOST_TEST(shared->items.empty());  // the item is g's, who has not run yet
    BOOST_TEST((shared->items.get_now().error() == errc::queue_empty));
    BOOST_TEST((shared->items.put_now(4).error() == errc::queue_full));
    co_await settle();
    BOOST_TEST(shared->story == "3");
    BOOST_TEST(!shared->items.full());
}

// rule 250
OURO_ASYNC_TEST(items_come_in_the_order_of_the_queue) {
    queue<int> fifo;
    lifo_queue<int> lifo;
    priority_queue<int> smallest;
    priority_queue<int, std::greater<int>> largest;
    for (const int item : {3, 1, 4, 1, 5, 9, 2, 6}) {
        co_await fifo.put(item);
        co_await lifo.put(item);
        co_await smallest.put(item);
        co_await largest.put(item);
    }
    std::vector<int> order[4];
    for (int i = 0; i < 8; ++i) {
        order[0].push_back(co_await fifo.get());
        order[1].push_back(co_await lifo.get());
        order[2].push_back(co_await smallest.get());
        order[3].push_back(co_await largest.get());
    }
    BOOST_TEST((order[0] == std::vector{3, 1, 4, 1, 5, 9, 2, 6}));
    BOOST_TEST((order[1] == std::vector{6, 2, 9, 5, 1, 4, 1, 3}));
    BOOST_TEST((order[2] == std::vector{1, 1, 2, 3, 4, 5, 6, 9}));
    BOOST_TEST((order[3] == std::vector{9, 6, 5, 4, 3, 2, 1, 1}));
}

// rule 250
OURO_ASYNC_TEST(a_queue_that_wraps_and_grows_keeps_its_order_and_its_items) {
    auto items = std::make_shared<queue<std::unique_ptr<int>>>();
    int put = 0;
    int got = 0;
    for (int round = 0; round < 30; ++round) {
        for (int i = 0; i < 7; ++i) co_await items->put(std::make_unique<int>(put++));
        for (int i = 0; i < 5; ++i) BOOST_TEST(*co_await items->get() == got++);
    }
    BOOST_TEST(items->size() == 60U);
    while (got < 150) BOOST_TEST(*co_await items->get() == got++);
    co_await items->put(nullptr);  // what is left is destroyed with the queue
}

// rule 251
OURO_ASYNC_TEST(each_put_wakes_one_getter_and_each_get_one_putter_in_order) {
    auto shared = queue_of(2);
    auto a = getter(shared, 'a');
    auto b = getter(shared, 'b');
    getter(shared, 'c');
    getter(shared, 'd');
    co_await settle();
    a.cancel();
    co_await shared->items.put(1);
    co_await settle();
    BOOST_TEST(shared->story == "A1");
    co_await shared->items.put(2);
    co_await shared->items.put(3);
    co_await settle();
    BOOST_TEST(shared->story == "A123");
    BOOST_TEST(b.done());

    shared = queue_of(2, 2);
    auto e = putter(shared, 7, 'e');
    putter(shared, 8, 'f');
    putter(shared, 9, 'g');
    co_await settle();
    e.cancel();
    BOOST_TEST(co_await shared->items.get() == 1);
    co_await settle();
    BOOST_TEST(shared->story == "Ef");
    BOOST_TEST(co_await shared->items.get() == 2);
    co_await settle();
    BOOST_TEST(shared->story == "Efg");
}

// rule 252
OURO_ASYNC_TEST(a_getter_cancelled_after_it_was_woken_loses_no_item_and_wakes_the_next) {
    auto shared = queue_of(0);
    auto a = getter(shared, 'a');
    getter(shared, 'b');
    auto c = getter(shared, 'c');
    co_await settle();
    co_await shared->items.put(1);
    co_await shared->items.put(2);
    a.cancel();
    co_await settle();
    BOOST_TEST(shared->story == "A12");
    BOOST_TEST(c.done());
    BOOST_TEST(shared->items.empty());
}

// rule 252
OURO_ASYNC_TEST(an_item_given_to_the_only_getter_who_is_cancelled_stays_in_the_queue) {
    auto shared = queue_of(0);
    auto a = getter(shared, 'a');
    co_await settle();
    co_await shared->items.put(1);
    co_await shared->items.put(2);
    a.cancel();
    co_await settle();
    BOOST_TEST(shared->story == "A");
    BOOST_TEST(shared->items.size() == 2U);
    BOOST_TEST(co_await shared->items.get() == 1);
    BOOST_TEST(co_await shared->items.get() == 2);
}

// rule 253
OURO_ASYNC_TEST(a_putter_cancelled_after_it_was_woken_puts_nothing_and_wakes_the_next) {
    auto shared = queue_of(1, 1);
    auto a = putter(shared, 7, 'a');
    auto b = putter(shared, 8, 'b');
    co_await settle();
    BOOST_TEST(co_await shared->items.get() == 1);
    a.cancel();
    co_await settle();
    BOOST_TEST(shared->story == "Ab");
    BOOST_TEST(b.done());
    BOOST_TEST(co_await shared->items.get() == 8);
    BOOST_TEST(shared->items.empty());
}

// rule 253
OURO_ASYNC_TEST(room_given_to_the_only_putter_who_is_cancelled_is_free_again) {
    auto shared = queue_of(1, 1);
    auto a = putter(shared, 7, 'a');
    co_await settle();
    BOOST_TEST(co_await shared->items.get() == 1);
    BOOST_TEST(shared->items.full());
    a.cancel();
    co_await settle();
    BOOST_TEST(shared->items.empty());
    BOOST_TEST(!shared->items.full());
    BOOST_TEST(shared->items.put_now(2).has_value());
}

// rule 254
OURO_ASYNC_TEST(cancelled_getters_and_putters_leave_nothing_behind) {
    auto shared = queue_of(1);
    for (int i = 0; i < 20; ++i) {
        auto a = getter(shared, 'a');
        co_await settle(2);
        a.cancel();
        co_await settle(2);
    }
    BOOST_TEST(shared->items.put_now(1).has_value());
    BOOST_TEST(shared->items.size() == 1U);  // no getter is there to be given it
    for (int i = 0; i < 20; ++i) {
        auto a = putter(shared, 2, 'a');
        co_await settle(2);
        a.cancel();
        co_await settle(2);
    }
    BOOST_TEST(shared->items.get_now().value() == 1);
    BOOST_TEST(!shared->items.full());  // no putter is there to be given the room
    BOOST_TEST(shared->items.empty());
}

// rule 255
OURO_ASYNC_TEST(one_who_puts_and_one_who_gets_on_a_queue_for_one_never_deadlock) {
    for (const int burst : {1, 3}) {
        auto shared = queue_of(1);
        auto puts = spawn(
            [](shared_queue into, int at_once) -> task<> {
                for (int i = 0; i < 60; ++i) {
                    co_await into->items.put(i);
                    if (i % at_once == 0) co_await yield();
                }
            },
            shared, burst);
        auto gets = spawn(
            [](shared_queue from) -> task<int> {
                int sum = 0;
                for (int i = 0; i < 60; ++i) sum += co_await from->items.get();
                co_return sum;
            },
            shared);
        co_await puts;
        BOOST_TEST(co_await gets == 59 * 60 / 2);
        BOOST_TEST(shared->items.empty());
    }
}

// rule 256
OURO_ASYNC_TEST(join_waits_until_the_work_on_every_item_is_done) {
    auto shared = queue_of(0);
    co_await shared->items.join();
    for (int i = 0; i < 3; ++i) co_await shared->items.put(i);
    auto joins = spawn(
        [](shared_queue on) -> task<> {
            co_await on->items.join();
            on->story += 'j';
        },
        shared);
    for (int i = 0; i < 3; ++i) {
        (void)co_await shared->items.get();
        co_await settle();
        BOOST_TEST(shared->story.empty());
        shared->items.task_done();
    }
    co_await joins;
    BOOST_TEST(shared->story == "j");
    co_await shared->items.join();
}

OURO_ASYNC_TEST(a_cancelled_join_leaves_the_others_waiting) {
    auto shared = queue_of(0, 1);
    auto joins = [](shared_queue on) -> task<> { co_await on->items.join(); };
    auto first = spawn(joins, shared);
    auto second = spawn(joins, shared);
    co_await settle();
    first.cancel();
    co_await settle();
    BOOST_TEST(first.cancelled());
    BOOST_TEST(!second.done());
    shared->items.task_done();
    co_await second;
}

// rule 257
OURO_ASYNC_TEST(task_done_more_often_than_items_were_put_is_a_value_error) {
    queue<int> items;
    BOOST_TEST((thrown_by_task_done(items) == errc::value_error));
    co_await items.put(1);
    BOOST_TEST(!thrown_by_task_done(items));
    BOOST_TEST((thrown_by_task_done(items) == errc::value_error));
}

// rule 258
OURO_ASYNC_TEST(after_a_shutdown_puts_fail_and_gets_go_on_until_the_queue_is_empty) {
    auto shared = queue_of(5, 2);
    BOOST_TEST(!shared->items.is_shut_down());
    shared->items.shutdown();
    shared->items.shutdown();
    BOOST_TEST(shared->items.is_shut_down());
    BOOST_TEST((shared->items.put_now(3).error() == errc::queue_shut_down));
    const auto put = co_await as_result(shared->items.put(3));
    BOOST_TEST((put.error() == errc::queue_shut_down));
    BOOST_TEST(co_await shared->items.get() == 1);
    BOOST_TEST(shared->items.get_now().value() == 2);
    const auto got = co_await as_result(shared->items.get());
    BOOST_TEST((got.error() == errc::queue_shut_down));
    BOOST_TEST((shared->items.get_now().error() == errc::queue_shut_down));
}

// rule 259
OURO_ASYNC_TEST(a_shutdown_wakes_all_who_wait) {
    auto shared = queue_of(1);
    for (char name = 'a'; name <= 'c'; ++name) getter(shared, name);
    co_await settle();
    shared->items.shutdown();
    co_await settle();
    BOOST_TEST(shared->story == "!!!");

    shared = queue_of(1, 1);
    for (char name = 'a'; name <= 'c'; ++name) putter(shared, 2, name);
    co_await settle();
    BOOST_TEST(co_await shared->items.get() == 1);  // there is room for a, who has not run yet
    shared->items.shutdown();
    co_await settle();
    BOOST_TEST(shared->story == "!!!");
    BOOST_TEST(shared->items.empty());
}

// rules 252, 259
OURO_ASYNC_TEST(a_getter_who_was_given_an_item_before_the_shutdown_gets_it_or_the_next_one_does) {
    auto shared = queue_of(0);
    getter(shared, 'a');
    getter(shared, 'b');
    co_await settle();
    co_await shared->items.put(1);
    shared->items.shutdown();
    co_await settle();
    BOOST_TEST(shared->story == "1!");

    shared = queue_of(0);
    auto a = getter(shared, 'a');
    getter(shared, 'b');
    getter(shared, 'c');
    co_await settle();
    co_await shared->items.put(1);
    shared->items.shutdown();
    a.cancel();
    co_await settle();
    BOOST_TEST(shared->story == "A1!");
}

// rule 260
OURO_ASYNC_TEST(an_immediate_shutdown_drops_all_items_and_counts_them_as_done) {
    auto shared = queue_of(0, 3);
    auto joins = spawn(
        [](shared_queue on) -> task<> {
            co_await on->items.join();
            on->story += 'j';
        },
        shared);
    BOOST_TEST(co_await shared->items.get() == 1);
    co_await settle();
    shared->items.shutdown_now();
    BOOST_TEST(shared->items.empty());
    const auto got = co_await as_result(shared->items.get());
    BOOST_TEST((got.error() == errc::queue_shut_down));
    co_await settle();
    BOOST_TEST(shared->story.empty());  // the work on item 1 goes on
    shared->items.task_done();
    co_await joins;
    BOOST_TEST(shared->story == "j");
    BOOST_TEST((thrown_by_task_done(shared->items) == errc::value_error));
}

// rule 260
OURO_ASYNC_TEST(an_immediate_shutdown_releases_join_and_takes_back_what_was_given) {
    auto shared = queue_of(0);
    auto joins = [](shared_queue on) -> task<> { co_await on->items.join(); };
    getter(shared, 'a');
    getter(shared, 'b');
    co_await settle();
    co_await shared->items.put(1);
    co_await shared->items.put(2);
    co_await shared->items.put(3);
    auto joined = spawn(joins, shared);
    shared->items.shutdown_now();
    co_await settle();
    BOOST_TEST(shared->story == "!!");
    co_await joined;
}

// rule 261
OURO_ASYNC_TEST(after_a_shutdown_join_still_waits_for_queued_items) {
    auto shared = queue_of(0, 1);
    auto joins = spawn([](shared_queue on) -> task<> { co_await on->items.join(); }, shared);
    shared->items.shutdown();
    co_await settle();
    BOOST_TEST(!joins.done());
    BOOST_TEST(co_await shared->items.get() == 1);
    co_await settle();
    BOOST_TEST(!joins.done());
    shared->items.task_done();
    co_await joins;
}

OURO_WHOLE_TEST(those_who_wait_for_a_queue_that_is_destroyed_fail,
                "destroys what tasks refer to, which they may only once they wait for it") {
    auto gets = [](queue<int>& from) -> task<> { (void)co_await from.get(); };
    auto puts = [](queue<int>& into) -> task<> { co_await into.put(1); };
    auto joins = [](queue<int>& on) -> task<> { co_await on.join(); };
    auto empty_one = std::make_unique<queue<int>>(1);
    auto full_one = std::make_unique<queue<int>>(1);
    co_await full_one->put(1);
    std::vector<task_handle<>> failing = {
        spawn(gets, std::ref(*empty_one)), spawn(gets, std::ref(*empty_one)),
        spawn(puts, std::ref(*full_one)), spawn(puts, std::ref(*full_one)),
        spawn(joins, std::ref(*full_one))};
    co_await settle();
    co_await empty_one->put(1);      // is the first getter's, who has not run yet
    (void)co_await full_one->get();  // so is the room of the first putter
    empty_one.reset();
    full_one.reset();
    for (auto& each : failing) {
        const auto ended = co_await as_result(each.join());
        BOOST_TEST((ended.error() == errc::broken_promise));
    }
}

/// Waits again after it was cancelled, so that a closing loop has to destroy its frame.
static task<> insist(std::shared_ptr<queue<int>> from) {
    for (;;) (void)co_await as_result(from->get());
}

BOOST_AUTO_TEST_CASE(a_loop_that_destroys_waiting_frames_leaves_the_queue_alone) {
    auto items = std::make_shared<queue<int>>(2);
    int reports = 0;
    {
        loop home(options_for(engine::uring));
        home.set_exception_handler([&](loop&, const failure_report&) { ++reports; });
        for (int i = 0; i < 3; ++i) spawn(home, insist(items));
        home.stop();
        home.run_forever();
    }
    BOOST_TEST(reports == 3);
    BOOST_TEST(items->put_now(1).has_value());
    BOOST_TEST(items->size() == 1U);
    BOOST_TEST(items.use_count() == 1);
}

// ---- what may go wrong with an item

template <class Queue>
static task<> put_without_memory() {
    Queue items;
    std::uint64_t allocations = 0;
    for (int i = 0; i < 100; ++i) {
        const std::size_t before = items.size();
        testing::allocation_faults::arm(1, true);
        const auto now = items.put_now(i);
        const bool struck = testing::allocation_faults::struck();
        allocations += testing::allocation_faults::disarm();
        BOOST_TEST(now.has_value() == !struck);
        if (!now) BOOST_TEST((now.error() == std::errc::not_enough_memory));
        BOOST_TEST(items.size() == before + now.has_value());
        if (now) continue;
        testing::allocation_faults::arm(1, true);
        const auto waited = co_await as_result(items.put(i));
        testing::allocation_faults::disarm();
        BOOST_TEST((waited.error() == std::errc::not_enough_memory));
        BOOST_TEST(items.size() == before);
        co_await items.put(i);
    }
    BOOST_TEST(allocations > 0U);
    BOOST_TEST(items.size() == 100U);
}

OURO_WHOLE_TEST(a_put_without_memory_to_grow_says_so_and_changes_nothing,
                "lets allocations fail itself") {
    co_await put_without_memory<queue<int>>();
    co_await put_without_memory<lifo_queue<int>>();
    co_await put_without_memory<priority_queue<int>>();
}

OURO_WHOLE_TEST(a_putter_that_waited_needs_no_memory, "lets allocations fail itself") {
    auto shared = queue_of(9, 9);
    auto waits = putter(shared, 7, 'a');
    shared->story.reserve(10);
    co_await settle();
    testing::allocation_faults::arm(1, true);
    const auto got = co_await as_result(shared->items.get());
    co_await yield();
    co_await yield();
    const bool done = waits.done();
    testing::allocation_faults::disarm();
    BOOST_TEST(done);
    BOOST_TEST(got.value() == 1);
    BOOST_TEST(shared->story == "a");
}

namespace {
/// An item that cannot be moved when it says so.
struct stubborn {
    explicit stubborn(int number) : value(number) {}
    stubborn(stubborn&& other) : value(other.value), refuses(other.refuses) {
        if (refuses && *refuses) throw std::runtime_error("not me");
    }
    stubborn& operator=(stubborn&&) = default;
    int value;
    const bool* refuses = nullptr;
};
}  // namespace

OURO_WHOLE_TEST(an_item_that_throws_when_it_is_moved_stays_where_it_was,
                "an item refers to a local of the body") {
    queue<stubborn> items(1);
    bool refuses = false;
    stubborn item(5);
    item.refuses = &refuses;
    co_await items.put(std::move(item));
    refuses = true;
    bool thrown = false;
    try {
        (void)co_await items.get();
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    BOOST_TEST(thrown);
    BOOST_TEST(items.size() == 1U);
    BOOST_TEST(items.full());
    refuses = false;
    BOOST_TEST((co_await items.get()).value == 5);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
