// A TCP forwarder whose bytes never come to user space.
#include <sys/socket.h>

#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

using namespace std::chrono_literals;

/// What a close does: the peer meets a reset in place of an end, or an end.
ouro::result<> close_with_reset(ouro::socket& which, bool reset) {
    const linger how{.l_onoff = reset, .l_linger = 0};
    return which.set_option(SOL_SOCKET, SO_LINGER, std::as_bytes(std::span(&how, 1)));
}

ouro::task<> pass_on(ouro::socket& client, ouro::address target, ouro::relay_report& moved) {
    ouro::socket server = co_await ouro::socket::open(ouro::loop::current(), target.family());
    // Peers would take what they got for everything if a failure looked like an end.
    for (ouro::socket* each : {&client, &server}) {
        co_await close_with_reset(*each, true);
    }
    co_await ouro::wait_for(server.connect(target), 10s);
    co_await ouro::relay(client, server, {.idle_timeout = 10min, .progress = &moved});
    for (ouro::socket* each : {&client, &server}) co_await close_with_reset(*each, false);
}

ouro::task<> serve(ouro::socket client, ouro::address target) {
    ouro::relay_report moved;
    const auto ended = co_await ouro::as_result(pass_on(client, target, moved));
    std::printf("%llu bytes there, %llu back: %s\n", static_cast<unsigned long long>(moved.there),
                static_cast<unsigned long long>(moved.back),
                ended ? "done" : ended.error().message().c_str());
    std::fflush(stdout);
}

ouro::task<int> run(std::string port, std::string to) {
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    const auto target = co_await ouro::address::parse(to);
    ouro::socket listener = co_await ouro::socket::open(ouro::loop::current(), where.family());
    co_await listener.set_option(SOL_SOCKET, SO_REUSEADDR, 1);
    co_await listener.bind(where);
    co_await listener.listen();
    const ouro::address bound = co_await listener.local_address();
    std::printf("listening on %s\n", bound.to_string().c_str());
    std::fflush(stdout);
    // SIGTERM and Ctrl-C cancel this task.
    (void)co_await ouro::as_result(ouro::with_group([&](ouro::task_group& clients) -> ouro::task<> {
        for (;;) {
            auto client = co_await ouro::as_result(listener.accept());
            if (client) {
                clients.spawn(serve(std::move(*client), target));
            } else if (client.error() == ouro::errc::cancelled) {
                co_await ouro::result<>(client.error());  // and that ends the clients
            } else {
                co_await ouro::sleep(100ms);  // until there is a descriptor again
            }
        }
    }));
    co_return 0;
}

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s PORT TARGET\n", argv[0]);
        return 2;
    }
    return ouro::run(run, std::string(argv[1]), std::string(argv[2]));
}
