// Connecting to the first address that answers, and errors that name each attempt.
#include "connect_race.hpp"

#include <algorithm>
#include <exception>
#include <span>

#include <ouro/net/resolve.hpp>
#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/race.hpp>

namespace ouro::detail {
namespace {

/// Where to connect to, in order, and which look-ups came to nothing.
struct candidates {
    std::vector<address> peers;
    std::vector<error> failures;
};

/// The look-ups run side by side. One host that is not found is an error; one of several is a
/// failed attempt.
task<candidates> look_up(std::vector<std::string> hosts, std::uint16_t port, int family) {
    candidates all;
    if (hosts.empty()) co_return error(errc::value_error, "connect to none of no hosts");
    if (hosts.size() == 1) {
        all.peers = co_await resolve(std::move(hosts.front()), port, {.family = family});
        co_return all;
    }
    std::vector<task<std::vector<address>>> asked;
    for (auto& host : hosts) {
        asked.push_back(resolve(std::move(host), port, {.family = family}));
    }
    for (auto& found : co_await gather_results(std::move(asked))) {
        if (!found) {
            all.failures.push_back(std::move(found.error()));
            continue;
        }
        for (const address& each : *found) {
            const bool known = std::count(all.peers.begin(), all.peers.end(), each) != 0;
            if (!known) all.peers.push_back(each);
        }
    }
    co_return all;
}

/// What a socket may be bound to before it connects; none: it is not bound.
task<std::vector<address>> local_candidates(connect_options options) {
    std::vector<address> all;
    if (options.local_port != 0 || !options.local_host.empty()) {
        all = co_await resolve(std::move(options.local_host), options.local_port,
                               {.family = options.family, .for_listening = true});
    }
    if (options.local) all.insert(all.begin(), options.local);
    co_return all;
}

/// Binds to the first local address that works (rules 376-378).
result<> bind_for(socket& made, const address& peer, std::span<const address> locals) {
    if (locals.empty()) return {};
    error why(errc::no_address, "connect " + peer.to_string() + " (no matching local address)");
    for (const address& local : locals) {
        if (local.family() != peer.family()) continue;
        const auto bound = made.bind(local);
        if (bound) return {};
        why = error(bound.error().code(),
                    "connect " + peer.to_string() + " from " + local.to_string());
    }
    return why;
}

task<socket> connect_one(const address& peer, std::span<const address> locals) {
    auto made = socket::open(loop::current(), peer.family());
    if (!made) co_return error(made.error().code(), "connect " + peer.to_string());
    co_await bind_for(*made, peer, locals);
    co_await made->connect(peer);
    co_return std::move(*made);
}

/// How an attempt ended the race: connected, or with an exception, which is no failure to connect
/// and ends the search (rule 375).
struct arrival {
    socket connected;
    std::exception_ptr thrown;
};

/// One attempt of the race.
struct attempt {
    const address* peer;
    std::span<const address> locals;

    task<arrival> operator()() const { return run(*peer, locals); }

  private:
    static task<arrival> run(const address& peer, std::span<const address> locals) {
        arrival first;
        try {
            first.connected = co_await connect_one(peer, locals);
        } catch (...) {
            first.thrown = std::current_exception();
        }
        co_return first;
    }
};

/// One error that tells of all attempts (rules 371-373).
error summary(std::vector<error> failures, bool all_errors) {
    for (error& each : failures) {
        if (each == errc::cancelled) return std::move(each);
        // An attempt that there was no memory to start.
        if (each.exception()) std::rethrow_exception(each.exception());
    }
    if (all_errors) return error::several(std::move(failures), "connect");
    const auto text = failures.front().message();
    const auto code = failures.front().code();
    const auto all_have = [&](auto property, const auto& value) {
        return std::all_of(failures.begin(), failures.end(),
                           [&](const error& each) { return (each.*property)() == value; });
    };
    if (all_have(&error::message, text)) return std::move(failures.front());
    const bool one_code = all_have(&error::code, code);
    return error::several(std::move(failures), "connect",
                          one_code ? code : make_error_code(errc::several_failures));
}

/// In turn, or overlapping with `happy_eyeballs_delay`: a race in either case (rules 369, 385).
task<socket> connect_first(candidates to, connect_options options) {
    const auto delay = options.happy_eyeballs_delay;
    const bool all_errors = options.all_errors;
    const int interleave = options.interleave < 0 ? (delay ? 1 : 0) : options.interleave;
    if (interleave > 0) to.peers = interleaved(to.peers, interleave);  // rule 386
    const auto locals = co_await local_candidates(std::move(options));
    if (to.peers.size() == 1 && to.failures.empty() && !all_errors) {
        co_return co_await connect_one(to.peers.front(), locals);
    }
    std::vector<attempt> attempts;
    for (const address& each : to.peers) attempts.push_back({&each, locals});
    auto race = co_await staggered_race(std::move(attempts), delay);
    if (race.winner) {
        arrival& first = race.winner->value;
        if (first.thrown) std::rethrow_exception(first.thrown);
        co_return std::move(first.connected);
    }
    std::move(race.errors.begin(), race.errors.end(), std::back_inserter(to.failures));
    co_return summary(std::move(to.failures), all_errors);
}

}  // namespace

task<socket> connect_to(std::vector<std::string> hosts, std::uint16_t port,
                        connect_options options) {
    auto found = co_await look_up(std::move(hosts), port, options.family);
    co_return co_await connect_first(std::move(found), std::move(options));
}

task<socket> connect_to(address peer, connect_options options) {
    candidates only;
    only.peers.push_back(peer);
    co_return co_await connect_first(std::move(only), std::move(options));
}

std::vector<address> interleaved(const std::vector<address>& all, int first_count) {
    std::vector<std::vector<address>> families;
    for (const address& each : all) {
        const auto known = std::find_if(families.begin(), families.end(), [&](const auto& family) {
            return family.front().family() == each.family();
        });
        if (known != families.end()) {
            known->push_back(each);
        } else {
            families.push_back({each});
        }
    }
    if (families.empty()) return {};
    auto& first = families.front();
    const auto ahead = std::min(first.size(), static_cast<std::size_t>(first_count - 1));
    std::vector<address> order(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(ahead));
    first.erase(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(ahead));
    for (std::size_t turn = 0; order.size() < all.size(); ++turn) {
        for (const auto& family : families) {
            if (turn < family.size()) order.push_back(family[turn]);
        }
    }
    return order;
}

}  // namespace ouro::detail
