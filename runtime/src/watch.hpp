// What a loop tells its watchdog while it works, and what a signal handler on its thread may read.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <string_view>

namespace ouro::detail {

/// Written by the loop's thread only. The beat is for the watchdog's thread; the rest is read by a
/// signal handler, which runs on the loop's thread as well.
struct loop_watch {
    std::atomic<std::uint64_t> beat{0};  // odd while a callback or a step of a task runs
    std::atomic<bool> told{false};       // that step was reported
    std::atomic<std::int64_t> ended{0};  // when the reported step ended, on the steady clock
    std::atomic<int> thread{0};          // the loop's, as gettid(2) names it
    std::atomic<const char*> what{""};   // "a timer"
    std::source_location created;        // of the callback or the task
    std::atomic<std::uint64_t> task{0};  // the number of the task that runs, or 0
    std::array<char, 48> task_name{};    // as much as there is room for

    void enter(const char* kind, const std::source_location& where) noexcept {
        what.store(kind, std::memory_order_relaxed);
        task.store(0, std::memory_order_relaxed);
        created = where;
        beat.store((beat.load(std::memory_order_relaxed) + 1) | 1, std::memory_order_release);
    }
    void step(std::uint64_t id, std::string_view name, const std::source_location& where) noexcept {
        const std::size_t length = std::min(name.size(), task_name.size() - 1);
        std::memcpy(task_name.data(), name.data(), length);
        task_name[length] = '\0';
        created = where;
        task.store(id, std::memory_order_relaxed);
    }
    void leave(std::int64_t (*now)() noexcept) noexcept {
        if (told.load(std::memory_order_relaxed)) ended.store(now(), std::memory_order_relaxed);
        // A watchdog that was made in this very step has not seen it begin.
        beat.store((beat.load(std::memory_order_relaxed) | 1) + 1, std::memory_order_release);
    }
};

}  // namespace ouro::detail
