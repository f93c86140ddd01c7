// Name look-ups: getaddrinfo on a thread of its own.
#pragma once

#include <cstdint>

#include <ouro/runtime/io.hpp>

namespace ouro::detail {

struct loop_state;

/// `op::engine_state` of a look-up under way.
inline constexpr std::uint8_t resolving = 0xff;

void start_resolve(loop_state& home, io::resolve_op& request) noexcept;
void cancel_resolve(loop_state& home, io::resolve_op& request) noexcept;

}  // namespace ouro::detail
