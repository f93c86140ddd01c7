// What do the same things cost with standalone Asio? Set up as it allows for a single thread.

#define ASIO_STANDALONE
#define ASIO_NO_DEPRECATED
// Asio 1.22 looks for the experimental coroutines of old clang; the standard ones serve it well.
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/experimental/channel.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <chrono>
#include <exception>
#include <random>
#include <semaphore>
#include <system_error>
#include <thread>

#include "lines.hpp"

namespace {

using bench::stopwatch;
using namespace std::chrono_literals;

// Naming the executor instead of any_io_executor spares the type erasure in every operation.
using executor = asio::io_context::executor_type;
template <class T = void>
using task = asio::awaitable<T, executor>;
constexpr asio::use_awaitable_t<executor> awaited;
using timer_type =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, executor>;
// Asio 1.22 cannot compile a channel that carries nothing.
using item_channel =
    asio::experimental::basic_channel<executor, asio::experimental::channel_traits<>,
                                      void(std::error_code, int)>;

[[noreturn]] void not_done() {
    std::fputs("a line did not do its work\n", stderr);
    std::exit(1);
}

/// Runs `Body(context, count, watch)` as a coroutine; its failure ends the program.
template <task<> (*Body)(asio::io_context&, std::size_t, stopwatch&)>
void on_context(std::size_t count, stopwatch& watch) {
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);  // one thread: no locks
    asio::co_spawn(context, Body(context, count, watch), [](std::exception_ptr thrown) {
        if (thrown) std::rethrow_exception(thrown);
    });
    context.run();
}

auto yield(asio::io_context& context) { return asio::post(context, awaited); }

// ---- calls and errors

[[gnu::noinline]] task<std::size_t> answer(std::size_t number) { co_return number; }

// A frame of its own, so that nothing but the calls is in it.
[[gnu::noinline]] task<std::size_t> calls(std::size_t count) {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += co_await answer(1);
    co_return sum;
}

task<> call_await(asio::io_context&, std::size_t count, stopwatch& watch) {
    watch.start();
    const std::size_t sum = co_await calls(count);
    watch.stop();
    if (sum != count) not_done();
}

/// An awaitable of Asio reports errors as exceptions, unless each level hands a code on.
[[gnu::noinline]] task<int> descend(int frames, bool fails) {
    if (frames > 1) co_return co_await descend(frames - 1, fails) + 1;
    if (fails) throw std::system_error(std::make_error_code(std::errc::connection_reset));
    co_return 1;
}

template <bool Fails>
task<> ten_frames(asio::io_context&, std::size_t count, stopwatch& watch) {
    std::size_t failed = 0;
    watch.start();
    for (std::size_t i = 0; i < count; ++i) {
        try {
            benchmark::DoNotOptimize(co_await descend(10, Fails));
        } catch (const std::system_error&) {
            ++failed;
        }
    }
    watch.stop();
    if (failed != (Fails ? count : 0)) not_done();
}

// ---- tasks and turns

constexpr std::size_t burst = 1000;

task<> nothing() { co_return; }

task<> spawn_finish(asio::io_context& context, std::size_t count, stopwatch& watch) {
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        for (std::size_t j = 0; j < burst; ++j) {
            asio::co_spawn(context, nothing(), asio::detached);
        }
        co_await yield(context);
    }
    watch.stop();
}

[[gnu::noinline]] task<> yields(asio::io_context& context, int frames, std::size_t count) {
    if (frames > 1) co_return co_await yields(context, frames - 1, count);
    for (std::size_t i = 0; i < count; ++i) co_await yield(context);
}

/// Starts coroutines and waits for all of them, which Asio 1.22 has nothing for when their number
/// is not known at compile time.
class nursery {
  public:
    explicit nursery(asio::io_context& context) : context_(context), all_done_(context, 1) {}
    void start(task<> body) {
        ++running_;
        asio::co_spawn(context_, std::move(body), [this](std::exception_ptr thrown) {
            if (thrown) std::rethrow_exception(thrown);
            if (--running_ == 0) all_done_.try_send(std::error_code(), 0);
        });
    }
    task<> join() { co_await all_done_.async_receive(awaited); }

  private:
    asio::io_context& context_;
    std::size_t running_ = 0;
    item_channel all_done_;
};

template <std::size_t Tasks, int Frames>
task<> take_turns(asio::io_context& context, std::size_t count, stopwatch& watch) {
    nursery started(context);
    for (std::size_t i = 0; i < Tasks; ++i) {
        started.start(yields(context, Frames, count / Tasks));
    }
    watch.start();
    co_await started.join();
    watch.stop();
}

// ---- timers and callbacks

constexpr std::size_t pending_timers = 1'000'000;

