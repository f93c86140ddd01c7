// Serving streams: handlers of both kinds, what becomes of their errors, and how a server ends.
#include <ouro/streams/start_server.hpp>

#include "async_test.hpp"
#include "at_once.hpp"

#include <optional>

#include <ouro/streams/open_connection.hpp>

#include "reads.hpp"
#include "scratch_folder.hpp"

namespace ouro::test {
namespace {

task<> echo(stream_reader reader, stream_writer writer) {
    for (;;) {
        const bytes data = co_await reader.read_some();
        if (data.empty()) co_return;
        writer.write(data);
        co_await writer.drain();
    }
}

/// Fails as its client asks it to.
task<> obey(stream_reader reader, stream_writer writer) {
    const std::string order = co_await read_line(reader);
    if (order == "fail\n") co_await result<>(error(std::errc::protocol_error, "obey"));
    if (order == "throw\n") throw std::runtime_error("as told");
    if (order == "cancel\n") co_await result<>(error::cancelled(cancel_cause::user, "obey"));
    writer.write(order);
}

task<std::string> exchange(address where, std::string text) {
    auto [reader, writer] = co_await open_connection(where);
    writer.write(text);
    writer.write_eof();
    co_return co_await read_text(reader);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(serving)

// rule 644
OURO_ASYNC_TEST(a_coroutine_handler_runs_as_a_task_for_every_client) {
    auto server = co_await start_server(echo, "127.0.0.1", 0);
    const address where = server.addresses().at(0);
    std::vector<task_handle<std::string>> clients;
    for (std::size_t i = 0; i < 30; ++i)
        clients.push_back(spawn(exchange(where, pattern(1000 * i, i))));
    for (std::size_t i = 0; i < 30; ++i) BOOST_CHECK(co_await clients[i] == pattern(1000 * i, i));
    server.close();
    co_await server.wait_closed();
    BOOST_TEST(server.client_count() == 0U);
}

// rule 644
OURO_ASYNC_TEST(a_plain_handler_is_called_and_may_keep_the_halves) {
    const auto kept = std::make_shared<std::vector<stream>>();
    auto server = co_await start_server(
        [into = std::weak_ptr(kept)](stream_reader reader, stream_writer writer) {
            writer.write("welcome\n");
            if (const auto all = into.lock()) {
                all->push_back({std::move(reader), std::move(writer)});
            }
        },
        "127.0.0.1", 0);
    auto [reader, writer] = co_await open_connection(server.addresses().at(0));
    BOOST_TEST(co_await read_line(reader) == "welcome\n");
    co_await settle();
    BOOST_REQUIRE(kept->size() == 1U);
    writer.write("still here\n");
    BOOST_TEST(co_await read_line((*kept)[0].reader) == "still here\n");
    kept->clear();
    BOOST_TEST(co_await read_text(reader) == "");
    server.close();
}

// rule 644
OURO_ASYNC_TEST(a_plain_handler_that_drops_the_halves_closes_the_connection) {
    auto server = co_await start_server(
        [](stream_reader, stream_writer writer) { writer.write("go away"); }, "127.0.0.1", 0);
    auto [reader, writer] = co_await open_connection(server.addresses().at(0));
    BOOST_TEST(co_await read_text(reader) == "go away");
    server.close();
}

// rule 645
OURO_ASYNC_TEST(the_error_of_a_handler_is_reported_and_closes_its_connection_only) {
    auto server = co_await start_server(obey, "127.0.0.1", 0);
    const address where = server.addresses().at(0);
    auto [reader, writer] = co_await open_connection(where);
    BOOST_TEST(co_await exchange(where, "fail\n") == "");
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST((reports.at(0).error == std::errc::protocol_error));
    BOOST_TEST(reports.at(0).error.doing() == "obey");
    writer.write("alive\n");
    BOOST_TEST(co_await read_text(reader) == "alive\n");
    server.close();
}

// rule 645
// fault 56
OURO_ASYNC_TEST(the_exception_of_a_handler_is_reported_and_closes_its_connection) {
    auto server = co_await start_server(obey, "127.0.0.1", 0);
    const address where = server.addresses().at(0);
    BOOST_TEST(co_await exchange(where, "throw\n") == "");
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0).error.message().find("as told") != std::string::npos);
    BOOST_TEST(co_await exchange(where, "alive\n") == "alive\n");
    server.close();
}

// rule 645
OURO_ASYNC_TEST(the_exception_of_a_plain_handler_is_reported_and_closes_its_connection) {
    auto server = co_await start_server(
        [](stream_reader, stream_writer) { throw std::runtime_error("plainly"); }, "127.0.0.1", 0);
    BOOST_TEST(co_await exchange(server.addresses().at(0), "") == "");
    const auto reports = take_reports();
    BOOST_REQUIRE(reports.size() == 1U);
    BOOST_TEST(reports.at(0).error.message().find("plainly") != std::string::npos);
    server.close();
}

// rule 646
OURO_ASYNC_TEST(a_cancelled_handler_closes_its_connection_without_a_report) {
    auto server = co_await start_server(obey, "127.0.0.1", 0);
    BOOST_TEST(co_await exchange(server.addresses().at(0), "cancel\n") == "");
    BOOST_TEST(take_reports().empty());
    server.close();
}

// rule 646
BOOST_AUTO_TEST_CASE(a_closing_loop_ends_handlers_and_connections_without_a_report) {
    for (const engine each : {engine::uring, engine::plain_uring}) {
        int reports = 0;
        loop home(options_for(each));
        home.set_exception_handler([&reports](loop&, const failure_report&) { ++reports; });
        std::optional<stream> client;
        const auto connect = [](std::optional<stream>& into) -> task<> {
            auto server = co_await start_server(echo, "127.0.0.1", 0);
            into = co_await open_connection(server.addresses().at(0));
            into->writer.write("x");
            (void)co_await into->reader.readexactly(1);
        };
        BOOST_TEST(home.run_until_complete(connect(client)).has_value());
        BOOST_TEST(home.counters().tasks == 1U);  // the handler
        home.close();
        BOOST_TEST(home.counters().tasks == 0U);
        BOOST_TEST(home.counters().descriptors == 0U);
        BOOST_TEST(reports == 0);
    }
}

OURO_ASYNC_TEST(what_a_handler_wrote_is_sent_before_its_connection_closes) {
    static const std::string sent = pattern(2'000'000);
    auto server = co_await start_server(
        [](stream_reader, stream_writer writer) -> task<> {
            writer.write(sent);
            co_return;
        },
        "127.0.0.1", 0);
    auto [reader, writer] = co_await open_connection(server.addresses().at(0));
    BOOST_CHECK(co_await read_text(reader) == sent);
    server.close();
}

OURO_ASYNC_TEST(a_large_echo_passes_through_both_flow_controls) {
    auto server = co_await start_server(echo, "127.0.0.1", 0, {.server = {}, .limit_bytes = 3000});
    auto [reader, writer] =
        co_await open_connection(server.addresses().at(0), {.connect = {}, .limit_bytes = 3000});
    const std::string sent = pattern(2'000'000);
    const auto send = [](stream_writer to, std::string text) -> task<stream_writer> {
        for (std::size_t at = 0; at < text.size(); at += 33'333) {
            to.write(std::string_view(text).substr(at, 33'333));
            co_await to.drain();
        }
        to.write_eof();
        co_return to;
    };
    auto sending = spawn(send(std::move(writer), sent));
    BOOST_CHECK(co_await read_text(reader) == sent);
    (void)co_await std::move(sending);
    server.close();
}

// rule 594
OURO_ASYNC_TEST(a_limit_of_zero_is_refused_before_anybody_listens) {
    const stream_server_options none{.server = {}, .limit_bytes = 0};
    BOOST_CHECK_EXCEPTION((void)start_server(echo, "127.0.0.1", 0, none), std::system_error,
                          [](const auto& thrown) { return thrown.code() == errc::value_error; });
    co_return;
}

OURO_ASYNC_TEST(streams_are_served_on_a_bound_socket) {
    auto bound = co_await socket::open(loop::current(), AF_INET);
    co_await bound.bind(co_await address::parse("127.0.0.1:0"));
    const address where = co_await bound.local_address();
    auto server = co_await start_server(echo, std::move(bound));
    BOOST_TEST(co_await exchange(where, "hello") == "hello");
    server.close();
}

OURO_ASYNC_TEST(streams_are_served_on_several_hosts_and_several_sockets) {
    auto server =
        co_await start_server(echo, std::vector<std::string>{"127.0.0.1", "127.0.0.2"}, 0);
    BOOST_TEST(server.addresses().size() == 2U);
    for (const address& where : server.addresses()) {
        BOOST_TEST(co_await exchange(where, "hello") == "hello");
    }
    server.close();
    std::vector<socket> bound;
    for (int i = 0; i < 2; ++i) {
        bound.push_back(co_await socket::open(loop::current(), AF_INET));
        co_await bound.back().bind(co_await address::parse("127.0.0.1:0"));
    }
    auto given = co_await start_server(echo, std::move(bound));
    for (const address& where : given.addresses()) {
        BOOST_TEST(co_await exchange(where, "again") == "again");
    }
    given.close();
}

OURO_ASYNC_TEST(streams_are_served_at_a_path) {
    const scratch_folder folder;
    for (const bool given : {false, true}) {
        BOOST_TEST_INFO_SCOPE((given ? "bound socket" : "path"));
        auto bound = co_await socket::open(loop::current(), AF_UNIX);
        if (given) co_await bound.bind(co_await address::from_path(folder.file()));
        auto server = given ? co_await start_unix_server(echo, std::move(bound))
                            : co_await start_unix_server(echo, folder.file());
        auto [reader, writer] = co_await open_unix_connection(folder.file());
        writer.write("hello");
        writer.write_eof();
        BOOST_TEST(co_await read_text(reader) == "hello");
        server.close();
        BOOST_TEST(!file_exists(folder.file()));
        co_await server.wait_closed();
    }
    const auto gone = co_await as_result(open_unix_connection(folder.file()));
    BOOST_CHECK(!gone && gone.error() == std::errc::no_such_file_or_directory);
}

OURO_ASYNC_TEST(a_pair_becomes_two_streams) {
    auto [ours, theirs] = co_await socket::pair(loop::current());
    auto [reader, writer] = co_await open_unix_connection(std::move(ours));
    auto [other_reader, other_writer] = co_await open_unix_connection(std::move(theirs));
    writer.write("hello\n");
    BOOST_TEST(co_await read_line(other_reader) == "hello\n");
    auto refused =
        co_await as_result(open_unix_connection(co_await socket::open(loop::current(), AF_INET)));
    BOOST_CHECK(!refused && refused.error() == errc::value_error);
}

// The handler ends when its connection is closed under it.
OURO_ASYNC_TEST(a_stop_closes_what_handlers_still_serve) {
    auto server = co_await start_server(echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await open_connection(server.addresses().at(0));
    writer.write("a");
    BOOST_TEST(co_await read_exactly(reader, 1) == "a");
    const stop_report told = co_await server.stop(std::chrono::nanoseconds(0));
    BOOST_TEST(told.clients == 1U);
    BOOST_TEST(told.closed == 1U);
    BOOST_TEST(told.aborted.empty());
    BOOST_TEST(co_await read_text(reader) == "");
}

OURO_ASYNC_TEST(a_client_that_resets_ends_its_handler_and_no_other) {
    const auto ended = std::make_shared<int>(0);
    auto server = co_await start_server(
        [ended](stream_reader reader, stream_writer writer) -> task<> {
            const auto read = co_await as_result(reader.read());
            BOOST_TEST((read || read.error() == std::errc::connection_reset));
            writer.write("unheard");
            ++*ended;
        },
        "127.0.0.1", 0);
    const address where = server.addresses().at(0);
    auto [reader, writer] = co_await open_connection(where);
    {
        auto rude = co_await socket::open(loop::current(), AF_INET);
        co_await rude.connect(where);
        co_await rude.send_all(as_bytes("x"));
        reset_now(rude);
    }
    while (*ended == 0) co_await sleep(std::chrono::microseconds(100));
    writer.write_eof();
    BOOST_TEST(co_await read_text(reader) == "unheard");
    BOOST_TEST(*ended == 2);
    server.close();
}

OURO_ASYNC_TEST(closing_the_server_leaves_its_clients_alone) {
    auto server = co_await start_server(echo, "127.0.0.1", 0);
    auto [reader, writer] = co_await open_connection(server.addresses().at(0));
    writer.write("a");
    BOOST_TEST(co_await read_exactly(reader, 1) == "a");
    server.close();
    co_await settle();
    writer.write("b");
    BOOST_TEST(co_await read_exactly(reader, 1) == "b");
    BOOST_TEST(server.client_count() == 1U);
    writer.close();
    co_await server.wait_closed();
    BOOST_TEST(server.client_count() == 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
