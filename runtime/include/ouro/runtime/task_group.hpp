// Tasks that end together: a group outlives none of its children, and its first failure ends all.
#pragma once

#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include <ouro/runtime/awaited.hpp>
#include <ouro/runtime/scope.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/waiters.hpp>

namespace ouro {

namespace detail {

/// Children of the task that waits for them: what groups, gather and races have in common.
class nursery : public scope {
  public:
    /// Children that have not ended.
    std::size_t live() const noexcept { return live_; }
    /// Makes `child`, which has not started, one of its own.
    void adopt(task_core& child) noexcept;
    void cancel_children(cancel_cause cause, const words& why) noexcept;
    /// Ends when no child is left, or the parent is cancelled. Waiting for all of them allocates
    /// nothing, so that it cannot fail, whatever happens (rule 153):
    ///
    ///     while (group.live() > 0) group.heed(co_await as_result(group.all_ended()));
    waiter_list::waiter all_ended() noexcept;
    /// Passes a cancellation of the parent on to the children; it comes back as the error once they
    /// have ended.
    void heed(result<> waited) noexcept;
    /// `heed` until no child is left, then fails if the parent was cancelled.
    task<> wait_for_all();

  protected:
    using scope::scope;
    /// What still lives is cancelled, and belongs to the loop alone from here on.
    ~nursery();
    /// `child` is done. It may start others.
    virtual void child_ended(task_core& child) noexcept = 0;
    /// The parent was cancelled while it waited for them.
    virtual void parent_cancelled(const error& why) noexcept;

    error cancelled_;  // the parent's, to be passed on to it in the end

  private:
    friend class task_core;
    void ended(task_core& child) noexcept;

    list<task_core::member> children_;
    waiter_list parent_;  // at most one, while it waits
    std::size_t live_ = 0;
};

}  // namespace detail

namespace detail {
template <class T, class Body>
task<T> run_group(Body body, std::source_location where);
}

/// Children of one task: all of them end before the call that made the group does. See
/// `with_group`.
///
/// Threads  the loop's thread.
class task_group : private detail::nursery {
  public:
    explicit task_group(std::source_location where = std::source_location::current());

    /// Starts `body` as a child. What it refers to must outlive the group, as everything does that
    /// was there before `with_group` was called.
    ///
    /// Errors  throws `errc::invalid_state` when the group is ending: a child failed, it was
    ///         cancelled, or it is over (rules 139, 155). `body` is destroyed unrun.
    template <class T>
    task_handle<T> spawn(task<T> body,
                         std::source_location created = std::source_location::current()) {
        return spawn({.created = created}, std::move(body));
    }
    /// Starts `body(arguments...)` as a child; the callable and the arguments are copied.
    template <class F, class... Args>
        requires(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>...>)
    auto spawn(F&& body, Args&&... arguments) {
        return spawn(spawn_options{.created = detail::unknown_place}, std::forward<F>(body),
                     std::forward<Args>(arguments)...);
    }
    /// The same with a name, or eagerly.
    template <class T>
    task_handle<T> spawn(spawn_options options, task<T> body) {
        require_open();
        return detail::launch(owner().home(), std::move(body), std::move(options), this);
    }
    /// The same with a name, or eagerly. The callable and the arguments are copied.
    template <class F, class... Args>
        requires(std::is_invocable_v<std::decay_t<F>&, std::decay_t<Args>...>)
    auto spawn(spawn_options options, F&& body, Args&&... arguments) {
        return spawn(std::move(options),
                     detail::call_with_copies<std::decay_t<F>, std::decay_t<Args>...>(
                         std::forward<F>(body), std::forward<Args>(arguments)...));
    }

    /// Cancels the children and the body; the group then ends without an error, unless it was to
    /// yield a value and the body has none (`errc::cancelled`). Harmless on one that is ending
    /// (rule 159).
    ///
    /// A cancellation of the task itself that the body has met in the meantime and swallowed still
    /// counts: a body that ends cancelled then ends the group cancelled, and a main task that a
    /// signal had asked to end exits with 128 + signal. Whoever swallows one to end in order takes
    /// it back first (rules 113, 116):
    ///
    ///     if (auto got = co_await as_result(queue.get()); !got) {
    ///         current_task().uncancel();
    ///         group.cancel("no more work");
    ///     }
    void cancel(detail::words why = {}) noexcept;
    /// Children that have not ended.
    std::size_t size() const noexcept { return live(); }

    /// For makers of combinators: waits for the children, then fails with what the group failed
    /// with.
    task<> leave();

  protected:
    /// Whether a child that was cancelled has failed: not here, it just does not take part.
    virtual bool fails_when_cancelled() const noexcept { return false; }

  private:
    template <class T, class Body>
    friend task<T> detail::run_group(Body body, std::source_location where);
    void require_open() const;
    void child_ended(detail::task_core& child) noexcept override;
    void parent_cancelled(const error& why) noexcept override;
    void body_over(error failed_with, std::exception_ptr threw) noexcept;
    void failed(error why, std::exception_ptr threw) noexcept;
    void abort(cancel_cause cause, const detail::words& why) noexcept;
    void report_further(std::size_t from) noexcept;
    void report(const error& why) noexcept;
    result<> outcome();

    error first_;                     // the failure that came first,
    std::exception_ptr first_threw_;  // if it was an exception
    std::vector<error> further_;      // in the order in which they happened
    bool body_ended_ = false;         // the parent waits for the children
    bool ending_ = false;             // everything was cancelled, nothing may be started
    bool cancelled_parent_ = false;   // to end the body
};

namespace detail {

template <class T, class Body>
task<T> run_group(Body body, std::source_location where) {
    task_group group(where);
    std::optional<result<T>> ended;
    std::exception_ptr threw;
    try {
        ended.emplace(co_await as_result(body(group)));
    } catch (...) {
        threw = std::current_exception();
    }
    group.body_over(ended && !*ended ? ended->error() : error(), threw);
    while (group.live() > 0) group.heed(co_await as_result(group.all_ended()));
    co_await group.outcome();
    if constexpr (!std::is_void_v<T>) co_return std::move(*ended);
}

}  // namespace detail

/// Runs `body(group)`, and waits for every child that it, or a child, starts in the group.
///
///     co_await with_group([&](task_group& group) -> task<> {
///         group.spawn(read_requests(reader, queue));
///         group.spawn(answer(queue, writer));
///         co_return;
///     });
///
/// The first failure, of a child or of the body, cancels all the others; a child that ends
/// cancelled has not failed (rules 139-142).
///
/// Result    what `body` returned.
/// Errors    the first failure; when there were more, all of them are its `error::causes`, in the
///           order in which they happened. When the first one was an exception, that is rethrown
///           and the others go to the exception handler, as do those that there is no memory for.
/// Cancel    cancels the children, waits for all of them, and ends cancelled, or with what they
///           failed with meanwhile (rules 143, 144).
/// Lifetime  `body` is kept until the end, so that it may capture by reference. The group is not to
///           be used after it.
/// Cost      two pooled frames; each child what `spawn` costs.
template <class Body>
auto with_group(Body body, std::source_location where = std::source_location::current()) {
    using value = typename detail::task_value<std::invoke_result_t<Body&, task_group&>>::type;
    return detail::run_group<value, Body>(std::move(body), where);
}

}  // namespace ouro
