// Runs a test's body on a loop behind an injection, on the real ring.
#pragma once

#include <utility>

#include <ouro/testing/injection.hpp>

#include "async_test.hpp"

namespace ouro::test {

/// What a test does behind `faults`.
using injected_body = task<> (*)(testing::injection& faults);

namespace detail {
inline testing::injection* running_injection = nullptr;
inline injected_body running_body = nullptr;
}  // namespace detail

/// Runs `body` once on each real engine, each time behind a new injection. Afterwards nothing may
/// be left, as with `run_on`.
inline void run_injected(const testing::injection::settings& what, injected_body body) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        BOOST_TEST_CONTEXT((which == engine::uring ? "uring, " : "plain uring, ")
                           << testing::to_string(what.plan)) {
            testing::injection faults(what);
            detail::running_injection = &faults;
            detail::running_body = body;
            run_with(faults.options(options_for(which)),
                     [] { return detail::running_body(*detail::running_injection); });
        }
    }
}

/// `run_injected` with the plan `text`.
inline void run_with_plan(std::string_view text, injected_body body) {
    run_injected({.plan = testing::parse_fault_plan(text).value()}, body);
}

}  // namespace ouro::test
