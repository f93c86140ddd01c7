// promise<T> and future<T>: one result that somebody sets, and any number of tasks that wait for
// it, on one loop.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <new>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include <ouro/runtime/assert.hpp>
#include <ouro/runtime/frame_pool.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

namespace detail {

/// Told once when a future is done, through the list it is in. Unlinks itself when it dies.
class future_hook : public list_link {
  public:
    virtual void future_done() noexcept = 0;
    /// The loop was closed before the future was done; it is out of the list.
    virtual void loop_closed() noexcept {}

  protected:
    ~future_hook() = default;
};

/// What the promises and futures of one result share, but for the value.
class future_core : public list_link {
  public:
    future_core(const future_core&) = delete;
    future_core& operator=(const future_core&) = delete;

    bool done() const noexcept { return state_ != outcome::pending; }
    outcome state() const noexcept { return state_; }
    bool cancelled() const noexcept;
    /// The loop it belongs to; null once that is closed.
    loop* home() const noexcept { return home_; }
    /// Why it failed; someone has now seen it.
    const error& failure_seen() noexcept;
    std::exception_ptr thrown_seen() noexcept;

    bool set_failure(error why);
    bool set_thrown(std::exception_ptr thrown);
    bool cancel(cancel_cause cause, words why) noexcept;
    /// Nobody is left who could set it: for those who wait, and no failure that anybody reported.
    void break_promise() noexcept;
    handle on_done(callback what, std::source_location created);
    /// Tells `hook` when it is done. It must not be done yet.
    void add_hook(future_hook& hook) noexcept { hooks_.push_back(hook); }
    /// Its loop is gone: reports what nobody has seen, and forgets whom to tell.
    void loop_closed() noexcept;
    /// Its loop was given up without a close: nobody is told of anything.
    void forget_loop() noexcept;

    void add_promise() noexcept { ++promises_; }
    void drop_promise() noexcept;
    void add_future() noexcept { ++futures_; }
    void drop_future() noexcept {
        --futures_;
        destroy_unused();
    }
    std::size_t futures() const noexcept { return futures_; }
    /// Where its promise was made.
    const std::source_location& created() const noexcept { return created_; }
    /// True when the value was moved to somebody.
    bool taken() const noexcept { return taken_; }

  protected:
    future_core(loop& home, std::source_location created);
    virtual ~future_core();
    /// False when it is done. In debug mode throws in a wrong thread.
    bool may_set() const;
    void finish(outcome how) noexcept;
    void note_taken() noexcept { taken_ = true; }

  private:
    bool failed_unseen() const noexcept;
    void report_unseen() noexcept;
    void destroy_unused() noexcept {
        if (promises_ == 0 && futures_ == 0) delete this;
    }

    loop* home_;
    list<future_hook> hooks_;    // who waits and who is to be called, in the order they came
    error why_;                  // state failed
    std::exception_ptr thrown_;  // state threw
    std::source_location created_;
    std::size_t promises_ = 0;
    std::size_t futures_ = 0;  // futures, awaits and callbacks
    outcome state_ = outcome::pending;
    bool seen_ = false;   // somebody looked at the failure
    bool taken_ = false;  // somebody got the value itself
};

template <class T>
class future_state : public future_core {
  public:
    future_state(loop& home, std::source_location created) : future_core(home, created) {}
    ~future_state() override {
        if (state() == outcome::value) value_.~T();
    }
    template <class... Args>
    bool set(Args&&... arguments) {
        if (!may_set()) return false;
        ::new (static_cast<void*>(&value_)) T(std::forward<Args>(arguments)...);
        finish(outcome::value);
        return true;
    }
    const T& value() const noexcept { return value_; }
    T take() {
        note_taken();
        return std::move(value_);
    }

    static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        frame_pool::deallocate(memory, bytes);
    }

  private:
    union {
        T value_;
    };
};

template <>
class future_state<void> : public future_core {
  public:
    future_state(loop& home, std::source_location created) : future_core(home, created) {}
    bool set() {
        if (!may_set()) return false;
        finish(outcome::value);
        return true;
    }

    static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        frame_pool::deallocate(memory, bytes);
    }
};

error value_taken() noexcept;

/// The value of a finished future, or why it cannot be had. `last`: the reader is done with the
/// future, so the value moves if nobody else refers to it or it cannot be copied.
template <class T>
result<T> read_future(future_state<T>& from, bool last) {
    if (from.state() == outcome::failed) return result<T>(from.failure_seen());
    if (from.state() == outcome::threw) {
        return result<T>(error::from_exception(from.thrown_seen()));
    }
    if (!from.done()) return result<T>(error(errc::invalid_state, "read a future that is pending"));
    if (from.taken()) return result<T>(value_taken());
    if constexpr (std::is_void_v<T>) {
        return {};
    } else if constexpr (std::copy_constructible<T>) {
        if (!last || from.futures() > 1) return from.value();
        return from.take();
    } else {
        return from.take();
    }
}

