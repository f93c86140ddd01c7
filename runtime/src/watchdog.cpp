// The watchdog: a thread that looks at a loop's beat, and a signal that takes the loop's stack.
#include <ouro/runtime/watchdog.hpp>

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "inspection.hpp"
#include "loop_state.hpp"

namespace ouro {
namespace detail {
namespace {

constexpr int looks_per_threshold = 8;
constexpr auto shortest_look = std::chrono::milliseconds(1);
constexpr auto patience_with_signal = std::chrono::milliseconds(500);
constexpr int sample_signal = SIGURG;  // ignored by default: a late one does no harm

/// One look at a loop's thread. There is one at a time in the process, in static memory: a handler
/// that comes late finds it where it was.
struct sample {
    enum stage : int { idle, wanted, being_taken, taken };
    std::atomic<int> now{idle};
    std::atomic<int> thread{0};
    loop_state* of = nullptr;
    std::uint64_t beat = 0;
    ::sem_t ready;

    bool same_step = false;  // still the one that was looked for
    std::source_location created;
    std::array<char, 48> task_name{};
    std::array<std::source_location, 64> awaits{};  // innermost first
    std::size_t await_count = 0;
    std::array<void*, 64> stack{};
    int stack_depth = 0;
};

sample the_sample;
constinit std::mutex samples_guard;  // of watchdogs: who takes a sample, and the handler's life
constinit int watchdogs = 0;
constinit bool handler_is_ours = false;
struct sigaction handler_before{};

/// Runs on the loop's thread, wherever that is: it calls nothing that could wait for what was
/// interrupted, and what it reads is written by this thread only.
void take_sample(int) {
    const int before = errno;
    sample& into = the_sample;
    int expected = sample::wanted;
    if (into.now.load(std::memory_order_acquire) == sample::wanted &&
        into.thread.load(std::memory_order_relaxed) == ::gettid() &&
        into.now.compare_exchange_strong(expected, sample::being_taken)) {
        const loop_state& of = *into.of;
        const loop_watch& watch = *of.watch;
        into.same_step = watch.beat.load(std::memory_order_relaxed) == into.beat;
        into.created = watch.created;
        into.task_name = watch.task_name;
        into.await_count = 0;
        if (into.same_step && of.current_task) {
            for (const promise_base* each = inspection::innermost(*of.current_task);
                 each && into.await_count < into.awaits.size(); each = each->parent) {
                into.awaits[into.await_count++] = each->where;
            }
        }
        into.stack_depth = ::backtrace(into.stack.data(), static_cast<int>(into.stack.size()));
        into.now.store(sample::taken, std::memory_order_release);
        ::sem_post(&into.ready);
    }
    errno = before;
}

/// A child is not forked in the midst of a sample: nobody would end that there.
void keep_samples_out_of_forks() {
    static const int registered =
        ::pthread_atfork([] { samples_guard.lock(); }, [] { samples_guard.unlock(); },
                         [] { samples_guard.unlock(); });
    (void)registered;
}

void add_watchdog() {
    keep_samples_out_of_forks();
    const std::lock_guard lock(samples_guard);
    if (watchdogs++) return;
    ::sem_init(&the_sample.ready, 0, 0);
    void* warm = nullptr;
    ::backtrace(&warm, 1);  // loads what it needs, which a handler could not
    ::sigaction(sample_signal, nullptr, &handler_before);
    handler_is_ours = handler_before.sa_handler == SIG_DFL || handler_before.sa_handler == SIG_IGN;
    if (!handler_is_ours) return;
    struct sigaction wanted{};
    wanted.sa_handler = &take_sample;
    wanted.sa_flags = SA_RESTART | SA_ONSTACK;
    ::sigfillset(&wanted.sa_mask);
    ::sigaction(sample_signal, &wanted, nullptr);
}

void remove_watchdog() noexcept {
    const std::lock_guard lock(samples_guard);
    if (--watchdogs) return;
    if (handler_is_ours) ::sigaction(sample_signal, &handler_before, nullptr);
    ::sem_destroy(&the_sample.ready);
}

enum class answer { full, none, another_step };

/// Has the loop's thread describe itself. `samples_guard` is held.
answer sample_thread(loop_state& of, std::uint64_t beat) noexcept {
    const int thread = of.watch->thread.load(std::memory_order_relaxed);
    if (!handler_is_ours || thread == 0) return answer::none;
    the_sample.thread.store(thread, std::memory_order_relaxed);
    the_sample.of = &of;
    the_sample.beat = beat;
    the_sample.now.store(sample::wanted, std::memory_order_release);
    ::syscall(SYS_tgkill, ::getpid(), thread, sample_signal);
    const auto limit = clock::now().time_since_epoch() + patience_with_signal;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(limit);
    const timespec until{seconds.count(), std::chrono::nanoseconds(limit - seconds).count()};
    while (::sem_clockwait(&the_sample.ready, CLOCK_MONOTONIC, &until) != 0) {
        if (errno == EINTR) continue;
        int expected = sample::wanted;  // the thread does not listen: take the request back
        if (the_sample.now.compare_exchange_strong(expected, sample::idle)) return answer::none;
        while (::sem_wait(&the_sample.ready) != 0) {
        }  // it was about to
        break;
    }
    (void)the_sample.now.exchange(sample::idle, std::memory_order_acquire);  // all of it is there
    return the_sample.same_step ? answer::full : answer::another_step;
}

std::string hexadecimal(std::uintptr_t number) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "0x%lx", static_cast<unsigned long>(number));
    return text.data();
}

/// "spin()+0x12 (program+0x4567)".
std::string symbol(const void* address) {
    const auto number = reinterpret_cast<std::uintptr_t>(address);
    Dl_info found{};
    if (!::dladdr(address, &found) || !found.dli_fname) return hexadecimal(number);
    const std::string_view file = found.dli_fname;
    const std::string module =
        std::string(file.substr(file.rfind('/') + 1)) + "+" +
        hexadecimal(number - reinterpret_cast<std::uintptr_t>(found.dli_fbase));
    if (!found.dli_sname) return module;
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> readable(
        abi::__cxa_demangle(found.dli_sname, nullptr, nullptr, &status), &std::free);
    return std::string(readable ? readable.get() : found.dli_sname) + "+" +
           hexadecimal(number - reinterpret_cast<std::uintptr_t>(found.dli_saddr)) + " (" + module +
           ")";
}

std::vector<std::string> stack_of(const sample& from) {
    constexpr int handler_frames = 2;  // take_sample, and what the kernel has called it from
    std::vector<std::string> lines;
    for (int i = handler_frames; i < from.stack_depth; ++i) {
        const auto* at = static_cast<const char*>(from.stack[static_cast<std::size_t>(i)]);
        // All but the interrupted frame hold where a call returns to: the call is before that.
        lines.push_back(symbol(i == handler_frames ? at : at - 1));
    }
    return lines;
}

/// What the loop's thread said of itself; `samples_guard` is held.
void fill(stall_report& report, const sample& from, bool is_task) {
    report.created = from.created;
    const std::string_view name = from.task_name.data();
    if (is_task && !name.empty()) report.subject += " \"" + std::string(name) + "\"";
    for (std::size_t i = from.await_count; i-- > 0;) {
        const std::source_location& each = from.awaits[i];
        if (each.line() != 0 && !inspection::is_internal(each)) report.frames.push_back(each);
    }
    report.backtrace = stack_of(from);
}

std::int64_t now_ticks() noexcept { return clock::now().time_since_epoch().count(); }

}  // namespace

