// Random trees of groups, timeouts, sleeps, failures and cancellations, drawn from a seed: whatever
// they are, groups wait for their children, requests are taken back, and no failure vanishes.
#include <ouro/runtime/scope.hpp>

#include <boost/test/results_collector.hpp>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/runtime/task_group.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/testing/simulation.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// What all tasks of one run share.
struct tree {
    explicit tree(std::uint64_t seed) : random(seed) {}

    unsigned below(unsigned limit) { return static_cast<unsigned>(random() % limit); }
    bool one_in(unsigned chances) { return below(chances) == 0; }
    clock::duration some_time() { return below(5) * 1ms; }

    /// A new failure, by number.
    std::string fail() {
        seen.push_back(0);
        return std::to_string(seen.size() - 1);
    }
    void see(const std::string& number) {
        if (!number.empty() && number.find_first_not_of("0123456789") == number.npos) {
            ++seen.at(std::stoul(number));
        }
    }
    void see(const error& why) {
        if (!why.causes().empty()) {
            for (const error& each : why.causes()) see(each);
        } else if (why.exception()) {
            try {
                std::rethrow_exception(why.exception());
            } catch (const std::runtime_error& thrown) {
                see(std::string(thrown.what()));
            }
        } else {
            see(why.doing());
        }
    }

    std::mt19937_64 random;
    std::vector<int> seen;  // for each failure, how often it was told of
    std::vector<task_ref> tasks;
    unsigned cancelled_root = 0;  // requests that were made from outside
    unsigned steps_left = 150;    // so that a tree ends
    int alive = 0;
    int groups = 0, timed_out = 0;
};

task<> node(tree& in, int depth);

/// Fails in one of the ways there are.
task<> fail(tree& in) {
    if (in.one_in(4)) throw std::runtime_error(in.fail());
    co_await result<>(error(errc::no_address, in.fail()));
}

/// Cancels some task, which may have ended, or be the one that asks.
void cancel_somebody(tree& in) {
    const task_ref& who = in.tasks[in.below(static_cast<unsigned>(in.tasks.size()))];
    if (who == in.tasks.front() && !who.done()) ++in.cancelled_root;
    who.cancel();
}

task<> under_a_deadline(tree& in, int depth) {
    const unsigned before = current_task().cancelling();
    struct check {
        ~check() { BOOST_TEST(current_task().cancelling() >= before); }
        unsigned before;
    };
    const check after{before};
    timeout limit(in.some_time());
    if (in.one_in(5)) (void)limit.reschedule(loop::current().time() + in.some_time());
    co_await node(in, depth - 1);
}

/// A child that tells its group when it is really gone.
task<> child(tree& in, int depth, int& of_the_group) {
    struct living {
        living(tree& of, int& group) : all(of.alive), group_count(group) {
            ++all;
            ++group_count;
        }
        ~living() {
            --all;
            --group_count;
        }
        int& all;
        int& group_count;
    };
    const living here(in, of_the_group);
    if (in.one_in(3)) (void)co_await as_result(yield());
    co_await node(in, depth - 1);
}

task<> in_a_group(tree& in, int depth) {
    ++in.groups;
    int children = 0;
    const auto start = [&in, depth, &children](task_group& group) {
        auto made = group.spawn({.eager = in.one_in(3)}, child(in, depth, children));
        in.tasks.push_back(made);
    };
    const unsigned before = current_task().cancelling();
    result<> ended;
    bool threw = false;
    std::string number;
    try {
        ended = co_await as_result(with_group([&](task_group& group) -> task<> {
            for (unsigned left = in.below(4); left > 0; --left) {
                try {
                    start(group);
                } catch (const std::system_error& refused) {
                    BOOST_TEST((refused.code() == errc::invalid_state));
                }
            }
            if (in.one_in(6)) group.cancel();
            if (in.one_in(2)) co_await node(in, depth - 1);
        }));
    } catch (const std::runtime_error& thrown) {
        threw = true;
        number = thrown.what();
    }
    BOOST_TEST(children == 0);
    BOOST_TEST(current_task().cancelling() >= before);
    if (threw) throw std::runtime_error(number);
    co_await std::move(ended);
}

