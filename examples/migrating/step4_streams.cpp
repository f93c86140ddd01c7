// Step 4: streams at both ends. No protocol, no callback, no timer of one's own is left.
#include <ouro/ouro.hpp>

#include "shop.hpp"

ouro::task<> serve(std::shared_ptr<shop> known, ouro::stream_reader reader,
                   ouro::stream_writer writer) {
    while (true) {
        std::string request(co_await reader.readline());
        if (request.empty()) co_return;  // the client has gone
        request.pop_back();
        if (shop::is_slow(request)) co_await ouro::sleep(shop::pause);
        writer.write(known->answer(request) + "\n");
        co_await writer.drain();
    }
}

ouro::task<std::string> ask(ouro::stream& server, const std::string& request) {
    server.writer.write(request + "\n");
    std::string reply(co_await server.reader.readline());
    if (reply.empty()) co_return ouro::errc::end_of_stream;
    reply.pop_back();
    co_return reply;
}

ouro::task<int> talk() {
    auto handler = [known = std::make_shared<shop>()](ouro::stream_reader reader,
                                                      ouro::stream_writer writer) {
        return serve(known, std::move(reader), std::move(writer));
    };
    auto server = co_await ouro::start_server(handler, "127.0.0.1", 0);
    auto stream = co_await ouro::open_connection(server.addresses().front());
    for (const std::string& request : requests) {
        const auto reply = co_await ouro::as_result(ouro::wait_for(ask(stream, request), patience));
        show(request, reply);
    }
    co_return 0;
}

int main() { return ouro::run(talk); }
