// Waiting for a task without a hold on it.
#include <ouro/runtime/shield.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/runtime/future.hpp>
#include <ouro/runtime/timeout.hpp>

#include "async_test.hpp"
#include "later.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

}  // namespace

BOOST_AUTO_TEST_SUITE(shielding)

OURO_ASYNC_TEST(a_shield_gives_what_the_task_gave) {
    auto inner = spawn(give_later(3, 1ms));
    BOOST_TEST(co_await shield(inner) == 3);
    BOOST_TEST(co_await shield(give_later(4, 1ms)) == 4);
    const auto failed = co_await as_result(shield(fail_later(errc::unsupported, 1ms)));
    BOOST_TEST((failed.error() == errc::unsupported));
    auto throws = []() -> task<int> {
        co_await yield();
        throw std::runtime_error("thrown on purpose");
    };
    BOOST_CHECK_THROW(co_await shield(throws()), std::runtime_error);
    auto moves = []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(7); };
    BOOST_TEST(*co_await shield(moves()) == 7);
}

// rules 183, 184
OURO_ASYNC_TEST(cancelling_the_waiter_leaves_the_task_alone) {
    const promise<int> gate;
    auto inner = spawn(as_task(gate.get_future()));
    auto waiting = spawn([](task_handle<int> on) -> task<> { (void)co_await shield(on); }, inner);
    co_await settle();
    BOOST_TEST(waiting.cancel("the client went away"));
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(inner.cancelling() == 0U);
    gate.set_value(3);
    BOOST_TEST(co_await inner == 3);
}

// rule 184
OURO_ASYNC_TEST(a_body_behind_a_shield_goes_on_when_its_waiter_is_cancelled) {
    const promise<int> gate;
    auto story = std::make_shared<std::string>();
    auto waiting = spawn(
        [story](future<int> from) -> task<> {
            co_await shield([](std::shared_ptr<std::string> to, future<int> opened) -> task<> {
                (void)co_await opened;
                *to += "committed";
            }(story, from));
        },
        gate.get_future());
    co_await settle();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(story->empty());
    gate.set_value(1);
    co_await settle();
    BOOST_TEST(*story == "committed");
}

// rule 185
OURO_ASYNC_TEST(cancelling_the_task_cancels_the_shield) {
    auto inner = spawn(give_later(3, 1h));
    auto waiting = spawn([](task_handle<int> on) -> task<> { (void)co_await shield(on); }, inner);
    co_await settle();
    inner.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(waiting.cancelling() == 0U);
}

// rule 186
OURO_ASYNC_TEST(a_shield_of_a_finished_task_does_not_suspend) {
    auto inner = spawn(give_later(3, 0ms));
    co_await settle();
    bool other_ran = false;
    auto call = loop::current().call_soon([&] { other_ran = true; });
    BOOST_TEST(co_await shield(inner) == 3);
    BOOST_TEST(!other_ran);
    call.cancel();
}

// rule 183
OURO_ASYNC_TEST(a_deadline_ends_the_wait_and_not_the_task) {
    const promise<int> gate;
    auto inner = spawn(as_task(gate.get_future()));
    const auto ended = co_await as_result(wait_for(shield(inner), 2ms));
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(!inner.done());
    gate.set_value(3);
    BOOST_TEST(co_await inner == 3);
}

// rule 187
OURO_ASYNC_TEST(a_failure_after_the_waiter_has_gone_is_reported) {
    const promise<int> gate;
    auto waiting = spawn(
        [](future<int> from) -> task<> {
            co_await shield([](future<int> opened) -> task<> {
                (void)co_await opened;
                co_await result<>(errc::unsupported);
            }(from));
        },
        gate.get_future());
    co_await settle();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(take_reports().empty());
    gate.set_value(1);
    co_await settle();
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == errc::unsupported));
}

/// The waiter is cancelled in the turn in which the task fails: after the failure, before its step.
static task<> race_failure_against_cancel(std::vector<task_handle<int>>& kept) {
    auto cancels = std::make_shared<task_handle<>>();
    auto inner = spawn([cancels]() -> task<int> {
        co_await settle(3);
        loop::current().call_soon([cancels] { cancels->cancel(); });  // runs before the waiter
        co_return errc::unsupported;
    });
    kept.push_back(inner);
    *cancels = spawn([](task_handle<int> on) -> task<> { (void)co_await shield(on); }, inner);
    co_await settle(8);
    BOOST_TEST(cancels->cancelled());
    BOOST_TEST(inner.done());
    *cancels = {};
}

// rule 187
OURO_ASYNC_TEST(a_failure_on_its_way_to_a_waiter_that_is_cancelled_is_reported) {
    std::vector<task_handle<int>> kept;
    co_await race_failure_against_cancel(kept);
    BOOST_TEST(take_reports().empty());  // somebody may still look
    kept.clear();
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == errc::unsupported));
    co_await race_failure_against_cancel(kept);
    BOOST_TEST_REQUIRE(kept[0].done());
    BOOST_TEST((kept[0].failure() == errc::unsupported));
    kept.clear();
    BOOST_TEST(take_reports().empty());
}

// rule 187
OURO_ASYNC_TEST(a_failure_that_another_waiter_was_told_of_is_not_reported) {
    auto told = std::make_shared<int>(0);
    auto cancels = std::make_shared<task_handle<>>();
    auto inner = spawn([cancels]() -> task<int> {
        co_await settle(3);
        loop::current().call_soon([cancels] { cancels->cancel(); });
        co_return errc::unsupported;
    });
    *cancels = spawn([](task_handle<int> on) -> task<> { (void)co_await shield(on); }, inner);
    co_await yield();
    spawn(
        [told](task_handle<int> on) -> task<> {
            *told += (co_await as_result(shield(on))).error() == errc::unsupported;
        },
        std::move(inner));
    co_await settle(8);
    BOOST_TEST(cancels->cancelled());
    BOOST_TEST(*told == 1);
    *cancels = {};
    BOOST_TEST(take_reports().empty());
}

// rule 187
OURO_ASYNC_TEST(a_failure_between_the_cancellation_and_the_end_of_its_waiter_is_reported) {
    const promise<int> gate;
    auto waiting = spawn(
        [](future<int> from) -> task<> {
            (void)co_await shield([](future<int> opened) -> task<int> {
                (void)co_await opened;
                co_return errc::unsupported;
            }(from));
        },
        gate.get_future());
    co_await settle();
    gate.set_value(1);  // the task fails in the next turn,
    waiting.cancel();   // in which its waiter ends
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(take_reports().size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
