// A stop of the process, by SIGSTOP or a debugger, interrupts what waits in a thread of the kernel.
#include <ouro/net/socket.hpp>

#include "async_test.hpp"
#include "failing_call.hpp"

#include <ouro/runtime/spawn.hpp>

namespace ouro::test {
namespace {

using testing::door_call;

/// Connects, sends and receives, on a stream and by datagrams.
task<> talk() {
    auto [client, server] = co_await tcp_pair();
    co_await client.send_all(as_bytes("over a stream"));
    BOOST_TEST(as_text(co_await server.recv(100)) == "over a stream");
    const auto anywhere = address::from_ip("127.0.0.1", 0).value();
    socket one = co_await socket::open(loop::current(), AF_INET, SOCK_DGRAM);
    socket other = co_await socket::open(loop::current(), AF_INET, SOCK_DGRAM);
    co_await other.bind(anywhere);
    BOOST_TEST(co_await one.send_to(as_bytes("alone"), co_await other.local_address()) == 5U);
    const auto [text, from] = co_await other.recv_from(std::size_t{100});
    BOOST_TEST(as_text(text) == "alone");
}

/// A send that is interrupted after somebody wanted it to end.
template <class End>
task<> end_what_is_interrupted(End end) {
    auto [client, server] = co_await tcp_pair();
    auto sending =
        spawn([](socket& by) -> task<> { co_await by.send(as_bytes("x")); }, std::ref(client));
    co_await yield();
    end(client, sending);
    const auto ended = co_await as_result(sending.join());
    BOOST_CHECK((!ended && ended.error() == errc::cancelled));
}
task<> cancel_it() {
    return end_what_is_interrupted([](socket&, task_handle<>& sending) { sending.cancel(); });
}
task<> close_its_socket() {
    return end_what_is_interrupted([](socket& client, task_handle<>&) { client.close(); });
}

void run_interrupted(task<> (*body)(), door_call call) {
    testing::injection none;
    run_with(none.options(options_for(engine::uring)), &talk);
    testing::injection faults(failing_call(none, call, EINTR, failing::once));
    run_with(faults.options(options_for(engine::uring)), body);
    BOOST_TEST(faults.struck() == 1U);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(interrupted)

BOOST_AUTO_TEST_CASE(what_was_interrupted_is_started_again) {
    for (const auto call : {door_call::connect, door_call::send, door_call::send_message}) {
        BOOST_TEST_INFO_SCOPE("call " << int(call));
        run_interrupted(&talk, call);
    }
}

BOOST_AUTO_TEST_CASE(what_was_to_end_is_not_started_again) {
    run_interrupted(&cancel_it, door_call::send);
    run_interrupted(&close_its_socket, door_call::send);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
