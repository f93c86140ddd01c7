// What the other end of a connection does at once, through the door.
#include "at_once.hpp"

#include <sys/socket.h>

#include <boost/test/unit_test.hpp>

#include <vector>

#include <ouro/testing/simulation.hpp>

namespace ouro::test {

void send_now(loop& home, int from, std::string_view text) {
    const auto sent = io::try_send(home, from, as_bytes(text));
    BOOST_REQUIRE_MESSAGE(sent.has_value(), (sent ? "" : sent.error().describe()));
    BOOST_REQUIRE_EQUAL(*sent, text.size());
}

void send_now(const socket& from, std::string_view text) { send_now(from.home(), from.fd(), text); }

void fill_now(const socket& to) {
    const std::string block(65536, 'x');
    while (io::try_send(to.home(), to.fd(), as_bytes(block))) continue;
}

void end_now(loop& home, int of) {
    const auto ended = io::shutdown(home, of, SHUT_WR);
    BOOST_REQUIRE_MESSAGE(ended.has_value(), (ended ? "" : ended.error().describe()));
}

void end_now(const socket& of) { end_now(of.home(), of.fd()); }

void reset_now(socket& of) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    BOOST_REQUIRE(
        of.set_option(SOL_SOCKET, SO_LINGER, std::as_bytes(std::span(&at_once, 1))).has_value());
    of.close();
}

peeked peek(const socket& at) {
    if (const auto* simulated = testing::simulation::try_current()) {
        const auto seen = simulated->peek(at.fd());
        return {.byte_count = seen.bytes, .ended = seen.ended};
    }
    std::vector<std::byte> room(1 << 20);
    const auto got = ::recv(at.fd(), room.data(), room.size(), MSG_PEEK | MSG_DONTWAIT);
    return {.byte_count = got > 0 ? static_cast<std::size_t>(got) : 0, .ended = got == 0};
}

task<> drain(socket& from) {
    std::vector<std::byte> room(65536);
    while (readable_bytes(from)) (void)co_await from.recv_into(room);
}

}  // namespace ouro::test
