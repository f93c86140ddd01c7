// Task-local values of connections: what was set when a connection or a server was made.
#include <ouro/proto/create_connection.hpp>

#include <memory>
#include <vector>

#include <ouro/proto/server.hpp>
#include <ouro/runtime/context.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

task_local<int> owner{-1};

class base_only final : public protocol {};

/// Notes the value that each of its callbacks sees, and counts on it.
class noting final : public protocol {
  public:
    explicit noting(std::shared_ptr<std::vector<int>> seen) : seen_(std::move(seen)) {}
    void connection_made(std::shared_ptr<transport>) override { note(); }
    void data_received(bytes) override { note(); }
    bool eof_received() override {
        note();
        return false;
    }
    void connection_lost(error) override { note(); }

  private:
    void note() {
        seen_->push_back(owner.get());
        owner.set(owner.get() + 1);
    }
    std::shared_ptr<std::vector<int>> seen_;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(contexts_of_connections)

// rule 291
OURO_ASYNC_TEST(callbacks_run_with_the_values_of_whoever_made_the_connection) {
    auto seen = std::make_shared<std::vector<int>>();
    auto [own, peer] = co_await socket_pair(medium::unix_stream);
    owner.set(10);
    co_await create_connection([seen] { return std::make_shared<noting>(seen); }, std::move(own));
    owner.set(77);
    send_now(peer, "text");
    co_await eventually([seen] { return seen->size() == 2; });
    peer.close();
    co_await eventually([seen] { return seen->size() == 4; });
    // One context for all of its callbacks; nobody else sees what they set.
    BOOST_CHECK((*seen == std::vector{10, 11, 12, 13}));
    BOOST_TEST(owner.get() == 77);
}

// rule 291
OURO_ASYNC_TEST(connections_of_a_server_start_with_the_values_of_whoever_made_it) {
    auto seen = std::make_shared<std::vector<int>>();
    owner.set(20);
    auto server = co_await create_server(
        [seen] {
            seen->push_back(owner.get());
            return std::make_shared<noting>(seen);
        },
        address::from_ip("127.0.0.1", 0).value());
    owner.set(77);
    for (const std::size_t before : {0U, 4U}) {
        auto silent = [] { return std::make_shared<base_only>(); };
        auto client = co_await create_connection(silent, server.addresses().front());
        co_await eventually([seen, before] { return seen->size() == before + 2; });
        client.transport->close();
        co_await eventually([seen, before] { return seen->size() == before + 4; });
    }
    BOOST_CHECK((*seen == std::vector{20, 20, 21, 22, 20, 20, 21, 22}));
    server.close();
    co_await server.wait_closed();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
