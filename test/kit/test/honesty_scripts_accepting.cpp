// Honesty: connecting, listening and accepting.
#include <cerrno>
#include <cstring>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

io::resolved missing_path() {
    io::resolved name;
    auto& address = reinterpret_cast<sockaddr_un&>(name.storage);
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, "/no/such/folder/socket");
    name.length = sizeof address;
    return name;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_accepting)

HONESTY_OF_STREAMS(connections_are_accepted_in_the_order_they_came) {
    const listening listener = listen_on_any(home, kind);
    std::vector<int> fds{listener.fd};
    for (const std::string_view text : {"first", "second", "third"}) {
        fds.push_back(co_await connect_to(home, listener, kind));
        send_at_once(home, fds.back(), text);
        co_await quiet();
    }
    for (int i = 0; i < 3; ++i) {
        fds.push_back(co_await accept_from(home, listener.fd));
        notes.say("accepted", co_await recv_once(home, fds.back()));
    }
    for (const int fd : fds) io::close(home, fd);
}

HONESTY_OF_STREAMS(accept_many_gives_one_completion_for_each_connection) {
    const listening listener = listen_on_any(home, kind);
    std::vector<int> clients;
    clients.push_back(co_await connect_to(home, listener, kind));
    running accept;
    io::accept_many(home, accept, listener.fd);
    for (int i = 0; i < 4; ++i) {
        co_await quiet();
        clients.push_back(co_await connect_to(home, listener, kind));
    }
    co_await quiet();
    notes.say("completions", static_cast<int>(accept.results.size()));
    notes.say("it goes on", accept.in_flight && accept.terminals == 0);
    io::cancel(home, accept);
    notes.say("ended", co_await accept.end());
    notes.say("terminal completions", accept.terminals);
    std::vector<int> servers = accept.results;
    servers.pop_back();
    for (const int server : servers) io::adopt(home, server);
    for (std::size_t i = 0; i < servers.size(); ++i) {
        send_at_once(home, clients[i], std::to_string(i));
        notes.say("in order", co_await recv_once(home, servers[i]));
    }
    for (const int fd : clients) io::close(home, fd);
    for (const int fd : servers) io::close(home, fd);
    io::close(home, listener.fd);
}

HONESTY_OF_STREAMS(a_client_may_send_and_leave_before_it_is_accepted) {
    const listening listener = listen_on_any(home, kind);
    const int client = co_await connect_to(home, listener, kind);
    notes.say("sent", send_at_once(home, client, "hello"));
    io::close(home, client);
    co_await quiet();
    const int server = co_await accept_from(home, listener.fd);
    notes.say("accepted", server >= 0);
    notes.say("received", co_await recv_once(home, server));
    notes.say("then", co_await recv_once(home, server));
    for (const int fd : {server, listener.fd}) io::close(home, fd);
}

// fault 32
HONESTY(a_client_that_resets_before_it_is_accepted_is_accepted_all_the_same) {
    const listening listener = listen_on_any(home, stream_kind::tcp);
    const int client = co_await connect_to(home, listener, stream_kind::tcp);
    reset_at_once(home, client);
    co_await quiet();
    const int server = co_await accept_from(home, listener.fd);
    notes.say("accepted", server >= 0);
    notes.say("it has a peer", io::peer_name(home, server).has_value());
    notes.say("received", co_await recv_once(home, server));
    notes.say("then", co_await recv_once(home, server));
    for (const int fd : {server, listener.fd}) io::close(home, fd);
}

HONESTY_OF_STREAMS(a_closed_listener_resets_what_waits_in_its_backlog) {
    const listening listener = listen_on_any(home, kind);
    const int client = co_await connect_to(home, listener, kind);
    running receive;
    start_recv(home, receive, client, 8);
    co_await quiet();
    io::close(home, listener.fd);
    notes.say("the client's receive", co_await received(receive));
    notes.say("the next", co_await recv_once(home, client));
    io::close(home, client);
}

