// Semaphores.
#include <ouro/runtime/semaphore.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <system_error>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct shared_permits {
    explicit shared_permits(std::ptrdiff_t count) : permits(count) {}
    semaphore permits;
    std::string order;
};
using shared_state = std::shared_ptr<shared_permits>;

task<> take_one(shared_state from, char name) {
    const auto got = co_await as_result(from->permits.acquire());
    from->order += got ? name : static_cast<char>(name - 'a' + 'A');
    if (!got) co_await result<>(got.error());
}

task_handle<> acquire(const shared_state& from, char name) { return spawn(&take_one, from, name); }

template <class Call>
std::error_code thrown_by(Call&& call) {
    try {
        call();
    } catch (const std::system_error& thrown) {
        return thrown.code();
    }
    return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(semaphores)

// rule 233
BOOST_AUTO_TEST_CASE(a_negative_number_of_permits_is_a_value_error) {
    BOOST_TEST((thrown_by([] { semaphore bad(-1); }) == errc::value_error));
    BOOST_TEST((thrown_by([] { bounded_semaphore bad(-1); }) == errc::value_error));
    BOOST_TEST(!thrown_by([] { semaphore none(0); }));
    BOOST_TEST(semaphore(0).locked());
    BOOST_TEST(!semaphore().locked());
}

OURO_ASYNC_TEST(free_permits_are_taken_without_a_turn_of_the_loop) {
    auto shared = std::make_shared<shared_permits>(3);
    auto other = acquire(shared, 'a');
    co_await shared->permits.acquire();
    (void)co_await as_result(shared->permits.acquire());
    BOOST_TEST(shared->order.empty());  // the other task was ready all the time
    co_await other;
    BOOST_TEST(shared->permits.locked());
}

// rule 234
OURO_ASYNC_TEST(a_semaphore_is_locked_without_permits_and_while_a_permit_is_on_its_way) {
    auto shared = std::make_shared<shared_permits>(1);
    BOOST_TEST(!shared->permits.locked());
    co_await shared->permits.acquire();
    BOOST_TEST(shared->permits.locked());
    auto a = acquire(shared, 'a');
    co_await settle();
    shared->permits.release();
    BOOST_TEST(shared->permits.locked());  // it is a's, who has not run yet
    shared->permits.release();
    BOOST_TEST(!shared->permits.locked());
    co_await a;
    BOOST_TEST(!shared->permits.locked());
}

// rule 235
OURO_ASYNC_TEST(permits_are_given_in_order_and_one_who_releases_and_acquires_goes_behind) {
    auto shared = std::make_shared<shared_permits>(1);
    co_await shared->permits.acquire();
    for (char name = 'a'; name <= 'c'; ++name) {
        spawn(
            [](shared_state from, char who) -> task<> {
                co_await from->permits.acquire();
                from->order += who;
                from->permits.release();
            },
            shared, name);
    }
    co_await settle();
    shared->permits.release();
    co_await shared->permits.acquire();
    BOOST_TEST(shared->order == "abc");
}

// rule 236
OURO_ASYNC_TEST(several_releases_in_a_row_wake_as_many) {
    auto shared = std::make_shared<shared_permits>(0);
    for (char name = 'a'; name <= 'd'; ++name) acquire(shared, name);
    co_await settle();
    for (int i = 0; i < 3; ++i) shared->permits.release();
    co_await settle();
    BOOST_TEST(shared->order == "abc");
    shared->permits.release();
    shared->permits.release();
    co_await settle();
    BOOST_TEST(shared->order == "abcd");
    BOOST_TEST(!shared->permits.locked());
}

// rule 237
OURO_ASYNC_TEST(a_permit_given_to_one_who_is_cancelled_goes_to_the_next) {
    auto shared = std::make_shared<shared_permits>(0);
    auto a = acquire(shared, 'a');
    auto b = acquire(shared, 'b');
    auto c = acquire(shared, 'c');
    co_await settle();
    shared->permits.release();
    a.cancel();
    b.cancel();
    co_await c;
    BOOST_TEST(shared->order.size() == 3U);
    BOOST_TEST(shared->order.back() == 'c');
    BOOST_TEST(a.cancelled());
    BOOST_TEST(b.cancelled());
    BOOST_TEST(shared->permits.locked());
}

// rule 237
OURO_ASYNC_TEST(permits_given_to_several_who_are_cancelled_are_free_again) {
    auto shared = std::make_shared<shared_permits>(0);
    auto a = acquire(shared, 'a');
    auto b = acquire(shared, 'b');
    co_await settle();
    shared->permits.release();
    shared->permits.release();
    BOOST_TEST(shared->permits.locked());
    a.cancel();
    b.cancel();
    co_await settle();
    BOOST_TEST(shared->order == "AB");
    co_await shared->permits.acquire();
    BOOST_TEST(!shared->permits.locked());
    co_await shared->permits.acquire();
    BOOST_TEST(shared->permits.locked());
}

// rule 238
OURO_ASYNC_TEST(a_release_passes_over_those_who_were_cancelled) {
    auto shared = std::make_shared<shared_permits>(0);
    auto a = acquire(shared, 'a');
    auto b = acquire(shared, 'b');
    acquire(shared, 'c');
    co_await settle();
    a.cancel();
    b.cancel();
    shared->permits.release();
    co_await settle();
    BOOST_TEST(shared->order == "ABc");
}

// rule 239
OURO_ASYNC_TEST(a_bounded_semaphore_is_not_released_above_its_value) {
    bounded_semaphore permits(2);
    BOOST_TEST((thrown_by([&] { permits.release(); }) == errc::value_error));
    co_await permits.acquire();
    co_await permits.acquire();
    permits.release();
    permits.release();
    BOOST_TEST((thrown_by([&] { permits.release(); }) == errc::value_error));
    semaphore unbounded(0);
    unbounded.release();
    co_await unbounded.acquire();
    BOOST_TEST(unbounded.locked());
}

OURO_WHOLE_TEST(those_who_wait_for_a_semaphore_that_is_destroyed_fail,
                "destroys what tasks refer to, which they may only once they wait for it") {
    auto waits = [](semaphore& of) -> task<> { auto held = co_await of.scoped(); };
    auto permits = std::make_unique<semaphore>(0);
    auto woken = spawn(waits, std::ref(*permits));
    auto waiting = spawn(waits, std::ref(*permits));
    co_await settle();
    permits->release();
    permits.reset();
    const auto first = co_await as_result(woken.join());
    const auto second = co_await as_result(waiting.join());
    BOOST_TEST((first.error() == errc::broken_promise));
    BOOST_TEST((second.error() == errc::broken_promise));
    BOOST_TEST(second.error().doing() == "wait for an object that was destroyed");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
