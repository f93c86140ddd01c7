// A simulated machine for a loop, and the accounts at the end of a run.
#include <ouro/testing/simulation.hpp>

#include <sys/stat.h>

#include <ouro/runtime/frame_pool.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/testing/accounts.hpp>

#include "engine.hpp"
#include "loop_state.hpp"
#include "sim/sim_engine.hpp"
#include "sim/world.hpp"

namespace ouro::testing {
namespace sim {
namespace {

thread_local simulation* current_simulation = nullptr;

/// The order of chance for tasks that are ready; callbacks keep theirs.
void shuffle_tasks(world& in, ouro::detail::ready_queue& ready) {
    std::vector<ouro::detail::ready_node*> nodes;
    std::vector<std::size_t> places;  // of those that may be moved
    while (auto* node = ready.pop()) {
        if (!ouro::detail::as_scheduled_call(*node)) places.push_back(nodes.size());
        nodes.push_back(node);
    }
    for (std::size_t left = places.size(); left > 1; --left) {
        const std::size_t other = in.luck.draw(purpose::order, 0, left - 1);
        std::swap(nodes[places[left - 1]], nodes[places[other]]);
    }
    for (auto* node : nodes) ready.push(*node);
}

}  // namespace

/// A world that is a rig: what a loop is made with.
class rigged_world final : public world, public ouro::detail::rig {
  public:
    rigged_world(const simulation_options& options, simulation& of) : world(options), owner_(&of) {}
    std::unique_ptr<ouro::detail::engine> make_engine(loop& home,
                                                      const loop_options& options) override {
        OURO_ASSERT(!engine, "a simulation has one loop at a time");
        current_simulation = owner_;
        return sim::make_engine(*this, home, options);
    }
    void turn_begins(loop&, ouro::detail::ready_queue& ready) noexcept override {
        if (settings.shuffle_ready) shuffle_tasks(*this, ready);
    }

