// The one assertion of the library: on in every build, because a broken invariant must stop rather
// than run wrong.
#pragma once

namespace ouro::detail {

/// Prints `expression`, the place and `why` on stderr and aborts.
[[noreturn]] void assert_failed(const char* expression, const char* file, int line,
                                const char* why) noexcept;

}  // namespace ouro::detail

/// Aborts with `why` when `expression` is false. For mistakes of the programmer only: whatever the
/// peer or the kernel can cause is an `ouro::error` instead.
#define OURO_ASSERT(expression, why)                                                               \
    ((expression) ? void(0) : ::ouro::detail::assert_failed(#expression, __FILE__, __LINE__, why))
