// Errors: what they compare equal to, what they say, what they carry.
#include <ouro/runtime/error.hpp>

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/testing/allocation_faults.hpp>

#include "child_process.hpp"

namespace ouro::test {
namespace {

std::exception_ptr pointer_to(auto thrown) { return std::make_exception_ptr(thrown); }

constexpr errc all_codes[] = {
    errc::cancelled,       errc::invalid_state,   errc::loop_closed,     errc::loop_running,
    errc::wrong_loop,      errc::wrong_thread,    errc::stopped_early,   errc::value_error,
    errc::write_after_eof, errc::unsupported,     errc::callback_threw,  errc::empty_buffer,
    errc::incomplete_read, errc::limit_overrun,   errc::already_waiting, errc::end_of_stream,
    errc::server_closed,   errc::already_serving, errc::no_address,      errc::several_failures};

}  // namespace

BOOST_AUTO_TEST_SUITE(errors)

BOOST_AUTO_TEST_CASE(no_error_tests_false_and_costs_24_bytes) {
    static_assert(sizeof(error) <= 24);
    const error none;
    BOOST_TEST(!none);
    BOOST_TEST(none.message() == "no error");
    BOOST_TEST(none.doing().empty());
    BOOST_TEST(none.trail().empty());
    BOOST_TEST(none.causes().empty());
    BOOST_TEST(none.partial().empty());
    BOOST_TEST(none.count() == 0U);
    BOOST_TEST((none.cause() == cancel_cause::none));
    BOOST_TEST(!none.exception());
}

BOOST_AUTO_TEST_CASE(every_code_has_words_of_its_own) {
    std::set<std::string> texts;
    for (const errc code : all_codes) {
        const error made(code);
        BOOST_TEST(static_cast<bool>(made));
        BOOST_TEST((made == code));
        BOOST_TEST(made.code().category().name() == std::string("ouro"));
        BOOST_TEST(!contains(made.message(), "unknown"));
        texts.insert(made.message());
    }
    BOOST_TEST(texts.size() == std::size(all_codes));
    BOOST_TEST(contains(make_error_code(static_cast<errc>(999)).message(), "999"));
}

BOOST_AUTO_TEST_CASE(codes_equal_the_portable_conditions_they_mean) {
    BOOST_TEST((error(errc::cancelled) == std::errc::operation_canceled));
    BOOST_TEST((error(errc::value_error) == std::errc::invalid_argument));
    BOOST_TEST((error(errc::unsupported) == std::errc::not_supported));
    BOOST_TEST(!(error(errc::loop_closed) == std::errc::operation_canceled));
    BOOST_TEST(!(error(errc::cancelled) == errc::value_error));
    BOOST_TEST((error::from_errno(ECONNREFUSED) == std::errc::connection_refused));
    BOOST_TEST((error::from_errno(ETIMEDOUT) == std::errc::timed_out));
    BOOST_TEST((error(std::errc::broken_pipe) == std::errc::broken_pipe));
    BOOST_TEST((error(std::make_error_code(std::errc::io_error)) == std::errc::io_error));
}

BOOST_AUTO_TEST_CASE(the_message_names_what_was_done_and_why_it_failed) {
    const auto refused = error::from_errno(ECONNREFUSED, "connect 10.0.0.1:80");
    BOOST_TEST(refused.doing() == "connect 10.0.0.1:80");
    BOOST_TEST(refused.message() == "connect 10.0.0.1:80: Connection refused");
    BOOST_TEST(error::from_errno(EPIPE).message() == "Broken pipe");
}

BOOST_AUTO_TEST_CASE(context_is_added_only_where_there_is_none) {
    error bare = error::from_errno(EPIPE);
    BOOST_TEST(bare.while_doing("").doing().empty());
    BOOST_TEST(bare.while_doing("send").doing() == "send");
    BOOST_TEST(bare.while_doing("echo").doing() == "send");
}

// rule 117
BOOST_AUTO_TEST_CASE(a_cancellation_carries_its_cause_and_says_it) {
    for (const auto cause : {cancel_cause::user, cancel_cause::timeout, cancel_cause::shutdown,
                             cancel_cause::sibling_failed}) {
        const auto made = error::cancelled(cause, "receive");
        BOOST_TEST((made == errc::cancelled));
        BOOST_TEST((made.cause() == cause));
        BOOST_TEST(std::string(to_string(cause)).size() > 0U);
        BOOST_TEST(made.message() == "receive: cancelled: " + std::string(to_string(cause)));
    }
    BOOST_TEST(error::cancelled(cancel_cause::none).message() == "cancelled");
}

BOOST_AUTO_TEST_CASE(a_system_error_keeps_its_code_and_other_exceptions_become_callback_threw) {
    const auto known = error::from_exception(pointer_to(
        std::system_error(std::make_error_code(std::errc::no_space_on_device), "write log")));
    BOOST_TEST((known == std::errc::no_space_on_device));
    BOOST_TEST(static_cast<bool>(known.exception()));

    const auto other = error::from_exception(pointer_to(std::runtime_error("burnt")), "cook");
    BOOST_TEST((other == errc::callback_threw));
    BOOST_TEST(contains(other.message(), "cook"));
    BOOST_TEST(contains(other.message(), "burnt"));
    BOOST_CHECK_THROW(std::rethrow_exception(other.exception()), std::runtime_error);

    const auto odd = error::from_exception(pointer_to(42));
    BOOST_TEST((odd == errc::callback_threw));
    BOOST_TEST(contains(odd.message(), "not a std::exception"));
}

BOOST_AUTO_TEST_CASE(an_exception_is_an_error_even_when_its_code_is_zero) {
    const auto made = error::from_exception(pointer_to(std::system_error(std::error_code())));
    BOOST_TEST(static_cast<bool>(made));
}

BOOST_AUTO_TEST_CASE(several_failures_are_listed_in_order) {
    const auto all = error::several({error::from_errno(ECONNREFUSED, "connect [::1]:1"),
                                     error::from_errno(ETIMEDOUT, "connect 127.0.0.1:1")},
                                    "connect localhost:1");
    BOOST_TEST((all == errc::several_failures));
    BOOST_REQUIRE(all.causes().size() == 2U);
    BOOST_TEST((all.causes()[1] == std::errc::timed_out));
    const std::string text = all.message();
    BOOST_TEST(contains(text, "connect localhost:1"));
    BOOST_TEST(text.find("[::1]:1") < text.find("127.0.0.1:1"));
    BOOST_TEST(contains(text, "127.0.0.1:1"));
}

BOOST_AUTO_TEST_CASE(several_failures_of_one_code_have_it_and_are_listed) {
    const std::error_code code(ECONNREFUSED, std::system_category());
    const auto all = error::several(
        {error(code, "connect [::1]:1"), error(code, "connect [::2]:1")}, "connect", code);
    BOOST_TEST((all == std::errc::connection_refused));
    BOOST_TEST(all.causes().size() == 2U);
    BOOST_TEST(all.message() == "connect [::1]:1: Connection refused; [::2]:1: Connection refused");
    BOOST_TEST(all.describe() == all.message());
}

BOOST_AUTO_TEST_CASE(the_first_of_several_failures_has_all_of_them_as_its_causes) {
    std::vector<error> one{error(errc::no_address, "look up")};
    const error alone = error::first_of(std::move(one));
    BOOST_TEST(alone.message() == "look up: the name has no address");
    BOOST_TEST(alone.causes().empty());
    std::vector<error> many{error(errc::no_address, "look up"), errc::queue_full,
                            errc::queue_empty};
    const error all = error::first_of(std::move(many));
    BOOST_TEST((all == errc::no_address));
    BOOST_TEST_REQUIRE(all.causes().size() == 3U);
    BOOST_TEST((all.causes()[2] == errc::queue_empty));
    BOOST_TEST(all.message() == "look up: the name has no address (and 2 more)");
    BOOST_TEST(all.describe().find("then the queue is full") <
               all.describe().find("then the queue is empty"));
}

// rule 117
BOOST_AUTO_TEST_CASE(a_reason_is_said_in_place_of_the_cause_and_the_first_one_stays) {
    error made = error::cancelled(cancel_cause::user, "recv");
    BOOST_TEST(made.reason().empty());
    made.because("").because("the client went away").because("later");
    BOOST_TEST(made.reason() == "the client went away");
    BOOST_TEST(made.message() == "recv: cancelled: the client went away");
    BOOST_TEST(error(made).reason() == "the client went away");
}

BOOST_AUTO_TEST_CASE(a_cancellation_that_becomes_a_timeout_says_so_and_may_have_another_reason) {
    error made = error::cancelled(cancel_cause::timeout, "recv");
    made.because("an inner deadline");
    made.becomes(std::errc::timed_out);
    BOOST_TEST((made == std::errc::timed_out));
    BOOST_TEST((made.cause() == cancel_cause::timeout));
    BOOST_TEST(made.message() == "recv: timed out: an inner deadline");
    made.becomes(std::errc::timed_out, "the outer one");
    BOOST_TEST(made.message() == "recv: timed out: the outer one");
}

BOOST_AUTO_TEST_CASE(data_that_had_arrived_travels_with_the_error) {
    error made(errc::incomplete_read);
    made.with_data("half", 8);
    BOOST_TEST(made.partial() == "half");
    BOOST_TEST(made.count() == 8U);
}

BOOST_AUTO_TEST_CASE(a_copy_is_deep_and_a_move_takes_the_context_along) {
    error first = error::from_errno(EPIPE, "send");
    error copy(first);
    copy.with_data("x", 1);
    BOOST_TEST(first.partial().empty());
    first = copy;
    BOOST_TEST(first.partial() == "x");
    error& same = first;
    first = same;
    BOOST_TEST(first.partial() == "x");
    const error moved(std::move(first));
    BOOST_TEST(moved.doing() == "send");
    BOOST_TEST(moved.partial() == "x");
    BOOST_TEST((moved == std::errc::broken_pipe));
}

BOOST_AUTO_TEST_CASE(the_trail_is_kept_in_order_and_described_line_by_line) {
    error made = error::from_errno(EPIPE, "send");
    const auto first = std::source_location::current();
    const auto second = std::source_location::current();
    made.passed(first);
    made.passed(second);
    BOOST_REQUIRE(made.trail().size() == 2U);
    BOOST_TEST(made.trail()[0].line() == first.line());
    BOOST_TEST(made.trail()[1].line() == second.line());
    const std::string text = made.describe();
    BOOST_TEST(text.starts_with(made.message()));
    BOOST_TEST(contains(text, "error_test.cpp:" + std::to_string(first.line())));
    BOOST_TEST(text.find(":" + std::to_string(first.line())) <
               text.find(":" + std::to_string(second.line())));
}

BOOST_AUTO_TEST_CASE(a_long_trail_keeps_both_ends_and_tells_how_much_it_left_out) {
    error made(errc::cancelled);
    const auto first = std::source_location::current();
    made.passed(first);
    const auto between = std::source_location::current();
    for (int i = 0; i < 1000; ++i) made.passed(between);
    const auto last = std::source_location::current();
    made.passed(last);
    BOOST_TEST(made.trail().size() <= 64U);
    BOOST_TEST(made.trail().front().line() == first.line());
    BOOST_TEST(made.trail().back().line() == last.line());
    BOOST_TEST(contains(made.describe(), std::to_string(1002 - made.trail().size()) + " more"));
}

BOOST_AUTO_TEST_CASE(a_text_for_people_that_cannot_be_copied_is_empty) {
    const detail::words text("a text that is not short at all");
    detail::words assigned("another text that is not short");
    testing::allocation_faults::arm(1, true);
    const detail::words copy(text);
    assigned = text;
    testing::allocation_faults::disarm();
    BOOST_TEST(copy.empty());
    BOOST_TEST(assigned.empty());
    const detail::words again(text);
    BOOST_TEST(again.text() == text.text());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
