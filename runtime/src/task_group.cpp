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
        each->task->cancel(cause, why);
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

task<> nursery::wait_for_all() {
    error cancelled;
    while (live_ > 0) {
        auto waited = co_await as_result(parent_.wait(children_kind));
        if (waited) continue;
        parent_cancelled(waited.error());
        cancelled = std::move(waited.error());
    }
    if (cancelled) co_await result<>(std::move(cancelled));
}

}  // namespace detail

// ---- task_group

task_group::task_group(std::source_location where)
    : nursery("group", where), cancelling_before_(owner().cancelling()) {}

void task_group::require_open() const {
    if (!ending_) return;
    throw std::system_error(make_error_code(errc::invalid_state),
                            "start a child of a group that is ending");
}

void task_group::child_ended(detail::task_core& child) noexcept {
    if (child.state() == detail::outcome::value || child.cancelled()) return;
    const detail::words who([&] { return child.name() + " failed"; });
    failed(child.state() == detail::outcome::threw ? error::from_exception(child.thrown_seen())
                                                   : child.failure_seen());
    abort(cancel_cause::sibling_failed, who);
}

void task_group::parent_cancelled(const error& why) noexcept {
    ending_ = true;
    nursery::parent_cancelled(why);
}

void task_group::failed(error why) noexcept {
    try {
        failures_.push_back(std::move(why));
    } catch (const std::bad_alloc&) {
        if (failures_.empty()) only_failure_ = std::move(why);
    }
}

/// Ends everything but the failure that is the cause of it.
void task_group::abort(cancel_cause cause, const detail::words& why) noexcept {
    if (ending_) return;
    ending_ = true;
    cancel_children(cause, why);
    if (body_ended_) return;
    cancelled_parent_ = true;
    owner().cancel(cause, why);
}

void task_group::cancel(detail::words why) noexcept { abort(cancel_cause::user, std::move(why)); }

task<> task_group::leave(error body_failed, std::exception_ptr body_threw) {
    body_ended_ = true;
    const bool body_cancelled = body_failed == errc::cancelled;
    if (body_threw) failed(error::from_exception(body_threw));
    if (body_failed && !body_cancelled) failed(body_failed);
    if (body_cancelled) abort(body_failed.cause(), body_failed.reason());
    if (!failures_.empty()) abort(cancel_cause::sibling_failed, "the body of the group failed");

    const auto waited = co_await as_result(wait_for_all());
    ending_ = true;
    error cancelled = waited ? std::move(body_failed) : waited.error();
    if (cancelled != errc::cancelled) cancelled = {};
    // A cancellation that was only to end the body has done so (rule 145).
    if (cancelled_parent_ && owner().uncancel() <= cancelling_before_) cancelled = {};

    if (failures_.empty() && only_failure_) failures_.push_back(std::move(only_failure_));
    if (!failures_.empty()) co_await fail();
    if (cancelled) co_await result<>(std::move(cancelled));
}

/// The group failed: that comes before a cancellation, which is due at the next await then (rules
/// 144, 146).
result<> task_group::fail() {
    if (owner().cancelling() > cancelling_before_) {
        owner().uncancel();
        owner().cancel(owner().cause(), owner().reason());
    }
    auto failures = std::move(failures_);
    if (failures.front().exception()) {
        for (std::size_t i = 1; i < failures.size(); ++i) {
            owner().home().call_exception_handler(
                {.message = "a group had another failure after the one that ended it",
                 .error = failures[i],
                 .subject = owner().name(),
                 .created = where()});
        }
        std::rethrow_exception(failures.front().exception());
    }
    return error::first_of(std::move(failures));
}

}  // namespace ouro
