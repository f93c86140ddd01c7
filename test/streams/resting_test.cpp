// What a connection that rests holds: no receive buffer, and few bytes of anything else.
#include "async_test.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include <ouro/proto/server.hpp>
#include <ouro/streams/start_server.hpp>

namespace ouro::test {
namespace {

constexpr std::size_t most_count = 1000;
// Pools and tables are there once so many have come.
constexpr std::size_t warm_up = 200;

/// As many connections, with both their ends in this process, as its descriptors allow.
std::size_t possible_count() {
    constexpr std::size_t others = 100;
    rlimit allowed{};
    ::getrlimit(RLIMIT_NOFILE, &allowed);
    const auto possible = (static_cast<std::size_t>(allowed.rlim_cur) - others) / 2 - warm_up;
    return std::min(most_count, possible);
}

class echo final : public protocol {
    void connection_made(std::shared_ptr<transport> link) override { link_ = std::move(link); }
    void data_received(bytes data) override { link_->write(data); }
    std::shared_ptr<transport> link_;
};

task<> echo_stream(stream_reader reader, stream_writer writer) {
    for (;;) {
        const bytes data = co_await reader.read_some();
        if (data.empty()) co_return;
        writer.write(data);
        co_await writer.drain();
    }
}

/// Clients that are no part of what is measured: bare descriptors.
class clients {
  public:
    explicit clients(address where) : where_(where) {}
    clients(const clients&) = delete;
    clients& operator=(const clients&) = delete;
    ~clients() {
        for (const int fd : fds_) ::close(fd);
    }
    /// As many more, each of which gets an echo.
    task<> come(std::size_t more) {
        fds_.reserve(fds_.size() + more);
        for (; more; --more) {
            const int fd = ::socket(where_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
            fds_.push_back(fd);
            BOOST_REQUIRE(::connect(fd, where_.raw(), where_.length()) == 0);
            BOOST_REQUIRE(::send(fd, "0123456789", 10, 0) == 10);
            char answer[16];
            while (::recv(fd, answer, sizeof(answer), MSG_DONTWAIT) < 0) co_await yield();
        }
    }

  private:
    address where_;
    std::vector<int> fds_;
};

/// Bytes of the heap that each of many clients of `at` costs while it rests, as malloc(3) counts.
/// (Under a sanitizer, which has a heap of its own, these are none.)
task<std::size_t> bytes_at_rest(server at) {
    clients those(at.addresses().at(0));
    const std::size_t count = possible_count();
    co_await those.come(warm_up);
    const std::size_t before = ::mallinfo2().uordblks;
    co_await those.come(count);
    const std::size_t after = ::mallinfo2().uordblks;
    BOOST_TEST(at.client_count() == warm_up + count);
    at.close();
    at.abort_clients();
    co_await at.wait_closed();
    co_return (after - before) / count;
}

constexpr const char* about_memory = "counts the bytes of a thousand connections";

}  // namespace

BOOST_AUTO_TEST_SUITE(resting)

OURO_KERNEL_TEST(a_protocol_at_rest_costs_half_a_kilobyte, about_memory) {
    const std::size_t each = co_await bytes_at_rest(co_await create_server(
        [] { return std::make_shared<echo>(); }, "127.0.0.1", 0, {.backlog_count = 2000}));
    BOOST_TEST_MESSAGE("a protocol at rest: " << each << " bytes");
    BOOST_TEST(each < 480U);
}

OURO_KERNEL_TEST(a_stream_at_rest_costs_one_and_a_half_kilobytes, about_memory) {
    const std::size_t each = co_await bytes_at_rest(
        co_await start_server(echo_stream, "127.0.0.1", 0, {.server = {.backlog_count = 2000}}));
    BOOST_TEST_MESSAGE("a stream at rest: " << each << " bytes");
    BOOST_TEST(each < 1536U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
