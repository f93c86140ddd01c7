// Groups: who is waited for, what a failure ends, and what the group fails with.
#include <ouro/runtime/task_group.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/runtime/timeout.hpp>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

unsigned own_requests() { return current_task().cancelling(); }

task<> nothing() { co_return; }
task<> forever() { co_await sleep(1h); }
task<> fail_with(errc why) { co_await result<>(error(why, "child")); }
task<> fail_later(errc why, int turns = 1) {
    co_await settle(turns);
    co_await result<>(error(why, "child"));
}
task<> throw_later(std::string what) {
    co_await yield();
    throw std::runtime_error(what);
}
/// Answers a cancellation with a failure of its own.
task<> fail_when_cancelled(errc why) {
    (void)co_await as_result(sleep(1h));
    co_await result<>(error(why, "clean up"));
}

/// Counts what is alive.
struct counted {
    explicit counted(int& in) : count(&in) { ++*count; }
    counted(const counted&) = delete;
    counted& operator=(const counted&) = delete;
    ~counted() { --*count; }
    int* count;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(groups)

// rule 138
OURO_ASYNC_TEST(a_group_gives_what_its_body_returned_once_all_children_have_ended) {
    int ended = 0;
    auto child = [&](int turns) -> task<> {
        co_await settle(turns);
        ++ended;
    };
    const int value = co_await with_group([&](task_group& group) -> task<int> {
        for (int i = 0; i < 5; ++i) group.spawn(child(i));
        BOOST_TEST(group.size() == 5U);
        BOOST_TEST(ended == 0);
        co_return 7;
    });
    BOOST_TEST(value == 7);
    BOOST_TEST(ended == 5);
    co_await with_group([](task_group&) -> task<> { co_return; });
}

// rule 138
OURO_ASYNC_TEST(a_body_that_waits_ends_after_its_children_or_before_them) {
    int ended = 0;
    auto child = [&](clock::duration takes) -> task<> {
        co_await sleep(takes);
        ++ended;
    };
    for (const auto takes : {clock::duration(0), clock::duration(2ms)}) {
        ended = 0;
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn(child(takes));
            co_await sleep(1ms);
            BOOST_TEST(ended == (takes == takes.zero() ? 1 : 0));
            BOOST_TEST(group.size() == (takes == takes.zero() ? 0U : 1U));
        });
        BOOST_TEST(ended == 1);
    }
}

OURO_ASYNC_TEST(a_child_may_be_joined_and_gives_its_value) {
    const int sum = co_await with_group([](task_group& group) -> task<int> {
        auto give = [](int value) -> task<int> {
            co_await yield();
            co_return value;
        };
        auto one = group.spawn(give, 1);
        auto two = group.spawn({.name = "two"}, give, 2);
        auto three = group.spawn({.eager = true}, give(3));
        BOOST_TEST(two.name() == "two");
        co_return co_await one + co_await two + co_await three;
    });
    BOOST_TEST(sum == 6);
}

// rules 138, 156
OURO_ASYNC_TEST(children_that_children_start_are_waited_for_too) {
    int ended = 0;
    auto descend = [&](auto& self, task_group& group, int left) -> task<> {
        co_await yield();
        if (left > 0) {
            group.spawn(self(self, group, left - 1));
            group.spawn(self(self, group, left - 1));
        }
        ++ended;
    };
    co_await with_group([&](task_group& group) -> task<> {
        group.spawn(descend(descend, group, 5));
        co_return;
    });
    BOOST_TEST(ended == 63);
}

// rule 156
OURO_ASYNC_TEST(
    a_callback_may_start_a_child_after_the_last_one_has_ended_but_before_the_group_goes_on) {
    bool late = false;
    auto child = [&late]() -> task<> {
        co_await settle(3);
        late = true;
    };
    co_await with_group([&](task_group& group) -> task<> {
        group.spawn([&]() -> task<> {
            loop::current().call_soon([&] { group.spawn(child()); });
            co_return;
        });
        co_return;
    });
    BOOST_TEST(late);
}

OURO_ASYNC_TEST(a_thousand_children_end) {
    int ended = 0;
    auto child = [&](int turns) -> task<> {
        co_await settle(turns);
        ++ended;
    };
    co_await with_group([&](task_group& group) -> task<> {
        for (int i = 0; i < 1000; ++i) group.spawn(child(i % 7));
        co_return;
    });
    BOOST_TEST(ended == 1000);
}

