// Blocking work on threads of its own, awaited from a loop.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <ouro/runtime/context.hpp>
#include <ouro/runtime/remote.hpp>
#include <ouro/runtime/remote_promise.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

namespace detail {

void start_job(loop_state& home, io::job_op& request) noexcept;
void queue_job(loop_state& home, io::job_op& request) noexcept;

/// The part of the await of a job that needs no type.
struct job_access {
    static constexpr const char* wait_name = "run on a thread";
    static error refused(int number, bool by_default) noexcept;
    /// Runs a job that an engine has only played, as if on another thread.
    static void work_here(io::job_op& request) noexcept;
    static void start(io::job_op& request) noexcept;
    /// Starts a job that its loop does not wait for. It deletes itself.
    static void submit(io::job_op& request) noexcept;
};

template <class F, class... Args>
using job_value = typename settled_value<std::invoke_result_t<F, Args...>>::type;

/// Calls `body` with `arguments`, once: both are used up. It sees a copy of the caller's task-local
/// values (rule 62).
template <class F, class... Args>
decltype(auto) invoke_moved(F& body, std::tuple<Args...>& arguments, context& values) {
    const context::use in(values);
    return std::apply(
        [&body](Args&... each) -> decltype(auto) {
            return std::invoke(std::move(body), std::move(each)...);
        },
        arguments);
}

/// The await of a call on a thread of a pool.
template <class F, class... Args>
class [[nodiscard]] job_awaitable
    : public remote_awaitable<job_awaitable<F, Args...>, job_value<F, Args...>, io::job_op> {
    using base = remote_awaitable<job_awaitable, job_value<F, Args...>, io::job_op>;

  public:
    static constexpr const char* wait_name = job_access::wait_name;
    template <class G, class... Given>
    explicit job_awaitable(std::shared_ptr<pool_core> pool, G&& body, Given&&... arguments)
        : body_(std::forward<G>(body)),
          arguments_(std::forward<Given>(arguments)...),
          by_default_(!pool) {
        this->op_.pool = std::move(pool);
        this->op_.work = &work;
    }
    void start() noexcept { job_access::start(this->op_); }
    settled<job_value<F, Args...>>& outcome() noexcept { return outcome_; }
    void arrived() noexcept {
        if (!this->op_.worked) job_access::work_here(this->op_);
    }
    error refused(int number) const noexcept { return job_access::refused(number, by_default_); }

  private:
    static void work(io::job_op& request) noexcept {
        job_awaitable& self = base::waiter_of(request);
        self.outcome_.call([&self]() -> std::invoke_result_t<F, Args...> {
            return invoke_moved(self.body_, self.arguments_, self.values_);
        });
    }

    F body_;
    std::tuple<Args...> arguments_;
    context values_ = context::current().for_other_thread();
    settled<job_value<F, Args...>> outcome_;
    bool by_default_;
};

/// A job that tells a future what came of it. On the heap; it deletes itself.
template <class F, class... Args>
class submitted_job final : public io::job_op {
  public:
    using value = job_value<F, Args...>;
    template <class G, class... Given>
    explicit submitted_job(std::shared_ptr<pool_core> in, G&& body, Given&&... arguments)
        : io::job_op(&ended),
          body_(std::forward<G>(body)),
          arguments_(std::forward<Given>(arguments)...),
          promise_(loop::current()) {
        pool = std::move(in);
        perform = &performed;
        work = &called;
    }
    /// What who submits it gets. The job runs although that may be dropped, unless it is cancelled.
    future<value> get_future() {
        future<value> outcome = promise_.get_future();
        outcome.on_done([] {});
        return outcome;
    }

  private:
    static submitted_job& self(io::job_op& job) noexcept {
        return static_cast<submitted_job&>(job);
    }
    static void called(io::job_op& job) noexcept { self(job).call(); }
    static void performed(pool_job& job) noexcept {
        const std::unique_ptr<submitted_job> ends(static_cast<submitted_job*>(&job));
        ends->call();
    }
    /// It was not a thread that ran it: an engine plays it, or it was refused.
    static void ended(op& done) noexcept {
        const std::unique_ptr<submitted_job> ends(static_cast<submitted_job*>(&done));
        if (done.res == 0 && !ends->worked) return job_access::work_here(*ends);
        if (done.res == -ECANCELED)
            ends->promise_.set_error(error(errc::loop_closed, job_access::wait_name));
        if (done.res < 0) ends->promise_.set_error(job_access::refused(-done.res, false));
    }
    void call() noexcept {
        if (promise_.abandoned()) return;  // cancelled before it began (rule 55)
        settled<value> outcome;
        outcome.call([this]() -> std::invoke_result_t<F, Args...> {
            return invoke_moved(body_, arguments_, values_);
        });
        if (auto thrown = outcome.take_thrown()) {
            promise_.set_exception(std::move(thrown));
        } else if (error* const why = outcome.failure()) {
            promise_.set_error(std::move(*why));
        } else {
            give(outcome);
        }
    }
    void give(settled<value>& outcome) noexcept try {
        promise_.set_result(outcome.take());
    } catch (...) {  // the value could not be moved
        promise_.set_exception(std::current_exception());
    }

