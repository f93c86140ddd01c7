// Taking over sockets that a service manager opened.
#include <ouro/net/inherited.hpp>

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

namespace ouro {
namespace detail {
namespace {

// Far more than any service has.
constexpr int most_sockets = 4096;

std::optional<int> number(std::string_view text) {
    int value = -1;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size() || value < 0) return {};
    return value;
}

error senseless(const char* what) {
    return error(errc::value_error, [&] { return std::string("inherit sockets (") + what + ")"; });
}

/// The part of `names` up to the next colon, which is taken off.
std::string next_name(std::string_view& names) {
    const auto colon = names.find(':');
    std::string first(names.substr(0, colon));
    names.remove_prefix(colon == names.npos ? names.size() : colon + 1);
    return first;
}

}  // namespace

result<std::vector<inherited_socket>> inherit(loop& home, const inheritance& from) {
    std::vector<inherited_socket> all;
    if (!from.pid || !from.count) return all;
    const auto pid = number(from.pid);
    if (!pid) return senseless("LISTEN_PID is no number");
    if (*pid != from.own_pid) return all;
    const auto count = number(from.count);
    if (!count || *count > most_sockets) return senseless("LISTEN_FDS is no sensible number");
    for (int fd = from.first; fd < from.first + *count; ++fd) {
        if (!io::get_option(home, fd, SOL_SOCKET, SO_TYPE)) return senseless("not every one is");
        if (auto set = io::set_close_on_exec(home, fd); !set) return set.error();
    }
    std::string_view names = from.names ? from.names : "";
    for (int fd = from.first; fd < from.first + *count; ++fd) {
        std::string name = next_name(names);
        all.push_back({std::move(name), socket::adopt(home, fd)});
    }
    return all;
}

}  // namespace detail

result<std::vector<inherited_socket>> inherited_sockets() {
    auto found = detail::inherit(loop::current(), {.pid = std::getenv("LISTEN_PID"),
                                                   .count = std::getenv("LISTEN_FDS"),
                                                   .names = std::getenv("LISTEN_FDNAMES"),
                                                   .own_pid = ::getpid()});
    if (found && !found->empty()) {
        for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
    }
    return found;
}

}  // namespace ouro
