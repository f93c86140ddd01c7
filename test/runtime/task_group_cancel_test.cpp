// Groups that are cancelled: by the parent's end, by themselves, by deadlines, and by a closing
// loop.
#include <ouro/runtime/task_group.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>
#include <vector>

#include <ouro/runtime/timeout.hpp>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

unsigned own_requests() { return current_task().cancelling(); }

task<> forever() { co_await sleep(1h); }
task<> fail_later(errc why, int turns = 1) {
    co_await settle(turns);
    co_await result<>(error(why, "child"));
}
task<> fail_when_cancelled(errc why) {
    (void)co_await as_result(sleep(1h));
    co_await result<>(error(why, "clean up"));
}

/// What happened to children, shared with tasks that may live longer than the body of a test.
struct diary {
    int started = 0;
    int ended = 0;
    std::vector<error> seen;
    std::string order;
};
using shared_diary = std::shared_ptr<diary>;

/// Waits for ever, and cleans up for some turns once it is cancelled.
task<> linger(shared_diary notes, int turns = 3) {
    ++notes->started;
    const auto slept = co_await as_result(sleep(1h));
    notes->seen.push_back(slept.error());
    co_await settle(turns);
    ++notes->ended;
    co_await result<>(slept);
}

/// A group of two that linger.
task<> two_linger(shared_diary notes, bool body_waits) {
    co_await with_group([&](task_group& group) -> task<> {
        group.spawn(linger(notes));
        group.spawn(linger(notes));
        if (body_waits) co_await forever();
    });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(group_cancelling)

// rules 143, 117
OURO_ASYNC_TEST(cancelling_the_parent_cancels_the_children_and_waits_for_them) {
    for (const bool body_waits : {true, false}) {
        auto notes = std::make_shared<diary>();
        auto parent = spawn(two_linger(notes, body_waits));
        co_await settle();
        BOOST_TEST(notes->started == 2);
        parent.cancel("the client went away");
        co_await settle(2);
        BOOST_TEST(!parent.done());
        co_await settle(8);
        BOOST_TEST(parent.cancelled());
        BOOST_TEST(parent.cancelling() == 1U);
        BOOST_TEST(parent.failure().reason() == "the client went away");
        BOOST_TEST(notes->ended == 2);
        BOOST_TEST_REQUIRE(notes->seen.size() == 2U);
        for (const auto& each : notes->seen) {
            BOOST_TEST((each.cause() == cancel_cause::user));
            BOOST_TEST(each.reason() == "the client went away");
        }
    }
}

// rule 143
OURO_ASYNC_TEST(a_parent_that_cancels_itself_in_the_body_ends_when_its_children_have) {
    auto notes = std::make_shared<diary>();
    auto parent = spawn([notes]() -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn(linger(notes));
            current_task().cancel();
            co_return;
        });
    });
    co_await settle(10);
    BOOST_TEST(parent.cancelled());
    BOOST_TEST(notes->started == notes->ended);
}

// rule 144
OURO_ASYNC_TEST(children_that_fail_while_the_parent_is_cancelled_make_the_group_fail) {
    for (const bool body_waits : {true, false}) {
        auto parent = spawn([body_waits]() -> task<> {
            co_await with_group([&](task_group& group) -> task<> {
                group.spawn(fail_when_cancelled(errc::no_address));
                group.spawn(forever());
                if (body_waits) co_await forever();
            });
        });
        co_await settle();
        parent.cancel();
        co_await settle();
        BOOST_TEST((parent.failure() == errc::no_address));
        BOOST_TEST(!parent.cancelled());
        BOOST_TEST(parent.cancelling() == 1U);
    }
}

