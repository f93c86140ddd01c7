// An echo service with a protocol: the transport calls, no coroutine for each client.
#include <cstdio>
#include <cstdlib>

#include <ouro/ouro.hpp>

class echo : public ouro::protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    void data_received(ouro::bytes data) override { link_->write(data); }
    // A client that does not read must not make us queue without bound: stop reading from it.
    void pause_writing() override { link_->pause_reading(); }
    void resume_writing() override { link_->resume_reading(); }

  private:
    std::shared_ptr<ouro::transport> link_;
};

ouro::task<> serve(std::uint16_t port) {
    auto server =
        co_await ouro::create_server([] { return std::make_shared<echo>(); }, "127.0.0.1", port);
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    co_await server.serve_forever();
}

int main(int argc, char** argv) {
    return ouro::run(serve, static_cast<std::uint16_t>(argc > 1 ? std::atoi(argv[1]) : 8888));
}
