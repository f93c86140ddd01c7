// Conditions: the lock is held however a wait ends, and no notification is lost.
#include <ouro/runtime/condition.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <system_error>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct shared_condition {
    condition changed;
    std::string order;  // a small letter for one who was notified, a capital for one who failed
    int value = 0;
};
using shared_state = std::shared_ptr<shared_condition>;

/// Waits once, and checks that the lock is held after it.
task<> wait_once(shared_state on, char name) {
    auto held = co_await on->changed.scoped();
    const auto ended = co_await as_result(on->changed.wait());
    BOOST_TEST(on->changed.locked());
    on->order += ended ? name : static_cast<char>(name - 'a' + 'A');
    if (!ended) co_await result<>(ended.error());
}

task_handle<> wait_on(const shared_state& on, char name) { return spawn(&wait_once, on, name); }

task<> notify(shared_state on, std::size_t most) {
    auto held = co_await on->changed.scoped();
    on->changed.notify(most);
}

std::error_code thrown_by_notify(condition& of, bool all) {
    try {
        all ? of.notify_all() : of.notify();
    } catch (const std::system_error& thrown) {
        return thrown.code();
    }
    return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conditions)

// rule 226
OURO_ASYNC_TEST(waiting_and_notifying_without_the_lock_are_errors) {
    auto shared = std::make_shared<shared_condition>();
    const auto ended = co_await as_result(shared->changed.wait());
    BOOST_TEST((ended.error() == errc::invalid_state));
    BOOST_TEST(!shared->changed.locked());
    BOOST_TEST((thrown_by_notify(shared->changed, false) == errc::invalid_state));
    BOOST_TEST((thrown_by_notify(shared->changed, true) == errc::invalid_state));
    co_await shared->changed.acquire();
    BOOST_TEST(!thrown_by_notify(shared->changed, false));
    BOOST_TEST(!thrown_by_notify(shared->changed, true));
    shared->changed.release();
}

// rule 227
OURO_ASYNC_TEST(a_wait_releases_the_lock_and_holds_it_again_when_it_ends) {
    auto shared = std::make_shared<shared_condition>();
    auto a = wait_on(shared, 'a');
    co_await settle();
    BOOST_TEST(!shared->changed.locked());
    co_await shared->changed.acquire();
    shared->changed.notify();
    co_await settle();
    BOOST_TEST(shared->order.empty());  // notified, but the lock is here
    shared->changed.release();
    co_await a;
    BOOST_TEST(shared->order == "a");
    BOOST_TEST(!shared->changed.locked());
}

// rule 227
OURO_ASYNC_TEST(a_cancelled_wait_holds_the_lock_again_when_it_ends) {
    auto shared = std::make_shared<shared_condition>();
    auto a = wait_on(shared, 'a');
    auto b = wait_on(shared, 'b');
    co_await settle();
    a.cancel(cancel_cause::timeout);
    const auto ended = co_await as_result(a.join());
    BOOST_TEST((ended.error() == errc::cancelled));
    BOOST_TEST((ended.error().cause() == cancel_cause::timeout));
    BOOST_TEST(ended.error().doing() == "wait for condition");
    BOOST_TEST(shared->order == "A");
    BOOST_TEST(!shared->changed.locked());
    co_await notify(shared, 1);
    co_await b;
    BOOST_TEST(shared->order == "Ab");
}

// rule 228
OURO_ASYNC_TEST(notify_wakes_so_many_in_order_and_keeps_the_lock) {
    auto shared = std::make_shared<shared_condition>();
    for (char name = 'a'; name <= 'f'; ++name) wait_on(shared, name);
    co_await settle(10);
    co_await notify(shared, 1);
    co_await settle(10);
    BOOST_TEST(shared->order == "a");
    co_await shared->changed.acquire();
    shared->changed.notify(0);
    shared->changed.notify(2);
    BOOST_TEST(shared->changed.locked());
    co_await settle(10);
    BOOST_TEST(shared->order == "a");
    shared->changed.release();
    co_await settle(10);
    BOOST_TEST(shared->order == "abc");
    co_await shared->changed.acquire();
    shared->changed.notify_all();
    shared->changed.release();
    co_await settle(10);
    BOOST_TEST(shared->order == "abcdef");
    co_await notify(shared, 5);  // nobody waits: nothing is kept for later
    auto late = wait_on(shared, 'g');
    co_await settle();
    BOOST_TEST(shared->order == "abcdef");
    co_await notify(shared, 1);
    co_await late;
}

