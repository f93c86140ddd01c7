#include "commands.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "resp.hpp"

namespace kv {

namespace {

using std::chrono::milliseconds;
using words = std::span<const std::string_view>;

constexpr const char* no_integer = "ERR value is not an integer or out of range";
// One value may be asked for many times in one request.
constexpr std::size_t longest_reply_bytes = 64 * 1024 * 1024;
// Farther away than this a deadline does not fit into a point in time.
constexpr std::int64_t longest_life_ms = std::int64_t{1} << 42;

/// One command that is being answered.
struct call {
    database& in;
    time_point now;
    words said;
    std::string& to;
};

struct command {
    std::string_view name;
    std::size_t least;  // words, the name included
    std::size_t most;
    void (*answer)(const call& with);
};

constexpr std::size_t any = std::numeric_limits<std::size_t>::max();

std::optional<std::int64_t> number(std::string_view text) {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, failure] = std::from_chars(text.data(), end, value);
    if (failure != std::errc() || stopped != end) return std::nullopt;
    return value;
}

constexpr char lower(char each) { return each >= 'A' && each <= 'Z' ? char(each + 32) : each; }

/// Compares without regard to case; `name` is in lower case.
bool is(std::string_view text, std::string_view name) {
    return std::ranges::equal(text, name, {}, lower);
}

void append_found(std::string& to, const std::string* value) {
    if (value) {
        append_text(to, *value);
    } else {
        append_nothing(to);
    }
}

void get(const call& with) { append_found(with.to, with.in.data.get(with.said[1])); }

void mget(const call& with) {
    std::size_t bytes = 0;
    for (const auto key : with.said.subspan(1)) {
        const std::string* const value = with.in.data.get(key);
        if (value) bytes += value->size();
    }
    if (bytes > longest_reply_bytes) return append_error(with.to, "ERR the reply would be too big");
    append_array(with.to, with.said.size() - 1);
    for (const auto key : with.said.subspan(1)) append_found(with.to, with.in.data.get(key));
}

/// The deadline that `text` units from now makes; nothing for what is no such number.
std::optional<time_point> deadline(const call& with, std::string_view text, std::int64_t unit_ms) {
    const auto count = number(text);
    if (!count || *count > longest_life_ms / unit_ms || *count < -longest_life_ms / unit_ms) {
        return std::nullopt;
    }
    return with.now + milliseconds(*count * unit_ms);
}

/// SET key value [NX | XX] [EX seconds | PX milliseconds | KEEPTTL]
void set(const call& with) {
    const auto key = with.said[1];
    std::optional<time_point> until;
    bool only_new = false, only_old = false, has_life = false;
    for (words rest = with.said.subspan(3); !rest.empty(); rest = rest.subspan(1)) {
        const bool seconds = is(rest[0], "ex"), milli = is(rest[0], "px");
        if (is(rest[0], "nx") && !only_old) {
            only_new = true;
        } else if (is(rest[0], "xx") && !only_new) {
            only_old = true;
        } else if (is(rest[0], "keepttl") && !has_life) {
            has_life = true;
            until = with.in.data.deadline(key).value_or(std::nullopt);
        } else if ((seconds || milli) && rest.size() > 1 && !has_life) {
            has_life = true;
            rest = rest.subspan(1);
            until = deadline(with, rest[0], seconds ? 1000 : 1);
            if (!until) return append_error(with.to, no_integer);
            if (*until <= with.now) {
                return append_error(with.to, "ERR invalid expire time in 'set' command");
            }
        } else {
            return append_error(with.to, "ERR syntax error");
        }
    }
    const bool is_there = (only_new || only_old) && with.in.data.get(key);
    if ((only_new && is_there) || (only_old && !is_there)) return append_nothing(with.to);
    with.in.data.set(key, with.said[2], until);
    append_status(with.to, "OK");
}

void mset(const call& with) {
    if (with.said.size() % 2 == 0) {
        return append_error(with.to, "ERR wrong number of arguments for 'mset' command");
    }
    for (std::size_t i = 1; i < with.said.size(); i += 2) {
        with.in.data.set(with.said[i], with.said[i + 1]);
    }
    append_status(with.to, "OK");
}

void del(const call& with) {
    std::int64_t count = 0;
    for (const auto key : with.said.subspan(1)) count += with.in.data.remove(key);
    append_integer(with.to, count);
}

void exists(const call& with) {
    std::int64_t count = 0;
    for (const auto key : with.said.subspan(1)) count += with.in.data.get(key) != nullptr;
    append_integer(with.to, count);
}

void add(const call& with, std::optional<std::int64_t> what) {
    const auto sum = what ? with.in.data.add(with.said[1], *what) : std::nullopt;
    if (!sum) return append_error(with.to, no_integer);
    append_integer(with.to, *sum);
}

void incr(const call& with) { add(with, 1); }
void decr(const call& with) { add(with, -1); }
void incrby(const call& with) { add(with, number(with.said[2])); }
void decrby(const call& with) {
    const auto what = number(with.said[2]);
    const bool fits = what && *what != std::numeric_limits<std::int64_t>::min();
    add(with, fits ? std::optional(-*what) : std::nullopt);
}

void expire_in(const call& with, std::int64_t unit_ms) {
    const auto until = deadline(with, with.said[2], unit_ms);
    if (!until) return append_error(with.to, no_integer);
    append_integer(with.to, with.in.data.expire(with.said[1], *until));
}
void expire(const call& with) { expire_in(with, 1000); }
void pexpire(const call& with) { expire_in(with, 1); }

void persist(const call& with) {
    const auto has = with.in.data.deadline(with.said[1]).value_or(std::nullopt);
    append_integer(with.to, has && with.in.data.expire(with.said[1], std::nullopt));
}

/// What is left, in units; -1 without a deadline, -2 without a key.
void time_left(const call& with, std::int64_t unit_ms) {
    const auto until = with.in.data.deadline(with.said[1]);
    if (!until) return append_integer(with.to, -2);
    if (!*until) return append_integer(with.to, -1);
    const auto left = std::chrono::ceil<milliseconds>(**until - with.now).count();
    append_integer(with.to, (left + unit_ms / 2) / unit_ms);
}
void ttl(const call& with) { time_left(with, 1000); }
void pttl(const call& with) { time_left(with, 1); }

void ping(const call& with) {
    if (with.said.size() == 1) return append_status(with.to, "PONG");
    append_text(with.to, with.said[1]);
}
void echo(const call& with) { append_text(with.to, with.said[1]); }

void info(const call& with) {
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(with.now - with.in.started).count();
    const auto line = [](const char* name, auto value) {
        return name + (":" + std::to_string(value)) + "\r\n";
    };
    append_text(with.to, "# Server\r\nserver_name:ouro kv example\r\n" +
                             line("process_id", getpid()) + line("uptime_in_seconds", seconds) +
                             "\r\n# Clients\r\n" + line("connected_clients", with.in.clients) +
                             "\r\n# Stats\r\n" +
                             line("total_connections_received", with.in.connections) +
                             line("total_commands_processed", with.in.commands) +
                             "\r\n# Keyspace\r\ndb0:keys=" + std::to_string(with.in.data.size()) +
                             ",expires=" + std::to_string(with.in.data.mortal_count()) + "\r\n");
}

/// CONFIG GET, as far as redis-benchmark asks.
void config(const call& with) {
    if (!is(with.said[1], "get") || with.said.size() != 3) {
        return append_error(with.to, "ERR only CONFIG GET is there");
    }
    constexpr std::array<std::array<std::string_view, 2>, 2> settings{
        {{"save", ""}, {"appendonly", "no"}}};
    std::string found;
    std::size_t count = 0;
    for (const auto& [name, value] : settings) {
        if (with.said[2] != "*" && !is(with.said[2], name)) continue;
        append_text(found, name);
        append_text(found, value);
        count += 2;
    }
    append_array(with.to, count);
    with.to += found;
}

void dbsize(const call& with) {
    append_integer(with.to, static_cast<std::int64_t>(with.in.data.size()));
}
void flushall(const call& with) {
    with.in.data.clear();
    append_status(with.to, "OK");
}
void select(const call& with) {
    if (with.said[1] == "0") return append_status(with.to, "OK");
    append_error(with.to, "ERR DB index is out of range");
}
void quit(const call& with) { append_status(with.to, "OK"); }
void command_docs(const call& with) { append_array(with.to, 0); }

// By name, in order.
constexpr std::array commands{
    command{"command", 1, any, command_docs},
    command{"config", 2, any, config},
    command{"dbsize", 1, 1, dbsize},
    command{"decr", 2, 2, decr},
    command{"decrby", 3, 3, decrby},
    command{"del", 2, any, del},
    command{"echo", 2, 2, echo},
    command{"exists", 2, any, exists},
    command{"expire", 3, 3, expire},
    command{"flushall", 1, 2, flushall},
    command{"get", 2, 2, get},
    command{"incr", 2, 2, incr},
    command{"incrby", 3, 3, incrby},
    command{"info", 1, any, info},
    command{"mget", 2, any, mget},
    command{"mset", 3, any, mset},
    command{"persist", 2, 2, persist},
    command{"pexpire", 3, 3, pexpire},
    command{"ping", 1, 2, ping},
    command{"pttl", 2, 2, pttl},
    command{"quit", 1, any, quit},
    command{"select", 2, 2, select},
    command{"set", 3, any, set},
    command{"ttl", 2, 2, ttl},
};
static_assert(std::ranges::is_sorted(commands, {}, &command::name));

/// What a client said, as far as it is fit to be said back.
std::string quoted(std::string_view text) {
    std::string plain(text.substr(0, 64));
    for (char& each : plain) {
        if (each < 0x20 || each > 0x7e) each = '?';
    }
    return "'" + plain + "'";
}

const command* find(std::string_view name) {
    std::array<char, 16> small;
    if (name.size() > small.size()) return nullptr;
    std::ranges::transform(name, small.begin(), lower);
    const std::string_view wanted(small.data(), name.size());
    const auto at = std::ranges::lower_bound(commands, wanted, {}, &command::name);
    return at != commands.end() && at->name == wanted ? &*at : nullptr;
}

}  // namespace

after answer(database& in, time_point now, words said, std::string& to) {
    ++in.commands;
    const command* const known = find(said[0]);
    if (!known) {
        append_error(to, "ERR unknown command " + quoted(said[0]));
        return after::go_on;
    }
    if (said.size() < known->least || said.size() > known->most) {
        append_error(to, "ERR wrong number of arguments for '" + std::string(known->name) +
                             "' command");
        return after::go_on;
    }
    known->answer({in, now, said, to});
    return known->answer == quit ? after::close : after::go_on;
}

}  // namespace kv
