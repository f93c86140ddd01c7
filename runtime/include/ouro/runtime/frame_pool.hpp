// Memory for coroutine frames: a per-thread stack of free blocks for each size, because no compiler
// elides frames.
#pragma once

#include <cstddef>
#include <new>

#include <ouro/runtime/checks.hpp>

namespace ouro::detail {

/// Blocks of 64-byte steps up to 4 KiB and a header are kept for reuse; larger ones go to the heap.
/// Under ASan and TSan every block goes to the heap, so that use after free is seen.
///
/// Threads  per thread; a block may be freed on another thread and is then reused there.
class frame_pool {
  public:
    static void* allocate(std::size_t bytes) {
        const std::size_t bin = (bytes + step_bytes - 1) / step_bytes;
        if (!memory_is_watched && bin < bin_count) {
            if (block* first = bins_[bin]) {
                bins_[bin] = first->next;
                return first;
            }
        }
        return refill(bin);
    }
    static void deallocate(void* memory, std::size_t bytes) noexcept {
        const std::size_t bin = (bytes + step_bytes - 1) / step_bytes;
        if (!memory_is_watched && bin < bin_count) {
            auto* first = static_cast<block*>(memory);
            first->next = bins_[bin];
            bins_[bin] = first;
            return;
        }
        release(memory);
    }
    /// Blocks handed out on this thread minus blocks returned to it. Walks the kept blocks.
    static long live() noexcept;
    /// Gives all kept blocks of this thread back to the heap.
    static void trim() noexcept;

  private:
    struct block {
        block* next;
    };
    static void* refill(std::size_t bin);
    static void release(void* memory) noexcept;

    static constexpr std::size_t step_bytes = 64;
    static constexpr std::size_t bin_count = 66;
    inline static constinit thread_local block* bins_[bin_count] = {};
    inline static constinit thread_local long taken_ = 0;  // from the heap, and not given back
};

}  // namespace ouro::detail
