// Processes of the simulated machine: how they come and go.
#include "processes.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

using ouro::detail::spawn_failure;
using ouro::detail::spawn_step;
using std::chrono::microseconds;

constexpr std::array built_in{"true", "false", "echo", "cat",  "sleep", "head",
                              "yes",  "pwd",   "sh",   "kill", "dash"};
constexpr std::array directories{"/", "/tmp", "/usr", "/bin", "/etc", "/dev"};

template <class List>
bool has(const List& list, std::string_view what) {
    return std::find(list.begin(), list.end(), what) != list.end();
}

/// The name of a built-in program, or nothing when `path` is none.
std::string_view built_in_name(std::string_view path) {
    for (const std::string_view place : {"/usr/bin/", "/bin/"}) {
        if (path.starts_with(place) && has(built_in, path.substr(place.size()))) {
            return path.substr(place.size());
        }
    }
    return {};
}

std::vector<command> as_script(const io::spawn_request& what, std::string_view program) {
    std::vector<std::string> words;
    for (const char* const* each = what.arguments; *each; ++each) words.emplace_back(*each);
    if ((program == "sh" || program == "dash") && words.size() > 2 && words[1] == "-c") {
        return parse_script(words[2]);
    }
    words.front() = program;
    return {{.words = std::move(words)}};
}

}  // namespace

process_table::process_table(world& in) : world_(in) {}

void process_table::set_program(std::string path, std::string_view script) {
    programs_[std::move(path)] = script;
}

/// 0 and what the first program of those paths does.
int process_table::look_up(const io::spawn_request& what, std::vector<command>& script) const {
    int outcome = -ENOENT;
    for (const std::string_view path : what.paths) {
        const auto found = programs_.find(std::string(path));
        if (found != programs_.end()) {
            script = parse_script(found->second);
            return 0;
        }
        if (const auto name = built_in_name(path); !name.empty()) {
            script = as_script(what, name);
            return 0;
        }
        if (has(directories, path) || path == "/etc/passwd") outcome = -EACCES;
    }
    return outcome;
}

int process_table::spawn(const io::spawn_request& what, io::child& made, spawn_failure& failure) {
    if (world_.luck.strikes(fault_kind::no_descriptor)) return -EMFILE;
    auto born = std::make_shared<process>();
    born->pid = ++last_pid_;
    born->group = what.new_session || what.new_group ? born->pid : 0;
    born->directory = what.directory ? what.directory : "/";
    if (!has(directories, born->directory)) {
        failure.at = spawn_step::directory;
        return -ENOENT;
    }
    for (const auto& each : what.descriptors) {
        const bool real = each.ours >= 0 && each.ours < first_descriptor;
        const endpoint_ptr to = world_.find(each.ours);
        if (!to && !real && each.ours != io::null_device) {
            failure = {spawn_step::descriptor, each.ours};
            return -EBADF;
        }
        born->descriptors[each.theirs] = to;
    }
    if (const int failed = look_up(what, born->script); failed < 0) {
        failure.at = spawn_step::execute;
        return failed;
    }
    for (const char* const* each = what.environment; each && *each; ++each) {
        const std::string_view entry = *each;
        const auto split = std::min(entry.find('='), entry.size() - 1);
        born->values[std::string(entry.substr(0, split))] = entry.substr(split + 1);
    }
    born->values["$"] = std::to_string(born->pid);
    born->pidfd = world_.make_unnamed();
    const int pidfd = world_.publish(born->pidfd);
    if (pidfd < 0) return pidfd;
    for (const auto& [which, to] : born->descriptors) {
        if (to) world_.hold(*to);
    }
    running_.push_back(born);
    made = {born->pid, pidfd};
    world_.note(static_cast<std::uint64_t>(born->pid));
    soon(born);
    return 0;
}

process_ptr process_table::find(int pidfd) const {
    const endpoint_ptr at = world_.find(pidfd);
    const auto found = std::find_if(running_.begin(), running_.end(),
                                    [&](const auto& each) { return at && each->pidfd == at; });
    return found == running_.end() ? nullptr : *found;
}

int process_table::collect(const io::child& whom, int& code) {
    if (!world_.find(whom.pidfd)) return -EBADF;
    const process_ptr found = find(whom.pidfd);
    if (!found) return -ECHILD;
    if (!found->ended) return -EAGAIN;
    const bool told = !found->reaped;
    if (told) code = found->code;
    std::erase(running_, found);
    return told ? 0 : -ECHILD;
}

void process_table::reap(int pid) {
    for (const process_ptr& each : running_) each->reaped |= each->pid == pid;
}

int process_table::signal(const io::child& whom, int signum, io::signal_reach reach) {
    if (!world_.find(whom.pidfd)) return -EBADF;
    if (signum < 0 || signum > SIGRTMAX) return -EINVAL;
    const process_ptr found = find(whom.pidfd);
    if (reach == io::signal_reach::process) {
        if (!found) return -ESRCH;
        deliver(found, signum);
        return 0;
    }
    int outcome = -ESRCH;
    for (const process_ptr& each : std::vector(running_)) {
        if (each->group != whom.pid) continue;
        deliver(each, signum);
        outcome = 0;
    }
    return outcome;
}

void process_table::deliver(const process_ptr& to, int signum) {
    if (to->ended || signum == 0) return;
    if (signum == SIGCONT) {
        to->stopped = false;
        for (const int kept : std::exchange(to->kept_signals, {})) deliver(to, kept);
        return soon(to);
    }
    if (signum == SIGSTOP) {
        to->stopped = true;
        return;
    }
    if (signum != SIGKILL && to->ignored.contains(signum)) return;
    if (signum == SIGCHLD || signum == SIGURG || signum == SIGWINCH) return;
    if (to->stopped && signum != SIGKILL) return to->kept_signals.push_back(signum);
    end(*to, -signum);
}

void process_table::end(process& of, int code) {
    of.ended = true;
    of.code = code;
    world_.note(static_cast<std::uint64_t>(code));
    if (of.busy) restore(of);
    while (!of.descriptors.empty()) drop_descriptor(of.descriptors, of.descriptors.begin()->first);
    if (of.pidfd) {
        of.pidfd->shut_read = true;
        world_.tell(of.pidfd);
    } else {
        std::erase_if(running_, [&](const auto& each) { return each.get() == &of; });
    }
}

std::size_t process_table::uncollected() const noexcept {
    return static_cast<std::size_t>(std::count_if(
        running_.begin(), running_.end(), [](const auto& each) { return each->pidfd != nullptr; }));
}

void process_table::changed(const endpoint& at) {
    for (const process_ptr& each : running_) {
        for (const auto& [which, to] : each->descriptors) {
            if (to.get() == &at) soon(each);
        }
    }
}

/// Lets it go on after a while, once for whatever happens until then.
void process_table::soon(const process_ptr& which) {
    if (which->ended || std::exchange(which->due, true)) return;
    const auto takes = microseconds(world_.luck.draw(purpose::delay, 10, 200));
    world_.after(takes, [this, which] {
        which->due = false;
        if (!which->ended && !which->stopped) run(which);
    });
}

}  // namespace ouro::testing::sim
