// Owned descriptors, and those that are passed along unix sockets.
#include <ouro/net/descriptor.hpp>

#include "async_test.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include <ouro/net/socket.hpp>

#include "at_once.hpp"
#include "no_descriptors.hpp"

namespace ouro::test {
namespace {

std::size_t open_count() { return loop::current().counters().descriptors; }

/// Both ends of what is passed, and of what it is passed along.
struct mail {
    socket out, in;
    socket passed, kept;
};

task<mail> open_mail() {
    auto way = co_await socket::pair(loop::current());
    auto parcel = co_await socket::pair(loop::current());
    co_return mail{std::move(way.first), std::move(way.second), std::move(parcel.first),
                   std::move(parcel.second)};
}

task<received_with_fds> receive(socket& from, std::size_t size, std::size_t most_fds,
                                std::string& text) {
    text.assign(size, '\0');
    auto got = co_await from.recv_with_fds(std::as_writable_bytes(std::span(text)), most_fds);
    text.resize(got.count);
    co_return got;
}

/// A socket that `got` is.
socket opened(descriptor got) { return socket::adopt(loop::current(), got.release()); }

}  // namespace

BOOST_AUTO_TEST_SUITE(descriptors_)

OURO_ASYNC_TEST(a_descriptor_closes_itself_once) {
    const auto before = open_count();
    auto [one, other] = co_await socket::pair(loop::current());
    descriptor first(loop::current(), one.release());
    BOOST_TEST(bool(first));
    BOOST_TEST(first.fd() >= 0);
    BOOST_TEST(open_count() == before + 2);
    descriptor second = std::move(first);
    BOOST_TEST(!first);
    first.close();
    BOOST_TEST(first.release() == -1);
    first = std::move(second);
    BOOST_TEST(!sees_end(other));
    first.close();
    BOOST_TEST(sees_end(other));
    first.close();
    other.close();
    BOOST_TEST(open_count() == before);
    co_return;
}

// fault 46
OURO_ASYNC_TEST(a_passed_descriptor_is_the_receivers_own) {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const int fds[] = {post->passed.fd()};
    BOOST_TEST(co_await post->out.send_with_fds(as_bytes("take"), fds) == 4U);
    post->passed.close();
    BOOST_TEST(!sees_end(post->kept));  // one is under way
    std::string text;
    auto got = co_await receive(post->in, 64, 16, text);
    BOOST_TEST(text == "take");
    BOOST_TEST(!got.truncated);
    BOOST_REQUIRE(got.fds.size() == 1U);
    auto arrived = opened(std::move(got.fds[0]));
    send_now(arrived, "hello");
    BOOST_TEST(as_text(co_await post->kept.recv(64)) == "hello");
    arrived.close();
    BOOST_TEST(sees_end(post->kept));
}

OURO_ASYNC_TEST(descriptors_come_with_their_own_bytes) {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const int fds[] = {post->passed.fd(), post->kept.fd()};
    send_now(post->out, "before ");
    BOOST_TEST(co_await post->out.send_with_fds(as_bytes("with"), fds) == 4U);
    send_now(post->out, " after");
    std::string text, all;
    std::size_t count = 0;
    while (count == 0) {
        auto got = co_await receive(post->in, 64, 16, text);
        BOOST_REQUIRE(got.count > 0);
        all += text;
        count = got.fds.size();
    }
    BOOST_TEST(count == 2U);
    BOOST_TEST(all == "before with");  // what follows is another message
    auto rest = co_await receive(post->in, 64, 16, text);
    BOOST_TEST(text == " after");
    BOOST_TEST(rest.fds.empty());
    post->out.close();
    auto ended = co_await receive(post->in, 64, 16, text);
    BOOST_TEST(ended.count == 0U);
    BOOST_TEST(ended.fds.empty());
}

OURO_ASYNC_TEST(descriptors_that_were_not_asked_for_are_closed) {
    for (const std::size_t most : {0U, 1U}) {
        BOOST_TEST_INFO_SCOPE("most " << most);
        const auto post = std::make_shared<mail>(co_await open_mail());
        auto [second, second_kept] = co_await socket::pair(loop::current());
        const auto before = open_count();
        const int fds[] = {post->passed.fd(), second.fd()};
        co_await post->out.send_with_fds(as_bytes("x"), fds);
        post->passed.close();
        second.close();
        std::string text;
        auto got = co_await receive(post->in, 64, most, text);
        BOOST_TEST(text == "x");
        BOOST_TEST(got.truncated);
        BOOST_TEST(got.fds.size() == most);
        BOOST_TEST(sees_end(post->kept) == (most == 0));
        BOOST_TEST(sees_end(second_kept));
        BOOST_TEST(open_count() == before - 2 + most);
    }
}

OURO_ASYNC_TEST(any_other_receive_drops_descriptors) {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const int fds[] = {post->passed.fd()};
    co_await post->out.send_with_fds(as_bytes("x"), fds);
    post->passed.close();
    BOOST_TEST(as_text(co_await post->in.recv(64)) == "x");
    BOOST_TEST(sees_end(post->kept));
}

OURO_ASYNC_TEST(descriptors_nobody_receives_are_closed_with_the_socket) {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const int fds[] = {post->passed.fd()};
    co_await post->out.send_with_fds(as_bytes("x"), fds);
    post->passed.close();
    post->in.close();
    co_await settle();
    BOOST_TEST(sees_end(post->kept));
}

// faults 10, 11
OURO_ASYNC_TEST(a_cancelled_receive_takes_no_descriptor) {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const auto text = std::make_shared<std::string>();
    auto waiting = spawn([](std::shared_ptr<mail> on, std::shared_ptr<std::string> into) -> task<> {
        co_await receive(on->in, 64, 16, *into);
    }(post, text));
    co_await settle();
    waiting.cancel();
    auto outcome = co_await as_result(std::move(waiting).join());
    BOOST_CHECK(!outcome && outcome.error() == errc::cancelled);
    const int fds[] = {post->passed.fd()};
    co_await post->out.send_with_fds(as_bytes("x"), fds);
    auto got = co_await receive(post->in, 64, 16, *text);
    BOOST_TEST(got.fds.size() == 1U);
    // Cancelled once it has come: the data wins, and what is dropped is closed.
    const auto before = open_count();
    for (int turns = 0; turns < 3; ++turns) {
        co_await post->out.send_with_fds(as_bytes("x"), fds);
        auto late =
            spawn([](std::shared_ptr<mail> on, std::shared_ptr<std::string> into) -> task<> {
                co_await receive(on->in, 64, 16, *into);
            }(post, text));
        co_await settle(turns);
        late.cancel();
        (void)co_await as_result(std::move(late).join());
        BOOST_TEST(open_count() == before);
    }
}

OURO_ASYNC_TEST(descriptors_go_along_unix_sockets_only_and_with_a_byte) {
    const auto post = std::make_shared<mail>(co_await open_mail());
    auto [client, server] = co_await tcp_pair();
    const int fds[] = {post->passed.fd()};
    std::string text;
    auto sent = co_await as_result(client.send_with_fds(as_bytes("x"), fds));
    BOOST_CHECK(!sent && sent.error() == errc::unsupported);
    auto got = co_await as_result(receive(server, 8, 1, text));
    BOOST_CHECK(!got && got.error() == errc::unsupported);
    auto empty = co_await as_result(post->out.send_with_fds({}, fds));
    BOOST_CHECK(!empty && empty.error() == errc::value_error);
    const int closed[] = {-1};
    auto bad = co_await as_result(post->out.send_with_fds(as_bytes("x"), closed));
    BOOST_CHECK(!bad && bad.error() == std::errc::bad_file_descriptor);
    BOOST_TEST(co_await post->out.send_with_fds(as_bytes("none"), {}) == 4U);
    BOOST_TEST(as_text(co_await post->in.recv(64)) == "none");
}

// fault 78
OURO_KERNEL_TEST(received_descriptors_are_close_on_exec, "asks the kernel with fcntl(2)") {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const int fds[] = {0};  // not close-on-exec here
    co_await post->out.send_with_fds(as_bytes("x"), fds);
    std::string text;
    auto got = co_await receive(post->in, 8, 1, text);
    BOOST_REQUIRE(got.fds.size() == 1U);
    BOOST_TEST((::fcntl(got.fds[0].fd(), F_GETFD) & FD_CLOEXEC) != 0);
}

// fault 17
OURO_KERNEL_TEST(without_a_descriptor_to_be_had_the_bytes_come_alone,
                 "takes the descriptors of the process away with setrlimit(2)") {
    const auto post = std::make_shared<mail>(co_await open_mail());
    const int fds[] = {post->passed.fd()};
    co_await post->out.send_with_fds(as_bytes("x"), fds);
    std::string text;
    const no_descriptors shortage;
    auto got = co_await receive(post->in, 8, 1, text);
    BOOST_TEST(text == "x");
    BOOST_TEST(got.fds.empty());
    BOOST_TEST(got.truncated);
}

OURO_ASYNC_TEST(the_peer_of_a_unix_socket_has_credentials) {
    auto [one, other] = co_await socket::pair(loop::current());
    const peer_credentials peer = co_await one.credentials();
    BOOST_TEST(peer.pid == ::getpid());
    BOOST_TEST(peer.uid == ::getuid());
    BOOST_TEST(peer.gid == ::getgid());
    other.close();
    BOOST_TEST((co_await one.credentials()).pid == ::getpid());  // as of when it connected
    auto [client, server] = co_await tcp_pair();
    auto fresh = co_await socket::open(loop::current(), AF_UNIX);
    for (const socket* each : {&client, &server, &fresh}) {
        const auto nobody = each->credentials();
        BOOST_CHECK(!nobody && nobody.error() == std::errc::not_connected);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
