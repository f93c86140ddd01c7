// Chains of frames and of tasks far deeper than any stack.
#include <ouro/runtime/task.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

constexpr int depth = 100'000;

enum class ending { value, error, exception, cancelled };

task<int> chain(int left, ending how) {
    if (left > 0) co_return 1 + co_await chain(left - 1, how);
    switch (how) {
    case ending::error:
        co_return error(errc::unsupported, "bottom");
    case ending::exception:
        throw 42;
    case ending::cancelled:
        co_await sleep(std::chrono::hours(1));
        break;
    default:
        co_await yield();
    }
    co_return 1;
}

task<int> at_once(int value) { co_return value; }

task<> nested(task<> inner) { co_await std::move(inner); }
task<> innermost() { co_return; }

task<> deep_task(int levels) {
    task<> outer = innermost();
    for (int i = 0; i < levels; ++i) outer = nested(std::move(outer));
    return outer;
}

/// Which arguments were destroyed, in order, and between which places of the stack.
struct departures {
    std::vector<int> numbers;
    const char* lowest = nullptr;
    const char* highest = nullptr;

    std::ptrdiff_t stack_bytes() const { return highest - lowest; }
};
constexpr std::ptrdiff_t most_stack_bytes = 1 << 18;

/// An argument that tells when it goes.
class leaving {
  public:
    leaving(departures& log, int number) : log_(&log), number_(number) {}
    leaving(leaving&& other) noexcept
        : log_(std::exchange(other.log_, nullptr)), number_(other.number_) {}
    ~leaving() {
        if (!log_) return;
        const auto* const place = static_cast<const char*>(__builtin_frame_address(0));
        log_->lowest = log_->numbers.empty() ? place : std::min(log_->lowest, place);
        log_->highest = log_->numbers.empty() ? place : std::max(log_->highest, place);
        log_->numbers.push_back(number_);
    }

  private:
    departures* log_;
    int number_;
};

task<> leaf(leaving) { co_return; }
task<> holds(leaving, task<>, task<>) { co_return; }

