// What the C++ programs of the runtime benchmark share: lines with a name, and two ways to run one.
#pragma once

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string_view>
#include <vector>

namespace bench {

/// Measures the part of a line that counts: processor time of the whole process, so that strangers
/// on the machine disturb little and helper threads are not forgotten.
class stopwatch {
  public:
    void start() noexcept { began_ = now(); }
    void stop() noexcept { seconds_ = now() - began_; }
    double seconds() const noexcept { return seconds_; }

  private:
    // Not inlined, so that the loop that is measured keeps the registers.
    [[gnu::noinline]] static double now() noexcept {
        timespec t;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
    }
    double began_ = 0;
    double seconds_ = 0;
};

/// One question of the benchmark: does its thing `count` times between start and stop.
struct line {
    const char* name;
    std::size_t batch;  // how often for one timed iteration; takes a few milliseconds
    void (*run)(std::size_t count, stopwatch& watch);
};

/// The batch of a line with several threads. The kernel adds what a thread that goes on running has
/// used at its ticks, so this takes much longer than a few of them.
inline constexpr std::size_t long_batch = 200'000;

inline std::vector<line>& lines() {
    static std::vector<line> all;
    return all;
}

/// Puts a line on the list before main begins.
struct add_line {
    add_line(const char* name, std::size_t batch, void (*run)(std::size_t, stopwatch&)) {
        lines().push_back({name, batch, run});
    }
};

inline void time_line(benchmark::State& state, const line& timed) {
    for (auto _ : state) {
        stopwatch watch;
        timed.run(timed.batch, watch);
        state.SetIterationTime(watch.seconds());
    }
    state.counters["batch"] = static_cast<double>(timed.batch);
}

/// `--list`: the names. `--count LINE N`: the line N times and no more, for callgrind and
/// alloc_count. Else Google Benchmark and its options.
inline int main_of_lines(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--list") {
        for (const line& each : lines()) std::puts(each.name);
        return 0;
    }
    if (argc == 4 && std::string_view(argv[1]) == "--count") {
        for (const line& each : lines()) {
            if (each.name != std::string_view(argv[2])) continue;
            stopwatch watch;
            each.run(std::strtoul(argv[3], nullptr, 10), watch);
            return 0;
        }
        std::fprintf(stderr, "no such line: %s\n", argv[2]);
        return 2;
    }
    for (const line& each : lines()) {
        benchmark::RegisterBenchmark(each.name, [&each](benchmark::State& state) {
            time_line(state, each);
        })->UseManualTime();
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    return 0;
}

}  // namespace bench
