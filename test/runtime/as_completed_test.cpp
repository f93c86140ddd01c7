// Watching tasks end: wait and as_completed.
#include <ouro/runtime/as_completed.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <ouro/runtime/future.hpp>

#include "async_test.hpp"
#include "later.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

using handles = std::vector<task_handle<int>>;

/// Tasks that give 0, 1, ... after the given times.
handles start(std::initializer_list<std::chrono::milliseconds> delays) {
    handles all;
    for (const auto delay : delays) {
        all.push_back(spawn(give_later(static_cast<int>(all.size()), delay)));
    }
    return all;
}

/// Cancels what a test has no more use for.
task<> end_all(handles all) {
    for (const auto& each : all) each.cancel();
    for (const auto& each : all) {
        if (!each.done()) (void)co_await as_result(each.join());
    }
}

template <class Tasks>
concept can_wait = requires(Tasks tasks) { wait(tasks); };
static_assert(can_wait<handles>);
static_assert(!can_wait<std::vector<task<int>>>, "a body that does not run cannot be waited for");

}  // namespace

BOOST_AUTO_TEST_SUITE(waiting_for_some)

// rule 201
OURO_ASYNC_TEST(wait_tells_what_is_done_and_what_is_not_in_the_order_of_the_argument) {
    auto all = start({1h, 1ms, 1h});
    const auto [done, pending] = co_await wait(all, return_when::first_completed);
    BOOST_TEST((done.size() == 1U && done[0] == all[1]));
    BOOST_TEST((pending.size() == 2U && pending[0] == all[0] && pending[1] == all[2]));
    co_await end_all(all);
    const auto rest = co_await wait(all);
    BOOST_TEST(rest.done.size() == 3U);
    BOOST_TEST(rest.pending.empty());
    BOOST_TEST((rest.done[0] == all[0]));
}

// rule 201
OURO_ASYNC_TEST(what_ends_between_the_wake_up_and_the_return_is_done_too) {
    auto quick = []() -> task<int> {
        co_await yield();
        co_return 1;
    };
    handles all{spawn(quick()), spawn(quick()), spawn(quick())};
    const auto [done, pending] = co_await wait(all, return_when::first_completed);
    BOOST_TEST(done.size() == 3U);
    BOOST_TEST(pending.empty());
}

OURO_ASYNC_TEST(waiting_for_what_is_done_does_not_suspend) {
    auto all = start({0ms, 0ms});
    co_await settle();
    bool other_ran = false;
    auto call = loop::current().call_soon([&] { other_ran = true; });
    for (const auto policy :
         {return_when::first_completed, return_when::first_error, return_when::all_completed}) {
        BOOST_TEST((co_await wait(all, policy, 1s)).done.size() == 2U);
    }
    BOOST_TEST(!other_ran);
    call.cancel();
}

// rule 199
OURO_ASYNC_TEST(waiting_for_nothing_is_refused) {
    const auto ended = co_await as_result(wait(handles()));
    BOOST_TEST((ended.error() == errc::value_error));
}

BOOST_AUTO_TEST_CASE(tasks_of_another_loop_are_refused) {
    loop home(options_for(engine::uring));
    loop other(options_for(engine::uring));
    auto foreign = spawn(other, give_later(1, 0ms));
    auto waits = [&]() -> task<> {
        const auto ended = co_await as_result(wait(handles{spawn(give_later(1, 1ms)), foreign}));
        BOOST_TEST((ended.error() == errc::wrong_loop));
        as_completed answers(handles{foreign});
        const auto next = co_await as_result(answers.next());
        BOOST_TEST((next.error() == errc::wrong_loop));
    };
    BOOST_TEST(home.run_until_complete(waits()).has_value());
}

// rule 200
OURO_ASYNC_TEST(a_limit_is_no_error_and_cancels_nothing) {
    auto all = start({1ms, 1h});
    const auto [done, pending] = co_await wait(all, return_when::all_completed, 5ms);
    BOOST_TEST((done.size() == 1U && done[0] == all[0]));
    BOOST_TEST((pending.size() == 1U && pending[0] == all[1]));
    BOOST_TEST(!all[1].done());
    BOOST_TEST(all[1].cancelling() == 0U);
    BOOST_TEST(current_task().cancelling() == 0U);
    const auto none = co_await wait(handles{all[1]}, return_when::all_completed, 0ms);
    BOOST_TEST(none.pending.size() == 1U);
    co_await end_all(all);
}