// rule 229
OURO_ASYNC_TEST(a_cancellation_while_the_lock_is_awaited_comes_once_it_is_held) {
    auto shared = std::make_shared<shared_condition>();
    auto a = wait_on(shared, 'a');
    co_await settle();
    co_await shared->changed.acquire();
    shared->changed.notify();
    co_await settle();
    a.cancel(cancel_cause::timeout);
    a.cancel(cancel_cause::user);  // a second one changes nothing
    co_await settle();
    BOOST_TEST(!a.done());
    BOOST_TEST(shared->order.empty());
    shared->changed.release();
    const auto ended = co_await as_result(a.join());
    BOOST_TEST(shared->order == "A");
    BOOST_TEST((ended.error() == errc::cancelled));
    BOOST_TEST((ended.error().cause() == cancel_cause::timeout));
}

// rules 227, 229
OURO_ASYNC_TEST(a_wait_cancelled_while_others_hold_the_lock_ends_when_they_are_done) {
    auto shared = std::make_shared<shared_condition>();
    auto a = wait_on(shared, 'a');
    co_await settle();
    co_await shared->changed.acquire();
    a.cancel();
    co_await settle();
    BOOST_TEST(!a.done());
    shared->changed.notify();  // it does not wait for that any more
    shared->changed.release();
    co_await settle();
    BOOST_TEST(a.cancelled());
    BOOST_TEST(shared->order == "A");
}

// rule 230
OURO_ASYNC_TEST(a_notified_one_who_is_cancelled_before_it_has_the_lock_passes_the_notification_on) {
    auto shared = std::make_shared<shared_condition>();
    auto a = wait_on(shared, 'a');
    auto b = wait_on(shared, 'b');
    auto c = wait_on(shared, 'c');
    co_await settle();
    co_await shared->changed.acquire();
    shared->changed.notify();
    a.cancel();
    shared->changed.release();
    co_await b;
    BOOST_TEST(a.cancelled());
    BOOST_TEST(shared->order == "Ab");
    co_await settle();
    BOOST_TEST(!c.done());
    c.cancel();
    co_await settle();
}

// rule 230
OURO_ASYNC_TEST(a_notified_one_who_is_cancelled_as_it_gets_the_lock_passes_the_notification_on) {
    auto shared = std::make_shared<shared_condition>();
    auto a = wait_on(shared, 'a');
    auto b = wait_on(shared, 'b');
    co_await settle();
    co_await shared->changed.acquire();
    shared->changed.notify();
    shared->changed.release();  // the lock is a's, who has not run yet
    a.cancel();
    co_await b;
    BOOST_TEST(a.cancelled());
    BOOST_TEST(shared->order == "Ab");
    BOOST_TEST(!shared->changed.locked());
}

// rule 230
OURO_ASYNC_TEST(one_who_was_notified_and_returned_keeps_the_notification) {
    auto shared = std::make_shared<shared_condition>();
    auto first = spawn(
        [](shared_state on) -> task<> {
            auto held = co_await on->changed.scoped();
            co_await on->changed.wait();
            co_await sleep(std::chrono::hours(1));
        },
        shared);
    auto second = wait_on(shared, 'b');
    co_await settle();
    co_await notify(shared, 1);
    co_await settle();
    first.cancel();
    co_await settle();
    BOOST_TEST(!second.done());
    second.cancel();
    co_await settle();
}

