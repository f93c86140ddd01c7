// A stream transport of your own, checked: put it where the library's own is used here.
#include <cstdio>

#include <ouro/ouro.hpp>
#include <ouro/testing/check_stream_transport.hpp>

ouro::task<ouro::testing::transport_pair> two_ends(ouro::protocol_factory left,
                                                   ouro::protocol_factory right) {
    auto [one, other] = co_await ouro::socket::pair(ouro::loop::current());
    auto near = co_await ouro::create_connection(std::move(left), std::move(one));
    auto far = co_await ouro::create_connection(std::move(right), std::move(other));
    co_return {std::move(near.transport), std::move(far.transport)};
}

ouro::task<int> check() {
    const auto report = co_await ouro::testing::check_stream_transport(two_ends);
    std::puts(report.describe().c_str());
    co_return report.passed() ? 0 : 1;
}

int main() { return ouro::run(check); }
