// A flag that tasks wait for.
#pragma once

#include <string>

#include <ouro/runtime/waiting_line.hpp>

namespace ouro {

class event;

namespace detail {

/// The await of `event::wait`.
class [[nodiscard]] event_wait : public awaitable<event_wait, void, line_wait> {
  public:
    explicit event_wait(event& of) noexcept : awaitable(kind), of_(&of) {}
    bool await_ready() const noexcept;
    void start() noexcept;
    void value() const noexcept {}

  private:
    static const wait_kind kind;
    static std::string describe(const wait_point& wait);
    event* of_;
};

}  // namespace detail

/// Set or clear. Tasks wait until it is set; any number are woken together.
///
/// Lifetime  not movable. Tasks that wait for it when it dies fail with `errc::broken_promise`;
///           those that were woken do not need it any more.
/// Threads   of one loop, the first one on which a task has to wait for it (rule 215).
class event {
  public:
    event() noexcept = default;
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    /// Waits until the event is set.
    ///
    /// Result    nothing. The event may be clear again when the task runs (rule 224).
    /// Errors    errc::wrong_loop, errc::broken_promise.
    /// Cancel    leaves the others waiting.
    /// Lifetime  the event outlives the wait.
    /// Threads   the loop's thread.
    /// Cost      no allocation; does not suspend when the event is set.
    detail::event_wait wait() noexcept { return detail::event_wait(*this); }
    /// Wakes all that wait, in the order they came. Does nothing when it is set.
    void set() noexcept {
        set_ = true;
        line_.wake_all();
    }
    /// Makes those who come from now on wait.
    void clear() noexcept { set_ = false; }
    /// True between `set` and `clear`.
    bool is_set() const noexcept { return set_; }

  private:
    friend detail::event_wait;
    detail::waiting_line line_;
    detail::loop_bond bond_;
    bool set_ = false;
};

inline bool detail::event_wait::await_ready() const noexcept { return of_->is_set(); }

}  // namespace ouro