// rule 231
OURO_ASYNC_TEST(wait_for_looks_again_until_the_predicate_holds_and_gives_its_value) {
    auto shared = std::make_shared<shared_condition>();
    auto waiting = spawn(
        [](shared_state on) -> task<int> {
            auto held = co_await on->changed.scoped();
            co_return co_await on->changed.wait_for(
                [on] { return on->value >= 3 ? on->value : 0; });
        },
        shared);
    for (int i = 1; i <= 3; ++i) {
        co_await settle();
        BOOST_TEST(!waiting.done());
        auto held = co_await shared->changed.scoped();
        shared->value = i;
        shared->changed.notify();
    }
    BOOST_TEST(co_await waiting == 3);
}

// rules 226, 231
OURO_ASYNC_TEST(wait_for_without_the_lock_fails_unless_the_predicate_holds) {
    auto shared = std::make_shared<shared_condition>();
    BOOST_TEST(co_await shared->changed.wait_for([] { return true; }));
    const auto ended = co_await as_result(shared->changed.wait_for([] { return false; }));
    BOOST_TEST((ended.error() == errc::invalid_state));
}

// rule 232
OURO_ASYNC_TEST(two_conditions_share_one_lock) {
    struct both {
        lock door;
        condition first{door};
        condition second{door};
        std::string order;
    };
    auto shared = std::make_shared<both>();
    auto waits = [](std::shared_ptr<both> on, condition& at, char name) -> task<> {
        auto held = co_await on->door.scoped();
        co_await at.wait();
        on->order += name;
    };
    auto a = spawn(waits, shared, std::ref(shared->first), 'a');
    auto b = spawn(waits, shared, std::ref(shared->second), 'b');
    co_await settle();
    co_await shared->first.acquire();
    BOOST_TEST(shared->door.locked());
    BOOST_TEST(shared->second.locked());
    shared->second.notify_all();
    shared->door.release();
    co_await b;
    BOOST_TEST(shared->order == "b");
    co_await shared->second.acquire();
    shared->first.notify_all();
    shared->second.release();
    co_await a;
    BOOST_TEST(shared->order == "ba");
}

OURO_WHOLE_TEST(those_who_wait_for_a_condition_that_is_destroyed_fail_with_the_lock_held,
                "destroys what tasks refer to, which they may only once they wait for it") {
    struct waiter {
        static task<> run(lock& door, condition& at, std::string& seen, char name) {
            auto held = co_await door.scoped();
            const auto ended = co_await as_result(at.wait());
            BOOST_TEST(door.locked());
            seen += ended ? name : ended.error() == errc::broken_promise ? 'x' : '?';
            co_await yield();
        }
    };
    lock door;
    std::string seen;
    auto at = std::make_unique<condition>(door);
    auto notified = spawn(&waiter::run, std::ref(door), std::ref(*at), std::ref(seen), 'n');
    auto first = spawn(&waiter::run, std::ref(door), std::ref(*at), std::ref(seen), 'a');
    auto second = spawn(&waiter::run, std::ref(door), std::ref(*at), std::ref(seen), 'b');
    co_await settle();
    co_await door.acquire();
    at->notify();
    at.reset();
    notified.cancel();  // there is nobody left to pass the notification on to
    door.release();
    co_await first;
    co_await second;
    (void)co_await as_result(notified.join());
    BOOST_TEST(seen == "?xx");
    BOOST_TEST(!door.locked());
}

/// Waits again after it was cancelled, so that a closing loop has to destroy its frame.
static task<> insist(shared_state on) {
    auto held = co_await on->changed.scoped();
    for (;;) (void)co_await as_result(on->changed.wait());
}

BOOST_AUTO_TEST_CASE(a_loop_that_destroys_waiting_frames_leaves_the_lock_free) {
    auto shared = std::make_shared<shared_condition>();
    int reports = 0;
    {
        loop home(options_for(engine::uring));
        home.set_exception_handler([&](loop&, const failure_report&) { ++reports; });
        for (int i = 0; i < 3; ++i) spawn(home, insist(shared));
        home.stop();
        home.run_forever();
    }
    BOOST_TEST(reports == 3);
    BOOST_TEST(!shared->changed.locked());
    BOOST_TEST(shared.use_count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
