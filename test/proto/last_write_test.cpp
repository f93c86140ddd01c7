// What is written in the last turn of a run, when nobody runs the loop again.
#include <ouro/proto/create_connection.hpp>

#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <array>
#include <memory>

#include <ouro/proto/protocol.hpp>
#include <ouro/runtime/spawn.hpp>

namespace ouro::test {
namespace {

struct quiet final : protocol {
    void data_received(bytes) override {}
};

task<> write_and_return(int fd) {
    auto [link, receiver] = co_await create_connection([] { return std::make_shared<quiet>(); },
                                                       socket::adopt(loop::current(), fd));
    BOOST_CHECK(!link->write("last words"));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(last_writes)

// fault 7
BOOST_AUTO_TEST_CASE(what_the_last_turn_wrote_leaves_before_the_run_returns) {
    int fds[2];
    BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    {
        loop home;
        BOOST_TEST(home.run_until_complete(write_and_return(fds[0])).has_value());
        std::array<char, 32> room;
        BOOST_TEST(::recv(fds[1], room.data(), room.size(), MSG_DONTWAIT) == 10);
    }
    ::close(fds[1]);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
