// Numbers again, this time as a protocol whose caller awaits the next one: decimal, one to a line.
// The server adds one. What carries the bytes is another matter: a unix socket, or plain memory.
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <deque>
#include <optional>
#include <string>

#include <ouro/ouro.hpp>

/// Makes numbers of what arrives in any pieces. How they reach the program is its own affair, and
/// so is what carries the bytes.
class number_stream : public ouro::protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    void data_received(ouro::bytes data) override {
        for (const char each : ouro::as_text(data)) {
            if (each != '\n') {
                line_ += each;
                continue;
            }
            long number = 0;
            std::from_chars(line_.data(), line_.data() + line_.size(), number);
            numbers_.push_back(number);
            line_.clear();
        }
        changed_.set();
    }
    bool eof_received() override {
        ended_ = true;
        changed_.set();
        return false;
    }
    void connection_lost(ouro::error) override {
        ended_ = true;
        changed_.set();
    }

    /// The next number; nothing when the peer has sent its last one.
    ouro::task<std::optional<long>> next() {
        while (numbers_.empty() && !ended_) {
            changed_.clear();
            co_await changed_.wait();
        }
        if (numbers_.empty()) co_return std::nullopt;
        const long number = numbers_.front();
        numbers_.pop_front();
        co_return number;
    }
    void send(long number) { link_->write(std::to_string(number) + "\n"); }
    void close() { link_->close(); }

  private:
    std::shared_ptr<ouro::transport> link_;
    std::string line_;  // not complete yet
    std::deque<long> numbers_;
    ouro::event changed_;
    bool ended_ = false;
};

/// What both ends printed, to be compared.
using transcript = std::shared_ptr<std::string>;

void say(const transcript& to, const std::string& line) {
    std::printf("%s\n", line.c_str());
    *to += line + "\n";
}

ouro::task<> answer(std::shared_ptr<number_stream> numbers, transcript said) {
    while (const auto number = co_await numbers->next()) {
        say(said, "Server got number " + std::to_string(*number) + ", sending back " +
                      std::to_string(*number + 1));
        numbers->send(*number + 1);
    }
}

ouro::task<> ask(std::shared_ptr<number_stream> numbers, transcript said) {
    for (const long request : {12345, 54321, 98765}) {
        numbers->send(request);
        const auto response = co_await numbers->next();
        say(said, "Client sent " + std::to_string(request) + ", got back " +
                      std::to_string(response.value_or(0)) + " from server");
    }
    numbers->close();
}

ouro::task<> over_unix_socket(transcript said) {
    // The abstract namespace of Linux: a name without a file, gone with the server.
    const ouro::address where =
        co_await ouro::address::parse("unix:@Number Server " + std::to_string(getpid()));
    ouro::promise<std::shared_ptr<number_stream>> accepted;
    auto server = co_await ouro::create_server(
        [accepted] {
            auto made = std::make_shared<number_stream>();
            accepted.set_value(made);
            return made;
        },
        where);
    auto [link, client] =
        co_await ouro::create_connection([] { return std::make_shared<number_stream>(); }, where);
    co_await ouro::gather(answer(co_await accepted.get_future(), said), ask(client, said));
    server.close();
    co_await server.wait_closed();
}

/// The same program on transports that need no kernel.
ouro::task<> over_memory_pipe(transcript said) {
    auto [near, far] = ouro::memory_pipe(ouro::loop::current());
    const auto make = [] { return std::make_shared<number_stream>(); };
    const auto server = co_await ouro::create_connection(make, std::move(far));
    const auto client = co_await ouro::create_connection(make, std::move(near));
    co_await ouro::gather(answer(server.protocol, said), ask(client.protocol, said));
}

ouro::task<int> compare() {
    const auto with_socket = std::make_shared<std::string>();
    const auto with_memory = std::make_shared<std::string>();
    std::printf("over a unix socket\n");
    co_await over_unix_socket(with_socket);
    std::printf("over a memory pipe\n");
    co_await over_memory_pipe(with_memory);
    const bool is_whole = with_socket->ends_with("Client sent 98765, got back 98766 from server\n");
    co_return is_whole && *with_socket == *with_memory ? 0 : 1;
}

int main() { return ouro::run(compare); }
