// Loops that wake each other: by messages from ring to ring, by eventfd, and by both.
#include <ouro/runtime/loop_handle.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

loop_options with_messages() { return options_for(engine::uring); }
loop_options with_lookout(std::chrono::microseconds lookout) {
    loop_options options = with_messages();
    options.lookout = lookout;
    return options;
}
loop_options without_messages() {
    loop_options options = options_for(engine::uring);
    options.disabled_features |= feature_ring_messages;
    return options;
}

/// A loop on a thread of its own. Runs until it is stopped.
class other_loop {
  public:
    explicit other_loop(loop_options options) {
        std::latch made(1);
        thread_ = std::thread([this, options, &made] {
            loop home(options);
            handle_ = home.get_handle();
            home.call_soon([&made] { made.count_down(); });
            home.run_forever();
            statistics_ = home.statistics();
        });
        made.wait();
    }
    ~other_loop() { join(); }
    loop_handle handle() const { return handle_; }
    /// Stops it. What happened in its life.
    loop_statistics join() {
        if (thread_.joinable()) {
            handle_.stop();
            thread_.join();
        }
        return statistics_;
    }

  private:
    loop_handle handle_;
    loop_statistics statistics_;
    std::thread thread_;
};

/// A ball between two loops. Each post wakes a loop that is about to fall asleep.
struct game {
    loop_handle one, other;
    int left;
    void play() {
        if (left-- == 0) {
            one.stop();
        } else {
            (left % 2 ? other : one).post([this] { play(); });
        }
    }
};

