// The files of unix sockets.
#include "socket_file.hpp"

#include <chrono>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/timeout.hpp>

namespace ouro::detail {
namespace {

// For a queue that is full, and for the listening socket of a process that is dead.
constexpr auto patience = std::chrono::seconds(1);

void report(loop& home, const char* what, error why, const std::string& path) noexcept {
    home.call_exception_handler({.level = severity::warning,
                                 .message = words(what),
                                 .error = std::move(why),
                                 .subject = words([&] { return "socket file " + path; }),
                                 .created = {}});
}

/// Fails with connection_refused when nobody listens. The sockets of a dead process live on until
/// the kernel has let go of its ring; a connection to such a one is taken by nobody, and reset.
task<> knock(loop& home, const address& at) {
    const timeout limit(patience);
    for (;;) {
        socket visitor = co_await socket::open(home, AF_UNIX);
        co_await visitor.connect(at);
        std::byte room[1];
        const auto heard = co_await as_result(visitor.recv_into(room));
        if (heard) co_return;
        if (heard.error() != std::errc::connection_reset) co_await result<>(heard.error());
    }
}

}  // namespace

void remove_socket_file(loop& home, const std::string& path) noexcept {
    const auto found = io::identify_file(home, path.c_str());
    result<> outcome;
    if (!found) {
        outcome = found.error();
    } else if (found->is_socket()) {
        outcome = io::remove_file(home, path.c_str());
    }
    if (outcome || outcome.error() == std::errc::no_such_file_or_directory) return;
    report(home, "a stale socket file could not be removed", outcome.error(), path);
}

task<> remove_stale_socket_file(loop& home, address where) {
    const std::string path = where.path();
    const auto found = co_await as_result(knock(home, where));
    const error why = found ? error() : found.error();
    if (why == std::errc::connection_refused) co_return remove_socket_file(home, path);
    if (why == std::errc::no_such_file_or_directory) co_return;
    if (why == errc::cancelled) co_await result<>(why);
    // A socket of another type is in use as well.
    if (!why || why == std::errc::timed_out || why == std::errc::wrong_protocol_type) {
        co_await result<>(error(std::errc::address_in_use, "listen on " + path)
                              .because("somebody listens there"));
    }
    report(home, "who listens at a socket file could not be found out",
           error(why.code(), "connect " + path), path);
}

}  // namespace ouro::detail
