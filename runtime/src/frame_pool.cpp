// The slow side of the frame pool.
#include <ouro/runtime/frame_pool.hpp>

namespace ouro::detail {

void* frame_pool::refill(std::size_t bin) {
    void* const fresh = ::operator new(bin * step_bytes);
    ++taken_;
    return fresh;
}

void frame_pool::release(void* memory) noexcept {
    --taken_;
    ::operator delete(memory);
}

long frame_pool::live() noexcept {
    long kept = 0;
    for (const block* first : bins_) {
        for (; first; first = first->next) ++kept;
    }
    return taken_ - kept;
}

void frame_pool::trim() noexcept {
    for (block*& first : bins_) {
        while (first) {
            block* const next = first->next;
            release(first);
            first = next;
        }
    }
}

}  // namespace ouro::detail
