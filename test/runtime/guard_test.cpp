// Guards of locks and semaphores.
#include <ouro/runtime/guard.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <type_traits>
#include <utility>

#include <ouro/runtime/lock.hpp>
#include <ouro/runtime/semaphore.hpp>

#include "async_test.hpp"

namespace ouro::test {

static_assert(!std::is_copy_constructible_v<guard<lock>>);
static_assert(std::is_nothrow_move_constructible_v<guard<lock>>);

BOOST_AUTO_TEST_SUITE(guards)

OURO_ASYNC_TEST(a_guard_releases_at_the_end_of_its_scope) {
    auto door = std::make_shared<lock>();
    {
        auto held = co_await door->scoped();
        BOOST_TEST(static_cast<bool>(held));
        BOOST_TEST(door->locked());
    }
    BOOST_TEST(!door->locked());
    const auto caught = co_await as_result(door->scoped());
    BOOST_TEST(caught.has_value());
    BOOST_TEST(door->locked());
}

OURO_ASYNC_TEST(a_guard_that_moved_releases_once) {
    auto permits = std::make_shared<bounded_semaphore>(2);
    auto first = co_await permits->scoped();
    auto second = co_await permits->scoped();
    BOOST_TEST(permits->locked());
    second = std::move(first);  // gives back the second one's permit
    BOOST_TEST(!static_cast<bool>(first));
    BOOST_TEST(!permits->locked());
    guard<semaphore> none;
    BOOST_TEST(!static_cast<bool>(none));
    none = std::move(second);
    auto& same = none;
    none = std::move(same);
    BOOST_TEST(static_cast<bool>(none));
    none.release();
    none.release();
    co_await permits->acquire();
    co_await permits->acquire();
    BOOST_TEST(permits->locked());
}

OURO_ASYNC_TEST(an_error_that_ends_a_task_releases_what_it_holds) {
    auto door = std::make_shared<lock>();
    auto fails = spawn(
        [](std::shared_ptr<lock> of) -> task<> {
            auto held = co_await of->scoped();
            co_await yield();
            co_await result<>(errc::no_address);
        },
        door);
    auto waits =
        spawn([](std::shared_ptr<lock> of) -> task<> { auto held = co_await of->scoped(); }, door);
    const auto failed = co_await as_result(fails.join());
    BOOST_TEST((failed.error() == errc::no_address));
    co_await waits;
    BOOST_TEST(!door->locked());
}

OURO_ASYNC_TEST(a_guard_given_to_one_who_is_cancelled_at_once_goes_to_the_next) {
    auto door = std::make_shared<lock>();
    auto enters = [](std::shared_ptr<lock> of) -> task<> { auto held = co_await of->scoped(); };
    co_await door->acquire();
    auto cancelled = spawn(enters, door);
    auto next = spawn(enters, door);
    co_await settle();
    door->release();
    cancelled.cancel();
    co_await next;
    BOOST_TEST(cancelled.cancelled());
    BOOST_TEST(!door->locked());
}

/// Waits again after it was cancelled, so that a closing loop has to destroy its frame.
static task<> insist(std::shared_ptr<lock> of) {
    for (;;) {
        auto held = co_await as_result(of->scoped());
        if (!held) continue;
        while (!co_await as_result(sleep(std::chrono::hours(1)))) {
        }
    }
}

BOOST_AUTO_TEST_CASE(a_loop_that_destroys_frames_leaves_no_lock_held) {
    auto door = std::make_shared<lock>();
    int reports = 0;
    {
        loop home(options_for(engine::uring));
        home.set_exception_handler([&](loop&, const failure_report&) { ++reports; });
        for (int i = 0; i < 3; ++i) spawn(home, insist(door));
        home.stop();
        home.run_forever();
        BOOST_TEST(door->locked());
    }
    BOOST_TEST(reports == 3);  // each was destroyed while it waited
    BOOST_TEST(!door->locked());
    BOOST_TEST(door.use_count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
