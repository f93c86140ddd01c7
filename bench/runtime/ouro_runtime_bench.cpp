// What do a call, a task, a turn, an error, a timer and a callback cost?

#include <chrono>
#include <random>
#include <semaphore>
#include <thread>

#include "ouro_lines.hpp"

namespace {

using bench::stopwatch;
using ouro::task;
using namespace std::chrono_literals;

// ---- calls and errors

[[gnu::noinline]] task<std::size_t> answer(std::size_t number) { co_return number; }

// A frame of its own, so that nothing but the calls is in it.
[[gnu::noinline]] task<std::size_t> calls(std::size_t count) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += co_await answer(1);
    co_return sum;
}

task<> call_await(std::size_t count, stopwatch& watch) {
    watch.start();
    const std::size_t sum = co_await calls(count);
    watch.stop();
    co_await bench::demand(sum == count);
}

[[gnu::noinline]] task<int> descend(int frames, bool fails) {
    if (frames > 1) co_return co_await descend(frames - 1, fails) + 1;
    if (fails) co_return std::errc::connection_reset;
    co_return 1;
}

template <bool Fails>
task<> ten_frames(std::size_t count, stopwatch& watch) {
    std::size_t failed = 0;
    watch.start();
    for (std::size_t i = 0; i < count; ++i) {
        const auto got = co_await as_result(descend(10, Fails));
        failed += !got;
    }
    watch.stop();
    co_await bench::demand(failed == (Fails ? count : 0));
}

// ---- tasks and turns

constexpr std::size_t burst = 1000;

task<> nothing() { co_return; }

task<> spawn_finish(std::size_t count, stopwatch& watch) {
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        for (std::size_t j = 0; j < burst; ++j) ouro::spawn(nothing());
        co_await ouro::yield();  // they were queued before this task, so they have run
    }
    watch.stop();
}

[[gnu::noinline]] task<> yields(int frames, std::size_t count) {
    if (frames > 1) co_return co_await yields(frames - 1, count);
    for (std::size_t i = 0; i < count; ++i) co_await ouro::yield();
}

/// `Tasks` tasks take turns, so that a turn of the loop is shared by that many.
template <std::size_t Tasks, int Frames>
task<> take_turns(std::size_t count, stopwatch& watch) {
    std::vector<ouro::task_handle<>> started;
    started.reserve(Tasks);
    for (std::size_t i = 0; i < Tasks; ++i) {
        started.push_back(ouro::spawn(yields(Frames, count / Tasks)));
    }
    watch.start();
    co_await bench::join_all(std::move(started));
    watch.stop();
}

// ---- timers and callbacks

constexpr std::size_t pending_timers = 1'000'000;

task<> timer(std::size_t count, stopwatch& watch) {
    ouro::loop& home = ouro::loop::current();
    std::minstd_rand random(1);
    std::vector<ouro::timer_handle> pending;
    pending.reserve(pending_timers);
    for (std::size_t i = 0; i < pending_timers; ++i) {
        pending.push_back(
            home.call_later(60s + std::chrono::microseconds(random() % 60'000'000), [] {}));
    }
    std::size_t fired = 0;
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        for (std::size_t j = 0; j < burst; ++j) {
            home.call_later(60s + std::chrono::microseconds(random() % 60'000'000),
                            [&fired] { ++fired; })
                .cancel();
        }
        co_await ouro::yield();  // as the rivals have to, to be rid of cancelled timers
    }
    watch.stop();
    for (auto& each : pending) each.cancel();
    co_await bench::demand(fired == 0);
}

task<> call_soon(std::size_t count, stopwatch& watch) {
    ouro::loop& home = ouro::loop::current();
    std::size_t ran = 0;
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        for (std::size_t j = 0; j < burst; ++j) home.call_soon([&ran] { ++ran; });
        co_await ouro::yield();
    }
    watch.stop();
    co_await bench::demand(ran >= count);
}

/// Another thread posts in bursts of 100 and sleeps until each has run.
void post(std::size_t count, stopwatch& watch) {
    constexpr std::size_t at_once = 100;
    ouro::loop home;
    std::binary_semaphore burst_ran(0);
    std::thread poster([&, door = home.get_handle()] {
        watch.start();
        for (std::size_t i = 0; i < count; i += at_once) {
            for (std::size_t j = 1; j < at_once; ++j) door.post([] {});
            door.post([&] { burst_ran.release(); });
            burst_ran.acquire();
        }
        watch.stop();
        door.stop();
    });
    home.run_forever();
    poster.join();
}

const bench::add_line all[] = {
    {"call_await", 100'000, &bench::on_loop<&call_await>},
    {"spawn_finish", 20'000, &bench::on_loop<&spawn_finish>},
    {"yield", 100'000, &bench::on_loop<&take_turns<1000, 1>>},
    {"yield_8_frames", 100'000, &bench::on_loop<&take_turns<1000, 8>>},
    {"yield_alone", 20'000, &bench::on_loop<&take_turns<1, 1>>},
    {"value_10_frames", 10'000, &bench::on_loop<&ten_frames<false>>},
    {"error_10_frames", 10'000, &bench::on_loop<&ten_frames<true>>},
    {"timer_1m_pending", 400'000, &bench::on_loop<&timer>},
    {"call_soon", 50'000, &bench::on_loop<&call_soon>},
    {"post", bench::long_batch, &post},
};

}  // namespace

int main(int argc, char** argv) { return bench::main_of_lines(argc, argv); }
