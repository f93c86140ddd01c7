// Events nobody awaits: exception handlers, debug mode.
#include <ouro/runtime/loop.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

struct reporting_loop {
    reporting_loop() { collect(); }
    void collect() {
        home.set_exception_handler(
            [this](loop&, const failure_report& report) { seen.push_back(report); });
    }
    void one_turn() {
        home.stop();
        home.run_forever();
    }
    loop home{options_for(engine::uring)};
    std::vector<failure_report> seen;
};

[[noreturn]] void fail() { throw std::runtime_error("spilt"); }

}  // namespace

BOOST_FIXTURE_TEST_SUITE(reports, reporting_loop)

// rules 9, 71, 79
BOOST_AUTO_TEST_CASE(a_callback_that_throws_is_reported_with_its_place_and_the_loop_goes_on) {
    bool next_ran = false;
    const unsigned line = __LINE__ + 1;
    home.call_soon(&fail);
    home.call_soon([&] { next_ran = true; });
    const unsigned timer_line = __LINE__ + 1;
    home.call_later(0s, &fail);
    one_turn();
    BOOST_TEST(next_ran);
    BOOST_TEST_REQUIRE(seen.size() == 2U);
    BOOST_TEST((seen.at(0).error == errc::callback_threw));
    BOOST_TEST((seen.at(0).level == severity::failure));
    BOOST_TEST(contains(seen.at(0).error.message(), "spilt"));
    BOOST_TEST(seen.at(0).created.line() == line);
    BOOST_TEST(seen.at(1).created.line() == timer_line);
    BOOST_CHECK_THROW(std::rethrow_exception(seen.at(0).error.exception()), std::runtime_error);
}

// rule 71
BOOST_AUTO_TEST_CASE(the_handler_is_given_the_loop) {
    loop* given = nullptr;
    home.set_exception_handler([&](loop& of, const failure_report&) { given = &of; });
    home.call_soon(&fail);
    one_turn();
    BOOST_TEST(given == &home);
}

// rules 71, 72
BOOST_AUTO_TEST_CASE(without_a_handler_one_message_goes_to_stderr) {
    home.set_exception_handler({});
    captured_stderr captured;
    const unsigned line = __LINE__ + 1;
    home.call_soon(&fail);
    one_turn();
    const std::string text = captured.text();
    BOOST_TEST(seen.empty());
    BOOST_TEST(contains(text, "a callback threw"));
    BOOST_TEST(contains(text, "spilt"));
    BOOST_TEST(contains(text, "reports_test.cpp:" + std::to_string(line)));
    BOOST_TEST(text.starts_with("ouro: "));
    BOOST_TEST(text.find("ouro: ") == text.rfind("ouro: "));
}

// rule 72
BOOST_AUTO_TEST_CASE(an_empty_handler_restores_the_default_one_and_another_replaces_it) {
    home.set_exception_handler({});
    collect();
    captured_stderr captured;
    home.call_soon(&fail);
    one_turn();
    BOOST_TEST(seen.size() == 1U);
    BOOST_TEST(captured.text().empty());
}

template <class Handler>
concept can_handle = requires(loop& on, Handler handler) { on.set_exception_handler(handler); };

// rule 72
BOOST_AUTO_TEST_CASE(what_cannot_be_called_is_no_handler) {
    static_assert(!can_handle<int>);
    static_assert(!can_handle<void (*)()>);
    static_assert(can_handle<void (*)(loop&, const failure_report&)>);
    BOOST_TEST(seen.empty());
}

// rules 73, 74
BOOST_AUTO_TEST_CASE(a_handler_that_throws_falls_back_to_the_default_with_both_errors) {
    home.set_exception_handler(
        [](loop&, const failure_report&) { throw std::logic_error("handler broke"); });
    captured_stderr captured;
    home.call_soon(&fail);
    home.call_soon(&fail);
    one_turn();
    const std::string text = captured.text();
    BOOST_TEST(contains(text, "handler broke"));
    BOOST_TEST(contains(text, "spilt"));
    one_turn();
}

// rule 74
BOOST_AUTO_TEST_CASE(a_report_that_cannot_be_written_does_not_harm_the_loop) {
    const auto child = in_child([] {
        loop home(options_for(engine::uring));
        ::close(2);
        bool next_ran = false;
        home.call_soon(&fail);
        home.call_soon([&] {
            next_ran = true;
            home.stop();
        });
        home.run_forever();
        return next_ran ? 0 : 1;
    });
    BOOST_TEST(child.exit_code == 0);
}

