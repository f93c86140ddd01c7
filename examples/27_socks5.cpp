// A SOCKS5 proxy (RFC 1928): CONNECT to IPv4, IPv6 and names, without authentication.
#include <arpa/inet.h>

#include <array>

#include "relay.hpp"
#include "service.hpp"

using namespace std::chrono_literals;

constexpr const char* usage =
    R"(usage: 27_socks5 [PLACE]
A SOCKS5 proxy without authentication, for `curl --socks5-hostname` and others.
PLACE  a port of 127.0.0.1 (0: a free one), HOST:PORT, [HOST]:PORT or unix:PATH; default 1080
Whoever reaches PLACE can reach whatever this machine can: do not listen for strangers.
Ctrl-C ends all connections and the program.
)";

constexpr auto time_to_ask = 10s;
constexpr auto time_to_connect = 10s;

// The bytes of the protocol.
constexpr std::byte version{5}, no_authentication{0}, no_method{0xff}, connect_command{1};
constexpr std::byte ipv4{1}, domain_name{3}, ipv6{4};

enum class reply : unsigned char {
    succeeded = 0,
    general_failure = 1,
    network_unreachable = 3,
    host_unreachable = 4,
    refused = 5,
    timed_out = 6,
    unsupported_command = 7,
    unsupported_address = 8,
};

struct request {
    reply problem = reply::succeeded;
    std::string host{};  // numeric, or a name
    std::uint16_t port = 0;
};

/// The methods a client offers; false when it cannot do without authentication, or speaks
/// something else.
ouro::task<bool> greet(ouro::stream& client) {
    const ouro::bytes head = co_await client.reader.readexactly(2);
    if (head[0] != version) co_return false;
    const ouro::bytes methods =
        co_await client.reader.readexactly(std::to_integer<std::size_t>(head[1]));
    const bool fits = std::ranges::find(methods, no_authentication) != methods.end();
    client.writer.write(std::array{version, fits ? no_authentication : no_method});
    co_return fits;
}

std::string numeric_host(int family, ouro::bytes raw) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    return inet_ntop(family, raw.data(), text.data(), text.size());
}

ouro::task<request> read_request(ouro::stream_reader& from) {
    const ouro::bytes head = co_await from.readexactly(4);
    const std::byte command = head[1], kind = head[3];
    if (head[0] != version) co_return request{reply::general_failure};
    request asked;
    if (kind == ipv4) {
        asked.host = numeric_host(AF_INET, co_await from.readexactly(4));
    } else if (kind == ipv6) {
        asked.host = numeric_host(AF_INET6, co_await from.readexactly(16));
    } else if (kind == domain_name) {
        const auto length = std::to_integer<std::size_t>((co_await from.readexactly(1))[0]);
        asked.host = ouro::as_text(co_await from.readexactly(length));
        if (asked.host.empty()) asked.problem = reply::general_failure;
    } else {
        co_return request{reply::unsupported_address};
    }
    const ouro::bytes port = co_await from.readexactly(2);
    asked.port = static_cast<std::uint16_t>(std::to_integer<unsigned>(port[0]) << 8 |
                                            std::to_integer<unsigned>(port[1]));
    if (command != connect_command) asked.problem = reply::unsupported_command;
    co_return asked;
}

reply as_reply(const ouro::error& why) {
    if (why == std::errc::connection_refused) return reply::refused;
    if (why == std::errc::network_unreachable) return reply::network_unreachable;
    if (why == std::errc::timed_out) return reply::timed_out;
    if (why == std::errc::host_unreachable || why == ouro::errc::no_address ||
        why == ouro::errc::value_error) {
        return reply::host_unreachable;
    }
    return reply::general_failure;
}

/// The reply, with the address the connection has on this side; zeros when it has none.
void answer(ouro::stream_writer& to, reply what, const ouro::address& bound = {}) {
    const bool is_ipv6 = bound.family() == AF_INET6;
    std::array<std::byte, 22> text{version, std::byte(what), std::byte{0}, is_ipv6 ? ipv6 : ipv4};
    if (bound) inet_pton(bound.family(), bound.host().c_str(), text.data() + 4);
    const std::size_t port_at = is_ipv6 ? 20 : 8;
    text[port_at] = std::byte(bound.port() >> 8);
    text[port_at + 1] = std::byte(bound.port() & 0xff);
    to.write(ouro::bytes(text).first(port_at + 2));
}

ouro::task<request> ask(ouro::stream& client) {
    const ouro::timeout limit(time_to_ask);
    if (!co_await greet(client)) co_return request{reply::general_failure};
    request asked = co_await read_request(client.reader);
    if (asked.problem != reply::succeeded) answer(client.writer, asked.problem);
    co_return asked;
}

ouro::task<> proxy(ouro::stream_reader reader, ouro::stream_writer writer) {
    ouro::stream client{std::move(reader), std::move(writer)};
    const auto asked = co_await ouro::as_result(ask(client));
    if (!asked || asked->problem != reply::succeeded) co_return;

    auto server = co_await ouro::as_result(
        ouro::wait_for(ouro::open_connection(asked->host, asked->port), time_to_connect));
    if (!server) {
        answer(client.writer, as_reply(server.error()));
        co_return;
    }
    answer(client.writer, reply::succeeded,
           server->writer.get_extra_info<ouro::address>("sockname"));
    co_await relay(client, *server);
}

ouro::task<int> serve(ouro::address where) {
    return service::serve(ouro::start_server(proxy, where));
}

int main(int argc, char** argv) { return service::main(usage, "1080", argc, argv, serve); }
