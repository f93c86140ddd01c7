// task<T>: a lazy coroutine whose `co_await` yields values and passes errors on by itself.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include <ouro/runtime/frame_pool.hpp>
#include <ouro/runtime/result.hpp>

namespace ouro {

template <class T>
class task;

namespace detail {

struct promise_base;
class scope;
class wait_point;

enum class outcome : unsigned char { pending, value, failed, threw };

/// The part of a spawned task that frames touch: which of them runs next, or whose await has
/// failed.
struct task_runner {
    // The frame that runs; one that suspends puts here which one is to go on. Null between steps.
    promise_base* running = nullptr;
    promise_base* failing = nullptr;
    error failure;               // why, while `failing` is set
    error* unwinding = nullptr;  // the failure that frames or their locals are being destroyed for
    scope* scopes = nullptr;     // the innermost bracket (timeout, group) the task is in
    bool finished = false;       // the root frame has ended
    wait_point* leaf = nullptr;  // what the task waits on, if it waits
    bool must_cancel = false;    // a cancellation is due at the next await
};

/// What the loop must know about a frame: who waits for it, where it waits itself, and how it
/// ended.
///
/// Frames never resume each other: they name the next one in their task and return to the loop, so
/// that a chain of any length runs in constant stack.
struct promise_base {
    std::coroutine_handle<> self;
    promise_base* parent = nullptr;  // the frame that awaits this one; null at the root
    // Both are given when the frame is started, and not read before.
    task_runner* owner;             // the spawned task all frames of the chain belong to
    std::coroutine_handle<>* slot;  // the awaiter's handle, cleared when the loop takes this down
    std::source_location where{};   // the await at which this frame waits
    error* catcher = nullptr;       // where the parent wants a failure; null: it ends as well
    outcome state = outcome::pending;
    union {
        error failure;              // state == failed
        std::exception_ptr thrown;  // state == threw
    };

    promise_base() noexcept {}
    promise_base(const promise_base&) = delete;
    promise_base& operator=(const promise_base&) = delete;
    ~promise_base() {
        if (state >= outcome::failed) [[unlikely]]
            drop_failure();
    }
    /// The frame returns `why`; its locals die next and may look at it.
    void fail(error why) noexcept;
    void unhandled_exception() noexcept;
    [[noreturn]] void rethrow();

    /// The end of a frame: hands over to the parent, or to the loop when there is none.
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> frame) const noexcept {
            finished(frame.promise());
        }
        void await_resume() const noexcept {}
    };
    std::suspend_always initial_suspend() const noexcept { return {}; }
    final_awaiter final_suspend() const noexcept { return {}; }

    static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        frame_pool::deallocate(memory, bytes);
    }

  private:
    // What is rare is out of line: it would widen the code of every frame.
    void drop_failure() noexcept;
    static void finished_failed(promise_base& frame) noexcept;
    static void finished(promise_base& frame) noexcept;
};

template <class Promise>
concept native_promise = std::derived_from<Promise, promise_base>;

/// Makes `frame` end with `why` once its suspension is complete: the loop takes it down, not the
/// frame itself.
inline void fail_frame(promise_base& frame, error why) noexcept {
    frame.owner->failing = &frame;
    frame.owner->failure = std::move(why);
}

/// Destroys a frame that has not started, with its arguments. These may be such tasks themselves,
/// and a chain of any length needs bounded stack.
void destroy_unstarted(promise_base& frame, std::coroutine_handle<> self) noexcept;

inline void promise_base::finished(promise_base& frame) noexcept {
    if (frame.state == outcome::failed) [[unlikely]]
        return finished_failed(frame);
    if (frame.parent) {
        frame.owner->running = frame.parent;
    } else {
        frame.owner->finished = true;
    }
}

template <class T>
struct task_promise : promise_base {
    union {
        T value;
    };
    task_promise() noexcept {}
    ~task_promise() {
        if (state == outcome::value) value.~T();
    }
    task<T> get_return_object() noexcept;

    template <class U = T>
        requires(std::constructible_from<T, U &&> && !is_result<std::remove_cvref_t<U>>::value &&
                 !std::same_as<std::remove_cvref_t<U>, error>)
    void return_value(U&& returned) {
        ::new (static_cast<void*>(&value)) T(std::forward<U>(returned));
        state = outcome::value;
    }
    void return_value(error why) noexcept { fail(std::move(why)); }
    void return_value(errc why) noexcept
        requires(!std::constructible_from<T, errc>)
    {
        fail(error(why));
    }
    void return_value(result<T> returned) {
        if (!returned) return fail(std::move(returned.error()));
        ::new (static_cast<void*>(&value)) T(std::move(*returned));
        state = outcome::value;
    }
    T take() { return std::move(value); }
};

template <>
struct task_promise<void> : promise_base {
    task<void> get_return_object() noexcept;
    void return_void() noexcept { state = outcome::value; }
    void take() noexcept {}
};

}  // namespace detail

