// A bracket in the life of a task: what timeouts and groups have in common.
#pragma once

#include <optional>
#include <source_location>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro::detail {

/// What a task is inside of. The task knows the innermost one (`task_runner::scopes`); the
/// outermost one of a child is the group it belongs to, so that the walk outwards goes on in the
/// parent.
class scope {
  public:
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;

    /// "timeout", "group": for reports.
    const char* kind() const noexcept { return kind_; }
    /// Where it was entered.
    const std::source_location& where() const noexcept { return where_; }
    /// When everything in it is cancelled; `time_point::max()`: never.
    clock::time_point deadline() const noexcept { return deadline_; }
    /// The next one outwards, or null.
    scope* outer() const noexcept { return outer_; }
    /// The task that entered it.
    task_core& owner() const noexcept { return *owner_; }

  protected:
    /// Enters the running task. Throws `errc::invalid_state` when there is none (rules 154, 172).
    scope(const char* kind, const std::source_location& where);
    ~scope();
    /// Takes back a cancellation that it made. True when the task has no more requests than when it
    /// was entered, so that nobody further out wants it to end (rules 145, 167); what was not
    /// delivered yet is then dropped.
    bool take_back() noexcept;

    clock::time_point deadline_ = clock::time_point::max();
    const unsigned cancelling_before_;  // requests that were there when it was entered

  private:
    friend class nursery;
    const bool due_before_;             // one of them was not delivered yet
    const unsigned deliveries_before_;  // of cancellations, then
    const char* kind_;
    std::source_location where_;
    task_core* owner_;
    scope* outer_;
};

}  // namespace ouro::detail

namespace ouro {

/// The earliest deadline the running task is under, its own or one of those it was started under
/// as a child of a group; none when there is none.
std::optional<clock::time_point> current_deadline() noexcept;

}  // namespace ouro
