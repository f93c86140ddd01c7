// What the tasks of a loop are doing, as plain structures.
#include <ouro/runtime/inspect.hpp>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <ouro/runtime/task_group.hpp>

#include "inspection.hpp"
#include "loop_state.hpp"

namespace ouro {
namespace detail {

task_stage inspection::stage(const task_core& of) noexcept {
    if (of.done() || !of.root_) return task_stage::done;
    if (of.leaf) return task_stage::waiting;
    if (of.home_->state().current_task == &of) return task_stage::running;
    return of.started_ ? task_stage::ready : task_stage::not_started;
}

const promise_base* inspection::innermost(const task_core& of) noexcept {
    if (of.leaf) return of.leaf->frame();
    if (of.running) return of.running;
    return of.waking_ ? of.waking_->frame() : of.root_;
}

bool inspection::is_internal(const std::source_location& where) noexcept {
    const std::string_view function = where.function_name();
    std::size_t name = 0;
    int depth = 0;
    for (std::size_t i = 0; i < function.size(); ++i) {
        const char c = function[i];
        if (c == '(' && depth == 0 && !function.substr(i).starts_with("(anonymous")) break;
        if (c == '<' || c == '(') ++depth;
        if (c == '>' || c == ')') --depth;
        if (c == ' ' && depth == 0) name = i + 1;
    }
    const std::string_view rest = function.substr(name);
    return rest.starts_with("ouro::detail::") || rest.starts_with("ouro::task_group::leave");
}

std::vector<scope_report> inspection::scopes(const task_core& of, clock::time_point now) {
    std::vector<scope_report> found;
    for (const scope* each = of.scopes; each; each = each->outer()) {
        scope_report made{each->kind(), each->where(), each->owner().id(), {}};
        if (each->deadline() != clock::time_point::max()) made.left = each->deadline() - now;
        found.push_back(std::move(made));
    }
    std::reverse(found.begin(), found.end());
    return found;
}

task_report inspection::report(task_core& of) {
    task_report now;
    now.id = of.id_;
    now.name = of.name();
    now.stage = stage(of);
    now.created = of.created_;
    now.cancelling = of.cancel_requests_;
    now.cause = of.cause_;
    now.reason = of.reason_;
    const clock::time_point time = of.home_->time();
    now.age = std::max(clock::duration::zero(), time - of.created_at_);
    now.waits_for = std::max(clock::duration::zero(), time - of.since_);
    if (now.stage == task_stage::done) return now;
    for (const promise_base* each = innermost(of); each; each = each->parent) {
        if (each->where.line() != 0 && !is_internal(each->where)) now.frames.push_back(each->where);
    }
    std::reverse(now.frames.begin(), now.frames.end());
    now.scopes = scopes(of, time);
    if (of.leaf) {
        const wait_kind& kind = of.leaf->kind();
        now.waits_in = kind.name;
        if (kind.describe) now.details = kind.describe(*of.leaf);
    }
    for (const task_core* each : waiters(of)) now.awaited_by.push_back(each->id_);
    return now;
}

std::vector<task_core*> inspection::waiters(task_core& of) {
    std::vector<task_core*> found;
    const auto add = [&](task_core* waiter) {
        if (waiter && std::find(found.begin(), found.end(), waiter) == found.end()) {
            found.push_back(waiter);
        }
    };
    for (done_hook* each = of.hooks_.front(); each; each = of.hooks_.after(*each)) {
        add(each->waiter());
    }
    if (of.group_) add(&of.group_->owner());
    return found;
}

error inspection::farewell(const task_core& of) noexcept {
    const wait_point* const wait = of.leaf;
    error why = error::cancelled(cancel_cause::shutdown, words([wait] {
                                     if (!wait) return std::string();
                                     const wait_kind& kind = wait->kind();
                                     std::string text = kind.name;
                                     if (kind.describe) text += " (" + kind.describe(*wait) + ")";
                                     return text;
                                 }));
    for (const promise_base* each = innermost(of); each; each = each->parent) {
        if (each->where.line() != 0 && !is_internal(each->where)) why.passed(each->where);
    }
    return why;
}

namespace {

/// Each task of `all` learns whom it waits for.
void link(std::vector<task_report>& all) {
    std::unordered_map<std::uint64_t, task_report*> by_id;
    for (task_report& each : all) by_id.emplace(each.id, &each);
    for (const task_report& each : all) {
        for (const std::uint64_t waiter : each.awaited_by) {
            const auto found = by_id.find(waiter);
            if (found != by_id.end()) found->second->awaits.push_back(each.id);
        }
    }
}

}  // namespace
}  // namespace detail

const char* to_string(task_stage stage) noexcept {
    switch (stage) {
    case task_stage::not_started:
        return "not started";
    case task_stage::ready:
        return "ready";
    case task_stage::running:
        return "running";
    case task_stage::waiting:
        return "waiting";
    case task_stage::done:
        break;
    }
    return "done";
}

std::vector<task_report> capture_tasks(loop& of) {
    detail::loop_state& state = of.state();
    state.require_own_thread("capture_tasks");
    std::vector<task_report> all;
    all.reserve(state.live_tasks);
    for (auto* each = state.tasks.front(); each; each = state.tasks.after(*each)) {
        all.push_back(detail::inspection::report(*each));
    }
    detail::link(all);
    return all;
}

std::vector<task_report> waiting_longer_than(loop& of, clock::duration limit) {
    auto all = capture_tasks(of);
    std::erase_if(all, [limit](const task_report& each) {
        return each.stage != task_stage::waiting || each.waits_for <= limit;
    });
    return all;
}

std::vector<task_report> capture_call_graph() {
    if (!loop::try_current()) {
        throw std::system_error(make_error_code(errc::invalid_state),
                                "capture_call_graph where no loop runs");
    }
    detail::task_core* const self = detail::task_core::current();
    return self ? capture_call_graph(task_ref(self)) : std::vector<task_report>();
}

std::vector<task_report> capture_call_graph(const task_ref& of) {
    std::vector<task_report> graph;
    std::vector<detail::task_core*> found{of.core()};
    std::unordered_set<const detail::task_core*> seen{of.core()};
    for (std::size_t i = 0; i < found.size(); ++i) {
        graph.push_back(detail::inspection::report(*found[i]));
        for (auto* waiter : detail::inspection::waiters(*found[i])) {
            if (seen.insert(waiter).second) found.push_back(waiter);
        }
    }
    detail::link(graph);
    return graph;
}

std::vector<std::uint64_t> find_circle(std::span<const task_report> all) {
    // What waits for nobody cannot be in a circle; without it, others wait for nobody. Whoever
    // remains waits for another one who remains: following that way must come round.
    std::unordered_map<std::uint64_t, const task_report*> left;
    std::unordered_map<std::uint64_t, std::size_t> open;
    std::vector<const task_report*> free;
    for (const task_report& each : all) {
        left.emplace(each.id, &each);
        open.emplace(each.id, each.awaits.size());
        if (each.awaits.empty()) free.push_back(&each);
    }
    while (!free.empty()) {
        const task_report* const next = free.back();
        free.pop_back();
        left.erase(next->id);
        for (const std::uint64_t waiter : next->awaited_by) {
            const auto found = left.find(waiter);
            if (found != left.end() && --open[waiter] == 0) free.push_back(found->second);
        }
    }
    std::vector<std::uint64_t> way;
    if (left.empty()) return way;
    for (const task_report* each = left.begin()->second;;) {
        const auto again = std::find(way.begin(), way.end(), each->id);
        if (again != way.end()) return {again, way.end()};
        way.push_back(each->id);
        const auto on = std::find_if(each->awaits.begin(), each->awaits.end(),
                                     [&](std::uint64_t id) { return left.contains(id); });
        if (on == each->awaits.end()) return {};  // the reports do not belong together
        each = left.at(*on);
    }
}

}  // namespace ouro
