// Programs you await: a child with a writer to its input and readers of its outputs.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ouro/proto/subprocess.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/writer.hpp>

namespace ouro {

namespace detail {
class process_core;
}

/// What a child wrote, of each output that is a pipe (rule 533).
struct process_output {
    std::optional<std::string> out{};
    std::optional<std::string> err{};
};

/// How `process::communicate` goes about it.
struct communicate_options {
    /// Bytes that each output may have; a child that writes more than that ends the call with
    /// `errc::limit_overrun`, so that no child can use up the memory.
    std::size_t most_bytes = std::size_t{64} * 1024 * 1024;
};

/// A child. Move-only. When it dies before the child has ended, the child is killed; the loop waits
/// for it in any case, so no zombie is left.
///
/// Threads  the loop's thread.
class process {
  public:
    explicit process(std::shared_ptr<detail::process_core> core) noexcept;
    process(process&&) noexcept = default;
    process& operator=(process&& other) noexcept;
    ~process();

    std::optional<stream_writer> in{};   ///< to its standard input, if that is a pipe
    std::optional<stream_reader> out{};  ///< from its standard output, likewise
    std::optional<stream_reader> err{};  ///< from its standard error, likewise

    /// The process id.
    int pid() const noexcept;
    /// The exit status, or minus the number of the signal that ended it; none until that was
    /// noticed.
    std::optional<int> return_code() const noexcept;
    /// Waits until the child has ended and all its pipes are gone (rule 530): read what it writes,
    /// or use `communicate`. Any number of tasks may wait.
    ///
    /// Result  the return code.
    /// Cancel  leaves this wait; the child and other waits go on (rule 531).
    task<int> wait() const;
    /// Writes `input`, closes the child's input, reads both outputs to their end at the same time,
    /// and waits for the end of the child (rules 532, 534, 536). A child that does not read all of
    /// the input is no error (rule 535).
    ///
    /// Result    what the child wrote; then `return_code` is known.
    /// Errors    `errc::limit_overrun` when it wrote more than `options.most_bytes`.
    /// Cancel    the child goes on; what was read is lost.
    /// Lifetime  the process must live until the await resumes.
    task<process_output> communicate(std::string input = {}, communicate_options options = {});
    /// Sends a signal; see `subprocess_transport::send_signal`.
    std::error_code send_signal(int signum);
    /// Asks it to end: SIGTERM.
    std::error_code terminate();
    /// Ends it: SIGKILL.
    std::error_code kill();
    /// The transport below.
    subprocess_transport& transport() const noexcept;

  private:
    std::shared_ptr<detail::process_core> core_;
};

/// Runs a program as a child; see `subprocess_exec`. The standard descriptors are inherited unless
/// `options` says otherwise (rule 527).
///
/// Result  the process, which runs.
/// Errors  as `subprocess_exec`.
/// Cancel  the child is killed and waited for first.
task<process> create_subprocess_exec(std::vector<std::string> arguments,
                                     subprocess_options options = {},
                                     std::size_t limit_bytes = default_stream_limit_bytes);
/// Runs `command` in a shell, /bin/sh. Whoever puts words of others into it must quote them.
task<process> create_subprocess_shell(std::string command, subprocess_options options = {},
                                      std::size_t limit_bytes = default_stream_limit_bytes);

}  // namespace ouro
