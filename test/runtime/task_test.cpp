// task<T>: laziness, values, errors that pass by themselves, exceptions, the order of destruction.
#include <ouro/runtime/task.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using log_lines = std::vector<std::string>;

/// Writes down when it dies.
struct noted {
    noted(log_lines& into, std::string with) : lines(&into), name(std::move(with)) {}
    noted(noted&& other) noexcept
        : lines(std::exchange(other.lines, nullptr)), name(std::move(other.name)) {}
    noted& operator=(noted&&) = delete;
    ~noted() try {
        if (lines) lines->push_back(name);
    } catch (const std::bad_alloc&) {
        return;  // torture takes memory away: the test fails, the process goes on
    }
    log_lines* lines;
    std::string name;
};

task<int> give(int value) { co_return value; }
task<int> give_later(int value) {
    co_await yield();
    co_return value;
}
task<> nothing() { co_return; }
task<int> refuse() { co_return errc::unsupported; }
task<int> refuse_later(std::string doing) {
    co_await yield();
    co_return error(errc::value_error, std::move(doing));
}
task<int> throw_later(int value) {
    co_await yield();
    throw value;
}
result<int> plain(bool good) {
    if (good) return 5;
    return error(errc::limit_overrun, "plain");
}

template <class Awaited>
concept can_be_awaited =
    requires(Awaited&& awaited) { std::forward<Awaited>(awaited).operator co_await(); };

unsigned line_of(const error& why, std::size_t at) {
    return at < why.trail().size() ? static_cast<unsigned>(why.trail()[at].line()) : 0;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tasks)

OURO_ASYNC_TEST(awaiting_yields_the_plain_value) {
    BOOST_TEST(co_await give(3) == 3);
    BOOST_TEST(co_await give_later(4) == 4);
    co_await nothing();
    auto text = co_await []() -> task<std::string> { co_return "short"; }();
    BOOST_TEST(text == "short");
    auto pointer =
        co_await []() -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(6); }();
    BOOST_TEST(*pointer == 6);
    auto braced = co_await []() -> task<std::pair<int, int>> { co_return {1, 2}; }();
    BOOST_TEST(braced.second == 2);
}

OURO_ASYNC_TEST(a_task_is_lazy_and_runs_when_it_is_awaited) {
    bool ran = false;
    auto body = [&]() -> task<> {
        ran = true;
        co_return;
    };
    auto waiting = body();
    co_await settle();
    BOOST_TEST(!ran);
    BOOST_TEST(static_cast<bool>(waiting));
    co_await std::move(waiting);
    BOOST_TEST(ran);
    BOOST_TEST(!waiting);
}

BOOST_AUTO_TEST_CASE(a_task_that_is_never_awaited_runs_nothing_and_destroys_its_arguments) {
    log_lines log;
    bool ran = false;
    auto body = [&](noted) -> task<> {
        ran = true;
        co_return;
    };
    {
        auto dropped = body(noted(log, "argument"));
        auto moved = std::move(dropped);
        BOOST_TEST(!dropped);
        BOOST_TEST(log.empty());
        moved = body(noted(log, "other"));
        BOOST_TEST(log == log_lines{"argument"}, boost::test_tools::per_element());
    }
    BOOST_TEST((log == log_lines{"argument", "other"}));
    BOOST_TEST(!ran);
}

// fault 70
BOOST_AUTO_TEST_CASE(an_argument_that_throws_when_it_is_copied_leaves_nothing_behind) {
    struct grenade {
        explicit grenade(int& of) : live(&of) { ++*live; }
        grenade(const grenade& other) : live(other.live) {
            if (++*live > 2) {
                --*live;
                throw std::runtime_error("copied");
            }
        }
        ~grenade() { --*live; }
        int* live;
    };
    const long frames = detail::frame_pool::live();
    int live = 0;
    {
        const grenade one(live);
        const grenade two(live);
        auto body = [](grenade, grenade) -> task<> { co_return; };
        BOOST_CHECK_THROW((void)body(one, two), std::runtime_error);
        BOOST_TEST(live == 2);
    }
    BOOST_TEST(live == 0);
    BOOST_TEST(detail::frame_pool::live() == frames);
}

