// The suite under torture: fail the Nth operation, fail the Nth allocation, cancel at the Nth
// suspension, stop at the Nth turn, and I/O in crumbs throughout.
//
// The first run of a test counts the occasions, every further one acts at one of them. What a test
// asserts does not hold then and is not looked at; what must hold is that nothing crashes, that the
// loop can be closed, and that nothing is left once it is.
#include "torture.hpp"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/frame_pool.hpp>
#include <ouro/testing/allocation_faults.hpp>
#include <ouro/testing/injection.hpp>

#include "async_test.hpp"
#include "loop_state.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using testing::fault;
using testing::fault_kind;

constexpr const char* usage =
    R"(torture MODE [options]: every test again, with one thing going wrong in each run

  ops        the Nth call of the door fails, with every errno the kernel may give there
  crumbs     every receive gives one byte, every send takes few; the Nth operation waits
  alloc      the Nth allocation fails (on the real ring)
  cancel     the task that suspends for the Nth time is cancelled: before the kernel has its
             operation, while it has it, as it completes, twice
  stop       the loop is stopped and closed at the Nth turn

  --most N   at most so many runs of each test, spread over all that it has
  --only S   only tests whose name contains S
  --at K     only run number K of each test (what a report names)
  --list     print each test with its number of runs, and the runs that waited for ever
)";

struct settings {
    std::string mode;
    std::string only;
    std::uint64_t most = 0;  // 0: all
    std::uint64_t at = 0;
    bool list = false;
};

// ---- what acts in a run

/// Sits on top of the simulation's rig and acts at one occasion.
class hook : public detail::rig {
  public:
    explicit hook(loop_options base) : inner_(base.rig), base_(base) {}
    loop_options options() {
        base_.rig = this;
        return base_;
    }
    std::unique_ptr<detail::engine> make_engine(loop& home, const loop_options& options) override {
        home_ = &home;
        loop_options below = options;
        below.rig = inner_;
        return detail::make_engine(home, below);
    }
    void turn_begins(loop& home, detail::ready_queue& ready) noexcept override {
        if (inner_) inner_->turn_begins(home, ready);
        on_turn();
    }
    void suspended(detail::task_core& task) noexcept override {
        if (inner_) inner_->suspended(task);
        on_suspended(task);
    }
    virtual ~hook() = default;
    std::uint64_t seen = 0;  // occasions

  protected:
    virtual void on_turn() noexcept {}
    virtual void on_suspended(detail::task_core&) noexcept {}
    loop& home() noexcept { return *home_; }

  private:
    detail::rig* inner_;
    loop_options base_;
    loop* home_ = nullptr;
};

/// Stops the loop at a turn.
class stopper final : public hook {
  public:
    stopper(loop_options base, std::uint64_t at) : hook(base), at_(at) {}

  private:
    void on_turn() noexcept override {
        if (++seen == at_) home().stop();
    }
    std::uint64_t at_;
};

/// Cancels the task that suspends for the Nth time of all suspensions.
class canceller final : public hook {
  public:
    /// When it is cancelled: at once, so many turns later, or both.
    enum class manner : std::uint8_t { at_once, next_turn, after_next_turn, twice };
    static constexpr std::uint64_t manner_count = 4;

    canceller(loop_options base, std::uint64_t at, manner how) : hook(base), at_(at), how_(how) {}
    /// Lets go of the task, so that it can be gone when the accounts are made.
    void drop() noexcept {
        if (auto* task = std::exchange(marked_, nullptr)) task->release();
    }

  private:
    void on_suspended(detail::task_core& task) noexcept override {
        if (++seen != at_) return;
        if (how_ == manner::at_once || how_ == manner::twice) (void)task.cancel(cancel_cause::user);
        if (how_ == manner::at_once) return;
        turns_left_ = how_ == manner::after_next_turn ? 2 : 1;
        task.retain();
        marked_ = &task;
    }
    void on_turn() noexcept override {
        if (!marked_ || --turns_left_ > 0) return;
        if (!marked_->done()) (void)marked_->cancel(cancel_cause::user);
        drop();
    }
    std::uint64_t at_;
    manner how_;
    detail::task_core* marked_ = nullptr;
    int turns_left_ = 0;
};

