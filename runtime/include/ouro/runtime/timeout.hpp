// Deadlines: `timeout` for the rest of a block, `wait_for` for one await.
#pragma once

#include <chrono>
#include <optional>
#include <source_location>
#include <utility>

#include <ouro/runtime/awaited.hpp>
#include <ouro/runtime/scope.hpp>

namespace ouro {

/// A deadline for the rest of the block it is declared in, and for everything awaited there.
///
///     task<reply> ask(socket& server) {
///         timeout limit(5s);
///         co_await server.send_all(question);
///         co_return co_await read_reply(server);
///     }
///
/// When the time has come, the task is cancelled; as the failure leaves the block, that very
/// cancellation becomes `std::errc::timed_out` (rules 160-163). Inside the block it is still seen
/// as a cancellation, and what the block makes of it stands (rule 169). A block that fails with
/// something else fails with that (rule 168).
///
/// Result    a task that waits no more passes through: the deadline matters at awaits only (rule
///           165).
/// Errors    outside of a task the constructor throws `errc::invalid_state` (rule 172).
/// Lifetime  a local variable of a coroutine, not movable.
/// Threads   the loop's thread.
/// Cost      one timer; no allocation.
class [[nodiscard]] timeout : public detail::scope, private detail::timer_node {
  public:
    /// Cancels what is awaited once `delay` has passed; zero or less: at the first await that
    /// suspends (rule 164).
    template <class Rep, class Period>
    explicit timeout(std::chrono::duration<Rep, Period> delay,
                     std::source_location where = std::source_location::current())
        : timeout(detail::bounded(delay), std::nullopt, where) {}
    /// Cancels what is awaited at `when`; never without one.
    explicit timeout(std::optional<clock::time_point> when,
                     std::source_location where = std::source_location::current())
        : timeout(std::nullopt, when, where) {}
    ~timeout();

    /// The deadline; none when it never comes (rule 171).
    std::optional<clock::time_point> when() const noexcept;
    /// Moves the deadline, or takes it away (rule 171). False once it has passed (rule 170).
    bool reschedule(std::optional<clock::time_point> when);
    /// True once the time has come, whatever the block made of it.
    bool expired() const noexcept { return cancelled_ && !unnoticed(); }

  private:
    timeout(std::optional<clock::duration> delay, std::optional<clock::time_point> when,
            const std::source_location& where);
    void set(std::optional<clock::time_point> when, bool passed);
    /// It had no time from the start, and no await has told the task yet.
    bool unnoticed() const noexcept { return at_once_ && owner().must_cancel; }
    static void came(timer_node& timer) noexcept;
    std::string reason() const;

    std::optional<clock::duration> delay_;  // as it was asked for, for the text
    bool cancelled_ = false;                // it has asked the task to end,
    bool at_once_ = false;                  // without a timer
};

/// `timeout` with a point in time.
inline timeout timeout_at(std::optional<clock::time_point> when,
                          std::source_location where = std::source_location::current()) {
    return timeout(when, where);
}

namespace detail {

template <class A>
task<awaited<A>> wait_until(A awaitable, clock::duration delay, std::source_location where) {
    timeout limit(delay, where);
    co_return co_await std::forward<A>(awaitable);
}

/// The error of a `wait_for` that had no time at all.
error no_time(const std::source_location& where) noexcept;

/// Cancels what may be cancelled, and waits for its end.
template <class Handle>
task<awaited<Handle>> wait_without_time(Handle handle, std::source_location where) {
    const task_ref self = current_task();
    const unsigned before = self.cancelling();
    handle.cancel(cancel_cause::timeout);
    auto ended = co_await as_result(handle.join());
    const bool only_ours = self.cancelling() <= before;  // the waiter was not cancelled meanwhile
    if (only_ours && !ended && ended.error() == errc::cancelled) ended = no_time(where);
    co_return co_await std::move(ended);
}

/// For one of several references: the others may want the value as well.
template <class Handle>
task<awaited<Handle>> join_until(Handle handle, clock::duration delay, std::source_location where) {
    timeout limit(delay, where);
    co_return co_await handle;
}

template <class T>
task<T> fail_with(error why) {
    co_return co_await result<T>(std::move(why));
}

template <class A>
concept waited_for = requires(A& result) {
    result.done();
    { result.wait() } -> leaf_awaitable;
};

template <class A>
concept cancellable = requires(A& handle) {
    handle.done();
    handle.cancel(cancel_cause::timeout);
    handle.join();
};

}  // namespace detail

/// Awaits `awaitable`, for `delay` at most.
///
///     auto line = co_await wait_for(reader.readline(), 30s);
///
/// Result    what the awaitable gives. A result that is there in time wins (rule 182).
/// Errors    `std::errc::timed_out` once the awaitable was cancelled and has ended (rule 177); what
///           it made of the cancellation wins (rules 178, 179). With no time at all a task does not
///           even start (rule 176).
/// Cancel    cancels the awaitable and waits for it (rule 180); a `shield` is left alone (rule
///           183).
/// Lifetime  an innermost awaitable, as in `wait_for(sock.recv(buffer), 1s)`, lives until the end
///           of the full expression: await the call at once.
/// Cost      one pooled frame and one timer.
template <class T, class Rep, class Period>
task<T> wait_for(task<T> body, std::chrono::duration<Rep, Period> delay,
                 std::source_location where = std::source_location::current()) {
    if (delay <= delay.zero()) return detail::fail_with<T>(detail::no_time(where));
    return detail::wait_until<task<T>>(std::move(body), detail::bounded(delay), where);
}
/// The same for a task that runs already.
template <class Handle, class Rep, class Period>
    requires detail::cancellable<std::remove_cvref_t<Handle>>
auto wait_for(Handle&& handle, std::chrono::duration<Rep, Period> delay,
              std::source_location where = std::source_location::current()) {
    using kept = std::remove_cvref_t<Handle>;
    if (handle.done()) return as_task(std::forward<Handle>(handle));
    if (delay <= delay.zero()) {
        return detail::wait_without_time<kept>(std::forward<Handle>(handle), where);
    }
    if constexpr (std::is_lvalue_reference_v<Handle>) {
        return detail::join_until<kept>(handle, detail::bounded(delay), where);
    } else {
        return detail::wait_until<kept>(std::move(handle), detail::bounded(delay), where);
    }
}
/// The same for a future, which is left alone when the time is over: others may wait for it.
template <detail::waited_for Future, class Rep, class Period>
auto wait_for(Future result, std::chrono::duration<Rep, Period> delay,
              std::source_location where = std::source_location::current()) {
    return detail::wait_until<Future>(std::move(result), detail::bounded(delay), where);
}
/// The same for an innermost awaitable.
template <detail::leaf_awaitable Leaf, class Rep, class Period>
auto wait_for(Leaf&& leaf, std::chrono::duration<Rep, Period> delay,
              std::source_location where = std::source_location::current()) {
    static_assert(!std::is_lvalue_reference_v<Leaf>, "an awaitable is used once");
    return detail::wait_until<Leaf&&>(std::move(leaf), detail::bounded(delay), where);
}
/// Without a limit: waits as long as it takes (rule 175).
template <class A>
auto wait_for(A&& awaitable, std::nullopt_t) {
    return as_task(std::forward<A>(awaitable));
}

}  // namespace ouro
