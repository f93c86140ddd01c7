// The in-flight operation: what the kernel holds on to between a start and its terminal completion.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ouro/runtime/assert.hpp>

namespace ouro {

/// One operation handed to an engine through the door (`io.hpp`).
///
/// Contract, the same on every engine:
/// - a started op ends exactly once: one completion without `op_flags::more`; multishot ops may
///   have many before it;
/// - the op and its memory belong to the engine until that terminal completion has run;
/// - data wins: an op that did something reports it, even when it was cancelled; `-ECANCELED` means
///   nothing happened;
/// - `-EINTR` means that as well, of an op nobody cancelled: the process was stopped, by SIGSTOP or
///   a debugger, while a thread of the kernel waited with it. It is to be started again;
/// - `complete` is called by the loop's run phase only, never from inside a call that started or
///   cancelled it.
struct op {
    using completion = void (*)(op&) noexcept;

    explicit op(completion on_complete) noexcept : complete(on_complete) {}
    ~op() { OURO_ASSERT(!in_flight, "an operation died while the kernel still owned it"); }
    op(const op&) = delete;
    op& operator=(const op&) = delete;

    std::int32_t res = 0;           ///< bytes or descriptor when >= 0, else -errno
    std::uint32_t flags = 0;        ///< `op_flags`
    completion complete;            ///< called once for every completion
    std::byte* data = nullptr;      ///< shared-ring receives: the bytes, valid during `complete`
    std::size_t length = 0;         ///< size of the memory lent to the engine, in bytes
    std::uint16_t generation = 0;   ///< tells this use of the op from an earlier one (late cancels)
    bool in_flight = false;         ///< started, and its terminal completion has not run yet
    std::uint8_t engine_state = 0;  ///< the engine's own
    std::int32_t engine_fd = -1;    ///< the engine's own
};

/// What accompanies a completion.
namespace op_flags {
inline constexpr std::uint16_t more = 1;  ///< further completions of this op follow
inline constexpr std::uint16_t lent = 2;  ///< `data` points into the engine's ring
inline constexpr std::uint16_t drained =
    4;  ///< a receive that left nothing behind: the next one starts by waiting
}  // namespace op_flags

}  // namespace ouro
