// An echo service with streams: one coroutine for each client.
#include <cstdio>
#include <cstdlib>

#include <ouro/ouro.hpp>

ouro::task<> echo(ouro::stream_reader reader, ouro::stream_writer writer) {
    while (true) {
        const ouro::bytes data = co_await reader.read_some();
        if (data.empty()) break;  // the client has finished sending
        writer.write(data);
        co_await writer.drain();
    }
}

ouro::task<> serve(std::uint16_t port) {
    auto server = co_await ouro::start_server(echo, "127.0.0.1", port);
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    co_await server.serve_forever();
}

int main(int argc, char** argv) {
    return ouro::run(serve, static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8888));
}
