// Unix sockets: connections and servers that are named by a path.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/server.hpp>

namespace ouro {

/// How a unix connection is made.
struct unix_connect_options {
    address local{};  ///< a name of its own; a file at it is left to the caller
};

/// How a unix server is made. As `server_options`, for what unix sockets have of it.
struct unix_server_options {
    int backlog_count = 100;    ///< connections the kernel holds until they are accepted
    bool start_serving = true;  ///< false: nothing listens until `start_serving`
    std::chrono::milliseconds accept_retry = std::chrono::seconds(1);  ///< in a shortage
    std::size_t max_connections = 0;      ///< live connections at most, 0 for any number
    double max_accept_rate = 0;           ///< accepted each second at most, 0 for any number
    std::optional<std::uint32_t> mode{};  ///< permission bits of the file, set before it listens
    bool cleanup_socket = true;           ///< the file goes with the server (rules 436, 437)
    /// Replace the file also where another server listens at it, which keeps its connections and
    /// gets no new ones: how a new program takes over from an old one.
    bool take_over = false;
};

namespace detail {
task<std::shared_ptr<transport>> connect_unix(protocol_factory factory, std::string path,
                                              unix_connect_options options);
task<std::shared_ptr<transport>> wrap_unix(protocol_factory factory, socket given);
task<server> listen_on_unix(protocol_factory factory, std::string path,
                            unix_server_options options);
task<server> listen_on_unix(protocol_factory factory, socket given, unix_server_options options);
}  // namespace detail

/// Connects to the unix socket at `path` and puts `factory()` on the connection. A leading zero
/// byte or `@` means an abstract name.
///
/// Result  the transport and the protocol, after `connection_made` has run.
/// Errors  names the path: not found (rule 443), refused, no permission; `errc::value_error` for a
///         path that is empty or longer than 107 bytes.
/// Cancel  the connection is given up and closed.
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>>
create_unix_connection(Factory factory, std::string path, unix_connect_options options = {}) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::connect_unix(detail::remembering(std::move(factory), made),
                                              std::move(path), options);
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}
/// Puts `factory()` on a connected unix stream socket, which belongs to the transport from then on.
///
/// Errors  `errc::value_error` for any other socket (rule 440).
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>> create_unix_connection(Factory factory,
                                                                        socket given) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link =
        co_await detail::wrap_unix(detail::remembering(std::move(factory), made), std::move(given));
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

/// Listens at `path` and puts `factory()` on every connection. A socket file that nobody listens at
/// any more is replaced (rule 431); to find that out it is connected to. What is no socket is left
/// alone (rule 432). Abstract names have no file (rule 433).
///
/// Closing the server removes the file, unless it is not the server's any more (rules 436, 437).
///
/// Errors  names the path: address_in_use where somebody listens, or by something else; no
///         permission, no such folder; `errc::value_error` as in `create_unix_connection`.
template <protocol_maker Factory>
task<server> create_unix_server(Factory factory, std::string path,
                                unix_server_options options = {}) {
    return detail::listen_on_unix(protocol_factory(std::move(factory)), std::move(path), options);
}
/// The same on a bound unix stream socket, which belongs to the server from then on, with its file.
///
/// Errors  `errc::value_error` for any other socket (rule 440).
template <protocol_maker Factory>
task<server> create_unix_server(Factory factory, socket given, unix_server_options options = {}) {
    return detail::listen_on_unix(protocol_factory(std::move(factory)), std::move(given), options);
}

}  // namespace ouro
