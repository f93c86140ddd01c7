// Programs as children: their standard descriptors under a protocol, their end told once.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/function.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

class subprocess_transport;

/// What one of the standard descriptors of a child is.
class stdio {
  public:
    /// The kinds there are.
    enum class kind : std::uint8_t { usual, pipe, inherit, devnull, to_stdout, descriptor };

    /// What is usual: a pipe for `subprocess_exec`, inherited for `create_subprocess_exec` (rule
    /// 527).
    constexpr stdio() noexcept = default;
    /// A descriptor of the caller's, which stays open here: a file, a socket, a pipe to another
    /// child.
    constexpr stdio(int descriptor) noexcept : what_(kind::descriptor), fd_(descriptor) {}
    /// One of the kinds.
    constexpr stdio(kind what) noexcept : what_(what) {}

    static const stdio pipe;       ///< a pipe to this program
    static const stdio inherit;    ///< the one of this program
    static const stdio devnull;    ///< /dev/null
    static const stdio to_stdout;  ///< for `err` alone: where `out` leads

    /// Which of them.
    constexpr kind what() const noexcept { return what_; }
    /// The caller's descriptor, or -1.
    constexpr int fd() const noexcept { return fd_; }

  private:
    kind what_ = kind::usual;
    int fd_ = -1;
};
inline constexpr stdio stdio::pipe{kind::pipe};
inline constexpr stdio stdio::inherit{kind::inherit};
inline constexpr stdio stdio::devnull{kind::devnull};
inline constexpr stdio stdio::to_stdout{kind::to_stdout};

/// One more descriptor that a child gets.
struct passed_fd {
    /// The same number there as here.
    constexpr passed_fd(int same) noexcept : ours(same), theirs(same) {}
    constexpr passed_fd(int here, int there) noexcept : ours(here), theirs(there) {}
    int ours;
    int theirs;
};

/// How a child is made.
struct subprocess_options {
    stdio in{};   ///< its standard input
    stdio out{};  ///< its standard output
    stdio err{};  ///< its standard error
    /// All of its environment, as "NAME=value"; none: that of this program.
    std::optional<std::vector<std::string>> env = std::nullopt;
    /// Where it starts; empty: where this program is.
    std::string cwd{};
    /// The program to run in place of the first argument; empty: that one. Without a slash it is
    /// looked for in PATH, that of `env` if there is one.
    std::string executable{};
    /// What it has beside the standard descriptors; nothing else is inherited.
    std::vector<passed_fd> pass_fds{};
    /// It leads a new session, so no terminal reaches it.
    bool new_session = false;
    /// It leads a group of its own, and signals and `close` reach all of that.
    bool kill_group = false;
};

/// Receives what a child does: `made (pipe data* pipe lost)* exited lost`, pipes and exit in any
/// order (rules 497-502).
class subprocess_protocol : public base_protocol {
  public:
    /// The child runs. First of all callbacks.
    virtual void connection_made(std::shared_ptr<subprocess_transport> link);
    /// The child wrote `data` on its descriptor `fd`, 1 or 2.
    ///
    /// Lifetime  `data` is a view that is valid during the call only.
    virtual void pipe_data_received(int fd, bytes data);
    /// A pipe is gone, once for each; `why` tests false unless that was an error.
    virtual void pipe_connection_lost(int fd, error why);
    /// The child has ended; its return code is known. Once.
    virtual void process_exited();
};

/// A child and its pipes. Closing it, or letting the loop close, kills the child. Its extra
/// information is "pid" and "pidfd" (`int`; the latter -1 once the status was taken).
///
/// Threads   the loop's thread.
/// Lifetime  counted; the loop keeps it until the child was waited for and every pipe is gone, so
///           no zombie is left.
class subprocess_transport : public base_transport {
  public:
    /// The process id.
    virtual int pid() const noexcept = 0;
    /// The exit status, or minus the number of the signal that ended it (rule 505); none while it
    /// runs. 255 when somebody else took its status and the kernel does not tell it (rule 506).
    virtual std::optional<int> return_code() const noexcept = 0;
    /// The pipe to its descriptor `fd`: 0 can be written to, 1 and 2 can be read. Null when that is
    /// no pipe (rule 515).
    virtual std::shared_ptr<transport> pipe_transport(int fd) const noexcept = 0;
    /// Sends a signal; never to another process. One that comes when the child has just ended does
    /// nothing (rule 509).
    ///
    /// Errors  no_such_process once the end was noticed (rule 508), `errc::value_error`.
    virtual std::error_code send_signal(int signum) = 0;
    /// Asks it to end: SIGTERM.
    std::error_code terminate();
    /// Ends it: SIGKILL.
    std::error_code kill();
};

/// A child's transport and the protocol on it.
template <class Protocol>
struct subprocess {
    std::shared_ptr<subprocess_transport> transport;
    std::shared_ptr<Protocol> protocol;
};

namespace detail {
/// Makes the protocol of one pipe: a `buffered_protocol`.
using pipe_protocol_factory = function<std::shared_ptr<base_protocol>(int fd)>;
task<std::shared_ptr<subprocess_transport>>
start_subprocess(std::shared_ptr<subprocess_protocol> receiver, std::vector<std::string> arguments,
                 subprocess_options options, pipe_protocol_factory pipes = {});
/// What a shell is run with for `command`.
std::vector<std::string> shell_arguments(std::string command);
}  // namespace detail

/// A callable that makes a `std::shared_ptr` to a `subprocess_protocol`.
template <class Factory>
concept subprocess_protocol_maker = std::invocable<Factory&> && requires {
    requires std::derived_from<typename std::invoke_result_t<Factory&>::element_type,
                               subprocess_protocol>;
};

/// Runs a program as a child: `arguments` as its main gets them, the first names it. All three
/// standard descriptors are pipes unless `options` says otherwise.
///
/// Needs no SIGCHLD and works on any thread. No signal is blocked in the child; what this program
/// ignores it ignores too, but for SIGPIPE.
///
/// Result   the transport and the protocol, after `connection_made` has run.
/// Errors   `errc::value_error` for arguments nobody can mean (rules 517, 526); else what the
///          kernel says, with the program and the step that failed: "run cat (change to
///          /nowhere)". No descriptor is left then (rule 520).
/// Cancel   the child is killed and waited for first (rule 522).
/// Cost     the loop stands still until the program has begun, about as long as posix_spawn(3).
template <subprocess_protocol_maker Factory>
auto subprocess_exec(Factory factory, std::vector<std::string> arguments,
                     subprocess_options options = {})
    -> task<subprocess<typename std::invoke_result_t<Factory&>::element_type>> {
    auto receiver = factory();
    auto link =
        co_await detail::start_subprocess(receiver, std::move(arguments), std::move(options));
    co_return subprocess<typename std::invoke_result_t<Factory&>::element_type>{
        std::move(link), std::move(receiver)};
}

/// Runs `command` in a shell, /bin/sh. Whoever puts words of others into it must quote them.
template <subprocess_protocol_maker Factory>
auto subprocess_shell(Factory factory, std::string command, subprocess_options options = {})
    -> task<subprocess<typename std::invoke_result_t<Factory&>::element_type>> {
    return subprocess_exec(std::move(factory), detail::shell_arguments(std::move(command)),
                           std::move(options));
}

}  // namespace ouro
