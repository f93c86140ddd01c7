// What does a UDP echo cost with ouro?

#include "udp_server.hpp"

#include <csignal>
#include <memory>

#include <ouro/ouro.hpp>

namespace {

class echo : public ouro::datagram_protocol {
  public:
    void connection_made(std::shared_ptr<ouro::datagram_transport> link) override {
        link_ = std::move(link);
    }
    void datagram_received(ouro::bytes data, const ouro::address& from) override {
        link_->send_to(data, from);
    }

  private:
    std::shared_ptr<ouro::datagram_transport> link_;
};

ouro::task<> serve(int fd) {
    auto made = co_await ouro::create_datagram_endpoint(
        [] { return std::make_shared<echo>(); }, ouro::socket::adopt(ouro::loop::current(), fd));
    ouro::signal_set stop{SIGTERM};
    co_await stop.next();
    made.transport->abort();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"UDP echo server on ouro, single-threaded."};
    return bench::udp_server_main(argc, argv, app, [&](int fd, auto announce) {
        announce(fd);
        return ouro::run(serve, fd);
    });
}
