// A number of permits that tasks share.
#pragma once

#include <cstddef>
#include <limits>

#include <ouro/runtime/guard.hpp>

namespace ouro {

/// Lets as many tasks through as it has permits. A release gives its permit to the first one that
/// waits, and whoever comes in between waits behind the others.
///
/// Lifetime  not movable. Tasks that wait for it when it dies fail with `errc::broken_promise`.
/// Threads   of one loop, the first one on which a task has to wait for it (rule 215).
class semaphore {
  public:
    /// Has `permit_count` permits.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) for a negative number (rule 233).
    explicit semaphore(std::ptrdiff_t permit_count = 1)
        : semaphore(permit_count, std::numeric_limits<std::ptrdiff_t>::max()) {}
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;

    /// Waits until one permit is this task's.
    ///
    /// Result    nothing; the permit is taken until `release`.
    /// Errors    errc::wrong_loop, errc::broken_promise.
    /// Cancel    leaves the line; a permit that was just given to it goes to the next one.
    /// Lifetime  the semaphore outlives the wait.
    /// Threads   the loop's thread.
    /// Cost      no allocation; does not suspend when a permit is free.
    detail::acquire_wait<semaphore, void> acquire() noexcept {
        return detail::acquire_wait<semaphore, void>(*this);
    }
    /// `acquire`, as a guard that gives the permit back at the end of its scope.
    ///
    /// Result    the guard.
    /// Errors    as `acquire`.
    /// Cancel    as `acquire`.
    /// Lifetime  the semaphore outlives the guard.
    /// Threads   as `acquire`.
    /// Cost      as `acquire`.
    detail::acquire_wait<semaphore, guard<semaphore>> scoped() noexcept {
        return detail::acquire_wait<semaphore, guard<semaphore>>(*this);
    }
    /// Gives one permit to the first one that waits, or adds it to the free ones.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) when a bounded semaphore has all
    ///         its permits already (rule 239).
    void release();
    /// True when `acquire` would wait (rule 234).
    bool locked() const noexcept { return free_count_ == 0; }

  protected:
    semaphore(std::ptrdiff_t permit_count, std::ptrdiff_t limit);

  private:
    template <class, class>
    friend class detail::acquire_wait;
    friend class guard<semaphore>;
    static constexpr const char* acquire_name = "acquire semaphore";

    bool take() noexcept {
        if (free_count_ == 0) return false;
        --free_count_;
        return true;
    }
    void give_back() noexcept {
        if (!line_.grant()) ++free_count_;
    }

    detail::waiting_line line_;
    detail::loop_bond bond_;
    std::ptrdiff_t free_count_;  // zero as long as anyone waits
    std::ptrdiff_t limit_;
};

/// A semaphore that cannot be released more often than it was acquired.
class bounded_semaphore : public semaphore {
  public:
    /// Has `permit_count` permits and never more.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) for a negative number.
    explicit bounded_semaphore(std::ptrdiff_t permit_count = 1)
        : semaphore(permit_count, permit_count) {}
};

}  // namespace ouro
