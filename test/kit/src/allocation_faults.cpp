// The global operator new and delete, on malloc, with a count and a fault.
#include <ouro/testing/allocation_faults.hpp>

#include <atomic>
#include <cstdlib>
#include <new>

namespace ouro::testing {
namespace {

struct plan {
    std::uint64_t seen = 0;
    std::uint64_t fail_at = 0;
    bool sticky = false;
    bool armed = false;
    bool struck = false;
};
constinit thread_local plan current;
constinit std::atomic<std::int64_t> live{0};

bool strikes() noexcept {
    if (!current.armed) return false;
    ++current.seen;
    if (current.fail_at == 0 || current.seen < current.fail_at) return false;
    if (current.seen > current.fail_at && !current.sticky) return false;
    return current.struck = true;
}

void* counted(void* block) noexcept {
    if (block) live.fetch_add(1, std::memory_order_relaxed);
    return block;
}

void* allocate(std::size_t bytes) noexcept {
    if (strikes()) return nullptr;
    return counted(std::malloc(bytes ? bytes : 1));
}

void* allocate(std::size_t bytes, std::align_val_t alignment) noexcept {
    if (strikes()) return nullptr;
    void* block = nullptr;
    const auto boundary = static_cast<std::size_t>(alignment);
    // posix_memalign(3) refuses less than the alignment of a pointer.
    const auto least = boundary < sizeof(void*) ? sizeof(void*) : boundary;
    if (::posix_memalign(&block, least, bytes ? bytes : 1) != 0) return nullptr;
    return counted(block);
}

void* or_throw(void* block) {
    if (!block) throw std::bad_alloc();
    return block;
}

void free_block(void* block) noexcept {
    if (!block) return;
    live.fetch_sub(1, std::memory_order_relaxed);
    std::free(block);
}

}  // namespace

void allocation_faults::arm(std::uint64_t fail_at, bool sticky) noexcept {
    current = {.fail_at = fail_at, .sticky = sticky, .armed = true};
}
std::uint64_t allocation_faults::disarm() noexcept {
    current.armed = false;
    return current.seen;
}
bool allocation_faults::struck() noexcept { return current.struck; }
std::int64_t allocation_faults::live_blocks() noexcept {
    return live.load(std::memory_order_relaxed);
}

}  // namespace ouro::testing

using ouro::testing::allocate;
using ouro::testing::free_block;
using ouro::testing::or_throw;
using std::align_val_t;
using std::nothrow_t;
using std::size_t;

void* operator new(size_t bytes) { return or_throw(allocate(bytes)); }
void* operator new[](size_t bytes) { return or_throw(allocate(bytes)); }
void* operator new(size_t bytes, align_val_t alignment) {
    return or_throw(allocate(bytes, alignment));
}
void* operator new[](size_t bytes, align_val_t alignment) {
    return or_throw(allocate(bytes, alignment));
}
void* operator new(size_t bytes, const nothrow_t&) noexcept { return allocate(bytes); }
void* operator new[](size_t bytes, const nothrow_t&) noexcept { return allocate(bytes); }
void* operator new(size_t bytes, align_val_t alignment, const nothrow_t&) noexcept {
    return allocate(bytes, alignment);
}
void* operator new[](size_t bytes, align_val_t alignment, const nothrow_t&) noexcept {
    return allocate(bytes, alignment);
}

void operator delete(void* block) noexcept { free_block(block); }
void operator delete[](void* block) noexcept { free_block(block); }
void operator delete(void* block, size_t) noexcept { free_block(block); }
void operator delete[](void* block, size_t) noexcept { free_block(block); }
void operator delete(void* block, align_val_t) noexcept { free_block(block); }
void operator delete[](void* block, align_val_t) noexcept { free_block(block); }
void operator delete(void* block, size_t, align_val_t) noexcept { free_block(block); }
void operator delete[](void* block, size_t, align_val_t) noexcept { free_block(block); }
void operator delete(void* block, const nothrow_t&) noexcept { free_block(block); }
void operator delete[](void* block, const nothrow_t&) noexcept { free_block(block); }
void operator delete(void* block, align_val_t, const nothrow_t&) noexcept { free_block(block); }
void operator delete[](void* block, align_val_t, const nothrow_t&) noexcept { free_block(block); }
