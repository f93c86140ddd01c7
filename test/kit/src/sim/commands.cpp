// What the commands of simulated programs do, as far as it is possible at once.
#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <string_view>

#include <ouro/runtime/assert.hpp>

#include "processes.hpp"
#include "world.hpp"

namespace ouro::testing::sim {
namespace {

constexpr std::size_t piece_bytes = 65536;
constexpr int not_found = 127;

std::size_t number_in(std::string_view text) {
    std::size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

int signal_in(std::string_view name) {
    if (name.starts_with('-')) name.remove_prefix(1);
    for (const auto& [known, number] :
         {std::pair{"TERM", SIGTERM}, std::pair{"KILL", SIGKILL}, std::pair{"INT", SIGINT},
          std::pair{"STOP", SIGSTOP}, std::pair{"HUP", SIGHUP}, std::pair{"PIPE", SIGPIPE}}) {
        if (name == known) return number;
    }
    return static_cast<int>(number_in(name));
}

std::span<const std::byte> bytes_in(const std::string& text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

void process_table::run(const process_ptr& which) {
    process& of = *which;
    // What never waits lets others in now and then.
    constexpr int most_steps = 64;
    for (int steps = 0; steps < most_steps; ++steps) {
        if (of.ended || of.stopped) return;
        const outcome came = of.busy ? step(of) : start_command(of);
        if (came == outcome::waits) return;
    }
    soon(which);
}

process_table::outcome process_table::start_command(process& of) {
    if (of.next == of.script.size()) {
        end(of, static_cast<int>(number_in(of.values["?"])));
        return outcome::waits;
    }
    const command& what = of.script[of.next++];
    if (what.in_background) {
        fork(of, what);
        return outcome::goes_on;
    }
    of.busy = true;
    of.words = expand(what, of.values);
    of.output.clear();
    of.line.clear();
    of.left = 0;
    of.until = {};
    const bool for_good = of.words[0] == "exec";
    if (for_good) of.words.erase(of.words.begin());
    for (const auto& [at, to] : of.descriptors) set_descriptor(of.usual, at, to);
    redirect(of, what.redirections);
    if (for_good) {
        while (!of.usual.empty()) drop_descriptor(of.usual, of.usual.begin()->first);
        if (!of.words.empty()) of.script.resize(of.next);  // it ends with this command
        for (const auto& [at, to] : of.descriptors) set_descriptor(of.usual, at, to);
        if (of.words.empty()) return end_command(of, 0);
    }
    const auto& name = of.words[0];
    if (name == "head") {
        OURO_ASSERT(of.words.size() == 4 && of.words[1] == "-c" && of.words[3] == "/dev/zero",
                    "a simulated program knows: head -c COUNT /dev/zero");
        of.left = number_in(of.words[2]);
    }
    return step(of);
}

process_table::outcome process_table::end_command(process& of, int status) {
    of.busy = false;
    restore(of);
    of.values["?"] = std::to_string(status);
    return outcome::goes_on;
}

void process_table::redirect(process& of, const std::vector<redirection>& all) {
    for (const redirection& each : all) {
        if (each.to == redirection::closed) {
            drop_descriptor(of.descriptors, each.descriptor);
            continue;
        }
        const auto found = of.descriptors.find(each.to);
        set_descriptor(of.descriptors, each.descriptor,
                       found == of.descriptors.end() ? nullptr : found->second);
    }
}
/// Takes back the redirections of the command that has ended.
void process_table::restore(process& of) {
    auto redirected = std::exchange(of.descriptors, std::exchange(of.usual, {}));
    while (!redirected.empty()) drop_descriptor(redirected, redirected.begin()->first);
}

void process_table::set_descriptor(std::map<int, endpoint_ptr>& of, int which, endpoint_ptr to) {
    if (to) world_.hold(*to);
    drop_descriptor(of, which);
    of[which] = std::move(to);
}
void process_table::drop_descriptor(std::map<int, endpoint_ptr>& of, int which) {
    const auto found = of.find(which);
    if (found == of.end()) return;
    const endpoint_ptr what = std::move(found->second);
    of.erase(found);
    if (what) world_.let_go(what);
}

void process_table::fork(process& of, const command& what) {
    auto born = std::make_shared<process>();
    born->pid = ++last_pid_;
    born->group = of.group;
    born->values = of.values;
    born->directory = of.directory;
    born->ignored = of.ignored;
    born->script = {what};
    born->script.front().in_background = false;
    born->script.front().words.insert(born->script.front().words.begin(), "exec");
    for (const auto& [at, to] : of.descriptors) set_descriptor(born->descriptors, at, to);
    running_.push_back(born);
    soon(born);
}

process_table::outcome process_table::step(process& of) {
    const std::string name = of.words[0];
    if (!of.output.empty()) {  // the rest of what echo and others say
        if (!flush(of, 1)) return outcome::waits;
        if (name == "echo" || name == "pwd") return end_command(of, 0);
    }
    if (name == "cat") return copy(of);
    if (name == "yes" || name == "head") return produce(of);
    if (name == "read") return read_line(of);
    if (name == "sleep") return sleep(of);
    return run_builtin(of, name);
}

process_table::outcome process_table::run_builtin(process& of, const std::string& name) {
    if (name == "true" || name == ":") return end_command(of, 0);
    if (name == "false") return end_command(of, 1);
    if (name == "kill") return send_own_signal(of);
    if (name == "exit") {
        const std::string status = of.words.size() > 1 ? of.words[1] : of.values["?"];
        end(of, static_cast<int>(number_in(status)));
        return outcome::waits;
    }
    if (name == "pwd") return say(of, of.directory);
    if (name == "echo") {
        std::string text;
        for (std::size_t i = 1; i < of.words.size(); ++i) {
            text += (i > 1 ? " " : "") + of.words[i];
        }
        return say(of, std::move(text));
    }
    if (name == "trap") {
        OURO_ASSERT(of.words.size() == 3 && of.words[1].empty(),
                    "a simulated program knows: trap '' SIGNAL");
        of.ignored.insert(signal_in(of.words[2]));
        return end_command(of, 0);
    }
    return end_command(of, not_found);
}

process_table::outcome process_table::say(process& of, std::string text) {
    of.output = std::move(text) + "\n";
    return flush(of, 1) ? end_command(of, 0) : outcome::waits;
}

/// Writes what there is to write. False: later, or never, because that was its end.
bool process_table::flush(process& of, int to) {
    while (!of.output.empty()) {
        const auto found = of.descriptors.find(to);
        if (found == of.descriptors.end()) {
            of.output.clear();  // closed: an error that these programs do not mind
            break;
        }
        if (!found->second) {
            of.output.clear();  // /dev/null
            break;
        }
        const std::int64_t taken = world_.send(found->second, bytes_in(of.output), false);
        if (taken == -EAGAIN) return false;
        if (taken < 0) {
            if (of.ignored.contains(SIGPIPE)) {
                of.output.clear();
                break;
            }
            end(of, -SIGPIPE);
            return false;
        }
        of.output.erase(0, static_cast<std::size_t>(taken));
    }
    return true;
}

process_table::outcome process_table::copy(process& of) {
    if (!flush(of, 1)) return outcome::waits;
    const auto from = of.descriptors.find(0);
    if (from == of.descriptors.end()) return end_command(of, 1);
    if (!from->second) return end_command(of, 0);
    std::array<std::byte, 4096> room{};
    const std::int64_t got = world_.receive(from->second, room);
    if (got == -EAGAIN) return outcome::waits;
    if (got <= 0) return end_command(of, got == 0 ? 0 : 1);
    of.output.assign(reinterpret_cast<const char*>(room.data()), static_cast<std::size_t>(got));
    return outcome::goes_on;
}

process_table::outcome process_table::produce(process& of) {
    const bool endless = of.words[0] == "yes";
    if (!endless && of.left == 0) return end_command(of, 0);
    if (endless) {
        while (of.output.size() < piece_bytes) of.output += "y\n";
    } else {
        of.output.assign(std::min(of.left, piece_bytes), '\0');
        of.left -= of.output.size();
    }
    return flush(of, 1) ? outcome::goes_on : outcome::waits;
}

process_table::outcome process_table::read_line(process& of) {
    const auto from = of.descriptors.find(0);
    for (;;) {
        std::byte next{};
        const bool open = from != of.descriptors.end() && from->second;
        const std::int64_t got = open ? world_.receive(from->second, {&next, 1}) : 0;
        if (got == -EAGAIN) return outcome::waits;
        if (got <= 0 || next == std::byte{'\n'}) {
            of.values[of.words.at(1)] = of.line;
            return end_command(of, got > 0 ? 0 : 1);
        }
        of.line += static_cast<char>(next);
    }
}

process_table::outcome process_table::sleep(process& of) {
    if (of.until == clock::time_point{}) {
        double seconds = 0;
        const std::string& text = of.words.at(1);
        std::from_chars(text.data(), text.data() + text.size(), seconds);
        of.until =
            world_.now() + std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6));
        const auto found = std::find_if(running_.begin(), running_.end(),
                                        [&](const auto& each) { return each.get() == &of; });
        world_.at(of.until, [this, which = *found] {
            if (!which->ended) soon(which);
        });
    }
    return world_.now() < of.until ? outcome::waits : end_command(of, 0);
}

process_table::outcome process_table::send_own_signal(process& of) {
    OURO_ASSERT(of.words.size() == 3 && of.words[2] == of.values["$"],
                "a simulated program knows: kill -SIGNAL $$");
    const int signum = signal_in(of.words[1]);
    const auto self = std::find_if(running_.begin(), running_.end(),
                                   [&](const auto& each) { return each.get() == &of; });
    const outcome goes_on = end_command(of, 0);
    deliver(*self, signum);
    return of.ended || of.stopped ? outcome::waits : goes_on;
}

}  // namespace ouro::testing::sim
