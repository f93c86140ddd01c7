// The floor under `yield`: coroutine handles in a plain queue, with nothing of a task's.

#include <coroutine>
#include <cstdlib>
#include <exception>

#include "lines.hpp"

namespace {

struct waiting {
    std::coroutine_handle<> frame;
    waiting* next = nullptr;
};

/// First in, first out, as the order of a turn.
struct queue {
    waiting* first = nullptr;
    waiting* last = nullptr;

    void push(waiting& added) noexcept {
        added.next = nullptr;
        (last ? last->next : first) = &added;
        last = &added;
    }
    waiting* pop() noexcept {
        waiting* const taken = first;
        if (taken && !(first = taken->next)) last = nullptr;
        return taken;
    }
};

struct bare {
    struct promise_type {
        bare get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

struct turn : waiting {
    queue& ready;
    explicit turn(queue& in) noexcept : ready(in) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> self) noexcept {
        frame = self;
        ready.push(*this);
    }
    void await_resume() const noexcept {}
};

[[gnu::noinline]] bare yields(queue& ready, std::size_t count, std::size_t& rounds) {
    for (std::size_t i = 0; i < count; ++i) co_await turn(ready);
    rounds += count;
}

void bare_handles(std::size_t count, bench::stopwatch& watch) {
    constexpr std::size_t frames = 1000;
    queue ready;
    std::size_t rounds = 0;
    for (std::size_t i = 0; i < frames; ++i) yields(ready, count / frames, rounds);
    watch.start();
    while (waiting* const next = ready.pop()) next->frame.resume();
    watch.stop();
    if (rounds != count / frames * frames) std::abort();
}

const bench::add_line all[] = {{"bare_handles", 100'000, &bare_handles}};

}  // namespace
