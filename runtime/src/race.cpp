// Races: the first end, and the first success.
#include <ouro/runtime/race.hpp>

namespace ouro::detail {

// ---- first_past_the_post

void first_past_the_post::child_ended(task_core& child) noexcept {
    if (child.state() == outcome::failed) (void)child.failure_seen();
    if (child.state() == outcome::threw) (void)child.thrown_seen();
    if (first_) return;
    first_ = task_ref(&child);
    cancel_children(cancel_cause::not_needed, {});
}

// ---- staggered

staggered::staggered(std::size_t attempts, std::optional<clock::duration> delay,
                     const std::source_location& where)
    : nursery("staggered race", where), attempts_(attempts), delay_(delay) {
    fire = &time_is_up;
    started_.reserve(attempts);
    errors_.reserve(attempts);
}

staggered::~staggered() {
    if (queued()) remove_timer(owner().home(), *this);
}

task<> staggered::run() {
    start_next();
    co_await wait_for_all();
}

/// An attempt that cannot even be started has failed.
void staggered::start_next() noexcept {
    context values = values_;
    const context::use in(values);
    if (queued()) remove_timer(owner().home(), *this);
    while (!ending_ && started_.size() < attempts_) {
        const std::size_t index = started_.size();
        errors_.emplace_back();
        try {
            started_.push_back(start(index));
            if (delay_ && started_.size() < attempts_) {
                when = owner().home().deadline_after(*delay_);
                add_timer(owner().home(), *this);
            }
            return;
        } catch (...) {
            if (started_.size() == index) {
                errors_.back() = error::from_exception(std::current_exception());
                started_.emplace_back();
            }
            // Without a timer the next one starts when this one has failed.
            if (started_.back()) return;
        }
    }
}

void staggered::time_is_up(timer_node& timer) noexcept {
    static_cast<staggered&>(timer).start_next();
}

void staggered::child_ended(task_core& child) noexcept {
    std::size_t index = started_.size() - 1;  // as a rule it is one of the last
    while (started_[index].core() != &child) --index;
    if (child.state() == outcome::value) {
        if (winner_) {  // it came too late (rule 211)
            errors_[index] = error::cancelled(cancel_cause::not_needed, "a later success");
            return;
        }
        winner_ = index;
        ending_ = true;
        cancel_children(cancel_cause::not_needed, {});
        return;
    }
    errors_[index] = child.state() == outcome::threw ? error::from_exception(child.thrown_seen())
                                                     : child.failure_seen();
    start_next();
}

void staggered::parent_cancelled(const error& why) noexcept {
    ending_ = true;
    nursery::parent_cancelled(why);
}

}  // namespace ouro::detail
