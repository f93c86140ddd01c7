// Watching tasks without owning them: `wait`, and `as_completed`.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <utility>
#include <vector>

#include <ouro/runtime/awaited.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/runtime/waiters.hpp>

namespace ouro {

/// What `wait` waits for.
enum class return_when : std::uint8_t {
    first_completed,  ///< one is done
    first_error,      ///< one has failed, other than by cancellation, or all are done (rule 202)
    all_completed,    ///< all are done
};

/// Which tasks were done when `wait` returned, and which were not, in the order of the argument.
template <class Handle>
struct wait_outcome {
    std::vector<Handle> done{};
    std::vector<Handle> pending{};
};

namespace detail {

/// Notes which of some tasks are done, in the order in which that happens.
class watch {
  public:
    /// Those that are done already count first, in order. The same one twice counts once.
    template <class Handle>
    explicit watch(const std::vector<Handle>& tasks) : hooks_(new hook[tasks.size()]) {
        for (std::size_t i = 0; i < tasks.size(); ++i) hooks_[i].task = tasks[i].core();
        begin(tasks.size());
    }

    /// Indexes in the argument, in the order in which the tasks ended.
    const std::vector<std::size_t>& ended() const noexcept { return ended_; }
    /// How many different ones there are.
    std::size_t count() const noexcept { return count_; }
    /// True when the task at `index` is at an earlier one as well.
    bool repeated(std::size_t index) const noexcept { return !hooks_[index].task; }
    /// Waits until `policy` is met, or fails with `std::errc::timed_out` at `deadline`.
    task<> until(return_when policy, std::optional<clock::time_point> deadline);
    /// Waits until more than `known` have ended, likewise.
    task<> more_than(std::size_t known, std::optional<clock::time_point> deadline,
                     std::source_location where);

  private:
    struct hook final : done_hook {
        watch* home = nullptr;
        task_core* task = nullptr;  // null: repeated
        void task_done() noexcept override;
        task_core* waiter() const noexcept override;
    };
    void begin(std::size_t size);
    void note_end(hook& of) noexcept;
    bool met() const noexcept;
    error refusal() const noexcept;

    std::unique_ptr<hook[]> hooks_;  // unlink themselves (rule 203)
    std::size_t count_ = 0;
    std::vector<std::size_t> ended_;
    bool failed_ = false;   // one that ended had failed, other than by cancellation
    bool foreign_ = false;  // one is of another loop
    return_when policy_ = return_when::first_completed;
    waiter_list waiting_;
};

/// A limit as a point in time.
std::optional<clock::time_point> deadline_of(std::optional<clock::duration> limit) noexcept;

}  // namespace detail

/// Waits for some of `tasks`, and cancels none of them, whatever happens (rule 200).
///
/// Result    what is done and what is not, at this moment (rule 201); the same task twice counts
///           once (rule 204). The limit is no error: what is not done by then is pending.
/// Errors    `errc::value_error` for no tasks at all (rule 199); `errc::wrong_loop` for a task of
///           another loop.
/// Cancel    ends the wait; the tasks go on.
/// Cost      n log n for n tasks.
template <std::derived_from<task_ref> Handle>
task<wait_outcome<Handle>> wait(std::vector<Handle> tasks,
                                return_when policy = return_when::all_completed,
                                std::optional<clock::duration> limit = {}) {
    if (tasks.empty()) co_return error(errc::value_error, "wait for no tasks");
    detail::watch watched(tasks);
    const auto met = co_await as_result(watched.until(policy, detail::deadline_of(limit)));
    if (!met && met.error() != std::errc::timed_out) co_return met.error();
    wait_outcome<Handle> outcome;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
        if (watched.repeated(i)) continue;
        auto& into = tasks[i].done() ? outcome.done : outcome.pending;
        into.push_back(std::move(tasks[i]));
    }
    co_return outcome;
}

/// Hands out tasks in the order in which they end (rule 205).
///
///     as_completed answers(handles);
///     while (auto next = co_await answers.next()) use(co_await *next);
///
/// Lifetime  may be left and taken up again at any time. The tasks are not cancelled.
/// Cost      n log n for n tasks.
template <std::derived_from<task_ref> Handle>
class as_completed {
  public:
    /// `limit`: how long all of them may take together.
    explicit as_completed(std::vector<Handle> tasks, std::optional<clock::duration> limit = {})
        : tasks_(std::move(tasks)), watched_(tasks_), deadline_(detail::deadline_of(limit)) {}
    as_completed(const as_completed&) = delete;
    as_completed& operator=(const as_completed&) = delete;

    /// The next one to end; nothing when all were handed out. The same task twice comes once.
    /// Several callers at once get different ones (rule 206).
    ///
    /// Errors  `std::errc::timed_out` when the limit passed first; the tasks go on (rule 207).
    ///         `errc::wrong_loop` for tasks of another loop.
    /// Cancel  loses nothing: the next call gives what this one would have.
    task<std::optional<Handle>> next(std::source_location where = std::source_location::current()) {
        // Another caller may take what this one has waited for.
        while (given_ < watched_.count() && given_ == watched_.ended().size()) {
            co_await watched_.more_than(given_, deadline_, where);
        }
        if (given_ == watched_.count()) co_return std::nullopt;
        co_return std::optional<Handle>(tasks_[watched_.ended()[given_++]]);
    }

  private:
    std::vector<Handle> tasks_;
    detail::watch watched_;
    std::optional<clock::time_point> deadline_;
    std::size_t given_ = 0;
};

}  // namespace ouro
