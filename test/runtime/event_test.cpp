// Events.
#include <ouro/runtime/event.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct awaited_event {
    event happened;
    std::string order;
};
using shared_event = std::shared_ptr<awaited_event>;

task_handle<> wait_for_it(const shared_event& of, char name) {
    return spawn(
        [](shared_event on, char who) -> task<> {
            const auto ended = co_await as_result(on->happened.wait());
            on->order += ended ? who : static_cast<char>(who - 'a' + 'A');
            if (!ended) co_await result<>(ended.error());
        },
        of, name);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(events)

// rule 223
OURO_ASYNC_TEST(setting_an_event_wakes_all_in_the_order_they_came) {
    auto shared = std::make_shared<awaited_event>();
    for (char name = 'a'; name <= 'd'; ++name) wait_for_it(shared, name);
    co_await settle();
    BOOST_TEST(shared->order.empty());
    shared->happened.set();
    BOOST_TEST(shared->order.empty());
    co_await settle();
    BOOST_TEST(shared->order == "abcd");
}

// rule 223
OURO_ASYNC_TEST(waiting_for_an_event_that_is_set_does_not_suspend) {
    auto shared = std::make_shared<awaited_event>();
    shared->happened.set();
    auto other = wait_for_it(shared, 'a');
    co_await shared->happened.wait();
    (void)co_await as_result(shared->happened.wait());
    BOOST_TEST(shared->order.empty());  // the other task was ready all the time
    co_await other;
}

// rule 224
OURO_ASYNC_TEST(those_woken_by_set_stay_woken_when_it_is_cleared_at_once) {
    auto shared = std::make_shared<awaited_event>();
    wait_for_it(shared, 'a');
    wait_for_it(shared, 'b');
    co_await settle();
    shared->happened.set();
    shared->happened.clear();
    auto late = wait_for_it(shared, 'c');
    co_await settle();
    BOOST_TEST(shared->order == "ab");
    BOOST_TEST(!shared->happened.is_set());
    shared->happened.set();
    co_await late;
    BOOST_TEST(shared->order == "abc");
}

// rule 225
OURO_ASYNC_TEST(setting_a_set_event_and_clearing_a_clear_one_do_nothing) {
    auto shared = std::make_shared<awaited_event>();
    shared->happened.clear();
    BOOST_TEST(!shared->happened.is_set());
    auto waiting = wait_for_it(shared, 'a');
    co_await settle();
    shared->happened.clear();
    co_await settle();
    BOOST_TEST(shared->order.empty());
    shared->happened.set();
    shared->happened.set();
    BOOST_TEST(shared->happened.is_set());
    co_await waiting;
    BOOST_TEST(shared->order == "a");
}

OURO_ASYNC_TEST(a_cancelled_one_leaves_the_others_waiting_for_the_event) {
    auto shared = std::make_shared<awaited_event>();
    wait_for_it(shared, 'a');
    auto cancelled = wait_for_it(shared, 'b');
    wait_for_it(shared, 'c');
    co_await settle();
    cancelled.cancel();
    co_await settle();
    BOOST_TEST(shared->order == "B");
    shared->happened.set();
    co_await settle();
    BOOST_TEST(shared->order == "Bac");
}

OURO_WHOLE_TEST(those_who_wait_for_an_event_that_is_destroyed_fail_and_those_woken_do_not,
                "destroys what tasks refer to, which they may only once they wait for it") {
    auto waits = [](event& of) -> task<> { co_await of.wait(); };
    auto happened = std::make_unique<event>();
    auto woken = spawn(waits, std::ref(*happened));
    co_await settle();
    happened->set();
    happened->clear();
    auto waiting = spawn(waits, std::ref(*happened));
    co_await yield();
    happened.reset();
    co_await woken;
    const auto ended = co_await as_result(waiting.join());
    BOOST_TEST((ended.error() == errc::broken_promise));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
