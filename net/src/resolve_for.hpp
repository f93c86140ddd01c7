// A look-up on behalf of a socket.
#pragma once

#include <cstdint>
#include <string>

#include <ouro/net/address.hpp>
#include <ouro/net/socket.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro::detail {

/// The first address of `host` that has the family of the socket. Closing the socket ends the
/// look-up.
task<address> resolve_for(socket_state& on, std::string host, std::uint16_t port);

}  // namespace ouro::detail
