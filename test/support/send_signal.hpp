// Signals for tests: sent to the process, or raised in the simulation a test runs in.
#pragma once

#include <unistd.h>

#include <csignal>

#include <ouro/testing/simulation.hpp>

namespace ouro::test {

// What a process that ends early may still get: by default both are ignored.
inline constexpr int harmless = SIGWINCH;
inline constexpr int also_harmless = SIGURG;

inline void send_signal(int signum) {
    if (auto* world = testing::simulation::try_current()) return world->raise(signum);
    ::kill(::getpid(), signum);
}

}  // namespace ouro::test
