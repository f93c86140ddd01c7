// From options to what the door takes: where the program may be, and which descriptor is what.
#include "spawn_plan.hpp"

#include <unistd.h>

#include <algorithm>
#include <string_view>

namespace ouro::detail {
namespace {

using kind = stdio::kind;
using descriptor = io::spawn_request::descriptor;

constexpr std::string_view usual_path = "/bin:/usr/bin";

bool has_null(std::string_view text) noexcept { return text.find('\0') != std::string_view::npos; }

std::vector<const char*> pointers(const std::vector<std::string>& all) {
    std::vector<const char*> made;
    made.reserve(all.size() + 1);
    for (const std::string& each : all) made.push_back(each.c_str());
    made.push_back(nullptr);
    return made;
}

error refused(const char* why) {
    return error(errc::value_error, words([&] { return std::string("run a program: ") + why; }));
}

}  // namespace

spawn_plan::spawn_plan(loop& home, std::vector<std::string> arguments, subprocess_options options)
    : home_(home), arguments_(std::move(arguments)), options_(std::move(options)) {}

spawn_plan::~spawn_plan() {
    for (const int fd : theirs_) {
        if (fd >= 0) io::close(home_, fd);
    }
}

const stdio& spawn_plan::wanted(int fd) const noexcept {
    const stdio* all[] = {&options_.in, &options_.out, &options_.err};
    const stdio& asked = *all[fd];
    return asked.what() == kind::usual ? stdio::pipe : asked;
}

result<> spawn_plan::check() const {
    if (arguments_.empty()) return refused("no argument names it");
    if (arguments_.front().empty() && options_.executable.empty()) return refused("an empty name");
    if (std::any_of(arguments_.begin(), arguments_.end(), has_null) ||
        has_null(options_.executable) || has_null(options_.cwd)) {
        return refused("a null character in a text");
    }
    if (options_.env) {
        for (const std::string& each : *options_.env) {
            if (has_null(each) || each.find('=') == std::string::npos) {
                return refused("an environment is a list of NAME=value");
            }
        }
    }
    if (wanted(0).what() == kind::to_stdout || wanted(1).what() == kind::to_stdout) {
        return refused("only its standard error can lead to its standard output");  // rule 517
    }
    std::vector<int> theirs;
    for (const passed_fd& each : options_.pass_fds) {
        if (each.ours < 0 || each.theirs <= STDERR_FILENO) {
            return refused("passed descriptors are above the standard ones");
        }
        theirs.push_back(each.theirs);
    }
    std::sort(theirs.begin(), theirs.end());
    if (std::adjacent_find(theirs.begin(), theirs.end()) != theirs.end()) {
        return refused("two passed descriptors have one number");
    }
    return {};
}

namespace {

/// With a standard descriptor closed here a pipe may get its number, and a child that inherits that
/// one would get the pipe. On failure both ends are closed.
result<> move_above_standard(loop& home, int (&ends)[2]) {
    for (int& end : ends) {
        if (end > STDERR_FILENO) continue;
        auto moved = io::duplicate(home, end);
        if (!moved) {
            for (const int each : ends) io::close(home, each);
            return moved.error();
        }
        io::close(home, end);
        end = *moved;
    }
    return {};
}

}  // namespace

result<> spawn_plan::make_pipes(int (&ours)[3]) {
    const auto naming = [this](const error& why) {
        return error(why.code(),
                     words([this] { return "run " + arguments_[0] + " (make a pipe)"; }));
    };
    for (int fd = 0; fd <= STDERR_FILENO; ++fd) {
        if (wanted(fd).what() != kind::pipe) continue;
        int ends[2];
        if (auto made = io::make_pipe(home_, ends); !made) return naming(made.error());
        if (auto moved = move_above_standard(home_, ends); !moved) return naming(moved.error());
        ours[fd] = ends[fd == STDIN_FILENO ? 1 : 0];
        theirs_[fd] = ends[fd == STDIN_FILENO ? 0 : 1];
    }
    return {};
}

/// Our descriptor that the child has as `fd`.
int spawn_plan::place_of(int fd) const noexcept {
    switch (wanted(fd).what()) {
    case kind::usual:
    case kind::pipe:
        return theirs_[fd];
    case kind::inherit:
        return fd;
    case kind::devnull:
        return io::null_device;
    case kind::to_stdout:
        return place_of(STDOUT_FILENO);
    case kind::descriptor:
        break;
    }
    return wanted(fd).fd();
}

/// Where the program may be, in the order of PATH.
void spawn_plan::find_paths() {
    const std::string& file =
        options_.executable.empty() ? arguments_.front() : options_.executable;
    if (file.find('/') != std::string::npos) return paths_.push_back(file);
    std::string_view path = usual_path;
    const auto look_at = [&](std::string_view entry) {
        if (entry.starts_with("PATH=")) path = entry.substr(5);
    };
    if (options_.env) {
        for (const std::string& each : *options_.env) look_at(each);
    } else {
        for (char** each = ::environ; each && *each; ++each) look_at(*each);
    }
    while (!path.empty()) {
        const std::size_t end = std::min(path.find(':'), path.size());
        const std::string_view folder = path.substr(0, end);
        paths_.push_back(folder.empty() ? "./" + file : std::string(folder) + "/" + file);
        path.remove_prefix(std::min(end + 1, path.size()));
    }
}

result<io::child> spawn_plan::start() {
    find_paths();
    auto paths = pointers(paths_);
    paths.pop_back();
    const auto arguments = pointers(arguments_);
    const auto environment = options_.env ? pointers(*options_.env) : std::vector<const char*>();
    std::vector<descriptor> descriptors;
    for (int fd = 0; fd <= STDERR_FILENO; ++fd) descriptors.push_back({place_of(fd), fd});
    for (const passed_fd& each : options_.pass_fds) {
        descriptors.push_back({each.ours, each.theirs});
    }
    std::sort(
        descriptors.begin(), descriptors.end(),
        [](const descriptor& left, const descriptor& right) { return left.theirs < right.theirs; });
    return io::spawn(home_, {.paths = paths,
                             .arguments = arguments.data(),
                             .environment = options_.env ? environment.data() : ::environ,
                             .directory = options_.cwd.empty() ? nullptr : options_.cwd.c_str(),
                             .descriptors = descriptors,
                             .new_session = options_.new_session,
                             .new_group = options_.kill_group});
}

}  // namespace ouro::detail
