// The door for processes of ours.
#include <poll.h>

#include <ouro/runtime/io.hpp>

#include "loop_state.hpp"

namespace ouro::io {
namespace {

detail::engine& kernel(loop& home) noexcept { return *home.state().kernel; }

/// "run cat (change to /nowhere)".
std::string doing(const spawn_request& what, const detail::spawn_failure& failure) {
    const std::string text = std::string("run ") + what.arguments[0];
    switch (failure.at) {
    case detail::spawn_step::start:
        return text + " (start a process)";
    case detail::spawn_step::session:
        return text + " (start a session or a group)";
    case detail::spawn_step::directory:
        return text + " (change to " + what.directory + ")";
    case detail::spawn_step::descriptor:
        return text + " (pass descriptor " + std::to_string(failure.descriptor) + ")";
    case detail::spawn_step::execute:
        break;
    }
    return what.paths.size() == 1 ? text + " (execute " + what.paths[0] + ")" : text + " (execute)";
}

}  // namespace

result<child> spawn(loop& home, const spawn_request& what) {
    child made;
    detail::spawn_failure failure;
    if (const int failed = kernel(home).spawn(what, made, failure); failed < 0) {
        return error::from_errno(-failed, [&] { return doing(what, failure); });
    }
    adopt(home, made.pidfd);
    return made;
}

void wait_child(loop& home, op& request, const child& whom) noexcept {
    poll(home, request, whom.pidfd, POLLIN);
}

result<int> collect_child(loop& home, const child& whom) {
    int code = 0;
    if (const int failed = kernel(home).collect_child(whom, code); failed < 0) {
        return error::from_errno(-failed, "collect a child");
    }
    return code;
}

result<> signal_child(loop& home, const child& whom, int signum, signal_reach reach) {
    if (const int failed = kernel(home).signal_child(whom, signum, reach); failed < 0) {
        return error::from_errno(-failed, "signal a child");
    }
    return {};
}

}  // namespace ouro::io
