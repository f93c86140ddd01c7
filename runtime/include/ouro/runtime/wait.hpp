// What an innermost `co_await` is made of: the record that connects a waiting frame with whatever
// completes it.
#pragma once

#include <cerrno>
#include <concepts>
#include <coroutine>
#include <source_location>
#include <type_traits>
#include <utility>

#include <ouro/runtime/op.hpp>
#include <ouro/runtime/result.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

class loop;

namespace detail {

class wait_point;
struct scheduled_call;

/// What all waits of one kind share.
struct wait_kind {
    const char* name;  // "recv", "sleep", for reports
    void (*cancel)(wait_point&,
                   cancel_cause cause) noexcept;  // asks for the end; it comes as a completion
    /// The wait was woken with success, but a cancellation took its place before the task could
    /// run: gives to another waiter what this one was given. Null: nothing was given.
    void (*revoke)(wait_point&) noexcept = nullptr;
    /// What is waited for, for reports: "fd 7, peer 10.0.0.1:80". Null: the name says all.
    std::string (*describe)(const wait_point&) = nullptr;
    /// The wait has failed, and its task is told so now: no cancellation came in between. Null:
    /// nobody has to know.
    void (*told)(wait_point&) noexcept = nullptr;
};

/// One waiting frame, at the innermost end of its task.
///
/// Whoever owns the awaited thing calls one of the four ends below, exactly once. `complete` and
/// `fail` resume the frame there and then and are for the loop's run phase (completions, timers);
/// `wake` and `wake_failed` may be called from anywhere on the loop's thread and resume it through
/// the ready queue. A coroutine type that is not `task` may wait too; it then sees a failure as
/// `std::system_error`. Once woken it may be destroyed before its turn, which then does not come.
class wait_point {
  public:
    explicit wait_point(const wait_kind& kind) noexcept : kind_(&kind) {}
    wait_point(const wait_point&) = delete;
    wait_point& operator=(const wait_point&) = delete;

    void complete() noexcept;
    void fail(error why) noexcept;
    void wake() noexcept;
    void wake_failed(error why) noexcept;
    /// `complete` where the loop's run phase allows it, else `wake`.
    void complete_or_wake() noexcept;

    const wait_kind& kind() const noexcept { return *kind_; }
    promise_base* frame() const noexcept { return frame_; }
    /// Makes a failure a value of the await instead of the end of the task.
    void catch_failure() noexcept { catches_ = true; }
    bool failed() const noexcept { return failed_; }
    /// Lets the wait fail with `why` once it is woken, or, woken before, once its task runs.
    void will_fail(error why) noexcept;
    error take_failure() noexcept { return std::move(failure_); }
    /// The await in a foreign coroutine: throws what failed.
    void rethrow_if_failed() {
        if (failed_) throw_error(failure_);
    }

  protected:
    ~wait_point() {
        if (failed_ | queued_) [[unlikely]]
            drop_rest();
    }

    /// Suspends `waiting` here. False when a cancellation is due at this very await: it is on its
    /// way already and nothing may be started.
    template <class Promise>
    bool suspend(std::coroutine_handle<Promise> waiting,
                 const std::source_location& where) noexcept {
        if constexpr (native_promise<Promise>) {
            frame_ = &waiting.promise();
            frame_->where = where;
            task_runner& task = *frame_->owner;
            if (task.must_cancel) {
                deliver_due_cancel();
                return false;
            }
            task.leaf = this;
        } else {
            foreign_ = waiting;
            catches_ = true;
        }
        return true;
    }

  private:
    friend class task_core;
    void deliver_due_cancel() noexcept;
    void wake_foreign() noexcept;
    void drop_rest() noexcept;

    const wait_kind* kind_;
    promise_base* frame_ = nullptr;  // the waiting frame of a task,
    union {
        std::coroutine_handle<> foreign_ = nullptr;  // or of another coroutine type,
        scheduled_call* turn_;                       // when queued_: what resumes that, shared
    };
    union {              // a wait that succeeds makes no error
        error failure_;  // when failed_
    };
    bool failed_ = false;
    bool queued_ = false;
    bool catches_ = false;
};

/// Gives an innermost awaitable its `await_*` trio. `Derived` has `void start(loop&)`, called once
/// suspended, and `Value value()`, called on success. `Base` is a `wait_point` with more to it.
template <class Derived, class Value, std::derived_from<wait_point> Base = wait_point>
class [[nodiscard]] awaitable : public Base {
  public:
    using value_type = Value;
    using Base::Base;

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        if (this->suspend(waiting, where)) static_cast<Derived&>(*this).start();
    }
    Value await_resume() {
        this->rethrow_if_failed();  // only foreign coroutines come here with a failure
        return static_cast<Derived&>(*this).value();
    }
    result<Value> take_result() {
        if (this->failed()) return result<Value>(this->take_failure());
        if constexpr (std::is_void_v<Value>) {
            static_cast<Derived&>(*this).value();
            return {};
        } else {
            return static_cast<Derived&>(*this).value();
        }
    }
};