// fault 42
HONESTY_OF_STREAMS(a_refused_connect_says_so_and_the_socket_may_try_again) {
    listening gone = listen_on_any(home, kind);
    io::close(home, gone.fd);
    running connect;
    const int fd = start_connect(home, connect, gone, kind);
    notes.say("connect", co_await connect.end());
    notes.say("SO_ERROR", outcome_of(io::get_option(home, fd, SOL_SOCKET, SO_ERROR)));
    const listening listener = listen_on_any(home, kind);
    connect.forget();
    io::connect(home, connect, fd, raw(listener.name), listener.name.length);
    notes.say("elsewhere", co_await connect.end());
    connect.forget();
    io::connect(home, connect, fd, raw(listener.name), listener.name.length);
    notes.say("once more", co_await connect.end());
    for (const int each : {fd, listener.fd}) io::close(home, each);
}

// fault 46
HONESTY(a_missing_path_is_named_by_its_errno) {
    const io::resolved name = missing_path();
    const int fd = open_stream(home, stream_kind::local);
    running connect;
    io::connect(home, connect, fd, raw(name), name.length);
    notes.say("connect", co_await connect.end());
    io::close(home, fd);
}

// fault 43
HONESTY(a_unix_connect_waits_while_the_backlog_is_full) {
    const listening listener = listen_on_any(home, stream_kind::local, 1);
    running connects[3];
    std::vector<int> fds{listener.fd};
    for (running& each : connects) {
        fds.push_back(start_connect(home, each, listener, stream_kind::local));
        co_await quiet();
    }
    notes.say("first", connects[0].ended());
    notes.say("second", connects[1].ended());
    notes.say("third", connects[2].ended());
    fds.push_back(co_await accept_from(home, listener.fd));
    notes.say("third, after an accept", co_await connects[2].end());
    for (const int fd : fds) io::close(home, fd);
}

HONESTY_OF_STREAMS(what_a_listener_and_a_connected_socket_refuse) {
    const listening listener = listen_on_any(home, kind);
    const connected pair = co_await connect_pair(home, kind);
    const int fresh = open_stream(home, kind);
    running connect, accept;
    for (const int fd : {fresh, listener.fd}) {
        const auto name = io::peer_name(home, fd);
        notes.say("peer name", name ? "a name" : outcome_of(-name.error().code().value()));
    }
    notes.say("listen once more", io::listen(home, listener.fd, 5));
    notes.say("listen on a connection", io::listen(home, pair.ours, 5));
    io::accept(home, accept, fresh);
    notes.say("accept on a fresh one", co_await accept.end());
    accept.forget();
    io::accept_many(home, accept, fresh);
    notes.say("accept_many on a fresh one", co_await accept.end());
    accept.forget();
    io::accept(home, accept, pair.ours);
    notes.say("accept on a connection", co_await accept.end());
    io::connect(home, connect, pair.ours, raw(listener.name), listener.name.length);
    notes.say("connect of a connection", co_await connect.end());
    notes.say("send on a listener", co_await send_once(home, listener.fd, "x"));
    close_both(home, pair);
    for (const int fd : {fresh, listener.fd}) io::close(home, fd);
}

HONESTY_OF_STREAMS(the_shutdown_of_a_listener_ends_its_accepts) {
    const listening listener = listen_on_any(home, kind);
    running accept, many;
    io::accept(home, accept, listener.fd);
    // On a unix listener it goes on (seen on 6.18), which nobody needs.
    const bool with_many = kind == stream_kind::tcp;
    if (with_many) io::accept_many(home, many, listener.fd);
    co_await quiet();
    notes.say("shutdown", io::shutdown(home, listener.fd, SHUT_RDWR));
    notes.say("accept", co_await accept.end());
    if (with_many) notes.say("accept_many", co_await many.end());
    running connect;
    const int client = start_connect(home, connect, listener, kind);
    notes.say("a connect", co_await connect.end());
    for (const int fd : {client, listener.fd}) io::close(home, fd);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
