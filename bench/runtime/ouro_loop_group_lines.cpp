// What does a call on another loop cost, there and back?

#include <ouro/runtime/loop_group.hpp>

#include "ouro_lines.hpp"

namespace {

ouro::task<int> answer(int number) { co_return number; }

ouro::task<> submit(std::size_t count, bench::stopwatch& watch) {
    ouro::loop_group others({.loops = 1});
    int sum = 0;
    watch.start();
    for (std::size_t i = 0; i < count; ++i) sum += co_await others.on(0).submit(&answer, 1);
    watch.stop();
    co_await bench::demand(sum == static_cast<int>(count));
}

const bench::add_line all[] = {{"submit", bench::long_batch, &bench::on_loop<&submit>}};

}  // namespace
