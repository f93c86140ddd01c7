// Anything awaitable as a task.
#include <ouro/runtime/awaited.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <type_traits>

#include <ouro/runtime/future.hpp>
#include <ouro/runtime/spawn.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

task<std::string> text() { co_return "a text that is not short at all"; }
task<std::unique_ptr<int>> pointer() { co_return std::make_unique<int>(7); }

static_assert(std::is_same_v<detail::awaited<task<int>>, int>);
static_assert(std::is_same_v<detail::awaited<task<>>, void>);
static_assert(std::is_same_v<detail::awaited<task_handle<int>>, int>);
static_assert(std::is_same_v<detail::awaited<const task_handle<int>&>, int>);
static_assert(std::is_same_v<detail::awaited<future<std::string>>, std::string>);
static_assert(std::is_same_v<detail::awaited<detail::sleep_awaitable>, void>);

template <class A>
concept usable = requires(A&& awaitable) { as_task(std::forward<A>(awaitable)); };
static_assert(!usable<int>);
static_assert(!usable<future<std::unique_ptr<int>>&>, "its value cannot be copied");

}  // namespace

BOOST_AUTO_TEST_SUITE(awaiteds)

OURO_ASYNC_TEST(a_task_as_a_task_is_that_task) {
    BOOST_TEST(co_await as_task(text()) == co_await text());
    BOOST_TEST(*co_await as_task(pointer()) == 7);
}

OURO_ASYNC_TEST(a_handle_by_name_keeps_its_value_and_a_moved_one_gives_it_away) {
    auto started = spawn(text());
    BOOST_TEST(co_await as_task(started) == co_await text());
    BOOST_TEST(co_await as_task(started) == co_await text());
    const auto& constant = started;
    BOOST_TEST(co_await as_task(constant) == co_await text());
    BOOST_TEST(co_await as_task(std::move(started)) == co_await text());
    BOOST_TEST(*co_await as_task(spawn(pointer())) == 7);
}

OURO_ASYNC_TEST(a_handle_is_kept_by_the_task_that_awaits_it) {
    auto wrapped = as_task(spawn(text()));
    co_await settle();
    BOOST_TEST(co_await std::move(wrapped) == co_await text());
}

OURO_ASYNC_TEST(a_future_as_a_task_gives_what_was_set) {
    const promise<std::string> maker;
    auto made = maker.get_future();
    auto wrapped = spawn(as_task(made));
    co_await settle();
    maker.set_value("set");
    BOOST_TEST(co_await wrapped == "set");
    BOOST_TEST(co_await as_task(std::move(made)) == "set");
}

OURO_ASYNC_TEST(an_innermost_awaitable_as_a_task_lives_to_the_end_of_the_expression) {
    co_await as_task(yield());
    co_await as_task(sleep(1ms));
    const auto refused = co_await as_result(as_task(sleep(std::chrono::duration<double>(NAN))));
    BOOST_TEST((refused.error() == errc::value_error));
}

OURO_ASYNC_TEST(a_failure_of_what_is_awaited_is_that_of_the_task) {
    auto failed = spawn([]() -> task<> { co_await result<>(errc::unsupported); });
    const auto ended = co_await as_result(as_task(failed));
    BOOST_TEST((ended.error() == errc::unsupported));
    BOOST_TEST_REQUIRE(failed.done());
    BOOST_TEST((failed.failure() == errc::unsupported));
}

BOOST_AUTO_TEST_CASE(a_delay_in_other_units_is_never_shorter_and_never_overflows) {
    using detail::bounded;
    BOOST_TEST((bounded(1.5s) == 1500ms));
    BOOST_TEST((bounded(std::chrono::duration<double, std::nano>(0.5)) == 1ns));
    BOOST_TEST((bounded(std::chrono::hours::max()) > 24h * 365));
    BOOST_TEST((bounded(std::chrono::duration<double>(1e300)) > 24h * 365));
    BOOST_TEST((bounded(-1s) <= 0s));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
