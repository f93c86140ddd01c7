// The proactor loop: one turn, runs, and what can be scheduled.
#include <ouro/runtime/loop.hpp>

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "loop_state.hpp"
#include "signal_watch.hpp"

namespace ouro {

constinit thread_local loop* detail::running_loop = nullptr;

namespace {

using detail::running_loop;

void forget_loop_in_children() {
    static const int registered = pthread_atfork(nullptr, nullptr, [] { running_loop = nullptr; });
    (void)registered;
}

[[noreturn]] void refuse(errc why, const std::string& what) {
    throw std::system_error(make_error_code(why), what);
}

}  // namespace

namespace detail {

constinit loop_state* first_loop = nullptr;
// Turns in which nothing comes from outside share a look at the clock.
static constexpr std::uint64_t quiet_turns_between_looks = 64;
// Taken when a loop is made or destroyed, and never else.
static constinit std::mutex loops_guard;

// ---- scheduled calls

context values_for(loop& home) {
    context here = context::current();
    return here.empty() || &home == running_loop ? here : here.for_other_thread();
}

scheduled_call::scheduled_call(loop_state& owner, callback callable, std::source_location where)
    : home(&owner), what(std::move(callable)), created(where), values(values_for(owner.self)) {
    ready_node::run = &run_ready;
    timer_node::fire = &fire_timer;
    ++home->live_calls;
}

void scheduled_call::release() noexcept {
    if (--references > 0) return;
    from == origin::done ? delete static_cast<done_call*>(this) : delete this;
}

void scheduled_call::cancel() noexcept {
    if (cancelled || ran) return;
    cancelled = true;
    what.reset();
    // The ready queue skips it when its turn comes.
    if (from == origin::done) return static_cast<done_call*>(this)->withdraw();
    if (from == origin::timer && remove_timer(home->self, *this)) {
        --home->live_calls;
        release();
    }
}

const char* scheduled_call::name() const noexcept {
    switch (from) {
    case origin::timer:
        return "timer";
    case origin::done:
        return "on_done";
    default:
        return "call_soon";
    }
}

void scheduled_call::call() noexcept {
    --home->live_calls;
    if (!cancelled) {
        ran = true;
        const context::use in(values);
        try {
            what();
        } catch (...) {
            home->report({.message = words("a callback threw"),
                          .error = error::from_exception(std::current_exception()),
                          .subject = name(),
                          .created = created});
        }
        what.reset();
    }
    release();
}

// ---- one turn

loop_state::loop_state(loop& owner, const loop_options& options)
    : self(owner),
      kernel(make_engine(owner, options)),
      leases(new lease_bank{.kernel = kernel.get()}),
      rig(options.rig),
      box(std::make_shared<mailbox>(owner, *kernel)),
      lookout(kernel->can_look_out() ? options.lookout : clock::duration::zero()),
      debug(options.debug || (std::getenv("OURO_DEBUG") && std::getenv("OURO_DEBUG")[0] == '1')) {
    observed = debug;
    look_at_clock();
    batch.reserve(options.cq_entries < 1024 ? options.cq_entries : 1024);
    const std::lock_guard lock(loops_guard);
    next_loop = std::exchange(first_loop, this);
}

loop_state::~loop_state() {
    while (timers.pop_any()) continue;  // of coroutines that are no tasks: they sleep for ever
    const std::lock_guard lock(loops_guard);
    loop_state** link = &first_loop;
    while (*link != this) link = &(*link)->next_loop;
    *link = next_loop;
}

void loop_state::turn(clock::time_point until) noexcept {
    ++turns;
    run_turn_end_hooks();
    const clock::time_point deadline = wait_deadline(until);
    ready_queue queued = std::exchange(ready, {});
    op_list ended = std::exchange(deferred, {});
    poll(deadline);
    if (!batch.empty() || !ended.empty() || turns % quiet_turns_between_looks == 0) look_at_clock();
    if (!letters.empty() || box->pending()) take_letters(queued);
    if (timers.size() != 0) collect_expired();
    if (rig) [[unlikely]]
        rig->turn_begins(self, queued);
    run_queued(queued);
    if (!ended.empty()) run_ended(ended);
    if (!batch.empty()) run_completions();
    if (!expired.empty()) run_expired();
}

/// Queues what other threads have posted.
void loop_state::take_letters(ready_queue& into) noexcept {
    look_at_clock();
    if (letters.empty()) lookout.mail_came(box->take(letters, into));
    std::size_t taken = 0;
    context none;  // not that of the task that happens to look: each has the values of who posted
    const context::use in(none);
    try {
        for (; taken < letters.size(); ++taken) {
            into.push(*new scheduled_call(*this, std::move(letters[taken]), {}));
        }
        letters.clear();
    } catch (const std::bad_alloc&) {
        // The rest keeps its order and waits for the next turn.
        letters.erase(letters.begin(), letters.begin() + static_cast<std::ptrdiff_t>(taken));
    }
}

void loop_state::run_turn_end_hooks() noexcept {
    while (turn_end_hook* hook = turn_end_hooks.pop_front()) hook->run(*hook);
}

clock::time_point loop_state::wait_deadline(clock::time_point until) const noexcept {
    if (!ready.empty() || !deferred.empty() || !letters.empty()) return clock::time_point::min();
    const timer_node* next = timers.first();
    return next && next->when < until ? next->when : until;
}

void loop_state::collect_expired() noexcept {
    const clock::time_point now = turn_began = kernel->now();
    // Without memory for all that are due, the rest is due in the next turn.
    while (has_room(expired)) {
        timer_node* const timer = timers.pop_expired(now);
        if (!timer) return;
        timer->position = expired_mark;
        timer->sequence = expired.size();
        expired.push_back(timer);
    }
}

template <class Item>
void loop_state::observe(Item&& item, const char* what, std::source_location created) noexcept {
    if (watch) enter_watched(what, created);
    if (debug) {
        timed(std::forward<Item>(item), what, created);
    } else {
        item();
    }
    if (watch) leave_watched();
}

void loop_state::step_begins(const task_core& stepped) noexcept {
    if (debug) last_stepped = words([&] { return stepped.name(); });
    if (watch) watch_task(stepped);
}

/// Debug mode: runs `item` and tells when it held the loop up (rule 77).
template <class Item>
void loop_state::timed(Item&& item, const char* what, std::source_location created) noexcept {
    last_stepped.clear();
    const auto began = clock::now();
    item();
    const auto took = clock::now() - began;
    if (took < self.slow_callback_duration) return;
    const std::string name =
        words([&] { return last_stepped.empty() ? std::string(what) : "task " + last_stepped; });
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
    report({.level = severity::warning,
            .message = words(
                [&] { return name + " took " + std::to_string(ms) + " ms and held up the loop"; }),
            .error = {},
            .subject = words([&] { return name; }),
            .created = created});
}

void loop_state::run_observed(ready_node& node) noexcept {
    scheduled_call* const call = as_scheduled_call(node);
    const std::source_location created = call ? call->created : std::source_location{};
    observe([&] { node.run(node); }, "a queued callback", created);
}

void loop_state::run_queued(ready_queue& queued) noexcept {
    if (observed) [[unlikely]] {
        while (ready_node* node = queued.pop()) run_observed(*node);
    } else {
        while (ready_node* node = queued.pop()) node->run(*node);
    }
}

void loop_state::run_completions() noexcept {
    // Nothing is added to the batch while it is delivered: what completes here goes to `deferred`.
    if (observed) {
        for (const completion& done : batch) {
            observe([&] { deliver(done); }, "a completion", {});
        }
    } else {
        for (const completion& done : batch) deliver(done);
    }
    batch.clear();
}

void loop_state::run_ended(op_list& ended) noexcept {
    while (op* const each = ended.pop()) {
        const completion done{each, nullptr, each->res, 0, 0, each->generation};
        observed ? observe([&] { deliver(done); }, "a completion", {}) : deliver(done);
    }
}

void loop_state::deliver(const completion& done) noexcept {
    op& target = *done.target;
    if (done.generation != target.generation || !target.in_flight) [[unlikely]] {
        ++late;
    } else {
        target.res = done.res;
        target.flags = done.flags;
        target.data = done.data;
        ++delivered;
        if (!(done.flags & op_flags::more)) {
            target.in_flight = false;
            --live_ops;
        }
        target.complete(target);
    }
    if (done.flags & op_flags::lent) kernel->release(done);
}

void loop_state::run_expired() noexcept {
    for (std::size_t i = 0; i < expired.size(); ++i) {
        timer_node* timer = expired[i];
        if (!timer) continue;  // cancelled by something that ran earlier in this turn
        timer->position = timer_node::npos;
        if (!observed) {
            timer->fire(*timer);
            continue;
        }
        scheduled_call* const call = as_scheduled_call(*timer);
        observe([&] { timer->fire(*timer); }, "a timer",
                call ? call->created : std::source_location{});
    }
    expired.clear();
}

/// Runs turns for as long as `goes_on`, each of which waits until `until` at most.
template <class Goes>
void loop_state::run_turns(clock::time_point until, Goes goes_on) noexcept {
    forget_loop_in_children();
    running_loop = &self;
    running = true;
    thread = std::this_thread::get_id();
    look_at_clock();
    if (watch) watch->thread.store(::gettid(), std::memory_order_relaxed);
    do {
        turn(stopping ? clock::time_point::min() : until);
    } while (goes_on());
    stopping = false;
    running = false;
    running_loop = nullptr;
    // What the last turn wrote must leave even if nobody runs this loop again.
    run_turn_end_hooks();
    kernel->submit();
}

void loop_state::run_until_stopped() {
    run_turns(clock::time_point::max(), [this] { return !stopping; });
}

void loop_state::see_off(clock::time_point limit) noexcept {
    if (closed || kernel->foreign_process() || kernel->foreign_thread()) return;
    cancel_tasks();
    if (!live_tasks) return;
    run_turns(limit, [this, limit] { return live_tasks && !stopping && kernel->now() < limit; });
}

void loop_state::complete_later(op& target, std::int32_t res) noexcept {
    target.engine_state = completion_queued;
    target.res = res;
    deferred.push(target);
}

void loop_state::require_open(const char* what) const {
    if (closed || closing) refuse(errc::loop_closed, std::string(what) + " on a closed loop");
}

void loop_state::require_own_thread(const char* what) const {
    if (debug && running && thread != std::this_thread::get_id()) {
        refuse(errc::wrong_thread, std::string(what) +
                                       " from a thread that does not run the loop; use "
                                       "get_handle().post(...)");
    }
}

off_loop::off_loop() noexcept : kept_(std::exchange(running_loop, nullptr)) {}
off_loop::~off_loop() { running_loop = kept_; }

// ---- hooks for the other layers

void make_ready(loop& home, ready_node& node) noexcept { home.state().ready.push(node); }

void at_turn_end(loop& home, turn_end_hook& hook) noexcept {
    if (!hook.linked()) home.state().turn_end_hooks.push_back(hook);
}

void add_timer(loop& home, timer_node& timer) { home.state().timers.add(timer); }

bool remove_timer(loop& home, timer_node& timer) noexcept {
    loop_state& state = home.state();
    if (timer.position == expired_mark) {
        state.expired[timer.sequence] = nullptr;
        timer.position = timer_node::npos;
        return true;
    }
    return state.timers.remove(timer);
}

void add_resource(loop& home, loop_resource& resource) noexcept {
    add_resource(home, resource, home.state().resources);
}

void add_resource(loop& home, loop_resource& resource, list<loop_resource>& owner) noexcept {
    owner.push_back(resource);
    ++home.state().live_resources;
}

void remove_resource(loop& home, loop_resource& resource) noexcept {
    if (!resource.linked()) return;
    resource.unlink();
    --home.state().live_resources;
}

watch_table*& watches_of(loop& home) noexcept { return home.state().watches; }

}  // namespace detail

// ---- handles

handle::handle(detail::scheduled_call* call) noexcept : call_(call) {
    if (call_) ++call_->references;
}
handle::handle(const handle& other) noexcept : handle(other.call_) {}
handle::handle(handle&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
handle& handle::operator=(const handle& other) noexcept {
    handle copy(other);
    std::swap(call_, copy.call_);
    return *this;
}
handle& handle::operator=(handle&& other) noexcept {
    std::swap(call_, other.call_);
    return *this;
}
handle::~handle() {
    if (call_) call_->release();
}
void handle::cancel() noexcept {
    if (call_) call_->cancel();
}
bool handle::cancelled() const noexcept { return call_ && call_->cancelled; }
clock::time_point timer_handle::when() const noexcept {
    return call_ ? call_->when : clock::time_point{};
}

// ---- the loop

loop::loop(loop_options options) : state_(std::make_unique<detail::loop_state>(*this, options)) {}

loop::~loop() {
    // A forked child holds a copy of its parent's loop: nothing in it is ours to end. And when
    // exit() is called from inside a run, the process goes down with everything as it is.
    const bool exiting = is_running() && state_->thread == std::this_thread::get_id();
    if (state_->kernel->foreign_process() || exiting) {
        while (auto* each = state_->futures.pop_front()) each->forget_loop();
        (void)state_.release();
        return;
    }
    OURO_ASSERT(!is_running(), "a running loop was destroyed by another thread");
    close();
    detail::frame_pool::trim();
}

loop& loop::current() noexcept {
    OURO_ASSERT(running_loop, "no loop runs in this thread");
    return *running_loop;
}
loop* loop::try_current() noexcept { return running_loop; }

handle loop::call_soon(callback what, std::source_location created) {
    state_->require_usable("call_soon");
    if (!what) refuse(errc::value_error, "call_soon of an empty callback");
    auto* call = new detail::scheduled_call(*state_, std::move(what), created);
    state_->ready.push(*call);
    return handle(call);
}

timer_handle loop::call_at(clock::time_point when, callback what, std::source_location created) {
    state_->require_usable("call_at");
    if (!what) refuse(errc::value_error, "call_at of an empty callback");
    auto* call = new detail::scheduled_call(*state_, std::move(what), created);
    call->from = detail::scheduled_call::origin::timer;
    call->when = when;
    try {
        state_->timers.add(*call);
    } catch (...) {
        --state_->live_calls;
        delete call;
        throw;
    }
    return timer_handle(call);
}

void loop::run_forever() {
    if (auto allowed = may_run(); !allowed) {
        throw std::system_error(allowed.error().code(), allowed.error().doing());
    }
    state_->run_until_stopped();
}

result<> loop::may_run() const {
    const detail::loop_state& state = *state_;
    if (state.closed || state.closing) return error(errc::loop_closed, "run");
    if (running_loop || state.running) {
        return error(errc::loop_running, "run a loop while one runs in this thread");
    }
    if (state.kernel->foreign_process()) {
        return error(errc::invalid_state,
                     "run the loop of the parent in a forked child; make a new one");
    }
    if (state.kernel->foreign_thread()) {
        return error(errc::wrong_thread, "run a loop that belongs to the thread that ran it first");
    }
    if (state.signals && !state.signals->belongs_here()) {
        return error(errc::wrong_thread, "run a loop that has the signals of another thread");
    }
    return state.kernel->adopt_thread();
}

result<> loop::run_core(detail::task_core& main) {
    if (&main.home() != this) return error(errc::value_error, "run a task of another loop");
    if (auto allowed = may_run(); !allowed) return allowed;
    struct stop_when_done final : detail::done_hook {
        explicit stop_when_done(loop& home) noexcept : home_(home) {}
        void task_done() noexcept override { home_.stop(); }
        loop& home_;
    } watch(*this);
    if (!main.done()) main.on_done(watch);
    if (!main.done()) state_->run_until_stopped();
    if (!main.done()) return error(errc::stopped_early, "run " + main.name());
    return {};
}

clock::time_point loop::time() const noexcept { return state_->kernel->now(); }
void loop::stop() noexcept { state_->stopping = true; }
bool loop::is_running() const noexcept { return state_->running; }
bool loop::is_closed() const noexcept { return state_->closed; }
loop_handle loop::get_handle() const noexcept { return loop_handle(state_->box); }

void loop::close() {
    if (state_->closed) return;
    if (state_->running) refuse(errc::loop_running, "close of a running loop");
    loop* const outer = std::exchange(running_loop, this);
    state_->close();
    running_loop = outer;
}

void loop::set_debug(bool enabled) noexcept {
    state_->debug = enabled;
    state_->observed = enabled || state_->watch;
}
void loop::set_default_executor(std::shared_ptr<thread_pool> pool) noexcept {
    state_->let_go_of_executor();
    state_->executor = std::move(pool);
}

bool loop::get_debug() const noexcept { return state_->debug; }

loop_counters loop::counters() const noexcept {
    const auto& s = *state_;
    return {.ops = s.live_ops,
            .tasks = s.live_tasks,
            .timers = s.timers.size(),
            .calls = s.live_calls,
            .descriptors = s.live_descriptors,
            .resources = s.live_resources,
            .lent_buffers = s.kernel->lent_buffers(),
            .leases = s.leases->out};
}

loop_statistics loop::statistics() const noexcept {
    loop_statistics all{
        .turns = state_->turns, .completions = state_->delivered, .late_completions = state_->late};
    all.lookouts = state_->lookout.looks();
    all.lookouts_met = state_->lookout.met();
    all.leases = state_->leases->made;
    all.lease_copies = state_->leases->copied;
    state_->kernel->add_statistics(all);
    return all;
}

std::string loop::engine_report() const { return state_->kernel->report(); }

std::string loop_counters::describe() const {
    std::string text;
    const auto name = [&](std::size_t count, const char* noun) {
        if (count) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + noun;
    };
    name(ops, "operations in flight");
    name(tasks, "tasks");
    name(timers, "timers");
    name(calls, "queued calls");
    name(descriptors, "open descriptors");
    name(resources, "transports or servers");
    name(lent_buffers, "lent receive buffers");
    name(leases, "leases");
    return text;
}

// ---- reports

std::string failure_report::describe() const {
    return message + (subject.empty() ? "" : " [" + subject + "]") +
           (error ? ": " + error.describe() : "");
}

void loop::set_exception_handler(function<void(loop&, const failure_report&)> handler) {
    using held = decltype(handler);
    state_->handler = handler ? std::make_shared<held>(std::move(handler)) : nullptr;
}

void loop::call_exception_handler(const failure_report& report) noexcept {
    const auto handler = state_->handler;
    if (!handler) return default_exception_handler(report);
    try {
        (*handler)(*this, report);
    } catch (...) {
        default_exception_handler({.message = detail::words("the exception handler threw"),
                                   .error = error::from_exception(std::current_exception()),
                                   .subject = detail::words("exception handler")});
        default_exception_handler(report);
    }
}

void loop::default_exception_handler(const failure_report& report) noexcept try {
    std::string text = report.level == severity::warning ? "ouro: warning: " : "ouro: ";
    text += report.describe();
    if (report.created.line() != 0) {
        text += "\n    created at " + std::string(report.created.file_name()) + ":" +
                std::to_string(report.created.line());
    }
    text += "\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
} catch (...) {
    std::fputs("ouro: a failure could not be reported: out of memory\n", stderr);
}

}  // namespace ouro