/// A coroutine that has not started: awaiting it runs it inside the awaiting task and yields its
/// value.
///
/// Inside a task, `co_await` of anything of this library yields the plain value. When the awaited
/// thing failed, the task ends there and then with that error: its locals are destroyed and nothing
/// is thrown. `as_result` asks for the error instead. A C++ exception thrown by the awaited
/// coroutine is rethrown at the `co_await`.
///
/// Result    what the coroutine returned with `co_return`: a `T`, a `result<T>` or an `error`.
/// Cancel    cancelling the spawned task at the root of the chain cancels what the innermost frame
///           waits for.
/// Lifetime  move-only, awaited at most once. Arguments taken by reference must outlive it, which
///           those of `co_await f(argument)` do. Destroying a task that was never awaited runs none
///           of its body and destroys its arguments, tasks among them as any nested object. A chain
///           of them may have any length: those 64 deep and deeper go after the one that holds
///           them, and before all that are further out.
/// Threads   runs on the loop of the task that awaits it.
/// Cost      one pooled frame; no allocation in steady state.
template <class T = void>
class [[nodiscard]] task {
  public:
    using promise_type = detail::task_promise<T>;
    using value_type = T;

    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            if (frame_) detail::destroy_unstarted(frame_.promise(), frame_);
            frame_ = std::exchange(other.frame_, nullptr);
        }
        return *this;
    }
    ~task() {
        if (frame_) detail::destroy_unstarted(frame_.promise(), frame_);
    }
    /// True while it holds a coroutine that was not awaited.
    explicit operator bool() const noexcept { return frame_ != nullptr; }

    template <bool Catch>
    class awaiter;
    awaiter<false> operator co_await() && noexcept { return awaiter<false>(release()); }
    /// Gives up the coroutine to the caller, which must see to its end.
    std::coroutine_handle<promise_type> release() noexcept {
        return std::exchange(frame_, nullptr);
    }

  private:
    friend promise_type;
    explicit task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    std::coroutine_handle<promise_type> frame_;
};

/// Owns the awaited frame for the time of the await, so that the loop can take it down from the
/// inside out.
template <class T>
template <bool Catch>
class [[nodiscard]] task<T>::awaiter {
  public:
    explicit awaiter(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    awaiter(const awaiter&) = delete;
    awaiter& operator=(const awaiter&) = delete;
    ~awaiter() {
        if (frame_) frame_.destroy();
    }

    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        static_assert(detail::native_promise<Promise>,
                      "a task is awaited inside a task; elsewhere await ouro::spawn(...)");
        const std::coroutine_handle<> frame = frame_;
        detail::promise_base& child = promise();
        detail::promise_base& parent = waiting.promise();
        detail::task_runner& owner = *parent.owner;
        parent.where = where;
        child.self = frame;
        child.parent = &parent;
        child.owner = &owner;
        child.slot = &frame_;
        if constexpr (Catch) child.catcher = &caught_;
        owner.running = &child;
    }
    std::conditional_t<Catch, result<T>, T> await_resume() {
        if constexpr (Catch) {
            if (caught_) return result<T>(std::move(caught_));
        }
        if (promise().state == detail::outcome::threw) [[unlikely]]
            promise().rethrow();
        if constexpr (Catch && std::is_void_v<T>) {
            return {};
        } else if constexpr (!std::is_void_v<T>) {
            return promise().take();
        }
    }

  private:
    struct nothing {};
    [[no_unique_address]] std::conditional_t<Catch, error, nothing> caught_;
    promise_type& promise() const noexcept {
        return std::coroutine_handle<promise_type>::from_address(frame_.address()).promise();
    }
    std::coroutine_handle<> frame_;
};

namespace detail {
template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise<T>>::from_promise(*this));
}
inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>(std::coroutine_handle<task_promise<void>>::from_promise(*this));
}

/// `as_result` of a task.
template <class T>
struct [[nodiscard]] caught_task {
    task<T> inner;
    auto operator co_await() && noexcept {
        return typename task<T>::template awaiter<true>(inner.release());
    }
};

/// Awaits a finished `result`: the value, or the end of the task.
template <class T>
class [[nodiscard]] result_awaiter {
  public:
    explicit result_awaiter(result<T>&& ready) noexcept : ready_(std::move(ready)) {}
    result_awaiter(const result_awaiter&) = delete;
    result_awaiter& operator=(const result_awaiter&) = delete;
    bool await_ready() const noexcept { return ready_.has_value(); }
    template <native_promise Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        waiting.promise().where = where;
        fail_frame(waiting.promise(), std::move(ready_.error()));
    }
    T await_resume() {
        if constexpr (!std::is_void_v<T>) return std::move(*ready_);
    }

  private:
    result<T> ready_;
};
}  // namespace detail

/// Awaits `inner` and yields its `result<T>`, so that an error can be looked at instead of ending
/// the task.
template <class T>
detail::caught_task<T> as_result(task<T> inner) noexcept {
    return {std::move(inner)};
}

/// `co_await` of a result: the value, or the end of the task with its error.
template <class T>
detail::result_awaiter<T> operator co_await(result<T>&& ready) noexcept {
    return detail::result_awaiter<T>(std::move(ready));
}

}  // namespace ouro
