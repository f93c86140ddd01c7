// Exploring seeds: what is run, what is found, how small it gets, and that its text repeats it.
#include <ouro/testing/explore.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro::testing {
namespace {

/// OURO_SEED as given, while it lives.
class asked_for {
  public:
    explicit asked_for(const std::string& text) { ::setenv("OURO_SEED", text.c_str(), 1); }
    asked_for(const asked_for&) = delete;
    asked_for& operator=(const asked_for&) = delete;
    ~asked_for() { ::unsetenv("OURO_SEED"); }
};

/// The text between the quotes of `OURO_SEED='...'`.
std::string value_of(const std::string& repeat) {
    const auto from = repeat.find('\'') + 1;
    BOOST_REQUIRE(repeat.starts_with("OURO_SEED='"));
    return repeat.substr(from, repeat.find('\'', from) - from);
}

/// Whether `repeat` sets OURO_SEED to `value` and starts this program.
bool repeats(const std::string& repeat, const std::string& value) {
    const std::string program = boost::unit_test::framework::master_test_suite().argv[0];
    return repeat.starts_with("OURO_SEED='" + value + "' " + program);
}

task<> nothing() { co_return; }
task<> failing() { co_await result<>(error(std::errc::io_error, "always")); }

/// A connection on which some bytes go, over and over. What becomes of them does not matter.
task<> some_traffic() {
    loop& home = loop::current();
    for (int i = 0; i < 5; ++i) {
        auto listener = co_await socket::open(home, AF_INET);
        co_await listener.bind(co_await address::parse("127.0.0.1:0"));
        co_await listener.listen();
        auto client = co_await socket::open(home, AF_INET);
        co_await client.connect(co_await listener.local_address());
        auto served = co_await listener.accept();
        for (int turn = 0; turn < 5; ++turn) {
            const std::string text = "hello";
            std::array<std::byte, 8> room;
            co_await client.send_all(std::as_bytes(std::span(text)));
            (void)co_await served.recv_into(room);
        }
    }
}

bool was_delayed(const fault& each) { return each.kind == fault_kind::delay; }

/// Passes unless segments were delayed twice.
task<> not_two_delays() {
    co_await some_traffic();
    if (std::ranges::count_if(simulation::current().faults(), was_delayed) < 2) co_return;
    co_await result<>(error(std::errc::io_error, "two delays"));
}

simulation_options slow_now_and_then(std::uint64_t seed) {
    auto options = simulation_options::calm(seed);
    options.rate(fault_kind::delay) = 0.2;
    options.rate(fault_kind::late_completion) = 0.2;
    return options;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(exploring)

BOOST_AUTO_TEST_CASE(when_every_seed_passes_nothing_is_found) {
    const auto report = explore({.seed_count = 25}, &nothing);
    BOOST_TEST(!report.failed);
    BOOST_TEST(report.seeds == 25U);
    BOOST_TEST(report.figures().starts_with("seeds=25 ops="), report.figures());
    BOOST_TEST(report.figures().find('\n') == std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_first_seed_that_fails_ends_it_and_is_named) {
    const auto report = explore({.first_seed = 40, .seed_count = 25}, []() -> task<> {
        // The third simulation: seed 42.
        static int runs = 0;
        return ++runs < 3 ? nothing() : failing();
    });
    BOOST_REQUIRE(report.failed);
    BOOST_TEST(report.seeds == 3U);
    BOOST_TEST(report.failed->seed == 42U);
    const std::string& repeat = report.failed->repeat;
    BOOST_TEST(repeats(repeat, "42 none"), repeat);
    BOOST_TEST(report.failed->faults.empty());
    BOOST_REQUIRE(!report.failed->violations.empty());
    const std::string text = report.failed->describe();
    BOOST_TEST(text.starts_with("seed 42 fails:"), text);
    BOOST_TEST(text.find("always") != std::string::npos, text);
    BOOST_TEST(text.ends_with("\n  repeat: " + repeat), text);
}

BOOST_AUTO_TEST_CASE(a_failure_that_needs_two_faults_is_made_small_and_its_text_repeats_it) {
    const exploration how{.seed_count = 50, .world = &slow_now_and_then};
    const auto report = explore(how, &not_two_delays);
    BOOST_REQUIRE(report.failed);
    const finding& found = *report.failed;
    BOOST_TEST(found.faults_before > 2U);
    BOOST_TEST(found.faults.size() == 2U);
    BOOST_TEST(std::ranges::all_of(found.faults, was_delayed));
    BOOST_TEST(value_of(found.repeat) ==
               std::to_string(found.seed) + " " + to_string(found.faults));

    const asked_for just_that(value_of(found.repeat));
    const auto again = explore(how, &not_two_delays);
    BOOST_TEST(again.seeds == 1U);
    BOOST_REQUIRE(again.failed);
    BOOST_CHECK((again.failed->faults == found.faults));
    BOOST_TEST(again.failed->violations == found.violations, boost::test_tools::per_element());
    BOOST_TEST(again.failed->repeat == found.repeat);
}

BOOST_AUTO_TEST_CASE(leaving_out_what_a_plan_needs_lets_it_pass) {
    const exploration how{.world = &slow_now_and_then};
    const asked_for just_one("1 delay@2");
    const auto report = explore(how, &not_two_delays);
    BOOST_TEST(!report.failed);
    BOOST_TEST(report.seeds == 1U);
    BOOST_TEST(report.faults[static_cast<std::size_t>(fault_kind::delay)] == 1U);
    BOOST_TEST(report.figures().find(" delay=1 ") != std::string::npos, report.figures());
}

BOOST_AUTO_TEST_CASE(a_seed_asked_for_is_the_only_one_run) {
    const asked_for one("7");
    int runs = 0;
    const auto report = explore({}, [&runs]() -> task<> {
        ++runs;
        return nothing();
    });
    BOOST_TEST(report.seeds == 1U);
    BOOST_TEST(runs == 1);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_repeated_from_its_faults_says_so) {
    int runs = 0;
    const auto report = explore(
        {.first_seed = 9}, [&runs]() -> task<> { return ++runs == 1 ? failing() : nothing(); });
    BOOST_REQUIRE(report.failed);
    BOOST_TEST(repeats(report.failed->repeat, "9"), report.failed->repeat);
    BOOST_TEST(!report.failed->violations.empty());
    BOOST_TEST(report.failed->describe().find("did not fail") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(making_it_small_takes_no_more_runs_than_allowed) {
    unsigned runs = 0;
    const exploration how{.world = &slow_now_and_then, .shrink_runs = 3};
    const auto report = explore(how, [&runs] {
        ++runs;
        return not_two_delays();
    });
    BOOST_REQUIRE(report.failed);
    BOOST_TEST(runs == report.seeds + 3U);
}

BOOST_AUTO_TEST_CASE(the_same_seeds_make_the_same_report_and_others_another) {
    const exploration how{.seed_count = 10, .world = &slow_now_and_then};
    const auto one = explore(how, &some_traffic);
    const auto two = explore(how, &some_traffic);
    BOOST_TEST(!one.failed);
    BOOST_TEST(one.figures() == two.figures());
    BOOST_TEST(one.ops > 0U);
    const exploration elsewhere{.first_seed = 100, .seed_count = 10, .world = &slow_now_and_then};
    BOOST_TEST(explore(elsewhere, &some_traffic).trace_hash != one.trace_hash);
}

BOOST_AUTO_TEST_CASE(a_malformed_request_is_refused_with_what_is_wrong) {
    for (const auto& [text, word] : {std::pair{"", "no number"},
                                     {"x", "no number"},
                                     {"-1", "no number"},
                                     {"7x", "no number"},
                                     {" 7", "no number"},
                                     {"7 ", "''"},
                                     {"7 rest@3", "'rest@3'"},
                                     {"7  reset@3", "' reset@3'"},
                                     {"99999999999999999999", "no number"}}) {
        const asked_for wrong(text);
        bool ran = false;
        const auto complains = [&](const std::invalid_argument& thrown) {
            const std::string what = thrown.what();
            return what.starts_with("OURO_SEED='" + std::string(text) + "'") &&
                   what.find(word) != what.npos;
        };
        const auto body = [&ran]() -> task<> {
            ran = true;
            return nothing();
        };
        BOOST_CHECK_EXCEPTION(explore({}, body), std::invalid_argument, complains);
        BOOST_TEST(!ran);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::testing
