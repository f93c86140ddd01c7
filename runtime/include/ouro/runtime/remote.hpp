// Waits that end on another thread: what is waited for there, and how its outcome comes back.
#pragma once

#include <cerrno>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <ouro/runtime/context.hpp>
#include <ouro/runtime/intrusive.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/loop_handle.hpp>
#include <ouro/runtime/op.hpp>
#include <ouro/runtime/result.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

class thread_pool;

namespace detail {

class pool_core;

/// What a call gave, on its way between threads: a value, an error or an exception.
template <class T>
class settled {
  public:
    /// Calls `body`, which gives a `T` or a `result<T>`, and keeps what comes of it.
    template <class Body>
    void call(Body&& body) noexcept {
        try {
            if constexpr (std::is_void_v<std::invoke_result_t<Body&>>) {
                body();
                given_.emplace();
            } else {
                given_.emplace(body());
            }
        } catch (...) {
            thrown_ = std::current_exception();
        }
    }
    void fail(error why) noexcept { given_.emplace(std::move(why)); }
    void fail(std::exception_ptr thrown) noexcept {
        given_.reset();
        thrown_ = std::move(thrown);
    }

    /// The error, or null when there is a value or an exception.
    error* failure() noexcept { return given_ && !*given_ ? &given_->error() : nullptr; }
    /// The exception, or null. Afterwards it is held there only.
    std::exception_ptr take_thrown() noexcept { return std::move(thrown_); }
    /// The value or error. Rethrows the exception.
    result<T> take() {
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        return std::move(*given_);
    }

  private:
    std::optional<result<T>> given_;
    std::exception_ptr thrown_;
};

/// The value of what a function returns: that of a `result`, or a copy of its own.
template <class T>
struct settled_value {
    using type = std::decay_t<T>;
};
template <class T>
struct settled_value<result<T>> {
    using type = T;
};

/// Where something came from that was left for a loop.
struct mail_origin {
    int processor = -1;      // on which the thread was; below 0: nothing came
    bool looks_out = false;  // it is a loop that will look out for an answer, not sleep
};

/// What another thread leaves for a loop without needing memory for it.
struct remote_node : ready_node {
    mail_origin from;
};

/// An operation that another thread ends. It counts as in flight: a closing loop waits for it, and
/// does not free the memory around it before it has ended.
struct remote_op : op, remote_node {
    using op::op;
    loop* home = nullptr;  // for its own thread
    std::shared_ptr<mailbox> way_back;
    void (*ask)(remote_op&) noexcept = nullptr;  // asks for an early end; it ends all the same
};
/// `op::engine_state` of one that was handed to another thread.
inline constexpr std::uint8_t elsewhere = 0xfe;

/// Marks `request` as started by `home`; false when the loop is closing and it ends cancelled.
bool start_remote(loop& home, remote_op& request) noexcept;
/// Hands a started one over: from here on `end_remote` ends it, whatever `ask` is asked.
void hand_over(remote_op& request, void (*ask)(remote_op&) noexcept) noexcept;
/// Ends `request` successfully. From any thread, once; afterwards it may be gone. What this thread
/// did before is seen by the one that waits. Nothing happens when the loop is closed.
void end_remote(remote_op& request) noexcept;
/// A nap of a millisecond.
void wait_for_memory() noexcept;
/// Posts by `post`, which does not fail for want of memory: it is tried again until there is some,
/// because a cancellation that is lost is a wait without end. Task-local values, which may not let
/// themselves be copied, stay here.
template <class Post>
bool post_surely(Post&& post) noexcept {
    context none;
    const context::use in(none);
    for (;;) {
        try {
            return post();
        } catch (const std::bad_alloc&) {
            wait_for_memory();
        }
    }
}

/// Something that runs on a thread of a pool. The pool does not own it.
struct pool_job : list_link {
    void (*perform)(pool_job&) noexcept = nullptr;
};

/// The await of a `remote_op`. `Derived` has `wait_name`, `settled<Value>& outcome()`, `void
/// arrived()`, called before that is looked at, and `error refused(int number)`.
template <class Derived, class Value, class Op>
class [[nodiscard]] remote_awaitable : public awaitable<Derived, Value> {
  public:
    Value value() {
        result<Value> given = static_cast<Derived&>(*this).outcome().take();
        if constexpr (!std::is_void_v<Value>) return std::move(*given);
    }
    /// The `cancel` of its kind.
    static void cancel_remote(wait_point& wait, cancel_cause cause) noexcept {
        auto& self = static_cast<remote_awaitable&>(wait);
        self.op_.cause = cause;
        cancel_op_of(*self.op_.home, self.op_);
    }

  protected:
    explicit remote_awaitable() noexcept
        : awaitable<Derived, Value>(kind), op_(&remote_awaitable::finished) {
        op_.wait = this;
    }
    struct waiting_op : Op {
        using Op::Op;
        remote_awaitable* wait = nullptr;
        cancel_cause cause = cancel_cause::none;  // set once a cancellation was asked for
    };
    static Derived& waiter_of(remote_op& request) noexcept {
        return static_cast<Derived&>(*static_cast<waiting_op&>(request).wait);
    }
    waiting_op op_;

    static constexpr wait_kind kind{Derived::wait_name, &remote_awaitable::cancel_remote};

  private:
    static void finished(op& done) noexcept {
        Derived& self = *static_cast<Derived*>(static_cast<waiting_op&>(done).wait);
        const cancel_cause cause = self.op_.cause;
        if (done.res == 0) self.arrived();
        error* const why = done.res == 0 ? self.outcome().failure() : nullptr;
        // Asked to end, it did so: that is this very cancellation, with its own cause.
        const bool obeyed = why && cause != cancel_cause::none && *why == errc::cancelled;
        if (done.res == -ECANCELED || obeyed) {
            return self.fail(error::cancelled(cause, words(Derived::wait_name)));
        }
        if (cause != cancel_cause::none) defer_cancel(self, cause);
        if (done.res < 0) return self.fail(self.refused(-done.res));
        why ? self.fail(std::move(*why)) : self.complete();
    }
};

}  // namespace detail

namespace io {

/// A job for a thread of a pool.
struct job_op : detail::remote_op, detail::pool_job {
    using detail::remote_op::remote_op;
    void (*work)(job_op&) noexcept = nullptr;  ///< what runs there, once
    std::shared_ptr<detail::pool_core> pool;   ///< whose thread; null for the loop's default
    bool worked = false;                       ///< `work` has returned
};

}  // namespace io
}  // namespace ouro
