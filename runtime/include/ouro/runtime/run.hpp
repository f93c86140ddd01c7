// A program's main task: run, runner, and the order in which a program ends.
#pragma once

#include <chrono>
#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include <ouro/runtime/spawn.hpp>

namespace ouro {

/// How a program runs and ends.
struct run_options {
    /// SIGINT and SIGTERM end the program in order, and with them comes a limit for that (`grace`).
    /// Only where their action is the default one, and on the main thread (rule 711).
    bool signals = true;
    /// How long tasks may take to end after they were asked to. Clients that wait for an answer
    /// get theirs, and a service manager does not lose patience: systemd kills after 90 s.
    clock::duration grace = std::chrono::seconds(10);
    /// SIGQUIT prints every task and where it waits on stderr, and the program goes on.
    bool dump_on_sigquit = false;
    /// How the loop is made.
    loop_options loop{};
    /// Makes the loop instead; called once (rule 713).
    function<std::unique_ptr<ouro::loop>()> make_loop{};
};

namespace detail {

struct run_state;

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<task<T>> = true;

/// What a main can be: a callable that makes a task of its arguments (rule 704).
template <class F, class... Args>
concept main_of = std::invocable<std::decay_t<F>&, std::decay_t<Args>...> &&
                  is_task<std::invoke_result_t<std::decay_t<F>&, std::decay_t<Args>...>>;
template <class F, class... Args>
using main_value = spawned_value<std::decay_t<F>, std::decay_t<Args>...>;

}  // namespace detail

/// Runs main tasks one after the other on one loop, which is made with the first, and ends in
/// order: tasks that are left are cancelled and waited for, then the loop is closed (rule 699).
///
/// A first SIGINT or SIGTERM cancels the main task, cause `shutdown`. If it ends cancelled by that
/// and nothing else, `signal` tells (rules 707, 709); if it returns a value all the same, that is
/// its value (rule 710). A second signal, or the end of `grace`, prints who did not leave and where
/// each of them waits, and ends the process with 128 + signal, as _exit(2) does: nothing is flushed
/// (rule 708). Handlers and sets of the program's own come first: what they are told, the runner is
/// not.
///
/// Lifetime  closes when it dies. What tasks refer to must live until then.
/// Threads   the thread that runs it first. Signals need the main thread.
class runner {
  public:
    explicit runner(run_options options = {});
    ~runner();
    runner(const runner&) = delete;
    runner& operator=(const runner&) = delete;

    /// Runs `body(arguments...)` as the main task; the callable and the arguments are copied.
    ///
    /// Result  what the task returned; its tasks go on in the next run.
    /// Errors  of the task; `errc::loop_running` inside a running loop (rule 703);
    ///         `errc::invalid_state` once closed (rule 706); `errc::stopped_early` when
    ///         `loop::stop` came first, or a `stop` of this and its limit. An exception of
    ///         `body` is rethrown.
    ///         Throws as the constructor of `loop` when none can be made.
    template <class F, class... Args>
        requires detail::main_of<F, Args...>
    result<detail::main_value<F, Args...>> run(F&& body, Args&&... arguments) {
        using value = detail::main_value<F, Args...>;
        if (auto ready = begin(); !ready) return result<value>(std::move(ready.error()));
        task<value> body_of_main = detail::call_with_copies<std::decay_t<F>, std::decay_t<Args>...>(
            std::forward<F>(body), std::forward<Args>(arguments)...);
        const auto held = detail::make_task(get_loop(), std::move(body_of_main), {});
        held.state().start_later();
        const watched_main watched(*this, held.state());
        return get_loop().run_until_complete(held);
    }
    /// The loop, made now if there is none yet (rule 705). Throws `std::system_error` when it
    /// cannot be made, and with `errc::invalid_state` once closed.
    ouro::loop& get_loop();
    /// Asks the main task to end, as a signal does, but with a limit of its own: after `grace` the
    /// run ends with `errc::stopped_early`, and who did not leave is reported by `close`. From the
    /// thread that runs it. Harmless before the first run, and once closed.
    void stop(clock::duration grace);
    /// Cancels the tasks that are left, waits for them as long as `grace` allows, and closes the
    /// loop. Harmless when it is closed (rule 706).
    ///
    /// Errors  `std::errc::timed_out`: some did not leave; its text has a line for each of them.
    ///         `errc::loop_running` while it or another loop runs in this thread.
    result<> close();
    /// The signal that ended the last main task, or 0.
    int signal() const noexcept;

  private:
    /// Signals act on the main task while this lives.
    class watched_main {
      public:
        watched_main(runner& of, detail::task_core& main);
        ~watched_main();
        watched_main(const watched_main&) = delete;
        watched_main& operator=(const watched_main&) = delete;

      private:
        runner& runner_;
    };
    result<> begin();

    std::unique_ptr<detail::run_state> state_;
};

/// Cancels every task of `home`, waits for them until `grace` is over, and closes it.
///
/// Errors  `std::errc::timed_out`: some did not leave, and were destroyed; its text says who and at
///         which line each of them waits. `errc::loop_running` while it or another loop runs in
///         this thread.
result<> shut_down(loop& home, clock::duration grace);

namespace detail {
/// Makes the loop of `of`; false after saying on stderr why there is none.
bool has_loop(runner& of);
/// The exit code of a program whose main task failed; says why on stderr, unless a signal did.
int exit_code(const runner& of, const error& why) noexcept;
}  // namespace detail

/// Runs `body(arguments...)` as the main task of a new loop, then cancels what is left, waits for
/// it and closes the loop. SIGINT and SIGTERM end it in that order too; see `runner`.
///
/// Result  an exit code: what a `task<int>` returned, 0 for other tasks; 128 + signal when a signal
///         ended it; 1 when it failed or no loop could be made, after a line on stderr that says
///         why. An exception of `body` leaves `run` once the loop is closed.
template <class F, class... Args>
    requires detail::main_of<F, Args...>
int run(run_options options, F&& body, Args&&... arguments) {
    using value = detail::main_value<F, Args...>;
    runner with(std::move(options));
    if (!detail::has_loop(with)) return 1;
    const auto outcome = with.run(std::forward<F>(body), std::forward<Args>(arguments)...);
    (void)with.close();
    if (!outcome) return detail::exit_code(with, outcome.error());
    if constexpr (std::is_same_v<value, int>) {
        return *outcome;
    } else {
        return 0;
    }
}
/// The same with the default options.
template <class F, class... Args>
    requires detail::main_of<F, Args...>
int run(F&& body, Args&&... arguments) {
    return run(run_options{}, std::forward<F>(body), std::forward<Args>(arguments)...);
}

}  // namespace ouro
