// Task-local values: who sees what, how long values live, and what is copied for other threads.
#include <ouro/runtime/context.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ouro/runtime/spawn.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using testing::allocation_faults;

task_local<std::string> user{"nobody"};
task_local<int> depth;

task<std::string> who() { co_return user.get(); }

/// Counts its copies.
struct counted {
    inline static int live = 0;
    int value = 0;
    explicit counted(int of = 0) noexcept : value(of) { ++live; }
    counted(const counted& other) noexcept : value(other.value) { ++live; }
    counted& operator=(const counted&) noexcept = default;
    ~counted() { --live; }
};
task_local<counted> tally;

using texts = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_SUITE(contexts)

// rule 126
OURO_ASYNC_TEST(a_task_sees_what_its_creator_had_set_when_it_made_the_task) {
    user.set("anna");
    auto made = spawn([]() -> task<std::string> {
        co_await yield();
        co_return user.get();
    });
    user.set("ben");
    BOOST_TEST(co_await made == "anna");
    BOOST_TEST(user.get() == "ben");
}

// rule 126
OURO_ASYNC_TEST(every_step_of_a_task_runs_with_its_own_values) {
    auto count = [](std::string name, int from) -> task<texts> {
        user.set(std::move(name));
        texts seen;
        for (int i = 0; i < 3; ++i) {
            depth.set(from + i);
            co_await yield();
            seen.push_back(user.get() + std::to_string(depth.get()));
        }
        co_return seen;
    };
    auto first = spawn(count, std::string("a"), 1);
    auto second = spawn(count, std::string("b"), 5);
    BOOST_TEST(co_await first == (texts{"a1", "a2", "a3"}), boost::test_tools::per_element());
    BOOST_TEST(co_await second == (texts{"b5", "b6", "b7"}), boost::test_tools::per_element());
    BOOST_TEST(user.get() == "nobody");
    BOOST_TEST(depth.get() == 0);
}

// rule 126
OURO_ASYNC_TEST(an_awaited_task_runs_in_the_context_of_the_one_that_awaits_it) {
    auto sets = []() -> task<> {
        user.set("inner");
        co_return;
    };
    user.set("outer");
    co_await sets();
    BOOST_TEST(user.get() == "inner");
    BOOST_TEST(co_await who() == "inner");
}

// rule 126
OURO_ASYNC_TEST(a_task_can_be_given_values_of_its_own) {
    user.set("anna");
    const context annas = context::current();
    user.set("ben");
    BOOST_TEST(co_await spawn({.values = annas}, who()) == "anna");
    BOOST_TEST(co_await spawn({.values = context()}, who()) == "nobody");
    BOOST_TEST(co_await spawn(who()) == "ben");
}

// rule 30
OURO_ASYNC_TEST(a_callback_runs_with_the_values_of_the_moment_it_was_scheduled) {
    auto seen = std::make_shared<texts>();
    const auto note = [seen] {
        seen->push_back(user.get());
        user.set("the callback");
    };
    loop& home = loop::current();
    user.set("soon");
    home.call_soon(note);
    home.call_soon(note);
    user.set("later");
    home.call_later(1ms, note);
    user.set("at");
    home.call_at(home.time() + 2ms, note);
    user.set("posted");
    home.get_handle().post(note);
    user.set("done");
    auto other = spawn(who());
    (void)other.on_done(note);
    user.set("mine");
    co_await sleep(5ms);
    BOOST_TEST(*seen == (texts{"soon", "soon", "posted", "done", "later", "at"}),
               boost::test_tools::per_element());
    BOOST_TEST(user.get() == "mine");
}

// rule 30
OURO_KERNEL_TEST(a_post_from_another_thread_brings_a_copy_of_that_threads_values, "threads") {
    struct origin {
        std::thread::id copied_in{};
        origin() = default;
        origin(const origin&) : copied_in(std::this_thread::get_id()) {}
        origin& operator=(const origin&) = delete;
    };
    static task_local<origin> from;
    struct findings {
        std::string user;
        std::thread::id posted_in, copied_in;
    };
    auto found = std::make_shared<findings>();
    const loop_handle home = loop::current().get_handle();
    std::thread([&] {
        const auto named = user.bind("the thread");
        const auto made = from.bind(origin());
        found->posted_in = std::this_thread::get_id();
        home.post([found] {
            found->user = user.get();
            found->copied_in = from.get().copied_in;
            user.set("the letter");
        });
    }).join();
    user.set("the task");
    co_await eventually([found] { return !found->user.empty(); });
    BOOST_TEST(found->user == "the thread");
    BOOST_TEST((found->copied_in == found->posted_in));
    BOOST_TEST(user.get() == "the task");
}