// ---- one run

/// What one run came to.
struct outcome {
    std::vector<std::string> violations;
    bool waited_for_ever = false;  // the body never ended; the loop had to be stopped
    bool cut_short = false;        // it took more turns than `most_turns`
};

// A run is stopped after so many turns: with a byte in each, a test of megabytes has no end.
constexpr std::uint64_t most_turns = 3000;

constexpr auto patience = 60s;         // of virtual time
constexpr auto real_patience = 200ms;  // of time on the real ring

/// What goes on around a run.
struct surroundings {
    std::function<void()> before_body = [] {};
    std::function<void()> after_body = [] {};
    std::function<void()> before_accounts = [] {};
    clock::duration patience = test::patience;
};

outcome run_once(const loop_options& options, task<> (*body)(), const surroundings& around = {}) {
    outcome found;
    const long frames_before = detail::frame_pool::live();
    {
        stopper limit(options, most_turns);
        loop home(limit.options());
        home.set_exception_handler([](loop&, const failure_report&) {});
        auto watchdog = home.call_later(around.patience, [&] {
            found.waited_for_ever = true;
            home.stop();
        });
        around.before_body();
        try {
            (void)home.run_until_complete(body());
        } catch (...) {
            // What the test threw, or an assertion of it that is required.
        }
        around.after_body();
        found.cut_short = limit.seen >= most_turns;
        watchdog.cancel();
        home.close();
        if (const std::string left = home.counters().describe(); !left.empty()) {
            found.violations.push_back("left " + left);
        }
    }
    (void)take_reports();
    around.before_accounts();
    if (const long left = detail::frame_pool::live() - frames_before) {
        found.violations.push_back("left " + std::to_string(left) + " pooled blocks");
    }
    return found;
}

outcome run_simulated(const std::function<outcome(const loop_options&)>& with) {
    testing::simulation world(loopback(1));
    outcome found = with(world.options(options_for(engine::sim)));
    if (const auto open = world.open_descriptors()) {
        found.violations.push_back("left " + std::to_string(open) + " open descriptors");
    }
    return found;
}

// ---- the modes: how many runs a test has, and what run number k is

class mode {
  public:
    virtual ~mode() = default;
    /// How many runs `body` has. `undisturbed` is what the run that counts came to.
    virtual std::uint64_t count(task<> (*body)(), outcome& undisturbed) = 0;
    virtual outcome run_at(task<> (*body)(), std::uint64_t k) = 0;
    /// How many faults struck, or how often it acted.
    std::uint64_t struck() const noexcept { return struck_; }

  protected:
    std::uint64_t struck_ = 0;
};

/// Call number N fails with each errno, once and from then on.
class fail_ops final : public mode {
  public:
    std::uint64_t count(task<> (*body)(), outcome& undisturbed) override {
        plans_.clear();
        testing::injection all_well;
        undisturbed = run_simulated(
            [&](const loop_options& base) { return run_once(all_well.options(base), body); });
        std::uint64_t number = 0;
        for (const testing::door_call call : all_well.seen()) {
            ++number;
            for (const int failure : testing::legal_errors(call)) {
                for (const bool sticky : {false, true}) {
                    plans_.push_back({fault_kind::op_fails, number, failure, sticky});
                }
            }
        }
        return plans_.size();
    }
    outcome run_at(task<> (*body)(), std::uint64_t k) override {
        testing::injection faulty({.plan = {plans_[k - 1]}});
        auto found = run_simulated(
            [&](const loop_options& base) { return run_once(faulty.options(base), body); });
        struck_ += faulty.struck();
        return found;
    }

  private:
    testing::fault_plan plans_;
};

