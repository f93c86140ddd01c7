// A server for a single file: whoever connects gets it, and no byte of it is copied in between.
// Without arguments it serves itself, fetches itself twice at a time and compares.
//
//   19_send_file FILE PORT
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include <ouro/ouro.hpp>

namespace {

/// Sends the file to one client and closes.
class file_server final : public ouro::protocol {
  public:
    explicit file_server(std::string path) : path_(std::move(path)) {}
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        sending_ = ouro::spawn(serve(std::move(link), path_));
    }
    // A client that has said all it wants still gets the file.
    bool eof_received() override { return true; }

  private:
    static ouro::task<> serve(std::shared_ptr<ouro::transport> link, std::string path) {
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            std::perror(path.c_str());
            co_return link->abort();
        }
        const auto sent = co_await ouro::as_result(ouro::sendfile(link, file));
        ::close(file);
        if (!sent) std::fprintf(stderr, "%s\n", sent.error().message().c_str());
        link->close();
    }
    std::string path_;
    ouro::task_handle<void> sending_;
};

auto serving(std::string path) {
    return [path] { return std::make_shared<file_server>(path); };
}

ouro::task<std::string> fetch(ouro::address from) {
    auto [reader, writer] = co_await ouro::open_connection(from);
    const ouro::bytes all = co_await reader.read();
    co_return std::string(ouro::as_text(all));
}

ouro::task<int> serve_itself(std::string path) {
    std::ifstream file(path, std::ios::binary);
    const std::string expected{std::istreambuf_iterator<char>(file), {}};
    auto server = co_await ouro::create_server(serving(path), "127.0.0.1", 0);
    const ouro::address at = server.addresses().front();
    const auto [one, other] = co_await ouro::gather(fetch(at), fetch(at));
    server.close();
    co_await server.wait_closed();
    std::printf("%zu bytes, twice: %s\n", expected.size(),
                one == expected && other == expected ? "the same" : "DIFFERENT");
    co_return one == expected&& other == expected && !expected.empty() ? 0 : 1;
}

ouro::task<int> serve_for_ever(std::string path, std::string port) {
    const auto where = co_await ouro::address::parse("127.0.0.1:" + port);
    auto server = co_await ouro::create_server(serving(path), where);
    std::printf("serving on port %d\n", server.addresses().front().port());
    std::fflush(stdout);
    co_await server.serve_forever();
    co_return 0;
}

}  // namespace

int main(int count, char** words) {
    if (count == 1) return ouro::run([words] { return serve_itself(words[0]); });
    if (count != 3) {
        std::fprintf(stderr, "usage: %s [FILE PORT]\n", words[0]);
        return 2;
    }
    if (::access(words[1], R_OK) != 0) {
        std::perror(words[1]);
        return 1;
    }
    return ouro::run([words] { return serve_for_ever(words[1], words[2]); });
}
