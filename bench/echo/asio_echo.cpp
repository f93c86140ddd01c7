// What does an echo cost with Asio? Its coroutines, set up as it allows for a single thread.

#define ASIO_STANDALONE
#define ASIO_NO_DEPRECATED
// Asio 1.22 looks for the experimental coroutines of old clang; the standard ones serve it well.
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1

#include <asio/basic_socket_acceptor.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include "server_options.hpp"

#include <vector>

namespace {

// Naming the executor instead of any_io_executor spares the type erasure in every operation.
using executor = asio::io_context::executor_type;
constexpr auto awaited = asio::experimental::as_tuple(asio::use_awaitable_t<executor>{});

template <typename Protocol>
asio::awaitable<void, executor> echo(asio::basic_stream_socket<Protocol, executor> socket,
                                     std::size_t buffer_bytes) {
    std::vector<char> data(buffer_bytes);
    for (;;) {
        const auto [read_error, bytes] =
            co_await socket.async_read_some(asio::buffer(data), awaited);
        if (read_error) co_return;
        const auto [write_error, written] =
            co_await asio::async_write(socket, asio::buffer(data.data(), bytes), awaited);
        if (write_error) co_return;
    }
}

template <typename Protocol>
asio::awaitable<void, executor> accept(asio::basic_socket_acceptor<Protocol, executor> acceptor,
                                       std::size_t buffer_bytes) {
    for (;;) {
        auto [error, socket] = co_await acceptor.async_accept(awaited);
        if (error) continue;
        asio::co_spawn(acceptor.get_executor(), echo<Protocol>(std::move(socket), buffer_bytes),
                       asio::detached);
    }
}

template <typename Protocol>
void serve(const bench::server_options& options, const Protocol& protocol, int listener) {
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);  // one thread: no locks
    asio::signal_set stop(context, SIGTERM, SIGINT);
    stop.async_wait([&context](const std::error_code&, int) { context.stop(); });
    asio::basic_socket_acceptor<Protocol, executor> acceptor(context.get_executor(), protocol,
                                                             listener);
    asio::co_spawn(context, accept<Protocol>(std::move(acceptor), options.recv_buffer_bytes),
                   asio::detached);
    bench::announce(options, listener);
    context.run();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Echo server on standalone Asio: coroutines, epoll, one thread."};
    bench::server_options options;
    return bench::server_main(argc, argv, app, options, [&] {
        const int listener = bench::listen_on(options);
        if (options.unix_path.empty()) {
            serve(options, asio::ip::tcp::v4(), listener);
        } else {
            serve(options, asio::local::stream_protocol(), listener);
        }
    });
}
