// Futures: who is told when one is done, and failures nobody looked at.
#include <ouro/runtime/future.hpp>

#include "inspection.hpp"
#include "loop_state.hpp"

namespace ouro::detail {

// ---- callbacks

/// A callback that waits for a future. It keeps the result alive.
struct future_call final : done_call, future_hook {
    future_call(loop_state& owner, callback callable, std::source_location where,
                future_core& target)
        : done_call(owner, std::move(callable), where), of(target) {
        of.add_future();
    }
    void future_done() noexcept override { due(); }
    void loop_closed() noexcept override { drop(); }
    void let_go() noexcept override {
        future_hook::unlink();
        of.drop_future();
    }

    future_core& of;
};

handle future_core::on_done(callback what, std::source_location created) {
    if (!home_) throw std::system_error(make_error_code(errc::loop_closed), "on_done");
    loop_state& state = home_->state();
    state.require_open("on_done");
    state.require_own_thread("on_done");
    if (!what) throw std::system_error(make_error_code(errc::value_error), "an empty callback");
    auto* const call = new future_call(state, std::move(what), created, *this);
    handle registered(call);
    done() ? call->future_done() : add_hook(*call);
    return registered;
}

// ---- life

future_core::future_core(loop& home, std::source_location created)
    : home_(&home), created_(created) {
    if (home.is_closed()) {
        throw std::system_error(make_error_code(errc::loop_closed), "promise of a closed loop");
    }
    home.state().futures.push_back(*this);
}

future_core::~future_core() {
    if (failed_unseen()) report_unseen();
}

void future_core::drop_promise() noexcept {
    if (promises_ == 1 && !done() && futures_ > 0) break_promise();
    --promises_;
    destroy_unused();
}

void future_core::break_promise() noexcept {
    why_ = error(errc::broken_promise, "wait for a future");
    seen_ = true;
    finish(outcome::failed);
}

void future_core::loop_closed() noexcept {
    if (failed_unseen()) report_unseen();
    home_ = nullptr;
    add_future();
    while (future_hook* hook = hooks_.pop_front()) hook->loop_closed();
    drop_future();
}

void future_core::forget_loop() noexcept {
    home_ = nullptr;
    while (hooks_.pop_front()) continue;
}

bool future_core::failed_unseen() const noexcept {
    return home_ && !seen_ && done() && state_ != outcome::value && !cancelled();
}

void future_core::report_unseen() noexcept {
    seen_ = true;
    const bool threw = state_ == outcome::threw;
    failure_report told{.message = words("the failure of a future was never looked at"),
                        .error = threw ? error::from_exception(thrown_) : std::move(why_),
                        .subject = "future",
                        .created = created_};
    home_->call_exception_handler(told);
    if (!threw) why_ = std::move(told.error);  // for those that outlive the loop
}

bool future_core::cancelled() const noexcept {
    return state_ == outcome::failed && why_.code() == make_error_code(errc::cancelled);
}

const error& future_core::failure_seen() noexcept {
    seen_ = true;
    return why_;
}

std::exception_ptr future_core::thrown_seen() noexcept {
    seen_ = true;
    return thrown_;
}

// ---- setting

bool future_core::may_set() const {
    if (home_) home_->state().require_own_thread("set a promise");
    return !done();
}

bool future_core::set_failure(error why) {
    OURO_ASSERT(why, "a promise was given an error that is none");
    if (!may_set()) return false;
    why_ = std::move(why);
    finish(outcome::failed);
    return true;
}

bool future_core::set_thrown(std::exception_ptr thrown) {
    OURO_ASSERT(thrown, "a promise was given an exception that is none");
    if (!may_set()) return false;
    thrown_ = std::move(thrown);
    finish(outcome::threw);
    return true;
}

bool future_core::cancel(cancel_cause cause, words why) noexcept {
    if (done()) {
        seen_ = true;  // whoever cancels a finished future has done with it (rule 92)
        return false;
    }
    why_ = error::cancelled(cause, std::move(why));
    finish(outcome::failed);
    return true;
}

void future_core::finish(outcome how) noexcept {
    state_ = how;
    add_future();  // a coroutine that is not a task may be resumed here and drop everything
    while (future_hook* hook = hooks_.pop_front()) hook->future_done();
    drop_future();
}

// ---- waiting

const wait_kind future_kind{"wait for a future", &future_wait::leave, nullptr,
                            &future_wait::describe};

error value_taken() noexcept {
    return error(errc::invalid_state, "read a future whose value was moved out");
}

bool future_wait::ready() const noexcept {
    if (refusal()) return caught_;
    return target_->done();
}

error future_wait::refusal() const noexcept {
    if (!target_) return error(errc::invalid_state, "await a future of nothing");
    if (loop* const home = target_->home(); home && home != loop::try_current()) {
        return error(errc::wrong_loop, "await a future of another loop");
    }
    if (target_->state() == outcome::failed) return target_->failure_seen();
    if (target_->taken()) return value_taken();
    if (!target_->done() && !target_->home()) {
        return error(errc::loop_closed, "await a future of a closed loop");
    }
    return {};
}

void future_wait::start() noexcept {
    if (error why = refusal()) return wake_failed(std::move(why));  // in a foreign coroutine
    target_->add_hook(*this);
}

void future_wait::future_done() noexcept {
    if (target_->state() == outcome::failed) return wake_failed(target_->failure_seen());
    wake();
}

std::string future_wait::describe(const wait_point& wait) {
    return "made at " + to_text(static_cast<const future_wait&>(wait).target_->created());
}

void future_wait::leave(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<future_wait&>(wait);
    self.future_hook::unlink();
    self.wake_failed(error::cancelled(cause, wait.kind().name));
}

}  // namespace ouro::detail