OURO_ASYNC_TEST(a_task_may_return_a_value_a_result_or_an_error) {
    auto mixed = [](int how) -> task<int> {
        if (how == 0) co_return 1;
        if (how == 1) co_return result<int>(2);
        if (how == 2) co_return result<int>(error(errc::no_address, "two"));
        if (how == 3) co_return error(errc::no_address, "three");
        co_return errc::no_address;
    };
    BOOST_TEST(co_await mixed(0) == 1);
    BOOST_TEST(co_await mixed(1) == 2);
    for (const int how : {2, 3, 4}) {
        const auto failed = co_await as_result(mixed(how));
        BOOST_TEST((failed.error() == errc::no_address));
    }
}

OURO_ASYNC_TEST(a_failed_await_ends_the_task_and_runs_nothing_after_it) {
    bool passed = false;
    auto outer = [&]() -> task<int> {
        const int value = co_await refuse();
        passed = true;
        co_return value;
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(!passed);
}

OURO_ASYNC_TEST(as_result_looks_at_an_error_at_any_depth) {
    auto level = [](auto&& self, int depth) -> task<int> {
        if (depth == 0) co_return co_await refuse_later("deep");
        co_return co_await self(self, depth - 1);
    };
    for (const int depth : {0, 1, 2, 10, 50}) {
        const auto ended = co_await as_result(level(level, depth));
        BOOST_TEST((ended.error() == errc::value_error));
        BOOST_TEST(ended.error().doing() == "deep");
    }
    auto middle = [&]() -> task<int> {
        const auto inner = co_await as_result(level(level, 3));
        co_return inner ? 0 : 42;
    };
    auto outer = [&]() -> task<int> { co_return co_await middle(); };
    BOOST_TEST(co_await outer() == 42);
}

OURO_ASYNC_TEST(as_result_of_a_success_holds_the_value) {
    const auto value = co_await as_result(give_later(9));
    BOOST_TEST(value.value() == 9);
    const auto none = co_await as_result(nothing());
    BOOST_TEST(none.has_value());
    const auto waited = co_await as_result(yield());
    BOOST_TEST(waited.has_value());
}

OURO_ASYNC_TEST(awaiting_a_plain_result_yields_its_value_or_ends_the_task) {
    BOOST_TEST(co_await plain(true) == 5);
    bool passed = false;
    auto outer = [&]() -> task<int> {
        const int value = co_await plain(false);
        passed = true;
        co_return value;
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == errc::limit_overrun));
    BOOST_TEST(ended.error().doing() == "plain");
    BOOST_TEST(!passed);
    co_await result<>();
}

