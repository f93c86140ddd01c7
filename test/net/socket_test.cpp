// Raw sockets: the calls, their errors and their limits.
#include <ouro/net/socket.hpp>

#include "async_test.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <ouro/net/resolve.hpp>

namespace ouro::test {
namespace {

task<socket> listening(std::string where = "127.0.0.1:0") {
    const address at = co_await address::parse(where);
    auto made = co_await socket::open(loop::current(), at.family());
    co_await made.bind(at);
    co_await made.listen();
    co_return made;
}

task<socket> connected_to(address where) {
    auto made = co_await socket::open(loop::current(), where.family());
    co_await made.connect(where);
    co_return made;
}

task<std::string> receive_all(socket& from) {
    std::string all;
    for (auto data = co_await from.recv(100'000); !data.empty();
         data = co_await from.recv(100'000)) {
        all += as_text(data);
    }
    co_return all;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(socket_calls)

OURO_ASYNC_TEST(bytes_sent_arrive) {
    auto [client, server] = co_await tcp_pair();
    BOOST_TEST(co_await client.send(as_bytes("hello")) == 5U);
    std::array<std::byte, 16> room;
    const std::size_t count = co_await server.recv_into(room);
    BOOST_TEST(as_text(bytes(room).first(count)) == "hello");
}

OURO_ASYNC_TEST(a_receive_gives_no_more_than_asked_for_and_leaves_the_rest) {
    auto [client, server] = co_await tcp_pair();
    co_await client.send_all(as_bytes("abcdef"));
    BOOST_TEST(as_text(co_await server.recv(4)) == "abcd");
    BOOST_TEST(as_text(co_await server.recv(4)) == "ef");
}

// rule 664
OURO_ASYNC_TEST(a_receive_gives_nothing_at_the_end_again_and_again) {
    auto [client, server] = co_await tcp_pair();
    co_await client.send_all(as_bytes("last"));
    co_await client.shutdown_write();
    BOOST_TEST(as_text(co_await server.recv(10)) == "last");
    std::array<std::byte, 4> room;
    for (int i = 0; i < 3; ++i) {
        BOOST_TEST((co_await server.recv(10)).empty());
        BOOST_TEST(co_await server.recv_into(room) == 0U);
    }
    // fault 34: the other direction is open.
    co_await server.send_all(as_bytes("answer"));
    BOOST_TEST(as_text(co_await client.recv(10)) == "answer");
}

// rules 664, 665
OURO_ASYNC_TEST(send_all_sends_everything_to_a_slow_reader) {
    auto [client, server] = co_await socket::pair(loop::current());
    const std::string sent = pattern(5'000'000);
    const auto send = [](socket to, std::string text) -> task<> {
        co_await to.send_all(as_bytes(text));
    };
    auto sending = spawn(send(std::move(client), sent));
    co_await settle(20);
    BOOST_TEST(!sending.done());
    BOOST_CHECK(co_await receive_all(server) == sent);
    co_await sending;
}

// rule 665
// fault 22
OURO_ASYNC_TEST(send_all_to_a_peer_that_has_gone_fails_without_a_signal) {
    auto [client, server] = co_await socket::pair(loop::current());
    server.close();
    const auto sent = co_await as_result(client.send_all(as_bytes(pattern(100'000))));
    BOOST_REQUIRE(!sent);
    BOOST_TEST((sent.error() == std::errc::broken_pipe), sent.error().message());
}

OURO_ASYNC_TEST(sending_nothing_ends_at_once) {
    auto [client, server] = co_await tcp_pair();
    co_await client.send_all({});
    co_await client.send_all(as_bytes("x"));
    BOOST_TEST(as_text(co_await server.recv(10)) == "x");
}

OURO_ASYNC_TEST(both_directions_work_at_the_same_time) {
    auto ends = co_await socket::pair(loop::current());
    const auto left = std::make_shared<socket>(std::move(ends.first));
    const auto right = std::make_shared<socket>(std::move(ends.second));
    const std::string there = pattern(1'000'000, 1);
    const std::string back = pattern(1'000'000, 2);
    const auto send = [](std::shared_ptr<socket> to, std::string text) -> task<> {
        co_await to->send_all(as_bytes(text));
        co_await to->shutdown_write();
    };
    const auto receive = [](std::shared_ptr<socket> from) -> task<std::string> {
        co_return co_await receive_all(*from);
    };
    auto first = spawn(send(left, there));
    auto second = spawn(send(right, back));
    auto received = spawn(receive(left));
    BOOST_CHECK(co_await receive_all(*right) == there);
    BOOST_CHECK(co_await received == back);
    co_await first;
    co_await second;
}

// rule 667
OURO_ASYNC_TEST(connections_are_made_over_ipv6_and_unix_too) {
    for (const std::string& where :
         {std::string("[::1]:0"), "unix:@ouro-test-" + std::to_string(::getpid())}) {
        if (where.starts_with("[::1]") && !co_await has_ipv6()) continue;
        auto listener = co_await listening(where);
        auto client = co_await connected_to(co_await listener.local_address());
        auto server = co_await listener.accept();
        co_await client.send_all(as_bytes("hello"));
        BOOST_TEST(as_text(co_await server.recv(10)) == "hello");
    }
}

// rule 668
// fault 42
OURO_ASYNC_TEST(a_refused_connect_fails_with_the_address_in_its_text) {
    auto bound = co_await socket::open(loop::current(), AF_INET);
    co_await bound.bind(co_await address::parse("127.0.0.1:0"));
    const address where = co_await bound.local_address();
    auto client = co_await socket::open(loop::current(), AF_INET);
    const auto connected = co_await as_result(client.connect(where));
    BOOST_REQUIRE(!connected);
    BOOST_TEST((connected.error() == std::errc::connection_refused));
    BOOST_TEST(contains(connected.error().message(), "connect " + where.to_string()));
}

// rules 666, 667
OURO_ASYNC_TEST(a_host_is_looked_up_for_the_family_of_the_socket) {
    for (const std::string& where : {std::string("127.0.0.1:0"), std::string("[::1]:0")}) {
        if (where.starts_with("[::1]") && !co_await has_ipv6()) continue;
        auto listener = co_await listening(where);
        const address at = co_await listener.local_address();
        for (const std::string& host : {at.host(), std::string("localhost")}) {
            // Not every machine has "localhost" for IPv6.
            if (host == "localhost" && at.family() == AF_INET6 &&
                !co_await as_result(resolve(host, at.port(), {.family = AF_INET6}))) {
                continue;
            }
            auto client = co_await socket::open(loop::current(), at.family());
            co_await client.connect(host, at.port());
            auto server = co_await listener.accept();
            BOOST_TEST((co_await client.peer_address() == at));
        }
    }
    auto client = co_await socket::open(loop::current(), AF_INET6);
    const auto other_family = co_await as_result(client.connect("127.0.0.1", 1));
    BOOST_REQUIRE(!other_family);
    BOOST_TEST((other_family.error() == errc::no_address));
}

// rule 668
OURO_ASYNC_TEST(a_refused_connect_by_name_tells_which_address_refused) {
    auto bound = co_await socket::open(loop::current(), AF_INET);
    co_await bound.bind(co_await address::parse("127.0.0.1:0"));
    const address where = co_await bound.local_address();
    auto client = co_await socket::open(loop::current(), AF_INET);
    const auto connected = co_await as_result(client.connect("localhost", where.port()));
    BOOST_REQUIRE(!connected);
    BOOST_TEST((connected.error() == std::errc::connection_refused));
    BOOST_TEST(contains(connected.error().message(), "connect " + where.to_string()));
}

// fault 46
OURO_ASYNC_TEST(a_missing_and_a_stale_unix_socket_are_named) {
    auto client = co_await socket::open(loop::current(), AF_UNIX);
    const auto missing =
        co_await as_result(client.connect(co_await address::from_path("no/such/socket")));
    BOOST_REQUIRE(!missing);
    BOOST_TEST((missing.error() == std::errc::no_such_file_or_directory));
    BOOST_TEST(contains(missing.error().message(), "unix:no/such/socket"));

    char folder[] = "/tmp/ouro-test-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(folder));
    const std::string path = std::string(folder) + "/stale";
    {
        auto gone = co_await listening("unix:" + path);
    }
    const auto stale = co_await as_result(client.connect(co_await address::from_path(path)));
    BOOST_REQUIRE(!stale);
    BOOST_TEST((stale.error() == std::errc::connection_refused));
    BOOST_TEST(contains(stale.error().message(), path));
    auto second = co_await socket::open(loop::current(), AF_UNIX);
    const auto bound = second.bind(co_await address::from_path(path));
    BOOST_REQUIRE(!bound);
    BOOST_TEST((bound.error() == std::errc::address_in_use));
    BOOST_TEST(contains(bound.error().message(), path));
    ::unlink(path.c_str());
    ::rmdir(folder);
}

// rule 669
OURO_ASYNC_TEST(an_accepted_connection_knows_its_peer) {
    auto listener = co_await listening();
    auto client = co_await connected_to(co_await listener.local_address());
    auto server = co_await listener.accept();
    BOOST_TEST((co_await server.peer_address() == co_await client.local_address()));
    BOOST_TEST((co_await server.local_address() == co_await client.peer_address()));
}

// rule 669
OURO_KERNEL_TEST(no_socket_leaks_into_children, "asks fcntl(2) for the close-on-exec flag") {
    auto listener = co_await listening();
    auto client = co_await connected_to(co_await listener.local_address());
    auto server = co_await listener.accept();
    auto [left, right] = co_await socket::pair(loop::current());
    for (const socket* each : {&listener, &client, &server, &left, &right}) {
        BOOST_TEST(::fcntl(each->fd(), F_GETFD) == FD_CLOEXEC);
    }
}

OURO_ASYNC_TEST(connections_are_accepted_in_the_order_they_came) {
    auto listener = co_await listening();
    const address where = co_await listener.local_address();
    std::vector<socket> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(co_await connected_to(where));
    for (const socket& client : clients) {
        auto server = co_await listener.accept();
        BOOST_TEST((co_await server.peer_address() == co_await client.local_address()));
    }
}

OURO_ASYNC_TEST(options_are_set_and_read_and_wrong_ones_refused) {
    auto made = co_await socket::open(loop::current(), AF_INET);
    BOOST_TEST(co_await made.get_option(IPPROTO_TCP, TCP_NODELAY) == 0);
    co_await made.set_option(IPPROTO_TCP, TCP_NODELAY, 1);
    BOOST_TEST(co_await made.get_option(IPPROTO_TCP, TCP_NODELAY) == 1);
    BOOST_TEST(co_await made.get_option(SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
    BOOST_TEST(!made.set_option(IPPROTO_TCP, 9999, 1));
    BOOST_TEST(!made.get_option(IPPROTO_TCP, 9999));
}

OURO_ASYNC_TEST(an_address_in_use_is_named) {
    auto listener = co_await listening();
    const address where = co_await listener.local_address();
    auto second = co_await socket::open(loop::current(), AF_INET);
    const auto bound = second.bind(where);
    BOOST_REQUIRE(!bound);
    BOOST_TEST((bound.error() == std::errc::address_in_use));
    BOOST_TEST(contains(bound.error().message(), where.to_string()));
}

OURO_ASYNC_TEST(what_the_kernel_refuses_is_an_error_and_not_a_crash) {
    BOOST_TEST(!socket::open(loop::current(), 9999));
    BOOST_TEST(!socket::open(loop::current(), AF_INET, 77));
    auto made = co_await socket::open(loop::current(), AF_INET);
    BOOST_TEST(!made.peer_address());
    BOOST_TEST(!made.shutdown_write());
    std::array<std::byte, 4> room;
    const auto received = co_await as_result(made.recv_into(room));
    BOOST_REQUIRE(!received);
    BOOST_TEST((received.error() == std::errc::not_connected));
    BOOST_TEST(contains(received.error().message(), "receive"));
    BOOST_TEST(!co_await as_result(made.accept()));
    BOOST_TEST(!co_await as_result(made.send(as_bytes("x"))));
}

OURO_ASYNC_TEST(a_socket_moves_and_closes_itself) {
    loop& home = loop::current();
    const auto before = home.counters().descriptors;
    {
        auto made = co_await socket::open(home, AF_INET);
        const int fd = made.fd();
        ouro::socket moved = std::move(made);
        BOOST_TEST(!made);
        BOOST_TEST(made.fd() == -1);
        BOOST_TEST(moved.fd() == fd);
        BOOST_TEST(&moved.home() == &home);
        ouro::socket assigned;
        assigned = std::move(moved);
        BOOST_TEST(assigned.fd() == fd);
        BOOST_TEST(home.counters().descriptors == before + 1);
        assigned.close();
        assigned.close();
        BOOST_TEST(!assigned);
        BOOST_TEST(home.counters().descriptors == before);
        auto dropped = co_await socket::open(home, AF_INET);
    }
    BOOST_TEST(home.counters().descriptors == before);
}

OURO_ASYNC_TEST(a_descriptor_is_given_away_and_taken_back) {
    loop& home = loop::current();
    auto [left, right] = co_await socket::pair(home);
    const auto before = home.counters().descriptors;
    const int fd = left.release();
    BOOST_TEST(fd >= 0);
    BOOST_TEST(!left);
    BOOST_TEST(home.counters().descriptors == before - 1);
    ouro::socket again = socket::adopt(home, fd);
    co_await again.send_all(as_bytes("still open"));
    BOOST_TEST(as_text(co_await right.recv(20)) == "still open");
}

OURO_ASYNC_TEST(many_connections_talk_at_once) {
    auto listener = co_await listening();
    const address where = co_await listener.local_address();
    const auto serve = [](socket at) -> task<> { co_await at.send_all(co_await at.recv(100)); };
    const auto ask = [](address at, std::string text) -> task<std::string> {
        auto made = co_await connected_to(at);
        co_await made.send_all(as_bytes(text));
        co_return std::string(as_text(co_await made.recv(100)));
    };
    std::vector<task_handle<std::string>> asking;
    for (int i = 0; i < 100; ++i) asking.push_back(spawn(ask(where, std::to_string(i))));
    std::vector<task_handle<>> serving;
    for (int i = 0; i < 100; ++i) serving.push_back(spawn(serve(co_await listener.accept())));
    for (std::size_t i = 0; i < 100; ++i) BOOST_TEST(co_await asking[i] == std::to_string(i));
    for (const auto& each : serving) co_await each;
}

// rule 676
OURO_ASYNC_TEST(a_datagram_comes_with_its_sender_and_says_whether_it_was_cut) {
    loop& home = loop::current();
    socket one = co_await socket::open(home, AF_INET, SOCK_DGRAM);
    socket other = co_await socket::open(home, AF_INET, SOCK_DGRAM);
    for (socket* each : {&one, &other})
        co_await each->bind(address::from_ip("127.0.0.1", 0).value());
    const address here = co_await one.local_address(), there = co_await other.local_address();
    BOOST_TEST(co_await one.send_to(as_bytes("hello"), there) == 5U);
    std::array<std::byte, 16> room;
    datagram got = co_await other.recv_from(room);
    BOOST_TEST(as_text(bytes(room).first(got.count)) == "hello");
    BOOST_TEST(got.whole_bytes == 5U);
    BOOST_CHECK(got.from == here);
    BOOST_TEST(co_await other.send_to(as_bytes("0123456789"), here) == 10U);
    got = co_await one.recv_from(mut_bytes(room).first(4));
    BOOST_TEST(got.count == 4U);
    BOOST_TEST(got.whole_bytes == 10U);
    BOOST_TEST(co_await one.send_to(bytes(), there) == 0U);
    const auto [empty, from] = co_await other.recv_from(std::size_t{100});
    BOOST_TEST(empty.empty());
    BOOST_CHECK(from == here);
    const std::string long_text(70'000, 'x');
    const auto refused = co_await as_result(one.send_to(as_bytes(long_text), there));
    BOOST_REQUIRE(!refused);
    BOOST_CHECK(refused.error() == std::errc::message_size);
    BOOST_TEST(contains(refused.error().message(), "send to " + there.to_string()));
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
