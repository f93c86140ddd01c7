// A protocol that makes lines out of what arrives: TCP keeps the order of bytes, not the borders of
// writes.
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

class line_protocol : public ouro::protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }

    void data_received(ouro::bytes data) override {
        unfinished_ += ouro::as_text(data);
        std::size_t begin = 0;
        for (std::size_t end; (end = unfinished_.find('\n', begin)) != std::string::npos;
             begin = end + 1) {
            process(unfinished_.substr(begin, end - begin));
        }
        unfinished_.erase(0, begin);
        if (unfinished_.size() > longest_line_bytes) link_->abort();  // a line that never ends
    }

  private:
    static constexpr std::size_t longest_line_bytes = 64 * 1024;

    void process(const std::string& line) { link_->write("processed: " + line + "\n"); }

    std::shared_ptr<ouro::transport> link_;
    std::string unfinished_;
};

ouro::task<int> talk() {
    auto server = co_await ouro::create_server([] { return std::make_shared<line_protocol>(); },
                                               "127.0.0.1", 0);
    auto [reader, writer] = co_await ouro::open_connection(server.addresses().front());

    for (const char* piece :
         {"first li", "ne\nsec", "ond line\nthird line", "\nfour", "th line\n"}) {
        writer.write(piece);
        co_await ouro::yield();  // or the pieces of this turn would leave in one send
    }
    writer.write_eof();

    int count = 0;
    while (true) {
        const std::string line(co_await reader.readline());
        if (line.empty()) break;  // everything was answered
        std::fputs(line.c_str(), stdout);
        ++count;
    }
    server.close();
    co_return count == 4 ? 0 : 1;
}

int main() { return ouro::run(talk); }
