// Honesty: names, ports and options of sockets.
#include <netinet/tcp.h>

#include <cerrno>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

int bind_to(loop& home, int fd, const io::resolved& name) {
    return outcome_of(io::bind(home, fd, raw(name), name.length));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_naming)

// Close-on-exec is for the real kernel only: fault 78.
HONESTY(both_ends_agree_on_their_names) {
    const listening listener = listen_on_any(home, stream_kind::tcp);
    const int client = co_await connect_to(home, listener, stream_kind::tcp);
    const int server = co_await accept_from(home, listener.fd);
    const auto ours = co_await io::local_name(home, client);
    const auto theirs = co_await io::peer_name(home, server);
    notes.say("the client's name at both ends", same(ours, theirs));
    notes.say("the server's name at both ends",
              same(co_await io::peer_name(home, client), co_await io::local_name(home, server)));
    notes.say("the server has the listener's name",
              same(listener.name, co_await io::local_name(home, server)));
    notes.say("the client has a port of its own",
              port_of(ours) != 0 && port_of(ours) != port_of(listener.name));
    notes.say("the client has the address of loopback",
              same(ours, loopback_address(port_of(ours))));
    for (const int fd : {client, server, listener.fd}) io::close(home, fd);
}

HONESTY(unix_sockets_without_a_name_have_a_short_one) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    for (const auto& name :
         {co_await io::local_name(home, pair.ours), co_await io::peer_name(home, pair.ours)}) {
        notes.say("length", static_cast<int>(name.length));
        notes.say("family is AF_UNIX", name.storage.ss_family == AF_UNIX);
    }
    const listening listener = listen_on_any(home, stream_kind::local);
    const int client = co_await connect_to(home, listener, stream_kind::local);
    const int server = co_await accept_from(home, listener.fd);
    notes.say("the client sees the listener's name",
              same(listener.name, co_await io::peer_name(home, client)));
    notes.say("the server has it", same(listener.name, co_await io::local_name(home, server)));
    notes.say("the client has none",
              static_cast<int>((co_await io::peer_name(home, server)).length));
    for (const int fd : {client, server, listener.fd}) io::close(home, fd);
    close_both(home, pair);
}

HONESTY_OF_STREAMS(a_name_in_use_is_refused) {
    const listening listener = listen_on_any(home, kind);
    const int other = open_stream(home, kind);
    notes.say("another socket", bind_to(home, other, listener.name));
    notes.say("the same once more", bind_to(home, listener.fd, listener.name));
    io::close(home, listener.fd);
    notes.say("after the close", bind_to(home, other, listener.name));
    io::close(home, other);
    co_return;
}

HONESTY(reuse_address_allows_a_second_bind_but_not_a_second_listener) {
    const auto reuse = [&](int fd) {
        BOOST_TEST(io::set_option(home, fd, SOL_SOCKET, SO_REUSEADDR, 1).has_value());
    };
    const int first = open_stream(home, stream_kind::tcp);
    const int second = open_stream(home, stream_kind::tcp);
    const int plain = open_stream(home, stream_kind::tcp);
    reuse(first);
    reuse(second);
    bind_to(home, first, loopback_address());
    const io::resolved name = co_await io::local_name(home, first);
    notes.say("the second", bind_to(home, second, name));
    notes.say("one without the option", bind_to(home, plain, name));
    notes.say("the first listens", io::listen(home, first, 1));
    notes.say("the second listens", io::listen(home, second, 1));
    const int third = open_stream(home, stream_kind::tcp);
    reuse(third);
    notes.say("a third beside a listener", bind_to(home, third, name));
    for (const int fd : {first, second, plain, third}) io::close(home, fd);
}

