// The proactor loop: callbacks, timers, tasks and completions of one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/intrusive.hpp>
#include <ouro/runtime/loop_handle.hpp>
#include <ouro/runtime/result.hpp>
#include <ouro/runtime/timer_node.hpp>

namespace ouro {

/// The monotonic clock of all timers.
using clock = std::chrono::steady_clock;

class loop;
class thread_pool;
struct connection_record;
template <class T>
class task;
template <class T>
class task_handle;

namespace detail {
class engine;
class rig;
class task_core;
struct loop_state;
struct scheduled_call;

/// Something that waits in the ready queue.
struct ready_node {
    ready_node* next = nullptr;
    void (*run)(ready_node&) noexcept = nullptr;
    bool queued = false;
};
/// Something to do once at the end of the turn, before the loop looks at the kernel: staged writes
/// leave here.
struct turn_end_hook : list_link {
    void (*run)(turn_end_hook&) noexcept = nullptr;
};
/// Something that holds descriptors and must be shut when the loop closes.
struct loop_resource : list_link {
    void (*shut)(loop_resource&) noexcept = nullptr;
};
}  // namespace detail

/// Which engine stands behind the door.
enum class engine_kind : std::uint8_t { automatic, uring };

/// How a loop is made.
struct loop_options {
    /// What talks to the kernel.
    engine_kind engine = engine_kind::automatic;
    /// Operations that can be handed to the kernel in one call.
    unsigned sq_entries = 512;
    /// Completions the kernel can hold; more are kept in its overflow list.
    unsigned cq_entries = 8192;
    /// Size of one shared receive buffer (docs/decisions/0005).
    std::size_t ring_buffer_bytes = 256 * 1024;
    /// How many of them, a power of two.
    unsigned ring_buffer_count = 16;
    /// How much of that memory leases may withhold from the kernel before what comes is copied for
    /// them; 0: three quarters of it (`buffer_lease`).
    std::size_t lease_bytes = 0;
    /// How long a loop that another thread has just left something looks out for more, at most,
    /// before it sleeps in the kernel; 0: not at all. What comes meanwhile costs neither end a
    /// system call, but the processor is busy. As long as mostly something comes within a quarter
    /// of that time, the loop looks out each time; else in a few of 256 times. A loop that no other
    /// thread talks to never looks out, nor one whose partner runs on its own processor
    /// (docs/decisions/0021).
    std::chrono::microseconds lookout{20};
    /// Slow-callback reports and thread checks; also by OURO_DEBUG=1 in the environment.
    bool debug = false;
    /// Kernel features to do without (`uring_feature`), for tests of older kernels.
    unsigned disabled_features = 0;
    /// An engine of a test's own (`ouro::testing`).
    detail::rig* rig = nullptr;
};

/// Kernel features the uring engine can be told to do without.
enum uring_feature : unsigned {
    feature_defer_taskrun = 1,        ///< 6.1
    feature_single_issuer = 2,        ///< 6.0
    feature_no_iowait = 4,            ///< 6.15
    feature_incremental_buffers = 8,  ///< 6.12
    feature_register_ring_fd = 16,    ///< 5.18
    feature_fast_send = 32,           ///< the send that makes no completion unless it failed (5.17)
    feature_ring_messages = 64,       ///< wake-ups from ring to ring instead of an eventfd (6.12)
    feature_multishot_read = 128,     ///< one operation that reads a pipe again and again (6.7)
};

/// What the loop holds right now. All zero when it is idle and everything was closed.
struct loop_counters {
    std::size_t ops = 0;           ///< operations in flight
    std::size_t tasks = 0;         ///< unfinished tasks
    std::size_t timers = 0;        ///< pending timers
    std::size_t calls = 0;         ///< queued callbacks
    std::size_t descriptors = 0;   ///< open descriptors made or adopted through the door
    std::size_t resources = 0;     ///< live transports, servers and sockets
    std::size_t lent_buffers = 0;  ///< shared receive buffers being read by a protocol
    std::size_t leases = 0;        ///< slices of shared receive buffers that somebody keeps

