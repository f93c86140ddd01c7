// Threads of the library's own.
#pragma once

#include <pthread.h>

#include <csignal>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "process_signals.hpp"

namespace ouro::detail {

/// Starts a thread with a name and all signals blocked: they are for threads of the program's own.
/// Throws `std::system_error` when there is none to be had.
template <class Body>
std::thread start_thread(const std::string& name, Body body) {
    const signals_blocked quiet;         // the new thread inherits this
    constexpr std::size_t longest = 15;  // the kernel refuses more
    std::thread made(std::move(body));
    ::pthread_setname_np(made.native_handle(), name.substr(0, longest).c_str());
    return made;
}

/// Processors this process may run on, by number; empty when the kernel does not tell.
std::vector<int> usable_processors();

}  // namespace ouro::detail
