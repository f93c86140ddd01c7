// What does it cost to hand a lock over to a task that waits for it?

#include <ouro/runtime/lock.hpp>

#include "ouro_lines.hpp"

namespace {

ouro::task<> hold_in_turn(ouro::lock& shared, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        co_await shared.acquire();
        co_await ouro::yield();  // so that the others wait
        shared.release();
    }
}

ouro::task<> lock(std::size_t count, bench::stopwatch& watch) {
    constexpr std::size_t tasks = 10;
    ouro::lock shared;
    std::vector<ouro::task_handle<>> started;
    for (std::size_t i = 0; i < tasks; ++i) {
        started.push_back(ouro::spawn(hold_in_turn(shared, count / tasks)));
    }
    watch.start();
    co_await bench::join_all(std::move(started));
    watch.stop();
}

const bench::add_line all[] = {{"lock", 20'000, &bench::on_loop<&lock>}};

}  // namespace
