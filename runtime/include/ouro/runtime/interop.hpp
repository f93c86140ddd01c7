// Between coroutines and code that speaks in callbacks: from_callback and to_callback.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <source_location>
#include <system_error>
#include <type_traits>
#include <utility>

#include <ouro/runtime/remote_promise.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro {

/// What `from_callback` gives to the callback code: called with the outcome, it wakes who waits.
/// Move-only; an API that copies its callbacks takes `std::move(done).shared()`.
///
/// Result    the first call counts and uses it up; later ones return false and do nothing. Dropped
///           uncalled, it fails who waits with `errc::broken_promise`.
/// Lifetime  may outlive the waiter and the loop; what comes then is destroyed.
/// Threads   any, one at a time.
/// Cost      needs no memory.
template <class T = void>
class done_callback {
  public:
    explicit done_callback(remote_promise<T> to) noexcept : to_(std::move(to)) {}

    /// It worked: the value, made from `arguments`.
    template <class... Args>
        requires(std::is_void_v<T> ? sizeof...(Args) == 0
                                   : sizeof...(Args) > 0 && std::constructible_from<T, Args && ...>)
    bool operator()(Args&&... arguments) {
        return to_.set_value(std::forward<Args>(arguments)...);
    }
    /// A value, or why there is none.
    bool operator()(result<T> outcome) { return to_.set_result(std::move(outcome)); }
    /// It failed.
    bool operator()(error why) noexcept { return to_.set_error(std::move(why)); }
    /// It failed, with a code of the library.
    bool operator()(errc why) noexcept { return to_.set_error(why); }
    /// It failed, with a code of any category.
    bool operator()(std::error_code why) noexcept { return to_.set_error(error(why)); }
    /// It threw: rethrown where it is awaited.
    bool operator()(std::exception_ptr thrown) noexcept {
        return to_.set_exception(std::move(thrown));
    }
    /// True when nobody waits any more, so that the work may be given up.
    bool abandoned() const noexcept { return to_.abandoned(); }
    /// The same as a callable that can be copied; the first call of any copy counts.
    auto shared() && {
        return [all = std::make_shared<done_callback>(std::move(*this))]<class... Args>(
                   Args&&... outcome) -> bool { return (*all)(std::forward<Args>(outcome)...); };
    }

  private:
    remote_promise<T> to_;
};

namespace detail {

/// There is no way to stop what was started.
struct no_cancel_hook {
    void operator()() const noexcept {}
};

/// Waits for a call that answers through a callback. The result has no other reader.
class callback_wait : public future_wait {
  public:
    explicit callback_wait(const wait_kind& kind) noexcept : future_wait(kind, nullptr) {}
    void future_done() noexcept override;

    /// The `cancel` of a call that cannot be stopped: the waiter leaves, a late result is dropped.
    static void leave(wait_point& wait, cancel_cause cause) noexcept;

  protected:
    ~callback_wait() = default;
    /// The result will come to `made`, whose count it takes over.
    void expect(future_core& made) noexcept { target_ = &made; }
    /// The call was made: waits for its answer, which may be there.
    void started() noexcept;
    /// The call was not made, or it threw.
    void start_threw() noexcept;
    void hook_threw() noexcept;
    /// Throws what the call threw.
    void rethrow_start() const {
        if (thrown_) std::rethrow_exception(thrown_);
    }
    /// True for the first cancellation, which asks the call to end.
    bool note_cancel(cancel_cause cause) noexcept;
    /// A result came although a cancellation was asked for: that is due at the next await.
    void defer_noted_cancel() noexcept;

  private:
    std::exception_ptr thrown_;
    cancel_cause cause_ = cancel_cause::none;
};

extern const wait_kind callback_kind;

/// The await of `from_callback`.
template <class T, class Start, class Hook>
class [[nodiscard]] callback_awaiter final : public callback_wait {
  public:
    using value_type = T;
    template <class F, class G>
    callback_awaiter(F&& start, G&& hook)
        : callback_wait(std::is_same_v<Hook, no_cancel_hook> ? callback_kind : hooked_kind),
          start_(std::forward<F>(start)),
          hook_(std::forward<G>(hook)) {}

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        if (suspend(waiting, where)) start(where);
    }
    T await_resume() {
        rethrow_if_failed();
        return value_or_throw(outcome_here());
    }
    result<T> take_result() {
        if (failed()) return result<T>(take_failure());
        return outcome_here();
    }

  private:
    void start(const std::source_location& where) noexcept {
        try {
            remote_promise<T> to(where);
            expect(to.get_future().release());
            start_(done_callback<T>(std::move(to)));
        } catch (...) {
            return start_threw();
        }
        started();
    }
    static void ask(wait_point& wait, cancel_cause cause) noexcept {
        auto& self = static_cast<callback_awaiter&>(wait);
        if (!self.note_cancel(cause)) return;
        try {
            self.hook_();
        } catch (...) {
            self.hook_threw();
        }
    }
    result<T> outcome_here() {
        rethrow_start();
        defer_noted_cancel();
        if (target_->state() == outcome::threw) std::rethrow_exception(target_->thrown_seen());
        return read_future(static_cast<future_state<T>&>(*target_), true);
    }
    static constexpr wait_kind hooked_kind{"callback", &ask};

