// The door: every operation done, failed, cancelled and short.
#include <ouro/runtime/io.hpp>

#include <arpa/inet.h>
#include <boost/test/unit_test.hpp>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include "async_test.hpp"
#include "noted_op.hpp"

namespace ouro::test {
namespace {

std::array<std::byte, 64>& scrap() {
    static std::array<std::byte, 64> room;
    return room;
}

/// A listening TCP socket on loopback, made through the door.
struct listening {
    explicit listening(loop& on) : home(on) {
        fd = io::socket(home, AF_INET, SOCK_STREAM, 0).value();
        sockaddr_in any{};
        any.sin_family = AF_INET;
        any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        BOOST_REQUIRE(
            io::bind(home, fd, reinterpret_cast<sockaddr*>(&any), sizeof any).has_value());
        BOOST_REQUIRE(io::listen(home, fd, 100).has_value());
        name = io::local_name(home, fd).value();
    }
    ~listening() { io::close(home, fd); }
    listening(const listening&) = delete;
    listening& operator=(const listening&) = delete;
    const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&name.storage); }
    /// A connection that waits in the backlog.
    task<int> client() const {
        const int made = co_await io::socket(home, AF_INET, SOCK_STREAM, 0);
        noted_op connect;
        io::connect(home, connect, made, address(), name.length);
        BOOST_REQUIRE(co_await connect.end() == 0);
        co_return made;
    }
    loop& home;
    int fd = -1;
    io::resolved name;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(door)

OURO_ASYNC_TEST(recv_gives_what_is_there_and_zero_at_end_of_stream) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    fds.peer_sends("one");
    io::recv(home, receive, fds.ours, scrap());
    BOOST_TEST(co_await receive.end() == 3);
    fds.peer_ends();
    io::recv(home, receive, fds.ours, scrap());
    receive.forget();
    BOOST_TEST(co_await receive.end() == 0);
}

OURO_ASYNC_TEST(an_operation_on_a_bad_descriptor_fails_by_its_completion) {
    loop& home = loop::current();
    noted_op a, b, c;
    io::recv(home, a, -1, scrap());
    io::accept(home, b, -1);
    io::poll(home, c, -1, POLLIN);
    BOOST_TEST(co_await a.end() == -EBADF);
    BOOST_TEST(co_await b.end() == -EBADF);
    BOOST_TEST(co_await c.end() == -EBADF);
}

// fault 5
OURO_ASYNC_TEST(recv_ring_lends_every_byte_in_order_and_ends_once_at_end_of_stream) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    io::recv_ring(home, receive, fds.ours);
    const std::string sent = pattern(100'000);
    for (std::size_t at = 0; at < sent.size(); at += 5000) {
        fds.peer_sends(std::string_view(sent).substr(at, 5000));
        co_await yield();
    }
    fds.peer_ends();
    BOOST_TEST(co_await receive.end() == 0);
    BOOST_TEST((receive.received == sent));
    BOOST_TEST(receive.terminals == 1);
    BOOST_TEST(home.counters().lent_buffers == 0U);
}

OURO_ASYNC_TEST(recv_ring_is_cancelled_and_leaves_later_bytes_in_the_socket) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op receive;
    io::recv_ring(home, receive, fds.ours);
    fds.peer_sends("first");
    while (receive.received.size() < 5) co_await yield();
    io::cancel(home, receive);
    BOOST_TEST(co_await receive.end() == -ECANCELED);
    fds.peer_sends("second");
    co_await settle();
    BOOST_TEST(receive.received == "first");
    BOOST_TEST(co_await drained(fds.ours) == "second");
}