void loop_state::enter_watched(const char* what, const std::source_location& created) noexcept {
    watch->enter(what, created);
}

void loop_state::leave_watched() noexcept { watch->leave(&now_ticks); }

void loop_state::watch_task(const task_core& stepped) noexcept {
    watch->step(stepped.id_, stepped.name_, stepped.created_);
}

}  // namespace detail

struct watchdog::keeper {
    detail::loop_state& of;
    watchdog_options options;
    detail::loop_watch watch;
    std::mutex guard;
    std::condition_variable wake;
    bool stopping = false;
    std::thread thread;
    const pid_t process = ::getpid();  // whose thread that is

    explicit keeper(loop& on, watchdog_options given) : of(on.state()), options(std::move(given)) {
        if (of.watch) {
            throw std::system_error(make_error_code(errc::invalid_state),
                                    "a second watchdog of one loop");
        }
        detail::add_watchdog();
        try {
            start();
        } catch (...) {
            detail::remove_watchdog();
            throw;
        }
        if (loop::try_current() == &on) watch.thread = ::gettid();
        of.watch = &watch;
        of.observed = true;
    }
    ~keeper() {
        {
            const std::lock_guard lock(guard);
            stopping = true;
        }
        wake.notify_one();
        thread.join();
        of.watch = nullptr;
        of.observed = of.debug;
        detail::remove_watchdog();
    }