    /// What is not zero, as in "2 tasks, 1 open descriptors"; empty when all is.
    std::string describe() const;
};

/// What happened over the life of a loop.
struct loop_statistics {
    std::uint64_t turns = 0;             ///< iterations
    std::uint64_t enters = 0;            ///< io_uring_enter calls
    std::uint64_t submitted = 0;         ///< operations handed to the kernel
    std::uint64_t completions = 0;       ///< completions delivered
    std::uint64_t cq_overflows = 0;      ///< times the completion queue was full
    std::uint64_t sq_full = 0;           ///< times the submission queue was full and flushed early
    std::uint64_t ring_exhausted = 0;    ///< times the shared receive ring had no buffer left
    std::uint64_t late_completions = 0;  ///< completions of an earlier use of an op, ignored
    std::uint64_t enter_retries = 0;     ///< io_uring_enter calls that gave EINTR, EAGAIN or EBUSY
    std::uint64_t wakes = 0;             ///< wake-ups by other threads
    std::uint64_t ring_wakes = 0;        ///< those of them that came as messages between rings
    std::uint64_t lookouts = 0;          ///< times it looked out for mail before it slept
    std::uint64_t lookouts_met = 0;      ///< those of them in which something came
    std::uint64_t leases = 0;            ///< slices of shared receive buffers that were kept
    std::uint64_t lease_copies = 0;      ///< what came while leases held all they may, copied
};

/// How bad a report is.
enum class severity : std::uint8_t { warning, failure };

/// An event with nobody to await it, given to the exception handler.
struct failure_report {
    /// Warnings tell of misuse or slowness, failures of lost errors.
    severity level = severity::failure;
    /// What happened, one line.
    std::string message;
    /// Why, when there is an error.
    ouro::error error{};
    /// The task, callback or transport it happened to.
    std::string subject{};
    /// Where that was created; line 0 when unknown.
    std::source_location created{};

    /// The message, the subject and the error with its trail.
    std::string describe() const;
};

/// A queued callback. Dropping the handle does not cancel it.
///
/// Threads  the loop's thread.
class handle {
  public:
    handle() noexcept = default;
    explicit handle(detail::scheduled_call* call) noexcept;
    handle(const handle& other) noexcept;
    handle& operator=(const handle& other) noexcept;
    handle(handle&& other) noexcept;
    handle& operator=(handle&& other) noexcept;
    ~handle();

    /// Prevents the callback from running and destroys it at once (rules 6, 7). Harmless after it
    /// ran.
    void cancel() noexcept;
    /// True after `cancel`, unless the callback had run before (rule 8).
    bool cancelled() const noexcept;

  protected:
    detail::scheduled_call* call_ = nullptr;
};

/// A pending timer. Dropping the handle does not cancel it.
class timer_handle : public handle {
  public:
    using handle::handle;
    /// The deadline, also after it fired or was cancelled (rule 43).
    clock::time_point when() const noexcept;
};

/// Runs the callbacks, timers, tasks and completions of one thread.
///
/// One turn: staged writes and new operations go to the kernel in one call, which also waits when
/// nothing is ready; then run, in this order, the callbacks that were queued before, the
/// completions that came, and the timers that are due. What they schedule runs in the next turn
/// (rules 1-5).
///
/// Errors    the constructor throws `std::system_error` when no engine can be had; its text names
///           the cause and the remedy. Scheduling on a closed loop throws `std::system_error` with
///           `errc::loop_closed`.
/// Lifetime  not movable. Everything made on a loop must be gone, or closed, before it is
///           destroyed; what is not is cancelled, waited for and reported.
/// Threads   one loop for each thread: the thread that runs it first is the one to use and to close
///           it. Other threads use `get_handle()`.
class loop {
  public:
    explicit loop(loop_options options = {});
    ~loop();
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    /// The loop that runs in this thread. Asserts that there is one.
    static loop& current() noexcept;
    /// The loop that runs in this thread, or null; always null in a forked child (rule 26).
    static loop* try_current() noexcept;

    /// Runs `what` in the next turn, after everything queued before (rules 1-3).
    handle call_soon(callback what, std::source_location created = std::source_location::current());
    /// Runs `what` once `delay` has passed. A negative delay means the next turn (rule 36).
    template <class Rep, class Period>
    timer_handle call_later(std::chrono::duration<Rep, Period> delay, callback what,
                            std::source_location created = std::source_location::current()) {
        return call_at(deadline_after(delay), std::move(what), created);
    }
    /// Runs `what` at `when` or soon after, never before (rule 32). Equal deadlines fire in order
    /// of the calls.
    timer_handle call_at(clock::time_point when, callback what,
                         std::source_location created = std::source_location::current());
    /// Now, on the clock of the timers. Never cached (rule 39). Virtual in a simulation.
    clock::time_point time() const noexcept;
    /// `delay` from now, without overflow: what is too far away never comes (rule 38).
    template <class Rep, class Period>
    clock::time_point deadline_after(std::chrono::duration<Rep, Period> delay) const noexcept;

