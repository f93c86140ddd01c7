// The service on real sockets. Without arguments it serves, asks and breaks its own connections.
#include <charconv>
#include <concepts>
#include <cstdio>
#include <string_view>
#include <vector>

#include "service.hpp"

constexpr const char* usage =
    R"(usage: 10_retry                    serve, ask and break connections; check the sum
       10_retry serve [PORT]       serve on 127.0.0.1 until stopped
       10_retry add PORT AMOUNT... add each amount, asking until it is answered
)";

/// Reads all of `text` as a number that fits.
bool read(std::string_view text, std::integral auto& number) {
    const auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), number);
    return why == std::errc() && end == text.data() + text.size();
}

ouro::address local(std::uint16_t port) { return *ouro::address::from_ip("127.0.0.1", port); }

ouro::task<> serve(std::uint16_t port) {
    auto server = co_await serve_ledger(std::make_shared<ledger>(), local(port));
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    co_await server.serve_forever();
}

ouro::task<> add(std::uint16_t port, std::vector<long> amounts) {
    client asking(local(port));
    for (const long amount : amounts) {
        const long balance = co_await asking.add(amount);
        std::printf("%ld more makes %ld; %u attempts\n", amount, balance, asking.attempts());
        std::fflush(stdout);
    }
}

ouro::task<> break_connections(ouro::server server) {
    while (true) {
        co_await ouro::sleep(std::chrono::milliseconds(1));
        server.abort_clients();
    }
}

ouro::task<unsigned> add_ones(ouro::address where, int count) {
    client asking(where, {.first_wait = std::chrono::milliseconds(1)});
    for (int i = 0; i < count; ++i) co_await asking.add(1);
    co_return asking.attempts();
}

ouro::task<int> try_it() {
    constexpr int client_count = 4, requests_each = 1000;
    auto book = std::make_shared<ledger>();
    auto server = co_await serve_ledger(book, local(0));
    auto breaking = ouro::spawn(break_connections(server));
    std::vector<ouro::task_handle<unsigned>> clients;
    for (int i = 0; i < client_count; ++i) {
        clients.push_back(ouro::spawn(add_ones(server.addresses().front(), requests_each)));
    }
    unsigned attempts = 0;
    for (auto& each : clients) attempts += co_await each;
    breaking.cancel();
    (void)co_await ouro::as_result(breaking.join());
    server.close();
    co_await server.wait_closed();

    const long expected = long{client_count} * requests_each;
    std::printf("added %ld ones in %u attempts: the balance is %ld\n", expected, attempts,
                book->balance());
    co_return book->balance() == expected ? 0 : 1;
}

int main(int argc, char** argv) {
    const std::string_view what = argc > 1 ? argv[1] : "";
    std::uint16_t port = 0;
    bool understood = argc <= 2 || read(argv[2], port);
    std::vector<long> amounts;
    for (int i = 3; i < argc; ++i) understood = read(argv[i], amounts.emplace_back()) && understood;
    if (argc == 1) return ouro::run(try_it);
    if (understood && what == "serve" && argc <= 3) return ouro::run(serve, port);
    if (understood && what == "add" && argc > 3) return ouro::run(add, port, amounts);
    const bool asked = what == "--help" && argc == 2;
    std::fputs(usage, asked ? stdout : stderr);
    return asked ? 0 : 2;
}