HONESTY(a_port_with_connections_is_bound_again_with_reuse_address_only) {
    const listening listener = listen_on_any(home, stream_kind::tcp);
    const int client = co_await connect_to(home, listener, stream_kind::tcp);
    const int server = co_await accept_from(home, listener.fd);
    io::close(home, listener.fd);
    const int plain = open_stream(home, stream_kind::tcp);
    notes.say("without", bind_to(home, plain, listener.name));
    io::close(home, server);
    io::close(home, client);
    io::close(home, plain);

    listening reusing;
    reusing.fd = open_stream(home, stream_kind::tcp);
    BOOST_TEST(io::set_option(home, reusing.fd, SOL_SOCKET, SO_REUSEADDR, 1).has_value());
    bind_to(home, reusing.fd, loopback_address());
    BOOST_TEST(io::listen(home, reusing.fd, 1).has_value());
    reusing.name = co_await io::local_name(home, reusing.fd);
    const int near = co_await connect_to(home, reusing, stream_kind::tcp);
    const int far = co_await accept_from(home, reusing.fd);
    io::close(home, reusing.fd);
    const int again = open_stream(home, stream_kind::tcp);
    BOOST_TEST(io::set_option(home, again, SOL_SOCKET, SO_REUSEADDR, 1).has_value());
    notes.say("with, at both sockets", bind_to(home, again, reusing.name));
    notes.say("and it listens", io::listen(home, again, 1));
    for (const int fd : {near, far, again}) io::close(home, fd);
}

HONESTY(port_0_finds_a_free_port) {
    std::vector<int> fds;
    std::vector<std::uint16_t> ports;
    for (int i = 0; i < 3; ++i) {
        const int fd = open_stream(home, stream_kind::tcp);
        notes.say("port before", port_of(co_await io::local_name(home, fd)));
        notes.say("bind", bind_to(home, fd, loopback_address()));
        ports.push_back(port_of(co_await io::local_name(home, fd)));
        notes.say("has a port", ports.back() != 0);
        fds.push_back(fd);
    }
    notes.say("all differ", ports[0] != ports[1] && ports[1] != ports[2] && ports[0] != ports[2]);
    for (const int fd : fds) io::close(home, fd);
}

HONESTY(every_host_of_loopback_has_its_own_ports) {
    listening first = listen_on_any(home, stream_kind::tcp);
    io::resolved other = first.name;
    reinterpret_cast<sockaddr_in&>(other.storage).sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    const int second = open_stream(home, stream_kind::tcp);
    notes.say("the port on 127.0.0.2", bind_to(home, second, other));
    notes.say("listen", io::listen(home, second, 1));
    io::resolved any = first.name;
    reinterpret_cast<sockaddr_in&>(any.storage).sin_addr.s_addr = htonl(INADDR_ANY);
    const int third = open_stream(home, stream_kind::tcp);
    notes.say("the port on every host", bind_to(home, third, any));

    const int client = co_await connect_to(home, {second, other}, stream_kind::tcp);
    const int server = co_await accept_from(home, second);
    notes.say("the peer", same(co_await io::peer_name(home, client), other));
    const auto ours = co_await io::local_name(home, client);
    notes.say("from 127.0.0.1", same(ours, loopback_address(port_of(ours))));
    for (const int fd : {client, server, first.fd, second, third}) io::close(home, fd);
}

HONESTY(a_listener_of_every_host_is_reached_by_each) {
    io::resolved any = loopback_address();
    reinterpret_cast<sockaddr_in&>(any.storage).sin_addr.s_addr = htonl(INADDR_ANY);
    const int listener = open_stream(home, stream_kind::tcp);
    notes.say("bind", bind_to(home, listener, any));
    notes.say("listen", io::listen(home, listener, 4));
    const auto port = port_of(co_await io::local_name(home, listener));
    const auto one = loopback_address(port);
    const int other = open_stream(home, stream_kind::tcp);
    notes.say("the port on 127.0.0.1", bind_to(home, other, one));
    const int client = co_await connect_to(home, {listener, one}, stream_kind::tcp);
    const int server = co_await accept_from(home, listener);
    notes.say("the server is where it was called",
              same(co_await io::local_name(home, server), one));
    for (const int fd : {client, server, listener, other}) io::close(home, fd);
}

