// A place where a fixed number of tasks meet.
#pragma once

#include <cstddef>
#include <string>

#include <ouro/runtime/waiting_line.hpp>

namespace ouro {

class barrier;

namespace detail {

/// The await of `barrier::wait`.
class [[nodiscard]] barrier_wait : public awaitable<barrier_wait, std::size_t, line_wait> {
  public:
    explicit barrier_wait(barrier& of) noexcept : awaitable(kind), of_(&of) {}
    ~barrier_wait() {
        if (granted()) go();
    }
    bool await_ready() noexcept;
    void start() noexcept;
    std::size_t value() noexcept {
        if (granted()) go();
        return index_;
    }

  private:
    friend ouro::barrier;
    static const wait_kind kind;
    static void revoke(wait_point& wait) noexcept;
    static std::string describe(const wait_point& wait);
    void go() noexcept;

    barrier* of_;
    std::size_t index_ = 0;
};

}  // namespace detail

/// Holds tasks until as many have come as it has parties, then lets them all go. Those who come
/// before all of them have gone wait for the next round.
///
/// Lifetime  not movable. Tasks that wait when it dies fail with `errc::broken_promise`; those that
///           may go do not need it any more.
/// Threads   of one loop, the first one on which a task has to wait for it (rule 215).
class barrier {
  public:
    /// For `party_count` tasks.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) for less than one (rule 240).
    explicit barrier(std::ptrdiff_t party_count);
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;
    ~barrier() { line_.let_granted_go(); }

    /// Waits until all parties have come.
    ///
    /// Result    another number below `parties()` for each of them.
    /// Errors    errc::broken_barrier after a reset while it waits, and after an abort;
    ///           errc::wrong_loop, errc::broken_promise.
    /// Cancel    leaves: one more party is missing again (rule 243).
    /// Lifetime  the barrier outlives the wait.
    /// Threads   the loop's thread.
    /// Cost      no allocation; the last party does not suspend.
    detail::barrier_wait wait() noexcept { return detail::barrier_wait(*this); }
    /// Fails those who wait in this round, and mends an aborted barrier. Those who wait for the
    /// next round go on waiting (rule 244).
    void reset() noexcept;
    /// Fails all who wait and all who come, until a reset (rule 245).
    void abort() noexcept;
    /// How many tasks it takes.
    std::size_t parties() const noexcept { return party_count_; }
    /// How many wait in this round for others to come.
    std::size_t waiting_count() const noexcept { return line_.waiting_count(); }
    /// True between `abort` and `reset`.
    bool broken() const noexcept { return broken_; }

  private:
    friend detail::barrier_wait;
    bool draining() const noexcept { return line_.granted_count() > 0; }
    void release() noexcept;
    void let_in() noexcept;

    detail::waiting_line line_;        // this round; those that were granted their way are leaving
    detail::waiting_line next_round_;  // empty unless some are leaving
    detail::loop_bond bond_;
    std::size_t party_count_;
    bool broken_ = false;
};

}  // namespace ouro