/// One byte at a time, and one operation that comes late.
class crumbs final : public mode {
  public:
    std::uint64_t count(task<> (*body)(), outcome& undisturbed) override {
        testing::injection all_well({.hostile_io = true});
        undisturbed = run_simulated(
            [&](const loop_options& base) { return run_once(all_well.options(base), body); });
        return all_well.seen().size();
    }
    outcome run_at(task<> (*body)(), std::uint64_t k) override {
        const auto turns = static_cast<std::int64_t>(1 + k % 5);
        testing::injection faulty(
            {.plan = {{fault_kind::op_waits, k, turns, false}}, .hostile_io = true});
        auto found = run_simulated(
            [&](const loop_options& base) { return run_once(faulty.options(base), body); });
        struck_ += faulty.struck();
        return found;
    }
};

/// Allocation number N fails, once and from then on. On the real ring, whose allocations count too.
class fail_allocations final : public mode {
  public:
    std::uint64_t count(task<> (*body)(), outcome& undisturbed) override {
        return 2 * with_faults(body, 0, false, undisturbed);
    }
    outcome run_at(task<> (*body)(), std::uint64_t k) override {
        outcome found;
        with_faults(body, (k + 1) / 2, k % 2 == 0, found);
        // What is made once in a process may have been made just now: that is not left again.
        if (left_ > 0 && found.violations.empty()) {
            with_faults(body, (k + 1) / 2, k % 2 == 0, found);
        }
        if (left_ > 0) found.violations.push_back("left " + std::to_string(left_) + " heap blocks");
        return found;
    }

  private:
    std::uint64_t with_faults(task<> (*body)(), std::uint64_t at, bool sticky, outcome& found) {
        using testing::allocation_faults;
        const auto blocks_before = allocation_faults::live_blocks();
        std::uint64_t allocations = 0;
        found = run_once(options_for(engine::uring), body,
                         {.before_body = [&] { allocation_faults::arm(at, sticky); },
                          .after_body =
                              [&] {
                                  struck_ += allocation_faults::struck();
                                  allocations = allocation_faults::disarm();
                              },
                          .patience = real_patience});
        // The thread of a name look-up may still hold its record.
        const auto left = [&] { return allocation_faults::live_blocks() - blocks_before; };
        for (int wait = 0; left() > 0 && at && wait < 5000; ++wait) ::usleep(1000);
        left_ = left();
        return allocations;
    }
    std::int64_t left_ = 0;  // blocks of the heap, by the last run
};

class cancel_tasks final : public mode {
  public:
    std::uint64_t count(task<> (*body)(), outcome& undisturbed) override {
        std::uint64_t suspensions = 0;
        undisturbed = run_simulated([&](const loop_options& base) {
            canceller never(base, 0, canceller::manner::at_once);
            auto found = run_once(never.options(), body);
            suspensions = never.seen;
            return found;
        });
        return suspensions * canceller::manner_count;
    }
    outcome run_at(task<> (*body)(), std::uint64_t k) override {
        const auto how = static_cast<canceller::manner>((k - 1) % canceller::manner_count);
        return run_simulated([&](const loop_options& base) {
            ++struck_;
            canceller hooked(base, (k - 1) / canceller::manner_count + 1, how);
            return run_once(hooked.options(), body, {.before_accounts = [&] { hooked.drop(); }});
        });
    }
};

class stop_loops final : public mode {
  public:
    std::uint64_t count(task<> (*body)(), outcome& undisturbed) override {
        std::uint64_t turns = 0;
        undisturbed = run_simulated([&](const loop_options& base) {
            stopper never(base, 0);
            auto found = run_once(never.options(), body);
            turns = never.seen;
            return found;
        });
        return turns;
    }
    outcome run_at(task<> (*body)(), std::uint64_t k) override {
        return run_simulated([&](const loop_options& base) {
            ++struck_;
            stopper hooked(base, k);
            return run_once(hooked.options(), body);
        });
    }
};

std::unique_ptr<mode> make_mode(std::string_view name) {
    if (name == "ops") return std::make_unique<fail_ops>();
    if (name == "crumbs") return std::make_unique<crumbs>();
    if (name == "alloc") return std::make_unique<fail_allocations>();
    if (name == "cancel") return std::make_unique<cancel_tasks>();
    if (name == "stop") return std::make_unique<stop_loops>();
    return nullptr;
}