// rule 30
OURO_KERNEL_TEST(a_letter_does_not_get_the_values_of_the_task_that_posts_after_it, "threads") {
    auto seen = std::make_shared<texts>();
    const loop_handle home = loop::current().get_handle();
    const auto note = [seen] { seen->push_back(user.get()); };
    std::thread([&] { home.post(note); }).join();
    user.set("the task");
    home.post(note);  // on the loop's thread: takes what others have posted before
    co_await eventually([seen] { return seen->size() == 2; });
    BOOST_TEST(*seen == (texts{"nobody", "the task"}), boost::test_tools::per_element());
}

// rule 75
BOOST_AUTO_TEST_CASE(the_exception_handler_runs_with_the_values_of_its_subject) {
    texts seen;
    loop home(options_for(engine::uring));
    home.set_exception_handler([&](loop&, const failure_report&) { seen.push_back(user.get()); });
    auto scenario = [&]() -> task<> {
        user.set("callback");
        home.call_soon([] { throw std::runtime_error("thrown on purpose"); });
        user.set("task");
        spawn([]() -> task<> { co_await result<>(errc::unsupported); });
        user.set("stubborn");
        spawn([]() -> task<> {
            while (true) (void)co_await as_result(sleep(1h));
        });
        user.set("body");
        co_await settle();
    };
    BOOST_TEST(home.run_until_complete(scenario()).has_value());
    home.close();
    BOOST_TEST(seen == (texts{"callback", "task", "stubborn"}), boost::test_tools::per_element());
    BOOST_TEST(context::current().empty());
}

// rules 126, 705
BOOST_AUTO_TEST_CASE(all_runs_of_a_loop_start_from_the_values_of_the_thread) {
    loop home(options_for(engine::uring));
    auto sets = []() -> task<std::string> {
        const std::string before = user.get();
        user.set("the task");
        co_return before;
    };
    {
        const auto held = user.bind("the program");
        BOOST_TEST(home.run_until_complete(sets()).value() == "the program");
        BOOST_TEST(home.run_until_complete(sets()).value() == "the program");
        BOOST_TEST(user.get() == "the program");
    }
    BOOST_TEST(home.run_until_complete(sets()).value() == "nobody");
    BOOST_TEST(context::current().empty());
}

OURO_ASYNC_TEST(nothing_is_held_while_nothing_was_set) {
    BOOST_TEST(context::current().empty());
    auto empty = std::make_shared<int>(0);
    const auto note = [empty] { *empty += context::current().empty(); };
    loop::current().call_soon(note);
    spawn([note]() -> task<> {
        note();
        co_await yield();
        note();
    });
    co_await settle();
    BOOST_TEST(*empty == 3);
    BOOST_TEST(user.get() == "nobody");
    BOOST_TEST(context::current().for_other_thread().empty());
}

