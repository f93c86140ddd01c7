// A message format of your own on a unix socket: decimal numbers, one to a line. The server adds
// one.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include <ouro/ouro.hpp>

class number_stream {
  public:
    explicit number_stream(ouro::stream on) : stream_(std::move(on)) {}

    /// The next number; nothing when the peer has sent its last one.
    ouro::task<std::optional<long>> next() {
        const std::string line(co_await stream_.reader.readline());
        if (!line.ends_with('\n')) co_return std::nullopt;
        co_return std::strtol(line.c_str(), nullptr, 10);
    }
    void send(long number) { stream_.writer.write(std::to_string(number) + "\n"); }

  private:
    ouro::stream stream_;
};

ouro::task<> serve(ouro::stream_reader reader, ouro::stream_writer writer) {
    std::printf("server creating number stream\n");
    number_stream numbers({std::move(reader), std::move(writer)});
    while (const auto number = co_await numbers.next()) {
        std::printf("Server got number %ld, sending back %ld\n", *number, *number + 1);
        numbers.send(*number + 1);
    }
}

ouro::task<int> ask(ouro::address where) {
    number_stream numbers(co_await ouro::open_connection(where));
    for (const long request : {12345, 54321, 98765}) {
        numbers.send(request);
        const auto response = co_await numbers.next();
        if (response != request + 1) co_return 1;
        std::printf("Client sent %ld, got back %ld from server\n", request, *response);
    }
    std::printf("client closing\n");
    co_return 0;
}

ouro::task<int> run_both() {
    // The abstract namespace of Linux: a name without a file, gone with the server. All programs
    // share it, so this name is told from those of others.
    const ouro::address where =
        co_await ouro::address::parse("unix:@Number Server " + std::to_string(::getpid()));
    auto server = co_await ouro::start_server(serve, where);
    const int outcome = co_await ask(where);
    server.close();
    co_await server.wait_closed();
    co_return outcome;
}

int main() { return ouro::run(run_both); }