/// Does a few things, one of which may end it.
task<> node(tree& in, int depth) {
    for (unsigned left = 1 + in.below(4); left > 0; --left) {
        if (in.steps_left == 0) co_return;
        --in.steps_left;
        switch (in.below(depth > 0 ? 9 : 5)) {
        case 0:
            co_await yield();
            break;
        case 1:
            co_await sleep(in.some_time());
            break;
        case 2:
            if (in.one_in(2)) co_await fail(in);
            break;
        case 3:
            if (in.one_in(2)) cancel_somebody(in);
            break;
        case 4:
            (void)co_await as_result(sleep(in.some_time()));
            break;
        case 5:
            co_await under_a_deadline(in, depth);
            break;
        case 6: {
            const auto ended = co_await as_result(under_a_deadline(in, depth));
            if (!ended) in.see(ended.error());
            if (!ended) in.timed_out += ended.error() == std::errc::timed_out;
            break;
        }
        case 7:
            co_await in_a_group(in, depth);
            break;
        default: {
            const auto ended = co_await as_result(in_a_group(in, depth));
            if (!ended) in.see(ended.error());
            break;
        }
        }
    }
}

task<> root(tree& in) {
    in.tasks.push_back(current_task());
    try {
        const auto ended = co_await as_result(in_a_group(in, 5));
        if (!ended) in.see(ended.error());
    } catch (const std::runtime_error& thrown) {
        in.see(std::string(thrown.what()));
    }
    BOOST_TEST(current_task().cancelling() == in.cancelled_root);
    BOOST_TEST(in.alive == 0);
    BOOST_TEST(!current_task().core()->scopes);
    while (current_task().uncancel() > 0) continue;
}

struct totals {
    long failures = 0, groups = 0, timed_out = 0, tasks = 0, cancelled_roots = 0;
};

void run_tree(std::uint64_t seed, totals& all) {
    tree in(seed);
    testing::simulation world(loopback(seed));
    loop home(world.options(options_for(engine::sim)));
    home.set_exception_handler(
        [&in](loop&, const failure_report& report) { in.see(report.error); });
    const auto ended = home.run_until_complete(root(in));
    BOOST_TEST_CONTEXT("seed " << seed) {
        BOOST_TEST(ended.has_value());
        BOOST_TEST(home.counters().tasks == 0U);
        BOOST_TEST(home.counters().timers == 0U);
        for (std::size_t i = 0; i < in.seen.size(); ++i) {
            BOOST_TEST(in.seen[i] == 1,
                       "failure " << i << " was told of " << in.seen[i] << " times");
        }
    }
    all.failures += static_cast<long>(in.seen.size());
    all.groups += in.groups;
    all.timed_out += in.timed_out;
    all.tasks += static_cast<long>(in.tasks.size());
    all.cancelled_roots += in.cancelled_root > 0;
    in.tasks.clear();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(random_scopes)

// rules 138-146, 153, 160-169
BOOST_AUTO_TEST_CASE(random_trees_wait_for_their_children_and_lose_neither_requests_nor_failures) {
    constexpr std::uint64_t seeds = 2000;
    totals all;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        run_tree(seed, all);
        if (boost::unit_test::results_collector
                .results(boost::unit_test::framework::current_test_case_id())
                .p_assertions_failed > 0U) {
            break;  // the first one is enough to look at
        }
    }
    // The draw has it all, often.
    BOOST_TEST(all.failures > 1000);
    BOOST_TEST(all.groups > 2000);
    BOOST_TEST(all.timed_out > 200);
    BOOST_TEST(all.tasks > 4000);
    BOOST_TEST(all.cancelled_roots > 100);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
