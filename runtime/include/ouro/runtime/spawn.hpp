// Tasks beside you: spawn, handles, sleep, yield.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ouro/runtime/context.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

namespace detail {

class task_core;

/// Told once when a task is done. Unlinks itself when it dies.
class done_hook : public list_link {
  public:
    virtual void task_done() noexcept = 0;
    /// The task that waits for it here, for reports; null when no task does.
    virtual task_core* waiter() const noexcept { return nullptr; }

  protected:
    ~done_hook() = default;
};

class nursery;

// Behind a list of arguments there is no place for the caller's line; `spawn_options` has it.
inline constexpr std::source_location unknown_place{};

/// A spawned task: its chain of frames, what it waits on, who waits for it, and its cancellation.
class task_core : public task_runner, public list_link {
  public:
    task_core(const task_core&) = delete;
    task_core& operator=(const task_core&) = delete;

    loop& home() const noexcept { return *home_; }
    bool done() const noexcept { return state_ != outcome::pending; }
    outcome state() const noexcept { return state_; }
    /// True when it ended with the cancellation error.
    bool cancelled() const noexcept;
    /// `why` reaches the text of the error: "deadline of 5 s at server.cpp:88".
    bool cancel(cancel_cause cause, words why = {}) noexcept;
    /// `cancel` for a loop that cancels all its tasks: one that waits for another one of them ends
    /// when that one does.
    void cancel_with_loop() noexcept;
    unsigned cancelling() const noexcept { return cancel_requests_; }
    unsigned uncancel() noexcept;
    std::string name() const;
    void set_name(std::string name) { name_ = std::move(name); }
    std::uint64_t id() const noexcept { return id_; }
    const std::source_location& created() const noexcept { return created_; }
    /// Loop time, as of the turn: when it was made, and when it began to wait as it does now.
    clock::time_point created_at() const noexcept { return created_at_; }
    clock::time_point waits_since() const noexcept { return since_; }
    /// Why it was cancelled last, for people.
    cancel_cause cause() const noexcept { return cause_; }
    const std::string& reason() const noexcept { return reason_; }
    /// True once its first step has begun.
    bool started() const noexcept { return started_; }
    /// The group it is a child of, or null.
    nursery* group() const noexcept { return group_; }
    /// Why it failed; someone has now seen it.
    const error& failure_seen() noexcept;
    std::exception_ptr thrown_seen() noexcept;
    /// Gives it up to another thread: nothing of it is touched here any more.
    std::exception_ptr take_thrown() noexcept {
        seen_ = true;
        return std::move(thrown_);
    }

    /// The task this one waits for, or null when it waits for something else.
    task_core* joined() const noexcept;
    /// True while somebody waits for this one.
    bool awaited() const noexcept { return !hooks_.empty(); }

    void retain() noexcept { ++references_; }
    void release() noexcept;
    /// Tells `hook` when the task is done. It must not be done yet.
    void on_done(done_hook& hook) noexcept { hooks_.push_back(hook); }
    /// Its first step runs in the next turn (rule 98).
    void start_later() noexcept { schedule(nullptr); }
    /// Its first step runs now, inside whatever runs (rules 129-131). The caller holds a reference.
    void start_now() noexcept;
    /// The values of task-local variables it was given; before it starts.
    void set_context(context values) noexcept { context_ = std::move(values); }
    /// What its variables have, while it does not run.
    const context& values() const noexcept { return context_; }
    /// Takes down the frames of a task that will never be resumed again.
    void destroy_frames() noexcept;
    void give_up() noexcept;
    /// How often a cancellation was due and came instead of what was waited for.
    unsigned deliveries() const noexcept { return deliveries_; }
    static task_core* current() noexcept;
    /// The task that waits there; null when it is a coroutine of another type.
    static task_core* of(const wait_point& wait) noexcept;
    /// The task behind a ready node, or null when the node is something else.
    static task_core* from(ready_node& node) noexcept {
        return node.run == &run_ready ? static_cast<resume_node&>(node).owner : nullptr;
    }
    /// A cancellation came too late for the wait it was meant for: it is due at the next one.
    void defer_cancel() noexcept { must_cancel = came_late_ = cancel_requests_ != 0; }
    /// Why it failed; it is for whoever is told of it to say that it was seen.
    const error& failure_untold() const noexcept { return why_; }
    void failure_was_seen() noexcept { seen_ = true; }
    /// True for a failure that is to be reported if it stays like this.
    bool failed_unseen() const noexcept;