task<> timer(asio::io_context& context, std::size_t count, stopwatch& watch) {
    std::minstd_rand random(1);
    const auto later = [&random] { return 60s + std::chrono::microseconds(random() % 60'000'000); };
    std::vector<timer_type> pending;
    pending.reserve(pending_timers);
    for (std::size_t i = 0; i < pending_timers; ++i) {
        pending.emplace_back(context, later()).async_wait([](std::error_code) {});
    }
    std::size_t fired = 0;
    std::vector<timer_type> some;
    for (std::size_t j = 0; j < burst; ++j) some.emplace_back(context);
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        for (timer_type& each : some) {
            each.expires_after(later());
            each.async_wait([&fired](std::error_code cancelled) { fired += !cancelled; });
            each.cancel();
        }
        co_await yield(context);
    }
    watch.stop();
    if (fired != 0) not_done();
}

task<> call_soon(asio::io_context& context, std::size_t count, stopwatch& watch) {
    std::size_t ran = 0;
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        for (std::size_t j = 0; j < burst; ++j) asio::post(context, [&ran] { ++ran; });
        co_await yield(context);
    }
    watch.stop();
    if (ran < count) not_done();
}

/// Another thread posts in bursts of 100 and sleeps until each has run.
void post(std::size_t count, stopwatch& watch) {
    constexpr std::size_t at_once = 100;
    asio::io_context context(1);
    auto open = asio::make_work_guard(context);
    std::binary_semaphore burst_ran(0);
    std::thread poster([&] {
        watch.start();
        for (std::size_t i = 0; i < count; i += at_once) {
            for (std::size_t j = 1; j < at_once; ++j) asio::post(context, [] {});
            asio::post(context, [&] { burst_ran.release(); });
            burst_ran.acquire();
        }
        watch.stop();
        open.reset();
    });
    context.run();
    poster.join();
}

// ---- between tasks

task<> produce(item_channel& there, item_channel& back, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        co_await there.async_send(std::error_code(), 1, awaited);
        co_await back.async_receive(awaited);
    }
}

task<> reflect(item_channel& there, item_channel& back, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const int item = co_await there.async_receive(awaited);
        co_await back.async_send(std::error_code(), item, awaited);
    }
}

task<> queue(asio::io_context& context, std::size_t count, stopwatch& watch) {
    item_channel there(context, 1);
    item_channel back(context, 1);
    nursery both(context);
    both.start(produce(there, back, count));
    both.start(reflect(there, back, count));
    watch.start();
    co_await both.join();
    watch.stop();
}

/// Asio has no lock; a channel of one is what stands for it: to hold it is to have its item.
task<> hold_in_turn(asio::io_context& context, item_channel& lock, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        co_await lock.async_receive(awaited);
        co_await yield(context);
        lock.try_send(std::error_code(), 0);
    }
}

task<> lock(asio::io_context& context, std::size_t count, stopwatch& watch) {
    constexpr std::size_t tasks = 10;
    item_channel held(context, 1);
    held.try_send(std::error_code(), 0);
    nursery all(context);
    for (std::size_t i = 0; i < tasks; ++i) all.start(hold_in_turn(context, held, count / tasks));
    watch.start();
    co_await all.join();
    watch.stop();
}

task<> gather(asio::io_context& context, std::size_t count, stopwatch& watch) {
    watch.start();
    for (std::size_t i = 0; i < count; i += burst) {
        std::size_t sum = 0;
        nursery all(context);
        for (std::size_t j = 0; j < burst; ++j) {
            all.start([](std::size_t& into) -> task<> { into += co_await answer(1); }(sum));
        }
        co_await all.join();
        if (sum != burst) not_done();
    }
    watch.stop();
}

/// A task of one loop has a call made on another one, and goes on with its result.
void submit(std::size_t count, stopwatch& watch) {
    asio::io_context here(1);
    asio::io_context there(1);
    auto open = asio::make_work_guard(there);
    std::thread other([&] { there.run(); });
    const auto main = [&]() -> task<> {
        std::size_t sum = 0;
        watch.start();
        for (std::size_t i = 0; i < count; ++i) {
            sum += co_await asio::co_spawn(there, answer(1), awaited);
        }
        watch.stop();
        if (sum != count) not_done();
    };
    asio::co_spawn(here, main(), [](std::exception_ptr thrown) {
        if (thrown) std::rethrow_exception(thrown);
    });
    here.run();
    open.reset();
    other.join();
}

const bench::add_line all[] = {
    {"call_await", 100'000, &on_context<&call_await>},
    {"spawn_finish", 20'000, &on_context<&spawn_finish>},
    {"yield", 100'000, &on_context<&take_turns<1000, 1>>},
    {"yield_8_frames", 100'000, &on_context<&take_turns<1000, 8>>},
    {"yield_alone", 20'000, &on_context<&take_turns<1, 1>>},
    {"value_10_frames", 10'000, &on_context<&ten_frames<false>>},
    {"error_10_frames", 1'000, &on_context<&ten_frames<true>>},
    {"timer_1m_pending", 400'000, &on_context<&timer>},
    {"queue", 20'000, &on_context<&queue>},
    {"lock", 20'000, &on_context<&lock>},
    {"gather_1000", 20'000, &on_context<&gather>},
    {"call_soon", 50'000, &on_context<&call_soon>},
    {"post", bench::long_batch, &post},
    {"submit", bench::long_batch, &submit},
};

}  // namespace

int main(int argc, char** argv) { return bench::main_of_lines(argc, argv); }