OURO_ASYNC_TEST(setting_a_value_again_and_again_keeps_one_of_it) {
    const int before = counted::live;
    for (int i = 0; i < 10'000; ++i) {
        tally.set(counted(i));
        depth.set(i);
    }
    BOOST_TEST(tally.get().value == 9'999);
    BOOST_TEST(counted::live == before + 1);
    co_return;
}

OURO_ASYNC_TEST(values_that_children_share_live_as_long_as_the_last_of_them) {
    const int before = counted::live;
    tally.set(counted(1));
    depth.set(7);
    auto child = spawn([]() -> task<int> {
        co_await settle(3);
        for (int i = 0; i < 100; ++i) tally.set(counted(tally.get().value + 1));
        BOOST_TEST(depth.get() == 7);
        co_return tally.get().value;
    });
    for (int i = 0; i < 100; ++i) tally.set(counted(-1));
    BOOST_TEST(counted::live == before + 2);
    BOOST_TEST(co_await child == 101);
    child = {};
    BOOST_TEST(counted::live == before + 1);
    BOOST_TEST(tally.get().value == -1);
}

OURO_ASYNC_TEST(a_binding_ends_with_its_block) {
    {
        const auto outer = user.bind("outer");
        {
            const auto inner = user.bind("inner");
            const auto other = depth.bind(3);
            BOOST_TEST(user.get() == "inner");
        }
        BOOST_TEST(user.get() == "outer");
        BOOST_TEST(depth.get() == 0);
        depth.set(4);
    }
    BOOST_TEST(user.get() == "nobody");
    BOOST_TEST(depth.get() == 4);
    {
        user.set("set");
        const auto held = user.bind("bound");
        user.set("set inside");
    }
    BOOST_TEST(user.get() == "set");
    co_return;
}

OURO_ASYNC_TEST(a_binding_in_a_frame_that_fails_is_undone_for_those_above_it) {
    auto fails = [](errc why) -> task<> {
        const auto held = user.bind("inner");
        co_await yield();
        co_await result<>(why);
    };
    auto throws = []() -> task<> {
        const auto held = user.bind("inner");
        co_await yield();
        throw std::runtime_error("out");
    };
    auto waits = []() -> task<> {
        const auto held = user.bind("inner");
        co_await sleep(1h);
    };
    user.set("outer");
    BOOST_TEST(!(co_await as_result(fails(errc::unsupported))));
    BOOST_TEST(user.get() == "outer");
    BOOST_CHECK_THROW(co_await throws(), std::runtime_error);
    BOOST_TEST(user.get() == "outer");
    loop::current().call_soon([own = current_task()] { own.cancel(); });
    BOOST_TEST(!(co_await as_result(waits())));
    BOOST_TEST(user.get() == "outer");
}

BOOST_AUTO_TEST_CASE(calls_left_for_a_loop_that_another_thread_runs_have_values_of_their_own) {
    context values;
    const context::use fresh(values);
    const int before = counted::live;
    tally.set(counted(1));
    auto home = std::make_unique<loop>(options_for(engine::uring));
    std::vector<int> seen;
    const auto look = [&seen, home = home.get()] {
        seen.push_back(tally.get().value);
        if (seen.size() == 3) home->stop();
    };
    home->call_soon(look);
    home->call_later(1us, look);
    auto done = spawn(*home, []() -> task<> { co_return; }());
    done.on_done(look);
    BOOST_TEST(counted::live == before + 5);  // each of these, and the task, has a copy
    done = {};
    std::thread other([home = std::move(home)] { home->run_forever(); });
    for (int i = 0; i < 1000; ++i) (void)context(context::current());
    other.join();
    BOOST_TEST(seen == std::vector(3, 1));
    BOOST_TEST(tally.get().value == 1);
    BOOST_TEST(counted::live == before + 1);
}

BOOST_AUTO_TEST_CASE(a_binding_ends_even_without_memory) {
    for (const bool was_set : {false, true}) {
        context values;
        const context::use fresh(values);
        if (was_set) user.set("before");
        auto bound = std::make_unique<task_local<std::string>::binding>(user, "bound");
        depth.set(1);
        const context shared = context::current();  // so the node of `depth` has to be copied
        allocation_faults::arm(1, true);
        bound.reset();
        const bool struck = allocation_faults::struck();
        allocation_faults::disarm();
        BOOST_TEST(struck);
        BOOST_TEST(user.get() == (was_set ? "before" : "nobody"));
        BOOST_TEST(depth.get() == 1);
        user.set("after");
        BOOST_TEST(user.get() == "after");
    }
    BOOST_TEST(context::current().empty());
}

BOOST_AUTO_TEST_CASE(setting_a_value_without_memory_changes_nothing) {
    context values;
    const context::use fresh(values);
    user.set("before");
    depth.set(1);
    const context shared = context::current();
    for (std::uint64_t at = 1;; ++at) {
        std::string value(100, 'x');
        allocation_faults::arm(at, false);
        bool failed = false;
        try {
            user.set(std::move(value));
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        allocation_faults::disarm();
        BOOST_TEST(depth.get() == 1);
        if (!failed) break;
        BOOST_TEST(user.get() == "before");
        BOOST_REQUIRE_LT(at, 100U);
    }
    BOOST_TEST(user.get() == std::string(100, 'x'));
}

BOOST_AUTO_TEST_CASE(many_variables_are_released_without_recursion) {
    std::vector<std::unique_ptr<task_local<counted>>> variables;
    for (int i = 0; i < 5'000; ++i) variables.push_back(std::make_unique<task_local<counted>>());
    const int before = counted::live;
    {
        context held;
        const context::use fresh(held);
        for (int i = 0; i < 5'000; ++i) {
            variables[static_cast<std::size_t>(i)]->set(counted(i));
        }
        BOOST_TEST(variables[0]->get().value == 0);
        BOOST_TEST(variables[4'999]->get().value == 4'999);
        const context other = context::current().for_other_thread();
        BOOST_TEST(counted::live == before + 10'000);
    }
    BOOST_TEST(counted::live == before);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
