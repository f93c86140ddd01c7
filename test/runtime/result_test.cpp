// result<T> and the bridge to exceptions.
#include <ouro/runtime/result.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>

#include "child_process.hpp"

namespace ouro::test {
namespace {

result<int> half_of(int number) {
    if (number % 2) return error(errc::value_error, "halve " + std::to_string(number));
    return number / 2;
}
result<> only_even(int number) {
    if (number % 2) return errc::value_error;
    return {};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(results)

BOOST_AUTO_TEST_CASE(a_result_holds_a_value_or_an_error) {
    const auto good = half_of(8);
    BOOST_TEST(good.has_value());
    BOOST_TEST(*good == 4);
    const auto bad = half_of(7);
    BOOST_TEST(!bad.has_value());
    BOOST_TEST((bad.error() == errc::value_error));
    BOOST_TEST(bad.error().doing() == "halve 7");
    BOOST_TEST(only_even(2).has_value());
    BOOST_TEST((only_even(3).error() == errc::value_error));
}

BOOST_AUTO_TEST_CASE(a_result_may_hold_what_can_only_be_moved) {
    result<std::unique_ptr<int>> one(std::make_unique<int>(5));
    auto other = std::move(one);
    BOOST_TEST(**other == 5);
    BOOST_TEST(*value_or_throw(std::move(other)) == 5);
}

BOOST_AUTO_TEST_CASE(value_or_throw_gives_the_value_or_throws_a_system_error_with_the_code) {
    BOOST_TEST(value_or_throw(half_of(8)) == 4);
    value_or_throw(only_even(2));
    try {
        value_or_throw(half_of(7));
        BOOST_ERROR("nothing was thrown");
    } catch (const std::system_error& thrown) {
        BOOST_TEST((thrown.code() == errc::value_error));
        BOOST_TEST(contains(thrown.what(), "halve 7"));
    }
    BOOST_CHECK_THROW(value_or_throw(only_even(3)), std::system_error);
}

BOOST_AUTO_TEST_CASE(value_or_throw_throws_the_exception_that_an_error_carries) {
    const auto thrown = std::make_exception_ptr(std::out_of_range("far"));
    BOOST_CHECK_THROW(value_or_throw(result<int>(error::from_exception(thrown))),
                      std::out_of_range);
}

BOOST_AUTO_TEST_CASE(a_plain_value_is_not_taken_for_a_result) {
    static_assert(detail::is_result<result<int>>::value);
    static_assert(detail::is_result<result<>>::value);
    static_assert(!detail::is_result<int>::value);
    static_assert(!detail::is_result<error>::value);
    result<bool> no(false);
    BOOST_TEST(no.has_value());
    BOOST_TEST(!*no);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
