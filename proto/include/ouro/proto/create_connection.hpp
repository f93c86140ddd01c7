// Connecting: a protocol on a new connection.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/net/socket.hpp>
#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/function.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

/// Makes the protocol of one connection.
using protocol_factory = function<std::shared_ptr<base_protocol>()>;

/// How a connection is made.
struct connect_options {
    int family = AF_UNSPEC;   ///< AF_INET or AF_INET6 to use addresses of one kind only
    address local{};          ///< bind to this address before connecting
    bool all_errors = false;  ///< on failure give every single error, also when they read the same
    /// Try the next address when the one before has not connected after this time, and go on
    /// waiting for both: one that never answers costs no more than this (RFC 8305, which says
    /// 250 ms). Without it strictly one after the other.
    std::optional<std::chrono::nanoseconds> happy_eyeballs_delay = std::nullopt;
    /// So many addresses of the first family come first, then the families take turns; 0 keeps the
    /// order of the resolver. -1: 1 with a `happy_eyeballs_delay`, 0 without (rules 386, 387).
    int interleave = -1;
    /// Bind to the first address of this host, and this port, that has the peer's family and works
    /// (rules 376-378). Empty with a port: any interface. `local` comes before them.
    std::string local_host{};
    std::uint16_t local_port = 0;  ///< 0: any free one
};

/// A transport and the protocol on it.
template <class Protocol>
struct connection {
    std::shared_ptr<ouro::transport> transport;
    std::shared_ptr<Protocol> protocol;
};

namespace detail {
task<std::shared_ptr<transport>> connect_transport(protocol_factory factory,
                                                   std::vector<std::string> hosts,
                                                   std::uint16_t port, connect_options options);
task<std::shared_ptr<transport>> connect_transport(protocol_factory factory, address peer,
                                                   connect_options options);
task<std::shared_ptr<transport>> wrap_transport(protocol_factory factory, socket given);

template <class Factory>
using made_protocol = typename std::invoke_result_t<Factory&>::element_type;

/// Remembers the protocol a factory made, with its own type.
template <class Factory>
protocol_factory remembering(Factory factory,
                             std::shared_ptr<std::shared_ptr<made_protocol<Factory>>> into) {
    return [factory = std::move(factory),
            into = std::move(into)]() mutable -> std::shared_ptr<base_protocol> {
        *into = factory();
        return *into;
    };
}
}  // namespace detail

/// A callable that makes a `std::shared_ptr` to a `protocol` or a `buffered_protocol`.
template <class Factory>
concept protocol_maker = std::invocable<Factory&> && requires {
    requires std::derived_from<detail::made_protocol<Factory>, base_protocol>;
};

/// Connects to the first of `hosts` that answers and puts `factory()` on the connection. The
/// addresses of all hosts are tried in the order of the hosts and of the resolver until one
/// connects (rule 369), overlapping if `options` say so (rule 385); the factory is called once,
/// after that (rule 379). Names are looked up side by side and off the loop's thread, numeric hosts
/// are used as they are.
///
/// Result  the transport and the protocol, after `connection_made` has run (rule 267).
/// Errors  what each attempt met, with its address: "connect [::1]:81: Connection refused;
///         127.0.0.1:81: Connection refused". The code is the one that all attempts met, else (and
///         always with `all_errors`) `errc::several_failures` (rules 371-373).
/// Cancel  the attempts under way are given up and their sockets closed; a transport that exists
///         already is closed (rule 380).
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>>
create_connection(Factory factory, std::vector<std::string> hosts, std::uint16_t port,
                  connect_options options = {}) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::connect_transport(detail::remembering(std::move(factory), made),
                                                   std::move(hosts), port, std::move(options));
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}
/// The same for hosts written down in braces.
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>>
create_connection(Factory factory, std::initializer_list<std::string> hosts, std::uint16_t port,
                  connect_options options = {}) {
    return create_connection(std::move(factory), std::vector<std::string>(hosts), port,
                             std::move(options));
}

/// The same to one host.
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>>
create_connection(Factory factory, std::string host, std::uint16_t port,
                  connect_options options = {}) {
    std::vector<std::string> hosts;
    hosts.push_back(std::move(host));
    return create_connection(std::move(factory), std::move(hosts), port, std::move(options));
}

/// The same to one known address, unix sockets included.
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>> create_connection(Factory factory, address peer,
                                                                   connect_options options = {}) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::connect_transport(detail::remembering(std::move(factory), made),
                                                   std::move(peer), std::move(options));
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

/// Puts `factory()` on a connected stream socket, which belongs to the transport from then on (rule
/// 366).
///
/// Errors  `errc::value_error` unless it is a stream socket (rule 365).
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>> create_connection(Factory factory, socket given) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::wrap_transport(detail::remembering(std::move(factory), made),
                                                std::move(given));
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

}  // namespace ouro
