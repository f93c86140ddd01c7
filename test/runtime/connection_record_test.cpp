// Connection records as text. Where they come from is tested with the transports.
#include <ouro/runtime/connection_record.hpp>

#include <boost/test/unit_test.hpp>

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(connection_records)

BOOST_AUTO_TEST_CASE(a_record_is_one_line) {
    connection_record record{.local = "127.0.0.1:80",
                             .peer = "127.0.0.1:5000",
                             .lost_at = clock::time_point(std::chrono::milliseconds(3200)),
                             .who = closed_by::peer,
                             .bytes_received = 120,
                             .bytes_sent = 80};
    BOOST_TEST(record.describe() ==
               "127.0.0.1:80 <- 127.0.0.1:5000, 3.200 s, 120 B in, 80 B out, closed by peer");
    record.who = closed_by::us;
    record.aborted = true;
    record.bytes_dropped = 7;
    BOOST_TEST(record.describe() == "127.0.0.1:80 <- 127.0.0.1:5000, 3.200 s, 120 B in, 80 B out, "
                                    "aborted by us, 7 B dropped");
    record.who = closed_by::failure;
    record.aborted = false;
    record.bytes_dropped = 0;
    record.why = error(std::errc::connection_reset, "receive");
    BOOST_TEST(record.describe().find("closed by failure: ") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
