// How a loop ends: nothing of ours is left in the kernel, every frame is destroyed, and what was
// forgotten is named.
#include <cstdio>
#include <string>

#include "inspection.hpp"
#include "loop_state.hpp"
#include "signal_watch.hpp"

namespace ouro::detail {
namespace {

// How long the kernel may take to give operations back before the loop gives them up, and how many
// turns tasks may spend on ending after they were cancelled.
constexpr auto drain_limit = std::chrono::seconds(5);
constexpr int farewell_turns = 1000;
// The kernel may not find an operation that it is just working on: it is asked again.
constexpr auto cancel_again_after = std::chrono::milliseconds(10);

}  // namespace

void loop_state::close() noexcept {
    if (kernel->foreign_process()) {  // a forked child has a copy of everything and owns none of it
        closed = true;
        return;
    }
    if (signals) signals->end();  // rule 695
    drop_scheduled();
    closing = true;
    drop_scheduled();  // what was owned by the first ones may have scheduled more as it died
    if (kernel->foreign_thread()) return close_elsewhere();
    cancel_tasks();
    say_farewell();
    refusing = true;
    const bool drained = drain();
    if (drained) {
        destroy_tasks();
    } else {
        // The kernel may still write to memory of ours: losing it is safe, freeing it is not.
        report({.message = words("operations did not end within 5 s; their memory is given up"),
                .error = {},
                .subject = "loop close"});
        give_tasks_up();
    }
    report_unseen_failures();
    let_go_of_executor();
    box->close();
    drop_scheduled();
    let_go_of_futures();
    closed = true;
    report_leaks();
    if (!drained) (void)kernel.release();
}

/// The thread that ran the loop is gone, and with it the way into its ring: what is in flight
/// cannot be called back.
void loop_state::close_elsewhere() noexcept {
    const bool idle = live_ops == 0;
    if (idle) {
        destroy_tasks();
    } else {
        report(
            {.message = words("the loop is closed by a thread that did not run it while operations "
                              "are in flight; their memory is given up"),
             .error = {},
             .subject = "loop close"});
        give_tasks_up();
    }
    report_unseen_failures();
    let_go_of_executor();
    box->close();
    let_go_of_futures();
    closed = true;
    report_leaks();
    if (!idle) (void)kernel.release();
}

/// Its jobs go on, and nobody waits for them (rule 60). A pool that others hold takes more.
void loop_state::let_go_of_executor() noexcept {
    if (executor && executor.use_count() == 1) executor->shutdown(std::chrono::nanoseconds(0));
    executor = nullptr;
}

/// Lets tasks and transports end in their own way, as long as they get on with it.
void loop_state::say_farewell() noexcept {
    const auto limit = kernel->now() + drain_limit;
    for (int i = 0; i < farewell_turns && kernel->now() < limit; ++i) {
        shut_resources();
        if (!live_tasks && !live_resources) return;
        const bool idle = !live_ops && ready.empty() && deferred.empty() && !turn_end_hooks.front();
        const timer_node* next = timers.first();  // of a task that takes its time to clean up
        if (idle && (!next || next->when > limit)) return;
        turn(limit);
    }
}

void loop_state::drop_scheduled() noexcept {
    std::vector<callback>().swap(letters);  // what they own may post while it dies
    // Timers of the library and of sleeping tasks end by cancellation.
    timers.take_out([this](timer_node& timer) {
        auto* const call = as_scheduled_call(timer);
        if (call) ready.push(*call);
        return call != nullptr;
    });
    ready_queue keep;
    while (ready_node* node = ready.pop()) {
        if (auto* call = as_scheduled_call(*node)) {
            call->cancel();
            --live_calls;
            call->release();
        } else if (auto* asked = as_remote_call(*node)) {
            asked->drop(*asked);
        } else {
            keep.push(*node);
        }
    }
    ready = keep;
}

void loop_state::cancel_tasks() noexcept {
    for (task_core* each = tasks.front(); each; each = tasks.after(*each)) {
        each->cancel_with_loop();
    }
}

void loop_state::shut_resources() noexcept {
    loop_resource* next = nullptr;
    for (loop_resource* each = resources.front(); each; each = next) {
        next = resources.after(*each);
        each->shut(*each);
    }
}

bool loop_state::drain() noexcept {
    const auto limit = kernel->now() + drain_limit;
    while (live_ops > deferred.size()) {
        if (kernel->now() > limit) return false;
        kernel->cancel_all();
        turn(kernel->now() + cancel_again_after);
    }
    for (int i = 0; i < farewell_turns && (!ready.empty() || !deferred.empty()); ++i) {
        turn(clock::time_point::min());
    }
    drop_deferred();
    return true;
}

/// Forgets completions that nobody is left to hear of.
void loop_state::drop_deferred() noexcept {
    while (op* each = deferred.pop()) {
        each->in_flight = false;
        --live_ops;
    }
    ready = {};
}

void loop_state::destroy_tasks() noexcept {
    // The youngest first: children refer to what their parents own.
    while (task_core* left = tasks.back()) {
        {
            const context::use values(left->context_);  // the handler runs in that of its subject
            report({.level = severity::warning,
                    .message =
                        words("the loop closed while a task was still waiting; it was destroyed"),
                    .error = inspection::farewell(*left),
                    .subject = words([left] { return left->name(); }),
                    .created = left->created_});
        }
        left->destroy_frames();
        ready = {};  // it may have woken one that is destroyed next
    }
}

/// Their frames stay, since the kernel may write there; whoever waits elsewhere is told.
void loop_state::give_tasks_up() noexcept {
    while (task_core* left = tasks.back()) {
        left->give_up();
        ready = {};  // it may have woken one that is given up next
    }
    drop_scheduled();
    while (timers.pop_any()) continue;  // those of frames that stay
}

/// A handle may live longer than the loop, which could not be told of a failure then.
void loop_state::report_unseen_failures() noexcept {
    while (task_core* failed = unseen.pop_front()) {
        if (failed->failed_unseen()) failed->report_unseen();
    }
}

void loop_state::let_go_of_futures() noexcept {
    while (future_core* each = futures.pop_front()) each->loop_closed();
}

void loop_state::report_leaks() noexcept try {
    const std::string what = self.counters().describe();
    if (what.empty()) return;
    report({.level = severity::warning,
            .message = "the loop closed with " + what + " left",
            .error = {},
            .subject = "loop close"});
} catch (const std::bad_alloc&) {
    // No memory for the report.
}

}  // namespace ouro::detail