  protected:
    task_core(loop& home, promise_base& root, std::source_location created) noexcept;
    virtual ~task_core();
    /// Moves the result out of the root frame.
    virtual void collect(promise_base& root) = 0;
    virtual void destroy_self() noexcept = 0;

  private:
    friend class nursery;
    friend class wait_point;
    friend class ouro::loop;
    friend struct loop_state;
    friend class inspection;
    void step(task_core* outer = nullptr) noexcept;
    [[gnu::noinline]] void take_down() noexcept;  // a failure must not burden the way of a value
    void report_unseen() noexcept;
    [[gnu::noinline]] void finish() noexcept;
    void collect_outcome(promise_base& root) noexcept;
    static void run_ready(ready_node& node) noexcept;
    [[gnu::noinline]] void first_step() noexcept;
    [[gnu::noinline]] void step_otherwise(wait_point& waking) noexcept;
    void schedule(wait_point* waking) noexcept;
    error cancellation() noexcept;
    void explain(error& why) const noexcept;

    struct member : list_link {
        task_core* task = nullptr;
    };
    struct resume_node : ready_node {
        task_core* owner = nullptr;
    };
    loop* home_;
    promise_base* root_;            // null once the frames are gone
    wait_point* waking_ = nullptr;  // the wait that has ended, while the task is in the ready queue
    resume_node resume_;
    list<done_hook> hooks_;
    std::string name_;  // empty: "task-<id>"
    std::uint64_t id_;
    std::source_location created_;
    clock::time_point created_at_;
    clock::time_point since_;
    nursery* group_ = nullptr;   // told when the task is done
    member member_;              // in the list of the group
    context context_;            // while it does not run; else it is the thread's
    error why_;                  // state failed
    std::exception_ptr thrown_;  // state threw
    unsigned references_ = 1;    // the loop's own, while it is not done
    unsigned cancel_requests_ = 0;
    unsigned deliveries_ = 0;
    std::string reason_;  // of the last cancellation, for people
    cancel_cause cause_ = cancel_cause::none;
    bool came_late_ = false;  // it lost the race against a result: void if there is no next await
    bool started_ = false;
    bool seen_ = false;  // somebody looked at the failure
    outcome state_ = outcome::pending;
};

template <class T>
class task_state final : public task_core {
  public:
    task_state(loop& home, task<T> root, std::source_location created)
        : task_state(home, root.release(), created) {}
    ~task_state() override {
        if (state() == outcome::value) value_.~T();
    }
    T& value() noexcept { return value_; }

    static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        frame_pool::deallocate(memory, bytes);
    }

  private:
    task_state(loop& home, std::coroutine_handle<task_promise<T>> root,
               std::source_location created)
        : task_core(home, (root.promise().self = root, root.promise()), created) {}
    void collect(promise_base& root) override {
        ::new (static_cast<void*>(&value_)) T(static_cast<task_promise<T>&>(root).take());
    }
    void destroy_self() noexcept override { delete this; }
    union {
        T value_;
    };
};

template <>
class task_state<void> final : public task_core {
  public:
    task_state(loop& home, task<void> root, std::source_location created)
        : task_state(home, root.release(), created) {}
    static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        frame_pool::deallocate(memory, bytes);
    }

  private:
    task_state(loop& home, std::coroutine_handle<task_promise<void>> root,
               std::source_location created)
        : task_core(home, (root.promise().self = root, root.promise()), created) {}
    void collect(promise_base&) noexcept override {}
    void destroy_self() noexcept override { delete this; }
};

/// Waits for a task; a cancelled waiter cancels the task it waits for (rule 110).
class join_wait : public wait_point, public done_hook {
  public:
    join_wait(task_core& target, bool shielded) noexcept;
    ~join_wait() { target_->release(); }
    void start() noexcept;
    void task_done() noexcept override;
    task_core* waiter() const noexcept override;

    static void cancel_target(wait_point& wait, cancel_cause cause) noexcept;
    static std::string describe(const wait_point& wait);
    static void leave(wait_point& wait, cancel_cause cause) noexcept;
    /// The waiting task learns of a failure now, if it is that of the target.
    static void told(wait_point& wait) noexcept;

