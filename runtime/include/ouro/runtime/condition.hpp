// Waiting, with a lock, for something to become true.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include <ouro/runtime/lock.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

class condition;

namespace detail {

/// The await of `condition::wait`: stands in the line of the condition until it is notified or
/// cancelled, then in that of the lock, with which it always ends.
class [[nodiscard]] condition_wait : public awaitable<condition_wait, void, line_wait> {
  public:
    explicit condition_wait(condition& of) noexcept;
    void start() noexcept;
    void value() noexcept;

  private:
    friend ouro::condition;
    static const wait_kind kind;
    static void cancel(wait_point& wait, cancel_cause cause) noexcept;
    static void revoke(wait_point& wait) noexcept;
    static std::string describe(const wait_point& wait);
    void reacquire() noexcept;
    void pass_on() noexcept;

    /// In the list of its condition from the notification until the wait has ended.
    struct notice : list_link {};

    condition* of_;
    lock* lock_;
    notice notice_;
};

}  // namespace detail

/// Tasks that hold a lock wait here for others that hold it to change something.
///
///     auto held = co_await ready.scoped();
///     co_await ready.wait_for([&] { return !jobs.empty(); });
///
/// Lifetime  not movable. Tasks that wait when it dies fail with `errc::broken_promise`, once they
///           hold the lock.
/// Threads   of one loop, the first one on which a task has to wait for it (rule 215).
class condition {
  public:
    /// With a lock of its own.
    condition() noexcept : lock_(&own_) {}
    /// With a lock that it may share with other conditions and that outlives it.
    explicit condition(lock& shared) noexcept : lock_(&shared) {}
    condition(const condition&) = delete;
    condition& operator=(const condition&) = delete;
    ~condition();

    /// Releases the lock, waits to be notified, and acquires the lock again. May end without cause:
    /// `wait_for` looks again.
    ///
    /// Result    nothing. However it ends, the lock is held again (rule 227).
    /// Errors    errc::invalid_state when the lock is not locked; errc::wrong_loop,
    ///           errc::broken_promise.
    /// Cancel    ends when the lock is held again (rule 229); a notification that came before goes
    ///           to another one that waits (rule 230).
    /// Lifetime  the condition and its lock outlive the wait.
    /// Threads   the loop's thread.
    /// Cost      no allocation.
    detail::condition_wait wait() noexcept { return detail::condition_wait(*this); }
    /// Waits until `predicate()` is true, which is asked while the lock is held.
    ///
    /// Result    the value of the predicate.
    /// Errors    as `wait`; what the predicate throws is rethrown, and the lock is held then.
    /// Cancel    as `wait`.
    /// Lifetime  what the predicate refers to outlives the wait.
    /// Threads   as `wait`.
    /// Cost      one pooled frame.
    template <class Predicate>
    task<std::decay_t<std::invoke_result_t<Predicate&>>> wait_for(Predicate predicate) {
        for (;;) {
            auto value = predicate();
            if (value) co_return value;
            co_await wait();
        }
    }
    /// Wakes the first `most` that wait. They go on one after the other as they get the lock, which
    /// stays with the caller (rule 228).
    ///
    /// Errors  throws `std::system_error` (`errc::invalid_state`) when the lock is not locked (rule
    ///         226).
    void notify(std::size_t most = 1);
    /// Wakes all that wait.
    ///
    /// Errors  as `notify`.
    void notify_all() { notify(line_.waiting_count()); }

    /// `acquire` of the lock.
    detail::acquire_wait<lock, void> acquire() noexcept { return lock_->acquire(); }
    /// `scoped` of the lock.
    detail::acquire_wait<lock, guard<lock>> scoped() noexcept { return lock_->scoped(); }
    /// `release` of the lock.
    void release() { lock_->release(); }
    /// `locked` of the lock.
    bool locked() const noexcept { return lock_->locked(); }

  private:
    friend detail::condition_wait;
    void notify_first() noexcept;

    lock own_;  // unused when it shares one
    lock* lock_;
    detail::loop_bond bond_;
    detail::waiting_line line_;
    detail::list<detail::condition_wait::notice> notified_;
};

}  // namespace ouro
