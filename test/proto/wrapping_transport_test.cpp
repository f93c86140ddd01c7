// Wrapping transports: the base forwards everything, and one that changes what passes conforms too.
#include <ouro/proto/wrapping_transport.hpp>

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
    BOOST_TEST(!link->writelines({}));
    BOOST_TEST(!link->write_eof());
    BOOST_TEST(!link->can_write_eof());
    BOOST_TEST(!link->is_closing());
    BOOST_TEST(!link->is_reading());
    BOOST_TEST(!link->extra_info("socket").has_value());
    BOOST_TEST(!link->set_write_buffer_limits(1, 1));
    BOOST_TEST(link->get_write_buffer_limits().second == 0U);
    BOOST_TEST(link->get_write_buffer_size() == 0U);
    BOOST_TEST(!link->get_protocol());
    link->pause_reading();
    link->resume_reading();
    link->set_protocol(make_recorder(kind::streaming)->as_protocol());
    link->close();
    link->abort();
    BOOST_CHECK_THROW(link->wrap(std::make_shared<base_protocol>()), std::system_error);
    co_return;
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
