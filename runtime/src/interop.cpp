// Callback calls that a task waits for.
#include <ouro/runtime/interop.hpp>

namespace ouro::detail {

const wait_kind callback_kind{"callback", &callback_wait::leave};

void callback_wait::started() noexcept {
    target_->done() ? future_done() : target_->add_hook(*this);
}

void callback_wait::start_threw() noexcept {
    std::exception_ptr thrown = std::current_exception();
    if (!target_) return wake_failed(error(std::errc::not_enough_memory, kind().name));
    // It takes its callback with it, unless that was called or kept.
    const bool answered = target_->done() && !(target_->failure_seen() == errc::broken_promise);
    if (answered) {
        report_callback_threw(loop::current(), std::move(thrown));
        return future_done();
    }
    thrown_ = std::move(thrown);
    target_->cancel(cancel_cause::user, {});
    wake();
}

void callback_wait::hook_threw() noexcept {
    const std::exception_ptr thrown = std::current_exception();
    if (target_->done()) return report_callback_threw(loop::current(), thrown);
    target_->set_thrown(thrown);
}

bool callback_wait::note_cancel(cancel_cause cause) noexcept {
    return std::exchange(cause_, cause) == cancel_cause::none;
}

void callback_wait::defer_noted_cancel() noexcept {
    if (cause_ != cancel_cause::none) defer_cancel(*this, cause_);
}

void callback_wait::future_done() noexcept {
    if (target_->state() != outcome::failed) return wake();
    const error& why = target_->failure_seen();
    if (cause_ != cancel_cause::none) return wake_failed(error::cancelled(cause_, kind().name));
    if (why == errc::broken_promise) {
        return wake_failed(error(errc::broken_promise, "a callback that was never called"));
    }
    wake_failed(why);
}

void callback_wait::leave(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<callback_wait&>(wait);
    self.future_hook::unlink();
    if (self.target_) self.target_->cancel(cause, {});  // what comes now is dropped
    self.wake_failed(error::cancelled(cause, wait.kind().name));
}

void report_callback_threw(loop& home, std::exception_ptr thrown) noexcept {
    home.call_exception_handler({.message = words("a callback threw"),
                                 .error = error::from_exception(std::move(thrown)),
                                 .subject = "callback"});
}

}  // namespace ouro::detail
