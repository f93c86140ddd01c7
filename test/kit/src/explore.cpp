// Runs a test under many seeds, and makes the first that fails small.
#include <ouro/testing/explore.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string_view>

namespace ouro::testing {
namespace {

using body_of_test = std::function<task<>()>;

/// What OURO_SEED asks for.
struct request {
    std::uint64_t seed = 0;
    std::optional<fault_plan> only;
};

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
    throw std::invalid_argument("OURO_SEED='" + std::string(text) + "': " + why +
                                "; it is a number, or a number and a fault plan: '42 reset@3'");
}

std::optional<request> requested() {
    const char* const given = std::getenv("OURO_SEED");
    if (!given) return std::nullopt;
    const std::string_view text = given;
    const std::size_t space = text.find(' ');
    const std::string_view number = text.substr(0, space);
    request wanted;
    const char* const end = number.data() + number.size();
    const auto read = std::from_chars(number.data(), end, wanted.seed);
    if (read.ec != std::errc{} || read.ptr != end) refuse(text, "the seed is no number");
    if (space == text.npos) return wanted;
    auto plan = parse_fault_plan(text.substr(space + 1));
    if (!plan) refuse(text, plan.error().doing());
    wanted.only = std::move(*plan);
    return wanted;
}

/// `word` as a shell has to be given it.
std::string quoted(const std::string& word) {
    constexpr const char* plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./,:@%";
    if (!word.empty() && word.find_first_not_of(plain) == word.npos) return word;
    std::string text = "'";
    for (const char each : word) text += each == '\'' ? "'\\''" : std::string(1, each);
    return text + "'";
}

std::string setting(std::uint64_t seed, const std::string& plan) {
    return "OURO_SEED='" + std::to_string(seed) + (plan.empty() ? "" : " ") + plan + "'";
}

/// The setting and the command that started this program; without /proc, only the setting.
std::string how_to_repeat(std::uint64_t seed, const std::string& plan) {
    std::string text = setting(seed, plan);
    std::ifstream command("/proc/self/cmdline", std::ios::binary);
    for (std::string word; std::getline(command, word, '\0');) text += " " + quoted(word);
    return text;
}

class explorer {
  public:
    explorer(const exploration& how, const body_of_test& body) : how_(how), body_(body) {}

    exploration_report run() {
        if (const auto wanted = requested()) {
            wanted->only ? try_plan(wanted->seed, *wanted->only) : try_seed(wanted->seed);
            if (wanted->only && !wanted->only->empty() && !report_.failed && !any_struck()) {
                std::fputs("explore: no fault of OURO_SEED struck: the run is another one now\n",
                           stderr);
            }
            return std::move(report_);
        }
        for (std::uint64_t i = 0; i < how_.seed_count && !report_.failed; ++i) {
            try_seed(how_.first_seed + i);
        }
        return std::move(report_);
    }

  private:
    bool any_struck() const {
        return std::any_of(report_.faults.begin(), report_.faults.end(),
                           [](std::uint64_t times) { return times != 0; });
    }
    verdict run_once(std::uint64_t seed, std::optional<fault_plan> only) const {
        simulation_options options = how_.world(seed);
        options.seed = seed;
        if (only) options.only = std::move(only);
        return simulation(options).run([this] { return body_(); });
    }

    void try_seed(std::uint64_t seed) {
        verdict outcome = run_once(seed, std::nullopt);
        count(outcome);
        if (!outcome.passed()) report_.failed = made_small(seed, std::move(outcome));
    }

    void try_plan(std::uint64_t seed, const fault_plan& plan) {
        verdict outcome = run_once(seed, plan);
        count(outcome);
        if (outcome.passed()) return;
        report_.failed = finding{.seed = seed,
                                 .violations = std::move(outcome.violations),
                                 .faults = plan,
                                 .faults_before = plan.size(),
                                 .repeat = how_to_repeat(seed, to_string(plan))};
    }

    finding made_small(std::uint64_t seed, verdict first) const {
        finding found{.seed = seed,
                      .violations = std::move(first.violations),
                      .faults = std::move(first.faults),
                      .faults_before = 0,
                      .repeat = how_to_repeat(seed, {})};
        found.faults_before = found.faults.size();
        unsigned runs_left = how_.shrink_runs;
        const auto fails = [&](const fault_plan& only) {
            if (runs_left == 0) return false;
            --runs_left;
            verdict again = run_once(seed, only);
            if (again.passed()) return false;
            found.violations = std::move(again.violations);
            return true;
        };
        if (!fails(found.faults)) return found;
        found.faults = shrink(found.faults, fails);
        found.repeat = how_to_repeat(seed, to_string(found.faults));
        return found;
    }

    void count(const verdict& outcome) {
        constexpr std::uint64_t odd = 0x9e3779b97f4a7c15;
        ++report_.seeds;
        report_.ops += outcome.ops;
        report_.virtual_time += outcome.virtual_time;
        for (const fault& each : outcome.faults) {
            ++report_.faults[static_cast<std::size_t>(each.kind)];
        }
        report_.trace_hash = (report_.trace_hash ^ outcome.trace_hash) * odd;
    }

    const exploration& how_;
    const body_of_test& body_;
    exploration_report report_;
};

}  // namespace

std::string finding::describe() const {
    std::string text = "seed " + std::to_string(seed) + " fails:";
    for (const std::string& each : violations) text += "\n    " + each;
    text += "\n  with " + std::to_string(faults.size()) + " of " + std::to_string(faults_before) +
            " faults: " + to_string(faults);
    if (repeat.starts_with(setting(seed, {}))) {
        text += "\n  (given just these faults it did not fail: the seed repeats it, not they)";
    }
    return text + "\n  repeat: " + repeat;
}

std::string exploration_report::figures() const {
    char number[32];
    std::snprintf(number, sizeof number, "%.3f", static_cast<double>(virtual_time.count()) / 1e6);
    std::string text = "seeds=" + std::to_string(seeds) + " ops=" + std::to_string(ops) +
                       " virtual_s=" + number + " faults:";
    bool any = false;
    for (std::size_t i = 0; i < faults.size(); ++i) {
        if (faults[i] == 0) continue;
        any = true;
        text += " " + std::string(to_string(static_cast<fault_kind>(i))) + "=" +
                std::to_string(faults[i]);
    }
    std::snprintf(number, sizeof number, "%016llx", static_cast<unsigned long long>(trace_hash));
    return text + (any ? "" : " none") + " trace=" + number;
}

exploration_report explore(const exploration& how, const std::function<task<>()>& body) {
    return explorer(how, body).run();
}

}  // namespace ouro::testing
