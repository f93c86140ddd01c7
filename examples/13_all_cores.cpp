// An echo service on all processors: one loop for each, all listening on the same port.
#include <cstdio>
#include <string>
#include <vector>

#include <ouro/ouro.hpp>

constexpr int connections = 64;
constexpr int messages = 50;

// One for each loop, and touched on its thread only: there is nothing to lock.
struct shard {
    ouro::server server;
    int accepted = 0;
    int echoed = 0;
};
thread_local shard here;

ouro::task<> echo(ouro::stream_reader reader, ouro::stream_writer writer) {
    ++here.accepted;
    while (true) {
        const ouro::bytes data = co_await reader.read_some();
        if (data.empty()) break;
        writer.write(data);
        co_await writer.drain();
        ++here.echoed;
    }
}

// Runs on each loop. The first one takes a free port, the others share it.
ouro::task<ouro::address> serve(ouro::address where) {
    ouro::stream_server_options options;
    options.server.reuse_port = true;
    here.server = co_await ouro::start_server(echo, where, options);
    co_return here.server.addresses().front();
}

ouro::task<std::pair<int, int>> count() { co_return std::pair(here.accepted, here.echoed); }

ouro::task<> shut() {
    here.server.close();
    co_await here.server.wait_closed();
    here = {};
}

ouro::task<int> ask(ouro::address where) {
    auto [reader, writer] = co_await ouro::open_connection(where);
    int answers = 0;
    for (int i = 0; i < messages; ++i) {
        writer.write("ping");
        const std::string_view answer = ouro::as_text(co_await reader.readexactly(4));
        answers += answer == "ping";
    }
    writer.close();
    co_await writer.wait_closed();
    co_return answers;
}

ouro::task<int> all_cores() {
    ouro::loop_group group;
    ouro::address where = co_await ouro::address::parse("127.0.0.1:0");
    for (std::size_t i = 0; i < group.size(); ++i) {
        where = co_await group.on(i).submit(serve, where);
    }

    std::vector<ouro::task_handle<int>> clients;
    for (int i = 0; i < connections; ++i) clients.push_back(ouro::spawn(ask(where)));
    int answers = 0;
    for (const auto& each : clients) answers += co_await each;

    int accepted = 0, echoed = 0;
    for (std::size_t i = 0; i < group.size(); ++i) {
        const auto [took, gave] = co_await group.on(i).submit(count);
        std::printf("loop %zu: %d connections, %d echoes\n", i, took, gave);
        accepted += took;
        echoed += gave;
        co_await group.on(i).submit(shut);
    }
    std::printf("%d of %d messages came back\n", answers, connections * messages);
    const bool all = accepted == connections && answers == connections * messages;
    co_return all&& echoed >= 1 ? 0 : 1;
}

int main() { return ouro::run(all_cores); }
