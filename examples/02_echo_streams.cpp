// An echo service with streams: one coroutine for each client.
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

ouro::task<> echo(ouro::stream_reader reader, ouro::stream_writer writer) {
    while (true) {
        const ouro::bytes data = co_await reader.read_some();
        if (data.empty()) break;  // the client has finished sending
        writer.write(data);
        co_await writer.drain();
    }
}

ouro::task<> serve(std::string port) {
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    auto server = co_await ouro::start_server(echo, where);
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    co_await server.serve_forever();
}

int main(int argc, char** argv) {
    return ouro::run(serve, std::string(argc > 1 ? argv[1] : "8888"));
}
