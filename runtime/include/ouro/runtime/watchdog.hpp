// A thread that tells when a loop is held up, by whom and where, while it still is.
#pragma once

#include <chrono>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/loop.hpp>

namespace ouro {

/// One callback, or one step of a task, that holds its loop up.
struct stall_report {
    bool over = false;               ///< false: it goes on; true: it has ended
    clock::duration lasted{};        ///< until now, or in all; as exact as the watchdog looks
    std::string subject{};           ///< `task 7 "reader"`, "a queued callback", "a timer"
    std::source_location created{};  ///< of that task or callback; line 0 when unknown
    /// A task: where its frames await each other, the root first; the last is the await that came
    /// last. Of the first report only.
    std::vector<std::source_location> frames{};
    /// The stack of the loop's thread, innermost first: "spin()+0x12 (program+0x4567)". What is in
    /// brackets is for addr2line(1). Of the first report only; empty where the thread does not take
    /// the signal.
    std::vector<std::string> backtrace{};

    /// The report as a text for people.
    std::string describe() const;
};

/// How a watchdog is made.
struct watchdog_options {
    /// A step that takes longer is reported.
    clock::duration threshold = std::chrono::seconds(1);
    /// Receives the reports, in the thread of the watchdog. Empty: they are printed on stderr.
    function<void(const stall_report&)> handler{};
};

/// Watches a loop for as long as it lives. A step that takes longer than the threshold is reported
/// twice: while it lasts and when it has ended. A loop that sleeps, and a process that is stopped
/// as a whole, are not held up.
///
/// The stack is taken by a SIGURG to the loop's thread, which system calls of a held-up callback
/// may notice as EINTR. If the program handles SIGURG itself, reports come without a stack.
///
/// Errors    the constructor throws `std::system_error`: no thread, or `errc::invalid_state` when
///           the loop has a watchdog already.
/// Lifetime  ends before the loop. A forked child has a copy that does nothing, as its copy of the
///           loop does; it may make one of its own.
/// Threads   made and destroyed on the loop's thread, or while the loop does not run.
/// Cost      a thread that looks eight times in a threshold, and a few stores for each callback and
///           step; nothing without a watchdog.
class watchdog {
  public:
    explicit watchdog(loop& of, watchdog_options options = {});
    ~watchdog();
    watchdog(const watchdog&) = delete;
    watchdog& operator=(const watchdog&) = delete;

  private:
    struct keeper;
    std::unique_ptr<keeper> keeper_;
};

}  // namespace ouro
