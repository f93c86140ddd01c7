// Step 3: the server answers in a coroutine, which its callback starts and the end of the
// connection cancels. The client is as it was.
#include <deque>

#include "callback_client.hpp"
#include "shop.hpp"

class coroutine_server : public line_protocol,
                         public std::enable_shared_from_this<coroutine_server> {
  public:
    explicit coroutine_server(std::shared_ptr<shop> of) : shop_(std::move(of)) {}
    void connection_lost(ouro::error) override {
        if (answering_) answering_.cancel();
    }

  private:
    void line_received(std::string request) override {
        requests_.push_back(std::move(request));
        if (answering_ && !answering_.done()) return;
        // What it refers to must live as long as it runs: it holds the protocol.
        answering_ = ouro::spawn(&coroutine_server::answer_all, shared_from_this());
    }
    static ouro::task<> answer_all(std::shared_ptr<coroutine_server> self) {
        while (!self->requests_.empty()) {
            const std::string request = std::move(self->requests_.front());
            self->requests_.pop_front();
            if (shop::is_slow(request)) co_await ouro::sleep(shop::pause);
            self->link().write(self->shop_->answer(request) + "\n");
        }
    }

    std::shared_ptr<shop> shop_;
    std::deque<std::string> requests_;
    ouro::task_handle<> answering_;
};

ouro::task<std::string> ask(callback_client& client, const std::string& request) {
    co_return co_await ouro::from_callback<std::string>(
        [&](auto done) { client.request(request, patience, std::move(done)); });
}

ouro::task<int> talk() {
    auto serving = [known = std::make_shared<shop>()] {
        return std::make_shared<coroutine_server>(known);
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