// rule 145
OURO_ASYNC_TEST(a_group_that_ended_its_body_leaves_no_request_behind) {
    auto parent = spawn([]() -> task<> {
        for (unsigned before = 0; before < 2; ++before) {
            if (before == 1) {
                current_task().cancel();
                (void)co_await as_result(yield());
            }
            const auto ended = co_await as_result(with_group([](task_group& group) -> task<> {
                group.spawn(fail_later(errc::no_address));
                co_await forever();
            }));
            BOOST_TEST((ended.error() == errc::no_address));
            BOOST_TEST(own_requests() == before);
            const auto swallowed = co_await as_result(with_group([](task_group& group) -> task<> {
                group.spawn(fail_later(errc::queue_full));
                (void)co_await as_result(sleep(1h));
            }));
            BOOST_TEST((swallowed.error() == errc::queue_full));
            BOOST_TEST(own_requests() == before);
        }
    });
    co_await parent;
}

// rules 144, 146
OURO_ASYNC_TEST(a_cancellation_and_a_failure_at_once_are_a_failure_and_a_cancellation_after_it) {
    for (const bool cancel_first : {true, false}) {
        auto seen = std::make_shared<std::vector<error>>();
        auto parent = std::make_shared<task_handle<>>();
        *parent = spawn([=]() -> task<> {
            const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
                group.spawn([=]() -> task<> {
                    co_await settle(3);
                    if (cancel_first) parent->cancel("enough");
                    if (!cancel_first) loop::current().call_soon([=] { parent->cancel("enough"); });
                    co_await result<>(errc::no_address);
                });
                co_await forever();
            }));
            seen->push_back(ended.error());
            BOOST_TEST(own_requests() == 1U);
            const auto next = co_await as_result(sleep(1h));
            seen->push_back(next.error());
            co_await yield();  // it comes once
            BOOST_TEST(own_requests() == 1U);
        });
        co_await eventually([=] { return parent->done(); });
        BOOST_TEST_REQUIRE(seen->size() == 2U);
        BOOST_TEST(((*seen)[0] == errc::no_address));
        BOOST_TEST(((*seen)[1] == errc::cancelled));
        if (!cancel_first) BOOST_TEST((*seen)[1].reason() == "enough");  // the last one's
        *parent = {};
    }
}

// rule 147
OURO_ASYNC_TEST(of_nested_groups_that_both_fail_the_inner_one_leaves_one_request_the_outer_none) {
    const auto ended = co_await as_result(with_group([](task_group& outer) -> task<> {
        outer.spawn(fail_later(errc::no_address, 2));
        const auto inner = co_await as_result(with_group([](task_group& group) -> task<> {
            group.spawn(fail_when_cancelled(errc::queue_full));
            co_await forever();
        }));
        BOOST_TEST((inner.error() == errc::queue_full));
        BOOST_TEST(own_requests() == 1U);
        const auto next = co_await as_result(yield());  // due: the outer group wants an end
        BOOST_TEST((next.error() == errc::cancelled));
        co_await result<>(inner);
    }));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(ended.error().causes().size() == 2U);
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 153: test_taskgroup_12
OURO_ASYNC_TEST(a_parent_cancelled_again_and_again_still_waits_for_its_children) {
    auto notes = std::make_shared<diary>();
    auto parent = spawn([notes]() -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn([notes]() -> task<> {
                ++notes->started;
                for (int left = 5; left > 0;) left -= !co_await as_result(sleep(1h));
                co_await settle(2);
                ++notes->ended;
            });
            co_return;
        });
    });
    co_await settle();
    for (int i = 0; i < 5; ++i) {
        BOOST_TEST(!parent.done());
        parent.cancel();
        co_await settle(2);
    }
    co_await settle(6);
    BOOST_TEST(notes->ended == 1);
    BOOST_TEST(parent.cancelled());
    BOOST_TEST(parent.cancelling() == 5U);
}

