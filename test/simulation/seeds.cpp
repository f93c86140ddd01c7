// Many seeds of the scenario:
//
//     sim_seeds [--seeds N] [--first S] [--tasks N] [--minutes M] [--hashes] [--strict-ends]
//
// Every eighth world is a healthy one, in which nothing may fail; the others are hostile. Exits 1
// on a finding, which is printed with the command that repeats it, and also when some kind of
// fault never struck although there were many seeds.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include <ouro/testing/explore.hpp>

#include "scenario.hpp"

namespace {

using ouro::testing::exploration;
using ouro::testing::exploration_report;
using ouro::testing::fault_kind;
using ouro::testing::simulation_options;
using real_clock = std::chrono::steady_clock;

constexpr std::uint64_t healthy_every = 8;
// From so many seeds on every kind of fault must have struck.
constexpr std::uint64_t seeds_for_all_faults = 500;
constexpr std::uint64_t seeds_at_once = 50;
constexpr auto progress_every = std::chrono::seconds(15);

struct request {
    std::uint64_t seeds = 1000;
    std::uint64_t first = 1;
    std::uint64_t tasks = 0;
    std::uint64_t minutes = 0;
    bool hashes = false;
    bool strict_ends = false;
};

[[noreturn]] void explain(const char* what) {
    std::fprintf(stderr,
                 "sim_seeds: %s\nusage: sim_seeds [--seeds N] [--first S] [--tasks N] "
                 "[--minutes M] [--hashes] [--strict-ends]\n",
                 what);
    std::exit(2);
}

request read_arguments(int count, char** arguments) {
    request wanted;
    for (int i = 1; i < count; ++i) {
        const std::string_view name = arguments[i];
        if (name == "--hashes") {
            wanted.hashes = true;
            continue;
        }
        if (name == "--strict-ends") {
            wanted.strict_ends = true;
            continue;
        }
        std::uint64_t* const into = name == "--seeds"     ? &wanted.seeds
                                    : name == "--first"   ? &wanted.first
                                    : name == "--tasks"   ? &wanted.tasks
                                    : name == "--minutes" ? &wanted.minutes
                                                          : nullptr;
        if (!into || ++i == count) explain("an unknown option, or one without its number");
        const std::string_view text = arguments[i];
        const auto read = std::from_chars(text.data(), text.data() + text.size(), *into);
        if (read.ec != std::errc() || read.ptr != text.data() + text.size()) {
            explain("that is no number");
        }
    }
    return wanted;
}

bool healthy(std::uint64_t seed) { return seed % healthy_every == 0; }

simulation_options world_of(std::uint64_t seed) {
    if (healthy(seed)) return simulation_options::calm(seed);
    simulation_options options = simulation_options::hostile(seed);
    if (seed % healthy_every == 1) options.descriptor_limit = 20 + seed / healthy_every % 40;
    return options;
}

/// With socket buffers of a few bytes every byte is a segment: then less is said.
std::uint64_t most_bytes_in(const simulation_options& world) {
    return std::min<std::uint64_t>(200 + 100 * world.least_buffer_bytes, 60'000);
}

class search {
  public:
    explicit search(const request& wanted) : wanted_(wanted), began_(real_clock::now()) {}

    int run() {
        std::uint64_t next = wanted_.first;
        const std::uint64_t at_once = wanted_.hashes ? 1 : seeds_at_once;
        while (!over(next) && !total_.failed) {
            const auto left = wanted_.minutes ? at_once : wanted_.first + wanted_.seeds - next;
            add(try_seeds(next, std::min(at_once, left)));
            next += at_once;
            if (std::getenv("OURO_SEED")) break;
        }
        if (total_.failed) std::printf("%s\n", total_.failed->describe().c_str());
        print_figures();
        return total_.failed || a_fault_is_missing() ? 1 : 0;
    }

  private:
    bool over(std::uint64_t next) const {
        if (wanted_.minutes == 0) return next >= wanted_.first + wanted_.seeds;
        return real_clock::now() - began_ >= std::chrono::minutes(wanted_.minutes);
    }

    exploration_report try_seeds(std::uint64_t first, std::uint64_t count) const {
        ouro::simulated::scenario_options how;
        how.tasks = static_cast<unsigned>(wanted_.tasks);
        how.strict_ends = wanted_.strict_ends;
        exploration plan;
        plan.first_seed = first;
        plan.seed_count = count;
        plan.world = [&how](std::uint64_t seed) {
            const simulation_options world = world_of(seed);
            how.strict = healthy(seed);
            how.most_bytes = most_bytes_in(world);
            return world;
        };
        return ouro::testing::explore(plan, [&how] { return ouro::simulated::run_scenario(how); });
    }

    void add(exploration_report found) {
        constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
        if (wanted_.hashes) {
            std::printf("%llu %016llx\n",
                        static_cast<unsigned long long>(wanted_.first + total_.seeds),
                        static_cast<unsigned long long>(found.trace_hash));
        }
        total_.seeds += found.seeds;
        total_.ops += found.ops;
        total_.virtual_time += found.virtual_time;
        for (std::size_t i = 0; i < found.faults.size(); ++i) total_.faults[i] += found.faults[i];
        total_.trace_hash = (total_.trace_hash ^ found.trace_hash) * odd;
        total_.failed = std::move(found.failed);
        if (real_clock::now() - told_ < progress_every || wanted_.hashes) return;
        told_ = real_clock::now();
        std::fprintf(stderr, "simulation: %llu seeds so far, %.0f a minute\n",
                     static_cast<unsigned long long>(total_.seeds), seeds_per_minute());
    }

    double seeds_per_minute() const {
        const std::chrono::duration<double> took = real_clock::now() - began_;
        return static_cast<double>(total_.seeds) * 60 / took.count();
    }

    void print_figures() const {
        std::uint64_t stuck = 0, violations = 0;
        if (total_.failed) {
            for (const std::string& each : total_.failed->violations) {
                const bool hangs = each.find("hangs") != each.npos ||
                                   each.find("does not come to an end") != each.npos;
                ++(hangs ? stuck : violations);
            }
        }
        const std::string figures = total_.figures();
        const std::size_t faults = figures.find("faults:");
        const std::size_t trace = figures.find(" trace=");
        std::printf("simulation: %sseeds_per_min=%.0f %s stuck=%llu violations=%llu%s\n",
                    figures.substr(0, faults).c_str(), seeds_per_minute(),
                    figures.substr(faults, trace - faults).c_str(),
                    static_cast<unsigned long long>(stuck),
                    static_cast<unsigned long long>(violations), figures.substr(trace).c_str());
    }

    /// Every kind that belongs to the simulation must strike, or it was not tested.
    bool a_fault_is_missing() const {
        if (total_.seeds < seeds_for_all_faults) return false;
        bool missing = false;
        for (std::size_t i = 0; i < total_.faults.size(); ++i) {
            const auto kind = static_cast<fault_kind>(i);
            const bool elsewhere = kind == fault_kind::op_fails || kind == fault_kind::op_short ||
                                   kind == fault_kind::op_waits ||
                                   kind == fault_kind::allocation_fails;
            if (elsewhere || total_.faults[i]) continue;
            missing = true;
            std::printf("simulation: no %s struck in all these seeds\n",
                        std::string(to_string(kind)).c_str());
        }
        return missing;
    }

    const request wanted_;
    const real_clock::time_point began_;
    real_clock::time_point told_ = real_clock::now();
    exploration_report total_;
};

}  // namespace

int main(int count, char** arguments) try {
    return search(read_arguments(count, arguments)).run();
} catch (const std::invalid_argument& unreadable) {  // OURO_SEED
    std::fprintf(stderr, "sim_seeds: %s\n", unreadable.what());
    return 2;
}