// ---- the driver

std::optional<settings> parse(std::span<char*> arguments) {
    settings wanted;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view word = arguments[i];
        const bool has_value = i + 1 < arguments.size();
        if (word == "--list") {
            wanted.list = true;
        } else if (word == "--most" && has_value) {
            wanted.most = std::strtoull(arguments[++i], nullptr, 10);
        } else if (word == "--at" && has_value) {
            wanted.at = std::strtoull(arguments[++i], nullptr, 10);
        } else if (word == "--only" && has_value) {
            wanted.only = arguments[++i];
        } else if (wanted.mode.empty() && !word.starts_with("-")) {
            wanted.mode = word;
        } else {
            return {};
        }
    }
    return wanted;
}

/// What all runs came to; a child process adds to it in shared memory.
struct totals {
    std::uint64_t tests, runs, waited, violations, deaths, struck;
    std::uint64_t untortured;
    std::uint64_t cut_short;  // tests that take more turns than are run
    std::uint64_t thinned;    // tests whose runs take so long that there were fewer
    std::uint64_t stride;     // of the test under way: from one run to the next
    std::uint64_t running;    // the number of the run under way,
    std::uint64_t next;       // and of the one after it
};

// What one run may take on average when there is a `--most`; a slow test gets fewer runs.
constexpr auto usual_time = 15ms;
constexpr std::uint64_t fewest_runs = 3;
// A run that takes longer than this hangs, in the library or in the test.
constexpr unsigned run_seconds = 60;

/// Says `what` became of run number `k`, and how to see it again.
void tell(const settings& wanted, const char* program, const async_test& test, std::uint64_t k,
          const std::string& what) {
    std::printf("torture %s: %s: %s\n  repeat: %s torture %s --only %s --at %lu\n",
                wanted.mode.c_str(), test.name, what.c_str(), program, wanted.mode.c_str(),
                test.name, static_cast<unsigned long>(k));
}

/// Settles which of the `runs` of a test are done, from the time that one takes.
void choose_runs(const async_test& test, const settings& wanted, std::uint64_t runs,
                 const outcome& undisturbed, clock::duration took, totals& all) {
    const char* const mode = wanted.mode.c_str();
    if (wanted.list) std::printf("%-80s %8lu runs\n", test.name, static_cast<unsigned long>(runs));
    if (undisturbed.cut_short) {
        ++all.cut_short;
        std::printf("torture %s: %s: cut short after %lu turns\n", mode, test.name,
                    static_cast<unsigned long>(most_turns));
    }
    std::uint64_t most = wanted.most ? wanted.most : runs;
    if (wanted.most && runs > fewest_runs && took > usual_time) {
        const auto affordable = static_cast<std::uint64_t>(most * usual_time / took);
        const auto fewer = std::max(affordable, fewest_runs);
        if (fewer < std::min(runs, most)) {
            ++all.thinned;
            std::printf("torture %s: %s: %lu runs only, each takes %ld ms\n", mode, test.name,
                        static_cast<unsigned long>(fewer), static_cast<long>(took / 1ms));
            most = fewer;
        }
    }
    all.stride = runs > most ? (runs + most - 1) / most : 1;
}

/// Runs number `first` and the ones after it, in a process of their own. 0: from the beginning.
void run_from(mode& how, const async_test& test, const settings& wanted, const char* program,
              std::uint64_t first, totals& all) {
    ::alarm(run_seconds);
    outcome undisturbed;
    const auto began = clock::now();
    const std::uint64_t runs = how.count(test.body, undisturbed);
    if (first == 0) {
        choose_runs(test, wanted, runs, undisturbed, clock::now() - began, all);
        first = wanted.at ? wanted.at : 1 + all.tests % all.stride;
    }
    for (std::uint64_t k = first; k <= runs; k += all.stride) {
        all.running = k;
        all.next = k + all.stride;
        ::alarm(run_seconds);
        const outcome found = how.run_at(test.body, k);
        ++all.runs;
        if (found.waited_for_ever) {
            ++all.waited;
            if (wanted.list || wanted.at) tell(wanted, program, test, k, "waits for ever");
        }
        for (const std::string& each : found.violations) {
            ++all.violations;
            tell(wanted, program, test, k, each);
        }
        if (wanted.at) break;
    }
    all.struck += how.struck();
}

