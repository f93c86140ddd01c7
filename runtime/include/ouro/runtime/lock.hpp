// Mutual exclusion between tasks of one loop.
#pragma once

#include <utility>

#include <ouro/runtime/guard.hpp>

namespace ouro {

class condition;
namespace detail {
class condition_wait;
}

/// Held by one task at a time. A release gives it to the first one that waits: it stays locked, and
/// whoever comes in between waits behind the others.
///
/// Lifetime  not movable. Tasks that wait for it when it dies fail with `errc::broken_promise`.
/// Threads   of one loop, the first one on which a task has to wait for it (rule 215).
class lock {
  public:
    lock() noexcept = default;
    lock(const lock&) = delete;
    lock& operator=(const lock&) = delete;

    /// Waits until the lock is this task's.
    ///
    /// Result    nothing; the lock is held until `release`.
    /// Errors    errc::wrong_loop, errc::broken_promise.
    /// Cancel    leaves the line; a lock that was just given to it goes to the next one.
    /// Lifetime  the lock outlives the wait.
    /// Threads   the loop's thread. Not recursive: who holds it and acquires it waits for ever.
    /// Cost      no allocation; does not suspend when the lock is free.
    detail::acquire_wait<lock, void> acquire() noexcept {
        return detail::acquire_wait<lock, void>(*this);
    }
    /// `acquire`, as a guard that releases at the end of its scope.
    ///
    /// Result    the guard.
    /// Errors    as `acquire`.
    /// Cancel    as `acquire`.
    /// Lifetime  the lock outlives the guard.
    /// Threads   as `acquire`.
    /// Cost      as `acquire`.
    detail::acquire_wait<lock, guard<lock>> scoped() noexcept {
        return detail::acquire_wait<lock, guard<lock>>(*this);
    }
    /// Gives the lock to the first one that waits, or frees it.
    ///
    /// Errors  throws `std::system_error` (`errc::invalid_state`) when it is not locked (rule 219).
    void release();
    /// True while a task holds it, or was given it and has not run yet.
    bool locked() const noexcept { return locked_; }

  private:
    template <class, class>
    friend class detail::acquire_wait;
    friend class guard<lock>;
    friend condition;
    friend detail::condition_wait;
    static constexpr const char* acquire_name = "acquire lock";

    bool take() noexcept { return !std::exchange(locked_, true); }
    void give_back() noexcept {
        if (!line_.grant()) locked_ = false;
    }

    detail::waiting_line line_;
    detail::loop_bond bond_;
    bool locked_ = false;
};

}  // namespace ouro