/// Waits for a future. A cancelled waiter leaves the future and the other waiters alone.
class future_wait : public wait_point, public future_hook {
  public:
    future_wait(const wait_kind& kind, future_core* target) noexcept
        : wait_point(kind), target_(target) {}
    ~future_wait() {
        if (target_) target_->drop_future();
    }
    void catch_failure() noexcept {
        wait_point::catch_failure();
        caught_ = true;
    }
    void future_done() noexcept override;

    static void leave(wait_point& wait, cancel_cause cause) noexcept;
    /// "made at server.cpp:88": the promise that is to be set.
    static std::string describe(const wait_point& wait);

  protected:
    /// Nothing needs to be waited for: the outcome is there. A failure that is not caught has to
    /// end the waiting task, which the frame itself cannot do.
    bool ready() const noexcept;
    /// Why an await ends at once without a value, or no error.
    error refusal() const noexcept;
    void start() noexcept;
    future_core* target_;  // counted; null for a future of nothing

  private:
    bool caught_ = false;
};

extern const wait_kind future_kind;

/// The await of a future.
template <class T>
class [[nodiscard]] future_awaiter : public future_wait {
  public:
    using value_type = T;
    /// Takes over one count of `target`.
    explicit future_awaiter(future_state<T>* target, bool last) noexcept
        : future_wait(future_kind, target), last_(last) {}

    bool await_ready() const noexcept { return ready(); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        if constexpr (native_promise<Promise>) {
            if (error why = refusal()) {  // the task ends here, without another turn
                waiting.promise().where = where;
                return fail_frame(waiting.promise(), std::move(why));
            }
        }
        if (suspend(waiting, where)) start();
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
    result<T> outcome_here() {
        if (error why = refusal()) return result<T>(std::move(why));
        if (target_->state() == outcome::threw) std::rethrow_exception(target_->thrown_seen());
        return read_future(static_cast<future_state<T>&>(*target_), last_);
    }
    bool last_;
};

/// Sets what `outcome` holds, of a promise of either kind.
template <class Promise, class T>
bool set_outcome(Promise& to, result<T> outcome) {
    if (!outcome) {
        if (auto thrown = outcome.error().exception()) return to.set_exception(std::move(thrown));
        return to.set_error(std::move(outcome.error()));
    }
    if constexpr (std::is_void_v<T>) {
        return to.set_value();
    } else {
        return to.set_value(std::move(*outcome));
    }
}

}  // namespace detail