template <class T>
concept leaf_awaitable = std::derived_from<T, wait_point> && requires(T& leaf) {
    typename T::value_type;
    leaf.take_result();
};

/// `as_result` of an innermost awaitable.
template <leaf_awaitable Leaf>
class [[nodiscard]] caught_leaf {
  public:
    explicit caught_leaf(Leaf& leaf) noexcept : leaf_(leaf) { leaf.catch_failure(); }
    bool await_ready() const noexcept(noexcept(std::declval<Leaf&>().await_ready())) {
        return leaf_.await_ready();
    }
    template <class Promise>
    auto await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        return leaf_.await_suspend(waiting, where);
    }
    result<typename Leaf::value_type> await_resume() { return leaf_.take_result(); }

  private:
    Leaf& leaf_;
};

}  // namespace detail

/// Awaits `leaf` and yields its `result`, so that an error can be looked at instead of ending the
/// task.
///
/// Lifetime  `leaf` lives until the end of the full expression, as in `co_await
///           as_result(sock.recv(buf))`.
template <detail::leaf_awaitable Leaf>
detail::caught_leaf<Leaf> as_result(Leaf&& leaf) noexcept {
    static_assert(!std::is_lvalue_reference_v<Leaf>,
                  "an awaitable is used once: pass it as an rvalue");
    return detail::caught_leaf<Leaf>(leaf);
}

namespace detail {

/// An awaitable around one kernel operation. `Derived` has `void submit(loop&, op&)`, `Value
/// value()` and, for the text of an error, `std::string doing() const`.
template <class Derived, class Value>
class [[nodiscard]] op_awaitable : public awaitable<Derived, Value> {
  public:
    void start() noexcept;
    /// The `cancel` of its kind.
    static void cancel_op(wait_point& wait, cancel_cause cause) noexcept;
    /// Whether one that was interrupted is started again, or ends as if cancelled.
    bool starts_again() const noexcept { return true; }

  protected:
    explicit op_awaitable(loop& home, const wait_kind& kind) noexcept
        : awaitable<Derived, Value>(kind), op_(&op_awaitable::finished), loop_(&home) {}
    std::int32_t res() const noexcept { return op_.res; }
    loop& home() const noexcept { return *loop_; }

  private:
    static void finished(op& done) noexcept;
    struct waiting_op : op {
        using op::op;
        op_awaitable* wait = nullptr;
        cancel_cause cause = cancel_cause::none;  // set once a cancellation was asked for
    };
    waiting_op op_;
    loop* loop_;
};

/// A cancellation lost the race against the completion of `wait`: it is due at the task's next
/// await.
void defer_cancel(const wait_point& wait, cancel_cause cause) noexcept;
/// Asks the engine to end `target`.
void cancel_op_of(loop& home, op& target) noexcept;

template <class Derived, class Value>
void op_awaitable<Derived, Value>::start() noexcept {
    op_.wait = this;
    static_cast<Derived&>(*this).submit(*loop_, op_);
}

template <class Derived, class Value>
void op_awaitable<Derived, Value>::cancel_op(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<op_awaitable&>(wait);
    self.op_.cause = cause;
    cancel_op_of(*self.loop_, self.op_);
}

template <class Derived, class Value>
void op_awaitable<Derived, Value>::finished(op& done) noexcept {
    auto& self = *static_cast<waiting_op&>(done).wait;
    const cancel_cause cause = self.op_.cause;
    if (done.res >= 0) {
        if (cause != cancel_cause::none) defer_cancel(self, cause);
        return self.complete();
    }
    if (done.res == -EINTR && cause == cancel_cause::none &&
        static_cast<Derived&>(self).starts_again()) {
        return self.start();
    }
    words doing([&] { return static_cast<Derived&>(self).doing(); });
    if (done.res == -ECANCELED || done.res == -EINTR) {
        return self.fail(error::cancelled(cause, std::move(doing)));
    }
    if (cause != cancel_cause::none) defer_cancel(self, cause);
    self.fail(error::from_errno(-done.res, std::move(doing)));
}

}  // namespace detail
}  // namespace ouro
