// Frames that wait in order and are given what they wait for one by one. For makers of primitives.
#pragma once

#include <cstddef>
#include <string>

#include <ouro/runtime/intrusive.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro::detail {

class waiting_line;

/// A frame that may stand in a line; leaves it when it dies.
///
/// From the moment it is granted something until its task has run it is still in the line, so that
/// the line can tell who got what. Who is granted something that others wait for too gives it on
/// when it dies in that state, and in the `revoke` of its kind.
class line_wait : public wait_point, public list_link {
  public:
    bool granted() const noexcept { return granted_; }
    /// The line it stands in, or null.
    waiting_line* line() const noexcept { return line_; }
    /// Steps out, if it stands in a line.
    void leave() noexcept;
    /// A `cancel` for kinds that only leave.
    static void cancelled(wait_point& wait, cancel_cause cause) noexcept;

  protected:
    using wait_point::wait_point;
    ~line_wait() { leave(); }

  private:
    friend waiting_line;
    waiting_line* line_ = nullptr;
    bool granted_ = false;
};

/// FIFO of waiting frames. Those that are in it when it dies fail with `errc::broken_promise`.
class waiting_line {
  public:
    waiting_line() noexcept = default;
    waiting_line(const waiting_line&) = delete;
    waiting_line& operator=(const waiting_line&) = delete;
    ~waiting_line();

    bool empty() const noexcept { return waiting_count_ == 0; }
    std::size_t waiting_count() const noexcept { return waiting_count_; }
    /// Those that were woken and have not run yet.
    std::size_t granted_count() const noexcept { return granted_count_; }
    line_wait* front() noexcept { return waiting_.front(); }

    void push(line_wait& who) noexcept;
    /// Wakes the first one. False when nobody waits.
    bool grant() noexcept;
    /// Wakes `who`, which stands in no line, as if its turn had come in this one.
    void grant_to(line_wait& who) noexcept;
    /// Wakes all. They are granted nothing: they leave.
    void wake_all() noexcept;
    void fail_waiting(const error& why) noexcept;
    void fail_granted(const error& why) noexcept;
    /// Those that were granted something keep it and leave.
    void let_granted_go() noexcept;
    /// "0x7ffc01 (3 waiters)", for reports on `primitive`.
    std::string describe(const void* primitive) const;

  private:
    friend line_wait;
    list<line_wait> waiting_;
    list<line_wait> granted_;
    std::size_t waiting_count_ = 0;
    std::size_t granted_count_ = 0;
};

inline void line_wait::leave() noexcept {
    if (!line_) return;
    --(granted_ ? line_->granted_count_ : line_->waiting_count_);
    list_link::unlink();
    line_ = nullptr;
    granted_ = false;
}

/// The loop a primitive belongs to: the first one on which something had to wait for it.
class loop_bond {
  public:
    /// Fails `who` and returns false when it waits on another loop.
    bool admits(wait_point& who) noexcept;

  private:
    const loop* home_ = nullptr;  // compared, never used: it may be gone
};

}  // namespace ouro::detail
