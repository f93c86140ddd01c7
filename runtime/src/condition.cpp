// Conditions.
#include <ouro/runtime/condition.hpp>

#include <system_error>

namespace ouro {
namespace detail {

constexpr wait_kind condition_wait::kind{"wait for condition", &condition_wait::cancel,
                                         &condition_wait::revoke, &condition_wait::describe};

condition_wait::condition_wait(condition& of) noexcept
    : awaitable(kind), of_(&of), lock_(of.lock_) {}

void condition_wait::start() noexcept {
    if (!lock_->locked()) {
        return wake_failed(error(errc::invalid_state, "wait for condition without its lock"));
    }
    if (!of_->bond_.admits(*this) || !lock_->bond_.admits(*this)) return;
    of_->line_.push(*this);
    lock_->give_back();
}

/// The lock is this task's, and stays so.
void condition_wait::value() noexcept {
    leave();
    notice_.unlink();
}

void condition_wait::reacquire() noexcept {
    leave();
    lock_->take() ? lock_->line_.grant_to(*this) : lock_->line_.push(*this);
}

/// Gives the notification to another one, if it had one and the condition is still there.
void condition_wait::pass_on() noexcept {
    if (!notice_.linked()) return;
    notice_.unlink();
    of_->notify_first();
}

void condition_wait::cancel(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<condition_wait&>(wait);
    const bool notified = self.line() == &self.lock_->line_;
    if (!self.failed()) self.will_fail(error::cancelled(cause, kind.name));
    notified ? self.pass_on() : self.reacquire();
}

/// Notified and given the lock, but cancelled: it keeps the lock.
void condition_wait::revoke(wait_point& wait) noexcept {
    auto& self = static_cast<condition_wait&>(wait);
    self.leave();
    self.pass_on();
}

std::string condition_wait::describe(const wait_point& wait) {
    const auto& self = static_cast<const condition_wait&>(wait);
    if (!self.line()) return {};
    if (self.line() != &self.lock_->line_) return self.line()->describe(self.of_);
    return "with its lock " + self.line()->describe(self.lock_);
}

}  // namespace detail

condition::~condition() {
    while (notified_.pop_front()) {
    }
    const error why(errc::broken_promise, "wait for a condition that was destroyed");
    while (auto* first = static_cast<detail::condition_wait*>(line_.front())) {
        first->will_fail(why);
        first->reacquire();
    }
}

void condition::notify(std::size_t most) {
    if (!lock_->locked()) {
        throw std::system_error(make_error_code(errc::invalid_state),
                                "notify a condition without its lock");
    }
    for (; most > 0 && !line_.empty(); --most) notify_first();
}

void condition::notify_first() noexcept {
    auto* const first = static_cast<detail::condition_wait*>(line_.front());
    if (!first) return;
    notified_.push_back(first->notice_);
    first->reacquire();
}

}  // namespace ouro
