// Transports: what can be asked of them.
#include <ouro/proto/transport.hpp>

#include <netinet/in.h>
#include <unistd.h>

#include <optional>

#include <ouro/net/readiness.hpp>
#include <ouro/proto/datagram.hpp>
#include <ouro/proto/memory_pipe.hpp>
#include <ouro/proto/server.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

const socket_view* view_of(const transport& link) {
    return link.get_extra_info<const socket_view*>("socket");
}

template <class View>
concept moves_data = requires(const View& view) { view.recv_into(mut_bytes()); } ||
                     requires(const View& view) { view.send(bytes()); } ||
                     requires(const View& view) { view.accept(); } ||
                     requires(const View& view) { view.connect(address()); };
template <class View>
concept closes = requires(const View& view) { view.close(); } || requires(const View& view) {
    view.release();
} || requires(const View& view) { view.shutdown_write(); };

}  // namespace

BOOST_AUTO_TEST_SUITE(transports)

// rule 284
OURO_ASYNC_TEST(unknown_information_is_the_default_of_the_caller) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        BOOST_TEST(!on.link->extra_info("no such thing").has_value());
        BOOST_TEST(on.link->get_extra_info<std::string>("no such thing").empty());
        BOOST_TEST(on.link->get_extra_info<std::string>("no such thing", "default") == "default");
        BOOST_TEST(on.link->get_extra_info<int>("socket", 42) == 42);  // it is no number
    }
}

// rule 285
OURO_ASYNC_TEST(both_names_are_known_and_stay_known_after_the_end) {
    auto [own, peer] = co_await tcp_pair();
    const address local = co_await own.local_address();
    const address remote = co_await own.peer_address();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_connection(factory_of(seen), std::move(own));
    linked on(seen, made.transport, std::move(peer));
    const auto check = [&] {
        BOOST_CHECK(on.link->get_extra_info<address>("sockname") == local);
        BOOST_CHECK(on.link->get_extra_info<address>("peername") == remote);
    };
    check();
    reset_now(on.peer);
    check();
    seen->on_lost = check;
    co_await eventually([&] { return seen->lost(); });
    check();
    BOOST_TEST(local.port() != remote.port());
}

// rules 286, 287
OURO_ASYNC_TEST(the_socket_is_one_object_that_can_be_looked_at_only) {
    static_assert(!moves_data<socket_view> && !closes<socket_view>);
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const socket_view* view = view_of(*on.link);
        BOOST_REQUIRE(view != nullptr);
        BOOST_TEST(view == view_of(*on.link));
        BOOST_TEST(view->fd() >= 0);
        BOOST_TEST(co_await view->family() == (how.over == medium::tcp ? AF_INET : AF_UNIX));
        BOOST_TEST(co_await view->get_option(SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
        co_await view->set_option(SOL_SOCKET, SO_KEEPALIVE, 1);
        BOOST_TEST(co_await view->get_option(SOL_SOCKET, SO_KEEPALIVE) == 1);
        BOOST_CHECK(co_await view->local_address() ==
                        on.link->get_extra_info<address>("sockname") ||
                    how.over == medium::unix_stream);
        on.link->abort();
        co_await eventually([&] { return on.seen->lost(); });
        BOOST_TEST(view->fd() == -1);
        BOOST_CHECK(view->family().error() == std::errc::bad_file_descriptor);
        BOOST_CHECK(view->local_address().error() == std::errc::bad_file_descriptor);
    }
}

// rule 292
OURO_ASYNC_TEST(a_connection_nobody_refers_to_lives_on_and_releases_its_descriptor) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        auto [own, peer] = co_await socket_pair(how.over);
        const auto before = loop::current().counters().descriptors;
        auto destroyed = std::make_shared<bool>(false);
        {
            auto seen = make_recorder(how.receiver);
            seen->destroyed = destroyed;
            seen->on_made = [self = seen.get()] { self->link.reset(); };
            (void)co_await create_connection(factory_of(std::move(seen)), std::move(own));
        }
        send_now(peer, "is anybody there?");
        co_await settle(10);
        BOOST_TEST(!*destroyed);
        end_now(peer);
        BOOST_TEST((co_await read_to_end(peer)).empty());
        co_await eventually([&] { return *destroyed; });
        BOOST_TEST(loop::current().counters().descriptors == before - 1);
    }
}

