// How a server is made: names, addresses and given sockets become listening sockets.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <limits>

#include <ouro/net/resolve.hpp>

#include "server_open.hpp"

namespace ouro::detail {
namespace {

/// One option of a listening socket that accepted ones inherit.
struct inherited_option {
    int level;
    int name;
    std::int64_t value;
};

std::vector<inherited_option> wanted(const server_options& options) {
    std::vector<inherited_option> all;
    const auto add = [&](int level, int name, std::int64_t value) {
        if (value != 0) all.push_back({level, name, value});
    };
    add(SOL_SOCKET, SO_KEEPALIVE, options.keep_alive);
    add(IPPROTO_TCP, TCP_KEEPIDLE, options.keep_alive_idle.count());
    add(IPPROTO_TCP, TCP_KEEPINTVL, options.keep_alive_interval.count());
    add(IPPROTO_TCP, TCP_KEEPCNT, options.keep_alive_probes);
    add(IPPROTO_TCP, TCP_USER_TIMEOUT, options.user_timeout.count());
    return all;
}

/// Options that no server can have.
result<> checked(const server_options& options) {
    const auto all = wanted(options);
    const bool fits = std::all_of(all.begin(), all.end(), [](const inherited_option& each) {
        return each.value >= 0 && each.value <= std::numeric_limits<int>::max();
    });
    if (!fits || !(options.max_accept_rate >= 0) || options.accept_retry.count() < 0) {
        return error(errc::value_error, "listen with a limit or a time below zero or too large");
    }
    return {};
}

result<> set_inherited(const socket_view& on, const server_options& options) {
    // Accepted sockets inherit it, which saves each of them the call (rule 343).
    if (options.no_delay) {
        (void)on.set_option(IPPROTO_TCP, TCP_NODELAY, 1);  // not TCP after all: nothing to delay
    }
    for (const auto& each : wanted(options)) {
        auto outcome = on.set_option(each.level, each.name, static_cast<int>(each.value));
        if (!outcome) return outcome;
    }
    return {};
}

/// Listens on each of `found` that is not in `done` already.
result<> add_each(loop& home, server_state& to, const std::vector<address>& found,
                  std::vector<address>& done, error& skipped, const server_options& options) {
    for (const address& where : found) {
        if (std::find(done.begin(), done.end(), where) != done.end()) continue;
        done.push_back(where);
        auto made = open_listener(home, where, options);
        if (made) {
            if (auto added = to.add(std::move(*made)); !added) return added;
            continue;
        }
        // A family that this machine does not have is no failure while another one works (rule
        // 400).
        const auto& why = made.error();
        const bool absent = why == std::errc::address_not_available ||
                            why == std::errc::address_family_not_supported;
        if (!absent) return why;
        skipped = why;
    }
    return {};
}

}  // namespace

result<std::shared_ptr<server_state>> make_server(loop& home, protocol_factory factory,
                                                  const server_options& options) {
    if (auto fit = checked(options); !fit) return fit.error();
    return std::make_shared<server_state>(home, std::move(factory), options);
}

result<> server_state::add(socket bound) {
    auto where = bound.local_address();
    if (!where) return where.error();
    const int fd = bound.fd();
    auto added = std::make_unique<listener>(*this, *home_, fd);
    if (where->family() != AF_UNIX) {
        if (auto set = set_inherited(*added, options_); !set) {
            set.error().while_doing("set up " + where->to_string());
            return set;
        }
    }
    added->where = *where;
    in_hand_.reserve(listeners_.size() + 1);
    listeners_.push_back(std::move(added));
    (void)bound.release();
    io::adopt(*home_, fd);
    return {};
}

void server_state::own_file(std::string path, const io::file_identity& file) {
    listeners_.back()->path = std::move(path);
    listeners_.back()->file = file;
}

result<socket> open_listener(loop& home, const address& where, const server_options& options) {
    const auto naming = [&](const error& why) {
        return error(why.code(), "listen on " + where.to_string());
    };
    auto made = socket::open(home, where.family());
    if (!made) return naming(made.error());
    const bool ip = where.family() != AF_UNIX;
    result<> outcome;
    if (options.reuse_address && ip) outcome = made->set_option(SOL_SOCKET, SO_REUSEADDR, 1);
    if (outcome && options.reuse_port && ip)
        outcome = made->set_option(SOL_SOCKET, SO_REUSEPORT, 1);
    if (outcome &&
        where.family() == AF_INET6) {  // so that both families can share a port (rule 392)
        outcome = made->set_option(IPPROTO_IPV6, IPV6_V6ONLY, 1);
    }
    if (outcome) {
        outcome = made->bind(where);
    }
    if (!outcome) return naming(outcome.error());
    return made;
}

task<server> open_server(std::shared_ptr<server_state> state, bool start) {
    if (start) co_await state->start_serving();
    co_return server(std::move(state));
}

task<server> listen_on(protocol_factory factory, std::vector<std::string> hosts, std::uint16_t port,
                       server_options options) {
    loop& home = loop::current();
    auto state = co_await make_server(home, std::move(factory), options);
    std::vector<address> done;
    error skipped(errc::no_address, "listen without a host");
    for (const std::string& host : hosts) {
        const auto found =
            co_await resolve(host, port, {.family = options.family, .for_listening = true});
        co_await add_each(home, *state, found, done, skipped, options);
    }
    if (!state->has_sockets()) co_return skipped;
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<server> listen_on(protocol_factory factory, std::string host, std::uint16_t port,
                       server_options options) {
    return listen_on(std::move(factory), std::vector<std::string>(1, std::move(host)), port,
                     options);
}

task<server> listen_on(protocol_factory factory, address where, server_options options) {
    loop& home = loop::current();
    auto state = co_await make_server(home, std::move(factory), options);
    co_await state->add(co_await open_listener(home, where, options));
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<server> listen_on(protocol_factory factory, std::vector<socket> given,
                       server_options options) {
    if (given.empty()) co_return error(errc::value_error, "serve on no socket");
    auto state = co_await make_server(loop::current(), std::move(factory), options);
    for (socket& each : given) {
        if (!each) co_return error(errc::value_error, "serve on a closed socket");
        if (const int type = co_await each.get_option(SOL_SOCKET, SO_TYPE); type != SOCK_STREAM) {
            co_return error(errc::value_error, "serve on a socket that is not a stream socket");
        }
        co_await state->add(std::move(each));
    }
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<server> listen_on(protocol_factory factory, socket given, server_options options) {
    std::vector<socket> one;
    one.push_back(std::move(given));
    return listen_on(std::move(factory), std::move(one), options);
}

}  // namespace ouro::detail
