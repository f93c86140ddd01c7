// Watching tasks end.
#include <ouro/runtime/as_completed.hpp>

#include <algorithm>
#include <functional>

namespace ouro::detail {

void watch::begin(std::size_t size) {
    ended_.reserve(size);
    // The same task at several places: they are neighbours once sorted, the first one leads.
    std::vector<hook*> sorted;
    sorted.reserve(size);
    for (std::size_t i = 0; i < size; ++i) sorted.push_back(&hooks_[i]);
    std::sort(sorted.begin(), sorted.end(), [](const hook* left, const hook* right) {
        const std::less<> before;
        if (left->task != right->task) return before(left->task, right->task);
        return before(left, right);
    });
    const task_core* previous = nullptr;
    for (hook* const each : sorted) {
        if (std::exchange(previous, each->task) == previous) each->task = nullptr;
    }
    for (std::size_t i = 0; i < size; ++i) {
        hook& each = hooks_[i];
        if (!each.task) continue;
        ++count_;
        each.home = this;
        if (&each.task->home() != loop::try_current()) {
            foreign_ = true;
        } else if (each.task->done()) {
            note_end(each);
        } else {
            each.task->on_done(each);
        }
    }
}

/// There is room: it was reserved for all of them.
void watch::note_end(hook& of) noexcept {
    ended_.push_back(static_cast<std::size_t>(&of - hooks_.get()));
    failed_ = failed_ || (of.task->state() != outcome::value && !of.task->cancelled());
}

void watch::hook::task_done() noexcept {
    home->note_end(*this);
    if (home->met()) home->waiting_.wake_all();
}

task_core* watch::hook::waiter() const noexcept {
    const wait_point* const waiting = home->waiting_.front();
    return waiting ? task_core::of(*waiting) : nullptr;
}

bool watch::met() const noexcept {
    if (ended_.size() == count_) return true;
    if (policy_ == return_when::first_completed) return !ended_.empty();
    return policy_ == return_when::first_error && failed_;
}

error watch::refusal() const noexcept {
    if (!foreign_) return {};
    return error(errc::wrong_loop, "wait for a task of another loop");
}

task<> watch::until(return_when policy, std::optional<clock::time_point> deadline) {
    if (error why = refusal()) co_await result<>(std::move(why));
    policy_ = policy;
    if (met()) co_return;
    const timeout limit(deadline);
    while (!met()) co_await waiting_.wait();
}

task<> watch::more_than(std::size_t known, std::optional<clock::time_point> deadline,
                        std::source_location where) {
    if (error why = refusal()) co_await result<>(std::move(why));
    const timeout limit(deadline, where);
    while (ended_.size() <= known) co_await waiting_.wait();
}

std::optional<clock::time_point> deadline_of(std::optional<clock::duration> limit) noexcept {
    if (!limit) return std::nullopt;
    return loop::current().deadline_after(*limit);
}

}  // namespace ouro::detail