// rules 726, 742
// faults 15, 16
OURO_ASYNC_TEST(a_reused_descriptor_hears_nothing_of_the_connection_before) {
    for (const way& how : every_way) {
        BOOST_TEST_INFO_SCOPE(how);
        for (int i = 0; i < 50; ++i) {
            auto old = co_await connect_recorder(how);
            const int fd = view_of(*old.link)->fd();
            send_now(old.peer, "old news");
            if (i % 2) co_await yield();
            old.link->abort();
            // The number is not free before the operations on it are back.
            auto [one, two] = co_await socket_pair(how.over);
            if (!old.seen->lost()) BOOST_TEST((one.fd() != fd && two.fd() != fd));
            co_await eventually([&] { return old.seen->lost(); });
            auto seen = make_recorder(how.receiver);
            auto made = co_await create_connection(factory_of(seen), std::move(one));
            linked on(seen, made.transport, std::move(two));
            send_now(on.peer, "news");
            co_await eventually([&] { return !seen->data.empty(); });
            BOOST_TEST(seen->data == "news");
            BOOST_TEST(old.seen->losses == 1);
        }
    }
}

// rules 682, 674
OURO_ASYNC_TEST(nobody_else_watches_the_descriptor_of_a_live_transport) {
    for (const way& how : each_medium) {
        BOOST_TEST_INFO_SCOPE(how);
        auto on = co_await connect_recorder(how);
        const int fd = view_of(*on.link)->fd();
        for (const auto& refused : {add_reader(fd, [] {}), add_writer(fd, [] {})}) {
            BOOST_REQUIRE(!refused.has_value());
            BOOST_CHECK(refused.error() == errc::invalid_state);
            BOOST_TEST(refused.error().message().find("a transport owns") != std::string::npos);
        }
        BOOST_CHECK((co_await as_result(readable(fd))).error() == errc::invalid_state);
        BOOST_CHECK((co_await as_result(writable(fd))).error() == errc::invalid_state);
        BOOST_TEST(!remove_reader(fd));
        BOOST_TEST(!remove_writer(fd));
        on.link->abort();
        co_await eventually([&] { return on.seen->lost(); });
        // The number is free for others.
        auto [near, far] = co_await socket::pair(loop::current());
        for (const socket* each : {&near, &far}) {
            BOOST_CHECK(add_reader(each->fd(), [] {}).has_value());
            BOOST_TEST(remove_reader(each->fd()));
        }
    }
}

// rule 682
OURO_ASYNC_TEST(nobody_else_watches_an_accepted_connection) {
    auto seen = make_recorder(kind::streaming);
    auto serving = co_await create_server(factory_of(seen), "127.0.0.1", 0);
    auto client = co_await socket::open(loop::current(), AF_INET);
    co_await client.connect(serving.addresses().at(0));
    co_await eventually([seen] { return seen->made == 1; });
    const int fd = view_of(*seen->link)->fd();
    BOOST_CHECK(add_reader(fd, [] {}).error() == errc::invalid_state);
    co_await writable(client.fd());  // a socket is watched by whom it belongs to
    seen->link->abort();
    serving.close();
}

namespace {

/// One of each kind that reports late writes. They are lost when their loop is closed.
struct late_ones {
    std::shared_ptr<transport> stream;
    std::shared_ptr<transport> memory;
    std::shared_ptr<datagram_transport> datagrams;
};
task<> make_late_ones(late_ones& into) {
    auto [one, other] = co_await socket::pair(loop::current());
    const auto quiet = [] { return std::make_shared<protocol>(); };
    into.stream = (co_await create_connection(quiet, std::move(one))).transport;
    auto ends = memory_pipe(loop::current());
    into.memory = (co_await create_connection(quiet, ends.first)).transport;
    const auto deaf = [] { return std::make_shared<datagram_protocol>(); };
    into.datagrams = (co_await create_datagram_endpoint(deaf, {.family = AF_INET})).transport;
}
void write_late(const late_ones& to) {
    BOOST_CHECK(!to.stream->write("late"));
    BOOST_CHECK(!to.memory->write("late"));
    BOOST_CHECK(!to.datagrams->send_to("late"));
}
task<> write_late_often(const late_ones& to) {
    for (int i = 0; i < 6; ++i) write_late(to);
    co_return;
}

}  // namespace

// rules 339, 362, 464
BOOST_AUTO_TEST_CASE(late_writes_may_come_when_the_loop_is_gone) {
    late_ones left;
    int warnings = 0;
    loop other;
    other.set_exception_handler([&](loop&, const failure_report&) { ++warnings; });
    std::optional<loop> home(std::in_place);
    BOOST_TEST(home->run_until_complete(make_late_ones(left)).has_value());
    home.reset();
    for (int i = 0; i < 4; ++i) write_late(left);
    BOOST_TEST(other.run_until_complete(write_late_often(left)).has_value());
    BOOST_TEST(warnings == 3 * 6);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
