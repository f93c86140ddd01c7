// What an await yields, and anything awaitable as a task.
#pragma once

#include <chrono>
#include <type_traits>
#include <utility>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

namespace detail {

template <class A>
decltype(auto) awaiter_of(A&& awaitable) {
    if constexpr (requires { std::forward<A>(awaitable).operator co_await(); }) {
        return std::forward<A>(awaitable).operator co_await();
    } else if constexpr (requires { operator co_await(std::forward<A>(awaitable)); }) {
        return operator co_await(std::forward<A>(awaitable));
    } else {
        return std::forward<A>(awaitable);
    }
}

/// The type of `co_await awaitable`.
template <class A>
using awaited = std::remove_cvref_t<decltype(awaiter_of(std::declval<A>()).await_resume())>;

template <class Kept, class As>
task<awaited<As>> await_kept(Kept awaitable) {
    co_return co_await static_cast<As>(awaitable);
}

/// A delay in the units of the clock; what is too long, or not a number, never comes.
template <class Rep, class Period>
clock::duration bounded(std::chrono::duration<Rep, Period> delay) noexcept {
    const std::chrono::duration<double> most = std::chrono::hours(24 * 365 * 100);
    if (!(std::chrono::duration<double>(delay) < most)) {
        return std::chrono::duration_cast<clock::duration>(most);
    }
    if (delay <= delay.zero()) return {};
    return std::chrono::ceil<clock::duration>(delay);
}

}  // namespace detail

/// `body` itself.
template <class T>
task<T> as_task(task<T> body) noexcept {
    return body;
}
/// Anything that can be awaited more than once (a task handle, a future) as a task that keeps it.
/// From an lvalue the value is copied, from an rvalue it is moved out.
template <class A>
    requires(!detail::leaf_awaitable<std::remove_cvref_t<A>>)
task<detail::awaited<A>> as_task(A&& awaitable) {
    return detail::await_kept<std::remove_cvref_t<A>, A&&>(std::forward<A>(awaitable));
}
/// An innermost awaitable as a task, to be awaited in the same full expression.
template <detail::leaf_awaitable Leaf>
task<detail::awaited<Leaf>> as_task(Leaf&& leaf) {
    static_assert(!std::is_lvalue_reference_v<Leaf>, "an awaitable is used once");
    co_return co_await std::move(leaf);
}

namespace detail {

/// One of many as a task: what others may hold as well is copied, so that the same one may be there
/// twice.
template <class A>
task<awaited<A>> as_child(A& one) {
    if constexpr (requires { as_task(one); }) {
        return as_task(one);
    } else {
        return as_task(std::move(one));
    }
}

}  // namespace detail

}  // namespace ouro
