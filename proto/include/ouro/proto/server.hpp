// Serving: a protocol on every connection that comes in.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

/// How a server is made.
struct server_options {
    int family = AF_UNSPEC;     ///< AF_INET or AF_INET6 to listen on one kind only
    int backlog_count = 100;    ///< connections the kernel holds until they are accepted
    bool reuse_address = true;  ///< SO_REUSEADDR (rule 395)
    bool reuse_port = false;    ///< SO_REUSEPORT, several servers on one port (rule 396)
    bool start_serving =
        true;  ///< false: nothing listens until `start_serving` or `serve_forever` (rule 405)
    /// How long accepting pauses when the process is out of descriptors or memory (rule 425).
    std::chrono::milliseconds accept_retry = std::chrono::seconds(1);
};

namespace detail {
class server_state;
}

/// One or more listening sockets and the connections they accepted. A cheap handle; the loop keeps
/// a serving server alive until it is closed (rule 420).
///
/// Threads  the loop's thread.
class server {
  public:
    /// Refers to nothing.
    server() noexcept = default;
    explicit server(std::shared_ptr<detail::server_state> state) noexcept;

    /// The listening sockets; none once closed (rule 413).
    std::vector<const socket_view*> sockets() const;
    /// Their addresses, in order: what port 0 became can be read here.
    std::vector<address> addresses() const;
    /// True while it accepts.
    bool is_serving() const noexcept;
    /// Starts to accept. Idempotent (rule 406).
    ///
    /// Errors  `errc::server_closed` (rule 407); what listen(2) says.
    result<> start_serving();
    /// Accepts until cancelled or closed.
    ///
    /// Errors  `errc::cancelled` when the server is closed elsewhere (rule 410);
    ///         `errc::already_serving`; `errc::server_closed` (rules 408, 411).
    /// Cancel  closes the server, waits for its connections, then ends cancelled (rule 409).
    task<> serve_forever();
    /// Stops accepting and closes the listening sockets; connections live on (rule 412).
    /// Idempotent.
    void close() noexcept;
    /// Closes every live connection gracefully (rule 417).
    void close_clients() noexcept;
    /// Aborts every live connection (rule 417).
    void abort_clients() noexcept;
    /// Waits until it is closed and no connection is left (rules 414-416).
    ///
    /// Cancel  leaves the wait; nothing else changes.
    task<> wait_closed();
    /// Live connections.
    std::size_t client_count() const noexcept;

  private:
    detail::server_state& live() const noexcept;
    std::shared_ptr<detail::server_state>
        state_;  // shared with the connections, which report their end to it
};

namespace detail {
task<server> listen_on(protocol_factory factory, std::string host, std::uint16_t port,
                       server_options options);
task<server> listen_on(protocol_factory factory, address where, server_options options);
task<server> listen_on(protocol_factory factory, socket given, server_options options);
}  // namespace detail

/// Listens on `host`:`port` and puts `factory()` on every connection. An empty host means all
/// interfaces, port 0 a free one (rules 391, 393).
///
/// Errors  names the address: in use, not available, no permission (rules 399-401).
template <protocol_maker Factory>
task<server> create_server(Factory factory, std::string host, std::uint16_t port,
                           server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), std::move(host), port, options);
}
/// The same on one known address, unix sockets included.
template <protocol_maker Factory>
task<server> create_server(Factory factory, address where, server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), where, options);
}
/// The same on a bound stream socket, which belongs to the server from then on (rule 429).
template <protocol_maker Factory>
task<server> create_server(Factory factory, socket given, server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), std::move(given), options);
}

}  // namespace ouro
