// Sockets that a service manager opened for this program.
#pragma once

#include <string>
#include <vector>

#include <ouro/net/socket.hpp>

namespace ouro {

/// One socket that was handed over, and its name; empty when it has none.
struct inherited_socket {
    std::string name;
    socket on;
};

/// The sockets a service manager handed to this process: LISTEN_FDS of them from descriptor 3 on,
/// if LISTEN_PID is this process, with the names of LISTEN_FDNAMES. They become close-on-exec and
/// belong to the running loop; the variables are taken out of the environment, so that a second
/// call, and a child, finds none.
///
/// Result   empty when there is none for this process.
/// Errors   `errc::value_error` when the variables make no sense or a descriptor is no socket;
///          nothing was taken over then.
/// Threads  the loop's thread, while no other thread reads the environment.
result<std::vector<inherited_socket>> inherited_sockets();

namespace detail {
/// What the environment says, where the descriptors begin, and which process asks.
struct inheritance {
    const char* pid;
    const char* count;
    const char* names;
    int first = 3;
    int own_pid;
};
result<std::vector<inherited_socket>> inherit(loop& home, const inheritance& from);
}  // namespace detail

}  // namespace ouro
