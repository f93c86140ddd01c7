// What does a message between two tasks cost?

#include <ouro/runtime/queue.hpp>

#include "ouro_lines.hpp"

namespace {

ouro::task<> produce(ouro::queue<int>& there, ouro::queue<int>& back, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        co_await there.put(1);
        co_await back.get();
    }
}

ouro::task<> reflect(ouro::queue<int>& there, ouro::queue<int>& back, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const int item = co_await there.get();
        co_await back.put(item);
    }
}

/// There and back counts as one.
ouro::task<> queue(std::size_t count, bench::stopwatch& watch) {
    ouro::queue<int> there(1);
    ouro::queue<int> back(1);
    const auto one = ouro::spawn(produce(there, back, count));
    const auto other = ouro::spawn(reflect(there, back, count));
    watch.start();
    co_await one;
    co_await other;
    watch.stop();
}

const bench::add_line all[] = {{"queue", 20'000, &bench::on_loop<&queue>}};

}  // namespace
