// The smallest test in virtual time: an echo service in a thousand slow and stingy networks.
#include <cstdio>
#include <stdexcept>

#include <ouro/ouro.hpp>
#include <ouro/testing/explore.hpp>

using namespace ouro::testing;

ouro::task<> echo(ouro::stream_reader reader, ouro::stream_writer writer) {
    writer.write(co_await reader.readline());
}

ouro::task<> a_line_comes_back() {
    auto server = co_await ouro::start_server(echo, "10.0.0.2", 7);
    auto [reader, writer] = co_await ouro::open_connection("10.0.0.2", 7);
    writer.write("in pieces of any size\n");
    const auto line = co_await reader.readline();
    if (line != "in pieces of any size\n") throw std::runtime_error("it came back changed");
    server.close();
}

simulation_options slow_and_stingy(std::uint64_t seed) {
    auto world = simulation_options::hostile(seed);
    // What this program makes no attempt to survive.
    using enum fault_kind;
    for (const auto kind : {reset, refuse, no_descriptor, accept_fails}) world.rate(kind) = 0;
    return world;
}

int main() {
    const auto report = explore({.world = slow_and_stingy}, a_line_comes_back);
    std::puts(report.failed ? report.failed->describe().c_str() : report.figures().c_str());
    return report.failed ? 1 : 0;
}