  private:
    simulation* owner_;
};

}  // namespace sim

namespace {

using namespace std::chrono_literals;

// Turns that what is left may take to end.
constexpr int most_farewell_turns = 2000;

}  // namespace

// ---- options

simulation_options simulation_options::calm(std::uint64_t seed) {
    simulation_options options;
    options.seed = seed;
    return options;
}

simulation_options simulation_options::hostile(std::uint64_t seed) {
    simulation_options options;
    options.seed = seed;
    std::uint64_t state = sim::scramble(seed ^ 0x5eed);
    const auto draw = [&state] { return (state = sim::scramble(state + 0x9e3779b97f4a7c15)); };
    struct range {
        fault_kind kind;
        double most;
    };
    using enum fault_kind;
    constexpr range ranges[] = {
        {short_receive, 0.5},   {short_send, 0.5},    {ring_exhausted, 0.1}, {multishot_ends, 0.2},
        {late_completion, 0.3}, {cancel_misses, 0.5}, {accept_fails, 0.1},   {no_descriptor, 0.02},
        {delay, 0.05},          {loss, 0.05},         {duplicate, 0.1},      {reorder, 0.1},
        {partition, 0.002},     {clog, 0.01},         {reset, 0.01},         {refuse, 0.1},
        {no_name, 0.2},         {slow_name, 0.2},
    };
    for (const range& each : ranges) {
        const bool on = draw() % 2;
        const double part = static_cast<double>(draw() % 1000) / 1000;
        options.rate(each.kind) = on ? each.most * part : 0;
    }
    options.least_buffer_bytes = std::size_t{1} << (draw() % 8);
    options.most_buffer_bytes = options.least_buffer_bytes << (draw() % 10);
    options.most_delay = std::chrono::microseconds(20 + draw() % 50'000);
    options.small_rings = draw() % 2;
    options.shuffle_ready = draw() % 2;
    return options;
}

// ---- the simulation

simulation::simulation(simulation_options options)
    : world_(std::make_unique<sim::rigged_world>(options, *this)) {}
simulation::~simulation() {
    if (sim::current_simulation == this) sim::current_simulation = nullptr;
}

loop_options simulation::options(loop_options base) {
    base.rig = static_cast<sim::rigged_world*>(world_.get());
    if (world_->settings.small_rings) {
        const auto draw = [this](std::uint64_t least, std::uint64_t most) {
            return static_cast<unsigned>(world_->luck.draw(sim::purpose::size, least, most));
        };
        base.sq_entries = draw(2, 64);
        base.cq_entries = draw(4, 128);
        base.ring_buffer_count = draw(1, 16);
        base.ring_buffer_bytes = draw(1, 16) * 1024;
    }
    return base;
}

simulation* simulation::try_current() noexcept {
    simulation* const here = sim::current_simulation;
    const bool runs = here && here->world_->engine && loop::try_current();
    return runs ? here : nullptr;
}
simulation& simulation::current() noexcept {
    simulation* const here = try_current();
    OURO_ASSERT(here, "no simulated loop runs in this thread");
    return *here;
}

verdict simulation::run(function<task<>()> body) {
    verdict found;
    const auto wrong = [&](std::string what) { found.violations.push_back(std::move(what)); };
    const auto began = world_->now();
    const long frames_before = ouro::detail::frame_pool::live();
    {
        loop home(options());
        home.set_exception_handler([&](loop&, const failure_report& report) {
            if (report.level == severity::warning || !found.violations.empty()) return;
            if (world_->expected_reports && world_->expected_reports(report)) return;
            wrong("nobody expected: " + report.describe());
        });
        auto limit = home.call_later(world_->settings.limit, [&] {
            wrong("it hangs: it did not end within " +
                  std::to_string(world_->settings.limit.count()) + " s of virtual time");
            home.stop();
        });
        try {
            auto outcome = home.run_until_complete(body());
            if (world_->spinning) wrong("it spins: the loop never waits");
            if (world_->stuck) wrong("it hangs: nothing can happen any more");
            if (!outcome && found.violations.empty()) wrong(outcome.error().describe());
        } catch (const std::exception& thrown) {
            wrong(std::string("an exception: ") + thrown.what());
        } catch (...) {
            wrong("an exception that is none of std::exception");
        }
        limit.cancel();
        world_->heal();
        if (found.violations.empty()) {
            (void)home.run_until_complete(farewell(home, 10ms, most_farewell_turns));
            const std::string left = home.counters().describe();
            if (!left.empty()) wrong("left behind: " + left);
        }
        for (std::string& each : world_->violations) wrong(std::move(each));
        home.close();
        if (const std::string left = home.counters().describe(); !left.empty()) {
            wrong("left behind by the closed loop: " + left);
        }
    }
    if (world_->open_descriptors()) {
        wrong(std::to_string(world_->open_descriptors()) + " descriptors are still open");
    }
    if (const auto left = world_->processes.uncollected()) {
        wrong(std::to_string(left) + " child processes were not waited for");
    }
    if (world_->bad_closes) wrong("a descriptor was closed that was not open");
    if (const long left = ouro::detail::frame_pool::live() - frames_before) {
        wrong(std::to_string(left) + " pooled blocks (frames, chunks) were not given back");
    }
    found.faults = world_->luck.struck();
    found.trace_hash = world_->trace_hash();
    found.ops = world_->ops;
    found.virtual_time =
        std::chrono::duration_cast<std::chrono::microseconds>(world_->now() - began);
    return found;
}

void simulation::set_delay(std::string_view host, std::string_view other,
                           std::chrono::microseconds least, std::chrono::microseconds most) {
    world_->set_delay(std::string(host), std::string(other), least, most);
}
void simulation::cut(std::string_view host, std::string_view other) {
    world_->cut(std::string(host), std::string(other));
}
void simulation::mend(std::string_view host, std::string_view other) {
    world_->mend(std::string(host), std::string(other));
}
void simulation::heal() { world_->heal(); }
void simulation::set_name(std::string name, std::vector<std::string> addresses) {
    world_->set_name(std::move(name), std::move(addresses));
}
void simulation::crash(std::string_view host) { world_->crash(std::string(host)); }
void simulation::raise(int signum) { world_->raise(signum); }
bool simulation::make_file(std::string_view path) {
    return world_->make_file(std::string(path), S_IFREG | 0644) == 0;
}
void simulation::set_program(std::string path, std::string_view script) {
    world_->processes.set_program(std::move(path), script);
}
void simulation::reap(int pid) { world_->processes.reap(pid); }
void simulation::violate(std::string what) { world_->violations.push_back(std::move(what)); }
void simulation::expect_reports(function<bool(const failure_report&)> expected) {
    world_->expected_reports = std::move(expected);
}
std::chrono::microseconds simulation::elapsed() const noexcept { return world_->elapsed(); }
std::uint64_t simulation::draw() noexcept { return world_->luck.draw(sim::purpose::user); }
std::uint64_t simulation::draw(std::uint64_t least, std::uint64_t most) noexcept {
    return world_->luck.draw(sim::purpose::user, least, most);
}
const fault_plan& simulation::faults() const noexcept { return world_->luck.struck(); }
std::uint64_t simulation::trace_hash() const noexcept { return world_->trace_hash(); }
std::size_t simulation::open_descriptors() const noexcept { return world_->open_descriptors(); }
simulation::readable simulation::peek(int fd) const noexcept {
    const auto at = world_->find(fd);
    if (!at) return {};
    return {at->inbox.size(), at->inbox.empty() && (at->ended_by_peer || at->shut_read)};
}

}  // namespace ouro::testing
