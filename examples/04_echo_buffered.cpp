// An echo service with a buffered protocol: the kernel writes into memory of ours, and nothing
// copies it again.
#include <array>
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

class echo : public ouro::buffered_protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    ouro::mut_bytes get_buffer(std::ptrdiff_t) override { return memory_; }
    void buffer_updated(std::size_t count) override {
        link_->write(ouro::bytes(memory_).first(count));
    }
    void pause_writing() override { link_->pause_reading(); }
    void resume_writing() override { link_->resume_reading(); }

  private:
    std::shared_ptr<ouro::transport> link_;
    std::array<std::byte, 64 * 1024> memory_;
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
