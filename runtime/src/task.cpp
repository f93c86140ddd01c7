// Spawned tasks: the trampoline, the way up of an error, cancellation and joining.
#include <atomic>
#include <utility>

#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/task_group.hpp>

#include "loop_state.hpp"

namespace ouro {
namespace detail {
namespace {

std::uint64_t next_task_number() noexcept {  // in the process, so that names are unique (rule 122)
    static std::atomic<std::uint64_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

namespace {
constexpr wait_kind join_kind{"join", &join_wait::cancel_target, nullptr, &join_wait::describe};
constexpr wait_kind shield_kind{"join, shielded", &join_wait::leave, nullptr, &join_wait::describe,
                                &join_wait::told};
}  // namespace

// ---- frames

[[gnu::cold]] void promise_base::drop_failure() noexcept {
    state == outcome::failed ? failure.~error() : thrown.~exception_ptr();
}

void promise_base::fail(error why) noexcept {
    ::new (static_cast<void*>(&failure)) error(std::move(why));
    state = outcome::failed;
    owner->unwinding = &failure;
}

[[gnu::cold]] void promise_base::unhandled_exception() noexcept {
    ::new (static_cast<void*>(&thrown)) std::exception_ptr(std::current_exception());
    state = outcome::threw;
}

[[gnu::cold]] void promise_base::rethrow() { std::rethrow_exception(thrown); }

void promise_base::finished_failed(promise_base& frame) noexcept {
    frame.owner->unwinding = nullptr;
    if (!frame.catcher) return fail_frame(frame, std::move(frame.failure));
    *frame.catcher = std::move(frame.failure);
    frame.owner->running = frame.parent;
}

// ---- life of a task

task_core::task_core(loop& home, promise_base& root, std::source_location created) noexcept
    : home_(&home),
      root_(&root),
      id_(next_task_number()),
      created_(created),
      created_at_(home.state().turn_began),
      since_(created_at_) {
    root.owner = this;
    resume_.owner = this;
    resume_.run = &run_ready;
    loop_state& state = home.state();
    state.tasks.push_back(*this);
    ++state.live_tasks;
}

void start(task_core& made, spawn_options& options, nursery* into) {
    if (!options.name.empty()) made.set_name(std::move(options.name));
    if (options.values) made.set_context(*std::move(options.values));
    if (into) into->adopt(made);
    if (options.eager && &made.home() == loop::try_current()) {
        made.start_now();
    } else {
        made.start_later();
    }
}

task_core::~task_core() {
    if (root_) root_->self.destroy();
    if (failed_unseen()) report_unseen();
}

bool task_core::failed_unseen() const noexcept {
    return !seen_ && done() && state_ != outcome::value && !cancelled();
}

void task_core::report_unseen() noexcept {
    seen_ = true;
    const context::use values(context_);
    const bool threw = state_ == outcome::threw;
    failure_report told{.message = words("the failure of a task was never looked at"),
                        .error = threw ? error::from_exception(thrown_) : std::move(why_),
                        .subject = words([this] { return name(); }),
                        .created = created_};
    home_->call_exception_handler(told);
    if (!threw) why_ = std::move(told.error);  // for handles that outlive the loop
}

void task_core::release() noexcept {
    if (--references_ == 0) destroy_self();
}

std::string task_core::name() const {
    return name_.empty() ? "task-" + std::to_string(id_) : name_;
}

bool task_core::cancelled() const noexcept {
    return state_ == outcome::failed && why_.code() == make_error_code(errc::cancelled);
}

const error& task_core::failure_seen() noexcept {
    seen_ = true;
    return why_;
}

std::exception_ptr task_core::thrown_seen() noexcept {
    seen_ = true;
    return thrown_;
}

task_core* task_core::of(const wait_point& wait) noexcept {
    return wait.frame() ? static_cast<task_core*>(wait.frame()->owner) : nullptr;
}

task_core* task_core::current() noexcept {
    return running_loop ? running_loop->state().current_task : nullptr;
}

void require_open_loop(loop& home, const char* what) { home.state().require_usable(what); }

// ---- running

void task_core::start_now() noexcept {
    started_ = true;
    running = root_;
    step(std::exchange(home_->state().current_task, nullptr));
}

/// Queues the next step: the first one, or the one after `waking` has ended.
void task_core::schedule(wait_point* waking) noexcept {
    waking_ = waking;
    home_->state().ready.push(resume_);
}

void task_core::run_ready(ready_node& node) noexcept {
    task_core& self = *static_cast<resume_node&>(node).owner;
    wait_point* const waking = std::exchange(self.waking_, nullptr);
    if (waking && !self.must_cancel && !waking->failed()) [[likely]] {
        self.running = waking->frame_;
        self.step();
    } else if (!waking) {
        self.first_step();
    } else {
        self.step_otherwise(*waking);
    }
}

void task_core::first_step() noexcept {
    started_ = true;
    if (must_cancel) {  // cancelled before its first statement (rule 105)
        fail_frame(*root_, cancellation());
    } else {
        running = root_;
    }
    step();
}

/// The step after a wait that failed, or that a cancellation came after.
void task_core::step_otherwise(wait_point& waking) noexcept {
    // A cancel between the wake-up and this step takes the place of the result (rule 104).
    if (must_cancel) {
        error cancelled = cancellation();
        if (!waking.failed_ || waking.failure_ != errc::cancelled) {
            if (!waking.failed_ && waking.kind_->revoke) waking.kind_->revoke(waking);
            return waking.fail(std::move(cancelled));
        }
    }
    if (waking.failed_) {
        explain(waking.failure_);
        if (waking.kind_->told) waking.kind_->told(waking);
    }
    if (waking.failed_ && !waking.catches_) {
        failing = waking.frame_;
        failure = waking.take_failure();
    } else {
        running = waking.frame_;
    }
    step();
}

/// Resumes frames until none is left that can go on. The only place that resumes one. `outer` is
/// the task inside whose step this one is, if it is an eager one; it is current again before this
/// one's end, which destroys what was given to its frame.
void task_core::step(task_core* outer) noexcept {
    loop_state& state = home_->state();
    OURO_ASSERT(!state.current_task, "a task was stepped from inside another one's step");
    state.current_task = this;
    if (state.observed) [[unlikely]]
        state.step_begins(*this);
    {
        const context::use values(context_);
        for (;;) {
            // A frame that stays where it is waits, has failed, or was the root and ended.
            if (promise_base* frame = running) {
                promise_base* last;
                do {
                    last = frame;
                    frame->self.resume();
                    frame = running;
                } while (frame != last);
            }
            if (!failing) break;
            take_down();
        }
    }
    running = nullptr;
    state.current_task = outer;
    since_ = state.turn_began;
    if (finished) {
        if (!done()) finish();
    } else if (state.rig) [[unlikely]] {
        state.rig->suspended(*this);
    }
}

/// Carries a failure up the chain of waiting frames to the nearest one that asked for the result.
/// The frames passed over are suspended; they are destroyed here, innermost first and without
/// recursion.
void task_core::take_down() noexcept {
    promise_base* frame = std::exchange(failing, nullptr);
    error why = std::exchange(failure, {});
    unwinding = &why;
    error* catcher = nullptr;
    do {
        // A frame that returned an error is not waiting anywhere: its last await had succeeded.
        const bool waits = frame->state == outcome::pending && frame->where.line() != 0;
        if (waits) why.passed(frame->where);
        promise_base* const up = frame->parent;
        catcher = frame->catcher;
        if (up) *frame->slot = nullptr;
        running = up;  // what the locals of this one may ask about
        frame->self.destroy();
        frame = up;
    } while (frame && !catcher);
    unwinding = nullptr;
    if (catcher) {
        *catcher = std::move(why);
        running = frame;
    } else {
        root_ = nullptr;
        why_ = std::move(why);
        finished = true;
    }
}

void task_core::finish() noexcept {
    if (root_) {
        collect_outcome(*root_);
        root_->self.destroy();
        root_ = nullptr;
    } else {  // it was taken down
        state_ = outcome::failed;
    }
    list_link::unlink();
    --home_->state().live_tasks;
    if (group_) group_->ended(*this);
    while (done_hook* hook = hooks_.pop_front()) hook->task_done();
    // If nobody looks at a failure until the loop closes, the loop tells of it: a handle may live
    // longer than the loop.
    if (failed_unseen() && references_ > 1) home_->state().unseen.push_back(*this);
    release();
}

/// How the root frame ended, when it came to its end itself.
void task_core::collect_outcome(promise_base& root) noexcept {
    if (root.state == outcome::threw) {
        thrown_ = root.thrown;
        state_ = outcome::threw;
    } else if (must_cancel && !came_late_) {
        // It cancelled itself and never waited again (rule 107).
        why_ = cancellation();
        state_ = outcome::failed;
    } else {
        try {
            collect(root);
            state_ = outcome::value;
        } catch (...) {
            thrown_ = std::current_exception();
            state_ = outcome::threw;
        }
    }
}

/// For a loop that closes: the frames go from the innermost outwards, then the task counts as
/// cancelled.
void task_core::destroy_frames() noexcept {
    promise_base* frame = root_;
    if (leaf) frame = leaf->frame_;
    if (waking_) frame = waking_->frame_;
    leaf = waking_ = nullptr;
    {
        const context::use values(context_);
        while (frame) {
            promise_base* const up = frame->parent;
            if (up) *frame->slot = nullptr;
            frame->self.destroy();
            frame = up;
        }
    }
    root_ = nullptr;
    why_ = error::cancelled(cancel_cause::shutdown, words([this] { return "run " + name(); }));
    finish();
}

/// For a loop that could not get its operations back: the task counts as cancelled, its frames are
/// never touched again.
void task_core::give_up() noexcept {
    retain();  // for ever: waits in frames that stay name this task
    leaf = waking_ = nullptr;
    root_ = nullptr;
    why_ = error::cancelled(cancel_cause::shutdown, words([this] { return "run " + name(); }));
    finish();
}

// ---- cancellation

bool task_core::cancel(cancel_cause cause, words why) noexcept {
    if (done()) {
        seen_ = true;  // whoever cancels a finished task has done with it (rule 92)
        return false;
    }
    // A task that waits for another one passes the request on to that one (rule 110).
    for (task_core* each = this; each && !each->done();) {
        ++each->cancel_requests_;
        each->cause_ = cause;
        each->reason_ = words([&] { return why.text(); });
        task_core* const joined = each->joined();
        // One that has just ended is about to wake this one: too late to pass anything on (rule
        // 104).
        if (!each->leaf || (joined && joined->done())) {
            each->must_cancel = true;
            each->came_late_ = false;
            break;
        }
        if (!joined) each->leaf->kind().cancel(*each->leaf, cause);
        each = joined;
    }
    return true;
}

void task_core::cancel_with_loop() noexcept {
    const task_core* const waited_for = joined();
    if (!waited_for || waited_for->home_ != home_) return void(cancel(cancel_cause::shutdown));
    ++cancel_requests_;
    cause_ = cancel_cause::shutdown;
}

/// The task this one waits for, or null when it waits for something else.
task_core* task_core::joined() const noexcept {
    const bool joins = leaf && &leaf->kind() == &join_kind;
    return joins ? static_cast<join_wait*>(leaf)->target_ : nullptr;
}

unsigned task_core::uncancel() noexcept {
    if (cancel_requests_ > 0 && --cancel_requests_ == 0) must_cancel = false;
    return cancel_requests_;
}

error task_core::cancellation() noexcept {
    must_cancel = false;
    ++deliveries_;
    error made = error::cancelled(cause_);
    explain(made);
    return made;
}

/// Gives the error of a cancelled wait the reason of the cancellation.
void task_core::explain(error& why) const noexcept {
    if (cancel_requests_ && !reason_.empty() && why == errc::cancelled) {
        why.because(words([this] { return reason_; }));
    }
}

// ---- waits

/// A cancellation is due at this very await: it comes instead of what would have been waited for.
void wait_point::deliver_due_cancel() noexcept {
    task_core& task = static_cast<task_core&>(*frame_->owner);
    will_fail(task.cancellation());
    task.schedule(this);
}

void wait_point::will_fail(error why) noexcept {
    if (std::exchange(failed_, static_cast<bool>(why))) failure_.~error();
    if (failed_) ::new (static_cast<void*>(&failure_)) error(std::move(why));
}

void wait_point::complete() noexcept {
    if (!frame_) return foreign_.resume();
    task_core& task = static_cast<task_core&>(*frame_->owner);
    task.leaf = nullptr;
    task.running = frame_;
    task.step();
}

void wait_point::fail(error why) noexcept {
    if (!frame_) {
        will_fail(std::move(why));
        return foreign_.resume();
    }
    task_core& task = static_cast<task_core&>(*frame_->owner);
    task.leaf = nullptr;
    task.explain(why);
    if (catches_) {
        will_fail(std::move(why));
        task.running = frame_;
    } else {
        task.failing = frame_;
        task.failure = std::move(why);
    }
    task.step();
}

void wait_point::wake() noexcept {
    if (!frame_) [[unlikely]]
        return wake_foreign();
    task_core& task = static_cast<task_core&>(*frame_->owner);
    task.leaf = nullptr;
    task.schedule(this);
}

[[gnu::noinline]] void wait_point::wake_foreign() noexcept {
    loop* const here = loop::try_current();
    const std::coroutine_handle<> waiting = foreign_;
    if (!here) return waiting.resume();  // between two runs
    try {
        here->state().require_usable("wake");
        turn_ = new scheduled_call(here->state(),
                                   [this, waiting] {
                                       queued_ = false;
                                       turn_->release();
                                       waiting.resume();
                                   },
                                   {});
    } catch (...) {  // the loop is closing, or there is no memory for a turn of its own
        return waiting.resume();
    }
    queued_ = true;
    ++turn_->references;
    here->state().ready.push(*turn_);
}

/// Nobody takes down a foreign coroutine but its owner, who may do so between wake-up and turn.
void wait_point::drop_rest() noexcept {
    if (failed_) failure_.~error();
    if (!queued_) return;
    turn_->cancel();
    turn_->release();
}

void wait_point::complete_or_wake() noexcept {
    if (!frame_) return wake();
    const task_core& task = static_cast<task_core&>(*frame_->owner);
    const loop_state& state = task.home_->state();
    const bool may_step = !state.current_task && !state.closing && running_loop == task.home_;
    may_step ? complete() : wake();
}

void wait_point::wake_failed(error why) noexcept {
    will_fail(std::move(why));
    wake();
}

void defer_cancel(const wait_point& wait, cancel_cause) noexcept {
    if (!wait.frame()) return;
    static_cast<task_core&>(*wait.frame()->owner).defer_cancel();
}

// ---- join

join_wait::join_wait(task_core& target, bool shielded) noexcept
    : wait_point(shielded ? shield_kind : join_kind), target_(&target) {
    target_->retain();
}

void join_wait::start() noexcept {
    if (&target_->home() != loop::try_current()) {
        return wake_failed(error(errc::wrong_loop, "await a task of another loop"));
    }
    if (target_->done()) return task_done();
    // In a circle of tasks that wait for each other none could ever end (rule 119 is the smallest).
    // Only a task that is waited for can close one.
    task_core* const own = task_core::current();
    const bool may_close = own && (own == target_ || own->awaited());
    for (task_core* each = may_close ? target_ : nullptr; each; each = each->joined()) {
        if (each == own) {
            return wake_failed(error(errc::invalid_state, "await a task that waits for this one"));
        }
    }
    target_->on_done(*this);
}

void join_wait::task_done() noexcept {
    if (target_->state() != outcome::failed) return wake();
    // A cancellation may yet take the place of a failure behind a shield, which it was not meant
    // for and must not hide (rule 187).
    ended_ = true;
    if (!frame() || !kind().told) told(*this);
    wake_failed(target_->failure_untold());
}

void join_wait::told(wait_point& wait) noexcept {
    auto& self = static_cast<join_wait&>(wait);
    if (self.ended_) self.target_->failure_was_seen();
}

task_core* join_wait::waiter() const noexcept { return task_core::of(*this); }

std::string join_wait::describe(const wait_point& wait) {
    return static_cast<const join_wait&>(wait).target_->name();
}

void join_wait::cancel_target(wait_point& wait, cancel_cause cause) noexcept {
    static_cast<join_wait&>(wait).target_->cancel(cause);
}

void join_wait::leave(wait_point& wait, cancel_cause cause) noexcept {
    auto& self = static_cast<join_wait&>(wait);
    self.done_hook::unlink();
    self.wake_failed(error::cancelled(cause, "join"));
}

}  // namespace detail

// ---- references

error task_ref::failure() const noexcept {
    OURO_ASSERT(done(), "the failure of a task that is still running was asked for");
    return core_->state() == detail::outcome::threw ? error::from_exception(core_->thrown_seen())
                                                    : core_->failure_seen();
}

namespace {

/// A callback that waits for a task. It keeps the task alive.
struct task_call final : detail::done_call, detail::done_hook {
    task_call(detail::loop_state& owner, callback callable, std::source_location where,
              detail::task_core& target)
        : done_call(owner, std::move(callable), where), of(target) {
        of.retain();
    }
    void task_done() noexcept override { due(); }
    void let_go() noexcept override {
        done_hook::unlink();
        of.release();
    }

    detail::task_core& of;
};

}  // namespace

handle task_ref::on_done(callback what, std::source_location created) const {
    // The loop of a task that is done may be gone.
    if (done() && &core_->home() != loop::try_current()) {
        throw std::system_error(make_error_code(errc::wrong_loop), "on_done");
    }
    detail::require_open_loop(core_->home(), "on_done");
    if (!what) throw std::system_error(make_error_code(errc::value_error), "an empty callback");
    detail::loop_state& state = core_->home().state();
    auto* const call = new task_call(state, std::move(what), created, *core_);
    handle registered(call);
    done() ? call->due() : core_->on_done(*call);
    return registered;
}

std::vector<task_ref> all_tasks(loop& home) {
    auto& tasks = home.state().tasks;
    std::vector<task_ref> all;
    for (auto* each = tasks.front(); each; each = tasks.after(*each)) all.emplace_back(each);
    return all;
}

}  // namespace ouro
