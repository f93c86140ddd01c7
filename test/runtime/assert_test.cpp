// The assertion: silent when it holds, a message and an abort when it does not.
#include <ouro/runtime/assert.hpp>

#include <boost/test/unit_test.hpp>

#include <csignal>

#include "child_process.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(assertion)

BOOST_AUTO_TEST_CASE(a_true_expression_is_evaluated_once_and_says_nothing) {
    int evaluated = 0;
    captured_stderr captured;
    OURO_ASSERT(++evaluated == 1, "evaluated more than once");
    BOOST_TEST(evaluated == 1);
    BOOST_TEST(captured.text().empty());
}

BOOST_AUTO_TEST_CASE(a_false_expression_aborts_and_names_the_expression_the_place_and_the_reason) {
    const auto child = in_child([] {
        const int apples = 3;
        OURO_ASSERT(apples == 4, "an apple is missing");
        return 0;
    });
    BOOST_TEST(child.signal == SIGABRT);
    BOOST_TEST(contains(child.errors, "an apple is missing"));
    BOOST_TEST(contains(child.errors, "apples == 4"));
    BOOST_TEST(contains(child.errors, "assert_test.cpp:"));
}

BOOST_AUTO_TEST_CASE(it_is_an_expression_and_may_stand_anywhere) {
    const int value = (OURO_ASSERT(true, "never"), 7);
    BOOST_TEST(value == 7);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
