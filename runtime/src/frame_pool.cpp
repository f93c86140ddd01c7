// The slow side of the frame pool.
#include <ouro/runtime/frame_pool.hpp>

namespace ouro::detail {

void* frame_pool::refill(std::size_t bin) {
    try {
        return ::operator new(bin * step_bytes);
    } catch (...) {
        --live_;
        throw;
    }
}

void frame_pool::trim() noexcept {
    for (block*& first : bins_) {
        while (first) {
            block* const next = first->next;
            ::operator delete(first);
            first = next;
        }
    }
}

}  // namespace ouro::detail
