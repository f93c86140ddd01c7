// Lines of waiting frames.
#include <ouro/runtime/waiting_line.hpp>

#include <cstdio>

#include <ouro/runtime/loop.hpp>

namespace ouro::detail {

void line_wait::cancelled(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<line_wait&>(wait);
    self.leave();
    self.wake_failed(error::cancelled(cause, self.kind().name));
}

waiting_line::~waiting_line() {
    if (!waiting_count_ && !granted_count_) return;
    const error why(errc::broken_promise, "wait for an object that was destroyed");
    fail_granted(why);
    fail_waiting(why);
}

void waiting_line::push(line_wait& who) noexcept {
    waiting_.push_back(who);
    who.line_ = this;
    ++waiting_count_;
}

bool waiting_line::grant() noexcept {
    line_wait* const first = waiting_.front();
    if (!first) return false;
    first->leave();
    grant_to(*first);
    return true;
}

void waiting_line::grant_to(line_wait& who) noexcept {
    granted_.push_back(who);
    who.line_ = this;
    who.granted_ = true;
    ++granted_count_;
    who.wake();
}

void waiting_line::wake_all() noexcept {
    while (line_wait* first = waiting_.front()) {
        first->leave();
        first->wake();
    }
}

void waiting_line::fail_waiting(const error& why) noexcept {
    while (line_wait* first = waiting_.front()) {
        first->leave();
        first->wake_failed(why);
    }
}

void waiting_line::fail_granted(const error& why) noexcept {
    while (line_wait* first = granted_.front()) {
        first->leave();
        first->will_fail(why);
    }
}

void waiting_line::let_granted_go() noexcept {
    while (line_wait* first = granted_.front()) first->leave();
}

std::string waiting_line::describe(const void* primitive) const {
    char text[64];
    (void)std::snprintf(text, sizeof text, "%p (%zu waiter%s)", primitive, waiting_count_,
                        waiting_count_ == 1 ? "" : "s");
    return text;
}

bool loop_bond::admits(wait_point& who) noexcept {
    const loop* const here = loop::try_current();
    if (!home_) home_ = here;
    if (home_ == here) return true;
    who.wake_failed(error(errc::wrong_loop, who.kind().name));
    return false;
}

}  // namespace ouro::detail
