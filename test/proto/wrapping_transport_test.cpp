// Wrapping transports: the base forwards everything, and one that changes what passes conforms too.
#include <ouro/proto/wrapping_transport.hpp>

#include <ouro/proto/memory_pipe.hpp>

#include "conforming.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(wrapping_transports)

OURO_ASYNC_TEST(a_transport_that_only_wraps_conforms) {
    const auto report =
        co_await testing::check_stream_transport([](protocol_factory left, protocol_factory right) {
            return connect_wrapped(std::make_shared<wrapping_transport>(), std::move(left),
                                   std::move(right));
        });
    expect_conforming(report);
}

OURO_ASYNC_TEST(every_call_before_it_is_wrapped_does_nothing) {
    const auto link = std::make_shared<wrapping_transport>();
    BOOST_TEST(!link->write("x"));
    BOOST_TEST(!link->write(std::vector<std::byte>(1)));
    BOOST_TEST(!link->write(buffer_lease::copy_of(as_bytes("x"))));
    BOOST_TEST(!link->writelines({}));
    BOOST_TEST(!link->write_eof());
    BOOST_TEST(!link->can_write_eof());
    BOOST_TEST(!link->is_closing());
    BOOST_TEST(!link->is_reading());
    BOOST_TEST(!link->extra_info("socket").has_value());
    BOOST_TEST(!link->set_write_buffer_limits(1, 1));
    BOOST_TEST(link->get_write_buffer_limits().second == 0U);
    BOOST_TEST(link->get_write_buffer_size() == 0U);
    BOOST_TEST(link->statistics().bytes_sent == 0U);
    BOOST_TEST(!link->get_protocol());
    link->pause_reading();
    link->resume_reading();
    link->set_protocol(make_recorder(kind::streaming)->as_protocol());
    link->close();
    link->abort();
    BOOST_CHECK_THROW(link->wrap(std::make_shared<base_protocol>()), std::system_error);
    co_return;
}

OURO_ASYNC_TEST(protocols_of_each_kind_hear_through_it_and_answer) {
    for (const kind each : {kind::streaming, kind::buffered, kind::leasing}) {
        auto [left, right] = memory_pipe(loop::current());
        const auto seen = make_recorder(each), other = make_recorder(kind::streaming);
        const auto link = std::make_shared<wrapping_transport>();
        co_await create_connection([&] { return link->wrap(seen->as_protocol()); }, left);
        co_await create_connection([&] { return other->as_protocol(); }, right);
        other->link->write("hello");
        co_await settle();
        BOOST_TEST(seen->data == "hello");
        BOOST_TEST(!link->write(buffer_lease::copy_of(as_bytes("thanks"))));
        co_await settle();
        BOOST_TEST(other->data == "thanks");
        link->close();
        co_await settle();
        BOOST_TEST(seen->story().ends_with("lost"));
        seen->link.reset();
        other->link.reset();
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
