// Unix servers and connections: paths, the files at them, and who is at the other end.
#include <ouro/proto/unix.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include <ouro/testing/injection.hpp>

#include "scratch_folder.hpp"
#include "served.hpp"

namespace ouro::test {
namespace {

auto silent_protocol() {
    return [] { return std::make_shared<protocol>(); };
}

task<socket> bound_at(std::string path) {
    auto made = co_await socket::open(loop::current(), AF_UNIX);
    co_await made.bind(co_await address::from_path(path));
    co_return made;
}

std::string own_abstract_name() { return "@ouro-test-unix-" + std::to_string(::getpid()); }

task<> end(server& of) {
    of.close();
    of.abort_clients();
    co_await of.wait_closed();
}

/// A connection to `path` is served by recorders of `all`.
task<> require_served(std::string path, recorders all) {
    const std::size_t before = all.size();
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_unix_connection(factory_of(seen), path);
    made.transport->write("hello");
    co_await eventually([&] { return all.size() == before + 1 && all.back()->data == "hello"; });
    BOOST_REQUIRE(all.back()->link);
    all.back()->link->write("yourself");
    co_await eventually([&] { return seen->data == "yourself"; });
    made.transport->close();
    co_await eventually([&] { return seen->lost() && all.back()->lost(); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(unix_sockets)

// rules 431, 436
// fault 46
OURO_ASYNC_TEST(a_stale_socket_file_is_replaced_and_goes_with_the_server) {
    const scratch_folder folder;
    {
        auto left_behind = co_await bound_at(folder.file());
    }
    BOOST_TEST(file_exists(folder.file()));
    recorders all;
    auto at = co_await create_unix_server(each_into(all), folder.file());
    BOOST_TEST(at.addresses().at(0).path() == folder.file());
    co_await require_served(folder.file(), all);
    co_await end(at);
    BOOST_TEST(!file_exists(folder.file()));
}

// rule 442
OURO_ASYNC_TEST(a_path_may_be_given_as_a_path) {
    const scratch_folder folder;
    recorders all;
    const std::filesystem::path path(folder.file());
    auto at = co_await create_unix_server(each_into(all), path);
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_unix_connection(factory_of(seen), path);
    co_await eventually([&] { return all.size() == 1; });
    made.transport->abort();
    co_await end(at);
}

// rule 432
OURO_ASYNC_TEST(a_file_that_is_no_socket_is_left_alone) {
    const scratch_folder folder;
    make_file(folder.file());
    const auto before = co_await io::identify_file(loop::current(), folder.file().c_str());
    const auto open = descriptors();
    auto outcome = co_await as_result(create_unix_server(silent_protocol(), folder.file()));
    BOOST_REQUIRE(!outcome);
    BOOST_CHECK(outcome.error() == std::errc::address_in_use);
    BOOST_TEST(outcome.error().message().find(folder.file()) != std::string::npos);
    BOOST_TEST(descriptors() == open);
    BOOST_CHECK(co_await io::identify_file(loop::current(), folder.file().c_str()) == before);
    remove_file(folder.file());
}

// rule 433
OURO_ASYNC_TEST(abstract_names_are_not_looked_for_on_disk) {
    recorders all;
    const std::string name = own_abstract_name();
    auto at = co_await create_unix_server(each_into(all), name, {.mode = 0600});
    co_await require_served(name, all);
    auto second = co_await as_result(create_unix_server(each_into(all), name));
    BOOST_CHECK(!second && second.error() == std::errc::address_in_use);
    co_await end(at);
    co_await settle();  // the accept comes back
    auto gone = co_await as_result(create_unix_connection(silent_protocol(), name));
    BOOST_CHECK(!gone && gone.error() == std::errc::connection_refused);
}

// rule 434
BOOST_AUTO_TEST_CASE(a_stale_file_that_cannot_be_removed_is_reported_and_bind_decides) {
    for (const auto& [plan, bound] : {std::pair("op_fails@3=EACCES", true),      // socket
                                      std::pair("op_fails@4=EACCES", false),     // connect
                                      std::pair("op_fails@5=EACCES", false),     // identify_file
                                      std::pair("op_fails@6=EACCES", false)}) {  // remove_file
        BOOST_TEST_INFO_SCOPE(plan);
        static bool stale;
        stale = !bound;
        testing::injection faults({.plan = testing::parse_fault_plan(plan).value()});
        run_with(faults.options(options_for(engine::uring)), []() -> task<> {
            const scratch_folder folder;
            if (stale) {
                auto left_behind = co_await bound_at(folder.file());  // calls 1, 2
            } else {
                auto elsewhere = co_await bound_at(folder.file("other"));
            }
            auto outcome = co_await as_result(create_unix_server(silent_protocol(), folder.file()));
            const auto reports = take_reports();
            BOOST_REQUIRE(reports.size() == 1U);
            BOOST_CHECK(reports.at(0).level == severity::warning);
            BOOST_CHECK(reports.at(0).error == std::errc::permission_denied);
            BOOST_TEST(reports.at(0).error.message().find(folder.file()) != std::string::npos);
            BOOST_TEST(outcome.has_value() == !stale);
            if (stale) BOOST_CHECK(outcome.error() == std::errc::address_in_use);
            if (outcome) co_await end(*outcome);
        });
        BOOST_TEST(faults.struck() == 1U);
    }
}

// rule 435
OURO_ASYNC_TEST(a_path_in_use_refuses_the_server_names_itself_and_keeps_no_descriptor) {
    const scratch_folder folder;
    const auto where = address::from_path(folder.file()).value();
    auto first = co_await create_server(silent_protocol(), where);
    const auto before = descriptors();
    const auto second = co_await as_result(create_server(silent_protocol(), where));
    BOOST_REQUIRE(!second);
    BOOST_CHECK(second.error() == std::errc::address_in_use);
    BOOST_TEST(second.error().message().find(folder.file()) != std::string::npos);
    const auto too_long = co_await as_result(
        create_unix_server(silent_protocol(), folder.file(std::string(108, 'x'))));
    BOOST_CHECK(!too_long && too_long.error() == errc::value_error);
    BOOST_TEST(descriptors() == before);
    first.close();
    co_await first.wait_closed();
}

// rule 436
OURO_ASYNC_TEST(the_file_of_a_given_socket_goes_with_the_server) {
    const scratch_folder folder;
    recorders all;
    auto bound = co_await bound_at(folder.file());
    const int fd = bound.fd();
    auto at = co_await create_unix_server(each_into(all), std::move(bound));
    BOOST_TEST(at.sockets().at(0)->fd() == fd);
    co_await require_served(folder.file(), all);
    BOOST_TEST(file_exists(folder.file()));
    at.close();
    BOOST_TEST(!file_exists(folder.file()));
    co_await at.wait_closed();
}

// rule 436
OURO_ASYNC_TEST(the_file_goes_with_a_server_that_never_served) {
    const scratch_folder folder;
    {
        auto at =
            co_await create_unix_server(silent_protocol(), folder.file(), {.start_serving = false});
        BOOST_TEST(file_exists(folder.file()));
    }
    BOOST_TEST(!file_exists(folder.file()));
}

// rule 437
OURO_ASYNC_TEST(a_file_that_is_gone_or_kept_is_nothing_to_clean_up) {
    const scratch_folder folder;
    auto at = co_await create_unix_server(silent_protocol(), folder.file());
    remove_file(folder.file());
    co_await end(at);
    BOOST_TEST(!file_exists(folder.file()));
    auto kept =
        co_await create_unix_server(silent_protocol(), folder.file(), {.cleanup_socket = false});
    co_await end(kept);
    BOOST_TEST(file_exists(folder.file()));
    remove_file(folder.file());
}

// rule 431
OURO_ASYNC_TEST(a_server_that_listens_keeps_its_path) {
    const scratch_folder folder;
    recorders all;
    auto first = co_await create_unix_server(each_into(all), folder.file());
    const auto before = descriptors();
    const auto second = co_await as_result(create_unix_server(silent_protocol(), folder.file()));
    BOOST_REQUIRE(!second);
    BOOST_CHECK(second.error() == std::errc::address_in_use);
    BOOST_TEST(second.error().message() ==
               "listen on " + folder.file() + ": Address already in use: somebody listens there");
    // Whoever asked is gone.
    co_await eventually([&] { return all.size() == 1 && all[0]->lost(); });
    BOOST_TEST(descriptors() == before);
    co_await require_served(folder.file(), all);
    co_await end(first);
    BOOST_TEST(!file_exists(folder.file()));
}

// rule 431
OURO_ASYNC_TEST(a_server_with_a_full_queue_keeps_its_path) {
    const scratch_folder folder;
    auto mute = co_await bound_at(folder.file());
    co_await mute.listen(0);
    auto waiting = co_await dial(co_await mute.local_address());
    const auto second = co_await as_result(create_unix_server(silent_protocol(), folder.file()));
    BOOST_CHECK(!second && second.error() == std::errc::address_in_use);
    auto accepted = co_await mute.accept();
    BOOST_CHECK(co_await mute.local_address() == co_await accepted.local_address());
}

// rule 431
OURO_ASYNC_TEST(a_server_that_is_cancelled_while_it_asks_removes_nothing) {
    const scratch_folder folder;
    auto mute = co_await bound_at(folder.file());
    co_await mute.listen(0);
    auto waiting = co_await dial(co_await mute.local_address());
    for (const int turns : {0, 1, 2, 3}) {
        auto second = spawn(create_unix_server(silent_protocol(), folder.file()));
        co_await settle(turns);
        second.cancel();
        const auto ended = co_await as_result(second.join());
        BOOST_CHECK(!ended && ended.error() == errc::cancelled);
        BOOST_TEST(file_exists(folder.file()));
    }
}

// rules 431, 437
OURO_ASYNC_TEST(a_second_server_takes_the_path_over_and_the_first_leaves_it_alone) {
    const scratch_folder folder;
    recorders all_first, all_second;
    auto first = co_await create_unix_server(each_into(all_first), folder.file());
    auto client = co_await dial(first.addresses().at(0));
    co_await eventually([&] { return all_first.size() == 1; });
    auto second =
        co_await create_unix_server(each_into(all_second), folder.file(), {.take_over = true});
    co_await require_served(folder.file(), all_second);
    send_now(client, "still yours");
    co_await eventually([&] { return all_first[0]->data == "still yours"; });
    client.close();
    first.close();
    co_await first.wait_closed();
    BOOST_TEST(file_exists(folder.file()));
    co_await require_served(folder.file(), all_second);
    BOOST_TEST(all_first.size() == 1U);
    co_await end(second);
    BOOST_TEST(!file_exists(folder.file()));
}

// rule 438
OURO_ASYNC_TEST(a_socket_file_given_as_an_address_stays_when_its_server_closes) {
    const scratch_folder folder;
    auto server =
        co_await create_server(silent_protocol(), address::from_path(folder.file()).value());
    server.close();
    co_await server.wait_closed();
    co_await settle();
    BOOST_TEST(file_exists(folder.file()));
    auto given = co_await create_server(silent_protocol(), co_await bound_at(folder.file("b")));
    given.close();
    co_await given.wait_closed();
    BOOST_TEST(file_exists(folder.file("b")));
    remove_file(folder.file());
    remove_file(folder.file("b"));
}

// rule 440
OURO_ASYNC_TEST(a_given_socket_must_be_a_unix_stream_socket) {
    const auto before = descriptors();
    for (const auto& [family, type] :
         {std::pair(AF_INET, SOCK_STREAM), std::pair(AF_UNIX, SOCK_DGRAM),
          std::pair(AF_UNIX, SOCK_SEQPACKET)}) {
        BOOST_TEST_INFO_SCOPE("family " << family << ", type " << type);
        auto to_serve = co_await socket::open(loop::current(), family, type);
        auto served =
            co_await as_result(create_unix_server(silent_protocol(), std::move(to_serve)));
        BOOST_CHECK(!served && served.error() == errc::value_error);
        auto to_connect = co_await socket::open(loop::current(), family, type);
        auto connected =
            co_await as_result(create_unix_connection(silent_protocol(), std::move(to_connect)));
        BOOST_CHECK(!connected && connected.error() == errc::value_error);
    }
    auto nothing = co_await as_result(create_unix_server(silent_protocol(), socket()));
    BOOST_CHECK(!nothing && nothing.error() == errc::value_error);
    BOOST_TEST(descriptors() == before);
    const scratch_folder folder;
    auto flagged = co_await socket::open(loop::current(), AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
    co_await flagged.bind(co_await address::from_path(folder.file()));
    recorders all;
    auto at = co_await create_unix_server(each_into(all), std::move(flagged));
    co_await require_served(folder.file(), all);
    co_await end(at);
}

OURO_ASYNC_TEST(a_connected_socket_gets_a_protocol) {
    auto [ours, theirs] = co_await socket::pair(loop::current());
    auto seen = make_recorder(kind::streaming);
    auto made = co_await create_unix_connection(factory_of(seen), std::move(ours));
    linked on(seen, made.transport, std::move(theirs));
    send_now(on.peer, "hello");
    co_await eventually([&] { return seen->data == "hello"; });
}

// rule 443
OURO_ASYNC_TEST(connecting_to_a_missing_path_is_not_found_and_names_the_path) {
    const scratch_folder folder;
    const auto before = descriptors();
    const auto made = co_await as_result(create_unix_connection(silent_protocol(), folder.file()));
    BOOST_REQUIRE(!made);
    BOOST_CHECK(made.error() == std::errc::no_such_file_or_directory);
    BOOST_TEST(made.error().message().find(folder.file()) != std::string::npos);
    const auto empty = co_await as_result(create_unix_connection(silent_protocol(), ""));
    BOOST_CHECK(!empty && empty.error() == errc::value_error);
    BOOST_TEST(descriptors() == before);
}

// fault 46
OURO_ASYNC_TEST(a_stale_file_refuses_a_connection) {
    const scratch_folder folder;
    {
        auto left_behind = co_await bound_at(folder.file());
    }
    const auto made = co_await as_result(create_unix_connection(silent_protocol(), folder.file()));
    BOOST_CHECK(!made && made.error() == std::errc::connection_refused);
    remove_file(folder.file());
}

OURO_ASYNC_TEST(the_mode_of_the_file_is_set_before_it_listens) {
    const scratch_folder folder;
    for (const std::uint32_t mode : {0600U, 0666U}) {
        auto at = co_await create_unix_server(silent_protocol(), folder.file(), {.mode = mode});
        const auto file = co_await io::identify_file(loop::current(), folder.file().c_str());
        BOOST_TEST((file.mode & 07777U) == mode);
        BOOST_TEST(S_ISSOCK(file.mode));
        co_await end(at);
    }
}

OURO_ASYNC_TEST(each_end_knows_who_is_at_the_other) {
    const scratch_folder folder;
    recorders all;
    auto at = co_await create_unix_server(each_into(all), folder.file());
    auto seen = make_recorder(kind::streaming);
    auto client = co_await address::from_path(folder.file("client"));
    auto made = co_await create_unix_connection(factory_of(seen), folder.file(), {.local = client});
    co_await eventually([&] { return all.size() == 1; });
    for (const auto& link : {made.transport, all[0]->link}) {
        BOOST_REQUIRE(link);
        const auto* const view = link->get_extra_info<const socket_view*>("socket");
        BOOST_REQUIRE(view);
        const peer_credentials peer = co_await view->credentials();
        BOOST_TEST(peer.pid == ::getpid());
        BOOST_TEST(peer.uid == ::getuid());
        BOOST_TEST(peer.gid == ::getgid());
    }
    BOOST_CHECK(all[0]->link->get_extra_info<address>("peername") == client);
    made.transport->abort();
    co_await end(at);
    remove_file(folder.file("client"));
}

OURO_ASYNC_TEST(limits_hold_for_unix_servers_too) {
    const scratch_folder folder;
    recorders all;
    auto at = co_await create_unix_server(each_into(all), folder.file(), {.max_connections = 1});
    auto first = co_await dial(at.addresses().at(0));
    auto second = co_await dial(at.addresses().at(0));
    co_await eventually([&] { return all.size() == 1; });
    co_await settle(10);
    BOOST_TEST(all.size() == 1U);
    first.close();
    co_await eventually([&] { return all.size() == 2; });
    co_await end(at);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