    /// Runs until `main` is done and returns what it gave.
    ///
    /// Errors  `errc::stopped_early` when `stop` came first, and `main` goes on in the next run
    ///         (rule 14); `errc::loop_running` inside a running loop (rule 19). An exception of
    ///         `main` is rethrown.
    template <class T>
    result<T> run_until_complete(task<T> main);
    /// The same for a task that was started with `spawn`, which may be one of this loop only (rule
    /// 15).
    template <class T>
    result<T> run_until_complete(const task_handle<T>& main);
    /// Runs until `stop`. Throws `std::system_error` (`errc::loop_running`, `errc::loop_closed`).
    void run_forever();
    /// Ends the run after the current turn; what was queued stays for the next run (rules 11, 12).
    void stop() noexcept;
    /// Cancels every task, aborts every transport, waits until the kernel holds nothing of ours,
    /// frees what is left and reports it. Queued callbacks and timers are dropped unrun. Idempotent
    /// (rules 20-22).
    ///
    /// Errors  throws `std::system_error` (`errc::loop_running`) on a running loop.
    void close();
    /// True between the start and the end of a run.
    bool is_running() const noexcept;
    /// True after `close`.
    bool is_closed() const noexcept;

    /// What other threads may use: `post` and `stop`.
    loop_handle get_handle() const noexcept;

    /// The pool in which `to_thread` runs its jobs; several loops may share one. Null: a pool of
    /// the loop's own, made when it is needed. A loop that closes, or gets another pool, lets its
    /// own end without waiting (rule 60).
    void set_default_executor(std::shared_ptr<thread_pool> pool) noexcept;

    /// Receives events nobody awaits. Default, also restored by an empty handler: one line on
    /// stderr (rules 71-74).
    void set_exception_handler(function<void(loop&, const failure_report&)> handler);
    /// Gives `report` to the handler; a handler that throws falls back to the default one (rule
    /// 73).
    void call_exception_handler(const failure_report& report) noexcept;
    /// Prints `report` on stderr.
    void default_exception_handler(const failure_report& report) noexcept;

    /// Has `log` called with the record of each connection when it is lost, after
    /// `connection_lost`; what it throws is reported. An empty function ends that.
    ///
    /// Cost  none for connections that live; without a log none at all.
    void set_connection_log(function<void(const connection_record&)> log);

    /// Debug mode: reports callbacks slower than `slow_callback_duration` and checks threads (rules
    /// 51, 77-79).
    void set_debug(bool enabled) noexcept;
    bool get_debug() const noexcept;
    /// Callbacks that run longer are reported in debug mode.
    clock::duration slow_callback_duration = std::chrono::milliseconds(100);

    /// What is alive now.
    loop_counters counters() const noexcept;
    /// What happened so far.
    loop_statistics statistics() const noexcept;
    /// The engine and the kernel features it uses, as one line for logs.
    std::string engine_report() const;

    /// For the library's own layers and for makers of transports: hooks into the turn. See
    /// docs/architecture.md.
    detail::loop_state& state() noexcept { return *state_; }

  private:
    result<> may_run() const;
    result<> run_core(detail::task_core& main);
    std::unique_ptr<detail::loop_state> state_;
};

template <class Rep, class Period>
clock::time_point loop::deadline_after(std::chrono::duration<Rep, Period> delay) const noexcept {
    const auto now = time();
    const std::chrono::duration<double> far = clock::time_point::max() - now;
    if (std::chrono::duration<double>(delay) >= far - std::chrono::hours(1)) {
        return clock::time_point::max();
    }
    if (std::chrono::duration<double>(delay).count() < 0) {
        const auto bounded =
            std::chrono::duration<double>(delay) < std::chrono::duration<double>(-1e9)
                ? std::chrono::duration<double>(-1e9)
                : std::chrono::duration<double>(delay);
        return now + std::chrono::duration_cast<clock::duration>(bounded);
    }
    return now + std::chrono::ceil<clock::duration>(delay);
}

namespace detail {
// Hooks into a loop, all on its own thread.
void make_ready(loop& home, ready_node& node) noexcept;
void at_turn_end(loop& home, turn_end_hook& hook) noexcept;
void add_timer(loop& home, timer_node& timer);
bool remove_timer(loop& home, timer_node& timer) noexcept;
void add_resource(loop& home, loop_resource& resource) noexcept;
void add_resource(loop& home, loop_resource& resource, list<loop_resource>& owner) noexcept;
void remove_resource(loop& home, loop_resource& resource) noexcept;
/// Where the descriptors are noted that others watch, or null (net/readiness.hpp).
struct watch_table;
watch_table*& watches_of(loop& home) noexcept;
/// When the turn began, to a few milliseconds.
clock::time_point turn_time(loop& home) noexcept;
/// Whether anybody wants records of connections.
bool logs_connections(loop& home) noexcept;
/// Gives one to the log.
void log_connection(loop& home, const connection_record& ended);
}  // namespace detail

}  // namespace ouro
