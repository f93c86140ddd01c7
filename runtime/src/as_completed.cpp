// Watching tasks end.
#include <ouro/runtime/as_completed.hpp>

namespace ouro::detail {

void watch::hook::task_done() noexcept {
    // There is room: it was reserved for all of them.
    home->ended_.push_back(static_cast<std::size_t>(this - home->hooks_.get()));
    home->waiting_.wake_all();
}

task_core* watch::hook::waiter() const noexcept {
    const wait_point* const waiting = home->waiting_.front();
    return waiting ? task_core::of(*waiting) : nullptr;
}

void watch::add(task_core& task) {
    for (std::size_t i = 0; i < count_; ++i) {
        if (hooks_[i].task == &task) return;
    }
    hook& made = hooks_[count_];
    made.home = this;
    made.task = &task;
    if (task.done()) {
        ended_.push_back(count_);
    } else {
        task.on_done(made);
    }
    ++count_;
}

bool watch::met(return_when policy) const noexcept {
    if (ended_.size() == count_) return true;
    if (policy == return_when::all_completed) return false;
    if (policy == return_when::first_completed) return !ended_.empty();
    for (const std::size_t each : ended_) {
        if (at(each).state() != outcome::value && !at(each).cancelled()) return true;
    }
    return false;
}

task<> watch::until(return_when policy, std::optional<clock::time_point> deadline) {
    if (met(policy)) co_return;
    const timeout limit(deadline);
    while (!met(policy)) co_await waiting_.wait();
}

task<> watch::more_than(std::size_t known, std::optional<clock::time_point> deadline,
                        std::source_location where) {
    const timeout limit(deadline, where);
    while (ended_.size() <= known) co_await waiting_.wait();
}

std::optional<clock::time_point> deadline_of(std::optional<clock::duration> limit) noexcept {
    if (!limit) return std::nullopt;
    return loop::current().deadline_after(*limit);
}

}  // namespace ouro::detail
