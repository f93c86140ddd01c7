// Servers and clients in processes of their own: killed at any moment, or started with sockets.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <ouro/net/inherited.hpp>
#include <ouro/proto/unix.hpp>

#include "scratch_folder.hpp"
#include "served.hpp"

namespace ouro::test {
namespace {

/// A process of its own, killed at the latest when this goes.
class child {
  public:
    explicit child(function<int()> body) : pid_(::fork()) {
        BOOST_REQUIRE_GE(pid_, 0);
        if (pid_ != 0) return;
        ::alarm(60);
        ::_exit(body());
    }
    child(const child&) = delete;
    child& operator=(const child&) = delete;
    ~child() { kill(); }
    void kill() {
        if (pid_ < 0) return;
        ::kill(pid_, SIGKILL);
        (void)exit_code();
    }
    /// Waits for its end; -1 when a signal ended it.
    int exit_code() {
        int status = 0;
        ::waitpid(std::exchange(pid_, -1), &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

  private:
    pid_t pid_;
};

/// What the body of a test, which has no arguments, is to know.
struct {
    std::string path;
    child* other = nullptr;
    std::size_t bytes_before_the_end = 0;
} scene;

int run_in_child(engine which, task<> body) {
    loop home(options_for(which));
    return home.run_until_complete(std::move(body)) ? 0 : 1;
}

task<> serve_for_ever(std::string path) {
    auto at = co_await create_unix_server(make_echo(), path);
    co_await at.serve_forever();
}

/// Connects as soon as somebody listens.
task<connection<base_protocol>> connect_in_time(std::shared_ptr<recorder> seen, std::string path) {
    for (int tries = 0;; ++tries) {
        auto made = co_await as_result(create_unix_connection(factory_of(seen), path));
        if (made || tries == 5000) co_return co_await std::move(made);
        co_await sleep(std::chrono::milliseconds(1));
    }
}

task<> write_for_ever(std::string path) {
    auto seen = make_recorder(kind::streaming);
    auto made = co_await connect_in_time(seen, path);
    const std::string text = pattern(10'000);
    while (!made.transport->is_closing()) {
        made.transport->write(text);
        co_await sleep(std::chrono::microseconds(100));
    }
}

/// Writes without an end to a server that is killed on the way.
task<> outlive_the_server() {
    const auto seen = make_recorder(kind::streaming);
    auto made = co_await connect_in_time(seen, scene.path);
    const std::string text = pattern(10'000);
    while (seen->data.size() < scene.bytes_before_the_end) {
        made.transport->write(text);
        co_await sleep(std::chrono::microseconds(100));
    }
    made.transport->write(text);
    scene.other->kill();
    co_await eventually([&] { return seen->lost(); });
    BOOST_TEST(seen->losses == 1);
    const std::string sent = text + text;
    BOOST_TEST(seen->data.substr(0, 20'000) ==
               sent.substr(0, std::min<std::size_t>(20'000, seen->data.size())));
    // It could not clean up; the next server does that.
    BOOST_TEST(file_exists(scene.path));
    recorders all;
    auto next = co_await create_unix_server(each_into(all), scene.path);
    auto client = co_await dial(next.addresses().at(0));
    co_await eventually([&] { return all.size() == 1; });
    next.abort_clients();
    next.close();
    co_await next.wait_closed();
}

/// Serves a client that is killed while it writes.
task<> outlive_the_client() {
    recorders all;
    auto at = co_await create_unix_server(each_into(all), scene.path);
    for (int tries = 0; all.empty() || all[0]->data.size() < scene.bytes_before_the_end; ++tries) {
        BOOST_REQUIRE_LT(tries, 5000);
        co_await sleep(std::chrono::milliseconds(1));
    }
    scene.other->kill();
    co_await eventually([&] { return all[0]->lost(); });
    BOOST_TEST(all[0]->losses == 1);
    const std::string text = pattern(10'000);
    for (std::size_t i = 0; i < all[0]->data.size(); i += text.size()) {
        const auto part = all[0]->data.substr(i, text.size());
        BOOST_REQUIRE(part == text.substr(0, part.size()));
    }
    BOOST_TEST(at.is_serving());
    auto client = co_await dial(at.addresses().at(0));
    co_await eventually([&] { return all.size() == 2; });
    at.abort_clients();
    at.close();
    co_await at.wait_closed();
}

/// What a program does that was started with two sockets: serves both until told to end.
task<> serve_what_was_inherited() {
    auto inherited = co_await inherited_sockets();
    if (inherited.size() != 2 || inherited[1].name != "second" || ::getenv("LISTEN_FDS")) {
        co_await result<>(error(errc::invalid_state));
    }
    std::vector<socket> sockets;
    for (auto& each : inherited) sockets.push_back(std::move(each.on));
    auto at = co_await create_server(make_echo(), std::move(sockets));
    for (const address& where : at.addresses()) {
        auto client = co_await dial(where);
        co_await client.send_all(as_bytes("hello"));
        if (co_await read_text(client, 5) != "hello") co_await result<>(error(errc::invalid_state));
    }
    co_await at.stop(std::chrono::seconds(10));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(server_processes)

// fault 84
BOOST_AUTO_TEST_CASE(a_server_killed_at_any_moment_is_a_lost_connection_and_a_stale_file) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        for (const std::size_t count : {0U, 1U, 5'000U, 50'000U}) {
            BOOST_TEST_INFO_SCOPE("killed after " << count << " bytes");
            const scratch_folder folder;
            scene.path = folder.file();
            child other([which] { return run_in_child(which, serve_for_ever(scene.path)); });
            scene.other = &other;
            scene.bytes_before_the_end = count;
            run_with(options_for(which), &outlive_the_server);
        }
    }
}

// fault 84
BOOST_AUTO_TEST_CASE(a_client_killed_at_any_moment_is_a_lost_connection) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        for (const std::size_t count : {0U, 1U, 5'000U, 50'000U}) {
            BOOST_TEST_INFO_SCOPE("killed after " << count << " bytes");
            const scratch_folder folder;
            scene.path = folder.file();
            child other([which] { return run_in_child(which, write_for_ever(scene.path)); });
            scene.other = &other;
            scene.bytes_before_the_end = count;
            run_with(options_for(which), &outlive_the_client);
        }
    }
}

BOOST_AUTO_TEST_CASE(sockets_that_a_manager_opened_are_served) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        child other([which] {
            for (int fd = 3; fd < 5; ++fd) ::close(fd);
            for (int fd = 3; fd < 5; ++fd) {
                const int made = ::socket(AF_INET, SOCK_STREAM, 0);
                const address where = address::parse("127.0.0.1:0").value();
                if (made != fd || ::bind(fd, where.raw(), where.length()) != 0) return 2;
            }
            ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
            ::setenv("LISTEN_FDS", "2", 1);
            ::setenv("LISTEN_FDNAMES", "first:second", 1);
            return run_in_child(which, serve_what_was_inherited());
        });
        BOOST_TEST(other.exit_code() == 0);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