OURO_ASYNC_TEST(frames_that_an_error_passes_are_destroyed_innermost_first) {
    log_lines log;
    auto leaf = [&](noted) -> task<int> {
        noted a(log, "leaf a");
        noted b(log, "leaf b");
        co_return co_await refuse_later("x");
    };
    auto middle = [&](noted) -> task<int> {
        noted local(log, "middle");
        co_return co_await leaf(noted(log, "leaf argument"));
    };
    auto outer = [&]() -> task<int> {
        noted local(log, "outer");
        co_return co_await middle(noted(log, "middle argument"));
    };
    const auto ended = co_await as_result(outer());
    BOOST_TEST(!ended.has_value());
    const log_lines expected{"leaf b", "leaf a",          "leaf argument",
                             "middle", "middle argument", "outer"};
    BOOST_TEST(log == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(whoever_asks_for_a_failure_goes_on_after_all_failing_frames_are_gone) {
    log_lines log;
    auto waits = [&]() -> task<int> {
        noted local(log, "waits");
        co_return co_await refuse_later("x");
    };
    auto returns = [&]() -> task<int> {
        noted local(log, "returns");
        co_return error(errc::no_address);
    };
    auto passes_on = [&](task<int> inner) -> task<int> {
        noted local(log, "passes on");
        co_return co_await std::move(inner);
    };
    (void)co_await as_result(passes_on(waits()));
    log.push_back("seen");
    (void)co_await as_result(passes_on(returns()));
    log.push_back("seen");
    const log_lines expected{"waits", "passes on", "seen", "returns", "passes on", "seen"};
    BOOST_TEST(log == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(locals_see_the_failure_that_destroys_them_and_nothing_otherwise) {
    struct looks {
        explicit looks(std::vector<std::string>& to) : log(to) {}
        ~looks() {
            const auto* leaving = detail::task_core::current()->unwinding;
            log.push_back(leaving ? leaving->doing() : "none");
        }
        std::vector<std::string>& log;
    };
    log_lines log;
    auto body = [&](int how) -> task<int> {
        const looks local(log);
        if (how == 0) co_return 5;
        if (how == 1) co_return error(errc::no_address, "returned");
        if (how == 2) co_await result<>(error(errc::no_address, "awaited"));
        throw 42;
    };
    for (int how = 0; how < 4; ++how) {
        try {
            (void)co_await as_result(body(how));
        } catch (int) {
            log.push_back("caught");
        }
        BOOST_TEST(!detail::task_core::current()->unwinding);
    }
    const log_lines expected{"none", "returned", "awaited", "none", "caught"};
    BOOST_TEST(log == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(frames_that_a_value_passes_are_destroyed_innermost_first_too) {
    log_lines log;
    auto leaf = [&]() -> task<int> {
        noted local(log, "leaf");
        co_return co_await give_later(1);
    };
    auto outer = [&]() -> task<int> {
        noted local(log, "outer");
        const int value = co_await leaf();
        log.push_back("outer goes on");
        co_return value;
    };
    BOOST_TEST(co_await outer() == 1);
    const log_lines expected{"leaf", "outer goes on", "outer"};
    BOOST_TEST(log == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(an_exception_travels_through_tasks_and_can_be_caught) {
    log_lines log;
    auto middle = [&]() -> task<int> {
        noted local(log, "middle");
        co_return co_await throw_later(7);
    };
    auto outer = [&]() -> task<int> {
        try {
            co_return co_await middle();
        } catch (int thrown) {
            log.push_back("caught");
            co_return thrown * 10;
        }
    };
    BOOST_TEST(co_await outer() == 70);
    const log_lines expected{"middle", "caught"};
    BOOST_TEST(log == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(as_result_does_not_hold_an_exception_back) {
    bool caught = false;
    try {
        (void)co_await as_result(throw_later(7));
    } catch (int thrown) {
        caught = thrown == 7;
    }
    BOOST_TEST(caught);
}

OURO_ASYNC_TEST(an_exception_before_the_first_await_arrives_at_the_await) {
    auto body = []() -> task<int> {
        throw std::runtime_error("at once");
        co_return 0;
    };
    auto waiting = body();
    BOOST_TEST(static_cast<bool>(waiting));
    bool caught = false;
    try {
        (void)co_await std::move(waiting);
    } catch (const std::runtime_error&) {
        caught = true;
    }
    BOOST_TEST(caught);
}

OURO_ASYNC_TEST(a_task_goes_on_after_it_caught_what_an_await_threw_or_gave) {
    int good = 0;
    for (int i = 0; i < 3; ++i) {
        try {
            (void)co_await throw_later(i);
        } catch (int) {
            ++good;
        }
        if (!co_await as_result(refuse())) ++good;
        good += co_await give_later(1);
    }
    BOOST_TEST(good == 9);
}

OURO_ASYNC_TEST(the_trail_has_the_line_of_every_await_the_error_passed) {
    unsigned inner_line = 0, outer_line = 0;
    auto inner = [&]() -> task<int> {
        inner_line = __LINE__ + 1;
        co_return co_await refuse();
    };
    auto outer = [&]() -> task<int> {
        outer_line = __LINE__ + 1;
        co_return co_await inner();
    };
    const auto ended = co_await as_result(outer());
    const error& why = ended.error();
    BOOST_TEST_REQUIRE(why.trail().size() >= 2U);
    BOOST_TEST(line_of(why, 0) == inner_line);
    BOOST_TEST(line_of(why, 1) == outer_line);
    BOOST_TEST(contains(why.describe(), "task_test.cpp:" + std::to_string(inner_line)));
}

OURO_ASYNC_TEST(the_trail_has_no_line_of_an_await_that_had_succeeded) {
    unsigned passed_line = 0, failed_line = 0;
    auto inner = [&]() -> task<int> {
        passed_line = __LINE__ + 1;
        co_await yield();
        co_return error(errc::unsupported, "after a good await");
    };
    auto outer = [&]() -> task<int> {
        failed_line = __LINE__ + 1;
        co_return co_await inner();
    };
    const auto ended = co_await as_result(outer());
    for (const auto& place : ended.error().trail()) BOOST_TEST(place.line() != passed_line);
    BOOST_TEST(line_of(ended.error(), 0) == failed_line);
}

OURO_ASYNC_TEST(the_trail_names_the_line_of_a_failed_leaf_and_of_a_failed_result) {
    unsigned line = 0;
    auto awaits_result = [&]() -> task<> {
        line = __LINE__ + 1;
        co_await plain(false);
    };
    const auto first = co_await as_result(awaits_result());
    BOOST_TEST(line_of(first.error(), 0) == line);
    auto awaits_leaf = [&]() -> task<> {
        line = __LINE__ + 1;
        co_await sleep(std::chrono::duration<double>(std::nan("")));
    };
    const auto second = co_await as_result(awaits_leaf());
    BOOST_TEST(line_of(second.error(), 0) == line);
}

OURO_ASYNC_TEST(an_error_that_is_passed_on_by_hand_keeps_its_trail) {
    auto inner = []() -> task<int> { co_return co_await refuse(); };
    auto hand = [&]() -> task<int> {
        auto looked_at = co_await as_result(inner());
        co_return std::move(looked_at);
    };
    auto outer = [&]() -> task<int> { co_return co_await hand(); };
    const auto ended = co_await as_result(outer());
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST(ended.error().trail().size() >= 2U);
}

OURO_ASYNC_TEST(temporaries_of_the_await_live_until_it_ends) {
    log_lines log;
    auto uses = [&](const noted& borrowed) -> task<> {
        co_await yield();
        log.push_back("used " + borrowed.name);
    };
    co_await uses(noted(log, "temporary"));
    const log_lines expected{"used temporary", "temporary"};
    BOOST_TEST(log == expected, boost::test_tools::per_element());
}

OURO_ASYNC_TEST(a_value_that_cannot_be_moved_out_throws_at_the_await) {
    struct sticky {
        sticky() = default;
        sticky(sticky&& other) : broken(other.broken) {
            if (broken) throw std::runtime_error("cannot move");
        }
        bool broken = false;
    };
    auto body = []() -> task<sticky> {
        sticky made;
        co_return made;
    };
    (void)co_await body();
    auto breaks = []() -> task<sticky> {
        sticky made;
        made.broken = true;
        co_return std::move(made);
    };
    bool caught = false;
    try {
        (void)co_await breaks();
    } catch (const std::runtime_error&) {
        caught = true;
    }
    BOOST_TEST(caught);
}

BOOST_AUTO_TEST_CASE(a_task_cannot_be_copied_nor_awaited_as_an_lvalue) {
    static_assert(!std::is_copy_constructible_v<task<int>>);
    static_assert(std::is_nothrow_move_constructible_v<task<int>>);
    static_assert(!can_be_awaited<task<int>&>);
    static_assert(can_be_awaited<task<int>>);
    BOOST_TEST(true);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
