// A coroutine for every client.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ouro/proto/server.hpp>
#include <ouro/proto/unix.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/writer.hpp>

namespace ouro {

/// How streams are served.
struct stream_server_options {
    server_options server{};                               ///< how the server listens
    std::size_t limit_bytes = default_stream_limit_bytes;  ///< of each reader, not 0
};

namespace detail {
using stream_handler = function<task<>(stream_reader, stream_writer)>;
protocol_factory serving_streams(std::shared_ptr<stream_handler> handler, std::size_t limit_bytes);

/// A plain function as a handler: it is simply called (rule 644).
template <class Handler>
task<> call_plain(Handler& handler, stream_reader reader, stream_writer writer) {
    handler(std::move(reader), std::move(writer));
    co_return;
}

template <class Handler>
protocol_factory stream_factory(Handler handler, std::size_t limit_bytes) {
    if constexpr (std::is_void_v<std::invoke_result_t<Handler&, stream_reader, stream_writer>>) {
        auto plain = [handler = std::move(handler)](stream_reader reader,
                                                    stream_writer writer) mutable {
            return call_plain(handler, std::move(reader), std::move(writer));
        };
        return serving_streams(std::make_shared<stream_handler>(std::move(plain)), limit_bytes);
    } else {
        return serving_streams(std::make_shared<stream_handler>(std::move(handler)), limit_bytes);
    }
}
}  // namespace detail

/// A callable `task<>(stream_reader, stream_writer)`, or one that returns nothing.
template <class Handler>
concept stream_server_handler = std::invocable<Handler&, stream_reader, stream_writer>;

/// Listens on `host`:`port` and runs `handler(reader, writer)` as a task for every client.
///
/// An error that leaves the handler goes to the loop's exception handler and closes that
/// connection; other clients go on (rule 645). The connection is closed when the handler lets go of
/// its writer.
template <stream_server_handler Handler>
task<server> start_server(Handler handler, std::string host, std::uint16_t port,
                          stream_server_options options = {}) {
    return detail::listen_on(detail::stream_factory(std::move(handler), options.limit_bytes),
                             std::move(host), port, options.server);
}
/// The same on several hosts: one listening socket for each distinct address.
template <stream_server_handler Handler>
task<server> start_server(Handler handler, std::vector<std::string> hosts, std::uint16_t port,
                          stream_server_options options = {}) {
    return detail::listen_on(detail::stream_factory(std::move(handler), options.limit_bytes),
                             std::move(hosts), port, options.server);
}
/// The same for hosts written down in braces.
template <stream_server_handler Handler>
task<server> start_server(Handler handler, std::initializer_list<std::string> hosts,
                          std::uint16_t port, stream_server_options options = {}) {
    return start_server(std::move(handler), std::vector<std::string>(hosts), port,
                        std::move(options));
}
/// The same on one known address, unix sockets included.
template <stream_server_handler Handler>
task<server> start_server(Handler handler, address where, stream_server_options options = {}) {
    return detail::listen_on(detail::stream_factory(std::move(handler), options.limit_bytes), where,
                             options.server);
}
/// The same on a bound socket, which belongs to the server from then on.
template <stream_server_handler Handler>
task<server> start_server(Handler handler, socket bound, stream_server_options options = {}) {
    return detail::listen_on(detail::stream_factory(std::move(handler), options.limit_bytes),
                             std::move(bound), options.server);
}
/// The same on several of them, such as those that `inherited_sockets` finds.
template <stream_server_handler Handler>
task<server> start_server(Handler handler, std::vector<socket> bound,
                          stream_server_options options = {}) {
    return detail::listen_on(detail::stream_factory(std::move(handler), options.limit_bytes),
                             std::move(bound), options.server);
}

/// How streams are served at a path.
struct stream_unix_server_options {
    unix_server_options server{};                          ///< how the server listens
    std::size_t limit_bytes = default_stream_limit_bytes;  ///< of each reader, not 0
};

/// Listens at `path` as `create_unix_server` does and runs `handler(reader, writer)` as
/// `start_server` does.
template <stream_server_handler Handler>
task<server> start_unix_server(Handler handler, std::string path,
                               stream_unix_server_options options = {}) {
    return detail::listen_on_unix(detail::stream_factory(std::move(handler), options.limit_bytes),
                                  std::move(path), options.server);
}
/// The same on a bound unix stream socket, which belongs to the server from then on, with its file.
template <stream_server_handler Handler>
task<server> start_unix_server(Handler handler, socket bound,
                               stream_unix_server_options options = {}) {
    return detail::listen_on_unix(detail::stream_factory(std::move(handler), options.limit_bytes),
                                  std::move(bound), options.server);
}

}  // namespace ouro
