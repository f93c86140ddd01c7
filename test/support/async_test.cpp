// The rig behind OURO_ASYNC_TEST.
#include "async_test.hpp"

#include <thread>

#include <ouro/runtime/frame_pool.hpp>
#include <ouro/testing/accounts.hpp>
#include <ouro/testing/allocation_faults.hpp>

namespace ouro::test {
namespace {

// A test that takes longer hangs.
constexpr auto patience = std::chrono::seconds(120);
constexpr int most_farewell_turns = 500;

std::vector<failure_report> reports;

}  // namespace

loop_options options_for(engine which) {
    loop_options options;
    options.sq_entries = 64;
    options.cq_entries = 256;
    options.ring_buffer_bytes = 64 * 1024;
    options.ring_buffer_count = 8;
    if (which == engine::plain_uring) {
        options.disabled_features = feature_defer_taskrun | feature_single_issuer |
                                    feature_no_iowait | feature_incremental_buffers |
                                    feature_register_ring_fd | feature_fast_send |
                                    feature_ring_messages | feature_multishot_read;
    }
    return options;
}

testing::simulation_options loopback(std::uint64_t seed) {
    auto options = testing::simulation_options::calm(seed);
    options.least_delay = std::chrono::microseconds(0);
    options.most_delay = std::chrono::microseconds(0);
    return options;
}

namespace {

void run_once_on(engine which, task<> (*body)()) {
    if (which != engine::sim) return run_with(options_for(which), body);
    testing::simulation world(loopback(1));
    run_with(world.options(options_for(which)), body);
}

/// Heap blocks that a run leaves behind. The threads of look-ups get the time they need to end.
std::int64_t blocks_left_by(engine which, task<> (*body)()) {
    const auto before = testing::allocation_faults::live_blocks();
    run_once_on(which, body);
    for (int i = 0; i < 1000 && testing::allocation_faults::live_blocks() > before; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return testing::allocation_faults::live_blocks() - before;
}

}  // namespace

void run_on(engine which, task<> (*body)()) {
    // What is made once in a process is left by the first run only.
    if (blocks_left_by(which, body) <= 0) return;
    const auto left = blocks_left_by(which, body);
    BOOST_CHECK_MESSAGE(left <= 0, "heap blocks left: " << left);
}

void run_with(const loop_options& options, task<> (*body)()) {
    reports.clear();
    const long frames_before = detail::frame_pool::live();
    {
        loop home(options);
        home.set_exception_handler(
            [](loop&, const failure_report& report) { reports.push_back(report); });
        auto watchdog = home.call_later(patience, [&home] {
            BOOST_ERROR("the test hangs");
            home.stop();
        });
        auto outcome = home.run_until_complete(body());
        watchdog.cancel();
        BOOST_CHECK_MESSAGE(outcome.has_value(),
                            "the test ended with: " << (outcome ? "" : outcome.error().describe()));
        auto ended = home.run_until_complete(
            testing::farewell(home, std::chrono::milliseconds(1), most_farewell_turns));
        BOOST_TEST(ended.has_value());
        const std::string left = home.counters().describe();
        BOOST_CHECK_MESSAGE(left.empty(), "the test left behind: " << left);
        home.close();
    }
    for (const failure_report& report : take_reports()) {
        BOOST_CHECK_MESSAGE(false, "nobody expected: " << report.describe());
    }
    BOOST_CHECK_MESSAGE(detail::frame_pool::live() == frames_before,
                        "pooled blocks left: " << detail::frame_pool::live() - frames_before);
}

std::vector<failure_report> take_reports() { return std::exchange(reports, {}); }

task<> settle(int turns) {
    for (int i = 0; i < turns; ++i) co_await yield();
}

task<> eventually(std::function<bool()> holds) {
    constexpr int busy_turns = 100;
    constexpr int most_turns = 5000;
    for (int turn = 0; !holds(); ++turn) {
        if (turn == most_turns)
            co_return co_await result<>(error(std::errc::timed_out, "eventually"));
        if (turn < busy_turns) {
            co_await yield();
        } else {
            co_await sleep(std::chrono::milliseconds(1));
        }
    }
}

task<bool> has_ipv6() {
    auto tried = socket::open(loop::current(), AF_INET6);
    const address where = co_await address::parse("[::1]:0");
    co_return tried && tried->bind(where);
}

task<std::pair<socket, socket>> tcp_pair() {
    loop& home = loop::current();
    auto listener = co_await socket::open(home, AF_INET);
    co_await listener.bind(co_await address::parse("127.0.0.1:0"));
    co_await listener.listen();
    auto client = co_await socket::open(home, AF_INET);
    co_await client.connect(co_await listener.local_address());
    co_return std::pair(std::move(client), co_await listener.accept());
}

std::string pattern(std::size_t size, std::size_t offset) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
        const std::size_t at = offset + i;
        text[i] = static_cast<char>((at % 251) ^ (at >> 12));
    }
    return text;
}

}  // namespace ouro::test
