// Names to addresses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

/// How a name is resolved.
struct resolve_options {
    int family = AF_UNSPEC;      ///< AF_INET or AF_INET6 to ask for one kind only
    bool for_listening = false;  ///< an empty host means all interfaces instead of this machine
};

/// The addresses of `host`, in resolver order. A numeric host never leaves the thread (rule 67); a
/// name is looked up by getaddrinfo(3) on a thread of its own.
///
/// Errors  `errc::no_address` or the resolver's reason, naming the host; `errc::value_error` for a
///         zero byte in it.
/// Cancel  the waiter leaves at once; the look-up ends by itself and is discarded (rule 70).
task<std::vector<address>> resolve(std::string host, std::uint16_t port,
                                   resolve_options options = {});

}  // namespace ouro
