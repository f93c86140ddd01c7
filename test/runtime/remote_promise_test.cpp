// Results that other threads set.
#include <ouro/runtime/remote_promise.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// Tells in which thread it died.
struct last_seen {
    explicit last_seen(std::shared_ptr<std::thread::id> where) : died(std::move(where)) {}
    last_seen(last_seen&&) noexcept = default;
    ~last_seen() {
        if (died) *died = std::this_thread::get_id();
    }
    std::shared_ptr<std::thread::id> died;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(remote_promises)

// rule 94
OURO_KERNEL_TEST(a_result_comes_from_another_thread, "threads") {
    remote_promise<std::string> maker;
    auto made = maker.get_future();
    BOOST_TEST(!maker.abandoned());
    bool first = false, second = true, left = true;
    std::jthread other([&, maker = std::move(maker)]() mutable {
        first = maker.set_value("from afar");
        second = maker.set_value("again");
        left = static_cast<bool>(maker);
    });
    const std::string got = co_await std::move(made);
    BOOST_TEST(got == "from afar");
    other.join();
    BOOST_TEST(first);
    BOOST_TEST(!second);
    BOOST_TEST(!left);
}

OURO_KERNEL_TEST(failures_and_exceptions_come_from_another_thread, "threads") {
    remote_promise<> fails, throws, copies;
    const auto failed = fails.get_future();
    const auto thrown = throws.get_future();
    const auto copied = copies.get_future();
    int sent = 0;
    std::jthread other([&sent, fails = std::move(fails), throws = std::move(throws),
                        copies = std::move(copies)]() mutable {
        sent += fails.set_error(error(errc::unsupported, "fly"));
        sent += throws.set_exception(std::make_exception_ptr(std::runtime_error("crashed")));
        sent += copies.set_result({});
    });
    const auto outcome = co_await as_result(failed.wait());
    BOOST_TEST((outcome.error() == errc::unsupported));
    BOOST_TEST(outcome.error().doing() == "fly");
    std::string caught;
    try {
        co_await thrown;
    } catch (const std::runtime_error& known) {
        caught = known.what();
    }
    BOOST_TEST(caught == "crashed");
    co_await copied;
    other.join();
    BOOST_TEST(sent == 3);
}

OURO_KERNEL_TEST(a_promise_dropped_on_another_thread_breaks_the_future, "threads") {
    remote_promise<int> maker;
    auto made = maker.get_future();
    const std::jthread other([maker = std::move(maker)] {});
    const auto outcome = co_await as_result(std::move(made).wait());
    BOOST_TEST((outcome.error() == errc::broken_promise));
}

OURO_ASYNC_TEST(a_result_set_on_the_loop_itself_is_there_at_once) {
    remote_promise<int> maker;
    const auto made = maker.get_future();
    BOOST_TEST(maker.set_value(4));
    BOOST_TEST(made.get_now().value() == 4);
    BOOST_TEST(!maker.set_error(errc::unsupported));
    BOOST_TEST(!maker.set_exception(std::make_exception_ptr(1)));
    BOOST_TEST(maker.abandoned());
    BOOST_CHECK_THROW((void)maker.get_future(), std::system_error);
    remote_promise<int> replaced;
    const auto broken = replaced.get_future();
    replaced = remote_promise<int>();
    BOOST_TEST((broken.failure() == errc::broken_promise));
    co_return;
}

OURO_ASYNC_TEST(a_result_without_a_future_is_dropped) {
    const auto died = std::make_shared<std::thread::id>();
    remote_promise<last_seen> maker;
    BOOST_TEST(maker.set_value(died));
    BOOST_TEST((*died == std::this_thread::get_id()));
    remote_promise<> fails;
    BOOST_TEST(fails.set_error(errc::unsupported));
    remote_promise<int> forgotten;
    (void)forgotten.get_future();
    BOOST_TEST(forgotten.abandoned());
    const auto wanted = forgotten.get_future();  // there may be another one
    BOOST_TEST(!forgotten.abandoned());
    forgotten.set_value(1);
    BOOST_TEST(wanted.get_now().value() == 1);
    co_return;
}

// rule 94
OURO_ASYNC_TEST(a_cancelled_future_tells_the_thread_that_works_for_it) {
    remote_promise<int> maker;
    auto made = maker.get_future();
    auto told = std::make_shared<bool>(false);
    made.on_done([told] { *told = true; });
    made.cancel();
    BOOST_TEST(maker.abandoned());
    co_await settle();
    BOOST_TEST(*told);
    maker.set_value(1);
    BOOST_TEST(made.cancelled());
}

OURO_KERNEL_TEST(a_value_nobody_waits_for_dies_on_the_loop, "threads") {
    const auto died = std::make_shared<std::thread::id>();
    remote_promise<last_seen> maker, last;
    (void)maker.get_future();
    auto all_sent = last.get_future();
    bool abandoned = false, sent = false;
    std::jthread other([&, maker = std::move(maker), last = std::move(last)]() mutable {
        abandoned = maker.abandoned();
        sent = maker.set_value(died);
        last.set_value(nullptr);
    });
    co_await std::move(all_sent);
    other.join();
    BOOST_TEST(abandoned);
    BOOST_TEST(sent);
    BOOST_TEST((*died == std::this_thread::get_id()));
}

BOOST_AUTO_TEST_CASE(a_value_for_a_closed_loop_dies_where_it_was_set) {
    const auto died = std::make_shared<std::thread::id>();
    std::unique_ptr<remote_promise<last_seen>> maker;
    future<last_seen> made;
    {
        loop home(options_for(engine::uring));
        home.call_soon([&] {
            maker = std::make_unique<remote_promise<last_seen>>();
            made = maker->get_future();
            home.stop();
        });
        home.run_forever();
    }
    BOOST_TEST(maker->abandoned());
    std::thread::id other_thread;
    std::thread([&] {
        other_thread = std::this_thread::get_id();
        BOOST_TEST(!maker->set_value(died));
        BOOST_TEST((*died == other_thread));
    }).join();
    BOOST_TEST(!made.done());
    BOOST_TEST((std::move(made).get_now().error() == errc::invalid_state));
}

BOOST_AUTO_TEST_CASE(a_future_is_had_where_the_loop_runs_only) {
    loop home(options_for(engine::uring));
    const remote_promise<int> maker(home);
    BOOST_CHECK_THROW((void)maker.get_future(), std::system_error);
}

BOOST_AUTO_TEST_CASE(results_that_a_closing_loop_has_not_taken_are_dropped) {
    const auto died = std::make_shared<std::thread::id>();
    loop home(options_for(engine::uring));
    std::vector<remote_promise<last_seen>> makers;
    std::vector<future<last_seen>> made;
    home.call_soon([&] {
        for (int i = 0; i < 1000; ++i) {
            makers.emplace_back();
            made.push_back(makers.back().get_future());
        }
        home.stop();
    });
    home.run_forever();
    std::thread([&] {
        for (auto& each : makers) BOOST_TEST(each.set_value(died));
    }).join();
    home.close();
    BOOST_TEST((*died == std::this_thread::get_id()));
    BOOST_TEST(died.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(results_race_with_the_close_and_with_futures_that_go) {
    for (int round = 0; round < 50; ++round) {
        std::atomic<bool> begin{false};
        std::vector<remote_promise<std::string>> makers;
        std::jthread other;
        loop home(options_for(engine::uring));
        const auto main = [&]() -> task<> {
            std::vector<future<std::string>> made;
            for (int i = 0; i < 64; ++i) {
                makers.emplace_back();
                made.push_back(makers.back().get_future());
            }
            other = std::jthread([&] {
                while (!begin) continue;
                for (auto& each : makers) {
                    if (!each.abandoned()) each.set_value(100U, 'x');
                }
            });
            begin = true;
            for (std::size_t i = 0; i < made.size() / 2; ++i) {
                made.pop_back();
                co_await made[i];
            }
        };
        BOOST_TEST(home.run_until_complete(main()).has_value());
        home.close();
    }
}

// No result is lost for want of memory: the thread that sets needs none, and the loop delivers
// without any.
BOOST_AUTO_TEST_CASE(results_are_set_and_delivered_without_memory) {
    using testing::allocation_faults;
    loop home(options_for(engine::uring));
    std::unique_ptr<remote_promise<std::string>> valued, dropped, failed;
    const auto main = [&]() -> task<> {
        for (auto* each : {&valued, &dropped, &failed}) {
            *each = std::make_unique<remote_promise<std::string>>();
        }
        auto broken = dropped->get_future();
        auto failure = failed->get_future();
        auto waiting = spawn(
            [](future<std::string> from) -> task<std::string> {
                co_return co_await std::move(from);
            },
            valued->get_future());
        co_await settle();
        std::thread([&] {
            std::string text(100, 'x');
            allocation_faults::arm(1, true);
            const bool sent = valued->set_value(std::move(text));
            failed->set_error(errc::unsupported);
            dropped.reset();
            const auto asked = allocation_faults::disarm();
            BOOST_TEST(sent);
            BOOST_TEST(asked == 0U);
        }).join();
        BOOST_TEST(!waiting.done());
        allocation_faults::arm(1, true);
        for (int i = 0; i < 3; ++i) co_await yield();
        allocation_faults::disarm();
        BOOST_REQUIRE(waiting.done());
        const std::string got = co_await waiting;
        BOOST_TEST(got == std::string(100, 'x'));
        BOOST_TEST((failure.failure() == errc::unsupported));
        BOOST_TEST((broken.failure() == errc::broken_promise));
    };
    BOOST_TEST(home.run_until_complete(main()).has_value());
}

// What cannot be made leaves the promise as it was: the setter is told, and may say so.
BOOST_AUTO_TEST_CASE(a_value_that_cannot_be_made_can_be_set_again) {
    loop home(options_for(engine::uring));
    const auto main = [&]() -> task<> {
        remote_promise<std::string> maker;
        const auto made = maker.get_future();
        testing::allocation_faults::arm(1, false);
        bool threw = false;
        try {
            maker.set_value(1000U, 'x');
        } catch (const std::bad_alloc&) {
            threw = true;
        }
        testing::allocation_faults::disarm();
        BOOST_TEST(threw);
        BOOST_TEST(!made.done());
        BOOST_TEST(maker.set_error(std::errc::not_enough_memory));
        BOOST_TEST((made.failure() == std::errc::not_enough_memory));
        co_return;
    };
    BOOST_TEST(home.run_until_complete(main()).has_value());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
