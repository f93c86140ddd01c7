// The one place that looks into tasks for reports.
#pragma once

#include <chrono>
#include <cstddef>
#include <source_location>
#include <string>
#include <vector>

#include <ouro/runtime/inspect.hpp>

namespace ouro::detail {

class inspection {
  public:
    /// Everything about `of` but `awaits`, which its waiters know.
    static task_report report(task_core& of);
    /// The tasks that wait for `of`.
    static std::vector<task_core*> waiters(task_core& of);
    /// The innermost frame that is known; null when it has ended.
    static const promise_base* innermost(const task_core& of) noexcept;
    /// True for an await in a frame of the library's own, which tells a reader nothing.
    static bool is_internal(const std::source_location& where) noexcept;
    /// Why and where `of` waits, as a cancellation with its trail.
    static error farewell(const task_core& of) noexcept;

  private:
    static std::vector<scope_report> scopes(const task_core& of, clock::time_point now);
    static task_stage stage(const task_core& of) noexcept;
};

/// "350 ms", "3.2 s", "4 min 5 s".
std::string to_text(clock::duration length);
/// "server.cpp:88": the file without its folder.
std::string to_text(const std::source_location& where);

}  // namespace ouro::detail
