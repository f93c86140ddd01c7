// Posting from other threads.
#include <ouro/runtime/loop_handle.hpp>

#include "engine.hpp"
#include "loop_state.hpp"
#include "mailbox.hpp"

namespace ouro {
namespace detail {

bool mailbox::post(callback what, wake_up when) {
    if (is_here()) return post_here(loop::current().state(), std::move(what));
    if (context values = context::current(); !values.empty()) {
        what = [values = values.for_other_thread(), what = std::move(what)]() mutable {
            const context::use in(values);
            what();
        };
    }
    const std::lock_guard lock(guard_);
    if (!home_) return false;
    letters_.push_back(std::move(what));
    wake_for(when);
    return true;
}

bool mailbox::post(ready_node& node) noexcept {
    const std::lock_guard lock(guard_);
    if (!home_) return false;
    nodes_.push(node);
    wake_for(wake_up::with_turn);
    return true;
}

bool mailbox::send(std::shared_ptr<remote_link> link) noexcept {
    const std::lock_guard lock(guard_);
    if (!home_) return false;
    results_.push(std::move(link));
    wake_for(wake_up::with_turn);
    return true;
}

/// One wake-up is enough for all that is left here until the loop has looked. What another loop
/// promised for the end of its turn is enough for loops; other threads do not wait for that.
void mailbox::wake_for(wake_up when) noexcept {
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

void mailbox::take(std::vector<callback>& into, ready_queue& nodes) {
    link_queue arrived = [&] {
        const std::lock_guard lock(guard_);
        into.swap(letters_);
        while (ready_node* const node = nodes_.pop()) nodes.push(*node);
        woken_ = false;
        pending_.store(false, std::memory_order_release);
        return std::move(results_);
    }();
    while (const auto link = arrived.pop()) link->arrive();
}

void wait_for_memory() noexcept { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

void mailbox::close() noexcept {
    std::vector<callback> left;
    link_queue lost = [&] {
        const std::lock_guard lock(guard_);
        home_ = nullptr;
        owner_.store(nullptr, std::memory_order_relaxed);
        left.swap(letters_);
        nodes_ = {};  // of memory that was given up
        pending_.store(false, std::memory_order_release);
        return std::move(results_);
    }();
    while (const auto link = lost.pop()) link->drop();
}

}  // namespace detail

loop_handle::loop_handle(std::shared_ptr<detail::mailbox> box) noexcept : box_(std::move(box)) {}

bool loop_handle::post(callback what) const { return box_ && box_->post(std::move(what)); }

bool loop_handle::stop() const noexcept {
    for (;;) {
        try {
            // Who stops a loop often joins its thread next: that must not wait for ever.
            return box_ && box_->post([] { loop::current().stop(); }, detail::wake_up::now);
        } catch (const std::bad_alloc&) {
            detail::wait_for_memory();
        }
    }
}

}  // namespace ouro
