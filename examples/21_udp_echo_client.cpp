// A UDP echo client: sends one message and closes when the answer comes, or word that none will.
#include <chrono>
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

class echo_client : public ouro::datagram_protocol {
  public:
    echo_client(std::string message, ouro::promise<bool> on_con_lost)
        : message_(std::move(message)), on_con_lost_(std::move(on_con_lost)) {}
    void connection_made(std::shared_ptr<ouro::datagram_transport> link) override {
        link_ = std::move(link);
        std::printf("Send: %s\n", message_.c_str());
        link_->send_to(message_);
    }
    void datagram_received(ouro::bytes data, const ouro::address&) override {
        std::printf("Received: %s\n", std::string(ouro::as_text(data)).c_str());
        std::puts("Close the socket");
        answered_ = true;
        link_->close();
    }
    void error_received(ouro::error why) override {
        std::printf("Error received: %s\n", why.message().c_str());
        link_->close();
    }
    void connection_lost(ouro::error) override {
        std::puts("Connection closed");
        on_con_lost_.set_value(answered_);
    }

  private:
    std::string message_;
    bool answered_ = false;
    ouro::promise<bool> on_con_lost_;
    std::shared_ptr<ouro::datagram_transport> link_;
};

ouro::task<int> talk(std::string port) {
    const ouro::timeout limit(std::chrono::seconds(30));  // a datagram may be lost
    const auto server = co_await ouro::address::parse("127.0.0.1:" + port);
    ouro::promise<bool> lost;
    auto on_con_lost = lost.get_future();
    auto [link, protocol] = co_await ouro::create_datagram_endpoint(
        [&] { return std::make_shared<echo_client>("Hello World!", std::move(lost)); },
        {.remote = server});
    co_return co_await on_con_lost ? 0 : 1;
}

int main(int argc, char** argv) {
    return ouro::run(talk, std::string(argc > 1 ? argv[1] : "9999"));
}
