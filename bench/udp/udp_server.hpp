// What every UDP server of this bench shares: its options, its socket, its ready line.
#pragma once

#include <netinet/udp.h>

#include "../echo/server_options.hpp"

namespace bench {

/// A blocking UDP socket on loopback. Every rival starts from the same one.
inline int open_udp(std::uint16_t port) {
    const int fd = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    const int room = 4 << 20;
    for (const int name : {SO_RCVBUF, SO_SNDBUF}) {
        checked(::setsockopt(fd, SOL_SOCKET, name, &room, sizeof room), "buffer sizes");
    }
    for (const int name : {SO_RCVBUFFORCE, SO_SNDBUFFORCE}) {  // beyond the limit, for root
        (void)::setsockopt(fd, SOL_SOCKET, name, &room, sizeof room);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    checked(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    return fd;
}

/// The main() of a server: parses, runs `serve(socket)`, reports what could not start.
template <typename Serve>
int udp_server_main(int argc, char** argv, CLI::App& app, Serve serve) {
    server_options options;
    app.add_option("--port", options.port, "UDP port on 127.0.0.1; 0 takes a free one");
    CLI11_PARSE(app, argc, argv);
    try {
        return serve(open_udp(options.port), [&](int fd) { announce(options, fd); });
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

}  // namespace bench
