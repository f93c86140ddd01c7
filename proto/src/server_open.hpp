// What the calls that make servers share.
#pragma once

#include <memory>

#include "server_state.hpp"

namespace ouro::detail {

/// A server without sockets. Errors  options that no server can have.
result<std::shared_ptr<server_state>> make_server(loop& home, protocol_factory factory,
                                                  const server_options& options);
/// A bound socket with the options that must be set before that. Its errors name the address.
result<socket> open_listener(loop& home, const address& where, const server_options& options);
/// The handle, of a server that serves if it is to `start`.
task<server> open_server(std::shared_ptr<server_state> state, bool start);

}  // namespace ouro::detail
