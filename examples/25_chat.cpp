// A chat: everybody reads what anybody writes. Nobody waits for a slow reader, who is dropped and
// told why.
#include <cctype>
#include <list>
#include <optional>

#include "service.hpp"

using namespace std::chrono_literals;

constexpr const char* usage =
    R"(usage: 25_chat [PLACE]
A chat for programs like nc. The first line is a name; then every line goes to all others.
/nick NAME, /who and /quit are commands.
PLACE  a port of 127.0.0.1 (0: a free one), HOST:PORT, [HOST]:PORT or unix:PATH; default 8889
Ctrl-C says good-bye to everybody and ends.
)";

constexpr std::size_t longest_line_bytes = 1024;
constexpr std::size_t most_behind_bytes = 256 * 1024;  // of what somebody has not read yet
constexpr auto time_to_introduce_oneself = 60s;

struct member {
    ouro::stream_writer to;
    ouro::task_ref task = ouro::current_task();
    std::string name{};  // empty until it was given
    std::string why{};   // not empty: is being dropped
};

class room {
  public:
    std::list<member>::iterator enter(ouro::stream_writer writer) {
        return members_.insert(members_.end(), member{std::move(writer)});
    }
    void leave(std::list<member>::iterator who) {
        const std::string name = who->name;
        const std::string why = who->why.empty() ? "left" : "was dropped: " + who->why;
        members_.erase(who);
        if (!name.empty()) tell("* " + name + " " + why + "\n");
    }

    /// Queues a line for everybody but `author`. Who does not take them is asked to leave.
    void tell(const std::string& line, const member* author = nullptr) {
        for (member& each : members_) {
            if (&each == author || each.name.empty() || !each.why.empty()) continue;
            each.to.write(line);
            if (each.to.transport().get_write_buffer_size() <= most_behind_bytes) continue;
            each.why = "reads too slowly";
            each.task.cancel();
        }
    }

    bool knows(std::string_view name) const {
        return std::ranges::any_of(members_, [&](const member& each) { return each.name == name; });
    }
    std::string names() const {
        std::string all = "*";
        for (const member& each : members_) {
            if (!each.name.empty()) all += " " + each.name;
        }
        return all + "\n";
    }

  private:
    std::list<member> members_;
};

/// What somebody typed, without what could disturb the terminals of others.
std::string cleaned(std::string_view line) {
    std::string text;
    for (const char each : line) {
        const auto value = static_cast<unsigned char>(each);
        if (value >= 0x20 && value != 0x7f) text += each;
    }
    return text;
}

/// A line, or nothing at the end. Whoever sends a line that is too long is told; it is skipped.
ouro::task<std::optional<std::string>> next_line(ouro::stream_reader& from,
                                                 ouro::stream_writer& to) {
    while (true) {
        const auto line = co_await ouro::as_result(from.readline());
        if (line && line->empty()) co_return std::nullopt;
        if (line) co_return cleaned(*line);
        if (line.error() != ouro::errc::value_error) co_return line.error();
        to.write("* that line was too long\n");
        co_await to.drain();  // who does not read the answers is not read from
    }
}

/// Gives `who` a name that nobody else has; false, and says why, if that cannot be.
bool name(const room& in, member& who, const std::string& wanted) {
    const bool is_plain = std::ranges::all_of(wanted, [](unsigned char each) {
        return std::isalnum(each) || each == '_' || each == '-' || each >= 0x80;
    });
    if (wanted.empty() || wanted.size() > 20 || !is_plain) {
        who.to.write("* a name has 1 to 20 letters, digits, _ or -\n");
    } else if (in.knows(wanted)) {
        who.to.write("* that name is taken\n");
    } else {
        who.name = wanted;
        return true;
    }
    return false;
}

ouro::task<bool> introduce(room& in, member& who, ouro::stream_reader& from) {
    const ouro::timeout limit(time_to_introduce_oneself);
    who.to.write("* your name?\n");
    while (const auto line = co_await next_line(from, who.to)) {
        if (!name(in, who, *line)) {
            co_await who.to.drain();
            continue;
        }
        who.to.write("* welcome, " + who.name + "\n" + in.names());
        in.tell("* " + who.name + " is here\n", &who);
        co_return true;
    }
    co_return false;
}

ouro::task<> talk(room& in, member& who, ouro::stream_reader& from) {
    if (!co_await introduce(in, who, from)) co_return;
    while (const auto line = co_await next_line(from, who.to)) {
        const std::string before = who.name;
        if (*line == "/quit") break;
        if (*line == "/who") {
            who.to.write(in.names());
        } else if (line->starts_with("/nick ")) {
            if (name(in, who, line->substr(6))) in.tell("* " + before + " is " + who.name + "\n");
        } else if (line->starts_with('/')) {
            who.to.write("* there are /nick NAME, /who and /quit\n");
        } else if (!line->empty()) {
            in.tell(who.name + ": " + *line + "\n", &who);
        }
        co_await who.to.drain();
    }
}

ouro::task<> visit(std::shared_ptr<room> in, ouro::stream_reader from, ouro::stream_writer to) {
    const auto who = in->enter(std::move(to));
    const auto ended = co_await ouro::as_result(talk(*in, *who, from));
    if (who->why.empty() && !ended && ended.error() == std::errc::timed_out) {
        who->to.write("* you did not give a name\n");
    }
    ouro::stream_writer last = std::move(who->to);
    if (!who->why.empty()) {
        std::printf("%s was dropped: %s\n", who->name.c_str(), who->why.c_str());
        std::fflush(stdout);
        last.write("* you were dropped: " + who->why + "\n");
    }
    in->leave(who);
    // What is queued still goes to who begins to read again soon.
    last.close();
    (void)co_await ouro::as_result(ouro::wait_for(last.wait_closed(), 5s));
    last.transport().abort();
}

ouro::task<int> serve(ouro::address where) {
    auto everybody = std::make_shared<room>();
    auto handler = [everybody](ouro::stream_reader from, ouro::stream_writer to) {
        return visit(everybody, std::move(from), std::move(to));
    };
    return service::serve(ouro::start_server(handler, where, {.limit_bytes = longest_line_bytes}),
                          [everybody] { everybody->tell("* the server is going down\n"); });
}

int main(int argc, char** argv) { return service::main(usage, "8889", argc, argv, serve); }
