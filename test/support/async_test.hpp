// OURO_ASYNC_TEST: a test whose body is a task, run on a fresh loop, once for each engine, with all
// accounts settled at the end.
#pragma once

#include <boost/test/unit_test.hpp>

#include <string>
#include <utility>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro::test {

/// The engines every test runs on.
enum class engine {
    uring,        ///< with all this kernel offers
    plain_uring,  ///< with what the oldest supported kernel offers
};

/// Small rings, so that tests meet their limits.
loop_options options_for(engine which);

/// Runs `body` on a fresh loop and checks that afterwards no operation, task, timer, descriptor,
/// transport, lent buffer or frame is left, and that every report to the exception handler was
/// taken by `take_reports`.
void run_on(engine which, task<> (*body)());

/// The reports given to the exception handler of the running test's loop since the last call. A
/// test that expects one must take it.
std::vector<failure_report> take_reports();

/// Lets everything that is ready run, `turns` times.
task<> settle(int turns = 5);

/// Two connected TCP sockets on loopback.
task<std::pair<socket, socket>> tcp_pair();

/// `size` bytes of a pattern that differs at every offset of interest, starting at `offset`.
std::string pattern(std::size_t size, std::size_t offset = 0);

}  // namespace ouro::test

/// Defines a test: OURO_ASYNC_TEST(name_as_a_sentence) { co_await ...; }
#define OURO_ASYNC_TEST(name)                                                                      \
    static ::ouro::task<> name();                                                                  \
    BOOST_AUTO_TEST_CASE(name##_on_uring) {                                                        \
        ::ouro::test::run_on(::ouro::test::engine::uring, &name);                                  \
    }                                                                                              \
    BOOST_AUTO_TEST_CASE(name##_on_plain_uring) {                                                  \
        ::ouro::test::run_on(::ouro::test::engine::plain_uring, &name);                            \
    }                                                                                              \
    static ::ouro::task<> name()