  protected:
    friend class task_core;
    task_core* target_;
    bool ended_ = false;  // the target has failed, and this wait has ended for it
};

/// The await of a `task_handle`.
template <class T>
class [[nodiscard]] join_awaiter : public join_wait {
  public:
    using value_type = T;
    join_awaiter(task_state<T>& target, bool move_out, bool shielded = false) noexcept
        : join_wait(target, shielded), move_out_(move_out) {}
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        if (suspend(waiting, where)) start();
    }
    bool await_ready()
        const noexcept {  // a failure must go through the suspension to end the waiting task
        return target_->done() && target_->state() == outcome::value;
    }
    T await_resume() {
        rethrow_if_failed();
        return value();
    }
    result<T> take_result() {
        if (failed()) return result<T>(take_failure());
        if constexpr (std::is_void_v<T>) {
            value();
            return {};
        } else {
            return value();
        }
    }

  private:
    T value() {
        if (target_->state() == outcome::threw) std::rethrow_exception(target_->thrown_seen());
        if constexpr (!std::is_void_v<T>) {
            auto& state = static_cast<task_state<T>&>(*target_);
            if constexpr (std::copy_constructible<T>) {
                if (!move_out_) return state.value();
            }
            return std::move(state.value());
        }
    }
    bool move_out_;
};

template <class T>
struct task_value;
template <class T>
struct task_value<task<T>> {
    using type = T;
};
template <class F, class... Args>
using spawned_value = typename task_value<std::invoke_result_t<F&, Args...>>::type;

/// Throws `errc::loop_closed` when `home` takes no new work.
void require_open_loop(loop& home, const char* what);

/// Keeps a callable and its arguments alive for as long as the coroutine it makes runs.
template <class F, class... Args>
task<spawned_value<F, Args...>> call_with_copies(F body, Args... arguments) {
    co_return co_await body(std::move(arguments)...);
}

}  // namespace detail

/// A reference to a spawned task, whatever it returns. The loop owns the task; dropping the
/// reference changes nothing about it (rule 121 cannot happen here).
///
/// Threads  the loop's thread.
class task_ref {
  public:
    task_ref() noexcept = default;
    explicit task_ref(detail::task_core* core) noexcept : core_(core) {
        if (core_) core_->retain();
    }
    task_ref(const task_ref& other) noexcept : task_ref(other.core_) {}
    task_ref(task_ref&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    task_ref& operator=(task_ref other) noexcept {
        std::swap(core_, other.core_);
        return *this;
    }
    ~task_ref() {
        if (core_) core_->release();
    }

    /// True when it refers to a task.
    explicit operator bool() const noexcept { return core_ != nullptr; }
    /// True when both refer to the same task.
    friend bool operator==(const task_ref& left, const task_ref& right) noexcept {
        return left.core_ == right.core_;
    }
    /// True once it returned, failed or was cancelled.
    bool done() const noexcept { return core_->done(); }
    /// True when it ended with the cancellation error (rule 100).
    bool cancelled() const noexcept { return core_->cancelled(); }
    /// Asks it to end: the error `errc::cancelled` appears at its next await and says `why`. False
    /// when it is done (rules 101, 102, 117).
    bool cancel(cancel_cause cause = cancel_cause::user, detail::words why = {}) const noexcept {
        return core_->cancel(cause, std::move(why));
    }
    bool cancel(detail::words why) const noexcept {
        return core_->cancel(cancel_cause::user, std::move(why));
    }
    /// Cancellations asked for and not taken back (rule 113).
    unsigned cancelling() const noexcept { return core_->cancelling(); }
    /// Takes one request back; at zero a cancellation that was not delivered yet is dropped (rule
    /// 114).
    unsigned uncancel() const noexcept { return core_->uncancel(); }
    /// Its name, given or "task-<number>" (rule 122).
    std::string name() const { return core_->name(); }
    /// Renames it.
    void set_name(std::string name) const { core_->set_name(std::move(name)); }
    /// The error it ended with; false when it returned a value. The task must be done. Counts as
    /// seen (rule 92).
    error failure() const noexcept;
    /// Runs `what` in the turn after it is done, in the order of these calls; if it is done, in the
    /// next turn (rules 86, 87). `handle::cancel` takes it back, dropping the handle does not.
    ///
    /// Errors  throws `std::system_error`: `errc::loop_closed`, `errc::value_error` for an empty
    ///         callback, and `errc::wrong_loop` when the task is done and its loop does not run in
    ///         this thread. A loop that closes drops `what` unrun.
    handle on_done(callback what,
                   std::source_location created = std::source_location::current()) const;

    /// For the library's own layers: the task itself.
    detail::task_core* core() const noexcept { return core_; }

  protected:
    detail::task_core* core_ = nullptr;
};

/// A reference to a spawned task that returns a `T`. An error that nobody awaited goes to the
/// exception handler when the last reference is gone.
///
/// Result    `co_await handle` yields what the task returned; `as_result(handle.join())` its
///           `result`.
/// Cancel    a cancelled waiter cancels the task it waits for and goes on waiting until that ended
///           (rule 110); `shield` leaves it alone.
/// Threads   the loop's thread.
template <class T = void>
class task_handle : public task_ref {
  public:
    using value_type = T;
    task_handle() noexcept = default;
    explicit task_handle(detail::task_state<T>* state) noexcept : task_ref(state) {}

