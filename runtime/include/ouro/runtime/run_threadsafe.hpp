// Tasks that are started from other threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ouro/runtime/remote.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro {

namespace detail {

/// A call on its way to another loop, where one of the two is called, once.
struct remote_call : remote_node {
    void (*begin)(remote_call&) noexcept = nullptr;
    void (*drop)(remote_call&) noexcept = nullptr;  // that loop closes
};

/// The part of `far_task` that needs no type.
struct far_access {
    /// Leaves `what` for the loop of `to`, in the order of posts. False: it was not, post a letter.
    static bool leave(const loop_handle& to, remote_call& what) noexcept;
    /// Tells the running loop's exception handler why no task could be made (rule 65).
    static void report(std::exception_ptr thrown) noexcept;
    static error refusal() noexcept;
    static bool takes_tasks() noexcept;
};

/// A task on another loop, started and cancelled from here: shared by both ends. Until `arrived`,
/// all but the constructor is for the other loop's thread.
template <class T>
class far_task : private remote_call, private done_hook {
  public:
    virtual ~far_task() = default;

    /// Starts `what` on the loop of `there`, or refuses it there or here.
    static void send(std::shared_ptr<far_task> what, const loop_handle& there);
    /// What came of it, once it has arrived.
    settled<T>& outcome() noexcept { return outcome_; }
    void start() noexcept {
        if (!far_access::takes_tasks()) return refuse();
        try {
            const auto made = make_task(loop::current(), make(), unknown_place);
            task_ = &made.state();
            task_->retain();
        } catch (...) {
            outcome_.fail(std::current_exception());
            far_access::report(std::current_exception());
            return leave();
        }
        task_->on_done(*this);
        task_->start_later();
    }
    void cancel(cancel_cause cause) noexcept {
        if (task_) task_->cancel(cause);
    }
    /// It never starts.
    void refuse() noexcept {
        outcome_.fail(far_access::refusal());
        leave();
    }

  protected:
    /// Makes the task of what it was given, once.
    virtual task<T> make() = 0;
    /// Destroys what is left of that, or all of it.
    virtual void forget() noexcept = 0;
    /// The outcome is there. On the other loop's thread, or where a start was refused. `self` is
    /// what kept it alive for that thread.
    virtual void arrived(std::shared_ptr<far_task> self) noexcept = 0;

  private:
    void task_done() noexcept override {
        task_state<T>* const done = std::exchange(task_, nullptr);
        if (done->state() == outcome::threw) {
            outcome_.fail(done->take_thrown());
        } else if (done->state() == outcome::failed) {
            outcome_.fail(error(done->failure_seen()));
        } else if constexpr (std::is_void_v<T>) {
            outcome_.call([] {});
        } else {
            outcome_.call([done]() -> T { return std::move(done->value()); });
        }
        done->release();
        leave();
    }
    void leave() noexcept {
        forget();
        arrived(std::move(self_));
    }

    task_state<T>* task_ = nullptr;
    std::shared_ptr<far_task> self_;  // from `send` until it has arrived
    settled<T> outcome_;
};

/// A far task with the function that makes it.
template <class Base, class F, class... Args>
class far_call final : public Base {
  public:
    template <class G, class... Given>
    explicit far_call(G&& body, Given&&... arguments)
        : given_(std::in_place, std::forward<G>(body), std::forward<Given>(arguments)...) {}

  private:
    task<spawned_value<F, Args...>> make() override {
        return std::apply(
            [](F& body, Args&... each) {
                return call_with_copies<F, Args...>(std::move(body), std::move(each)...);
            },
            *given_);
    }
    void forget() noexcept override { given_.reset(); }
    std::optional<std::tuple<F, Args...>> given_;
};

/// The post that starts a far task where that cannot be left as it is. Dropped unrun, it refuses
/// it.
class start_letter {
  public:
    explicit start_letter(remote_call& what) noexcept : what_(&what) {}
    start_letter(start_letter&& other) noexcept : what_(std::exchange(other.what_, nullptr)) {}
    start_letter& operator=(start_letter&&) = delete;
    ~start_letter() {
        if (what_) what_->drop(*what_);
    }
    void operator()() noexcept {
        remote_call& what = *std::exchange(what_, nullptr);
        what.begin(what);
    }

