// Seeing what is stuck: every task of a loop, the lines it waits at, what it waits for, and who
// waits for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro {

/// How far a task is.
enum class task_stage : std::uint8_t {
    not_started,  ///< spawned, its first step is to come
    ready,        ///< what it waited for has happened, its next step is to come
    running,      ///< it is the one that asks
    waiting,      ///< in its innermost await
    done,         ///< returned, failed or cancelled
};
/// The stage as words: "not started", "waiting", ...
const char* to_string(task_stage stage) noexcept;

struct task_report;

/// A timeout or a group that a task is inside of.
struct scope_report {
    std::string kind;                     ///< "timeout", "group", "gather"
    std::source_location where;           ///< where it was entered
    std::uint64_t owner = 0;              ///< the task that entered it: this one, or a parent
    std::optional<clock::duration> left;  ///< until its deadline; negative once that has passed

    /// One line: "timeout at server.cpp:88, 3.2 s left".
    std::string describe(std::uint64_t task, std::span<const task_report> others = {}) const;
};

/// A task at one moment. A copy: it refers to nothing of the loop.
struct task_report {
    std::uint64_t id = 0;          ///< its number in the process
    std::string name;              ///< given, or "task-<id>"
    task_stage stage{};            ///< how far it is
    std::source_location created;  ///< the `spawn`; line 0 when unknown
    clock::duration age{};         ///< since then, to a few milliseconds
    clock::duration waits_for{};   ///< how long it waits, or waited last, as it does now
    unsigned cancelling = 0;       ///< cancellations asked for and not taken back (rule 719)
    cancel_cause cause{};          ///< of the last one
    std::string reason;  ///< of the last one, if it has told: "deadline of 5 s at a.cpp:8"
    std::vector<scope_report> scopes;  ///< what it is inside of, the outermost first
    /// Where each of its frames awaits the next one, the root first. Of a running task the last is
    /// the await that came last.
    std::vector<std::source_location> frames;
    std::string waits_in;  ///< what the innermost await is: "recv", "sleep"; empty unless waiting
    std::string details;   ///< of what it waits for: "fd 7, peer 10.0.0.1:80"; may be empty
    std::vector<std::uint64_t> awaits;      ///< tasks it waits for, children in groups among them
    std::vector<std::uint64_t> awaited_by;  ///< tasks that wait for it, or have it in a group

    /// The lines of `dump_tasks` for this task. `others` are where the names of the tasks in
    /// `awaits` and `awaited_by` are looked up.
    std::string describe(std::span<const task_report> others = {}) const;
};

/// All unfinished tasks of `of`, the oldest first.
///
/// Nothing is resumed, locked or changed. To ask from another thread, post the question:
/// `handle.post([] { log(dump_tasks(loop::current())); })`.
///
/// Threads  the loop's thread.
/// Cost     allocates; asks the kernel for the names of the sockets that are waited for.
std::vector<task_report> capture_tasks(loop& of);

/// Those of them that have waited, as they do now, for longer than `limit`.
std::vector<task_report> waiting_longer_than(loop& of, clock::duration limit);

/// A task and, after it, every task that waits for it, directly or through others: a group waits
/// for its children (rule 714).
///
/// Threads  the loop's thread.
std::vector<task_report> capture_call_graph(const task_ref& of);
/// The same for the current task; empty outside of a task (rule 715).
///
/// Errors  throws `std::system_error` (`errc::invalid_state`) where no loop runs.
std::vector<task_report> capture_call_graph();

/// Tasks of `all` that wait for each other in a circle, so that none of them can end, in the
/// order of waiting; empty when there are none (rule 717).
std::vector<std::uint64_t> find_circle(std::span<const task_report> all);

/// The tasks of `of` as a text for people: stage, chain of awaits with their lines, what is waited
/// for, and who waits for it.
std::string dump_tasks(loop& of);

/// The same as one JSON object, `{"tasks": [...], "circle": [...]}`, with the names of
/// `task_report`.
std::string dump_tasks_json(loop& of);

/// The name of a function out of `std::source_location::function_name`, without its return type,
/// arguments and template arguments: "serve", "server::handle", "main::lambda".
std::string short_function_name(std::string_view function);

}  // namespace ouro
