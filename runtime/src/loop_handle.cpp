// Posting from other threads.
#include <ouro/runtime/loop_handle.hpp>

#include <sched.h>

#include <ouro/runtime/remote.hpp>

#include "engine.hpp"
#include "loop_state.hpp"
#include "mailbox.hpp"

namespace ouro {
namespace detail {

/// Whoever has the lock has it for a moment, unless it wakes the loop: to wait for that moment
/// costs less than to sleep.
std::unique_lock<std::mutex> mailbox::enter() noexcept {
    constexpr int tries = 100;
    for (int i = 0; i < tries; ++i) {
        if (std::unique_lock lock(guard_, std::try_to_lock); lock) return lock;
    }
    return std::unique_lock(guard_);
}

mail_origin mailbox::origin() noexcept {
    loop* const here = loop::try_current();
    return {::sched_getcpu(), here && here->state().lookout.is_expected()};
}

bool mailbox::post(callback what, wake_up when) {
    if (is_here()) return post_here(loop::current().state(), std::move(what));
    if (context values = context::current(); !values.empty()) {
        what = [values = values.for_other_thread(), what = std::move(what)]() mutable {
            const context::use in(values);
            what();
        };
    }
    const auto lock = enter();
    if (!home_) return false;
    letters_.push_back(std::move(what));
    wake_for(when);
    return true;
}

bool mailbox::leave(remote_node& node, const std::shared_ptr<mailbox>& kept) noexcept {
    const loop* const here = loop::try_current();
    // A loop may rely on what another one has promised to do at the end of its turn.
    const bool is_loop = here && here->is_running();
    node.from = origin();
    ready_node* before = last_.load(std::memory_order_relaxed);
    std::shared_ptr<mailbox> self;
    do {
        if (before == &closed_) return false;
        if (before == &asleep_ || !is_loop) self = kept;
        node.next = is_node(before) ? before : nullptr;
    } while (!last_.compare_exchange_weak(before, &node, std::memory_order_release,
                                          std::memory_order_relaxed));
    if (!self) return true;  // from here on the loop may have run the node, and be gone
    const auto lock = enter();
    if (home_) wake_for(wake_up::with_turn);
    return true;
}

bool mailbox::leave(remote_call& call, const std::shared_ptr<mailbox>& kept) noexcept {
    // What this thread has posted before is in the letters, or the loop has taken it.
    if (is_here() || pending_.load(std::memory_order_acquire)) return false;
    if (!context::current().empty()) return false;
    call.run = &begin_call;
    return leave(static_cast<remote_node&>(call), kept);
}

void begin_call(ready_node& node) noexcept {
    auto& call = static_cast<remote_call&>(node);
    call.begin(call);
}

bool mailbox::send(std::shared_ptr<remote_link> link) noexcept {
    const auto lock = enter();
    if (!home_) return false;
    results_.push(std::move(link));
    wake_for(wake_up::with_turn);
    return true;
}

/// One wake-up is enough for all that is left here until the loop has looked. What another loop
/// promised for the end of its turn is enough for loops; other threads do not wait for that.
void mailbox::wake_for(wake_up when) noexcept {
    if (!pending_.load(std::memory_order_relaxed)) from_ = origin();
    if (awake_) return pending_.store(true, std::memory_order_release);
    loop* const here = loop::try_current();
    // A loop that runs will hand over what it has; one that is closing may not come to that.
    const bool waits_for_turn = when == wake_up::with_turn && here && here->state().running;
    engine* const near = waits_for_turn ? here->state().kernel.get() : nullptr;
    const bool promised = pending_.exchange(true, std::memory_order_acq_rel);
    if (!woken_ && !(promised && near)) woken_ = sleeper_->wake(near);
}

/// From the loop's own thread: one queue with `call_soon` (rule 49), after what others posted
/// before.
bool mailbox::post_here(loop_state& home, callback what) {
    if (home.closing || home.closed) return false;
    home.take_letters(home.ready);
    home.ready.push(*new scheduled_call(home, std::move(what), {}));
    return true;
}

mail_origin mailbox::take(std::vector<callback>& into, ready_queue& nodes) {
    if (!pending()) return {};
    if (awake_ && !pending_.load(std::memory_order_acquire)) return take_nodes(nodes, nullptr);
    mail_origin from;
    link_queue arrived = [&] {
        const auto lock = enter();
        into.swap(letters_);
        if (pending_.load(std::memory_order_relaxed)) from = from_;
        // While anything is pending, calls are letters: these are those before the letters.
        const mail_origin of_node = take_nodes(nodes, nullptr);
        if (from.processor < 0) from = of_node;
        woken_ = false;
        awake_ = true;
        pending_.store(false, std::memory_order_release);
        return std::move(results_);
    }();
    while (const auto link = arrived.pop()) link->arrive();
    return from;
}

/// In the order in which they were left. Where the first came from.
mail_origin mailbox::take_nodes(ready_queue& into, ready_node* instead) noexcept {
    ready_node* node = last_.exchange(instead, std::memory_order_acq_rel);
    if (!is_node(node)) return {};
    ready_node* first = nullptr;
    while (node) {
        ready_node* const earlier = std::exchange(node->next, first);
        first = std::exchange(node, earlier);
    }
    const mail_origin from = static_cast<remote_node*>(first)->from;
    while (first) into.push(*std::exchange(first, first->next));
    return from;
}

bool mailbox::falls_asleep() noexcept {
    const auto lock = enter();
    ready_node* none = nullptr;
    if (pending_.load(std::memory_order_relaxed)) return false;
    if (!last_.compare_exchange_strong(none, &asleep_)) return false;
    awake_ = false;
    return true;
}

void wait_for_memory() noexcept { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

void mailbox::close() noexcept {
    std::vector<callback> left;
    ready_queue nodes;
    link_queue lost = [&] {
        const auto lock = enter();
        home_ = nullptr;
        owner_.store(nullptr, std::memory_order_relaxed);
        left.swap(letters_);
        pending_.store(false, std::memory_order_release);
        take_nodes(nodes, &closed_);
        return std::move(results_);
    }();
    while (const auto link = lost.pop()) link->drop();
    while (ready_node* const node = nodes.pop()) {
        // Others are of memory that was given up.
        if (remote_call* const call = as_remote_call(*node)) call->drop(*call);
    }
}

}  // namespace detail

loop_handle::loop_handle(std::shared_ptr<detail::mailbox> box) noexcept : box_(std::move(box)) {}

bool loop_handle::post(callback what) const { return box_ && box_->post(std::move(what)); }

bool loop_handle::stop() const noexcept {
    // Who stops a loop often joins its thread next: that must not wait for ever.
    return detail::post_surely([this] {
        return box_ && box_->post([] { loop::current().stop(); }, detail::wake_up::now);
    });
}

}  // namespace ouro
