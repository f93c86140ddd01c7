// The programs of the simulated machine, and the processes that run them.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <ouro/runtime/io.hpp>

#include "endpoint.hpp"
#include "engine.hpp"
#include "shell.hpp"

namespace ouro::testing::sim {

class world;

/// One running process. Its descriptors lead to endpoints, or to /dev/null where these are null.
struct process {
    int pid = 0;
    int group = 0;
    endpoint_ptr pidfd{};  // readable once it has ended; null when nobody waits for it
    std::map<int, endpoint_ptr> descriptors{};
    variables values{};
    std::string directory{};
    std::vector<command> script{};
    std::size_t next = 0;  // in the script
    std::set<int> ignored{};
    std::vector<int> kept_signals{};  // for when it is stopped no longer
    bool stopped = false;
    bool ended = false;
    bool reaped = false;  // by somebody else
    bool due = false;     // is about to go on
    int code = 0;

    // Of the command that runs.
    bool busy = false;
    std::vector<std::string> words{};
    std::map<int, endpoint_ptr> usual{};  // its descriptors without the redirections
    std::string output{};                 // not written yet
    std::string line{};                   // read so far
    std::size_t left = 0;                 // bytes to come
    clock::time_point until{};            // of a sleep
};
using process_ptr = std::shared_ptr<process>;

class process_table {
  public:
    explicit process_table(world& in);

    /// As io::spawn; a pidfd or a negative errno.
    int spawn(const io::spawn_request& what, io::child& made, ouro::detail::spawn_failure& failure);
    int collect(const io::child& whom, int& code);
    int signal(const io::child& whom, int signum, io::signal_reach reach);
    /// Lets `path` be a program that does what `script` says.
    void set_program(std::string path, std::string_view script);
    /// Something became possible on `at`.
    void changed(const endpoint& at);
    /// Somebody else takes the status of that child, or will.
    void reap(int pid);
    /// The machine is switched off.
    void forget() noexcept { running_.clear(); }
    /// Processes of ours whose end nobody has collected.
    std::size_t uncollected() const noexcept;

  private:
    enum class outcome : unsigned char { goes_on, waits };

    process_ptr find(int pidfd) const;
    int look_up(const io::spawn_request& what, std::vector<command>& script) const;
    void soon(const process_ptr& which);
    void run(const process_ptr& which);
    outcome start_command(process& of);
    outcome end_command(process& of, int status);
    outcome step(process& of);
    outcome run_builtin(process& of, const std::string& name);
    outcome copy(process& of);
    outcome produce(process& of);
    outcome read_line(process& of);
    outcome sleep(process& of);
    outcome send_own_signal(process& of);
    void fork(process& of, const command& what);
    bool flush(process& of, int to);
    outcome say(process& of, std::string text);
    void redirect(process& of, const std::vector<redirection>& all);
    void restore(process& of);
    void set_descriptor(std::map<int, endpoint_ptr>& of, int which, endpoint_ptr to);
    void drop_descriptor(std::map<int, endpoint_ptr>& of, int which);
    void deliver(const process_ptr& to, int signum);
    void end(process& of, int code);

    world& world_;
    std::map<std::string, std::string> programs_;  // scripts of those that are not built in
    std::vector<process_ptr> running_;             // or not collected yet
    int last_pid_ = 1000;
};

}  // namespace ouro::testing::sim
