// Several awaits at once, for all their results.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <ouro/runtime/awaited.hpp>
#include <ouro/runtime/task_group.hpp>

namespace ouro {

namespace detail {

/// What stands for `void` among results.
template <class T>
using or_nothing = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
or_nothing<T> take_value(task_state<T>& ended) {
    if constexpr (std::is_void_v<T>) {
        return {};
    } else {
        return std::move(ended.value());
    }
}

template <class T>
result<T> take_result(task_state<T>& ended) {
    if (ended.state() == outcome::threw) return error::from_exception(ended.thrown_seen());
    if (ended.state() == outcome::failed) return ended.failure_seen();
    if constexpr (std::is_void_v<T>) {
        return {};
    } else {
        return std::move(ended.value());
    }
}

/// A group of which every result is wanted: a child that was cancelled has none to give.
class gathering final : public task_group {
  public:
    using task_group::task_group;

  private:
    bool fails_when_cancelled() const noexcept override { return true; }
};

/// A group that its children's failures do not end.
class settling final : public nursery {
  public:
    explicit settling(const std::source_location& where) : nursery("gather", where) {}

  private:
    void child_ended(task_core&) noexcept override {}
};

template <class T>
task_handle<T> start_in(nursery& group, task<T> body, const std::source_location& where) {
    return launch(group.owner().home(), std::move(body), {.created = where}, &group);
}

template <class... Ts>
task<std::tuple<or_nothing<Ts>...>> gather_tuple(std::source_location where, task<Ts>... all) {
    gathering group(where);
    std::tuple<task_handle<Ts>...> children{
        group.spawn(spawn_options{.created = where}, std::move(all))...};
    co_await group.leave();
    co_return std::apply([](auto&... child) { return std::tuple(take_value(child.state())...); },
                         children);
}

template <class... Ts>
task<std::tuple<result<Ts>...>> settle_tuple(std::source_location where, task<Ts>... all) {
    settling group(where);
    std::tuple<task_handle<Ts>...> children{start_in(group, std::move(all), where)...};
    co_await group.wait_for_all();
    co_return std::apply([](auto&... child) { return std::tuple(take_result(child.state())...); },
                         children);
}

template <class T>
using gathered = std::conditional_t<std::is_void_v<T>, void, std::vector<or_nothing<T>>>;

}  // namespace detail

/// Runs all of them side by side and waits for all their results.
///
///     auto [user, orders] = co_await gather(load_user(id), load_orders(id));
///
/// Takes tasks, task handles, futures, and innermost awaitables when awaited at once.
///
/// Result    a tuple of the results in the order of the arguments, `std::monostate` for `void`
///           (rules 188-190). Each loser of a failure is waited for.
/// Errors    the first failure cancels the others and, when all have ended, ends the wait; further
///           ones are its `error::causes` (as in `with_group`; asyncio leaves the others running).
///           One that was cancelled by somebody else counts as a failure (rule 193).
/// Cancel    cancels all of them and waits for their end (rule 195).
/// Cost      each one what `spawn` costs.
template <class... As>
    requires(sizeof...(As) > 1)
auto gather(As&&... awaitables) {
    return detail::gather_tuple(detail::unknown_place, as_task(std::forward<As>(awaitables))...);
}
/// The same for any number of one kind; the results are a vector, nothing for `void`.
template <class A>
task<detail::gathered<detail::awaited<A>>>
gather(std::vector<A> all, std::source_location where = std::source_location::current()) {
    using T = detail::awaited<A>;
    detail::gathering group(where);
    std::vector<task_handle<T>> children;
    children.reserve(all.size());
    for (auto& each : all) children.push_back(group.spawn(detail::as_child(each), where));
    co_await group.leave();
    if constexpr (!std::is_void_v<T>) {
        std::vector<T> values;
        values.reserve(children.size());
        for (auto& child : children) values.push_back(detail::take_value(child.state()));
        co_return values;
    }
}

/// `gather` that takes failures for results: waits for all, whatever becomes of them (rule 194).
///
/// Result    a tuple of `result`s in the order of the arguments.
/// Errors    only that the waiter was cancelled; the others were then cancelled and waited for
///           (rule 196).
template <class... As>
    requires(sizeof...(As) > 1)
auto gather_results(As&&... awaitables) {
    return detail::settle_tuple(detail::unknown_place, as_task(std::forward<As>(awaitables))...);
}
/// The same for any number of one kind.
template <class A>
task<std::vector<result<detail::awaited<A>>>>
gather_results(std::vector<A> all, std::source_location where = std::source_location::current()) {
    using T = detail::awaited<A>;
    detail::settling group(where);
    std::vector<task_handle<T>> children;
    children.reserve(all.size());
    for (auto& each : all) {
        children.push_back(detail::start_in(group, detail::as_child(each), where));
    }
    co_await group.wait_for_all();
    std::vector<result<T>> results;
    results.reserve(children.size());
    for (auto& child : children) results.push_back(detail::take_result(child.state()));
    co_return results;
}

}  // namespace ouro
