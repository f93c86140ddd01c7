// Lists of waiting frames.
#include <ouro/runtime/waiters.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct waiting_room {
    detail::waiter_list list;
    std::string order;
    task_handle<> enter(char as) {
        return spawn(
            [](waiting_room& room, char name) -> task<> {
                const auto ended = co_await as_result(room.list.wait());
                room.order += ended ? name : static_cast<char>(name - 'a' + 'A');
                if (!ended) co_await result<>(ended.error());
            },
            std::ref(*this), as);
    }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(waiter_lists)

OURO_ASYNC_TEST(all_waiters_are_woken_in_the_order_they_came_and_not_inside_the_call) {
    waiting_room room;
    BOOST_TEST(room.list.empty());
    for (char as = 'a'; as <= 'e'; ++as) room.enter(as);
    co_await settle();
    BOOST_TEST(!room.list.empty());
    room.list.wake_all();
    BOOST_TEST(room.list.empty());
    BOOST_TEST(room.order.empty());
    co_await settle();
    BOOST_TEST(room.order == "abcde");
    room.list.wake_all();
}

OURO_ASYNC_TEST(all_waiters_see_the_same_failure) {
    waiting_room room;
    auto a = room.enter('a');
    auto b = room.enter('b');
    co_await settle();
    room.list.wake_all_failed(error(errc::server_closed, "closing"));
    co_await settle();
    BOOST_TEST(room.order == "AB");
    BOOST_TEST((a.failure() == errc::server_closed));
    BOOST_TEST(b.failure().doing() == "closing");
}

OURO_ASYNC_TEST(a_cancelled_waiter_leaves_without_touching_the_others) {
    waiting_room room;
    auto a = room.enter('a');
    auto b = room.enter('b');
    auto c = room.enter('c');
    co_await settle();
    b.cancel();
    co_await settle();
    BOOST_TEST(room.order == "B");
    BOOST_TEST(b.cancelled());
    a.cancel();
    c.cancel();
    co_await settle();
    BOOST_TEST(room.order == "BAC");
    BOOST_TEST(room.list.empty());
}

// rule 104
OURO_ASYNC_TEST(a_waiter_cancelled_after_it_was_woken_is_cancelled_all_the_same) {
    waiting_room room;
    auto a = room.enter('a');
    co_await settle();
    room.list.wake_all();
    a.cancel();
    co_await settle();
    BOOST_TEST(room.order == "A");
}

OURO_ASYNC_TEST(one_who_waits_again_while_being_woken_waits_for_the_next_time) {
    detail::waiter_list list;
    int woken = 0;
    spawn([&]() -> task<> {
        for (;;) {
            co_await list.wait();
            if (++woken == 3) co_return;
        }
    });
    for (int i = 1; i <= 3; ++i) {
        co_await settle();
        list.wake_all();
        co_await settle();
        BOOST_TEST(woken == i);
    }
    BOOST_TEST(list.empty());
}

OURO_ASYNC_TEST(a_kind_of_its_own_gives_the_error_its_name) {
    detail::waiter_list list;
    static const detail::wait_kind kind{"wait for tea", &detail::waiter_list::waiter::leave};
    auto waiting = spawn([&]() -> task<> { co_await list.wait(kind); });
    co_await settle();
    waiting.cancel(cancel_cause::timeout);
    co_await settle();
    BOOST_TEST(waiting.failure().doing() == "wait for tea");
    BOOST_TEST((waiting.failure().cause() == cancel_cause::timeout));
}

BOOST_AUTO_TEST_CASE(a_loop_that_closes_takes_waiters_out_of_their_list) {
    detail::waiter_list list;
    loop home(options_for(engine::uring));
    auto waits = [&]() -> task<> { co_await list.wait(); };
    spawn(home, waits());
    home.stop();
    home.run_forever();
    BOOST_TEST(!list.empty());
    home.close();
    BOOST_TEST(list.empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
