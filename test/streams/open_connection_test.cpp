// Opening streams: to names, to addresses, on given sockets, and to where nobody listens.
#include <ouro/streams/open_connection.hpp>

#include "async_test.hpp"

#include <unistd.h>

#include <ouro/proto/logging_transport.hpp>
#include <ouro/proto/memory_pipe.hpp>
#include <ouro/proto/throttled_transport.hpp>
#include <ouro/streams/start_server.hpp>

#include "reads.hpp"

namespace ouro::test {
namespace {

task<> shout(stream_reader reader, stream_writer writer) {
    for (std::string line; !(line = co_await read_line(reader)).empty();) {
        for (char& each : line)
            each = each >= 'a' && each <= 'z' ? static_cast<char>(each - 32) : each;
        writer.write(line);
    }
    writer.write("bye");
}

/// Speaks with `shout` at the other end.
task<> talk(stream opened) {
    auto& [reader, writer] = opened;
    writer.write("hello\n");
    BOOST_TEST(co_await read_line(reader) == "HELLO\n");
    writer.write_eof();
    BOOST_TEST(co_await read_text(reader) == "bye");
    BOOST_TEST(reader.at_eof());
}

/// A port of loopback where nobody listens.
task<address> refusing_address() {
    auto closed = co_await socket::open(loop::current(), AF_INET);
    co_await closed.bind(co_await address::parse("127.0.0.1:0"));
    co_return co_await closed.local_address();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(opening)

OURO_ASYNC_TEST(streams_open_to_a_host_and_a_port) {
    auto server = co_await start_server(shout, "127.0.0.1", 0);
    const auto port = server.addresses().at(0).port();
    co_await talk(co_await open_connection("127.0.0.1", port));
    co_await talk(co_await open_connection("localhost", port, {.connect = {.family = AF_INET}}));
    server.close();
}

// rules 385, 376
OURO_ASYNC_TEST(streams_open_to_the_first_of_several_hosts_that_answers) {
    auto server = co_await start_server(shout, "127.0.0.1", 0);
    const auto port = server.addresses().at(0).port();
    const std::vector<std::string> hosts{"127.0.0.9", "127.0.0.1"};
    for (const auto delay : {std::chrono::milliseconds(0), std::chrono::milliseconds(100)}) {
        auto opened = co_await open_connection(
            hosts, port, {.connect = {.happy_eyeballs_delay = delay, .local_host = "127.0.0.3"}});
        BOOST_TEST(opened.writer.get_extra_info<address>("peername").host() == "127.0.0.1");
        BOOST_TEST(opened.writer.get_extra_info<address>("sockname").host() == "127.0.0.3");
        co_await talk(std::move(opened));
    }
    server.close();
}

OURO_ASYNC_TEST(streams_open_to_an_address) {
    auto server = co_await start_server(shout, "127.0.0.1", 0);
    co_await talk(co_await open_connection(server.addresses().at(0)));
    server.close();
}

OURO_ASYNC_TEST(streams_open_to_an_ipv6_address) {
    if (!co_await has_ipv6()) co_return;
    auto server = co_await start_server(shout, co_await address::parse("[::1]:0"));
    co_await talk(co_await open_connection(server.addresses().at(0)));
    server.close();
}

OURO_ASYNC_TEST(streams_open_to_an_abstract_unix_address) {
    const address where = co_await address::parse("unix:@ouro-test-" + std::to_string(::getpid()));
    auto server = co_await start_server(shout, where);
    BOOST_TEST((server.addresses().at(0) == where));
    co_await talk(co_await open_connection(where));
    server.close();
}

OURO_ASYNC_TEST(streams_open_to_a_unix_path) {
    char folder[] = "/tmp/ouro-test-XXXXXX";
    BOOST_REQUIRE(::mkdtemp(folder));
    const std::string path = std::string(folder) + "/socket";
    const address where = co_await address::from_path(path);
    auto server = co_await start_server(shout, where);
    co_await talk(co_await open_connection(where));
    server.close();
    co_await server.wait_closed();
    ::unlink(path.c_str());
    ::rmdir(folder);
}

OURO_ASYNC_TEST(streams_open_on_a_connected_socket) {
    auto [near, far] = co_await socket::pair(loop::current());
    auto served = open_connection(std::move(far));
    auto [reader, writer] = co_await std::move(served);
    auto shouting = spawn(shout(std::move(reader), std::move(writer)));
    co_await talk(co_await open_connection(std::move(near)));
    co_await shouting;
}

OURO_ASYNC_TEST(opening_on_what_is_not_a_stream_socket_is_refused) {
    auto datagrams = co_await socket::open(loop::current(), AF_INET, SOCK_DGRAM);
    const auto opened = co_await as_result(open_connection(std::move(datagrams)));
    BOOST_TEST(failed_with(opened, errc::value_error));
    const auto closed = co_await as_result(open_connection(ouro::socket()));
    BOOST_TEST(failed_with(closed, errc::value_error));
}

// fault 42
OURO_ASYNC_TEST(a_refused_connection_names_the_address) {
    const address where = co_await refusing_address();
    const auto by_address = co_await as_result(open_connection(where));
    BOOST_REQUIRE(failed_with(by_address, std::errc::connection_refused));
    BOOST_TEST(by_address.error().message().find(where.to_string()) != std::string::npos);
    const auto by_host = co_await as_result(open_connection("127.0.0.1", where.port()));
    BOOST_REQUIRE(failed_with(by_host, std::errc::connection_refused));
    BOOST_TEST(by_host.error().message().find(where.to_string()) != std::string::npos);
}

// rule 647
OURO_ASYNC_TEST(a_failed_opening_keeps_nothing) {
    const address where = co_await refusing_address();
    const auto before = loop::current().counters();
    for (int i = 0; i < 20; ++i) {
        BOOST_TEST(!co_await as_result(open_connection("localhost", where.port())));
    }
    const auto after = loop::current().counters();
    BOOST_TEST(after.descriptors == before.descriptors);
    BOOST_TEST(after.resources == before.resources);
}

// fault 46
OURO_ASYNC_TEST(a_missing_unix_socket_is_named) {
    const auto opened =
        co_await as_result(open_connection(co_await address::from_path("no/such/socket")));
    BOOST_REQUIRE(failed_with(opened, std::errc::no_such_file_or_directory));
    BOOST_TEST(opened.error().message().find("unix:no/such/socket") != std::string::npos);
}

// rule 594
OURO_ASYNC_TEST(a_limit_of_zero_is_refused_before_anything_is_connected) {
    bool refused = false;
    try {
        (void)co_await as_result(
            open_connection("127.0.0.1", 1, {.connect = {}, .limit_bytes = 0}));
    } catch (const std::system_error& thrown) {
        refused = thrown.code() == errc::value_error;
    }
    BOOST_TEST(refused);
}

OURO_ASYNC_TEST(the_limit_is_that_of_the_options) {
    auto [near, far] = co_await tcp_pair();
    auto [reader, writer] =
        co_await open_connection(std::move(near), {.connect = {}, .limit_bytes = 4});
    co_await far.send_all(as_bytes("12345\n"));
    BOOST_TEST(failed_with(co_await as_result(reader.readuntil()), errc::limit_overrun));
    BOOST_TEST(co_await read_text(reader, 50) == "12345\n");
}

// rule 639
OURO_ASYNC_TEST(after_the_end_of_the_peers_data_there_is_still_writing) {
    auto [near, far] = co_await tcp_pair();
    auto [reader, writer] = co_await open_connection(std::move(near));
    co_await far.send_all(as_bytes("question"));
    co_await far.shutdown_write();
    BOOST_TEST(co_await read_text(reader) == "question");
    BOOST_TEST(!writer.is_closing());
    writer.write("answer");
    co_await writer.drain();
    const auto answer = co_await far.recv(20);
    BOOST_TEST(as_text(answer) == "answer");
}

OURO_ASYNC_TEST(a_cancelled_opening_leaves_nothing) {
    auto listener = co_await socket::open(loop::current(), AF_INET);
    co_await listener.bind(co_await address::parse("127.0.0.1:0"));
    co_await listener.listen();
    const address where = co_await listener.local_address();
    for (int turns = 0; turns < 6; ++turns) {
        auto opening = spawn(open_connection(where));
        co_await settle(turns);
        opening.cancel();
        const auto opened = co_await as_result(std::move(opening).join());
        BOOST_TEST((opened || failed_with(opened, errc::cancelled)));
    }
}

OURO_ASYNC_TEST(the_addresses_of_both_ends_can_be_asked_for) {
    auto server = co_await start_server(shout, "127.0.0.1", 0);
    const address where = server.addresses().at(0);
    auto [reader, writer] = co_await open_connection(where);
    BOOST_TEST((writer.get_extra_info<address>("peername") == where));
    BOOST_TEST(writer.get_extra_info<address>("sockname").host() == "127.0.0.1");
    BOOST_TEST(writer.get_extra_info<int>("unknown", 7) == 7);
    writer.close();
    co_await writer.wait_closed();
    BOOST_TEST((writer.get_extra_info<address>("peername") == where));
    server.close();
}

namespace {

stream_connector on_pipe(std::shared_ptr<memory_transport> end) {
    return [end = std::move(end)](protocol_factory factory) -> task<> {
        co_await create_connection(std::move(factory), end);
    };
}
/// The same behind a throttle and a log.
stream_connector on_wrapped_pipe(std::shared_ptr<memory_transport> end,
                                 std::shared_ptr<std::string> log) {
    return [end = std::move(end), log](protocol_factory factory) -> task<> {
        const auto slow = std::make_shared<throttled_transport>(
            loop::current(), throttle_options{.write_bytes_per_second = 1'000'000});
        const auto logged = std::make_shared<logging_transport>(
            [log](std::string_view line) { log->append(line).append(";"); });
        co_await create_connection([&] { return slow->wrap(logged->wrap(factory())); }, end);
    };
}

}  // namespace

OURO_ASYNC_TEST(streams_open_on_transports_of_any_kind) {
    auto [one, other] = memory_pipe(loop::current());
    const auto log = std::make_shared<std::string>();
    auto [reader, writer] = co_await open_connection(on_wrapped_pipe(one, log));
    auto [far_reader, far_writer] = co_await open_connection(on_pipe(other));
    writer.write("asked\n");
    BOOST_TEST(co_await far_reader.readline() == "asked\n");
    far_writer.write("answered\n");
    BOOST_TEST(co_await reader.readline() == "answered\n");
    far_writer.close();
    BOOST_TEST((co_await reader.read()).empty());
    writer.close();
    co_await writer.wait_closed();
    BOOST_TEST(*log ==
               "< made;> write 6 \"asked\\n\";< data 9 \"answered\\n\";< eof;> close;< lost;");
}

OURO_ASYNC_TEST(what_a_failed_connector_has_connected_is_closed) {
    auto [near, far] = co_await socket::pair(loop::current());
    const auto given = std::make_shared<socket>(std::move(near));
    const auto opened =
        co_await as_result(open_connection([given](protocol_factory factory) -> task<> {
            co_await create_connection(std::move(factory), std::move(*given));
            co_await result<>(error(std::errc::permission_denied, "shake hands"));
        }));
    BOOST_CHECK((!opened && opened.error() == std::errc::permission_denied));
    BOOST_TEST((co_await far.recv(1)).empty());
}

OURO_ASYNC_TEST(a_connector_that_connects_nothing_gives_no_streams) {
    const auto opened =
        co_await as_result(open_connection([](protocol_factory) -> task<> { co_return; }));
    BOOST_CHECK((!opened && opened.error() == errc::invalid_state));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
