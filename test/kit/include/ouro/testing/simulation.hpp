// A simulated machine and network for a loop: virtual time, seeded faults, the same run for the
// same seed.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/testing/fault.hpp>

namespace ouro::testing {

/// How a simulation is made. Everything that is not fixed here follows from the seed.
struct simulation_options {
    /// Same seed, same run, in any process.
    std::uint64_t seed = 1;
    /// How likely each kind of fault is at each of its occasions, 0 to 1; by `fault_kind`.
    std::array<double, fault_kind_count> rates{};
    /// When set, exactly these faults strike, whatever the rates say.
    std::optional<fault_plan> only = std::nullopt;
    /// The time a segment takes between two hosts, from the shortest to the longest.
    std::chrono::microseconds least_delay{20};
    std::chrono::microseconds most_delay{200};
    /// What the socket buffers of one end hold, unless the program sets them. Equal numbers for a
    /// fixed size.
    std::size_t least_buffer_bytes = 128 * 1024;
    std::size_t most_buffer_bytes = 128 * 1024;
    /// Whether the rings and the shared receive buffers are few and small, in numbers drawn from
    /// the seed.
    bool small_rings = false;
    /// Descriptors that can be open at a time.
    std::size_t descriptor_limit = 4096;
    /// Whether tasks that are ready in one turn run in an order drawn from the seed. Callbacks
    /// keep theirs (rules 1-3).
    bool shuffle_ready = false;
    /// Whether completions of one turn come in an order drawn from the seed.
    bool shuffle_completions = true;
    /// A run that takes longer, in virtual time, is stopped as hanging.
    std::chrono::seconds limit{3600};

    /// The rate of one kind.
    double& rate(fault_kind kind) noexcept { return rates[static_cast<std::size_t>(kind)]; }

    /// A network and a kernel that do their worst: every kind of fault on or off and more or less
    /// likely, buffers from 1 byte to 64 KiB, small rings, all drawn from `seed` (swarm testing).
    static simulation_options hostile(std::uint64_t seed);
    /// A healthy local network.
    static simulation_options calm(std::uint64_t seed);
};

/// What became of a simulated run.
struct verdict {
    /// What is wrong, one line each: the failure of the body, a hang, something left behind.
    std::vector<std::string> violations;
    /// Every fault that struck, in order.
    fault_plan faults;
    /// Differs whenever anything in the run differed.
    std::uint64_t trace_hash = 0;
    std::uint64_t ops = 0;                     ///< operations that came through the door
    std::chrono::microseconds virtual_time{};  ///< how long it took, in virtual time
    /// Whether the run was as it should be.
    bool passed() const noexcept { return violations.empty(); }
};

namespace sim {
class world;
}

/// A machine, its network and its clock, all simulated. A loop in it runs unchanged programs.
///
/// Every address of 127.0.0.0/8, 10.0.0.0/8, ::1 and fd00::/8 belongs to the simulation and can be
/// bound; each is a host of its own, and between two hosts is a link. A socket that connects
/// without being bound has the address of `127.0.0.1`, or of `10.0.0.1` to a 10.x.x.x peer.
/// docs/testing.md tells what is modelled and what is not.
///
/// Threads  one thread; nothing in it may wait for another thread.
class simulation {
  public:
    explicit simulation(simulation_options options = {});
    ~simulation();
    simulation(const simulation&) = delete;
    simulation& operator=(const simulation&) = delete;

    /// Runs `body` as the main task of a new loop in this simulation, then heals the world, lets
    /// what is left end, closes the loop and checks that nothing is left: operations, tasks,
    /// timers, descriptors, transports, buffers, frames. Failures reported to the exception
    /// handler are violations too, unless `expect_reports` knows them.
    ///
    /// Lifetime  tasks and servers outlive the body that started them, above all when it fails: it
    ///           closes its servers, and what tasks share is not one of its locals.
    verdict run(function<task<>()> body);
    /// `base`, for a loop in this simulation. One loop at a time.
    loop_options options(loop_options base = {});
    /// The simulation of the loop that runs in this thread. Asserts that there is one.
    static simulation& current() noexcept;
    /// The same, or null on another engine.
    static simulation* try_current() noexcept;

    // What happens in the world. Hosts are written as addresses: "10.0.0.1".
    /// What one link takes, in place of `least_delay` and `most_delay`: a far host among near ones.
    void set_delay(std::string_view host, std::string_view other, std::chrono::microseconds least,
                   std::chrono::microseconds most);
    /// No segment gets from one of the hosts to the other any more, in both directions; TCP holds
    /// on and gives up after a while.
    void cut(std::string_view host, std::string_view other);
    /// The link works again; what TCP held back is sent again.
    void mend(std::string_view host, std::string_view other);
    /// Every link works again and no further fault strikes: from here on everything must come to
    /// an end.
    void heal();
    /// Lets `name` resolve to `addresses`, or fail when there is none. "localhost" is known.
    void set_name(std::string name, std::vector<std::string> addresses);
    /// Ends every connection of `host` with a reset, as when its machine restarts. Its listeners
    /// and tasks stay: they are the program's.
    void crash(std::string_view host);
    /// Sends the program a signal. One that nobody handles is a violation, unless its default is to
    /// be ignored: it would have ended the program.
    void raise(int signum);
    /// Puts an empty file at `path`, where a unix socket may want to be. False when there is one.
    bool make_file(std::string_view path);
    /// Lets `path` be a program that does what `script` says, in a small part of the language of
    /// sh: `read NAME`, `echo`, `cat`, `sleep`, `exit`, `trap '' TERM` and so on (docs/testing.md).
    /// sh itself, cat, echo, true and others are there from the start.
    void set_program(std::string path, std::string_view script);
    /// Takes the status of a child that has ended or will, as somebody else in the program would:
    /// who waits for it learns that it is gone.
    void reap(int pid);
    /// Reports to the exception handler of which `expected` is true are no violations. Warnings
    /// never are.
    void expect_reports(function<bool(const failure_report&)> expected);
    /// Says that something is wrong: the run goes on, and fails.
    void violate(std::string what);

    /// Virtual time since the beginning.
    std::chrono::microseconds elapsed() const noexcept;
    /// A number from the seed, for tests that draw their own workload.
    std::uint64_t draw() noexcept;
    /// A number from the seed, `least` to `most`.
    std::uint64_t draw(std::uint64_t least, std::uint64_t most) noexcept;
    /// The faults that struck so far.
    const fault_plan& faults() const noexcept;
    /// Differs whenever anything that happened so far differed.
    std::uint64_t trace_hash() const noexcept;
    /// Bytes that `fd` could give at once, and whether its peer has ended: what MSG_PEEK shows.
    struct readable {
        std::size_t bytes = 0;
        bool ended = false;
    };
    readable peek(int fd) const noexcept;

    /// Descriptors that are open.
    std::size_t open_descriptors() const noexcept;

    /// For the library's own tests.
    sim::world& inside() noexcept { return *world_; }

  private:
    std::unique_ptr<sim::world> world_;
};

}  // namespace ouro::testing
