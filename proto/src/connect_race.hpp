// The way to a connected socket: hosts become addresses, and these are tried in turn or
// overlapping.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/net/socket.hpp>
#include <ouro/proto/create_connection.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro::detail {

/// Connects to the first address of the first of `hosts` that answers, as `options` say.
task<socket> connect_to(std::vector<std::string> hosts, std::uint16_t port,
                        connect_options options);
/// The same with one known address.
task<socket> connect_to(address peer, connect_options options);

/// `all` with `first_count` - 1 addresses of the first family in front, then the families in turns;
/// each family keeps its order (rule 387).
std::vector<address> interleaved(const std::vector<address>& all, int first_count);

}  // namespace ouro::detail
