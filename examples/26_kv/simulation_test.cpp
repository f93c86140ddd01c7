// The service in slow and stingy networks, in virtual time: every reply is right, and in order.
#include <algorithm>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/testing/explore.hpp>

#include "session.hpp"

using namespace ouro::testing;
using namespace std::chrono_literals;

constexpr int client_count = 3, requests_each = 40;

/// What one client will ask, and what it must be told.
struct dialogue {
    std::string requests;
    std::string replies;
};

void ask(dialogue& with, std::initializer_list<std::string_view> words) {
    kv::append_array(with.requests, words.size());
    for (const std::string_view word : words) kv::append_text(with.requests, word);
}

void append_found(std::string& to, const std::optional<std::string>& value) {
    if (value) {
        kv::append_text(to, *value);
    } else {
        kv::append_nothing(to);
    }
}

/// Each client has keys of its own, so that it knows what is in them.
dialogue compose(const std::string& name) {
    auto& world = simulation::current();
    dialogue made;
    std::optional<std::string> value;
    std::int64_t count = 0;
    for (int i = 0; i < requests_each; ++i) {
        switch (world.draw(0, 3)) {
        case 0:
            value.emplace(world.draw(0, 20'000), static_cast<char>('a' + i % 26));
            ask(made, {"SET", name, *value});
            kv::append_status(made.replies, "OK");
            break;
        case 1:
            ask(made, {"MGET", name, name + ":count"});
            kv::append_array(made.replies, 2);
            append_found(made.replies, value);
            append_found(made.replies, count ? std::optional(std::to_string(count)) : std::nullopt);
            break;
        case 2:
            ask(made, {"INCR", name + ":count"});
            kv::append_integer(made.replies, ++count);
            break;
        default:
            made.requests += "echo typed\r\n";
            kv::append_text(made.replies, "typed");
        }
    }
    return made;
}

ouro::task<> send(std::shared_ptr<ouro::stream_writer> to, std::string requests) {
    auto& world = simulation::current();
    std::string_view rest = requests;
    while (!rest.empty()) {
        const std::size_t size = std::min<std::size_t>(rest.size(), world.draw(1, 30'000));
        to->write(rest.substr(0, size));
        rest.remove_prefix(size);
        co_await to->drain();
        if (world.draw(0, 3) == 0) co_await ouro::sleep(1ms);
    }
}

ouro::task<> converse(std::string name, ouro::address where) {
    auto& world = simulation::current();
    auto [reader, writer] = co_await ouro::open_connection(where);
    const dialogue planned = compose(name);
    const auto to = std::make_shared<ouro::stream_writer>(std::move(writer));
    const auto sending = ouro::spawn(send(to, planned.requests));
    std::string_view rest = planned.replies;
    while (!rest.empty()) {
        const std::string_view said = ouro::as_text(co_await reader.read_some());
        if (said.empty() || !rest.starts_with(said)) throw std::runtime_error("a wrong reply");
        rest.remove_prefix(said.size());
        // Often enough it does not read while the service has much to say.
        if (world.draw(0, 9) == 0) co_await ouro::sleep(std::chrono::milliseconds(50));
    }
    co_await sending;
}

ouro::task<> every_reply_is_right_and_in_order() {
    auto in = std::make_shared<kv::database>();
    const auto where = co_await ouro::address::parse("10.0.0.2:6379");
    auto server =
        co_await ouro::create_server([in] { return std::make_shared<kv::session>(in); }, where);
    std::vector<ouro::task_handle<>> clients;
    for (int i = 0; i < client_count; ++i) {
        clients.push_back(ouro::spawn(converse("client" + std::to_string(i), where)));
    }
    for (auto& each : clients) co_await each;
    server.close();
    co_await server.wait_closed();
    if (in->clients != 0) throw std::runtime_error("a client was not forgotten");
}

simulation_options slow_and_stingy(std::uint64_t seed) {
    auto world = simulation_options::hostile(seed);
    // What this program makes no attempt to survive.
    using enum fault_kind;
    for (const auto kind : {reset, refuse, no_descriptor, accept_fails}) world.rate(kind) = 0;
    // With a few bytes for each round trip a large value takes hours.
    world.least_buffer_bytes = std::max<std::size_t>(world.least_buffer_bytes, 1024);
    world.most_buffer_bytes = std::max(world.most_buffer_bytes, world.least_buffer_bytes);
    world.most_delay = std::min(world.most_delay, std::chrono::microseconds(10'000));
    return world;
}

int main() {
    const auto report =
        explore({.seed_count = 300, .world = slow_and_stingy}, every_reply_is_right_and_in_order);
    std::puts(report.failed ? report.failed->describe().c_str() : report.figures().c_str());
    return report.failed ? 1 : 0;
}
