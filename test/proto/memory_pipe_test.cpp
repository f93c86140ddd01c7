// The memory pipe: a pair of transports without the kernel.
#include <ouro/proto/memory_pipe.hpp>

#include "conforming.hpp"

namespace ouro::test {
namespace {

task<testing::transport_pair> connect_memory(protocol_factory left, protocol_factory right) {
    auto [one, other] = memory_pipe(loop::current());
    auto near = co_await create_connection(std::move(left), std::move(one));
    auto far = co_await create_connection(std::move(right), std::move(other));
    co_return testing::transport_pair(std::move(near.transport), std::move(far.transport));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_pipes)

OURO_ASYNC_TEST(memory_pipes_conform) {
    expect_conforming(co_await testing::check_stream_transport(connect_memory));
}

OURO_ASYNC_TEST(a_narrow_pipe_conforms) {
    const auto report = co_await testing::check_stream_transport(
        [](protocol_factory left, protocol_factory right) -> task<testing::transport_pair> {
            auto [one, other] = memory_pipe(loop::current(), {.capacity_bytes = 100});
            auto near = co_await create_connection(std::move(left), std::move(one));
            auto far = co_await create_connection(std::move(right), std::move(other));
            co_return testing::transport_pair(near.transport, far.transport);
        });
    expect_conforming(report);
}

OURO_ASYNC_TEST(a_pipe_keeps_what_came_before_its_other_end_was_begun) {
    auto [one, other] = memory_pipe(loop::current());
    const auto near = make_recorder(kind::streaming), far = make_recorder(kind::buffered);
    auto first = co_await create_connection(factory_of(near), one);
    first.transport->write("early");
    first.transport->close();
    co_await settle();
    BOOST_TEST(near->lost());
    co_await create_connection(factory_of(far), other);
    co_await eventually([&] { return far->lost(); });
    BOOST_TEST(far->story() == "made data eof lost");
    BOOST_TEST(far->data == "early");
}

OURO_ASYNC_TEST(an_end_that_is_destroyed_unbegun_is_the_end_of_the_stream) {
    auto [one, other] = memory_pipe(loop::current());
    const auto near = make_recorder(kind::streaming);
    auto first = co_await create_connection(factory_of(near), one);
    other.reset();
    co_await eventually([&] { return near->lost(); });
    BOOST_TEST(near->story() == "made eof lost");
    BOOST_TEST(!near->why);
}

OURO_ASYNC_TEST(a_write_to_a_peer_that_is_gone_breaks_the_pipe) {
    auto [one, other] = memory_pipe(loop::current());
    const auto near = make_recorder(kind::streaming), far = make_recorder(kind::streaming);
    near->stay_open_after_eof = true;
    auto first = co_await create_connection(factory_of(near), one);
    auto second = co_await create_connection(factory_of(far), other);
    second.transport->abort();
    co_await eventually([&] { return near->eofs == 1; });
    BOOST_TEST(!near->lost());
    first.transport->write("to nobody");
    co_await eventually([&] { return near->lost(); });
    BOOST_CHECK(near->why == std::errc::broken_pipe);
}

OURO_ASYNC_TEST(an_end_can_be_begun_once) {
    auto [one, other] = memory_pipe(loop::current());
    const auto near = make_recorder(kind::streaming);
    auto first = co_await create_connection(factory_of(near), one);
    BOOST_CHECK_THROW(one->begin(one, make_recorder(kind::streaming)->as_protocol()),
                      std::system_error);
    BOOST_CHECK_THROW(memory_pipe(loop::current(), {.capacity_bytes = 0}), std::system_error);
    first.transport->abort();
    co_await eventually([&] { return near->lost(); });
}

// rule 380
OURO_ASYNC_TEST(a_cancelled_creation_aborts_the_end) {
    auto [one, other] = memory_pipe(loop::current());
    const auto near = make_recorder(kind::streaming);
    auto making = spawn(create_connection(factory_of(near), one));
    co_await yield();
    making.cancel();
    (void)co_await as_result(making.join());
    if (!one->is_closing()) one->abort();  // it was made before
    co_await settle();
    BOOST_TEST(near->losses == near->made);
}

OURO_ASYNC_TEST(a_loop_that_closes_aborts_the_pipes_on_it) {
    auto [one, other] = memory_pipe(loop::current());
    const auto near = make_recorder(kind::streaming);
    co_await create_connection(factory_of(near), one);  // left open: the end of the test closes it
    BOOST_TEST(!near->lost());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