// rules 139, 142, fault 61
OURO_ASYNC_TEST(the_first_child_that_fails_cancels_the_others_and_the_body) {
    std::vector<error> seen;
    auto child = [&]() -> task<> {
        const auto slept = co_await as_result(sleep(1h));
        seen.push_back(slept.error());
        co_await result<>(slept);
    };
    bool body_cancelled = false;
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
        group.spawn(child());
        group.spawn({.name = "the bad one"}, fail_later(errc::no_address));
        group.spawn(child());
        const auto slept = co_await as_result(sleep(1h));
        body_cancelled = slept.error().cause() == cancel_cause::sibling_failed;
        BOOST_TEST(own_requests() == 1U);
        co_await result<>(slept);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(ended.error().doing() == "child");
    BOOST_TEST(ended.error().causes().empty());
    BOOST_TEST(body_cancelled);
    BOOST_TEST_REQUIRE(seen.size() == 2U);
    for (const auto& each : seen) {
        BOOST_TEST((each.cause() == cancel_cause::sibling_failed));
        BOOST_TEST(each.message() == "sleep: cancelled: the bad one failed");
    }
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rules 139, 155
OURO_ASYNC_TEST(nothing_can_be_started_in_a_group_that_is_ending) {
    int ran = 0;
    auto token = std::make_shared<int>();
    auto child = [&ran](std::shared_ptr<int>) -> task<> {
        ++ran;
        co_return;
    };
    int refused = 0;
    const auto try_to_start = [&](task_group& group) {
        try {
            group.spawn(child(token));
        } catch (const std::system_error& thrown) {
            refused += thrown.code() == errc::invalid_state;
        }
    };
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
        group.spawn(fail_later(errc::no_address));
        group.spawn([&]() -> task<> {
            const auto slept = co_await as_result(sleep(1h));
            try_to_start(group);
            co_await result<>(slept);
        });
        const auto slept = co_await as_result(sleep(1h));
        try_to_start(group);
        BOOST_TEST(token.use_count() == 1);
        co_await result<>(slept);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(refused == 2);
    BOOST_TEST(ran == 0);
    BOOST_TEST(token.use_count() == 1);
}

// rule 155
OURO_ASYNC_TEST(nothing_can_be_started_while_a_cancelled_group_waits_for_its_children) {
    bool refused = false;
    auto waiting = spawn([&refused]() -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn([&]() -> task<> {
                (void)co_await as_result(sleep(1h));
                try {
                    group.spawn(nothing());
                } catch (const std::system_error& thrown) {
                    refused = thrown.code() == errc::invalid_state;
                }
            });
            co_return;
        });
    });
    co_await settle();
    waiting.cancel();
    (void)co_await as_result(waiting.join());
    BOOST_TEST(refused);
    BOOST_TEST(waiting.cancelled());
}

// rule 141
OURO_ASYNC_TEST(a_child_that_ends_cancelled_has_not_failed) {
    int ended = 0;
    co_await with_group([&](task_group& group) -> task<> {
        auto one = group.spawn(forever());
        group.spawn([]() -> task<> { co_await result<>(errc::cancelled); });
        group.spawn([&]() -> task<> {
            co_await settle(4);
            ++ended;
        });
        co_await yield();
        one.cancel();
        co_await settle(2);
        ++ended;
    });
    BOOST_TEST(ended == 2);
}