// rules 143, 153
OURO_WHOLE_TEST(a_parent_cancelled_as_its_last_child_ends_is_cancelled,
                "watches a child that is there only if the group got that far") {
    auto child = std::make_shared<task_handle<>>();
    auto parent = spawn([child]() -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            *child = group.spawn(settle(3));
            co_return;
        });
    });
    co_await yield();
    co_await yield();
    while (!child->done()) co_await yield();
    BOOST_TEST(!parent.done());
    parent.cancel();
    co_await settle();
    BOOST_TEST(parent.cancelled());
    *child = {};
}

// rule 159
OURO_ASYNC_TEST(a_group_may_be_cancelled_and_then_ends_without_an_error) {
    auto notes = std::make_shared<diary>();
    co_await with_group([&](task_group& group) -> task<> {
        group.spawn(linger(notes));
        co_await yield();
        group.cancel("enough");
        group.cancel("again");
        BOOST_TEST(own_requests() == 1U);
        co_await forever();
    });
    BOOST_TEST(notes->ended == 1);
    BOOST_TEST_REQUIRE(notes->seen.size() == 1U);
    BOOST_TEST(notes->seen.at(0).reason() == "enough");
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 159
OURO_ASYNC_TEST(a_group_is_cancelled_by_a_child_by_the_end_of_the_body_or_before_it_waits) {
    auto notes = std::make_shared<diary>();
    co_await with_group([&](task_group& group) -> task<> {  // by a child, while the body waits
        group.spawn([&]() -> task<> {
            co_await settle(2);
            group.cancel();
        });
        co_await forever();
    });
    co_await with_group([&](task_group& group) -> task<> {  // by a child, after the body
        group.spawn(linger(notes));
        group.spawn([&]() -> task<> {
            co_await settle(2);
            group.cancel();
            co_await forever();
        });
        co_return;
    });
    BOOST_TEST(notes->ended == 1);
    const int value = co_await with_group([&](task_group& group) -> task<int> {
        group.spawn(linger(notes));  // does not even start
        group.cancel();
        co_return 5;
    });
    BOOST_TEST(value == 5);
    BOOST_TEST(notes->started == 1);
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rule 159
OURO_ASYNC_TEST(a_cancelled_group_that_was_to_yield_a_value_ends_cancelled) {
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<int> {
        group.cancel("enough");
        co_await forever();
        co_return 5;
    }));
    BOOST_TEST((ended.error() == errc::cancelled));
    BOOST_TEST(ended.error().reason() == "enough");
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// As in asyncio: a request counts until it is taken back, whoever has looked at the cancellation.
// rules 113, 116, 159
OURO_ASYNC_TEST(a_cancelled_group_ends_cancelled_if_its_body_swallowed_a_request_and_left_it) {
    for (const bool taken_back : {false, true}) {
        auto notes = std::make_shared<diary>();
        auto parent = spawn([notes, taken_back]() -> task<> {
            co_await with_group([&](task_group& group) -> task<> {
                group.spawn(linger(notes));
                (void)co_await as_result(sleep(1h));
                if (taken_back) current_task().uncancel();
                group.cancel("no more work");
                co_await forever();
            });
            BOOST_TEST(own_requests() == 0U);
            co_await yield();
        });
        co_await settle();
        parent.cancel("the program ends");
        const auto ended = co_await as_result(parent.join());
        BOOST_TEST(ended.has_value() == taken_back);
        BOOST_TEST(parent.cancelled() == !taken_back);
        BOOST_TEST(parent.cancelling() == (taken_back ? 0U : 1U));
        BOOST_TEST_REQUIRE(notes->seen.size() == 1U);
        BOOST_TEST(notes->seen.at(0).reason() == "no more work");
        BOOST_TEST(notes->ended == 1);
    }
}

// rules 144, 159
OURO_ASYNC_TEST(a_failure_in_a_cancelled_group_is_a_failure) {
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
        group.spawn(fail_when_cancelled(errc::queue_full));
        co_await settle(2);
        group.cancel();
        co_await forever();
    }));
    BOOST_TEST((ended.error() == errc::queue_full));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rules 143, 159
