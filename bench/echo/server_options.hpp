// What every echo server of this bench shares: its options, its listening socket, its ready line.
#pragma once

#include <CLI/CLI.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>

namespace bench {

struct server_options {
    std::uint16_t port = 0;
    std::string unix_path;                  // not empty: listen here instead of on a port
    std::size_t recv_buffer_bytes = 16384;  // one receive; 262144 suits bulk transfers
};

inline void add_server_options(CLI::App& app, server_options& options) {
    auto* address = app.add_option_group("address", "where to listen");
    address->add_option("--port", options.port, "TCP port on 127.0.0.1; 0 takes a free one");
    address->add_option("--unix", options.unix_path, "path of an AF_UNIX socket");
    address->require_option(1);
    app.add_option("--recv-buffer", options.recv_buffer_bytes, "bytes of one receive buffer")
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24))
        ->capture_default_str();
}

inline int checked(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    return result;
}

inline int listen_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) throw std::length_error("--unix: path too long");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    const int fd = checked(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    ::unlink(path.c_str());
    checked(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    checked(::listen(fd, 4096), "listen");
    return fd;
}

inline int listen_tcp(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    const int on = 1;
    checked(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    // Linux copies TCP_NODELAY to accepted sockets, so no server pays a call per connection for it.
    checked(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    checked(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    checked(::listen(fd, 4096), "listen");
    return fd;
}

/// A blocking listening socket. Every rival starts from the same one, so none wins by its options.
inline int listen_on(const server_options& options) {
    return options.unix_path.empty() ? listen_tcp(options.port) : listen_unix(options.unix_path);
}

/// Tells the driver where to connect: `ready PORT` or `ready PATH` on stderr.
inline void announce(const server_options& options, int listener) {
    if (!options.unix_path.empty()) {
        std::fprintf(stderr, "ready %s\n", options.unix_path.c_str());
        return;
    }
    sockaddr_in address{};
    socklen_t bytes = sizeof address;
    checked(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &bytes), "getsockname");
    std::fprintf(stderr, "ready %u\n", ntohs(address.sin_port));
}

/// SIGTERM and SIGINT as a file descriptor, for the servers that own their event loop.
inline int stop_signal_fd() {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    checked(::sigprocmask(SIG_BLOCK, &stop, nullptr), "sigprocmask");
    return checked(::signalfd(-1, &stop, SFD_CLOEXEC), "signalfd");
}

inline void remove_socket_file(const server_options& options) {
    if (!options.unix_path.empty()) ::unlink(options.unix_path.c_str());
}

/// The main() of a server: parses, runs `serve(options)`, reports what could not start.
template <typename Serve>
int server_main(int argc, char** argv, CLI::App& app, server_options& options, Serve serve) {
    add_server_options(app, options);
    CLI11_PARSE(app, argc, argv);
    try {
        serve();
        remove_socket_file(options);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

}  // namespace bench
