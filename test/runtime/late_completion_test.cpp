// A completion that comes for an op which has been started anew since.
#include "loop_state.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>

#include "async_test.hpp"
#include "noted_op.hpp"

namespace ouro::test {
BOOST_AUTO_TEST_SUITE(late_completions)

// fault 16
OURO_ASYNC_TEST(a_completion_of_an_earlier_use_of_an_op_is_counted_and_ends_nothing) {
    loop& home = loop::current();
    descriptors fds(home);
    std::array<std::byte, 8> room;
    noted_op receive;
    op& started = receive;
    io::recv(home, started, fds.ours, room);
    const auto earlier = static_cast<std::uint16_t>(started.generation - 1);
    home.state().batch.push_back({&started, nullptr, 5, 0, 0, earlier});
    co_await settle();
    BOOST_TEST(receive.in_flight);
    BOOST_TEST(receive.results.empty());
    BOOST_TEST(home.statistics().late_completions == 1U);
    fds.peer_sends("abc");
    BOOST_TEST(co_await receive.end() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