  private:
    remote_call* what_;
};

template <class T>
void far_task<T>::send(std::shared_ptr<far_task> what, const loop_handle& there) {
    far_task& call = *what;
    call.self_ = std::move(what);
    call.begin = [](remote_call& left) noexcept { static_cast<far_task&>(left).start(); };
    call.drop = [](remote_call& left) noexcept { static_cast<far_task&>(left).refuse(); };
    if (!far_access::leave(there, call)) there.post(start_letter(call));
}

/// A far task that a thread without a loop may wait for.
template <class T>
class awaited_by_thread : public far_task<T> {
  public:
    bool done() const noexcept {
        const std::lock_guard lock(guard_);
        return done_;
    }
    bool wait(clock::duration limit) const {
        constexpr auto forever = std::chrono::hours(24 * 365);
        const auto is_done = [this] { return done_; };
        std::unique_lock lock(guard_);
        if (limit <= forever) return came_.wait_for(lock, limit, is_done);
        came_.wait(lock, is_done);
        return true;
    }

  private:
    void arrived(std::shared_ptr<far_task<T>> /*self*/) noexcept override {
        const std::lock_guard lock(guard_);
        done_ = true;
        came_.notify_all();
    }
    mutable std::mutex guard_;
    mutable std::condition_variable came_;
    bool done_ = false;
};

}  // namespace detail

/// What comes of a task on a loop, for threads that run none. Dropping it changes nothing about the
/// task.
///
/// Errors   those of the task; `errc::loop_closed` when the loop was closed before it could start;
///          `errc::cancelled` when it was cancelled, by this end or by the other.
/// Threads  any, one at a time.
template <class T = void>
class thread_future {
  public:
    using value_type = T;
    explicit thread_future(std::shared_ptr<detail::awaited_by_thread<T>> task, loop_handle home)
        : task_(std::move(task)), home_(std::move(home)) {}

    /// True once there is something to get.
    bool done() const noexcept { return task_->done(); }
    /// Waits until it is done, at most for `limit`. False when it is not. On a thread that runs a
    /// loop it does not wait.
    bool wait_for(clock::duration limit) const {
        return loop::try_current() ? done() : task_->wait(limit);
    }
    /// Waits, and gives what the task gave, once. Rethrows what it threw.
    ///
    /// Errors  `errc::wrong_thread` on a thread that runs a loop, which must not block: await
    ///         there; `errc::invalid_state` the second time.
    result<T> get() {
        if (taken_) return error(errc::invalid_state, "get the outcome of a task a second time");
        if (!wait_for(clock::duration::max())) {
            return error(errc::wrong_thread, "wait for a task and block a thread that runs a loop");
        }
        taken_ = true;
        return task_->outcome().take();
    }
    /// Asks the task to end. False when it is done, or its loop was closed.
    bool cancel() {
        if (done()) return false;
        return home_.post([task = task_] { task->cancel(cancel_cause::user); });
    }

  private:
    std::shared_ptr<detail::awaited_by_thread<T>> task_;
    loop_handle home_;
    bool taken_ = false;
};

/// Starts the task `body(arguments...)` on the loop of `home`, from any other thread. `body` is
/// called there; it and the arguments are copies that live until the task is done.
///
/// Result   a future for this thread. If the task cannot be made, for want of memory or because an
///          argument cannot be moved, the future gets that and the loop's exception handler as well
///          (rule 65).
/// Threads  any. On a thread that runs a loop, `loop_group` gives something to await.
/// Cost     two blocks of memory, one post.
template <class F, class... Args>
auto run_threadsafe(const loop_handle& home, F&& body, Args&&... arguments) {
    using value = detail::spawned_value<std::decay_t<F>, std::decay_t<Args>...>;
    using call =
        detail::far_call<detail::awaited_by_thread<value>, std::decay_t<F>, std::decay_t<Args>...>;
    auto made = std::make_shared<call>(std::forward<F>(body), std::forward<Args>(arguments)...);
    thread_future<value> outcome(made, home);
    detail::far_task<value>::send(std::move(made), home);
    return outcome;
}

}  // namespace ouro
