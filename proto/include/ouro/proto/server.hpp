// Serving: a protocol on every connection that comes in.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
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

/// How a server is made. What is said of connections is set on the listening sockets, from which
/// the accepted ones inherit it; unix sockets have none of it.
struct server_options {
    int family = AF_UNSPEC;     ///< AF_INET or AF_INET6 to listen on one kind only
    int backlog_count = 100;    ///< connections the kernel holds until they are accepted
    bool reuse_address = true;  ///< SO_REUSEADDR (rule 395)
    bool reuse_port = false;    ///< SO_REUSEPORT, several servers on one port (rule 396)
    bool start_serving =
        true;  ///< false: nothing listens until `start_serving` or `serve_forever` (rule 405)
    /// How long accepting pauses when the process is out of descriptors or memory (rule 425).
    std::chrono::milliseconds accept_retry = std::chrono::seconds(1);
    /// Live connections at most, 0 for any number. At the limit accepting pauses, and who comes
    /// waits in the kernel's queue.
    std::size_t max_connections = 0;
    /// Connections accepted each second at most, 0 for any number; evenly spread, to some 10 ms.
    double max_accept_rate = 0;
    bool no_delay = true;                         ///< TCP_NODELAY
    bool keep_alive = false;                      ///< SO_KEEPALIVE (rule 398)
    std::chrono::seconds keep_alive_idle{0};      ///< TCP_KEEPIDLE, 0 for the system's
    std::chrono::seconds keep_alive_interval{0};  ///< TCP_KEEPINTVL, 0 for the system's
    int keep_alive_probes = 0;                    ///< TCP_KEEPCNT, 0 for the system's
    std::chrono::milliseconds user_timeout{0};    ///< TCP_USER_TIMEOUT, 0 for the system's
};

/// What became of the connections of a server that was stopped.
struct stop_report {
    /// A connection that had to be aborted.
    struct aborted_client {
        address peer;                  ///< empty when it has no name
        std::size_t bytes_queued = 0;  ///< written, and never taken by the kernel
    };
    std::size_t clients = 0;                ///< live when it began
    std::size_t finished = 0;               ///< ended by themselves
    std::size_t closed = 0;                 ///< ended once they were asked to close
    std::vector<aborted_client> aborted{};  ///< had not ended at the deadline
    std::chrono::nanoseconds took{};        ///< from the start of the stop to the last end
};

namespace detail {
class server_state;
}

/// One or more listening sockets and the connections they accepted. A cheap handle; the loop keeps
/// a serving server alive until it is closed (rule 420).
///
/// Lifetime  one that has never served is gone before its loop is destroyed.
/// Threads   the loop's thread.
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
    /// Stops in order: closes the server and lets connections finish for half of `grace`, closes
    /// gracefully those that are left, and aborts at the end of `grace` what has not ended.
    ///
    /// Result  how many ended in each step, and who was aborted.
    /// Cancel  leaves the wait: the server is closed, and its connections stay as they are.
    task<stop_report> stop(std::chrono::nanoseconds grace);
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
task<server> listen_on(protocol_factory factory, std::vector<std::string> hosts, std::uint16_t port,
                       server_options options);
task<server> listen_on(protocol_factory factory, address where, server_options options);
task<server> listen_on(protocol_factory factory, socket given, server_options options);
task<server> listen_on(protocol_factory factory, std::vector<socket> given, server_options options);
}  // namespace detail

/// Listens on `host`:`port` and puts `factory()` on every connection. An empty host means all
/// interfaces, port 0 a free one (rules 391, 393).
///
/// Errors  names the address: in use, not available, no permission (rules 399-401).
///         `errc::value_error` for options that no server can have.
template <protocol_maker Factory>
task<server> create_server(Factory factory, std::string host, std::uint16_t port,
                           server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), std::move(host), port, options);
}
/// The same on several hosts: one listening socket for each distinct address (rule 390). With port
/// 0 each has a port of its own (rule 394).
template <protocol_maker Factory>
task<server> create_server(Factory factory, std::vector<std::string> hosts, std::uint16_t port,
                           server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), std::move(hosts), port, options);
}
/// The same for hosts written down in braces.
template <protocol_maker Factory>
task<server> create_server(Factory factory, std::initializer_list<std::string> hosts,
                           std::uint16_t port, server_options options = {}) {
    return create_server(std::move(factory), std::vector<std::string>(hosts), port, options);
}
/// The same on one known address. A unix address is taken as it is: `create_unix_server` also looks
/// after its file.
template <protocol_maker Factory>
task<server> create_server(Factory factory, address where, server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), where, options);
}
/// The same on a bound stream socket, which belongs to the server from then on (rule 429).
template <protocol_maker Factory>
task<server> create_server(Factory factory, socket given, server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), std::move(given), options);
}
/// The same on several of them, such as those that `inherited_sockets` finds.
template <protocol_maker Factory>
task<server> create_server(Factory factory, std::vector<socket> given,
                           server_options options = {}) {
    return detail::listen_on(protocol_factory(std::move(factory)), std::move(given), options);
}

/// Puts `factory()` on a connection that was accepted elsewhere; it belongs to the transport from
/// then on (rule 430).
///
/// Result  the transport and the protocol, after `connection_made` has run.
/// Errors  `errc::value_error` unless it is a stream socket.
/// Cancel  the connection is closed.
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>> connect_accepted_socket(Factory factory,
                                                                         socket accepted) {
    return create_connection(std::move(factory), std::move(accepted));
}

}  // namespace ouro
