// A stream to a peer.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/unix.hpp>
#include <ouro/runtime/function.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/writer.hpp>

namespace ouro {

/// Both halves of a stream: `auto [reader, writer] = co_await open_connection(...)`.
struct stream {
    stream_reader reader;
    stream_writer writer;
};

/// How a stream is opened.
struct stream_options {
    connect_options connect{};                             ///< how the connection is made
    std::size_t limit_bytes = default_stream_limit_bytes;  ///< of the reader, not 0
};

/// Connects to `host`:`port`. Errors and cancellation as `create_connection`.
task<stream> open_connection(std::string host, std::uint16_t port, stream_options options = {});
/// Connects to the first of `hosts` that answers.
task<stream> open_connection(std::vector<std::string> hosts, std::uint16_t port,
                             stream_options options = {});
/// The same for hosts written down in braces.
inline task<stream> open_connection(std::initializer_list<std::string> hosts, std::uint16_t port,
                                    stream_options options = {}) {
    return open_connection(std::vector<std::string>(hosts), port, std::move(options));
}
/// Connects to one known address, unix sockets included.
task<stream> open_connection(address peer, stream_options options = {});
/// Streams on a connected socket, which belongs to them from then on.
task<stream> open_connection(socket connected, stream_options options = {});

/// How a stream to a path is opened.
struct stream_unix_options {
    unix_connect_options connect{};                        ///< how the connection is made
    std::size_t limit_bytes = default_stream_limit_bytes;  ///< of the reader, not 0
};

/// Connects to the unix socket at `path`. Errors and cancellation as `create_unix_connection`.
task<stream> open_unix_connection(std::string path, stream_unix_options options = {});
/// Streams on a connected unix stream socket, which belongs to them from then on.
task<stream> open_unix_connection(socket connected, stream_unix_options options = {});
/// Puts what a factory makes on a transport, and waits until `connection_made` has run.
using stream_connector = function<task<>(protocol_factory factory)>;
/// Streams on a transport of any kind, one of yours included. `options.connect` is not used.
///
///     auto [reader, writer] = co_await open_connection([&](protocol_factory factory) -> task<> {
///         co_await create_connection(std::move(factory), memory_end);
///     });
///
/// Errors    those of `connect`, which close what it had connected; `errc::invalid_state` when it
///           made no connection.
/// Cancel    that of `connect`, likewise.
/// Lifetime  `connect` lives until the connection is made.
task<stream> open_connection(stream_connector connect, stream_options options = {});

}  // namespace ouro