BOOST_AUTO_TEST_CASE(a_handler_may_replace_itself_and_schedule) {
    bool later = false;
    auto own = std::make_shared<int>();
    const std::weak_ptr<int> kept = own;
    home.set_exception_handler([&, own = std::move(own)](loop& of, const failure_report& report) {
        seen.push_back(report);
        of.call_soon([&] { later = true; });
        of.set_exception_handler([&](loop&, const failure_report& next) { seen.push_back(next); });
        BOOST_TEST(!kept.expired());  // what it captured is there until it has returned
    });
    home.call_soon(&fail);
    home.call_soon(&fail);
    one_turn();
    one_turn();
    BOOST_TEST(kept.expired());
    BOOST_TEST(seen.size() == 2U);
    BOOST_TEST(later);
}

BOOST_AUTO_TEST_CASE(reports_of_users_go_the_same_way) {
    home.call_exception_handler({.level = severity::warning,
                                 .message = "low on tea",
                                 .error = error(errc::value_error),
                                 .subject = "kitchen"});
    BOOST_TEST_REQUIRE(seen.size() == 1U);
    BOOST_TEST(seen.at(0).message == "low on tea");
    captured_stderr captured;
    home.default_exception_handler(seen.at(0));
    BOOST_TEST(contains(captured.text(), "warning: low on tea [kitchen]"));
}

// rule 77
BOOST_AUTO_TEST_CASE(a_slow_callback_is_reported_in_debug_mode_with_its_name) {
    home.slow_callback_duration = 0ns;
    home.call_soon([] {});
    one_turn();
    BOOST_TEST(seen.empty());
    home.set_debug(true);
    BOOST_TEST(home.get_debug());
    const unsigned line = __LINE__ + 1;
    home.call_soon([] {});
    one_turn();
    home.set_debug(false);
    BOOST_TEST_REQUIRE(seen.size() >= 1U);
    BOOST_TEST((seen.at(0).level == severity::warning));
    BOOST_TEST(contains(seen.at(0).message, " ms"));
    const bool placed =
        seen.at(0).created.line() == line ||
        contains(seen.at(0).message + seen.at(0).subject, ":" + std::to_string(line));
    BOOST_TEST(placed);
}

// rule 77, fault 66
BOOST_AUTO_TEST_CASE(a_slow_step_of_a_task_is_reported_with_the_name_of_the_task) {
    home.set_debug(true);
    home.slow_callback_duration = 0ns;
    auto slow = spawn(home, []() -> task<> { co_return; }());
    slow.set_name("slowpoke");
    one_turn();
    home.set_debug(false);
    bool named = false;
    for (const auto& each : seen)
        named = named || contains(each.message + each.subject, "slowpoke");
    BOOST_TEST(named);
}

// rule 77
BOOST_AUTO_TEST_CASE(a_quick_callback_is_not_reported) {
    home.set_debug(true);
    home.slow_callback_duration = 1h;
    home.call_soon([] {});
    home.call_later(0s, [] {});
    one_turn();
    BOOST_TEST(seen.empty());
    BOOST_TEST((loop(options_for(engine::uring)).slow_callback_duration == 100ms));
}

// rule 51
BOOST_AUTO_TEST_CASE(in_debug_mode_scheduling_from_another_thread_is_refused) {
    home.set_debug(true);
    home.call_soon([this] {
        int refused = 0;
        std::thread([&] {
            const auto count = [&](auto&& call) {
                try {
                    call();
                } catch (const std::system_error& thrown) {
                    refused += thrown.code() == errc::wrong_thread;
                }
            };
            count([&] { home.call_soon([] {}); });
            count([&] { home.call_later(1s, [] {}); });
            count([&] { home.call_at(clock::now(), [] {}); });
            count([&] { spawn(home, []() -> task<> { co_return; }()); });
        }).join();
        BOOST_TEST(refused == 4);
        home.call_soon([] {});
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(seen.empty());
}

BOOST_AUTO_TEST_CASE(the_environment_switches_debug_mode_on) {
    const auto child = in_child([] {
        ::setenv("OURO_DEBUG", "1", 1);
        if (!loop(options_for(engine::uring)).get_debug()) return 1;
        ::setenv("OURO_DEBUG", "0", 1);
        if (loop(options_for(engine::uring)).get_debug()) return 2;
        ::unsetenv("OURO_DEBUG");
        return loop(options_for(engine::uring)).get_debug() ? 3 : 0;
    });
    BOOST_TEST(child.exit_code == 0);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
