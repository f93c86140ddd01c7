// A stream to a peer.
#pragma once

#include <cstdint>
#include <string>

#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/unix.hpp>
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
    std::size_t limit_bytes = default_stream_limit_bytes;  ///< of the reader
};

/// Connects to `host`:`port`. Errors and cancellation as `create_connection`.
task<stream> open_connection(std::string host, std::uint16_t port, stream_options options = {});
/// Connects to one known address, unix sockets included.
task<stream> open_connection(address peer, stream_options options = {});
/// Streams on a connected socket, which belongs to them from then on.
task<stream> open_connection(socket connected, stream_options options = {});

/// How a stream to a path is opened.
struct stream_unix_options {
    unix_connect_options connect{};                        ///< how the connection is made
    std::size_t limit_bytes = default_stream_limit_bytes;  ///< of the reader
};

/// Connects to the unix socket at `path`. Errors and cancellation as `create_unix_connection`.
task<stream> open_unix_connection(std::string path, stream_unix_options options = {});
/// Streams on a connected unix stream socket, which belongs to them from then on.
task<stream> open_unix_connection(socket connected, stream_unix_options options = {});

}  // namespace ouro
