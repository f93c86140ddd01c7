// Faults of applications (docs/faults.md, 56-70, and 20) at every point of one conversation over
// streams: cancelled there, stopped there, out of memory there.
#include <ouro/testing/simulation.hpp>

#include <cstdio>
#include <functional>
#include <new>
#include <ostream>
#include <string>
#include <vector>

#include <ouro/ouro.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;
using testing::allocation_faults;
using testing::fault_kind;
using testing::simulation;
using testing::simulation_options;

/// Answers each line, until the client has sent all.
task<> answer(stream_reader reader, stream_writer writer) {
    for (;;) {
        const std::string line(co_await reader.readline());
        if (line.empty()) break;
        writer.write("you said " + line);
        co_await writer.drain();
    }
    writer.write("bye\n");
}

task<server> serve() { co_return co_await start_server(answer, "127.0.0.1", 0); }

/// Looks a name up, connects, talks, waits, half-closes and reads to the end.
task<> converse(std::uint16_t port) {
    auto [reader, writer] =
        co_await open_connection("localhost", port, {.connect = {.family = AF_INET}});
    writer.write("hello\n");
    co_await writer.drain();
    const std::string first(co_await reader.readline());
    co_await sleep(1ms);
    for (int i = 0; i < 10; ++i) writer.write(std::string(4'000, '-'));  // leave as one vector
    writer.write("\n");
    co_await writer.drain();
    const std::string second(co_await reader.readuntil("\n"));
    writer.write_eof();
    const std::string rest(as_text(co_await reader.read()));
    if (first != "you said hello\n" || second.size() != 40'010 || !rest.ends_with("bye\n"))
        co_await result<>(error(errc::incomplete_read, "converse"));
    writer.close();
    co_await writer.wait_closed();
}

std::uint16_t port_of(const server& at) { return at.addresses().front().port(); }

task<> shut(server at) {
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
}

/// Some of them at once, so that what grows with use has grown.
task<> converse_at_once(std::uint16_t port) {
    std::vector<task_handle<>> talks;
    for (int i = 0; i < 8; ++i) talks.push_back(spawn(converse(port)));
    for (auto& each : talks) co_await each;
}

/// A moment in a conversation: so many turns after the kernel got so many operations. Every one of
/// them is tried.
struct moment {
    std::uint64_t operations = 1;
    int turns = 0;

    static constexpr int most_turns = 3;
    /// The next one; false when the one before was after the end.
    bool advance(bool was_over) noexcept {
        if (was_over && turns == 0) return false;
        if (turns++ == most_turns || was_over) {
            turns = 0;
            ++operations;
        }
        return true;
    }
    friend std::ostream& operator<<(std::ostream& out, const moment& it) {
        return out << it.turns << " turns after operation " << it.operations;
    }
};

/// Waits for `when`, counted from operation `first` on, or for `over`.
task<> reach(moment when, std::uint64_t first, std::function<bool()> over) {
    const auto submitted = [] { return loop::current().statistics().submitted; };
    while (submitted() < first + when.operations && !over()) co_await yield();
    for (int i = 0; i < when.turns; ++i) co_await yield();
}

/// Worlds in which a cancel or a stop meets different things.
std::vector<simulation_options> worlds() {
    std::vector<simulation_options> all;
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        auto world = simulation_options::calm(seed);
        if (seed > 1) world.shuffle_ready = world.small_rings = true;
        if (seed > 2) world.rate(fault_kind::cancel_misses) = 0.5;
        if (seed > 3) world.least_buffer_bytes = world.most_buffer_bytes = 512;
        all.push_back(world);
    }
    return all;
}

// How `without_allocation` ended.
constexpr int all_well = 0;
constexpr int gone_wrong = 1;
constexpr int none_failed = 2;  // there were not so many allocations

/// Whether anything that grows with use has grown.
enum class loop_age { fresh, used };

/// A conversation whose `nth` allocation fails, and another one after it. What is wrong goes to
/// stderr.
int without_allocation(std::uint64_t nth, loop_age age) {
    bool struck = false;
    int outcome = all_well;
    const auto expect = [&](bool right, const std::string& what) {
        if (right) return;
        std::fprintf(stderr, "%s\n", what.c_str());
        outcome = gone_wrong;
    };
    loop home(options_for(engine::uring));
    home.set_exception_handler([](loop&, const failure_report&) {});
    const auto ended = home.run_until_complete([&]() -> task<> {
        auto at = co_await serve();
        const auto port = port_of(at);
        for (int i = 0; age == loop_age::used && i < 4; ++i) co_await converse_at_once(port);
        bool failed = false;
        allocation_faults::arm(nth, false);
        try {
            const auto first = co_await as_result(converse(port));
            failed = !first;
        } catch (const std::bad_alloc&) {
            failed = true;
        }
        struck = allocation_faults::struck();
        allocation_faults::disarm();
        expect(struck || !failed, "it failed without a reason");
        co_await converse(port);
        co_await shut(std::move(at));
    }());
    expect(ended.has_value(), ended ? "" : ended.error().describe());
    (void)home.run_until_complete([]() -> task<> { co_await sleep(5ms); }());
    const loop_counters left = home.counters();
    expect(left.ops + left.tasks + left.timers == 0, "operations, tasks or timers are left");
    expect(left.resources == 0, "transports or servers are left");
    expect(left.descriptors == 0, "descriptors are left");
    home.close();
    return outcome == all_well && !struck ? none_failed : outcome;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(faults_of_applications)

// fault 58
BOOST_AUTO_TEST_CASE(a_task_can_be_cancelled_at_any_moment_of_its_life) {
    for (const auto& world : worlds()) {
        for (const int requests : {1, 2}) {
            moment when;
            bool over = false;
            std::size_t cancelled = 0;
            do {
                simulation played(world);
                const auto seen = played.run([&]() -> task<> {
                    // Who cancels leaves bytes unread, and that is a reset.
                    simulation::current().expect_reports([](const failure_report& report) {
                        return report.error == std::errc::connection_reset ||
                               report.error == std::errc::broken_pipe;
                    });
                    auto at = co_await serve();
                    const auto before = loop::current().statistics().submitted;
                    auto talk = spawn(converse(port_of(at)));
                    co_await reach(when, before, [&] { return talk.done(); });
                    over = talk.done();
                    for (int i = 0; i < requests; ++i) talk.cancel();
                    const auto outcome = co_await as_result(talk.join());
                    if (!outcome) {
                        BOOST_CHECK(outcome.error() == errc::cancelled);
                        ++cancelled;
                    }
                    co_await converse(port_of(at));  // the server is as good as before
                    co_await shut(std::move(at));
                });
                BOOST_TEST_CONTEXT("seed " << world.seed << ", " << when) {
                    for (const auto& each : seen.violations) BOOST_ERROR(each);
                }
            } while (when.advance(over));
            BOOST_TEST(cancelled >= 20U);
        }
    }
}

// fault 64
BOOST_AUTO_TEST_CASE(a_loop_can_be_stopped_and_closed_at_any_moment_of_a_conversation) {
    static moment when;
    static bool over;
    for (const auto& world : worlds()) {
        when = {};
        std::size_t stopped_early = 0;
        do {
            simulation played(world);
            const long frames_before = detail::frame_pool::live();
            over = false;
            {
                loop home(played.options());
                std::vector<std::string> reports;
                home.set_exception_handler([&](loop&, const failure_report& report) {
                    reports.push_back(report.message + ": " + report.error.describe());
                });
                const auto outcome = home.run_until_complete([]() -> task<> {
                    auto at = co_await serve();
                    const auto before = loop::current().statistics().submitted;
                    spawn([before]() -> task<> {
                        co_await reach(when, before, [] { return over; });
                        loop::current().stop();
                    });
                    co_await converse(port_of(at));
                    over = true;
                    co_await at.serve_forever();
                }());
                stopped_early += !over;
                BOOST_TEST_CONTEXT("seed " << world.seed << ", " << when) {
                    BOOST_CHECK(!outcome && outcome.error() == errc::stopped_early);
                    const auto stopped = played.elapsed();
                    home.close();
                    BOOST_TEST((played.elapsed() - stopped < 100ms));
                    for (const auto& each : reports) BOOST_ERROR(each);
                    const loop_counters left = home.counters();
                    BOOST_TEST(left.ops + left.tasks + left.timers + left.calls == 0U);
                    BOOST_TEST(left.descriptors + left.resources + left.lent_buffers == 0U);
                    BOOST_TEST(played.open_descriptors() == 0U);
                }
            }
            BOOST_TEST(detail::frame_pool::live() == frames_before);
        } while (when.advance(over));
        BOOST_TEST(stopped_early >= 20U);
    }
}

// fault 20: each in a process of its own, because some have ended it
BOOST_AUTO_TEST_CASE(whichever_allocation_of_a_conversation_fails_others_go_on) {
    for (const auto age : {loop_age::used, loop_age::fresh}) {
        child_outcome seen;
        std::uint64_t nth = 0;
        do {
            ++nth;
            seen = in_child([=] { return without_allocation(nth, age); });
            BOOST_TEST_CONTEXT((age == loop_age::used ? "a used" : "a fresh")
                               << " loop, allocation " << nth << ": " << seen.errors) {
                BOOST_TEST(seen.signal == 0);
                BOOST_TEST((seen.exit_code == all_well || seen.exit_code == none_failed));
            }
        } while (seen.exit_code != none_failed && nth < 1000);
        BOOST_TEST(nth > 10U);
        BOOST_TEST(seen.exit_code == none_failed);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
