// Posts from other threads.
#include <ouro/runtime/loop_handle.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct both_engines {
    template <class Body>
    void each(Body&& body) {
        for (const engine which : {engine::uring, engine::plain_uring}) {
            loop home(options_for(which));
            body(home);
        }
    }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(loop_handles, both_engines)

BOOST_AUTO_TEST_CASE(a_handle_of_no_loop_takes_nothing) {
    const loop_handle none;
    auto token = std::make_shared<int>();
    BOOST_TEST(!none.post([token] {}));
    BOOST_TEST(!none.stop());
    BOOST_TEST(token.use_count() == 1);
}

// rule 48, fault 28
BOOST_AUTO_TEST_CASE(a_post_wakes_a_loop_that_sleeps_without_a_timer) {
    each([](loop& home) {
        std::thread::id ran_on;
        std::thread other;
        bool posted = false;
        home.call_soon([&] {
            other = std::thread([&, handle = home.get_handle()] {
                posted = handle.post([&] {
                    ran_on = std::this_thread::get_id();
                    home.stop();
                });
            });
        });
        home.run_forever();
        other.join();
        BOOST_TEST(posted);
        BOOST_TEST((ran_on == std::this_thread::get_id()));
    });
}

// fault 28
BOOST_AUTO_TEST_CASE(no_wake_up_is_lost_when_the_loop_falls_asleep_at_that_very_moment) {
    each([](loop& home) {
        constexpr int rounds = 3000;
        // Among many processes each round takes two of their turns.
        const auto enough = home.time() + std::chrono::seconds(30);
        std::atomic<int> asked{0};
        std::atomic<bool> over{false};
        int answered = 0;
        std::thread other([&, handle = home.get_handle()] {
            for (int i = 1; !over.load(); ++i) {
                while (asked.load() < i && !over.load()) std::this_thread::yield();
                handle.post([&] {
                    ++answered;
                    if (answered == rounds || home.time() > enough) {
                        over.store(true);
                        return home.stop();
                    }
                    asked.store(answered + 1);  // the next post races with the loop going to sleep
                });
            }
        });
        asked.store(1);
        home.run_forever();  // whose end is what is tested
        other.join();
        BOOST_TEST(answered > 0);
    });
}

// rule 49
BOOST_AUTO_TEST_CASE(posts_of_one_thread_run_in_their_order) {
    each([](loop& home) {
        std::vector<int> seen;
        std::thread([&, handle = home.get_handle()] {
            for (int i = 0; i < 1000; ++i) handle.post([&seen, i] { seen.push_back(i); });
            handle.stop();
        }).join();
        home.run_forever();
        BOOST_TEST(seen.size() == 1000U);
        BOOST_TEST(std::is_sorted(seen.begin(), seen.end()));
    });
}

// rule 49
BOOST_AUTO_TEST_CASE(posts_and_call_soon_of_the_own_thread_share_one_queue) {
    each([](loop& home) {
        std::string order;
        const auto handle = home.get_handle();
        home.call_soon([&] {
            home.call_soon([&] { order += 'a'; });
            handle.post([&] { order += 'b'; });
            home.call_soon([&] { order += 'c'; });
            handle.post([&] {
                order += 'd';
                home.stop();
            });
        });
        home.run_forever();
        BOOST_TEST(order == "abcd");
    });
}

// rule 49
BOOST_AUTO_TEST_CASE(a_post_runs_after_what_was_queued_before_it) {
    each([](loop& home) {
        std::string order;
        home.call_soon([&] {
            home.call_soon([&] { order += 'a'; });
            std::thread([&, handle = home.get_handle()] {
                handle.post([&] {
                    order += 'b';
                    home.stop();
                });
            }).join();
        });
        home.run_forever();
        BOOST_TEST(order == "ab");
    });
}

// rule 44, fault 28
BOOST_AUTO_TEST_CASE(a_storm_of_posts_from_many_threads_beside_timers_loses_nothing) {
    each([](loop& home) {
        constexpr int threads = 4, posts = 5000;
        int ran = 0, timers = 0, chained = 0;
        std::vector<std::thread> storm;
        home.call_soon([&] {
            for (int i = 0; i < threads; ++i) {
                storm.emplace_back([&, handle = home.get_handle()] {
                    for (int j = 0; j < posts; ++j) {
                        handle.post([&] {
                            ++ran;
                            home.call_later(std::chrono::microseconds(ran % 50), [&] { ++timers; });
                            home.call_later(std::chrono::hours(1), [] {}).cancel();
                            home.call_soon([&] {
                                if (++chained == threads * posts) home.stop();
                            });
                        });
                    }
                });
            }
        });
        home.run_forever();
        for (std::thread& each : storm) each.join();
        BOOST_TEST(ran == threads * posts);
        while (home.counters().timers > 0) {
            home.call_later(std::chrono::microseconds(100), [&] { home.stop(); });
            home.run_forever();
        }
        BOOST_TEST(timers == threads * posts);
    });
}