/// A reference to a result that is set later, by a `promise`. Copies refer to the same result.
///
/// A result is pending until it is set, cancelled, or the last promise for it is gone
/// (`errc::broken_promise`). A failure that nobody looked at goes to the exception handler once,
/// when the last reference is gone (rule 91); a broken promise does not.
///
/// Result    `co_await future` yields a copy of the value; `co_await std::move(future)` moves it
///           out when no other future refers to it, or when it cannot be copied. A finished one
///           does not suspend (rule 90). `as_result(future.wait())` yields the `result`.
/// Errors    what was set; `errc::cancelled` when the future was cancelled, although nobody
///           cancelled the task that waits (rule 112); `errc::wrong_loop` (rule 96);
///           `errc::invalid_state` when the value was moved out before. An exception that was set
///           is rethrown.
/// Cancel    a cancelled waiter leaves; the result stays pending for the others.
/// Lifetime  may outlive the promises and the loop.
/// Threads   the loop's thread. `remote_promise` is set on others.
/// Cost      an await allocates nothing; the result is one pooled block, made by the promise.
template <class T = void>
class future {
  public:
    using value_type = T;
    future() noexcept = default;
    explicit future(detail::future_state<T>& state) noexcept : state_(&state) {
        state_->add_future();
    }
    future(const future& other) noexcept : state_(other.state_) {
        if (state_) state_->add_future();
    }
    future(future&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    future& operator=(future other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~future() {
        if (state_) state_->drop_future();
    }

    /// True when it refers to a result.
    explicit operator bool() const noexcept { return state_ != nullptr; }
    /// True once it was set or cancelled.
    bool done() const noexcept { return state_->done(); }
    /// True when it ended with the cancellation error.
    bool cancelled() const noexcept { return state_->cancelled(); }
    /// Ends a pending result with `errc::cancelled` and the text `why`. False when it is done;
    /// counts as having seen a failure (rules 84, 92).
    bool cancel(cancel_cause cause = cancel_cause::user, detail::words why = {}) noexcept {
        return state_->cancel(cause, std::move(why));
    }
    /// The error it ended with; no error when it has a value. Counts as seen (rule 92).
    ///
    /// Errors  `errc::invalid_state` while it is pending (rule 82).
    error failure() const noexcept {
        if (!done()) return error(errc::invalid_state, "the failure of a pending future");
        return state_->state() == detail::outcome::threw
                   ? error::from_exception(state_->thrown_seen())
                   : state_->failure_seen();
    }
    /// A copy of the value, or the error; an exception comes as an error that carries it.
    ///
    /// Errors  `errc::invalid_state` while it is pending (rule 82), or when the value was moved
    ///         out.
    result<T> get_now() const&
        requires(std::is_void_v<T> || std::copy_constructible<T>)
    {
        return detail::read_future(*state_, false);
    }
    /// The value itself, if no other future refers to it or it cannot be copied.
    result<T> get_now() && { return detail::read_future(*state_, true); }
    /// Runs `what` in the turn after it is done, in the order of these calls; if it is done, in the
    /// next turn (rules 86, 87). `handle::cancel` takes it back, dropping the handle does not.
    /// Until then the result counts as wanted.
    ///
    /// Errors  throws `std::system_error` (`errc::loop_closed`). A loop that closes drops `what`
    ///         unrun.
    handle on_done(callback what,
                   std::source_location created = std::source_location::current()) const {
        return state_->on_done(std::move(what), created);
    }

    /// The await as an object, for `as_result`.
    detail::future_awaiter<T> wait() const& noexcept
        requires(std::is_void_v<T> || std::copy_constructible<T>)
    {
        if (state_) state_->add_future();
        return detail::future_awaiter<T>(state_, false);
    }
    detail::future_awaiter<T> wait() && noexcept {
        return detail::future_awaiter<T>(std::exchange(state_, nullptr), true);
    }
    auto operator co_await() const& noexcept
        requires(std::is_void_v<T> || std::copy_constructible<T>)
    {
        return wait();
    }
    auto operator co_await() && noexcept { return std::move(*this).wait(); }
    /// Gives up its reference to the caller, which must drop it.
    detail::future_state<T>& release() noexcept { return *std::exchange(state_, nullptr); }

  private:
    detail::future_state<T>* state_ = nullptr;
};

/// Sets the result that futures wait for. Copies set the same one; when the last is gone and
/// nothing was set, whoever waits fails with `errc::broken_promise`.
///
/// Result    the `set_...` calls return false and change nothing when the result is done or was
///           cancelled (rules 83, 95).
/// Errors    the constructor throws `std::system_error` (`errc::loop_closed`); in debug mode
///           setting in a wrong thread throws (`errc::wrong_thread`).
/// Threads   the loop's thread.
/// Cost      one pooled block. Setting allocates nothing; waiters run in the next turn.
template <class T = void>
class promise {
  public:
    using value_type = T;
    /// A result of `home`.
    explicit promise(loop& home, std::source_location created = std::source_location::current())
        : state_(new detail::future_state<T>(home, created)) {
        state_->add_promise();
    }
    /// A result of the running loop.
    explicit promise(std::source_location created = std::source_location::current())
        : promise(loop::current(), created) {}
    promise(const promise& other) noexcept : state_(other.state_) {
        if (state_) state_->add_promise();
    }
    promise(promise&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
    promise& operator=(promise other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~promise() {
        if (state_) state_->drop_promise();
    }

    /// A future of the result. Any number of times.
    future<T> get_future() const noexcept { return future<T>(state()); }
    /// Sets the value, made from `arguments`. What its constructor throws leaves the result pending
    /// and comes out here.
    template <class... Args>
        requires(std::is_void_v<T> ? sizeof...(Args) == 0 : std::constructible_from<T, Args && ...>)
    bool set_value(Args&&... arguments) const {
        return state().set(std::forward<Args>(arguments)...);
    }
    /// Sets a failure. `errc::cancelled` makes the futures cancelled.
    bool set_error(error why) const { return state().set_failure(std::move(why)); }
    /// Sets an exception, which is rethrown where the future is awaited.
    bool set_exception(std::exception_ptr thrown) const {
        return state().set_thrown(std::move(thrown));
    }
    /// Sets what `outcome` holds: with `future::get_now`, copies one future into another (rule 97).
    bool set_result(result<T> outcome) const {
        return detail::set_outcome(*this, std::move(outcome));
    }
    /// True once the result was set or cancelled.
    bool done() const noexcept { return state().done(); }
    /// True when nobody would hear of it: no future, no await and no callback refers to the result
    /// now.
    bool abandoned() const noexcept { return state().futures() == 0; }

  private:
    detail::future_state<T>& state() const noexcept {
        OURO_ASSERT(state_, "a promise that was moved from was used");
        return *state_;
    }
    detail::future_state<T>* state_;
};

}  // namespace ouro
