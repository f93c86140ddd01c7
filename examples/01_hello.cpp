// The smallest service: every client gets a greeting with its address.
#include <cstdio>

#include <ouro/ouro.hpp>

ouro::task<> greet(ouro::stream_reader, ouro::stream_writer client) {
    const auto peer = client.get_extra_info<ouro::address>("peername");
    client.write("hello, " + peer.to_string() + "\n");
    co_await client.drain();
}

ouro::task<> hello() {
    auto server = co_await ouro::start_server(greet, "127.0.0.1", 0);
    const ouro::address where = server.addresses().front();

    // A client in the same program.
    auto [reader, writer] = co_await ouro::open_connection(where);
    const auto line = co_await reader.readline();
    std::printf("the server says: %.*s", static_cast<int>(line.size()), line.data());

    writer.close();
    server.close();
    co_await server.wait_closed();
}

int main() { return ouro::run(hello); }
