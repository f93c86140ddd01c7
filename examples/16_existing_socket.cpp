// A protocol on a socket that was made elsewhere: here one end of a pair.
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

class listener : public ouro::protocol {
  public:
    explicit listener(ouro::promise<std::string> lost) : lost_(std::move(lost)) {}

    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    void data_received(ouro::bytes data) override {
        received_ = ouro::as_text(data);
        std::printf("Received: %s\n", received_.c_str());
        link_->close();  // we are done; connection_lost is called by itself
    }
    void connection_lost(ouro::error) override { lost_.set_value(received_); }

  private:
    std::shared_ptr<ouro::transport> link_;
    std::string received_;
    ouro::promise<std::string> lost_;
};

ouro::task<int> listen_once() {
    ouro::promise<std::string> lost;
    auto [reading, writing] = co_await ouro::socket::pair(ouro::loop::current());

    // The transport owns the socket from here on, and waits for data.
    auto [link, protocol] = co_await ouro::create_connection(
        [&] { return std::make_shared<listener>(lost); }, std::move(reading));

    co_await writing.send_all(ouro::as_bytes("abc"));  // as if it came from the network

    const std::string received = co_await lost.get_future();
    co_return received == "abc" ? 0 : 1;
}

int main() { return ouro::run(listen_once); }
