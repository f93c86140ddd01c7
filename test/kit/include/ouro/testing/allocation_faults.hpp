// A heap that fails when a test says so. Link `ouro::testing_allocations`: it replaces the global
// operator new and delete of the program, in all their forms.
#pragma once

#include <cstdint>

namespace ouro::testing {

/// Lets the Nth allocation of a thread throw `std::bad_alloc`, or return null where it must not
/// throw. What runs between `arm` and `disarm` counts; other threads, and what a test framework
/// allocates outside, do not. malloc(3) itself is left alone, so sanitizers see every block.
///
/// Threads  each thread arms itself; `live_blocks` is of the whole program.
struct allocation_faults {
    /// Counts from 1 from here on, and lets number `fail_at` fail, once or, when `sticky`, with all
    /// after it. 0 lets none fail.
    static void arm(std::uint64_t fail_at, bool sticky) noexcept;
    /// Stops counting and failing.
    ///
    /// Result  how many allocations there were, those that failed included.
    static std::uint64_t disarm() noexcept;
    /// Whether one has failed since `arm`.
    static bool struck() noexcept;
    /// Blocks from operator new that were not deleted.
    static std::int64_t live_blocks() noexcept;
};

}  // namespace ouro::testing