HONESTY(a_client_may_choose_its_port) {
    const listening listener = listen_on_any(home, stream_kind::tcp);
    const int client = open_stream(home, stream_kind::tcp);
    notes.say("bind", bind_to(home, client, loopback_address()));
    const auto ours = co_await io::local_name(home, client);
    running connect;
    io::connect(home, connect, client, raw(listener.name), listener.name.length);
    notes.say("connect", co_await connect.end());
    const int server = co_await accept_from(home, listener.fd);
    notes.say("the server sees it", same(co_await io::peer_name(home, server), ours));
    notes.say("the name stays", same(co_await io::local_name(home, client), ours));
    for (const int fd : {client, server, listener.fd}) io::close(home, fd);
}

HONESTY(reuse_port_allows_a_second_listener) {
    std::vector<int> fds;
    io::resolved name = loopback_address();
    for (const bool with : {true, true, false}) {
        const int fd = open_stream(home, stream_kind::tcp);
        if (with) {
            BOOST_TEST(io::set_option(home, fd, SOL_SOCKET, SO_REUSEPORT, 1).has_value());
        }
        notes.say(with ? "with" : "without", bind_to(home, fd, name));
        if (with) notes.say("listens", io::listen(home, fd, 1));
        if (fds.empty()) name = co_await io::local_name(home, fd);
        fds.push_back(fd);
    }
    for (const int fd : fds) io::close(home, fd);
}

HONESTY_OF_STREAMS(options_tell_what_a_socket_is) {
    const listening listener = listen_on_any(home, kind);
    const connected pair = co_await connect_pair(home, kind);
    const auto option = [&](int fd, int name) {
        return outcome_of(io::get_option(home, fd, SOL_SOCKET, name));
    };
    notes.say("SO_TYPE is SOCK_STREAM", option(pair.ours, SO_TYPE) == SOCK_STREAM);
    notes.say("SO_DOMAIN is right",
              option(pair.ours, SO_DOMAIN) == (kind == stream_kind::tcp ? AF_INET : AF_UNIX));
    notes.say("SO_ERROR", option(pair.ours, SO_ERROR));
    notes.say("SO_ACCEPTCONN of a connection", option(pair.ours, SO_ACCEPTCONN));
    notes.say("SO_ACCEPTCONN of a listener", option(listener.fd, SO_ACCEPTCONN));
    notes.say("SO_KEEPALIVE before", option(pair.ours, SO_KEEPALIVE));
    notes.say("set", io::set_option(home, pair.ours, SOL_SOCKET, SO_KEEPALIVE, 1));
    notes.say("SO_KEEPALIVE after", option(pair.ours, SO_KEEPALIVE));
    notes.say("a bad descriptor", option(-1, SO_TYPE));
    notes.say("an odd family", outcome_of(io::socket(home, 12345, SOCK_STREAM, 0)));
    close_both(home, pair);
    io::close(home, listener.fd);
}

HONESTY(options_are_kept_and_unknown_ones_refused) {
    const int fd = open_stream(home, stream_kind::tcp);
    const auto option = [&](int level, int name) {
        return outcome_of(io::get_option(home, fd, level, name));
    };
    notes.say("TCP_NODELAY before", option(IPPROTO_TCP, TCP_NODELAY));
    notes.say("set", io::set_option(home, fd, IPPROTO_TCP, TCP_NODELAY, 1));
    notes.say("TCP_NODELAY after", option(IPPROTO_TCP, TCP_NODELAY));
    notes.say("SO_REUSEADDR before", option(SOL_SOCKET, SO_REUSEADDR));
    for (const int name : {SO_RCVBUF, SO_SNDBUF}) {
        notes.say("set", io::set_option(home, fd, SOL_SOCKET, name, 50'000));
        notes.say("at least as much", option(SOL_SOCKET, name) >= 50'000);
    }
    notes.say("an unknown one", option(SOL_SOCKET, 9999));
    notes.say("set", io::set_option(home, fd, SOL_SOCKET, 9999, 1));
    notes.say("on a bad descriptor", io::set_option(home, -1, SOL_SOCKET, SO_KEEPALIVE, 1));
    io::close(home, fd);
    co_return;
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