/// Connections that were closed keep their ports for a minute, and there are 28,000: waits until
/// enough are free again, for the tests that run beside this one as well.
void wait_for_ports() {
    constexpr long most_in_use = 14'000;
    static int naps_left = 3000;  // five minutes in all; others may use them too
    for (; naps_left > 0; --naps_left) {
        std::ifstream sockets("/proc/net/sockstat");
        std::string word;
        long closed = 0;
        while (sockets >> word && word != "tw") continue;
        if (!(sockets >> closed) || closed < most_in_use) return;
        ::usleep(100'000);
    }
}

/// All runs of one test, each batch of them until one kills its process.
void torture_one(mode& how, const async_test& test, const settings& wanted, const char* program,
                 totals& all) {
    ++all.tests;
    for (std::uint64_t first = 0;;) {
        all.running = 0;
        std::fflush(stdout);
        const pid_t child = ::fork();
        if (child == 0) {
            run_from(how, test, wanted, program, first, all);
            std::fflush(stdout);
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
        ++all.deaths;
        const char* const cause = WIFSIGNALED(status) ? ::strsignal(WTERMSIG(status)) : "an exit";
        tell(wanted, program, test, all.running, std::string("the process died of: ") + cause);
        if (all.running == 0 || wanted.at) return;
        first = all.next;
    }
}

int drive(const settings& wanted, const char* program) {
    const auto how = make_mode(wanted.mode);
    void* const shared =
        ::mmap(nullptr, sizeof(totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 2;
    totals& all = *new (shared) totals{};
    for (const async_test& test : all_async_tests()) {
        if (test.kernel_only) continue;
        if (std::string_view(test.name).find(wanted.only) == std::string_view::npos) continue;
        if (test.not_tortured) {
            if (wanted.list) std::printf("%-80s not: %s\n", test.name, test.not_tortured);
            ++all.untortured;
            continue;
        }
        if (wanted.mode == "alloc") wait_for_ports();  // only there connections are real
        torture_one(*how, test, wanted, program, all);
    }
    std::printf("torture %s: tests=%lu runs=%lu struck=%lu waiting_for_ever=%lu violations=%lu "
                "deaths=%lu cut_short=%lu fewer_runs=%lu not_tortured=%lu\n",
                wanted.mode.c_str(), all.tests, all.runs, all.struck, all.waited, all.violations,
                all.deaths, all.cut_short, all.thinned, all.untortured);
    return all.violations || all.deaths || all.runs == 0 ? 1 : 0;
}

}  // namespace

int torture(std::span<char*> arguments) {
    const auto wanted = parse(arguments.subspan(1));
    if (!wanted || !make_mode(wanted->mode)) {
        std::fputs(usage, stderr);
        return 2;
    }
    // What tests assert needs a running test case; what it comes to is not looked at.
    int code = 1;
    static std::function<void()> work;
    work = [&] { code = drive(*wanted, arguments[0]); };
    char quiet[] = "--log_level=nothing", no_report[] = "--report_level=no",
         only[] = "--run_test=torture", no_signals[] = "--catch_system_errors=no",
         no_result[] = "--result_code=no";
    char* boost_arguments[] = {arguments[0], only, quiet, no_report, no_signals, no_result};
    boost::unit_test::unit_test_main(
        [] {
            auto& suite = boost::unit_test::framework::master_test_suite();
            suite.add(
                boost::unit_test::make_test_case([] { work(); }, "torture", __FILE__, __LINE__));
            return true;
        },
        static_cast<int>(std::size(boost_arguments)), boost_arguments);
    return code;
}

}  // namespace ouro::test
