// What the services among the examples share: a place to listen, a line that says where, and an
// end in order.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include <ouro/ouro.hpp>

namespace service {

/// How long clients may take to leave when the service ends.
inline constexpr auto patience = std::chrono::seconds(2);

/// Where to listen: a port of this machine ("8888"), or what `address::parse` reads.
inline ouro::result<ouro::address> place(std::string_view text) {
    const bool is_port = !text.empty() && std::ranges::all_of(text, [](char each) {
        return each >= '0' && each <= '9';
    });
    return ouro::address::parse(is_port ? "127.0.0.1:" + std::string(text) : std::string(text));
}

/// Ends a command line that was not understood, or one that asked for help, with an exit code.
inline int explain(const char* usage, int argc, char** argv) {
    const bool asked = argc == 2 && std::string_view(argv[1]) == "--help";
    std::fputs(usage, asked ? stdout : stderr);
    return asked ? 0 : 2;
}

/// Ends a service that cannot begin.
inline int refuse(const ouro::error& why) {
    std::fprintf(stderr, "%s\n", why.message().c_str());
    return 1;
}

/// Serves until SIGINT or SIGTERM; then calls `farewell`, sends the clients what is queued for
/// them, and after `patience` drops who has not left.
inline ouro::task<int> serve(ouro::task<ouro::server> opening, ouro::callback farewell = {}) {
    auto opened = co_await ouro::as_result(std::move(opening));
    if (!opened) co_return refuse(opened.error());
    ouro::server& server = *opened;
    const ouro::address where = server.addresses().front();
    std::printf("listening on %s\n", where.to_string().c_str());
    std::fflush(stdout);

    ouro::event never;
    (void)co_await ouro::as_result(never.wait());  // until the signal cancels this task
    server.close();
    if (farewell) farewell();
    server.close_clients();
    (void)co_await ouro::as_result(ouro::wait_for(server.wait_closed(), patience));
    const std::size_t late = server.client_count();
    server.abort_clients();
    co_await server.wait_closed();
    if (!where.path().empty()) std::remove(where.path().c_str());  // an abstract name has no file
    std::printf("stopped, %zu clients had to be dropped\n", late);
    co_return 0;
}

/// The main of a service that has one argument, the place to listen; it may be left out.
template <class Open>
int main(const char* usage, const char* default_place, int argc, char** argv, Open open) {
    const std::string_view first = argc > 1 ? argv[1] : default_place;
    if (argc > 2 || first.starts_with('-')) return explain(usage, argc, argv);
    const auto where = place(first);
    if (!where) return refuse(where.error());
    return ouro::run([&] { return open(*where); });
}

}  // namespace service