OURO_ASYNC_TEST(a_parent_cancelled_while_its_cancelled_group_ends_is_cancelled) {
    auto notes = std::make_shared<diary>();
    auto parent = spawn([notes]() -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn(linger(notes, 6));
            co_await settle(2);
            group.cancel();
            co_await forever();
        });
    });
    co_await settle(6);
    BOOST_TEST(notes->seen.size() == 1U);
    parent.cancel();
    co_await settle(10);
    BOOST_TEST(parent.cancelled());
    BOOST_TEST(parent.cancelling() == 1U);
}

// The request that ended the body does not reach the children a second time.
// rules 139, 145
OURO_ASYNC_TEST(children_are_told_once_when_a_body_ends_as_its_group_does) {
    auto notes = std::make_shared<diary>();
    co_await with_group([&](task_group& group) -> task<> {
        auto child = group.spawn({.eager = true}, linger(notes));
        group.cancel();
        BOOST_TEST(child.cancelling() == 1U);
        loop::current().call_soon([child] { BOOST_TEST(child.cancelling() == 1U); });
        co_return;
    });
    BOOST_TEST(notes->seen.size() == 1U);
    BOOST_TEST(notes->ended == 1);
}

// rules 143, 160
OURO_ASYNC_TEST(a_deadline_around_a_group_ends_its_children_and_becomes_a_timeout) {
    for (const bool body_waits : {true, false}) {
        auto notes = std::make_shared<diary>();
        auto limited = [&]() -> task<> {
            timeout limit(1ms);
            co_await two_linger(notes, body_waits);
        };
        const auto ended = co_await as_result(limited());
        BOOST_TEST((ended.error() == std::errc::timed_out));
        BOOST_TEST(notes->ended == 2);
        BOOST_TEST_REQUIRE(notes->seen.size() == 2U);
        BOOST_TEST((notes->seen.at(0).cause() == cancel_cause::timeout));
        BOOST_TEST(notes->seen.at(0).reason().starts_with("deadline of 1 ms"));
        BOOST_TEST(own_requests() == 0U);
    }
}

// rules 144, 168
OURO_ASYNC_TEST(a_child_that_fails_at_the_deadline_of_its_group_is_what_the_group_fails_with) {
    auto limited = [&]() -> task<> {
        timeout limit(1ms);
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn(fail_when_cancelled(errc::queue_full));
            co_await forever();
        });
    };
    const auto ended = co_await as_result(limited());
    BOOST_TEST((ended.error() == errc::queue_full));
    BOOST_TEST(ended.error().reason().starts_with("deadline of 1 ms"));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// rules 139, 161
OURO_ASYNC_TEST(a_timeout_of_a_child_is_its_failure_and_ends_the_group) {
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
        group.spawn([]() -> task<> {
            timeout limit(1ms);
            co_await sleep(1h);
        });
        co_await forever();
    }));
    BOOST_TEST((ended.error() == std::errc::timed_out));
    BOOST_TEST(own_requests() == 0U);
}

// rules 116, 162: the deadline and a failure end the same body
OURO_ASYNC_TEST(a_deadline_inside_of_a_body_that_its_group_ends_takes_only_its_own_request_back) {
    const auto when = loop::current().time() + 1ms;
    const auto ended = co_await as_result(with_group([&](task_group& group) -> task<> {
        group.spawn([=]() -> task<> {
            co_await sleep_until(when);
            co_await result<>(errc::no_address);
        });
        timeout limit(when);
        co_await sleep(1h);
    }));
    // Whoever came first: the other one finds the body on its way out.
    const bool child_first = ended.error() == errc::no_address;
    BOOST_TEST((child_first || ended.error() == std::errc::timed_out));
    BOOST_TEST(own_requests() == 0U);
    co_await yield();
}

