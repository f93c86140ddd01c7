// Where other threads leave callbacks for a loop.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/remote_promise.hpp>

#include "ready_queue.hpp"

namespace ouro::detail {

class engine;
struct loop_state;

/// When a sleeping loop is woken for a post.
enum class wake_up {
    with_turn,  ///< from a loop's thread with what its turn hands to the kernel anyway
    now,        ///< before the call returns: whoever posted may block next
};

/// Results on their way to a loop, threaded through their links: nothing is allocated.
class link_queue {
  public:
    link_queue() noexcept = default;
    link_queue(link_queue&& other) noexcept
        : first_(std::move(other.first_)), last_(std::exchange(other.last_, nullptr)) {}
    link_queue& operator=(link_queue&&) = delete;
    ~link_queue() {
        while (pop()) continue;  // one by one: a long chain must not end in deep recursion
    }
    void push(std::shared_ptr<remote_link> link) noexcept {
        remote_link* const at = link.get();
        (last_ ? last_->next_ : first_) = std::move(link);
        last_ = at;
    }
    std::shared_ptr<remote_link> pop() noexcept {
        auto link = std::move(first_);
        if (!link) return nullptr;
        first_ = std::move(link->next_);
        if (!first_) last_ = nullptr;
        return link;
    }

  private:
    std::shared_ptr<remote_link> first_;
    remote_link* last_ = nullptr;
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
    /// Leaves a result for `remote_link::arrive` and wakes the loop; false when the loop is closed.
    bool send(std::shared_ptr<remote_link> link) noexcept;
    /// True in the thread that runs the loop.
    bool is_here() const noexcept {
        const loop* const here = loop::try_current();
        return here && here == owner_.load(std::memory_order_relaxed);
    }
    /// Takes the posts that were left since the last time, and delivers the results. Loop thread.
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
    link_queue results_;
    std::atomic<bool> pending_{false};
    bool woken_ = false;  // for what is pending, not only promised by a loop for its turn's end
    // To compare with, not to use. Null once closed: another loop may come to the same address.
    std::atomic<const loop*> owner_;
    loop* home_;  // null once closed
    engine* sleeper_;
};

}  // namespace ouro::detail
