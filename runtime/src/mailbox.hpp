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
#include <ouro/runtime/run_threadsafe.hpp>

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

/// The call behind a node, or null when the node is something else.
void begin_call(ready_node& node) noexcept;
inline remote_call* as_remote_call(ready_node& node) noexcept {
    return node.run == &begin_call ? static_cast<remote_call*>(&node) : nullptr;
}

/// Where other threads leave letters (callbacks), results and nodes. The latter are calls and
/// answers between loops; while the receiver is awake they cost one exchange and no lock.
///
/// No wake-up is lost. The loop changes between asleep and awake with the lock only (`awake_`;
/// `last_` says the same to those who leave nodes). `falls_asleep` finds what was left before. Who
/// leaves letters does so with the lock, and so before that or with the loop asleep, and then wakes
/// it. Who leaves the first node after that finds `asleep_` there, which only one can replace, and
/// wakes the loop with the lock, unless it is awake again: then it has taken that node or will look
/// once more. Who leaves a node upon another one, or on nothing, is seen by that same look.
class mailbox {
  public:
    mailbox(loop& home, engine& sleeper) noexcept
        : owner_(&home), home_(&home), sleeper_(&sleeper) {}

    /// Leaves `what` and wakes the loop; false when the loop is closed.
    bool post(callback what, wake_up when = wake_up::with_turn);
    /// Leaves a node that stays where it is until it has run. It needs no memory, and a closing
    /// loop runs it. `kept` keeps this mailbox, and belongs to the node: it may be gone when this
    /// returns. False when the loop is closed.
    bool leave(remote_node& node, const std::shared_ptr<mailbox>& kept) noexcept;
    /// The same for a call, which the caller keeps until it has been begun or dropped. False: it
    /// was not left, as it has to wait for letters before it, or for its context.
    bool leave(remote_call& call, const std::shared_ptr<mailbox>& kept) noexcept;
    /// Leaves a result for `remote_link::arrive` and wakes the loop; false when the loop is closed.
    bool send(std::shared_ptr<remote_link> link) noexcept;
    /// True in the thread that runs the loop.
    bool is_here() const noexcept {
        const loop* const here = loop::try_current();
        return here && here == owner_.load(std::memory_order_relaxed);
    }
    /// Takes the posts that were left since the last time, and delivers the results. The loop is
    /// awake from then on, and looks again before it sleeps. Where the first of them came from.
    /// Loop thread.
    mail_origin take(std::vector<callback>& into, ready_queue& nodes);
    /// A cheap look, without the lock.
    bool pending() const noexcept {
        return pending_.load(std::memory_order_acquire) ||
               is_node(last_.load(std::memory_order_acquire));
    }
    /// True after `take` found something: those who leave more do not wake the loop. Loop thread.
    bool is_awake() const noexcept { return awake_; }
    /// From here on they do. False when there is something: the loop must not sleep. Loop thread.
    bool falls_asleep() noexcept;
    /// No post is taken any more; what was left is destroyed.
    void close() noexcept;

  private:
    static mail_origin origin() noexcept;
    bool post_here(loop_state& home, callback what);
    void wake_for(wake_up when) noexcept;
    static bool is_node(const ready_node* last) noexcept {
        return last && last != &asleep_ && last != &closed_;
    }
    mail_origin take_nodes(ready_queue& into, ready_node* instead) noexcept;
    std::unique_lock<std::mutex> enter() noexcept;

    static inline ready_node asleep_;  // instead of none: whoever leaves a node wakes the loop
    static inline ready_node closed_;  // instead of any

    std::mutex guard_;
    std::vector<callback> letters_;
    link_queue results_;
    bool awake_ = false;  // written by the loop's thread, with the lock
    mail_origin from_;    // where the first of what is pending came from
    bool woken_ = false;  // for what is pending, not only promised by a loop for its turn's end
    // To compare with, not to use. Null once closed: another loop may come to the same address.
    std::atomic<const loop*> owner_;
    loop* home_;  // null once closed
    engine* sleeper_;
    std::atomic<bool> pending_{false};
    // The node left last, which knows those before it. On a line of its own: it is all that those
    // who leave nodes and a loop that looks out for them share.
    alignas(64) std::atomic<ready_node*> last_{&asleep_};
};

}  // namespace ouro::detail