    F body_;
    std::tuple<Args...> arguments_;
    context values_ = context::current().for_other_thread();
    remote_promise<value> promise_;
};

}  // namespace detail

/// How a pool is made.
struct thread_pool_options {
    /// Threads at most. 0: four more than the processors the program may use, 32 at most: jobs that
    /// block need more threads than jobs that compute.
    unsigned threads = 0;
    /// Jobs that may wait for a thread before `submit` refuses more (`errc::queue_full`). `run` and
    /// `to_thread` are not refused: there the task waits, and gives no second job meanwhile. 0: any
    /// number. In a simulation no job waits for a thread.
    std::size_t max_waiting = 0;
    /// Threads are called by it and a number: "ouro-pool-1". The kernel keeps 15 characters.
    std::string name = "ouro-pool";
};

/// Threads for work that blocks: files, databases, long computations. They are made when they are
/// needed, and all signals are blocked in them. Jobs that find no free thread wait in order.
///
/// Errors    making one throws `std::bad_alloc` only; a thread that cannot be had is told to whom
///           needs it.
/// Lifetime  its end waits for all jobs it has taken. In a job of its own it may end as well; if no
///           other thread is there to do them, what is queued is done after that job.
/// Threads   any.
class thread_pool {
  public:
    explicit thread_pool(thread_pool_options options = {});
    ~thread_pool();
    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;

    /// Calls `body(arguments...)` on a thread of the pool, with copies of what is given here.
    /// Pointers and references into the waiting frame are allowed: it waits until the call is over.
    ///
    /// Result    what `body` returns; a `result` is unwrapped. What it throws is rethrown at the
    ///           `co_await`.
    /// Errors    the error of the `result`; `errc::invalid_state` after `shutdown`; EAGAIN when
    ///           there is no thread to be had.
    /// Cancel    a job that no thread has begun is taken back. One that has begun is waited for;
    ///           the cancellation is then due at the next await.
    /// Lifetime  a loop that closes meanwhile waits some seconds, then gives up the memory of the
    ///           waiting task.
    /// Threads   called on a thread that runs a loop.
    /// Cost      one lock at each end, one post to the loop; no allocation for the job itself.
    template <class F, class... Args>
        requires std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>
    auto run(F&& body, Args&&... arguments) {
        return detail::job_awaitable<std::decay_t<F>, std::decay_t<Args>...>(
            core_, std::forward<F>(body), std::forward<Args>(arguments)...);
    }

    /// Queues `body(arguments...)` and goes on: a future of the running loop tells what came of it.
    ///
    /// Result    as `run`. Dropping the future changes nothing.
    /// Errors    as `run`, from the future; `errc::queue_full` when `max_waiting` jobs wait
    ///           already. Throws `std::system_error` (`errc::loop_closed`).
    /// Cancel    cancelling the future keeps a job that has not begun from running; one that has
    ///           goes on, and what comes of it is dropped (rule 55).
    /// Lifetime  what the job refers to must live until it has run. A loop that closes does not
    ///           wait for it (rules 56, 60).
    /// Threads   called on a thread that runs a loop.
    /// Cost      three blocks of memory.
    template <class F, class... Args>
        requires std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>
    auto submit(F&& body, Args&&... arguments) {
        using job = detail::submitted_job<std::decay_t<F>, std::decay_t<Args>...>;
        auto made =
            std::make_unique<job>(core_, std::forward<F>(body), std::forward<Args>(arguments)...);
        auto outcome = made->get_future();
        detail::job_access::submit(*made.release());
        return outcome;
    }

    /// Takes no more jobs and waits until those it has are done, at most for `grace`.
    ///
    /// Result  false when some were not: they go on, and nobody waits for them any more.
    bool shutdown(clock::duration grace = clock::duration::max());

    /// Threads it has now.
    std::size_t threads() const noexcept;
    /// Jobs that no thread has begun.
    std::size_t waiting() const noexcept;

  private:
    friend void detail::start_job(detail::loop_state&, io::job_op&) noexcept;
    std::shared_ptr<detail::pool_core> core_;  // shared with the threads and with waiting jobs
};

/// Calls `body(arguments...)` on a thread of the running loop's default pool, which is made when it
/// is first needed (`loop::set_default_executor` gives another one). As `thread_pool::run`.
///
/// Errors  `errc::invalid_state` after `shutdown_default_executor`, and as `thread_pool::run`.
/// Cancel  as `thread_pool::run`.
template <class F, class... Args>
    requires std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>
auto to_thread(F&& body, Args&&... arguments) {
    return detail::job_awaitable<std::decay_t<F>, std::decay_t<Args>...>(
        nullptr, std::forward<F>(body), std::forward<Args>(arguments)...);
}

/// Lets the running loop's default pool take no more jobs, also in future, and waits for those it
/// has, at most for `grace`. What does not end by then is reported as a warning and left alone.
///
/// Result  nothing; a loop that has no pool has nothing to wait for.
/// Cancel  takes effect at the next await.
task<> shutdown_default_executor(clock::duration grace = clock::duration::max());

}  // namespace ouro
