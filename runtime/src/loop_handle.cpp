// Posting from other threads.
#include <ouro/runtime/loop_handle.hpp>

#include "engine.hpp"
#include "loop_state.hpp"
#include "mailbox.hpp"

namespace ouro {
namespace detail {

bool mailbox::post(callback what) {
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
    wake_loop();
    return true;
}

bool mailbox::send(std::shared_ptr<remote_link> link) noexcept {
    const std::lock_guard lock(guard_);
    if (!home_) return false;
    results_.push(std::move(link));
    wake_loop();
    return true;
}

/// One wake-up is enough for all that was left until the loop has looked.
void mailbox::wake_loop() {
    if (!pending_.exchange(true, std::memory_order_acq_rel)) sleeper_->wake();
}

/// From the loop's own thread: one queue with `call_soon` (rule 49), after what others posted
/// before.
bool mailbox::post_here(loop_state& home, callback what) {
    if (home.closing || home.closed) return false;
    home.take_letters(home.ready);
    home.ready.push(*new scheduled_call(home, std::move(what), {}));
    return true;
}

void mailbox::take(std::vector<callback>& into) {
    link_queue arrived = [&] {
        const std::lock_guard lock(guard_);
        into.swap(letters_);
        pending_.store(false, std::memory_order_release);
        return std::move(results_);
    }();
    while (const auto link = arrived.pop()) link->arrive();
}

void mailbox::close() noexcept {
    std::vector<callback> left;
    link_queue lost = [&] {
        const std::lock_guard lock(guard_);
        home_ = nullptr;
        owner_.store(nullptr, std::memory_order_relaxed);
        left.swap(letters_);
        pending_.store(false, std::memory_order_release);
        return std::move(results_);
    }();
    while (const auto link = lost.pop()) link->drop();
}

}  // namespace detail

loop_handle::loop_handle(std::shared_ptr<detail::mailbox> box) noexcept : box_(std::move(box)) {}

bool loop_handle::post(callback what) const { return box_ && box_->post(std::move(what)); }

bool loop_handle::stop() const noexcept try {
    return post([] { loop::current().stop(); });
} catch (...) {
    return false;  // out of memory
}

}  // namespace ouro