struct played {
    loop_statistics here, there;
};
played play(loop_options mine, loop_options theirs, int posts) {
    loop home(mine);
    other_loop other(theirs);
    game match{home.get_handle(), other.handle(), posts};
    home.call_soon([&] { match.play(); });
    home.run_forever();
    BOOST_TEST(match.left == -1);
    return {home.statistics(), other.join()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(wake_ups)

// rule 48, fault 28
BOOST_AUTO_TEST_CASE(a_hundred_thousand_posts_between_two_loops_lose_no_wake_up) {
    constexpr int posts = 100'000;
    for (const auto lookout : {0us, 1us, 20us}) {
        const auto [here, there] = play(with_lookout(lookout), with_lookout(lookout), posts);
        for (const loop_statistics& each : {here, there}) {
            // Never two for one post; one is a stop.
            BOOST_TEST(each.wakes <= unsigned{posts} / 2 + 1);
            BOOST_TEST(each.ring_wakes > 0U);
            // The turn that posts hands the message over with what it has: no call but that of a
            // turn, and one before each lookout.
            BOOST_TEST(each.enters <= each.turns + each.lookouts + 2);
            BOOST_TEST((lookout != 0us || each.lookouts == 0));
            BOOST_TEST(each.lookouts_met <= each.lookouts);
        }
    }
}

// fault 28
BOOST_AUTO_TEST_CASE(posts_to_a_loop_that_is_awake_wake_nobody) {
    constexpr int posts = 1000;
    for (const loop_options& options : {with_messages(), without_messages(), with_lookout(0us)}) {
        loop home(options);
        std::binary_semaphore running(0), posted(0);
        int ran = 0;
        std::thread poster([&, door = home.get_handle()] {
            const auto hold_up = [&] {
                ++ran;
                running.release();
                posted.acquire();
            };
            door.post(hold_up);
            for (int i = 1; i < posts; ++i) {
                running.acquire();  // and it does not end before the next has been posted
                door.post(hold_up);
                posted.release();
            }
            running.acquire();
            door.stop();
            posted.release();
        });
        home.run_forever();
        poster.join();
        BOOST_TEST(ran == posts);
        BOOST_TEST(home.statistics().wakes <= 1U);  // by the first
    }
}

namespace {

/// Sleeps a hundred times, and has each sleep asked for by `through`, where there is one.
struct sleeper {
    loop home{with_messages()};
    std::function<void(std::function<void()>)> through = [](const auto& step) { step(); };
    int left = 100;

    void sleep_on() {
        if (--left == 0) return home.stop();
        through([this] { home.call_later(100us, [this] { sleep_on(); }); });
    }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_loop_that_nobody_talks_to_does_not_look_out, sleeper) {
    home.call_soon([this] { sleep_on(); });
    home.run_forever();
    BOOST_TEST(home.statistics().lookouts == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_loop_that_posts_to_itself_does_not_look_out, sleeper) {
    through = [this](std::function<void()> step) { home.get_handle().post(std::move(step)); };
    home.call_soon([this] { sleep_on(); });
    home.run_forever();
    BOOST_TEST(home.statistics().lookouts == 0U);
}

BOOST_FIXTURE_TEST_CASE(one_mail_is_followed_by_one_lookout_at_most, sleeper) {
    std::thread([this, door = home.get_handle()] { door.post([this] { sleep_on(); }); }).join();
    home.run_forever();
    BOOST_TEST(home.statistics().lookouts <= 1U);
}

// What is left for a loop that has stopped is there when it runs again.
BOOST_AUTO_TEST_CASE(mail_for_a_loop_that_was_awake_when_it_stopped_is_found_in_the_next_run) {
    loop home(with_messages());
    for (int run = 0; run < 3; ++run) {
        int ran = 0;
        std::thread([&, door = home.get_handle()] {
            door.post([&] { ++ran; });
            door.stop();
        }).join();
        home.run_forever();
        BOOST_TEST(ran == 1);
    }
}

// rule 48, fault 28
BOOST_AUTO_TEST_CASE(loops_that_take_no_messages_are_woken_all_the_same) {
    constexpr int posts = 10'000;
    const auto neither = play(without_messages(), without_messages(), posts);
    BOOST_TEST(neither.here.ring_wakes + neither.there.ring_wakes == 0U);
    BOOST_TEST(neither.there.wakes > 0U);
    const auto only_here = play(with_messages(), without_messages(), posts);
    BOOST_TEST(only_here.there.ring_wakes == 0U);
    const auto only_there = play(without_messages(), with_messages(), posts);
    BOOST_TEST(only_there.here.ring_wakes == 0U);
    for (const engine which : {engine::uring, engine::plain_uring}) {
        (void)play(options_for(which), options_for(engine::plain_uring), posts);
    }
}

// rules 44, 48, fault 28
BOOST_AUTO_TEST_CASE(a_storm_among_loops_and_threads_loses_nothing) {
    constexpr int rounds = 2000, loops = 3, threads = 2;
    for (const bool messages : {true, false}) {
        const auto options = messages ? with_messages() : without_messages();
        std::array<std::atomic<int>, loops> arrived{};
        std::atomic<int> all{0};
        std::latch done(1);
        const auto came = [&](int at) {
            ++arrived[static_cast<std::size_t>(at)];
            if (++all == loops * (loops + threads) * rounds) done.count_down();
        };
        std::vector<std::unique_ptr<other_loop>> group;
        for (int i = 0; i < loops; ++i) group.push_back(std::make_unique<other_loop>(options));
        std::vector<loop_handle> handles;
        for (const auto& each : group) handles.push_back(each->handle());
        // Every loop and every thread posts to every loop, itself included.
        struct sender {
            void operator()() {
                for (int i = 0; i < loops; ++i) {
                    (*to)[static_cast<std::size_t>(i)].post([c = came, i] { (*c)(i); });
                }
                if (--left > 0) own.post(sender(*this));
            }
            const std::vector<loop_handle>* to;
            const decltype(came)* came;
            loop_handle own;
            int left = rounds;
        };
        for (const loop_handle& each : handles) each.post(sender{&handles, &came, each});
        std::vector<std::thread> storm;
        for (int i = 0; i < threads; ++i) {
            storm.emplace_back([&] {
                for (int round = 0; round < rounds; ++round) {
                    for (int to = 0; to < loops; ++to) {
                        handles[static_cast<std::size_t>(to)].post([&came, to] { came(to); });
                    }
                }
            });
        }
        done.wait();
        for (std::thread& each : storm) each.join();
        for (const auto& each : arrived) BOOST_TEST(each == (loops + threads) * rounds);
        for (const auto& each : group) {
            BOOST_TEST((each->join().ring_wakes > 0) == messages);
        }
    }
}

// rule 50, fault 28
BOOST_AUTO_TEST_CASE(a_message_to_a_loop_that_has_not_run_yet_finds_it_awake_later) {
    loop first(with_messages());
    for (const bool posts_last : {false, true}) {
        loop second(with_messages());
        bool ran = false;
        first.call_soon([&] {
            second.get_handle().post([&] {
                ran = true;
                second.stop();
            });
            if (posts_last) return first.stop();  // nobody looks whether the message has arrived
            first.call_soon([&] { first.stop(); });
        });
        first.run_forever();
        second.run_forever();
        BOOST_TEST(ran);
    }
}

BOOST_AUTO_TEST_CASE(a_message_to_a_loop_that_is_gone_by_then_goes_nowhere) {
    loop first(with_messages());
    first.call_soon([&] {
        auto second = std::make_unique<loop>(with_messages());
        BOOST_TEST(second->get_handle().post([] { BOOST_ERROR("a dropped post ran"); }));
        second.reset();
        // Takes the descriptor numbers that the other one had.
        auto third = std::make_shared<loop>(with_messages());
        first.call_soon([&first, third] {
            third->call_soon([third = third.get()] { third->stop(); });
            first.stop();
        });
    });
    first.run_forever();
    BOOST_TEST(first.statistics().wakes == 0U);
}

// fault 28
BOOST_AUTO_TEST_CASE(a_thread_does_not_wait_for_the_turn_in_which_a_loop_promised_to_wake) {
    loop first(with_messages());
    other_loop second(with_messages());
    std::latch ran(2);
    first.call_soon([&] {
        second.handle().post([&] { ran.count_down(); });
        std::thread([&] { second.handle().post([&] { ran.count_down(); }); }).join();
        ran.wait();  // this turn does not end before both have run
        first.stop();
    });
    first.run_forever();
}

BOOST_AUTO_TEST_CASE(a_stop_does_not_wait_for_the_end_of_the_turn) {
    loop first(with_messages());
    first.call_soon([&] {
        other_loop second(with_messages());
        second.handle().post([] {});
        second.join();
        first.stop();
    });
    first.run_forever();
}

BOOST_AUTO_TEST_CASE(more_wake_ups_than_one_turn_can_carry_leave_at_once) {
    loop_options small = with_messages();
    small.sq_entries = 8;
    loop first(small);
    constexpr int loops = 20;
    std::vector<std::unique_ptr<other_loop>> others;
    for (int i = 0; i < loops; ++i) others.push_back(std::make_unique<other_loop>(small));
    std::latch ran(loops);
    first.call_soon([&] {
        for (const auto& each : others) each->handle().post([&] { ran.count_down(); });
        first.stop();
    });
    first.run_forever();
    ran.wait();
}

// fault 28
BOOST_AUTO_TEST_CASE(what_a_closing_loop_posts_arrives) {
    other_loop second(with_messages());
    std::latch ran(1);
    struct posts_when_dropped {
        posts_when_dropped(loop_handle to, std::latch& when) : handle(std::move(to)), ran(&when) {}
        posts_when_dropped(posts_when_dropped&& from) noexcept
            : handle(std::move(from.handle)), ran(std::exchange(from.ran, nullptr)) {}
        ~posts_when_dropped() {
            if (ran) handle.post([ran = ran] { ran->count_down(); });
        }
        loop_handle handle;
        std::latch* ran;
    };
    {
        loop first(with_messages());
        first.call_later(std::chrono::hours(1),
                         [held = posts_when_dropped(second.handle(), ran)] {});
        first.call_soon([&] { first.stop(); });
        first.run_forever();
    }
    ran.wait();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
