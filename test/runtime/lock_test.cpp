// Locks: one at a time, in order, whatever is cancelled.
#include <ouro/runtime/lock.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <system_error>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// A lock and who had it, in order: a small letter for one who got it, a capital for one who was
/// cancelled. Owned by all who use it.
struct locked_room {
    lock door;
    std::string order;
};
using shared_room = std::shared_ptr<locked_room>;

task<> acquire_and_leave(shared_room room, char name) {
    const auto got = co_await as_result(room->door.acquire());
    room->order += got ? name : static_cast<char>(name - 'a' + 'A');
    if (!got) co_await result<>(got.error());
    room->door.release();
}

task_handle<> enter(const shared_room& room, char name) {
    return spawn(&acquire_and_leave, room, name);
}

std::error_code thrown_by_release(lock& of) {
    try {
        of.release();
    } catch (const std::system_error& thrown) {
        return thrown.code();
    }
    return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(locks)

// rule 216
OURO_ASYNC_TEST(a_lock_goes_from_one_to_the_next_in_the_order_they_came) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    for (char name = 'a'; name <= 'e'; ++name) enter(room, name);
    co_await settle();
    BOOST_TEST(room->order.empty());
    room->door.release();
    co_await settle(20);
    BOOST_TEST(room->order == "abcde");
    BOOST_TEST(!room->door.locked());
}

// rule 216
OURO_ASYNC_TEST(each_release_lets_one_in) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    for (char name = 'a'; name <= 'c'; ++name) {
        spawn(
            [](shared_room in, char who) -> task<> {
                co_await in->door.acquire();
                in->order += who;
            },
            room, name);
    }
    co_await settle();
    for (const char* expected : {"a", "ab", "abc"}) {
        room->door.release();
        co_await settle();
        BOOST_TEST(room->order == expected);
        BOOST_TEST(room->door.locked());
    }
    room->door.release();
    BOOST_TEST(!room->door.locked());
}

OURO_ASYNC_TEST(a_free_lock_is_taken_without_a_turn_of_the_loop) {
    auto room = std::make_shared<locked_room>();
    auto other = spawn(
        [](shared_room in) -> task<> {
            in->order += 'o';
            co_return;
        },
        room);
    co_await room->door.acquire();
    BOOST_TEST(room->door.locked());
    room->door.release();
    (void)co_await as_result(room->door.acquire());
    room->door.release();
    BOOST_TEST(room->order.empty());  // the other task was ready all the time
    co_await other;
}

// rules 217, 222
OURO_ASYNC_TEST(a_lock_for_which_only_cancelled_ones_waited_is_free_at_once) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    auto a = enter(room, 'a');
    auto b = enter(room, 'b');
    co_await settle();
    a.cancel();
    b.cancel();
    room->door.release();
    BOOST_TEST(!room->door.locked());
    co_await room->door.acquire();
    co_await settle();
    BOOST_TEST(room->order == "AB");
    BOOST_TEST(a.cancelled());
    room->door.release();
}

// rule 218
OURO_ASYNC_TEST(a_newcomer_does_not_overtake_one_who_was_woken) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    enter(room, 'a');
    co_await settle();
    room->door.release();
    BOOST_TEST(room->door.locked());  // it is a's, who has not run yet
    co_await room->door.acquire();
    BOOST_TEST(room->order == "a");
    room->door.release();
}

// rule 219
OURO_ASYNC_TEST(releasing_a_lock_that_is_not_locked_is_an_error) {
    lock door;
    BOOST_TEST((thrown_by_release(door) == errc::invalid_state));
    co_await door.acquire();
    BOOST_TEST(!thrown_by_release(door));
    BOOST_TEST((thrown_by_release(door) == errc::invalid_state));
}

// rule 220
OURO_ASYNC_TEST(a_lock_given_to_one_who_is_cancelled_at_once_goes_to_the_next) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    auto a = enter(room, 'a');
    enter(room, 'b');
    enter(room, 'c');
    co_await settle();
    room->door.release();
    a.cancel();
    co_await settle();
    BOOST_TEST(room->order == "Abc");
    BOOST_TEST(a.cancelled());
    BOOST_TEST(!room->door.locked());
}

// rule 220
OURO_ASYNC_TEST(a_lock_given_to_the_only_one_who_is_cancelled_at_once_is_free) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    auto a = enter(room, 'a');
    co_await settle();
    room->door.release();
    a.cancel();
    co_await settle();
    BOOST_TEST(room->order == "A");
    BOOST_TEST(!room->door.locked());
}

// rule 221
OURO_ASYNC_TEST(a_cancelled_waiter_and_a_release_together_let_exactly_one_other_in) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    auto a = enter(room, 'a');
    for (char name = 'b'; name <= 'c'; ++name) {
        spawn(
            [](shared_room in, char who) -> task<> {
                co_await in->door.acquire();
                in->order += who;
            },
            room, name);
    }
    co_await settle();
    a.cancel();
    room->door.release();
    co_await settle();
    BOOST_TEST(room->order == "Ab");
    room->door.release();
    co_await settle();
    BOOST_TEST(room->order == "Abc");
}

// rule 222
OURO_ASYNC_TEST(a_cancelled_waiter_leaves_the_line_and_says_what_it_waited_for) {
    auto room = std::make_shared<locked_room>();
    co_await room->door.acquire();
    enter(room, 'a');
    auto b = enter(room, 'b');
    enter(room, 'c');
    co_await settle();
    b.cancel(cancel_cause::timeout);
    const auto ended = co_await as_result(b.join());
    BOOST_TEST((ended.error() == errc::cancelled));
    BOOST_TEST((ended.error().cause() == cancel_cause::timeout));
    BOOST_TEST(ended.error().doing() == "acquire lock");
    room->door.release();
    co_await settle();
    BOOST_TEST(room->order == "Bac");
}

OURO_WHOLE_TEST(those_who_wait_for_a_lock_that_is_destroyed_fail,
                "destroys what tasks refer to, which they may only once they wait for it") {
    auto waits = [](lock& door) -> task<> { co_await door.acquire(); };
    auto door = std::make_unique<lock>();
    co_await door->acquire();
    auto woken = spawn(waits, std::ref(*door));
    auto waiting = spawn(waits, std::ref(*door));
    auto cancelled = spawn(waits, std::ref(*door));
    co_await settle();
    door->release();
    cancelled.cancel();
    door.reset();
    const auto first = co_await as_result(woken.join());
    const auto second = co_await as_result(waiting.join());
    const auto third = co_await as_result(cancelled.join());
    BOOST_TEST((first.error() == errc::broken_promise));
    BOOST_TEST((second.error() == errc::broken_promise));
    BOOST_TEST((third.error() == errc::cancelled));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
