// Signals of the operating system, as callbacks and awaits on a loop.
#pragma once

#include <cstdint>
#include <initializer_list>

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

namespace detail {

/// Told of the signals it wants, between two steps of its loop.
class signal_listener : public list_link {
  public:
    virtual void came(int signum) noexcept = 0;
    std::uint64_t wanted = 0;  // bit n - 1 for signal n

  protected:
    ~signal_listener() = default;
};

}  // namespace detail

/// Runs `handler` on `home` each time the signal came, as a callback of the loop and not in signal
/// context (rule 685). It takes the place of an earlier handler for that signal (rule 691). Signals
/// of one number that come before the loop has looked are one, as everywhere.
///
/// From the first handler on, one loop has the signals of the process: a second one is refused
/// until the first has removed all of its own. The signal is blocked in this thread; one that
/// reaches another thread is sent on to this one. Closing the loop removes all handlers (rule 695).
///
/// Result    nothing; when it failed, everything is as before (rule 693).
/// Errors    `errc::value_error` for no such signal, one that cannot be caught (SIGKILL, SIGSTOP)
///           and one that tells of a fault of the program itself (SIGSEGV, SIGBUS, SIGILL, SIGFPE);
///           `errc::wrong_loop` when another loop has the signals; `errc::wrong_thread`;
///           `errc::loop_closed`; others as signalfd(2).
/// Lifetime  a handler may remove and replace handlers, its own too (rule 694).
/// Threads   the thread that runs `home`, also before its first run. A forked child gets the
///           actions and the mask of before; a child made with posix_spawn(3) inherits the mask.
/// Cost      some system calls for each call, and for each signal that comes.
[[nodiscard]] result<> add_signal_handler(loop& home, int signum, callback handler);
/// The same on the running loop.
[[nodiscard]] result<> add_signal_handler(int signum, callback handler);
/// Removes the handler of `signum` and gives the signal its former action and mask back (rule 692).
/// False when there is none.
bool remove_signal_handler(loop& home, int signum) noexcept;
/// The same on the running loop.
bool remove_signal_handler(int signum) noexcept;
/// "SIGTERM"; a number where there is no name.
std::string signal_name(int signum);

namespace detail {
class next_signal_awaitable;
struct next_signal_access;
}  // namespace detail

/// Signals to wait for, in a loop of your own: while it lives, what comes is kept until the next
/// `next`, so none is lost between two awaits.
///
///     ouro::signal_set hangups{SIGHUP};
///     for (;;) {
///         co_await hangups.next();
///         co_await read_configuration();
///     }
///
/// Sets and a handler of the same signal are all told.
///
/// Errors    the constructor throws `std::system_error`, with the codes of `add_signal_handler`.
/// Lifetime  not movable. The loop may be closed before it dies.
/// Threads   the loop's thread, while the loop runs.
class signal_set final : private detail::signal_listener {
  public:
    signal_set(std::initializer_list<int> signums);
    ~signal_set();
    signal_set(const signal_set&) = delete;
    signal_set& operator=(const signal_set&) = delete;

    /// Waits for one of the signals.
    ///
    /// Result    its number; the lowest one first, when several have come.
    /// Errors    `errc::already_waiting` while another task waits; `errc::loop_closed`.
    /// Cancel    a signal that had come is kept for the next call.
    /// Lifetime  the set must outlive the await.
    /// Threads   loop thread.
    /// Cost      no system call.
    [[nodiscard]] detail::next_signal_awaitable next() noexcept;

  private:
    friend class detail::next_signal_awaitable;
    friend struct detail::next_signal_access;
    void came(int signum) noexcept override;

    loop* home_;
    detail::next_signal_awaitable* waiting_ = nullptr;
    std::uint64_t pending_ = 0;  // bit n - 1: came, and nobody has seen it
};

namespace detail {

/// The await behind `signal_set::next`.
class [[nodiscard]] next_signal_awaitable : public awaitable<next_signal_awaitable, int> {
  public:
    explicit next_signal_awaitable(signal_set& from) noexcept;
    ~next_signal_awaitable();
    void start() noexcept;
    int value() const noexcept { return signum_; }

  private:
    friend class ouro::signal_set;
    friend struct next_signal_access;
    signal_set* from_;
    int signum_ = 0;
};

}  // namespace detail

inline detail::next_signal_awaitable signal_set::next() noexcept {
    return detail::next_signal_awaitable(*this);
}

}  // namespace ouro
