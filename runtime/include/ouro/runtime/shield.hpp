// Waiting for a task without a hold on it.
#pragma once

#include <utility>

#include <ouro/runtime/spawn.hpp>

namespace ouro {

/// Waits for a task that goes on when the waiter is cancelled (rules 183-186).
///
///     co_await shield(commit);     // a deadline of ours does not tear the commit apart
///
/// Result  what the task returned; at once when it is done (rule 186).
/// Errors  those of the task, also that it was cancelled (rule 185).
/// Cancel  ends the wait, not the task. If it fails later and nobody has looked, the exception
///         handler is told (rule 187).
template <class T>
detail::join_awaiter<T> shield(const task_handle<T>& task) noexcept {
    return detail::join_awaiter<T>(task.state(), false, true);
}
/// The same; the result is moved out.
template <class T>
detail::join_awaiter<T> shield(task_handle<T>&& task) noexcept {
    return detail::join_awaiter<T>(task.state(), true, true);
}
/// Starts `body` beside you and waits for it; it goes on when the waiter is cancelled, and then
/// belongs to the loop alone.
template <class T>
detail::join_awaiter<T> shield(task<T> body,
                               std::source_location created = std::source_location::current()) {
    return shield(spawn(std::move(body), created));
}

}  // namespace ouro
