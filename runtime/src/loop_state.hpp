// The inside of a loop: its queues, its turn, and the order in which it comes to an end.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include <ouro/runtime/future.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/thread_pool.hpp>

#include "engine.hpp"
#include "lease_bank.hpp"
#include "lookout.hpp"
#include "mailbox.hpp"
#include "op_list.hpp"
#include "ready_queue.hpp"
#include "timers.hpp"
#include "watch.hpp"

namespace ouro::detail {

class signal_watch;

/// A callback on its way: in the ready queue or in the timer queue, shared with its handles.
struct scheduled_call : ready_node, timer_node {
    loop_state* home;
    callback what;
    std::source_location created;
    unsigned references = 1;  // the queue it is in
    enum class origin : unsigned char { soon, timer, done } from = origin::soon;
    bool cancelled = false;
    bool ran = false;
    context values;  // task-local values it runs with

    scheduled_call(loop_state& home, callback what, std::source_location created);
    void release() noexcept;
    void cancel() noexcept;
    void call() noexcept;
    static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept {
        frame_pool::deallocate(memory, bytes);
    }
    const char* name() const noexcept;
    static void run_ready(ready_node& node) noexcept { static_cast<scheduled_call&>(node).call(); }
    static void fire_timer(timer_node& node) noexcept { static_cast<scheduled_call&>(node).call(); }
};

/// A call that is queued once what it waits for, a task or a future, is done.
struct done_call : scheduled_call {
    done_call(loop_state& home, callback what, std::source_location created);
    virtual ~done_call() = default;
    /// Leaves what it waits for, which nothing of it may refer to afterwards.
    virtual void let_go() noexcept = 0;
    /// The time has come.
    void due() noexcept;
    /// The time will not come.
    void drop() noexcept;
    /// It was cancelled.
    void withdraw() noexcept;

    bool waiting = true;
};

/// The call behind a node, or null when the node is something else.
inline scheduled_call* as_scheduled_call(ready_node& node) noexcept {
    return node.run == &scheduled_call::run_ready ? static_cast<scheduled_call*>(&node) : nullptr;
}
inline scheduled_call* as_scheduled_call(timer_node& node) noexcept {
    return node.fire == &scheduled_call::fire_timer ? static_cast<scheduled_call*>(&node) : nullptr;
}

/// The loop that runs in this thread. A forked child starts without one: its parent's is not its
/// own.
extern constinit thread_local loop* running_loop;

struct loop_state;
/// Every loop of the process, in a chain, for debuggers (tools/ouro_gdb.py).
extern loop_state* first_loop;

struct loop_state {
    loop_state(loop& self, const loop_options& options);
    ~loop_state();

    // One turn and its parts, in order.
    /// `until`: how long to wait for the kernel when nothing is ready; `time_point::min()` is not
    /// at all.
    void turn(clock::time_point until) noexcept;
    void look_at_clock() noexcept { turn_began = kernel->coarse_now(); }
    void take_letters(ready_queue& into) noexcept;
    void run_turn_end_hooks() noexcept;
    clock::time_point wait_deadline(clock::time_point until) const noexcept;
    void poll(clock::time_point deadline) noexcept;
    void collect_expired() noexcept;
    void run_queued(ready_queue& queued) noexcept;
    void run_completions() noexcept;
    void run_ended(op_list& ended) noexcept;
    void run_expired() noexcept;

