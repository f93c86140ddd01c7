// Deadlines, and how a cancellation becomes a timeout on its way out of a block.
#include <ouro/runtime/timeout.hpp>

#include <cstdio>
#include <string>

#include "inspection.hpp"

namespace ouro {
namespace detail {

// ---- scopes

namespace {

task_core& require_task(const char* kind) {
    if (task_core* const running = task_core::current()) return *running;
    throw std::system_error(make_error_code(errc::invalid_state),
                            std::string("enter a ") + kind + " outside of a task");
}

}  // namespace

scope::scope(const char* kind, const std::source_location& where)
    : cancelling_before_(require_task(kind).cancelling()),
      due_before_(task_core::current()->must_cancel),
      deliveries_before_(task_core::current()->deliveries()),
      kind_(kind),
      where_(where),
      owner_(task_core::current()),
      outer_(std::exchange(owner_->scopes, this)) {}

scope::~scope() {
    // The innermost one as a rule: blocks end from the inside out.
    scope** link = &owner_->scopes;
    while (*link != this) link = &(*link)->outer_;
    *link = outer_;
}

bool scope::take_back() noexcept {
    const bool only_ours = owner_->uncancel() <= cancelling_before_;
    const bool still_due = due_before_ && owner_->deliveries() == deliveries_before_;
    if (only_ours && !still_due) owner_->must_cancel = false;
    return only_ours;
}

namespace {

/// "5 s", "250 ms", "1.5 s"
std::string as_words(clock::duration delay) {
    const double seconds = std::chrono::duration<double>(delay).count();
    char text[32];
    if (seconds >= 1 || seconds <= 0) {
        std::snprintf(text, sizeof text, "%.6g s", seconds);
    } else {
        std::snprintf(text, sizeof text, "%.6g ms", seconds * 1000);
    }
    return text;
}

}  // namespace

error no_time(const std::source_location& where) noexcept {
    return error(std::errc::timed_out, words([&] { return "wait at " + to_text(where); }))
        .because("there was no time at all");
}

}  // namespace detail

std::optional<clock::time_point> current_deadline() noexcept {
    const auto* const own = detail::task_core::current();
    clock::time_point earliest = clock::time_point::max();
    for (const detail::scope* each = own ? own->scopes : nullptr; each; each = each->outer()) {
        earliest = std::min(earliest, each->deadline());
    }
    if (earliest == clock::time_point::max()) return std::nullopt;
    return earliest;
}

// ---- timeout

timeout::timeout(std::optional<clock::duration> delay, std::optional<clock::time_point> when,
                 const std::source_location& where)
    : scope("timeout", where), delay_(delay) {
    timer_node::fire = &came;
    if (delay) {
        set(owner().home().deadline_after(*delay), *delay <= delay->zero());
    } else {
        set(when, when && *when <= owner().home().time());
    }
}

timeout::~timeout() {
    if (queued()) remove_timer(owner().home(), *this);
    if (!cancelled_) return;
    error* const leaving = expired() ? owner().unwinding : nullptr;
    const bool ours = take_back();  // if not, somebody further out is next (rule 162)
    if (!leaving) return;
    detail::words why([this] { return reason(); });
    if (ours && *leaving == errc::cancelled) {
        leaving->becomes(std::errc::timed_out, std::move(why));
    } else {
        leaving->because(std::move(why));
    }
}

std::optional<clock::time_point> timeout::when() const noexcept {
    if (deadline() == clock::time_point::max()) return std::nullopt;
    return deadline();
}

bool timeout::reschedule(std::optional<clock::time_point> when) {
    if (expired()) return false;
    if (cancelled_) take_back();
    cancelled_ = at_once_ = false;
    // Taking the timer out leaves room for it in the queue: only one that was not there can fail.
    if (queued()) remove_timer(owner().home(), *this);
    delay_.reset();
    set(when, when && *when <= owner().home().time());
    return true;
}

/// A deadline that has passed already comes at the very next await, before whatever is ready (rule
/// 164): no timer could be that quick. One that the task will be cancelled at anyway needs nothing.
void timeout::set(std::optional<clock::time_point> when, bool passed) {
    deadline_ = clock::time_point::max();
    if (!when) return;
    timer_node::when = *when;
    if (!passed) {
        add_timer(owner().home(), *this);
    } else if (!owner().must_cancel) {
        at_once_ = true;
        came(*this);
    }
    deadline_ = *when;
}

void timeout::came(timer_node& timer) noexcept {
    auto& self = static_cast<timeout&>(timer);
    self.cancelled_ = true;
    self.owner().cancel(cancel_cause::timeout, detail::words([&] { return self.reason(); }));
}

std::string timeout::reason() const {
    return (delay_ ? "deadline of " + detail::as_words(*delay_) : std::string("deadline")) +
           " at " + detail::to_text(where());
}

}  // namespace ouro