    Start start_;
    [[no_unique_address]] Hook hook_;
};

/// Gives what a callback threw to the exception handler.
void report_callback_threw(loop& home, std::exception_ptr thrown) noexcept;

/// Calls back when a task is done. Owns itself.
template <class T, class F>
class callback_sender final : public done_hook {
  public:
    template <class G>
    explicit callback_sender(G&& then) : then_(std::forward<G>(then)) {}
    void tell_of(task_state<T>& task) noexcept {
        task_ = &task;
        task.on_done(*this);
    }
    void task_done() noexcept override {
        const std::unique_ptr<callback_sender> self(this);
        try {
            then_(outcome_of());
        } catch (...) {
            report_callback_threw(task_->home(), std::current_exception());
        }
    }

  private:
    result<T> outcome_of() {
        if (task_->state() == outcome::failed) return result<T>(task_->failure_seen());
        if (task_->state() == outcome::threw) {
            return result<T>(error::from_exception(task_->thrown_seen()));
        }
        if constexpr (std::is_void_v<T>) {
            return {};
        } else if constexpr (std::copy_constructible<T>) {
            return task_->value();  // the handle may be asked for it as well
        } else {
            return std::move(task_->value());
        }
    }
    task_state<T>* task_ = nullptr;
    F then_;
};

}  // namespace detail

/// Makes a call with a callback something to wait for: `co_await from_callback<int>([&](auto done)
/// { legacy_read(fd, std::move(done)); })`. The call is made when this is awaited, with a
/// `done_callback<T>` as its argument.
///
/// Result    what `done` was called with.
/// Errors    likewise; `errc::broken_promise` when `done` was dropped uncalled; what `start` throws
///           is rethrown; `std::errc::not_enough_memory`, and `start` was not called.
/// Cancel    without a way to stop the call the waiter leaves, `done` lives on and what it is
///           called with is dropped; so `start` must not leave references to the waiter's frame in
///           the call.
/// Lifetime  `start` lives until the end of the await.
/// Threads   the loop's thread; `done` may be called on any.
/// Cost      two blocks of memory. A turn of the loop, also when `done` is called at once.
template <class T = void, class Start>
    requires std::invocable<std::decay_t<Start>&, done_callback<T>>
auto from_callback(Start&& start) {
    return detail::callback_awaiter<T, std::decay_t<Start>, detail::no_cancel_hook>(
        std::forward<Start>(start), detail::no_cancel_hook());
}
/// The same for a call that can be stopped: a cancelled waiter calls `cancel()`, once, and goes on
/// waiting for `done`, so that the call may refer to its frame.
///
/// Cancel  a value that comes all the same is delivered, and the cancellation at the next await; a
///         failure, or `done` dropped, becomes `errc::cancelled`.
template <class T = void, class Start, class Cancel>
    requires std::invocable<std::decay_t<Start>&, done_callback<T>> &&
             std::invocable<std::decay_t<Cancel>&>
auto from_callback(Start&& start, Cancel&& cancel) {
    return detail::callback_awaiter<T, std::decay_t<Start>, std::decay_t<Cancel>>(
        std::forward<Start>(start), std::forward<Cancel>(cancel));
}

/// Runs `body` beside the caller, on `home`, and calls `then(result<T>)` once it is done: with its
/// value, its error, the cancellation, or what it threw as an error that carries it. Called from
/// the loop, never from inside a call of yours; what `then` throws goes to the exception handler.
///
/// Result  the task, to cancel or to wait for. A loop that closes cancels it and calls `then`.
/// Errors  throws `std::system_error` (`errc::loop_closed`); `then` is not called.
/// Cost    two blocks of memory. `then` gets a copy of the value, if it can be copied.
template <class T, class F>
    requires std::invocable<std::decay_t<F>&, result<T>>
task_handle<T> to_callback(loop& home, task<T> body, F&& then,
                           std::source_location created = std::source_location::current()) {
    using sender = detail::callback_sender<T, std::decay_t<F>>;
    detail::require_open_loop(home, "to_callback");
    auto tells = std::make_unique<sender>(std::forward<F>(then));
    auto started = detail::make_task(home, std::move(body), created);
    tells.release()->tell_of(started.state());
    started.state().start_later();
    return started;
}
/// The same on the running loop.
template <class T, class F>
    requires std::invocable<std::decay_t<F>&, result<T>>
task_handle<T> to_callback(task<T> body, F&& then,
                           std::source_location created = std::source_location::current()) {
    return to_callback(loop::current(), std::move(body), std::forward<F>(then), created);
}

}  // namespace ouro
