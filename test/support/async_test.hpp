// OURO_ASYNC_TEST: a test whose body is a task, run on a fresh loop, once for each engine, with all
// accounts settled at the end.
#pragma once

#include <boost/test/unit_test.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/testing/simulation.hpp>

#include "registry.hpp"

namespace ouro::test {

/// What a test runs on.
enum class engine {
    uring,        ///< with all this kernel offers
    plain_uring,  ///< with what the oldest supported kernel offers
    sim,  ///< with a kernel that is played (`ouro::testing`): no real descriptor, no real time
};

/// A world as quick as the loopback device, in which no fault strikes.
testing::simulation_options loopback(std::uint64_t seed);

/// Small rings, so that tests meet their limits.
loop_options options_for(engine which);

/// Runs `body` on a fresh loop and checks that afterwards no operation, task, timer, descriptor,
/// transport, lent buffer or frame is left, and that every report to the exception handler was
/// taken by `take_reports`.
void run_on(engine which, task<> (*body)());
/// The same on a loop made with `options`.
void run_with(const loop_options& options, task<> (*body)());

/// The reports given to the exception handler of the running test's loop since the last call. A
/// test that expects one must take it.
std::vector<failure_report> take_reports();

/// Lets everything that is ready run, `turns` times.
task<> settle(int turns = 5);

/// Waits until `holds`; the test fails when it does not within some seconds.
task<> eventually(std::function<bool()> holds);
/// Whether there is an address ::1: in a simulation always, in a container not always.
task<bool> has_ipv6();

/// The last one. Checked, as `at` is: under torture less may have come than the test waits for, and
/// that must fail this test, not all of them.
template <class Sequence>
auto& last_of(Sequence& all) {
    return all.at(all.size() - 1);
}

/// Two connected TCP sockets on loopback.
task<std::pair<socket, socket>> tcp_pair();

/// `size` bytes of a pattern that differs at every offset of interest, starting at `offset`.
std::string pattern(std::size_t size, std::size_t offset = 0);

}  // namespace ouro::test

#define OURO_TEST_ON(name, which)                                                                  \
    BOOST_AUTO_TEST_CASE(name##_on_##which) {                                                      \
        ::ouro::test::run_on(::ouro::test::engine::which, &name);                                  \
    }
#define OURO_TEST_NOTED(name, kernel_only, not_tortured)                                           \
    static ::ouro::task<> name();                                                                  \
    static const ::ouro::test::registration name##_noted(                                          \
        {#name, &name, __FILE__, __LINE__, kernel_only, not_tortured});

/// Defines a test: OURO_ASYNC_TEST(name_as_a_sentence) { co_await ...; } It runs on every engine:
/// it makes no system call on a descriptor but through the door, and knows no clock but that of the
/// loop.
#define OURO_ASYNC_TEST(name)                                                                      \
    OURO_TEST_NOTED(name, nullptr, nullptr)                                                        \
    OURO_TEST_ON(name, uring)                                                                      \
    OURO_TEST_ON(name, plain_uring)                                                                \
    OURO_TEST_ON(name, sim)                                                                        \
    static ::ouro::task<> name()

/// Defines a test that is about the real kernel, and why it is.
#define OURO_KERNEL_TEST(name, reason)                                                             \
    OURO_TEST_NOTED(name, reason, nullptr)                                                         \
    OURO_TEST_ON(name, uring)                                                                      \
    OURO_TEST_ON(name, plain_uring)                                                                \
    static ::ouro::task<> name()

/// Defines a test that runs on every engine, but whose body must run to its end, and why: torture
/// leaves it out.
#define OURO_WHOLE_TEST(name, reason)                                                              \
    OURO_TEST_NOTED(name, nullptr, reason)                                                         \
    OURO_TEST_ON(name, uring)                                                                      \
    OURO_TEST_ON(name, plain_uring)                                                                \
    OURO_TEST_ON(name, sim)                                                                        \
    static ::ouro::task<> name()
