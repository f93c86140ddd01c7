// Fault plans: as text and back, and made small.
#include <ouro/testing/fault.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>

namespace ouro::testing {
namespace {

fault_plan parsed(std::string_view text) {
    auto plan = parse_fault_plan(text);
    BOOST_REQUIRE_MESSAGE(plan.has_value(), text << ": " << (plan ? "" : plan.error().describe()));
    return *plan;
}

/// `count` faults that differ in where they strike.
fault_plan many(std::uint64_t count) {
    fault_plan plan;
    for (std::uint64_t i = 1; i <= count; ++i) plan.push_back({fault_kind::delay, i, 5});
    return plan;
}

bool has(const fault_plan& plan, std::uint64_t at) {
    return std::any_of(plan.begin(), plan.end(), [&](const fault& each) { return each.at == at; });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(faults)

BOOST_AUTO_TEST_CASE(every_kind_has_a_name_of_its_own_that_is_read_back) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < fault_kind_count; ++i) {
        const auto kind = static_cast<fault_kind>(i);
        BOOST_TEST(names.insert(to_string(kind)).second, to_string(kind));
        const fault_plan plan{{kind, 7}};
        BOOST_CHECK((parsed(to_string(plan)) == plan));
    }
    BOOST_TEST(!names.contains("?"));
    BOOST_TEST(to_string(static_cast<fault_kind>(fault_kind_count)) == "?");  // none is left out
}

BOOST_AUTO_TEST_CASE(a_plan_is_written_as_it_is_read) {
    const fault_plan plan{{fault_kind::reset, 3},
                          {fault_kind::op_fails, 17, ECONNRESET, true},
                          {fault_kind::delay, 1, 2500},
                          {fault_kind::op_waits, 18446744073709551615U, -4, true}};
    const std::string text = to_string(plan);
    BOOST_TEST(text ==
               "reset@3,op_fails@17+=ECONNRESET,delay@1=2500,op_waits@18446744073709551615+=-4");
    BOOST_CHECK((parsed(text) == plan));
}

BOOST_AUTO_TEST_CASE(errors_are_read_by_name_and_by_number) {
    BOOST_TEST(parsed("op_fails@1=104")[0].value == ECONNRESET);
    BOOST_TEST(parsed("accept_fails@1=EMFILE")[0].value == EMFILE);
    BOOST_TEST(to_string(fault_plan{{fault_kind::op_fails, 1, 4000}}) == "op_fails@1=4000");
    BOOST_TEST(to_string(fault_plan{{fault_kind::delay, 1, ECONNRESET}}) == "delay@1=104");
}

BOOST_AUTO_TEST_CASE(the_empty_plan_is_none) {
    BOOST_TEST(to_string(fault_plan{}) == "none");
    BOOST_TEST(parsed("none").empty());
}

BOOST_AUTO_TEST_CASE(what_is_no_plan_is_refused_with_the_word_that_is_wrong) {
    for (const auto& [text, word] : {std::pair{"", "''"},
                                     {"reset", "'reset'"},
                                     {"reset@", "'reset@'"},
                                     {"reset@0", "'reset@0'"},
                                     {"reset@-1", "'reset@-1'"},
                                     {"reset@3x", "'reset@3x'"},
                                     {"reset@3=", "'reset@3='"},
                                     {"reset@3=5+", "'reset@3=5+'"},
                                     {"reset@3,", "''"},
                                     {"reset@3,,loss@1", "''"},
                                     {"loss@1,rest@3,delay@1", "'rest@3'"},
                                     {"reset@3 ,loss@1", "'reset@3 '"},
                                     {"delay@1=ECONNRESET", "'delay@1=ECONNRESET'"},
                                     {"op_fails@1=EWHAT", "'op_fails@1=EWHAT'"},
                                     {"reset@99999999999999999999", "99999'"}}) {
        const auto plan = parse_fault_plan(text);
        BOOST_REQUIRE_MESSAGE(!plan, text);
        BOOST_CHECK((plan.error() == errc::value_error));
        BOOST_TEST(plan.error().message().find(word) != std::string::npos, plan.error().message());
    }
}

BOOST_AUTO_TEST_CASE(shrinking_keeps_just_what_is_needed) {
    for (const auto& needed :
         {std::set<std::uint64_t>{1}, {40}, {3, 29}, {1, 2, 39, 40}, {5, 10, 15, 20, 25, 30, 35}}) {
        int runs = 0;
        const auto small = shrink(many(40), [&](const fault_plan& plan) {
            ++runs;
            return std::all_of(needed.begin(), needed.end(),
                               [&](std::uint64_t at) { return has(plan, at); });
        });
        std::vector<std::uint64_t> left;
        for (const fault& each : small) left.push_back(each.at);
        BOOST_TEST(left == std::vector(needed.begin(), needed.end()),
                   boost::test_tools::per_element());
        BOOST_TEST(runs < 200);
    }
}

BOOST_AUTO_TEST_CASE(shrinking_leaves_nothing_out_that_could_not_go_alone) {
    // Any three of ten will do: no single one matters, and still three must be left.
    const auto small = shrink(many(10), [](const fault_plan& plan) { return plan.size() >= 3; });
    BOOST_TEST(small.size() == 3U);
}

BOOST_AUTO_TEST_CASE(what_fails_without_any_fault_shrinks_to_none) {
    const auto small = shrink(many(1000), [](const fault_plan&) { return true; });
    BOOST_TEST(small.empty());
}

BOOST_AUTO_TEST_CASE(what_needs_every_fault_keeps_them_in_order) {
    const fault_plan all = many(9);
    BOOST_CHECK((shrink(all, [&](const fault_plan& plan) { return plan == all; }) == all));
    BOOST_CHECK(shrink({}, [](const fault_plan&) { return true; }).empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::testing