// fault 68
OURO_ASYNC_TEST(a_cancellation_goes_down_ten_thousand_nested_groups_and_comes_up_again) {
    constexpr int depth = 10'000;
    auto count = std::make_shared<int>(0);
    auto nest = [](auto self, int left, std::shared_ptr<int> innermost) -> task<> {
        if (left == 0) {
            ++*innermost;
            co_await forever();
        }
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn(self(self, left - 1, innermost));
            co_return;
        });
    };
    auto root = spawn(nest, nest, depth, count);
    co_await eventually([=] { return *count == 1; });
    root.cancel("enough");
    co_await eventually([=] { return root.done(); });
    BOOST_TEST(root.cancelled());
    BOOST_TEST(root.failure().reason() == "enough");
}

// fault 68
OURO_ASYNC_TEST(a_failure_comes_up_through_ten_thousand_nested_groups) {
    constexpr int depth = 10'000;
    auto nest = [](auto self, int left) -> task<> {
        if (left == 0) co_await result<>(errc::no_address);
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn(self(self, left - 1));
            co_await forever();
        });
    };
    const auto ended = co_await as_result(nest(nest, depth));
    BOOST_TEST((ended.error() == errc::no_address));
    BOOST_TEST(ended.error().causes().empty());
    BOOST_TEST(own_requests() == 0U);
}

/// Says when it dies.
struct dies {
    dies(shared_diary in, char mark) : notes(std::move(in)), as(mark) {}
    dies(const dies&) = delete;
    dies& operator=(const dies&) = delete;
    ~dies() { notes->order += as; }
    shared_diary notes;
    char as;
};

// A loop that closes destroys what does not end in time, children before what they refer to.
BOOST_AUTO_TEST_CASE(a_closing_loop_takes_children_down_before_their_parents) {
    loop home(options_for(engine::uring));
    home.set_exception_handler([](loop&, const failure_report&) {});
    auto notes = std::make_shared<diary>();
    auto never_ends = [](shared_diary to, char mark) -> task<> {
        const timeout limit(3h);
        const dies here(to, mark);
        for (;;) (void)co_await as_result(sleep(1h));
    };
    auto parent = [&](shared_diary to) -> task<> {
        const timeout limit(1h);
        const dies here(to, 'p');
        co_await with_group([&](task_group& outer) -> task<> {
            const dies body(to, 'b');
            outer.spawn(never_ends(to, '1'));
            outer.spawn([&]() -> task<> {
                const dies child(to, 'c');
                co_await with_group([&](task_group& inner) -> task<> {
                    inner.spawn(never_ends(to, '2'));
                    inner.spawn({.eager = true}, never_ends(to, '3'));
                    co_return;
                });
            });
            for (;;) (void)co_await as_result(sleep(2h));
        });
    };
    const long frames = detail::frame_pool::live();
    spawn(home, parent(notes));
    home.call_soon([&] { home.call_soon([&] { home.call_soon([&] { home.stop(); }); }); });
    home.run_forever();
    home.close();
    BOOST_TEST(notes->order == "32c1bp");
    BOOST_TEST(home.counters().timers == 0U);
    BOOST_TEST(detail::frame_pool::live() == frames);
}

// Without a loop that closes: a loop that lets everybody clean up first.
BOOST_AUTO_TEST_CASE(a_closing_loop_lets_groups_end_in_their_own_way) {
    loop home(options_for(engine::uring));
    auto notes = std::make_shared<diary>();
    auto parent = spawn(home, two_linger(notes, true));
    home.call_soon([&] { home.call_soon([&] { home.call_soon([&] { home.stop(); }); }); });
    home.run_forever();
    home.close();
    BOOST_TEST(notes->ended == 2);
    BOOST_TEST(parent.cancelled());
    BOOST_TEST_REQUIRE(notes->seen.size() == 2U);
    BOOST_TEST((notes->seen.at(0).cause() == cancel_cause::shutdown));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
