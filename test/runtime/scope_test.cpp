// What a task is inside of: brackets, in any order of their ends, and the deadline they add up to.
#include <ouro/runtime/scope.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <optional>
#include <string>

#include <ouro/runtime/task_group.hpp>
#include <ouro/runtime/timeout.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

detail::scope* innermost() { return current_task().core()->scopes; }

}  // namespace

BOOST_AUTO_TEST_SUITE(scopes)

OURO_ASYNC_TEST(a_task_knows_the_brackets_it_is_in_from_the_inside_out) {
    BOOST_TEST(!innermost());
    {
        const timeout outer(1h);
        BOOST_TEST((innermost() == &outer));
        {
            const timeout inner(2h);
            BOOST_TEST((innermost() == &inner));
            BOOST_TEST((inner.outer() == &outer));
            BOOST_TEST((&inner.owner() == current_task().core()));
            BOOST_TEST(inner.kind() == std::string("timeout"));
            BOOST_TEST(std::string(inner.where().file_name()).ends_with("scope_test.cpp"));
            co_await yield();
        }
        BOOST_TEST((innermost() == &outer));
    }
    BOOST_TEST(!innermost());
}

OURO_ASYNC_TEST(brackets_may_end_in_any_order) {
    std::optional<timeout> first(1h);
    std::optional<timeout> second(2h);
    std::optional<timeout> third(3h);
    second.reset();
    BOOST_TEST((innermost() == &*third));
    BOOST_TEST((third->outer() == &*first));
    first.reset();
    BOOST_TEST((third->outer() == nullptr));
    BOOST_TEST((current_deadline() == third->deadline()));
    third.reset();
    BOOST_TEST(!innermost());
    co_return;
}

OURO_ASYNC_TEST(a_failure_leaves_the_brackets_of_the_frames_it_takes_down) {
    auto fails = []() -> task<> {
        const timeout limit(1h);
        co_await result<>(errc::no_address);
    };
    auto nested = [&]() -> task<> {
        const timeout limit(2h);
        co_await fails();
    };
    const timeout limit(3h);
    BOOST_TEST(!(co_await as_result(nested())).has_value());
    BOOST_TEST((innermost() == &limit));
}

OURO_ASYNC_TEST(the_current_deadline_is_the_earliest_of_all) {
    BOOST_TEST((current_deadline() == std::nullopt));
    {
        timeout outer(1h);
        BOOST_TEST((current_deadline() == outer.when()));
        const timeout open(std::nullopt);
        BOOST_TEST((current_deadline() == outer.when()));
        {
            const timeout later(2h);
            BOOST_TEST((current_deadline() == outer.when()));
            const timeout sooner(1min);
            BOOST_TEST((current_deadline() == sooner.when()));
        }
        outer.reschedule(std::nullopt);
        BOOST_TEST((current_deadline() == std::nullopt));
    }
    BOOST_TEST((current_deadline() == std::nullopt));
    co_return;
}

OURO_ASYNC_TEST(children_of_a_group_are_under_the_deadlines_of_their_parents) {
    const timeout limit(1h);
    auto grandchild = [&]() -> task<> {
        BOOST_TEST((current_deadline() == limit.when()));
        const timeout sooner(1min);
        BOOST_TEST((current_deadline() == sooner.when()));
        co_await yield();
    };
    auto child = [&]() -> task<> {
        BOOST_TEST((current_deadline() == limit.when()));
        co_await with_group([&](task_group& inner) -> task<> {
            inner.spawn(grandchild());
            inner.spawn({.eager = true}, grandchild());
            co_return;
        });
        BOOST_TEST((current_deadline() == limit.when()));
    };
    co_await with_group([&](task_group& group) -> task<> {
        group.spawn(child());
        const timeout of_the_body_only(1min);
        BOOST_TEST((current_deadline() == of_the_body_only.when()));
        co_await yield();
    });
    BOOST_TEST((current_deadline() == limit.when()));
}

OURO_ASYNC_TEST(a_task_started_beside_has_no_deadline_of_its_maker) {
    const timeout limit(1h);
    auto started = spawn([]() -> task<> {
        BOOST_TEST((current_deadline() == std::nullopt));
        BOOST_TEST(!innermost());
        co_return;
    });
    co_await started;
}

BOOST_AUTO_TEST_CASE(outside_of_tasks_there_is_no_deadline) {
    BOOST_TEST((current_deadline() == std::nullopt));
    loop home(options_for(engine::uring));
    bool asked = false;
    home.call_soon([&] {
        asked = current_deadline() == std::nullopt;
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(asked);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
