// Several awaits at once, for the first one that is done.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include <ouro/runtime/awaited.hpp>
#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/task_group.hpp>

namespace ouro {

/// Who was first, and with what.
template <class T>
struct race_winner {
    std::size_t index;            ///< its place among the arguments
    detail::or_nothing<T> value;  ///< what it returned
};

/// How a staggered race went.
template <class T>
struct staggered_outcome {
    /// The first success, if there was one.
    std::optional<race_winner<T>> winner{};
    /// One for each attempt that was started, in order; empty for the winner (rule 212).
    std::vector<error> errors{};
};

namespace detail {

/// Ends its other children as soon as one has ended.
class first_past_the_post final : public nursery {
  public:
    explicit first_past_the_post(const std::source_location& where) : nursery("race", where) {}
    /// The one that ended first.
    task_core* first() const noexcept { return first_.core(); }

  private:
    void child_ended(task_core& child) noexcept override;
    task_ref first_;
};

/// Starts attempts one after the other until one succeeds.
class staggered : public nursery, private timer_node {
  public:
    staggered(std::size_t attempts, std::optional<clock::duration> delay,
              const std::source_location& where);
    ~staggered();
    task<> run();
    std::optional<std::size_t> winner() const noexcept { return winner_; }
    std::vector<error>& errors() noexcept { return errors_; }

  protected:
    virtual task_ref start(std::size_t index) = 0;

  private:
    void start_next() noexcept;
    void child_ended(task_core& child) noexcept override;
    void parent_cancelled(const error& why) noexcept override;
    static void time_is_up(timer_node& timer) noexcept;

    const std::size_t attempts_;
    const std::optional<clock::duration> delay_;
    context values_ = context::current();  // attempts that start later see what the first one did
    std::vector<task_ref> started_;
    std::vector<error> errors_;
    std::optional<std::size_t> winner_;
    bool ending_ = false;
};

template <class T, class Factory>
class staggered_calls final : public staggered {
  public:
    staggered_calls(std::vector<Factory>& attempts, std::optional<clock::duration> delay,
                    const std::source_location& where)
        : staggered(attempts.size(), delay, where),
          attempts_(attempts),
          children_(attempts.size()) {}
    task_state<T>& child(std::size_t index) const noexcept { return children_[index].state(); }

  private:
    task_ref start(std::size_t index) override {
        children_[index] = start_in(*this, attempts_[index](), where());
        return children_[index];
    }
    std::vector<Factory>& attempts_;
    std::vector<task_handle<T>> children_;
};

}  // namespace detail

/// Runs all of them side by side until the first one has ended; the others are cancelled, and
/// waited for. What they still returned is destroyed.
///
///     auto first = co_await race(std::move(lookups));     // first.index, first.value
///
/// Result    the first to end, by the order of events. At least one is needed.
/// Errors    the first one's failure, if it failed; the losers' are dropped. `errc::value_error`
///           for none at all.
/// Cancel    cancels all of them and waits for their end.
template <class A>
task<race_winner<detail::awaited<A>>>
race(std::vector<A> all, std::source_location where = std::source_location::current()) {
    using T = detail::awaited<A>;
    if (all.empty()) co_return error(errc::value_error, "race of nobody");
    detail::first_past_the_post group(where);
    std::vector<task_handle<T>> runners;
    runners.reserve(all.size());
    for (auto& each : all) {
        runners.push_back(detail::start_in(group, detail::as_child(each), where));
    }
    co_await group.wait_for_all();
    std::size_t index = 0;
    while (runners[index].core() != group.first()) ++index;
    auto& winner = runners[index].state();
    if (winner.state() == detail::outcome::threw) std::rethrow_exception(winner.thrown_seen());
    if (winner.state() == detail::outcome::failed) co_return winner.failure_seen();
    co_return race_winner<T>{index, detail::take_value(winner)};
}
/// The same for a few that yield the same type; innermost awaitables when awaited at once.
template <class First, class... As>
    requires(sizeof...(As) > 0)
auto race(First&& first, As&&... others) {
    std::vector<task<detail::awaited<First>>> all;
    all.reserve(1 + sizeof...(As));
    all.push_back(as_task(std::forward<First>(first)));
    (all.push_back(as_task(std::forward<As>(others))), ...);
    return race(std::move(all), detail::unknown_place);
}

/// Starts one attempt after the other, each when the one before has failed or after `delay`,
/// whichever is first, until one succeeds; the others are cancelled and waited for (rules 209-214).
/// Without a delay strictly one after the other. Happy eyeballs (RFC 8305) is made of this.
///
/// Result    the winner, if any, and what the others failed with. A failed race is not an error of
///           the call (rules 212, 213).
/// Cancel    cancels all attempts and waits for their end; no further one is started.
/// Lifetime  `attempts` are callables that make a task; they are kept until the end.
template <class Factory>
auto staggered_race(std::vector<Factory> attempts, std::optional<clock::duration> delay,
                    std::source_location where = std::source_location::current())
    -> task<staggered_outcome<typename detail::task_value<std::invoke_result_t<Factory&>>::type>> {
    using value = typename detail::task_value<std::invoke_result_t<Factory&>>::type;
    detail::staggered_calls<value, Factory> group(attempts, delay, where);
    co_await group.run();
    staggered_outcome<value> outcome{.winner = {}, .errors = std::move(group.errors())};
    if (const auto first = group.winner()) {
        outcome.winner.emplace(*first, detail::take_value(group.child(*first)));
    }
    co_return outcome;
}

}  // namespace ouro
