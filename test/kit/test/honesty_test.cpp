// Model honesty: each honesty script runs on the kernel, with all it offers and with what the
// oldest one offers, and in simulations of many seeds. All must tell the same.
#include "honesty_scripts.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <sstream>

#include "async_test.hpp"

namespace ouro::test {
namespace {

// A script that takes longer hangs: it is told so and goes on with what was cancelled.
constexpr auto patience = std::chrono::seconds(60);
constexpr std::uint64_t last_seed = 20;

/// The limit of descriptors of this process, for a while.
class descriptor_limit {
  public:
    explicit descriptor_limit(unsigned most) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit now = before_;
        if (most) now.rlim_cur = most;
        BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &now) == 0);
    }
    ~descriptor_limit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    descriptor_limit(const descriptor_limit&) = delete;
    descriptor_limit& operator=(const descriptor_limit&) = delete;

  private:
    rlimit before_{};
};

/// Runs one part on a loop of its own, which is closed then.
void run_part(const loop_options& options, honesty_script::part part, transcript& notes) {
    loop home(options);
    home.set_exception_handler([&](loop&, const failure_report& report) {
        notes.say("reported", report.message + " " + report.error.describe());
    });
    timer_handle watchdog;
    function<void()> bite = [&] {
        notes.say("it hangs here");
        cancel_what_hangs(home);
        watchdog = home.call_later(patience, [&] { bite(); });
    };
    watchdog = home.call_later(patience, [&] { bite(); });
    const auto outcome = home.run_until_complete(part(home, notes));
    watchdog.cancel();
    if (!outcome) notes.say("the script failed", outcome.error().describe());
    home.close();
}

std::string run_real(engine which, const honesty_script& script) {
    const descriptor_limit limited(script.descriptor_limit);
    return run_parts(options_for(which), script);
}

/// Two transcripts in two columns; lines that differ are marked.
std::string side_by_side(const std::string& left, const std::string& right) {
    constexpr std::size_t least_width = 30;
    std::istringstream lefts(left), rights(right);
    std::vector<std::pair<std::string, std::string>> rows;
    std::size_t width = least_width;
    for (;;) {
        std::string a, b;
        const bool more_left = static_cast<bool>(std::getline(lefts, a));
        const bool more_right = static_cast<bool>(std::getline(rights, b));
        if (!more_left && !more_right) break;
        width = std::max(width, a.size());
        rows.emplace_back(std::move(a), std::move(b));
    }
    std::string text;
    for (const auto& [a, b] : rows) {
        text += "  " + a + std::string(width - a.size(), ' ') + (a == b ? " | " : " # ") + b + "\n";
    }
    return text;
}

/// True when they are equal.
bool require_equal(std::string_view name, const std::string& kernel, std::string_view where,
                   const std::string& other) {
    BOOST_CHECK_MESSAGE(kernel == other, name << ": the kernel (left) and " << where
                                              << " (right) differ\n"
                                              << side_by_side(kernel, other));
    return kernel == other;
}

}  // namespace

std::string run_parts(const loop_options& options, const honesty_script& script) {
    transcript notes;
    run_part(options, script.first, notes);
    if (script.second) run_part(options, script.second, notes);
    return notes.text();
}

void require_honesty(std::string_view name, const honesty_script& script) {
    const std::string kernel = run_real(engine::uring, script);
    BOOST_TEST_MESSAGE("---- " << name << "\n" << kernel);
    BOOST_CHECK_MESSAGE(!kernel.empty(), name << " saw nothing");
    for (const std::string_view bad : {"it hangs here", "the script failed", "reported: "}) {
        BOOST_CHECK_MESSAGE(kernel.find(bad) == std::string::npos, name << "\n" << kernel);
    }
    require_equal(name, kernel, "plain_uring", run_real(engine::plain_uring, script));
    bool equal = true;  // the first seed that differs is enough
    for (std::uint64_t seed = 1; equal && seed <= last_seed; ++seed) {
        equal = require_equal(name, kernel, "the simulation of seed " + std::to_string(seed),
                              run_simulated(script, seed));
    }
}

BOOST_AUTO_TEST_SUITE(honesty)

BOOST_AUTO_TEST_CASE(a_difference_is_seen_and_marked) {
    const std::string shown = side_by_side("one\ntwo\n", "one\n2\nthree\n");
    BOOST_TEST(shown.find("one") != std::string::npos);
    BOOST_TEST(std::count(shown.begin(), shown.end(), '|') == 1);
    BOOST_TEST(std::count(shown.begin(), shown.end(), '#') == 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