// rules 200, 203
OURO_ASYNC_TEST(a_cancelled_waiter_leaves_the_tasks_alone) {
    auto all = start({1h, 1h});
    auto waiting = spawn([](handles on) -> task<> { (void)co_await wait(on); }, all);
    co_await settle();
    for (const auto& each : all) BOOST_TEST(each.core()->awaited());
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    for (const auto& each : all) {
        BOOST_TEST(!each.done());
        BOOST_TEST(!each.core()->awaited());
    }
    co_await end_all(all);
}

// rule 203
OURO_ASYNC_TEST(whatever_ends_a_wait_no_task_remembers_it) {
    auto all = start({1ms, 1h});
    (void)co_await wait(all, return_when::first_completed);
    BOOST_TEST(!all[1].core()->awaited());
    (void)co_await wait(all, return_when::all_completed, 1ms);
    BOOST_TEST(!all[1].core()->awaited());
    co_await end_all(all);
}

// rule 202
OURO_ASYNC_TEST(waiting_for_the_first_error_ignores_values_and_cancellations) {
    auto all = start({1ms, 1h, 1h});
    all.push_back(spawn(fail_later(errc::unsupported, 9ms)));
    loop::current().call_later(4ms, [gone = all[1]] { gone.cancel(); });
    const auto [done, pending] = co_await wait(all, return_when::first_error);
    BOOST_TEST(done.size() == 3U);
    BOOST_TEST((pending.size() == 1U && pending[0] == all[2]));
    BOOST_TEST_REQUIRE(all[3].done());
    BOOST_TEST((all[3].failure() == errc::unsupported));
    const auto known = co_await wait(all, return_when::first_error);
    BOOST_TEST(known.pending.size() == 1U);
    co_await end_all(all);
}

// rule 202
OURO_ASYNC_TEST(without_an_error_the_wait_for_the_first_one_is_for_all) {
    auto all = start({1ms, 3ms});
    all.push_back(spawn([]() -> task<int> { co_return errc::cancelled; }));
    const auto [done, pending] = co_await wait(all, return_when::first_error);
    BOOST_TEST(done.size() == 3U);
    auto threw = spawn([]() -> task<int> {
        co_await yield();
        throw std::runtime_error("thrown on purpose");
    });
    auto slow = start({1h});
    slow.push_back(threw);
    BOOST_TEST((co_await wait(slow, return_when::first_error)).pending.size() == 1U);
    (void)threw.failure();
    co_await end_all(slow);
}

OURO_ASYNC_TEST(a_failure_that_was_only_waited_for_is_still_nobodys) {
    {
        handles all{spawn(fail_later(errc::unsupported, 1ms))};
        BOOST_TEST((co_await wait(all)).done.size() == 1U);
    }
    BOOST_TEST(take_reports().size() == 1U);
}

// rule 204
OURO_ASYNC_TEST(the_same_task_twice_is_told_once) {
    auto all = start({1ms, 1h});
    const handles doubled{all[1], all[0], all[0], all[1], all[0]};
    const auto [done, pending] = co_await wait(doubled, return_when::first_completed);
    BOOST_TEST((done.size() == 1U && done[0] == all[0]));
    BOOST_TEST((pending.size() == 1U && pending[0] == all[1]));
    co_await end_all(all);
}

OURO_ASYNC_TEST(tasks_of_different_types_are_waited_for_together) {
    auto number = spawn(give_later(1, 1ms));
    auto nothing = spawn([]() -> task<> { co_await sleep(2ms); });
    const auto both = co_await wait(std::vector<task_ref>{number, nothing});
    BOOST_TEST(both.done.size() == 2U);
}

