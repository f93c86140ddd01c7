// Groups of tasks: who is told of an end, what a failure does, and how a group is left.
#include <ouro/runtime/task_group.hpp>

#include <string>

#include "loop_state.hpp"

namespace ouro {
namespace detail {

// ---- nursery

namespace {
constexpr wait_kind children_kind{"children", &waiter_list::waiter::leave};
}

void nursery::adopt(task_core& child) noexcept {
    child.group_ = this;
    child.scopes = this;
    child.member_.task = &child;
    children_.push_back(child.member_);
    ++live_;
}

nursery::~nursery() {
    cancel_children(cancel_cause::shutdown, words("its group is gone"));
    while (task_core::member* each = children_.pop_front()) {
        task_core& child = *each->task;
        child.group_ = nullptr;
        scope** link = &child.scopes;  // its own brackets end at this group
        while (*link != this) link = &(*link)->outer_;
        *link = nullptr;
    }
}

void nursery::cancel_children(cancel_cause cause, const words& why) noexcept {
    for (auto* each = children_.front(); each; each = children_.after(*each)) {
        each->task->cancel(cause, words([&] { return why.text(); }));  // a plain copy may throw
    }
}

void nursery::ended(task_core& child) noexcept {
    child.member_.unlink();
    child.group_ = nullptr;
    child_ended(child);
    if (--live_ == 0) parent_.wake_all();
}

void nursery::parent_cancelled(const error& why) noexcept {
    cancel_children(why.cause(), words([&] { return why.reason(); }));
}

waiter_list::waiter nursery::all_ended() noexcept { return parent_.wait(children_kind); }

void nursery::heed(result<> waited) noexcept {
    if (waited) return;
    parent_cancelled(waited.error());
    cancelled_ = std::move(waited.error());
}

task<> nursery::wait_for_all() {
    while (live_ > 0) heed(co_await as_result(all_ended()));
    if (cancelled_) co_await result<>(std::move(cancelled_));
}

}  // namespace detail

// ---- task_group

task_group::task_group(std::source_location where) : nursery("group", where) {}

void task_group::require_open() const {
    if (!ending_) return;
    throw std::system_error(make_error_code(errc::invalid_state),
                            "start a child of a group that is ending");
}

void task_group::child_ended(detail::task_core& child) noexcept {
    if (child.state() == detail::outcome::value) return;
    const bool cancelled = child.cancelled();
    if (cancelled && (ending_ || !fails_when_cancelled())) return;
    if (child.state() == detail::outcome::threw) {
        failed(error::from_exception(child.thrown_seen()), child.thrown_seen());
    } else {
        failed(child.failure_seen(), nullptr);
    }
    abort(cancel_cause::sibling_failed,
          detail::words([&] { return child.name() + (cancelled ? " was cancelled" : " failed"); }));
}

void task_group::parent_cancelled(const error& why) noexcept {
    ending_ = true;
    nursery::parent_cancelled(why);
}

void task_group::failed(error why, std::exception_ptr threw) noexcept {
    if (!first_) {
        first_ = std::move(why);
        first_threw_ = std::move(threw);
        return;
    }
    try {
        further_.push_back(why);
    } catch (const std::bad_alloc&) {
        report(why);
    }
}

/// Ends everything but the failure that is the cause of it.
void task_group::abort(cancel_cause cause, const detail::words& why) noexcept {
    if (ending_) return;
    ending_ = true;
    cancel_children(cause, why);
    if (body_ended_) return;
    cancelled_parent_ = true;
    owner().cancel(cause, detail::words([&] { return why.text(); }));
}

void task_group::cancel(detail::words why) noexcept { abort(cancel_cause::user, why); }

void task_group::body_over(error failed_with, std::exception_ptr threw) noexcept {
    body_ended_ = true;
    // A cancellation that was only to end the body has done so (rule 145).
    const bool only_ours = cancelled_parent_ && take_back();
    if (threw) {
        failed(error::from_exception(threw), threw);
    } else if (failed_with == errc::cancelled) {
        abort(failed_with.cause(), detail::words([&] { return failed_with.reason(); }));
        if (!only_ours) cancelled_ = std::move(failed_with);
    } else if (failed_with) {
        failed(std::move(failed_with), nullptr);
    }
    if (first_) abort(cancel_cause::sibling_failed, "the body of the group failed");
}

task<> task_group::leave() {
    body_over({}, nullptr);
    while (live() > 0) heed(co_await as_result(all_ended()));
    co_await outcome();
}

/// A failure comes before a cancellation, which is due at the next await then (rules 144, 146).
result<> task_group::outcome() {
    ending_ = true;
    if (!first_) return cancelled_ ? result<>(std::move(cancelled_)) : result<>();
    if (owner().cancelling() > cancelling_before_) {
        owner().uncancel();
        owner().cancel(owner().cause(), detail::words([this] { return owner().reason(); }));
    }
    if (first_threw_) {
        report_further(0);
        std::rethrow_exception(std::exchange(first_threw_, nullptr));
    }
    if (further_.empty()) return std::move(first_);
    try {
        further_.insert(further_.begin(), first_);
    } catch (const std::bad_alloc&) {
        report_further(0);
        return std::move(first_);
    }
    error all = error::first_of(std::move(further_));
    if (all.causes().empty()) report_further(1);
    return all;
}

void task_group::report_further(std::size_t from) noexcept {
    for (std::size_t i = from; i < further_.size(); ++i) report(further_[i]);
}

/// Nothing vanishes, if it can be told at all.
void task_group::report(const error& why) noexcept {
    owner().home().call_exception_handler(
        {.message = detail::words("a group had another failure after the one that ended it"),
         .error = why,
         .subject = detail::words([this] { return owner().name(); }),
         .created = where()});
}

}  // namespace ouro
