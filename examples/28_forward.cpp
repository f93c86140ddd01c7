// A port forwarder: whatever connects here is connected to there. Either end may be a unix socket.
#include "relay.hpp"
#include "service.hpp"

constexpr const char* usage =
    R"(usage: 28_forward PLACE TARGET
Connects every client of PLACE with TARGET and passes on what either says.
PLACE   a port of 127.0.0.1 (0: a free one), HOST:PORT, [HOST]:PORT or unix:PATH
TARGET  NAME:PORT, HOST:PORT, [HOST]:PORT or unix:PATH; names are looked up for each client
Ctrl-C ends all connections and the program.
)";

constexpr auto time_to_connect = std::chrono::seconds(10);

/// An address, or a name with a port.
struct target {
    ouro::address where{};
    std::string name{};
    std::uint16_t port = 0;
};

ouro::result<target> parse_target(const std::string& text) {
    if (auto where = ouro::address::parse(text)) return target{.where = *where};
    const std::size_t colon = text.rfind(':');
    const std::string name = text.substr(0, colon);
    // The port is read as that of an address, and the name has to look like one.
    const bool is_name = colon != std::string::npos && !name.empty() &&
                         name.find_first_of(":[]/ ") == std::string::npos;
    const auto port = ouro::address::parse("0.0.0.0" + text.substr(is_name ? colon : text.size()));
    if (!is_name || !port) {
        return ouro::error(ouro::errc::value_error, "\"" + text + "\" as NAME:PORT or unix:PATH");
    }
    return target{.name = name, .port = port->port()};
}

ouro::task<ouro::stream> reach(target to) {
    const ouro::timeout limit(time_to_connect);
    if (to.where) co_return co_await ouro::open_connection(to.where);
    co_return co_await ouro::open_connection(to.name, to.port);
}

ouro::task<> forward(target to, ouro::stream_reader reader, ouro::stream_writer writer) {
    ouro::stream client{std::move(reader), std::move(writer)};
    auto server = co_await ouro::as_result(reach(to));
    if (!server) {
        std::fprintf(stderr, "%s\n", server.error().message().c_str());
        co_return reset(client);  // an end would be an empty answer
    }
    co_await relay(client, *server);
}

int main(int argc, char** argv) {
    if (argc != 3) return service::explain(usage, argc, argv);
    const auto where = service::place(argv[1]);
    if (!where) return service::refuse(where.error());
    const auto to = parse_target(argv[2]);
    if (!to) return service::refuse(to.error());
    return ouro::run([&] {
        return service::serve(ouro::start_server(
            [to = *to](ouro::stream_reader reader, ouro::stream_writer writer) {
                return forward(to, std::move(reader), std::move(writer));
            },
            *where));
    });
}
