// Connecting: a protocol on a new connection.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

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
};

/// A transport and the protocol on it.
template <class Protocol>
struct connection {
    std::shared_ptr<ouro::transport> transport;
    std::shared_ptr<Protocol> protocol;
};

namespace detail {
task<std::shared_ptr<transport>> connect_transport(protocol_factory factory, std::string host,
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

/// Connects to `host`:`port` and puts `factory()` on the connection. Addresses of the name are
/// tried in resolver order until one connects (rule 369); the factory is called once, after that
/// (rule 379).
///
/// Result  the transport and the protocol, after `connection_made` has run (rule 267).
/// Errors  what each attempt met, with its address: one error, or `errc::several_failures` (rules
///         371-373).
/// Cancel  the attempt under way is given up and its socket closed; a transport that exists already
///         is closed (rule 380).
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>>
create_connection(Factory factory, std::string host, std::uint16_t port,
                  connect_options options = {}) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::connect_transport(detail::remembering(std::move(factory), made),
                                                   std::move(host), port, std::move(options));
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
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
