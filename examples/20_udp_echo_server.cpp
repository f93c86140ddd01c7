// A UDP echo server: one protocol instance serves every client.
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

using namespace std::chrono_literals;

class echo_server : public ouro::datagram_protocol {
  public:
    void connection_made(std::shared_ptr<ouro::datagram_transport> link) override {
        link_ = std::move(link);
    }
    void datagram_received(ouro::bytes data, const ouro::address& from) override {
        const std::string message(ouro::as_text(data));
        std::printf("Received '%s' from %s\n", message.c_str(), from.to_string().c_str());
        std::printf("Send '%s' to %s\n", message.c_str(), from.to_string().c_str());
        link_->send_to(data, from);
    }

  private:
    std::shared_ptr<ouro::datagram_transport> link_;
};

ouro::task<> serve(std::string port) {
    std::puts("Starting UDP server");
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    auto [link, protocol] = co_await ouro::create_datagram_endpoint(
        [] { return std::make_shared<echo_server>(); }, {.local = where});
    const auto own = link->get_extra_info<ouro::address>("sockname");
    std::printf("listening on %s\n", own.to_string().c_str());
    std::fflush(stdout);
    co_await ouro::sleep(1h);  // serve for an hour; then, or when it is stopped, the loop closes it
    link->close();
}

int main(int argc, char** argv) {
    return ouro::run(serve, std::string(argc > 1 ? argv[1] : "9999"));
}
