// Faults as data: what went wrong where, as a text that can be printed, typed in again and shrunk.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/result.hpp>

namespace ouro::testing {

/// What can go wrong. Each kind counts its own occasions from 1; `fault::at` is one of them.
enum class fault_kind : std::uint8_t {
    // The kernel, in a simulation. Occasion: an operation that could suffer it.
    short_receive,   ///< a receive gives fewer bytes than are there (fault 1); value: how many
    short_send,      ///< a send takes fewer bytes than there is room for (fault 2); value: how many
    ring_exhausted,  ///< no shared receive buffer is left for a while (fault 4)
    multishot_ends,  ///< a multishot ends although all is well (fault 5)
    late_completion,  ///< a completion is seen a turn later than it might be
    cancel_misses,    ///< a cancel does not find its target at once (faults 10, 12); value: us
    accept_fails,     ///< accepting fails (faults 17, 18); value: errno
    no_descriptor,    ///< no descriptor for a socket (fault 74): EMFILE
    // The network, in a simulation. Occasion: a segment, datagram, connection or look-up.
    delay,      ///< a segment takes much longer than others; value: us
    loss,       ///< a datagram is lost, a segment comes after a retransmission; value: us
    duplicate,  ///< a datagram arrives twice
    reorder,    ///< a datagram is overtaken; value: us
    partition,  ///< the link is cut for a while; value: us
    clog,       ///< nothing gets through the link for a while, then all at once; value: us
    reset,      ///< a connection is reset under way (faults 22, 32)
    refuse,     ///< a connection is refused
    no_name,    ///< a look-up fails (fault 55)
    slow_name,  ///< a look-up takes long (fault 55); value: us
    // The door, through `injection`. Occasion: a call of the door.
    op_fails,  ///< the operation fails without being done; value: errno
    op_short,  ///< it is given less memory or fewer bytes; value: how many
    op_waits,  ///< it reaches the kernel later; value: turns
    // The heap, through `allocation_faults`. Occasion: an allocation.
    allocation_fails,
};
/// How many kinds there are.
inline constexpr std::size_t fault_kind_count = 22;

/// The name of `kind`, as in a plan.
std::string_view to_string(fault_kind kind) noexcept;

/// One fault: the `at`-th occasion of its kind, and every later one if `sticky`.
struct fault {
    fault_kind kind{};
    std::uint64_t at = 0;
    std::int64_t value = 0;  ///< bytes, microseconds, errno or turns, by kind; 0 when there is none
    bool sticky = false;

    friend bool operator==(const fault&, const fault&) = default;
};

/// Faults in the order in which they strike, as text: `reset@3,op_fails@17+=104`. `+` is sticky.
using fault_plan = std::vector<fault>;

/// `plan` as text; "none" when it is empty.
std::string to_string(const fault_plan& plan);
/// Reads what `to_string` wrote.
///
/// Errors  `errc::value_error` naming the word that is none of a plan.
result<fault_plan> parse_fault_plan(std::string_view text);

/// The part of `plan` that still makes `fails` true, found by leaving out ever smaller parts
/// (delta debugging). `fails(plan)` itself must be true.
fault_plan shrink(fault_plan plan, const std::function<bool(const fault_plan&)>& fails);

}  // namespace ouro::testing