    void run_until_stopped();
    template <class Goes>
    void run_turns(clock::time_point until, Goes goes_on) noexcept;
    void deliver(const completion& done) noexcept;
    void complete_later(op& target, std::int32_t res) noexcept;
    /// Calls `item`, timing it in debug mode and telling the watchdog.
    template <class Item>
    void observe(Item&& item, const char* what, std::source_location created) noexcept;
    template <class Item>
    void timed(Item&& item, const char* what, std::source_location created) noexcept;
    void enter_watched(const char* what, const std::source_location& created) noexcept;
    void leave_watched() noexcept;
    void watch_task(const task_core& stepped) noexcept;
    [[gnu::noinline]] void step_begins(const task_core& stepped) noexcept;
    void run_observed(ready_node& node) noexcept;
    void require_open(const char* what) const;
    void require_own_thread(const char* what) const;
    /// Both, in two comparisons as long as nothing is wrong.
    void require_usable(const char* what) const {
        if (!closing && !closed && !debug) [[likely]]
            return;
        require_open(what);
        require_own_thread(what);
    }
    void report(failure_report what) noexcept { self.call_exception_handler(what); }

    // The end.
    /// Cancels every task and runs until all have ended or `limit` is over.
    void see_off(clock::time_point limit) noexcept;
    void close() noexcept;
    void drop_scheduled() noexcept;
    void shut_resources() noexcept;
    void cancel_tasks() noexcept;
    void say_farewell() noexcept;
    void close_elsewhere() noexcept;
    void let_go_of_executor() noexcept;
    bool drain() noexcept;
    void drop_deferred() noexcept;
    void destroy_tasks() noexcept;
    void give_tasks_up() noexcept;
    void report_unseen_failures() noexcept;
    void let_go_of_futures() noexcept;
    void report_leaks() noexcept;

    thread_pool& default_executor();

    loop& self;
    loop_state* next_loop = nullptr;  // of the process: where a debugger goes on
    std::unique_ptr<engine> kernel;
    lease_bank_ptr leases;
    detail::rig* const rig;  // null outside of tests
    std::shared_ptr<mailbox> box;
    detail::lookout lookout;
    std::shared_ptr<thread_pool> executor;  // null until somebody needs it
    ready_queue ready;
    std::vector<completion> batch;  // completions of this turn
    op_list deferred;               // operations that ended here, for the next turn
    std::vector<callback> letters;  // posts being taken out of the mailbox
    timer_queue timers;
    std::vector<timer_node*> expired;  // due in this turn, in order; null once cancelled
    list<turn_end_hook> turn_end_hooks;
    list<task_core> tasks;   // not done
    list<task_core> unseen;  // failed, and nobody has looked at it yet
    list<future_core> futures;
    list<loop_resource> resources;
    signal_watch* signals = nullptr;  // while somebody wants to be told of any
    watch_table* watches = nullptr;   // while somebody watches a descriptor
    std::vector<bool> claimed;        // by descriptor: it is a transport's
    // Null while there is none; shared with their calls, which may replace them.
    std::shared_ptr<function<void(loop&, const failure_report&)>> handler;
    std::shared_ptr<function<void(const connection_record&)>> connection_log;
    task_core* current_task = nullptr;
    clock::time_point turn_began;  // for ages: to a few milliseconds, or turns
    std::string last_stepped;      // debug mode: the name of the task that ran last
    std::thread::id thread;        // the thread that runs it, or ran it last
    std::size_t live_ops = 0;
    std::size_t live_tasks = 0;
    std::size_t live_calls = 0;
    std::size_t live_descriptors = 0;
    std::size_t live_resources = 0;
    std::uint64_t turns = 0;
    std::uint64_t delivered = 0;
    std::uint64_t late = 0;
    loop_watch* watch = nullptr;  // of its watchdog
    bool debug = false;
    bool observed = false;  // debug mode, or a watchdog
    bool running = false;
    bool stopping = false;
    bool closing = false;
    bool refusing = false;  // new operations end cancelled at once
    bool closed = false;
    bool executor_shut = false;  // by `shutdown_default_executor`
};

/// While it lives, this thread is none that runs a loop: for what is played as another thread.
class off_loop {
  public:
    off_loop() noexcept;
    ~off_loop();

  private:
    loop* const kept_;
};

/// The position of a timer that is due in this turn; its `sequence` is then the index in `expired`.
inline constexpr std::size_t expired_mark = timer_node::npos - 2;

}  // namespace ouro::detail
