// Step 2: the program is a coroutine. Both ends are as they were; `ask` makes the client's callback
// something to wait for.
#include "callback_client.hpp"
#include "callback_server.hpp"

ouro::task<std::string> ask(callback_client& client, const std::string& request) {
    co_return co_await ouro::from_callback<std::string>(
        [&](auto done) { client.request(request, patience, std::move(done)); });
}

ouro::task<int> talk() {
    auto serving = [known = std::make_shared<shop>()] {
        return std::make_shared<callback_server>(known);
    };
    auto server = co_await ouro::create_server(serving, "127.0.0.1", 0);
    auto connection = co_await ouro::create_connection(
        [] { return std::make_shared<callback_client>(); }, server.addresses().front());
    for (const std::string& request : requests) {
        const auto reply = co_await ouro::as_result(ask(*connection.protocol, request));
        show(request, reply);
    }
    co_return 0;
}

int main() { return ouro::run(talk); }