// rule 142
OURO_ASYNC_TEST(a_failure_of_the_body_cancels_the_children_and_waits_for_them) {
    int alive = 0;
    error seen;
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<int> {
        group.spawn([&]() -> task<> {
            const counted here(alive);
            const auto slept = co_await as_result(sleep(1h));
            seen = slept.error();
            co_await settle(3);
        });
        co_await settle(2);
        co_return error(errc::no_address, "body");
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(ended.error().doing() == "body");
    BOOST_TEST(alive == 0);
    BOOST_TEST((seen.cause() == cancel_cause::sibling_failed));
    BOOST_TEST(own_requests() == 0U);
}

// rule 140
OURO_ASYNC_TEST(all_failures_are_causes_of_the_first_in_the_order_in_which_they_happened) {
    const auto ended = co_await as_result(with_group([](task_group& group) -> task<> {
        group.spawn(fail_when_cancelled(errc::queue_full));
        group.spawn(fail_when_cancelled(errc::queue_empty));
        group.spawn(fail_later(errc::no_address));
        co_await forever();
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    const auto causes = ended.error().causes();
    BOOST_TEST_REQUIRE(causes.size() == 3U);
    BOOST_TEST((causes[0] == errc::no_address));
    BOOST_TEST((causes[1] == errc::queue_full));
    BOOST_TEST((causes[2] == errc::queue_empty));
    BOOST_TEST(contains(ended.error().message(), "(and 2 more)"));
    BOOST_TEST(contains(ended.error().describe(), "then clean up: the queue is full"));
}

// rules 140, 152
OURO_ASYNC_TEST(a_failure_the_body_made_of_its_cancellation_is_one_of_the_causes) {
    const auto ended = co_await as_result(with_group([](task_group& group) -> task<> {
        group.spawn(fail_later(errc::no_address));
        co_await fail_when_cancelled(errc::queue_full);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    const auto causes = ended.error().causes();
    BOOST_TEST_REQUIRE(causes.size() == 2U);
    BOOST_TEST((causes[1] == errc::queue_full));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rules 139, 140
OURO_ASYNC_TEST(a_body_that_joins_the_child_that_fails_is_cancelled_and_does_not_fail_with_it) {
    const auto ended = co_await as_result(with_group([](task_group& group) -> task<> {
        auto child = group.spawn(fail_later(errc::no_address));
        const auto joined = co_await as_result(child.join());
        BOOST_TEST((joined.error() == errc::cancelled));
        co_await result<>(joined);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(ended.error().causes().empty());
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 140
OURO_ASYNC_TEST(an_exception_of_a_child_is_rethrown) {
    bool caught = false;
    try {
        co_await with_group([](task_group& group) -> task<> {
            group.spawn(forever());
            group.spawn(throw_later("burnt"));
            co_await forever();
        });
    } catch (const std::runtime_error& thrown) {
        caught = thrown.what() == std::string("burnt");
    }
    BOOST_TEST(caught);
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rules 140, 142
OURO_ASYNC_TEST(an_exception_of_the_body_is_rethrown_after_the_children_have_ended) {
    int alive = 0;
    bool caught = false;
    try {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn([&]() -> task<> {
                const counted here(alive);
                (void)co_await as_result(sleep(1h));
                co_await settle(3);
            });
            co_await settle(2);
            throw 42;
        });
    } catch (int thrown) {
        caught = thrown == 42;
        BOOST_TEST(alive == 0);
    }
    BOOST_TEST(caught);
}

// rule 140
OURO_ASYNC_TEST(failures_after_an_exception_are_reported) {
    int caught = 0;
    try {
        co_await with_group([](task_group& group) -> task<> {
            group.spawn(fail_when_cancelled(errc::queue_full));
            group.spawn(throw_later("first"));
            group.spawn([]() -> task<> {
                (void)co_await as_result(sleep(1h));
                throw std::runtime_error("second");
            });
            co_await forever();
        });
    } catch (const std::runtime_error& thrown) {
        caught += thrown.what() == std::string("first");
    }
    BOOST_TEST(caught == 1);
    const auto reports = take_reports();
    BOOST_TEST_REQUIRE(reports.size() == 2U);
    BOOST_TEST((reports.at(0).error == errc::queue_full));
    BOOST_TEST(contains(reports.at(1).error.message(), "second"));
    BOOST_TEST(contains(reports.at(1).message, "group"));
}

// rule 140
OURO_ASYNC_TEST(exceptions_after_a_failure_are_causes) {
    const auto ended = co_await as_result(with_group([](task_group& group) -> task<> {
        group.spawn([]() -> task<> {
            (void)co_await as_result(sleep(1h));
            throw std::runtime_error("second");
        });
        co_await fail_later(errc::no_address, 3);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST_REQUIRE(ended.error().causes().size() == 2U);
    BOOST_TEST(static_cast<bool>(ended.error().causes()[1].exception()));
}

// rule 148
OURO_ASYNC_TEST(the_failures_of_an_inner_group_stay_together) {
    const auto ended = co_await as_result(with_group([](task_group& outer) -> task<> {
        outer.spawn(fail_when_cancelled(errc::queue_shut_down));
        co_await with_group([](task_group& inner) -> task<> {
            inner.spawn(fail_when_cancelled(errc::queue_full));
            inner.spawn(fail_later(errc::no_address, 3));
            co_await forever();
        });
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    const auto causes = ended.error().causes();
    BOOST_TEST_REQUIRE(causes.size() == 2U);
    BOOST_TEST((causes[0] == errc::no_address));
    BOOST_TEST(causes[0].causes().size() == 2U);
    BOOST_TEST((causes[1] == errc::queue_shut_down));
}

// rules 148, 149
OURO_ASYNC_TEST(of_nested_groups_the_failed_outer_one_cancels_the_inner_one) {
    const auto ended = co_await as_result(with_group([](task_group& outer) -> task<> {
        outer.spawn(fail_later(errc::no_address));
        const auto inner = co_await as_result(with_group([](task_group& group) -> task<> {
            group.spawn(forever());
            co_await forever();
        }));
        BOOST_TEST((inner.error() == errc::cancelled));
        co_await result<>(inner);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(ended.error().causes().empty());
    BOOST_TEST(own_requests() == 0U);
}

// rule 154
BOOST_AUTO_TEST_CASE(a_group_exists_inside_of_a_task_only) {
    loop home(options_for(engine::uring));
    bool refused = false;
    home.call_soon([&] {
        try {
            task_group group;
        } catch (const std::system_error& thrown) {
            refused = thrown.code() == errc::invalid_state;
        }
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(refused);
}

// rule 157
OURO_ASYNC_TEST(an_eager_child_that_ends_inside_the_call_is_a_child_like_others) {
    co_await with_group([](task_group& group) -> task<> {
        auto done = group.spawn({.eager = true}, nothing());
        BOOST_TEST(done.done());
        BOOST_TEST(group.size() == 0U);
        auto waits = group.spawn({.eager = true}, settle(3));
        BOOST_TEST(group.size() == 1U);
        co_return;
    });
    const auto ended = co_await as_result(with_group([](task_group& group) -> task<> {
        auto failed = group.spawn({.eager = true}, fail_with(errc::no_address));
        BOOST_TEST(failed.done());
        BOOST_TEST(own_requests() == 1U);  // due at the next await, nothing runs before
        const auto next = co_await as_result(yield());
        BOOST_TEST((next.error().cause() == cancel_cause::sibling_failed));
        co_await result<>(next);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 157: test_cancels_task_if_created_during_creation
OURO_ASYNC_TEST(an_eager_child_is_cancelled_by_the_failure_of_one_that_it_started_itself) {
    for (const bool eager : {true, false}) {
        bool cancelled = false;
        const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
            group.spawn({.eager = eager}, [&, eager]() -> task<> {
                group.spawn({.eager = eager}, fail_with(errc::no_address));
                auto next = co_await as_result(yield());       // eager ones are cancelled here
                if (next) next = co_await as_result(yield());  // and others here
                cancelled = !next && next.error() == errc::cancelled;
            });
            co_return;
        }));
        BOOST_TEST((ended.error() == errc::no_address));
        BOOST_TEST(cancelled);
    }
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 158
OURO_ASYNC_TEST(a_group_that_is_over_keeps_nothing) {
    auto token = std::make_shared<int>();
    const auto ended = co_await as_result(with_group([token](task_group& group) -> task<> {
        group.spawn([](std::shared_ptr<int>) -> task<> { co_await forever(); }, token);
        group.spawn([](std::shared_ptr<int>) -> task<> { co_await fail_later(errc::no_address); },
                    token);
        co_await forever();
    }));
    BOOST_TEST(!ended.has_value());
    BOOST_TEST(token.use_count() == 1);
}

// A failing frame is gone before anybody hears of it.
OURO_ASYNC_TEST(locals_of_children_and_body_die_before_the_group_goes_on) {
    int alive = 0;
    int when_seen = -1;
    co_await with_group([&](task_group& group) -> task<> {
        auto child = group.spawn([&]() -> task<> {
            const counted local(alive);
            co_await settle(3);
        });
        co_await child;
        when_seen = alive;
    });
    BOOST_TEST(when_seen == 0);
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
        const counted of_the_body(alive);
        group.spawn([&]() -> task<> {
            const counted local(alive);
            co_await forever();
        });
        group.spawn([&]() -> task<> {
            const counted local(alive);
            co_await settle(2);
            co_await result<>(errc::no_address);
        });
        co_await forever();
    }));
    BOOST_TEST(!ended.has_value());
    BOOST_TEST(alive == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