    /// The await as an object, for `as_result`.
    detail::join_awaiter<T> join() const& noexcept {
        return detail::join_awaiter<T>(state(), false);
    }
    detail::join_awaiter<T> join() && noexcept { return detail::join_awaiter<T>(state(), true); }
    auto operator co_await() const& noexcept { return join(); }
    auto operator co_await() && noexcept { return std::move(*this).join(); }

    /// For the library's own layers: the task itself.
    detail::task_state<T>& state() const noexcept {
        return static_cast<detail::task_state<T>&>(*core_);
    }
};

/// The task that runs in this thread; empty in plain callbacks and outside of loops (rules 123,
/// 124).
inline task_ref current_task() noexcept { return task_ref(detail::task_core::current()); }
/// The unfinished tasks of `home`, in the order they were made (rule 125).
std::vector<task_ref> all_tasks(loop& home);

/// How a task is started beside you.
struct spawn_options {
    /// Its name; empty: "task-<number>".
    std::string name{};
    /// Runs the first step at once, inside the call, up to its first wait. Without a running loop
    /// it is started like any other (rules 129-136).
    bool eager = false;
    /// Its task-local values; by default a copy of the caller's.
    std::optional<context> values{};
    /// The line that reports name as the place it was started at.
    std::source_location created = std::source_location::current();
};

namespace detail {
/// Gives a new task its name and values, makes it a child of `into`, and sees to its first step.
void start(task_core& made, spawn_options& options, nursery* into);

/// The values that whatever runs here has, for something that `home` is to run: shared with it when
/// that is in this thread, else copied. A loop that does not run here may run in another thread.
context values_for(loop& home);

template <class T>
task_handle<T> make_task(loop& home, task<T> body, const std::source_location& created) {
    require_open_loop(home, "spawn");
    context values = values_for(home);
    task_handle<T> made(new task_state<T>(home, std::move(body), created));
    made.state().set_context(std::move(values));
    return made;
}
/// Makes the task, tells `into` of it, and sees to its first step.
template <class T>
task_handle<T> launch(loop& home, task<T> body, spawn_options options, nursery* into = nullptr) {
    auto made = make_task(home, std::move(body), options.created);
    start(made.state(), options, into);
    return made;
}
}  // namespace detail

/// Starts `body` beside the caller, on `home`: its first step runs in the next turn (rule 98).
///
/// Lifetime  what `body` refers to must outlive it; the form with a callable copies the callable
///           and its arguments.
/// Errors    throws `std::system_error` (`errc::loop_closed`); `body` is then destroyed unrun (rule
///           24).
/// Cost      one pooled block beside the frame.
template <class T>
task_handle<T> spawn(loop& home, task<T> body,
                     std::source_location created = std::source_location::current()) {
    auto made = detail::make_task(home, std::move(body), created);
    made.state().start_later();
    return made;
}
/// Starts `body` beside the caller, on the running loop.
template <class T>
task_handle<T> spawn(task<T> body, std::source_location created = std::source_location::current()) {
    return spawn(loop::current(), std::move(body), created);
}
/// Starts `body()` on the running loop; the callable is copied and lives as long as it runs.
template <class F>
    requires std::is_invocable_v<std::decay_t<F>&>
auto spawn(F&& body, std::source_location created = std::source_location::current()) {
    return spawn(loop::current(), detail::call_with_copies<std::decay_t<F>>(std::forward<F>(body)),
                 created);
}
/// Starts `body(arguments...)` on the running loop; the callable and the arguments are copied and
/// live as long as it runs.
template <class F, class... Args>
    requires(sizeof...(Args) > 0 && std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>...>)
auto spawn(F&& body, Args&&... arguments) {
    return spawn(loop::current(),
                 detail::call_with_copies<std::decay_t<F>, std::decay_t<Args>...>(
                     std::forward<F>(body), std::forward<Args>(arguments)...),
                 detail::unknown_place);
}
/// The same with a name, or eagerly, or with task-local values of its own.
template <class T>
task_handle<T> spawn(spawn_options options, task<T> body) {
    return detail::launch(loop::current(), std::move(body), std::move(options));
}
/// The same with a name, or eagerly, or with task-local values of its own. The callable and the
/// arguments are copied.
template <class F, class... Args>
    requires(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>...>)
auto spawn(spawn_options options, F&& body, Args&&... arguments) {
    return spawn(std::move(options),
                 detail::call_with_copies<std::decay_t<F>, std::decay_t<Args>...>(
                     std::forward<F>(body), std::forward<Args>(arguments)...));
}

namespace detail {

extern const wait_kind sleep_kind;
extern const wait_kind yield_kind;

/// The await behind `sleep`.
class [[nodiscard]] sleep_awaitable : public awaitable<sleep_awaitable, void>, private timer_node {
  public:
    explicit sleep_awaitable(result<clock::time_point> deadline) noexcept;
    ~sleep_awaitable();
    void start() noexcept;
    void value() const noexcept {}

