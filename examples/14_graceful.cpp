// A server that answers what it was asked before it ends: send it SIGTERM, or press Ctrl-C.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

using namespace std::chrono_literals;

/// One line in, the same in capitals out. It takes its time.
ouro::task<> answer(ouro::stream_reader reader, ouro::stream_writer writer) {
    std::string line(co_await reader.readline());
    co_await ouro::sleep(100ms);
    std::ranges::transform(line, line.begin(), [](unsigned char each) {
        return static_cast<char>(std::toupper(each));
    });
    writer.write(line);
    co_await writer.drain();
}

ouro::task<int> serve(std::string port) {
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    auto server = co_await ouro::start_server(answer, where);
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    // The signal cancels this task. `serve_forever` stops accepting, waits until every connection
    // is done, and ends with the cancellation.
    const auto ended = co_await ouro::as_result(server.serve_forever());
    std::printf("ended: %s\n", ended.error().message().c_str());
    co_return 0;  // without this line it is 128 + 15
}

int main(int argc, char** argv) {
    // Whoever has not been answered after 30 s is left behind, and named on stderr.
    return ouro::run({.grace = 30s}, serve, std::string(argc > 1 ? argv[1] : "8888"));
}