task<> deep_holder(departures& gone) {
    task<> outer = innermost();
    for (int i = 0; i < depth; ++i) outer = holds({gone, i}, std::move(outer), innermost());
    return outer;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(deep_chains)

// fault 68
OURO_ASYNC_TEST(a_million_awaits_that_never_wait_do_not_grow_the_stack) {
    long sum = 0;
    for (int i = 0; i < 1'000'000; ++i) sum += co_await at_once(1);
    BOOST_TEST(sum == 1'000'000);
}

OURO_ASYNC_TEST(a_million_failures_that_never_wait_do_not_grow_the_stack) {
    auto fails = []() -> task<> { co_await result<>(errc::unsupported); };
    int failed = 0;
    for (int i = 0; i < 1'000'000; ++i) failed += !co_await as_result(fails());
    BOOST_TEST(failed == 1'000'000);
}

// fault 68
OURO_ASYNC_TEST(a_value_comes_up_through_a_hundred_thousand_frames) {
    BOOST_TEST(co_await chain(depth, ending::value) == depth + 1);
}

// fault 68
OURO_ASYNC_TEST(an_error_comes_up_through_a_hundred_thousand_frames) {
    const auto ended = co_await as_result(chain(depth, ending::error));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(ended.error().doing() == "bottom");
    BOOST_TEST(ended.error().trail().size() < 100U);
}

// fault 68
OURO_ASYNC_TEST(an_exception_comes_up_through_a_hundred_thousand_frames) {
    bool caught = false;
    try {
        (void)co_await chain(depth, ending::exception);
    } catch (int thrown) {
        caught = thrown == 42;
    }
    BOOST_TEST(caught);
}

// fault 68
OURO_ASYNC_TEST(a_cancellation_goes_down_and_up_a_hundred_thousand_frames) {
    auto running = spawn(chain(depth, ending::cancelled));
    co_await settle();
    BOOST_TEST(running.cancel());
    const auto ended = co_await as_result(running.join());
    BOOST_TEST((ended.error() == errc::cancelled));
}

// fault 68
BOOST_AUTO_TEST_CASE(closing_the_loop_takes_down_a_hundred_thousand_frames) {
    const long frames = detail::frame_pool::live();
    {
        loop home(options_for(engine::uring));
        auto running = spawn(home, chain(depth, ending::cancelled));
        home.stop();
        home.run_forever();
    }
    BOOST_TEST(detail::frame_pool::live() == frames);
}

OURO_ASYNC_TEST(a_chain_of_tasks_given_as_arguments_runs) { co_await deep_task(depth); }

// fault 68
BOOST_AUTO_TEST_CASE(a_chain_that_was_never_started_is_dropped_in_bounded_stack) {
    const long frames = detail::frame_pool::live();
    departures gone;
    {
        auto dropped = deep_holder(gone);
        BOOST_TEST(gone.numbers.empty());
    }
    BOOST_TEST(gone.numbers.size() == std::size_t{depth});
    BOOST_TEST(gone.stack_bytes() < most_stack_bytes);
    BOOST_TEST(detail::frame_pool::live() == frames);
}

BOOST_AUTO_TEST_CASE(what_takes_the_place_of_a_chain_that_was_never_started_drops_it_as_well) {
    departures gone;
    auto dropped = deep_holder(gone);
    dropped = innermost();
    BOOST_TEST(gone.numbers.size() == std::size_t{depth});
    BOOST_TEST(gone.stack_bytes() < most_stack_bytes);
}

BOOST_AUTO_TEST_CASE(a_chain_that_a_cancelled_task_was_given_is_dropped_in_bounded_stack) {
    departures gone;
    {
        loop home(options_for(engine::uring));
        auto never_begins = spawn(home, deep_holder(gone));
        never_begins.cancel();
        home.stop();
        home.run_forever();
        BOOST_TEST(never_begins.cancelled());
    }
    BOOST_TEST(gone.numbers.size() == std::size_t{depth});
    BOOST_TEST(gone.stack_bytes() < most_stack_bytes);
}

BOOST_AUTO_TEST_CASE(arguments_of_tasks_that_were_never_started_go_as_nested_objects_do) {
    departures gone;
    {
        auto dropped = holds({gone, 0}, holds({gone, 1}, leaf({gone, 2}), leaf({gone, 3})),
                             holds({gone, 4}, leaf({gone, 5}), leaf({gone, 6})));
    }
    const std::vector expected{6, 5, 4, 3, 2, 1, 0};  // each task after those it holds
    BOOST_TEST(gone.numbers == expected, boost::test_tools::per_element());
}

// Below the depth that is destroyed as it nests a task goes before those it holds, and all of them
// go before what is further out.
BOOST_AUTO_TEST_CASE(tasks_that_nest_deeply_go_before_those_further_out) {
    departures gone;
    std::vector expected{0, 4, 6, 5, 1, 3, 2};
    {
        auto dropped = holds({gone, 0}, holds({gone, 1}, leaf({gone, 2}), leaf({gone, 3})),
                             holds({gone, 4}, leaf({gone, 5}), leaf({gone, 6})));
        for (int i = 1; i < 64; ++i) {
            dropped = holds({gone, 100 + i}, std::move(dropped), innermost());
            expected.push_back(100 + i);
        }
    }
    BOOST_TEST(gone.numbers == expected, boost::test_tools::per_element());
}

// fault 68
OURO_ASYNC_TEST(a_hundred_thousand_tasks_that_wait_for_each_other_end) {
    std::vector<task_handle<int>> all;
    all.push_back(spawn([]() -> task<int> {
        co_await yield();
        co_return 1;
    }));
    auto waits = [](task_handle<int> before) -> task<int> { co_return 1 + co_await before; };
    for (int i = 1; i < depth; ++i) all.push_back(spawn(waits, all.back()));
    BOOST_TEST(co_await all.back() == depth);
}

// fault 68
BOOST_AUTO_TEST_CASE(cancelling_the_last_of_many_tasks_that_wait_for_each_other_reaches_the_first) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        auto main = [&]() -> task<int> {
            std::vector<task_handle<>> all;
            all.push_back(spawn([]() -> task<> { co_await sleep(std::chrono::hours(1)); }));
            auto waits = [](task_handle<> before) -> task<> { co_await before; };
            for (int i = 1; i < depth; ++i) all.push_back(spawn(waits, all.back()));
            co_await settle();
            all.back().cancel();
            const auto ended = co_await as_result(all.back().join());
            bool every = ended.error() == errc::cancelled;
            for (const auto& each : all) every = every && each.cancelled();
            co_return every ? 0 : 1;
        };
        return home.run_until_complete(main()).value_or(2);
    });
    BOOST_TEST(child.signal == 0);
    BOOST_TEST(child.exit_code == 0);
}

// fault 68
OURO_ASYNC_TEST(a_million_tasks_run) {
    int ran = 0;
    auto body = [&ran]() -> task<> {
        ++ran;
        co_return;
    };
    for (int i = 0; i < 100; ++i) {
        for (int j = 0; j < 10'000; ++j) spawn(body());
        co_await settle(2);
    }
    BOOST_TEST(ran == 1'000'000);
    BOOST_TEST(loop::current().counters().tasks == 1U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
