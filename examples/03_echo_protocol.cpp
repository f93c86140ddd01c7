// An echo service with a protocol: the transport calls, no coroutine for each client.
#include <cstdio>
#include <string>

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

ouro::task<> serve(std::string port) {
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    auto server = co_await ouro::create_server([] { return std::make_shared<echo>(); }, where);
    std::printf("listening on %s\n", server.addresses().front().to_string().c_str());
    std::fflush(stdout);
    co_await server.serve_forever();
}

int main(int argc, char** argv) {
    return ouro::run(serve, std::string(argc > 1 ? argv[1] : "8888"));
}
