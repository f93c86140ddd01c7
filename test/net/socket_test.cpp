// Raw sockets.
#include <ouro/net/socket.hpp>

#include "async_test.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(socket_calls)

OURO_ASYNC_TEST(bytes_sent_arrive) {
    auto [client, server] = co_await tcp_pair();
    BOOST_TEST(co_await client.send(as_bytes("hello")) == 5U);
    std::array<std::byte, 16> room;
    const std::size_t count = co_await server.recv_into(room);
    BOOST_TEST(as_text(bytes(room).first(count)) == "hello");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
