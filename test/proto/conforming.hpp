// Pairs of transports for the conformance suite.
#pragma once

#include <ouro/testing/check_stream_transport.hpp>

#include "recorder.hpp"

namespace ouro::test {

inline void expect_conforming(const testing::conformance_report& report) {
    BOOST_CHECK_MESSAGE(report.passed(), report.describe());
    BOOST_TEST(report.checks.size() > 100U);
    for (const auto& each : report.checks) {
        const bool about_lack = each.name.starts_with("write_eof is refused where there is none") ||
                                each.name == "names are known after the end" ||
                                each.name == "the socket is one and loses its descriptor";
        BOOST_CHECK_MESSAGE(each.skipped.empty() || about_lack, each.name << each.skipped);
    }
}

/// `near`, a shared pointer to a wrapping transport, around one end of a narrow TCP connection.
template <class Wrapper>
task<testing::transport_pair> connect_wrapped(Wrapper near, protocol_factory left,
                                              protocol_factory right) {
    constexpr int small_bytes = 64 * 1024;
    auto [own, other] = co_await tcp_pair();
    for (socket* each : {&own, &other}) {
        co_await each->set_option(SOL_SOCKET, SO_SNDBUF, small_bytes);
        co_await each->set_option(SOL_SOCKET, SO_RCVBUF, small_bytes);
    }
    co_await create_connection(
        [near, left = std::move(left)]() mutable { return near->wrap(left()); }, std::move(own));
    auto far = co_await create_connection(std::move(right), std::move(other));
    co_return testing::transport_pair(std::move(near), std::move(far.transport));
}

}  // namespace ouro::test
