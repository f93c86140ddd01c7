// What does a UDP echo cost with Asio? One receive and one send at a time, in a coroutine.

#define ASIO_STANDALONE
#define ASIO_NO_DEPRECATED
// Asio 1.22 looks for the experimental coroutines of old clang; the standard ones serve it well.
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1

#include <asio/basic_datagram_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/udp.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>

#include "udp_server.hpp"

#include <vector>

namespace {

// Naming the executor instead of any_io_executor spares the type erasure in every operation.
using executor = asio::io_context::executor_type;
using udp_socket = asio::basic_datagram_socket<asio::ip::udp, executor>;
constexpr auto awaited = asio::experimental::as_tuple(asio::use_awaitable_t<executor>{});

asio::awaitable<void, executor> echo(udp_socket socket) {
    std::vector<char> data(64 * 1024);
    asio::ip::udp::endpoint from;
    for (;;) {
        const auto [failed, bytes] =
            co_await socket.async_receive_from(asio::buffer(data), from, awaited);
        if (failed) continue;
        co_await socket.async_send_to(asio::buffer(data.data(), bytes), from, awaited);
    }
}

int serve(int fd) {
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);  // one thread: no locks
    asio::signal_set stop(context, SIGTERM, SIGINT);
    stop.async_wait([&context](const std::error_code&, int) { context.stop(); });
    udp_socket socket(context.get_executor(), asio::ip::udp::v4(), fd);
    asio::co_spawn(context, echo(std::move(socket)), asio::detached);
    context.run();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"UDP echo server on standalone Asio: coroutines, epoll, one thread."};
    return bench::udp_server_main(argc, argv, app, [&](int fd, auto announce) {
        announce(fd);
        return serve(fd);
    });
}
