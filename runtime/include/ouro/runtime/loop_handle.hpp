// What other threads may do with a loop.
#pragma once

#include <memory>

#include <ouro/runtime/function.hpp>

namespace ouro {

namespace detail {
class mailbox;
struct far_access;
}  // namespace detail

/// A reference to a loop that any thread may hold and use, also after the loop is gone.
///
/// Threads  any.
class loop_handle {
  public:
    /// Refers to no loop; `post` returns false.
    loop_handle() noexcept = default;
    explicit loop_handle(std::shared_ptr<detail::mailbox> box) noexcept;

    /// Runs `what` on the loop's thread, after what it has queued so far, and wakes it if it sleeps
    /// (rules 48, 49).
    ///
    /// Result   false when the loop is closed; `what` is then destroyed here.
    /// Threads  any. On a thread that runs another loop the wake-up leaves at the end of the turn:
    ///          a callback must not block until the other loop has done something.
    /// Cost     one lock; one system call when the loop sleeps, and none more on a thread that runs
    ///          a loop itself.
    bool post(callback what) const;
    /// `loop::stop` from another thread.
    bool stop() const noexcept;

  private:
    friend struct detail::far_access;
    std::shared_ptr<detail::mailbox>
        box_;  // shared: a late post must find out that the loop is gone
};

}  // namespace ouro
