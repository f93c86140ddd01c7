// What does a child of a gather of a thousand cost?

#include <ouro/runtime/gather.hpp>

#include "ouro_lines.hpp"

namespace {

[[gnu::noinline]] ouro::task<int> answer(int number) { co_return number; }

ouro::task<> gather(std::size_t count, bench::stopwatch& watch) {
    constexpr std::size_t children = 1000;
    watch.start();
    for (std::size_t i = 0; i < count; i += children) {
        std::vector<ouro::task<int>> calls;
        for (std::size_t j = 0; j < children; ++j) calls.push_back(answer(1));
        int sum = 0;
        for (const int each : co_await ouro::gather(std::move(calls))) sum += each;
        co_await bench::demand(sum == static_cast<int>(children));
    }
    watch.stop();
}

const bench::add_line all[] = {{"gather_1000", 20'000, &bench::on_loop<&gather>}};

}  // namespace
