// The files of unix sockets: whether somebody is there, and making room for another socket.
#pragma once

#include <string>

#include <ouro/net/address.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro::detail {

/// A file to look after; abstract names and unnamed sockets have none.
inline bool has_file(const std::string& path) { return !path.empty() && path[0] != '\0'; }

/// Removes the file of a socket. What is no socket is left alone, and so is what cannot be removed,
/// which is reported: bind(2) will tell (rule 434).
void remove_socket_file(loop& home, const std::string& path) noexcept;

/// The same, if nobody listens there any more.
///
/// Errors  address_in_use where somebody does. Where that cannot be found out the file is left
///         alone, which is reported.
/// Cancel  nothing is removed.
/// Cost    a connection, which whoever listens sees come and go; it takes a second to see that
///         somebody listens who says nothing.
task<> remove_stale_socket_file(loop& home, address where);

}  // namespace ouro::detail