    void start();
    void run();
    bool describe(std::uint64_t beat, stall_report& report) noexcept;
    void tell(const stall_report& report) noexcept;
};

/// The thread takes none of the program's signals.
void watchdog::keeper::start() {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        thread = std::thread([this] { run(); });
    } catch (...) {
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        throw;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    ::pthread_setname_np(thread.native_handle(), "ouro-watchdog");
}

/// Counts looks, not time: when the whole process was stopped, one look has passed.
void watchdog::keeper::run() {
    const auto pause = std::max<clock::duration>(options.threshold / detail::looks_per_threshold,
                                                 detail::shortest_look);
    std::uint64_t seen = 0;
    int looks = 0;  // at the same step, in a row
    bool told = false;
    clock::time_point since;
    stall_report report;
    std::unique_lock lock(guard);
    while (!wake.wait_for(lock, pause, [this] { return stopping; })) {
        const std::uint64_t beat = watch.beat.load(std::memory_order_acquire);
        if (beat == seen && beat % 2 != 0) {
            if (++looks == detail::looks_per_threshold) told = describe(beat, report);
            if (looks != detail::looks_per_threshold || !told) continue;
            report.lasted = clock::now() - since;
            tell(report);
            continue;
        }
        if (std::exchange(told, false)) {
            watch.told.store(false, std::memory_order_relaxed);
            const std::int64_t ended = watch.ended.load(std::memory_order_relaxed);
            const auto end = ended ? clock::time_point(clock::duration(ended)) : clock::now();
            tell({.over = true, .lasted = end - since, .subject = report.subject});
        }
        seen = beat;
        looks = 0;
        since = clock::now();
    }
}

/// Finds out about the step that holds the loop up. False when that has just ended.
bool watchdog::keeper::describe(std::uint64_t beat, stall_report& report) noexcept {
    report = {};
    watch.ended.store(0, std::memory_order_relaxed);
    watch.told.store(true, std::memory_order_relaxed);
    try {
        const std::uint64_t task = watch.task.load(std::memory_order_relaxed);
        report.subject =
            task ? "task " + std::to_string(task) : watch.what.load(std::memory_order_relaxed);
        const std::lock_guard samples(detail::samples_guard);
        const detail::answer given = detail::sample_thread(of, beat);
        if (given == detail::answer::full) detail::fill(report, detail::the_sample, task != 0);
        if (given != detail::answer::another_step) return true;
    } catch (const std::bad_alloc&) {
        return true;  // what is known is told
    }
    watch.told.store(false, std::memory_order_relaxed);
    return false;
}

void watchdog::keeper::tell(const stall_report& report) noexcept try {
    if (options.handler) return options.handler(report);
    const std::string text = "ouro: warning: " + report.describe();
    std::fwrite(text.data(), 1, text.size(), stderr);
} catch (...) {
    std::fputs("ouro: a report of the watchdog could not be given\n", stderr);
}

watchdog::watchdog(loop& of, watchdog_options options)
    : keeper_(std::make_unique<keeper>(of, std::move(options))) {}
watchdog::~watchdog() {
    // A forked child has a copy of everything but the thread, which it would wait for in vain.
    if (keeper_->process != ::getpid()) (void)keeper_.release();
}

std::string stall_report::describe() const {
    std::string text = subject + (over ? " held up the loop for " : " has held up the loop for ") +
                       detail::to_text(lasted) + (over ? "\n" : " and goes on\n");
    if (over) return text;
    if (created.line() != 0) text += "    created at " + detail::to_text(created) + "\n";
    for (const std::source_location& each : frames) {
        text += "    " + short_function_name(each.function_name()) +
                (&each == &frames.back() ? " past " : " at ") + detail::to_text(each) + "\n";
    }
    for (std::size_t i = 0; i < backtrace.size(); ++i) {
        text += "    #" + std::to_string(i) + " " + backtrace[i] + "\n";
    }
    return text;
}

}  // namespace ouro