BOOST_AUTO_TEST_CASE(a_stop_from_another_thread_ends_the_run) {
    each([](loop& home) {
        std::thread other;
        bool asked = false;
        home.call_soon([&] {
            other = std::thread([&, handle = home.get_handle()] { asked = handle.stop(); });
        });
        home.run_forever();
        other.join();
        BOOST_TEST(asked);
        BOOST_TEST(!home.is_running());
    });
}

// rules 12, 50
BOOST_AUTO_TEST_CASE(posts_and_stops_to_a_loop_that_does_not_run_wait_for_the_next_run) {
    each([](loop& home) {
        std::string order;
        const auto handle = home.get_handle();
        for (int i = 0; i < 100; ++i) handle.post([&] { order += 'x'; });
        BOOST_TEST(handle.stop());
        BOOST_TEST(order.empty());
        home.run_forever();
        BOOST_TEST(order.size() == 100U);
    });
}

// rules 21, 22
BOOST_AUTO_TEST_CASE(a_closed_loop_takes_no_post_and_the_callback_is_destroyed_at_once) {
    loop_handle handle;
    auto token = std::make_shared<int>();
    {
        loop home(options_for(engine::uring));
        handle = home.get_handle();
        BOOST_TEST(handle.post([token] { BOOST_ERROR("a dropped post ran"); }));
        home.close();
        BOOST_TEST(token.use_count() == 1);
        BOOST_TEST(!handle.post([token] {}));
        BOOST_TEST(token.use_count() == 1);
    }
    BOOST_TEST(!handle.post([token] {}));
    BOOST_TEST(!handle.stop());
    BOOST_TEST(token.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(what_a_dropped_post_owns_may_post_while_it_is_destroyed) {
    struct posts_again {
        explicit posts_again(loop_handle to) : handle(std::move(to)) {}
        posts_again(posts_again&&) noexcept = default;
        ~posts_again() {
            handle.post([] {});
        }
        loop_handle handle;
    };
    loop home(options_for(engine::uring));
    const auto handle = home.get_handle();
    for (int i = 0; i < 3; ++i) handle.post([token = posts_again(handle)] {});
    home.close();
    BOOST_TEST(!handle.post([] {}));
}

BOOST_AUTO_TEST_CASE(a_handle_of_a_closed_loop_does_not_take_its_successor_for_it) {
    alignas(loop) std::byte space[sizeof(loop)];
    auto* const first = new (space) loop(options_for(engine::uring));
    const loop_handle handle = first->get_handle();
    first->~loop();
    auto* const second = new (space) loop(options_for(engine::uring));
    BOOST_TEST(static_cast<void*>(second) == static_cast<void*>(first));
    bool taken = true;
    second->call_soon([&] {
        taken = handle.post([] { BOOST_ERROR("ran on another loop"); });
        second->stop();
    });
    second->run_forever();
    BOOST_TEST(!taken);
    second->~loop();
}

BOOST_AUTO_TEST_CASE(posts_race_with_the_close_and_each_either_runs_or_is_destroyed) {
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> live{0};
        struct counted {
            explicit counted(std::atomic<int>& of) : live(&of) { ++*live; }
            counted(counted&& other) noexcept : live(other.live) { ++*live; }
            ~counted() { --*live; }
            std::atomic<int>* live;
        };
        std::thread other;
        {
            loop home(options_for(engine::uring));
            other = std::thread([&, handle = home.get_handle()] {
                while (handle.post([token = counted(live)] {})) continue;
            });
            home.stop();
            home.run_forever();
        }
        other.join();
        BOOST_TEST(live == 0);
    }
}

// rule 9
BOOST_AUTO_TEST_CASE(a_post_that_throws_is_reported_and_the_loop_goes_on) {
    loop home(options_for(engine::uring));
    std::vector<failure_report> seen;
    home.set_exception_handler(
        [&](loop&, const failure_report& report) { seen.push_back(report); });
    home.get_handle().post([] { throw std::runtime_error("in a post"); });
    home.get_handle().stop();
    home.run_forever();
    BOOST_REQUIRE(seen.size() == 1U);
    BOOST_TEST((seen.at(0).error == errc::callback_threw));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
