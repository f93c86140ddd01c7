// The proxy as a program: proxy PORT TARGET, as in `proxy 8080 127.0.0.1:80`.
#include <cstdio>
#include <string>

#include "proxy.hpp"

ouro::task<int> run_proxy(std::string port, std::string to) {
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    const auto target = co_await ouro::address::parse(to);
    ouro::loop::current().set_connection_log([](const ouro::connection_record& ended) {
        std::printf("%s\n", ended.describe().c_str());
        std::fflush(stdout);
    });
    auto server = co_await proxy::serve(where, target);
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    // SIGTERM and Ctrl-C cancel this task.
    const auto stopped = co_await ouro::as_result(server.serve_forever());
    const ouro::loop_statistics all = ouro::loop::current().statistics();
    std::printf("%s: %llu leases passed on, %llu copied for want of room\n",
                stopped.error().message().c_str(), static_cast<unsigned long long>(all.leases),
                static_cast<unsigned long long>(all.lease_copies));
    co_return 0;
}

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s PORT TARGET\n", argv[0]);
        return 2;
    }
    // Room for what a burst brings before a pause takes effect: beyond it leases would be copies.
    return ouro::run({.loop = {.ring_buffer_count = 64}}, run_proxy, std::string(argv[1]),
                     std::string(argv[2]));
}
