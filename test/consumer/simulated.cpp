// What a user's first simulated test needs: the installed ouro::testing, and two seeds.
#include <ouro/ouro.hpp>
#include <ouro/testing/explore.hpp>

#include <chrono>
#include <cstdio>

ouro::task<> body() { co_await ouro::sleep(std::chrono::minutes(30)); }

int main() {
    const auto report = ouro::testing::explore(
        {.seed_count = 2, .world = &ouro::testing::simulation_options::calm}, body);
    std::puts(report.figures().c_str());
    return !report.failed && report.virtual_time >= std::chrono::hours(1) ? 0 : 1;
}
