// What the sanitizers must be told: memory the kernel owns is poisoned, hand-overs between threads
// are ordered.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OURO_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define OURO_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define OURO_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define OURO_TSAN 1
#endif

#ifdef OURO_ASAN
#include <sanitizer/asan_interface.h>
#endif
#ifdef OURO_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace ouro::detail {

/// True when a sanitizer watches memory: reuse of freed blocks must then be seen, not served.
#if defined(OURO_ASAN) || defined(OURO_TSAN)
inline constexpr bool memory_is_watched = true;
#else
inline constexpr bool memory_is_watched = false;
#endif

/// The kernel owns this memory from now on: touching it is a bug.
inline void poison([[maybe_unused]] const void* memory,
                   [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef OURO_ASAN
    __asan_poison_memory_region(memory, bytes);
#endif
}
/// It is ours again.
inline void unpoison([[maybe_unused]] const void* memory,
                     [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef OURO_ASAN
    __asan_unpoison_memory_region(memory, bytes);
#endif
}
/// True when all of the memory may be touched; the kernel would not be caught writing to freed
/// memory.
inline bool addressable([[maybe_unused]] const void* memory,
                        [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef OURO_ASAN
    return __asan_region_is_poisoned(const_cast<void*>(memory), bytes) == nullptr;
#else
    return true;
#endif
}
/// What this thread did so far happens before `acquired(where)` on another: the kernel is the
/// messenger, TSan cannot see it.
inline void released([[maybe_unused]] void* where) noexcept {
#ifdef OURO_TSAN
    __tsan_release(where);
#endif
}
inline void acquired([[maybe_unused]] void* where) noexcept {
#ifdef OURO_TSAN
    __tsan_acquire(where);
#endif
}

}  // namespace ouro::detail
