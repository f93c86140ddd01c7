// How a program ends: signals, the grace they give, and who did not leave.
#include <ouro/runtime/inspect.hpp>
#include <ouro/runtime/run.hpp>
#include <ouro/runtime/thread_pool.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "loop_state.hpp"
#include "process_signals.hpp"
#include "signal_watch.hpp"

namespace ouro {
namespace detail {
namespace {

constexpr int exit_code_of_signals = 128;  // as shells have it
// How long the end waits for jobs of the default executor (rule 699).
constexpr auto longest_join = std::chrono::seconds(300);

void say(const std::string& text) noexcept { std::fwrite(text.data(), 1, text.size(), stderr); }

/// Says who is left, and ends the process there and then.
[[noreturn]] void give_up(loop_state& home, int signum, const char* why) noexcept {
    try {
        say("ouro: " + signal_name(signum) + ": " + why + "; still there:\n" +
            dump_tasks(home.self));
    } catch (const std::bad_alloc&) {
        std::fputs("ouro: ended by a signal\n", stderr);
    }
    std::_Exit(exit_code_of_signals + signum);
}

}  // namespace

struct run_state final : signal_listener {
    explicit run_state(run_options how) noexcept : options(std::move(how)) {}
    ~run_state() = default;

    void listen() noexcept;
    void unlisten() noexcept;
    void came(int signum) noexcept override;
    void limit_to(clock::duration grace) noexcept;
    void over() noexcept;

    run_options options;
    std::unique_ptr<loop> home;
    task_core* main = nullptr;  // while it runs
    context values;             // from one main task to the next (rule 705)
    timer_handle limit;
    clock::time_point end{};  // of the time to end; none is set at the epoch
    int asked_by = 0;         // the first signal of this run
    int ended_by = 0;
    bool closed = false;
};

/// Listens to the signals nobody else listens to.
void run_state::listen() noexcept {
    wanted = 0;
    const auto want = [this](int signum) {
        if (io::signal_is_untouched(*home, signum)) wanted |= signal_bit(signum);
    };
    if (options.signals) {
        want(SIGINT);
        want(SIGTERM);
    }
    if (options.dump_on_sigquit) want(SIGQUIT);
    const engine& kernel = *home->state().kernel;
    if (!wanted || home->is_closed() || kernel.foreign_process() || kernel.foreign_thread()) return;
    try {
        // Without them the program runs, and ends at once at the first signal.
        (void)signal_watch::of(home->state()).add_fallback(*this);
    } catch (const std::bad_alloc&) {
        wanted = 0;
    }
}

void run_state::unlisten() noexcept {
    if (linked()) home->state().signals->remove(*this);
}

void run_state::came(int signum) noexcept {
    loop_state& state = home->state();
    if (signum == SIGQUIT) {
        return say(words([&] { return "ouro: SIGQUIT: all tasks:\n" + dump_tasks(state.self); }));
    }
    if (asked_by) give_up(state, signum, "the second signal");
    asked_by = signum;
    if (main && !main->done()) {
        main->cancel(cancel_cause::shutdown,
                     words([&] { return "signal " + signal_name(signum); }));
    }
    limit_to(options.grace);
}

void run_state::limit_to(clock::duration grace) noexcept {
    limit.cancel();
    end = home->deadline_after(grace);
    try {
        limit = home->call_later(grace, [this] { over(); });
    } catch (...) {  // no memory: there is still the second signal
    }
}

/// The time to end is over.
void run_state::over() noexcept {
    if (asked_by) give_up(home->state(), asked_by, "the time to end is over");
    home->stop();
}

namespace {

/// Cancels all tasks and runs until they have ended, but not longer than `end`.
result<> see_off(loop& home, clock::time_point end) {
    loop_state& state = home.state();
    state.see_off(end);
    // A pool that others have too is theirs to end.
    if (state.executor && state.executor.use_count() == 1) {
        const auto left = std::min<clock::duration>(end - home.time(), longest_join);
        try {
            (void)home.run_until_complete(shutdown_default_executor(std::max(left, {})));
        } catch (const std::bad_alloc&) {
            // No memory to wait for its jobs: the loop lets it go as it closes.
        }
    }
    if (!state.live_tasks) return {};
    return error(std::errc::timed_out, words([&state] {
                     return "wait for tasks to end; still there:\n" + dump_tasks(state.self);
                 }));
}

}  // namespace

bool has_loop(runner& of) try {
    (void)of.get_loop();
    return true;
} catch (const std::system_error& refused) {
    say(std::string("ouro: ") + refused.what() + "\n");
    return false;
}

int exit_code(const runner& of, const error& why) noexcept {
    if (of.signal()) return exit_code_of_signals + of.signal();
    say(words([&] { return "ouro: " + why.describe() + "\n"; }));
    return 1;
}

}  // namespace detail

// ---- the runner

runner::runner(run_options options)
    : state_(std::make_unique<detail::run_state>(std::move(options))) {}

runner::~runner() {
    (void)close();  // refused when the program exits from inside a run: the loop knows what to do
}

loop& runner::get_loop() {
    detail::run_state& state = *state_;
    if (state.closed) {
        throw std::system_error(make_error_code(errc::invalid_state),
                                "the loop of a closed runner");
    }
    if (!state.home) {
        state.home = state.options.make_loop ? state.options.make_loop()
                                             : std::make_unique<loop>(state.options.loop);
    }
    return *state.home;
}

result<> runner::begin() {
    if (state_->closed) return error(errc::invalid_state, "run with a closed runner");
    if (loop::try_current()) {
        return error(errc::loop_running, "run a loop while one runs in this thread");
    }
    detail::require_open_loop(get_loop(), "run");
    state_->limit.cancel();
    state_->asked_by = state_->ended_by = 0;
    state_->end = {};
    return {};
}

runner::watched_main::watched_main(runner& of, detail::task_core& main) : runner_(of) {
    of.state_->main = &main;
    main.set_context(of.state_->values);
    of.state_->listen();
}

runner::watched_main::~watched_main() {
    detail::run_state& state = *runner_.state_;
    detail::task_core& main = *std::exchange(state.main, nullptr);
    // Whoever else asked for its end takes the blame (rule 709).
    if (state.asked_by && main.cancelled() && main.cancelling() == 1) {
        state.ended_by = state.asked_by;
    }
    state.unlisten();
    state.values = main.values();
}

void runner::stop(clock::duration grace) {
    detail::run_state& state = *state_;
    if (!state.home) return;
    if (state.main && !state.main->done()) state.main->cancel(cancel_cause::shutdown);
    state.limit_to(grace);
}

result<> runner::close() {
    detail::run_state& state = *state_;
    if (state.closed || !state.home) {
        state.closed = true;
        return {};
    }
    if (state.home->is_running() || loop::try_current()) {
        return error(errc::loop_running, "close a runner while a loop runs in this thread");
    }
    state.closed = true;
    state.listen();
    // After a signal its own limit holds, at which the process ends.
    if (state.end == clock::time_point{})
        state.end = state.home->deadline_after(state.options.grace);
    auto left = detail::see_off(*state.home, state.asked_by ? clock::time_point::max() : state.end);
    state.unlisten();
    state.home->close();
    state.home.reset();
    return left;
}

int runner::signal() const noexcept { return state_->ended_by; }

result<> shut_down(loop& home, clock::duration grace) {
    if (home.is_running() || loop::try_current()) {
        return error(errc::loop_running, "shut down a loop while one runs in this thread");
    }
    auto left = detail::see_off(home, home.deadline_after(grace));
    home.close();
    return left;
}

}  // namespace ouro
