// One loop for each processor, and calls from loop to loop.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/run_threadsafe.hpp>

namespace ouro {

namespace detail {

/// A far task that a task of another loop waits for.
template <class T>
class awaited_by_loop : public far_task<T> {
  public:
    remote_op* waiter = nullptr;

  private:
    void arrived(std::shared_ptr<far_task<T>> self) noexcept override {
        remote_op& told = *waiter;
        self = nullptr;  // who waits has the last one, and need not share what it reads
        end_remote(told);
    }
};

/// The await of a task on another loop.
template <class T>
class [[nodiscard]] far_awaitable : public remote_awaitable<far_awaitable<T>, T, remote_op> {
    using base = remote_awaitable<far_awaitable<T>, T, remote_op>;

  public:
    static constexpr const char* wait_name = "run on another loop";
    explicit far_awaitable(std::shared_ptr<awaited_by_loop<T>> task, loop_handle there) noexcept
        : task_(std::move(task)), there_(std::move(there)) {}
    void start() noexcept {
        task_->waiter = &this->op_;
        if (!start_remote(loop::current(), this->op_)) return;
        hand_over(this->op_, &asked);
        try {
            far_task<T>::send(task_, there_);
        } catch (...) {
            // The letter has told that nothing starts, but not why: there was no memory, or a
            // task-local value could not be copied.
            task_->outcome().fail(std::current_exception());
        }
    }
    settled<T>& outcome() noexcept { return task_->outcome(); }
    void arrived() noexcept {}
    error refused(int number) const noexcept { return error::from_errno(number, wait_name); }

  private:
    static void asked(remote_op& request) noexcept {
        far_awaitable& self = base::waiter_of(request);
        post_surely([&self] {
            return self.there_.post(
                [task = self.task_, cause = self.op_.cause] { task->cancel(cause); });
        });
    }
    std::shared_ptr<awaited_by_loop<T>> task_;
    loop_handle there_;
};

}  // namespace detail

/// How a group is made.
struct loop_group_options {
    /// Loops, each on a thread of its own. 0: one for each processor the program may use.
    unsigned loops = 0;
    /// Each thread stays on one processor. Memory and sockets of a loop then stay near it.
    bool pinned = true;
    /// Threads are called by it and a number: "ouro-loop-0". The kernel keeps 15 characters.
    std::string name = "ouro-loop";
    /// How each loop is made.
    loop_options loop{};
};

/// Loops on threads of their own, for programs that want all processors. Each listens for itself
/// with `reuse_port`; what they must know of each other goes by `submit` and `post`.
///
/// Errors    the constructor throws `std::system_error` that says which loop could not be made, and
///           why.
/// Lifetime  its end is `stop` without a limit. Not inside one of its own loops.
/// Threads   any.
class loop_group {
  public:
    explicit loop_group(loop_group_options options = {});
    ~loop_group();
    loop_group(const loop_group&) = delete;
    loop_group& operator=(const loop_group&) = delete;

    /// One loop of a group.
    class member {
      public:
        /// Refers to the loop behind `handle`.
        explicit member(loop_handle handle) noexcept : handle_(std::move(handle)) {}
        /// Runs the task `body(arguments...)` there and waits here until it is done. `body` is
        /// called there; it and the arguments are copies that live until then. References into the
        /// waiting frame are allowed, if the two sides do not touch the same thing at once.
        ///
        /// Result   what the task gave. What it threw is rethrown at the `co_await`.
        /// Errors   those of the task; `errc::loop_closed` when the group was stopped. Rethrows
        ///          what the copy of a task-local value throws.
        /// Cancel   cancels the task there and waits for its end.
        /// Threads  awaited on any loop: of the group, the same one, or another.
        /// Cost     two blocks of memory; for each end that sleeps one wake-up.
        template <class F, class... Args>
        auto submit(F&& body, Args&&... arguments) const {
            using value = detail::spawned_value<std::decay_t<F>, std::decay_t<Args>...>;
            using call = detail::far_call<detail::awaited_by_loop<value>, std::decay_t<F>,
                                          std::decay_t<Args>...>;
            return detail::far_awaitable<value>(
                std::make_shared<call>(std::forward<F>(body), std::forward<Args>(arguments)...),
                handle_);
        }
        /// `loop_handle::post`.
        bool post(callback what) const { return handle_.post(std::move(what)); }
        /// For `run_threadsafe` and to keep.
        const loop_handle& handle() const noexcept { return handle_; }

      private:
        loop_handle handle_;
    };

    /// How many loops there are.
    std::size_t size() const noexcept;
    /// The loop with this number, below `size()`.
    member on(std::size_t number) const;
    /// Closes all loops, which cancels their tasks, and waits until their threads have ended, at
    /// most for `grace`. Afterwards `post` returns false.
    ///
    /// Result   false when some had not ended: they go on, and the destructor waits for them.
    /// Threads  any but those of the group. It blocks.
    bool stop(clock::duration grace = clock::duration::max());

  private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace ouro