OURO_ASYNC_TEST(ten_thousand_tasks_each_of_them_twice) {
    handles all;
    for (int i = 0; i < 10'000; ++i) all.push_back(spawn(give_later(i, 1ms)));
    handles doubled = all;
    doubled.insert(doubled.end(), all.begin(), all.end());
    BOOST_TEST((co_await wait(doubled)).done.size() == all.size());
    as_completed answers(std::move(doubled));
    std::size_t count = 0;
    while (auto next = co_await answers.next()) ++count;
    BOOST_TEST(count == all.size());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(completion_order)

/// The numbers that the tasks give, in the order in which `answers` hands them out.
static task<std::vector<int>> collect(as_completed<task_handle<int>>& answers) {
    std::vector<int> order;
    while (auto next = co_await answers.next()) order.push_back(co_await *next);
    co_return order;
}

// rule 205
OURO_ASYNC_TEST(tasks_are_handed_out_in_the_order_in_which_they_end) {
    as_completed answers(start({9ms, 1ms, 5ms}));
    BOOST_TEST((co_await collect(answers) == std::vector<int>{1, 2, 0}));
    BOOST_TEST(!(co_await answers.next()).has_value());
    as_completed none{handles()};
    BOOST_TEST(!(co_await none.next()).has_value());
}

// rule 205
OURO_ASYNC_TEST(what_is_done_already_comes_first_and_the_same_one_comes_once) {
    auto all = start({3ms, 0ms, 0ms});
    co_await settle();
    as_completed answers(handles{all[0], all[2], all[0], all[1], all[2]});
    BOOST_TEST((co_await collect(answers) == std::vector<int>{2, 1, 0}));
}

// rule 206
OURO_ASYNC_TEST(what_comes_out_are_the_handles_that_went_in) {
    auto all = start({2ms, 1ms});
    as_completed answers(all);
    BOOST_TEST((*co_await answers.next() == all[1]));
    BOOST_TEST((*co_await answers.next() == all[0]));
}

// rule 205
OURO_ASYNC_TEST(it_may_be_left_and_taken_up_again) {
    const promise<int> last;
    auto all = start({1ms, 3ms});
    all.push_back(spawn(as_task(last.get_future())));
    auto answers = std::make_shared<as_completed<task_handle<int>>>(all);
    BOOST_TEST(co_await *(co_await answers->next()) == 0);
    co_await sleep(5ms);  // one ends while nobody waits
    BOOST_TEST(co_await *(co_await answers->next()) == 1);
    auto waiting = spawn([answers]() -> task<> { (void)co_await answers->next(); });
    co_await settle();
    waiting.cancel();
    co_await settle();
    BOOST_TEST(waiting.cancelled());
    BOOST_TEST(!all[2].done());
    last.set_value(2);
    BOOST_TEST(co_await *(co_await answers->next()) == 2);
}

// rules 203, 205
OURO_ASYNC_TEST(one_that_is_never_finished_leaves_no_trace) {
    auto all = start({1ms, 1h});
    {
        as_completed answers(all);
        (void)co_await answers.next();
    }
    BOOST_TEST(!all[1].core()->awaited());
    BOOST_TEST(!all[1].done());
    co_await end_all(all);
}

// rule 206
OURO_ASYNC_TEST(several_callers_at_once_get_different_ones) {
    auto answers = std::make_shared<as_completed<task_handle<int>>>(start({1ms, 2ms, 2ms}));
    auto take = [answers]() -> task<int> {
        auto next = co_await answers->next();
        co_return next ? co_await *next : -1;
    };
    handles takers;
    for (int i = 0; i < 4; ++i) takers.push_back(spawn(take));
    std::multiset<int> got;
    for (const auto& each : takers) got.insert(co_await each);
    BOOST_TEST((got == std::multiset<int>{-1, 0, 1, 2}));
}

// rule 207
OURO_ASYNC_TEST(after_the_limit_every_call_times_out_and_the_tasks_go_on) {
    const promise<int> late;
    auto all = start({0ms});
    all.push_back(spawn(as_task(late.get_future())));
    all.push_back(spawn(give_later(2, 1h)));
    BOOST_TEST(co_await all[0] == 0);
    as_completed answers(all, 5ms);
    BOOST_TEST(co_await *(co_await answers.next()) == 0);
    for (int i = 0; i < 2; ++i) {
        const auto ended = co_await as_result(answers.next());
        BOOST_REQUIRE(!ended);
        BOOST_TEST((ended.error() == std::errc::timed_out));
    }
    BOOST_TEST(!all[1].done());
    BOOST_TEST(!all[2].done());
    late.set_value(1);
    BOOST_TEST(co_await all[1] == 1);
    BOOST_TEST(co_await *(co_await answers.next()) ==
               1);  // it is there, and the limit is for waits
    co_await end_all(all);
}

// rule 208
OURO_ASYNC_TEST(no_timer_is_left_once_the_last_one_has_come) {
    const auto before = loop::current().counters().timers;
    as_completed answers(start({1ms, 2ms}), 1h);
    BOOST_TEST((co_await collect(answers) == std::vector<int>{0, 1}));
    BOOST_TEST(loop::current().counters().timers == before);
}

// rule 205
OURO_ASYNC_TEST(failures_are_handed_out_like_values) {
    as_completed answers(
        handles{spawn(fail_later(errc::unsupported, 1ms)), spawn(give_later(1, 2ms))});
    auto first = co_await answers.next();
    BOOST_TEST((co_await as_result(first->join())).error().code() ==
               make_error_code(errc::unsupported));
    BOOST_TEST(co_await *(co_await answers.next()) == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
