// How often does a program allocate? An LD_PRELOAD library that counts and tells stderr at exit.

#include <atomic>
#include <cstddef>
#include <cstdio>

extern "C" {
// The entry points of the C library behind the names this file takes over.
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
}

namespace {

std::atomic<unsigned long> allocation_count{0};
std::atomic<unsigned long> free_count{0};

void count_one(std::atomic<unsigned long>& counter) noexcept {
    counter.fetch_add(1, std::memory_order_relaxed);
}

[[gnu::destructor]] void report() {
    std::fprintf(stderr, "allocations %lu frees %lu\n",
                 allocation_count.load(std::memory_order_relaxed),
                 free_count.load(std::memory_order_relaxed));
}

}  // namespace

extern "C" {

[[gnu::visibility("default")]] void* malloc(std::size_t bytes) {
    count_one(allocation_count);
    return __libc_malloc(bytes);
}

[[gnu::visibility("default")]] void* calloc(std::size_t count, std::size_t bytes) {
    count_one(allocation_count);
    return __libc_calloc(count, bytes);
}

[[gnu::visibility("default")]] void* realloc(void* block, std::size_t bytes) {
    count_one(allocation_count);
    return __libc_realloc(block, bytes);
}

[[gnu::visibility("default")]] void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
    count_one(allocation_count);
    return __libc_memalign(alignment, bytes);
}

[[gnu::visibility("default")]] int posix_memalign(void** block, std::size_t alignment,
                                                  std::size_t bytes) {
    count_one(allocation_count);
    *block = __libc_memalign(alignment, bytes);
    return *block == nullptr ? 12 /* ENOMEM, without touching errno */ : 0;
}

[[gnu::visibility("default")]] void free(void* block) {
    if (block != nullptr) count_one(free_count);
    __libc_free(block);
}
}
