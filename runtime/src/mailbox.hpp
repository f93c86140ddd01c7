// Where other threads leave callbacks for a loop.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include <ouro/runtime/loop.hpp>

#include "ready_queue.hpp"

namespace ouro::detail {

class engine;
struct loop_state;

/// When a sleeping loop is woken for a post.
enum class wake_up {
    with_turn,  ///< from a loop's thread with what its turn hands to the kernel anyway
    now,        ///< before the call returns: whoever posted may block next
};

class mailbox {
  public:
    mailbox(loop& home, engine& sleeper) noexcept
        : owner_(&home), home_(&home), sleeper_(&sleeper) {}

    /// Leaves `what` and wakes the loop; false when the loop is closed.
    bool post(callback what, wake_up when = wake_up::with_turn);
    /// Leaves a node that stays where it is until it has run. It needs no memory, and a closing
    /// loop runs it.
    bool post(ready_node& node) noexcept;
    /// Takes what was left since the last time. Loop thread.
    void take(std::vector<callback>& into, ready_queue& nodes);
    /// A cheap look, without the lock.
    bool pending() const noexcept { return pending_.load(std::memory_order_acquire); }
    /// No post is taken any more; what was left is destroyed.
    void close() noexcept;

  private:
    bool post_here(loop_state& home, callback what);
    void wake_for(wake_up when) noexcept;

    std::mutex guard_;
    std::vector<callback> letters_;
    ready_queue nodes_;
    std::atomic<bool> pending_{false};
    bool woken_ = false;  // for what is pending, not only promised by a loop for its turn's end
    const loop* const owner_;  // to compare with, not to use
    loop* home_;               // null once closed
    engine* sleeper_;
};

}  // namespace ouro::detail