  private:
    friend struct sleep_access;
    result<clock::time_point> deadline_;
    loop* home_ = nullptr;
};

/// The await behind `yield`.
class [[nodiscard]] yield_awaitable : public awaitable<yield_awaitable, void> {
  public:
    yield_awaitable() noexcept : awaitable(yield_kind) {}
    void start() noexcept { wake(); }
    void value() const noexcept {}
};

}  // namespace detail

/// Waits for `delay`. Zero or less gives up control for exactly one turn (rule 46).
///
/// Errors  `errc::value_error` for not-a-number (rule 47); cancelled.
/// Cost    no allocation, no system call.
template <class Rep, class Period>
detail::sleep_awaitable sleep(std::chrono::duration<Rep, Period> delay) noexcept {
    if constexpr (std::is_floating_point_v<Rep>) {
        if (delay.count() != delay.count()) {
            return detail::sleep_awaitable(error(errc::value_error, "sleep for not-a-number"));
        }
    }
    if (delay <= delay.zero()) return detail::sleep_awaitable(clock::time_point::min());
    return detail::sleep_awaitable(loop::current().deadline_after(delay));
}
/// Waits until `when`.
inline detail::sleep_awaitable sleep_until(clock::time_point when) noexcept {
    return detail::sleep_awaitable(when);
}
/// Lets everything else that is ready run once.
inline detail::yield_awaitable yield() noexcept { return {}; }

template <class T>
result<T> loop::run_until_complete(task<T> main) {
    if (auto allowed = may_run(); !allowed) return result<T>(std::move(allowed.error()));
    return run_until_complete(spawn(*this, std::move(main)));
}
template <class T>
result<T> loop::run_until_complete(const task_handle<T>& main) {
    auto& state = main.state();
    if (auto ran = run_core(state); !ran) return result<T>(std::move(ran.error()));
    if (state.state() == detail::outcome::threw) std::rethrow_exception(state.thrown_seen());
    if (state.state() == detail::outcome::failed) return result<T>(state.failure_seen());
    if constexpr (std::is_void_v<T>) {
        return {};
    } else if constexpr (std::copy_constructible<T>) {
        return state.value();  // others may ask for it as well
    } else {
        return std::move(state.value());
    }
}

}  // namespace ouro
