// What does an echo cost with ouro, as a protocol, a buffered protocol and a stream?
#include "server_options.hpp"

#include <poll.h>

#include <array>
#include <cstdlib>
#include <memory>

#include <ouro/ouro.hpp>

namespace {

// Waits for a signal on a signalfd, so that the server ends as its rivals do.
class signal_wait : public ouro::detail::op_awaitable<signal_wait, void> {
  public:
    signal_wait(ouro::loop& home, int fd) noexcept : op_awaitable(home, kind), fd_(fd) {}
    void submit(ouro::loop& home, ouro::op& request) noexcept {
        ouro::io::poll(home, request, fd_, POLLIN);
    }
    void value() const noexcept {}
    std::string doing() const { return "wait for a signal"; }

  private:
    static constexpr ouro::detail::wait_kind kind{"signal", &op_awaitable::cancel_op};
    int fd_;
};

class protocol_echo : public ouro::protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    void data_received(ouro::bytes data) override { link_->write(data); }
    void pause_writing() override { link_->pause_reading(); }
    void resume_writing() override { link_->resume_reading(); }

  private:
    std::shared_ptr<ouro::transport> link_;
};

class buffered_echo : public ouro::buffered_protocol {
  public:
    explicit buffered_echo(std::size_t bytes) : memory_(bytes) {}
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
    std::vector<std::byte> memory_;
};

ouro::task<> stream_echo(ouro::stream_reader reader, ouro::stream_writer writer) {
    while (true) {
        const ouro::bytes data = co_await reader.read_some();
        if (data.empty()) break;
        writer.write(data);
        co_await writer.drain();
    }
}

ouro::task<ouro::server> open_server(const std::string& mode, ouro::socket bound,
                                     std::size_t buffer_bytes) {
    const ouro::server_options options{.backlog_count = 4096};
    if (mode == "streams") {
        co_return co_await ouro::start_server(stream_echo, std::move(bound), {.server = options});
    }
    if (mode == "buffered") {
        auto factory = [buffer_bytes] { return std::make_shared<buffered_echo>(buffer_bytes); };
        co_return co_await ouro::create_server(factory, std::move(bound), options);
    }
    auto factory = [] { return std::make_shared<protocol_echo>(); };
    co_return co_await ouro::create_server(factory, std::move(bound), options);
}

ouro::task<> serve(std::string mode, bench::server_options options, int signals) {
    ouro::loop& home = ouro::loop::current();
    const int listener = bench::listen_on(options);
    auto server =
        co_await open_server(mode, ouro::socket::adopt(home, listener), options.recv_buffer_bytes);
    bench::announce(options, listener);
    co_await signal_wait(home, signals);
    server.close();
    server.abort_clients();
    co_await server.wait_closed();
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("An echo server on ouro, single-threaded.");
    bench::server_options options;
    std::string mode = "protocol";
    bench::add_server_options(app, options);
    app.add_option("--mode", mode, "which interface serves")
        ->check(CLI::IsMember({"protocol", "buffered", "streams"}))
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    const int outcome = ouro::run(serve, mode, options, bench::stop_signal_fd());
    bench::remove_socket_file(options);
    return outcome;
}