// fault 4
OURO_ASYNC_TEST(more_receives_than_shared_buffers_lose_no_byte) {
    loop& home = loop::current();
    constexpr std::size_t count = 40;
    const std::string sent = pattern(100'000);
    std::vector<std::unique_ptr<descriptors>> pairs;
    std::vector<std::unique_ptr<noted_op>> receives;
    for (std::size_t i = 0; i < count; ++i) {
        pairs.push_back(std::make_unique<descriptors>(home));
        receives.push_back(std::make_unique<noted_op>());
        io::recv_ring(home, *receives[i], pairs[i]->ours);
    }
    co_await settle(1);
    for (auto& pair : pairs) pair->peer_sends(sent);
    for (auto& pair : pairs) pair->peer_ends();
    for (int i = 0; i < 1000 && home.counters().ops > 0; ++i) co_await yield();
    BOOST_TEST(home.counters().ops == 0U);
    bool at_end = true;
    for (auto& receive : receives) {
        io::cancel(home, *receive);
        at_end = co_await receive->end() == 0 && at_end;
        BOOST_TEST((receive->received == sent));
    }
    BOOST_TEST(at_end);
    BOOST_TEST(home.statistics().ring_exhausted > 0U);
    BOOST_TEST(home.counters().lent_buffers == 0U);
}

OURO_ASYNC_TEST(a_receive_that_waits_for_a_shared_buffer_can_be_cancelled) {
    loop& home = loop::current();
    constexpr std::size_t count = 40;
    const std::string sent = pattern(100'000);
    std::vector<std::unique_ptr<descriptors>> pairs;
    std::vector<std::unique_ptr<noted_op>> receives;
    for (std::size_t i = 0; i < count; ++i) {
        pairs.push_back(std::make_unique<descriptors>(home));
        receives.push_back(std::make_unique<noted_op>());
        receives[i]->then = [&home](noted_op& self) {
            if (self.in_flight) io::cancel(home, self);
        };
        io::recv_ring(home, *receives[i], pairs[i]->ours);
        pairs[i]->peer_sends(sent);
    }
    co_await settle(1);
    for (auto& receive : receives) io::cancel(home, *receive);
    for (std::size_t i = 0; i < count; ++i) {
        (void)co_await receives[i]->end();
        BOOST_TEST(receives[i]->terminals == 1);
        BOOST_TEST((receives[i]->received + co_await drained(pairs[i]->ours) == sent));
    }
}

OURO_ASYNC_TEST(a_starved_receive_that_is_cancelled_twice_ends_once) {
    loop& home = loop::current();
    constexpr std::size_t count = 40;
    const std::string sent = pattern(100'000);
    std::vector<std::unique_ptr<descriptors>> pairs;
    std::vector<std::unique_ptr<noted_op>> receives;
    for (std::size_t i = 0; i < count; ++i) {
        pairs.push_back(std::make_unique<descriptors>(home));
        receives.push_back(std::make_unique<noted_op>());
        pairs[i]->peer_sends(sent);
        io::recv_ring(home, *receives[i], pairs[i]->ours);
    }
    // Runs while most of them have found no buffer and have not started again.
    home.call_soon([&] {
        BOOST_TEST(home.statistics().ring_exhausted > 0U);
        for (int twice = 0; twice < 2; ++twice) {
            for (auto& receive : receives) io::cancel(home, *receive);
        }
    });
    for (auto& receive : receives) (void)co_await receive->end();
    co_await settle();
    for (std::size_t i = 0; i < count; ++i) {
        BOOST_TEST(receives[i]->terminals == 1);
        BOOST_TEST((receives[i]->received + co_await drained(pairs[i]->ours) == sent));
    }
    BOOST_TEST(home.statistics().late_completions == 0U);
}

OURO_ASYNC_TEST(send_takes_all_bytes_although_the_peer_reads_slowly) {
    loop& home = loop::current();
    descriptors fds(home);
    static const std::string sent = pattern(4'000'000);
    noted_op send;
    io::send(home, send, fds.ours, as_bytes(sent), io::send_mode::all);
    std::string got;
    while (!send.ended()) {
        got += co_await drained(fds.theirs);
        co_await yield();
    }
    got += co_await drained(fds.theirs);
    BOOST_TEST(last_of(send.results) == 4'000'000);
    BOOST_TEST((got == sent));
}

// fault 3
OURO_ASYNC_TEST(a_cancelled_send_says_how_much_of_it_went_out) {
    loop& home = loop::current();
    descriptors fds(home);
    static const std::string sent = pattern(4'000'000);
    noted_op send;
    io::send(home, send, fds.ours, as_bytes(sent), io::send_mode::all);
    co_await settle();
    BOOST_TEST(send.in_flight);
    io::cancel(home, send);
    const auto taken = co_await send.end();
    BOOST_TEST(taken > 0);
    BOOST_TEST(taken < 4'000'000);
    BOOST_TEST((co_await drained(fds.theirs) == sent.substr(0, static_cast<std::size_t>(taken))));
}

// fault 2
OURO_ASYNC_TEST(a_fast_send_completes_at_once_with_what_the_socket_takes) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op small;
    io::send(home, small, fds.ours, as_bytes("hello"), io::send_mode::fast);
    co_await settle();
    BOOST_TEST(small.results == std::vector<std::int32_t>{5}, boost::test_tools::per_element());
    BOOST_TEST(co_await drained(fds.theirs) == "hello");

    static const std::string sent = pattern(4'000'000);
    noted_op large;
    io::send(home, large, fds.ours, as_bytes(sent), io::send_mode::fast);
    co_await settle(20);
    BOOST_TEST(large.ended());
    if (!large.ended()) io::cancel(home, large);
    const auto taken = co_await large.end();
    BOOST_TEST(taken > 0);
    BOOST_TEST(taken < 4'000'000);
    BOOST_TEST((co_await drained(fds.theirs) == sent.substr(0, static_cast<std::size_t>(taken))));
}

OURO_ASYNC_TEST(fast_sends_of_one_turn_leave_in_order_and_each_completes) {
    loop& home = loop::current();
    descriptors fds(home);
    std::vector<std::unique_ptr<noted_op>> sends;
    static const std::string sent = pattern(100);
    for (std::size_t i = 0; i < sent.size(); ++i) {
        sends.push_back(std::make_unique<noted_op>());
        io::send(home, *sends[i], fds.ours, as_bytes(std::string_view(sent).substr(i, 1)),
                 io::send_mode::fast);
    }
    co_await settle();
    for (auto& send : sends) {
        BOOST_TEST(send->results == std::vector<std::int32_t>{1}, boost::test_tools::per_element());
    }
    BOOST_TEST(co_await drained(fds.theirs) == sent);
}

// faults 22, 23
OURO_ASYNC_TEST(a_send_to_a_peer_that_is_gone_is_an_error_and_not_a_signal) {
    loop& home = loop::current();
    for (const auto mode : {io::send_mode::all, io::send_mode::fast}) {
        descriptors fds(home);
        co_await io::shutdown(home, fds.theirs, SHUT_RDWR);
        noted_op send;
        io::send(home, send, fds.ours, as_bytes("x"), mode);
        BOOST_TEST(co_await send.end() == -EPIPE);
    }
    descriptors fds(home);
    co_await io::shutdown(home, fds.theirs, SHUT_RDWR);
    const auto now = io::try_send(home, fds.ours, as_bytes("x"));
    BOOST_TEST((now.error() == std::errc::broken_pipe));
}

OURO_ASYNC_TEST(pieces_are_sent_in_order_and_their_list_may_be_gone_before_the_end) {
    loop& home = loop::current();
    descriptors fds(home);
    static const std::string a = "aaa", b(70'000, 'b'), c = "c";
    noted_op send;
    {
        std::vector<iovec> pieces;
        for (const std::string* each : {&a, &b, &c}) {
            pieces.push_back({const_cast<char*>(each->data()), each->size()});
        }
        io::send_pieces(home, send, fds.ours, pieces);
    }
    std::string got;
    while (!send.ended()) {
        got += co_await drained(fds.theirs);
        co_await yield();
    }
    got += co_await drained(fds.theirs);
    BOOST_TEST_REQUIRE(!send.results.empty());
    BOOST_TEST(last_of(send.results) == static_cast<std::int32_t>(a.size() + b.size() + c.size()));
    BOOST_TEST((got == a + b + c));
}

OURO_WHOLE_TEST(connect_and_accept_meet, "has bare descriptors that it closes itself") {
    loop& home = loop::current();
    listening listener(home);
    noted_op connect, accept;
    const int client = (co_await io::socket(home, AF_INET, SOCK_STREAM, 0));
    io::accept(home, accept, listener.fd);
    io::connect(home, connect, client, listener.address(), listener.name.length);
    BOOST_TEST(co_await connect.end() == 0);
    const int server = co_await accept.end();
    BOOST_REQUIRE(server >= 0);
    io::adopt(home, server);
    const auto theirs = co_await io::peer_name(home, server);
    const auto ours = co_await io::local_name(home, client);
    BOOST_TEST(std::memcmp(&theirs.storage, &ours.storage, ours.length) == 0);
    io::close(home, server);
    io::close(home, client);
}

OURO_KERNEL_TEST(descriptors_of_the_door_close_on_exec,
                 "asks fcntl(2) for the close-on-exec flag") {
    loop& home = loop::current();
    listening listener(home);
    const int client = co_await listener.client();
    noted_op accept;
    io::accept(home, accept, listener.fd);
    const int server = co_await accept.end();
    BOOST_REQUIRE(server >= 0);
    const descriptors pair(home);
    for (const int fd : {listener.fd, client, server, pair.ours, pair.theirs}) {
        BOOST_TEST(::fcntl(fd, F_GETFD) == FD_CLOEXEC);
    }
    io::close(home, client);
    io::discard(home, server);
}

// fault 42
OURO_WHOLE_TEST(a_refused_connect_says_so, "has bare descriptors that it closes itself") {
    loop& home = loop::current();
    io::resolved name;
    {
        listening gone(home);
        name = gone.name;
    }
    const int client = co_await io::socket(home, AF_INET, SOCK_STREAM, 0);
    noted_op connect;
    io::connect(home, connect, client, reinterpret_cast<sockaddr*>(&name.storage), name.length);
    BOOST_TEST(co_await connect.end() == -ECONNREFUSED);
    io::close(home, client);
}

OURO_WHOLE_TEST(accept_many_gives_one_completion_for_each_connection_until_it_is_cancelled,
                "has bare descriptors that it closes itself") {
    loop& home = loop::current();
    listening listener(home);
    noted_op accept;
    io::accept_many(home, accept, listener.fd);
    std::vector<int> clients;
    for (int i = 0; i < 10; ++i) clients.push_back(co_await listener.client());
    while (accept.results.size() < 10) co_await yield();
    BOOST_TEST(accept.in_flight);
    io::cancel(home, accept);
    BOOST_TEST(co_await accept.end() == -ECANCELED);
    for (const int client : clients) io::close(home, client);
    for (const int server : accept.results) {
        if (server >= 0) io::discard(home, server);
    }
    BOOST_TEST(accept.results.size() == 11U);
}

// fault 13
OURO_WHOLE_TEST(a_cancelled_accept_keeps_the_connection_it_has_or_leaves_it_in_the_backlog,
                "has bare descriptors that it closes itself") {
    loop& home = loop::current();
    listening listener(home);
    const int client = co_await listener.client();
    noted_op accept;
    io::accept(home, accept, listener.fd);
    io::cancel(home, accept);  // behind an accept that finds a connection: the accept wins
    const int first = co_await accept.end();
    BOOST_TEST(first >= 0);

    accept.forget();
    io::accept(home, accept, listener.fd);
    co_await settle();
    io::cancel(home, accept);
    BOOST_TEST(co_await accept.end() == -ECANCELED);
    const int other = co_await listener.client();
    accept.forget();
    io::accept(home, accept, listener.fd);
    const int second = co_await accept.end();
    BOOST_TEST(second >= 0);
    for (const int fd : {client, other}) io::close(home, fd);
    for (const int fd : {first, second}) io::discard(home, fd);
}

OURO_KERNEL_TEST(read_takes_from_a_file_and_from_a_pipe,
                 "is about files and pipes, which only the real kernel has") {
    loop& home = loop::current();
    const int file = ::memfd_create("read", MFD_CLOEXEC);
    BOOST_REQUIRE(::write(file, "contents", 8) == 8);
    BOOST_REQUIRE(::lseek(file, 0, SEEK_SET) == 0);
    noted_op read;
    io::read(home, read, file, scrap());
    BOOST_TEST(co_await read.end() == 8);
    read.forget();
    io::read(home, read, file, scrap());
    BOOST_TEST(co_await read.end() == 0);
    ::close(file);

    int pipe[2] = {-1, -1};
    BOOST_REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
    read.forget();
    io::read(home, read, pipe[0], scrap());
    co_await settle();
    BOOST_TEST(read.in_flight);
    BOOST_REQUIRE(::write(pipe[1], "abc", 3) == 3);
    BOOST_TEST(co_await read.end() == 3);
    read.forget();
    io::read(home, read, pipe[0], scrap());
    co_await settle();
    io::cancel(home, read);
    BOOST_TEST(co_await read.end() == -ECANCELED);
    ::close(pipe[0]);
    ::close(pipe[1]);
}

OURO_ASYNC_TEST(poll_completes_with_the_events_that_hold) {
    loop& home = loop::current();
    descriptors fds(home);
    noted_op poll;
    io::poll(home, poll, fds.ours, POLLIN | POLLOUT);
    BOOST_TEST(co_await poll.end() == POLLOUT);
    poll.forget();
    io::poll(home, poll, fds.ours, POLLIN);
    co_await settle();
    BOOST_TEST(poll.in_flight);
    fds.peer_sends("x");
    BOOST_TEST(co_await poll.end() == POLLIN);
}

OURO_WHOLE_TEST(descriptors_are_counted_from_open_or_adopt_to_close_or_disown,
                "has bare descriptors that it closes itself") {
    loop& home = loop::current();
    const std::size_t before = home.counters().descriptors;
    const int made = co_await io::socket(home, AF_UNIX, SOCK_STREAM, 0);
    BOOST_TEST(home.counters().descriptors == before + 1);
    io::disown(home, made);
    BOOST_TEST(home.counters().descriptors == before);
    io::adopt(home, made);
    io::close(home, made);
    BOOST_TEST(home.counters().descriptors == before);
    BOOST_TEST((io::get_option(home, made, SOL_SOCKET, SO_TYPE).error() ==
                std::errc::bad_file_descriptor));
}

OURO_WHOLE_TEST(synchronous_calls_give_their_errno_as_an_error,
                "has bare descriptors that it closes itself") {
    loop& home = loop::current();
    const auto odd = io::socket(home, 12345, SOCK_STREAM, 0);
    BOOST_TEST((odd.error() == std::errc::address_family_not_supported));
    BOOST_TEST(!odd.error().doing().empty());
    BOOST_TEST((io::listen(home, -1, 1).error() == std::errc::bad_file_descriptor));
    BOOST_TEST((io::bind(home, -1, nullptr, 0).error() == std::errc::bad_file_descriptor));
    BOOST_TEST((io::shutdown(home, -1, SHUT_WR).error() == std::errc::bad_file_descriptor));
    BOOST_TEST((io::local_name(home, -1).error() == std::errc::bad_file_descriptor));
    BOOST_TEST((io::peer_name(home, -1).error() == std::errc::bad_file_descriptor));
    BOOST_TEST((io::get_option(home, -1, SOL_SOCKET, SO_RCVBUF).error() ==
                std::errc::bad_file_descriptor));
    const int fd = co_await io::socket(home, AF_INET, SOCK_STREAM, 0);
    BOOST_TEST((io::peer_name(home, fd).error() == std::errc::not_connected));
    co_await io::set_option(home, fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    BOOST_TEST(co_await io::get_option(home, fd, SOL_SOCKET, SO_KEEPALIVE) == 1);
    io::close(home, fd);
}

OURO_ASYNC_TEST(try_send_never_waits) {
    loop& home = loop::current();
    descriptors fds(home);
    const std::string block = pattern(100'000);
    std::string sent;
    for (;;) {
        auto taken = io::try_send(home, fds.ours, as_bytes(block));
        if (!taken) {
            BOOST_TEST((taken.error() == std::errc::resource_unavailable_try_again));
            break;
        }
        sent += block.substr(0, *taken);
    }
    BOOST_TEST((co_await drained(fds.theirs) == sent));
    co_return;
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
