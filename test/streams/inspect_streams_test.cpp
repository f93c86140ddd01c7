// What a dump says about tasks that wait on streams.
#include <ouro/streams/open_connection.hpp>

#include <memory>
#include <regex>
#include <string>
#include <vector>

#include <ouro/runtime/inspect.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// What the task with this name waits in, with what differs from run to run left out.
std::string wait_of(const std::string& name) {
    for (const task_report& each : capture_tasks(loop::current())) {
        if (each.name != name) continue;
        const std::string text = each.waits_in + " (" + each.details + ")";
        const std::string numbered =
            std::regex_replace(text, std::regex("(fd )[0-9]+|[0-9]+( bytes)"), "$1N$2");
        return std::regex_replace(numbered, std::regex("(127.0.0.1):[0-9]+"), "$1:P");
    }
    return "no such task";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(inspect_streams)

OURO_ASYNC_TEST(waits_on_a_stream_name_descriptor_peer_and_what_is_queued) {
    auto pair = co_await tcp_pair();
    auto other = std::make_shared<socket>(std::move(pair.second));
    auto made = co_await open_connection(std::move(pair.first));
    auto reader = std::make_shared<stream_reader>(std::move(made.reader));
    auto writer = std::make_shared<stream_writer>(std::move(made.writer));
    auto read = [](auto from) -> task<> { co_await from->read_some(); };
    auto drain = [](auto into) -> task<> {
        into->write(std::string(8 * 1024 * 1024, 'x'));
        co_await into->drain();
    };
    auto closed = [](auto of) -> task<> { co_await of->wait_closed(); };
    std::vector<task_handle<>> tasks{spawn(read(reader)), spawn(drain(writer)),
                                     spawn(closed(writer))};
    tasks[0].set_name("reads");
    tasks[1].set_name("drains");
    tasks[2].set_name("closes");
    co_await settle();
    BOOST_TEST(wait_of("reads") == "read (fd N, peer 127.0.0.1:P)");
    BOOST_TEST(wait_of("drains") == "drain (fd N, peer 127.0.0.1:P, N bytes queued)");
    BOOST_TEST(wait_of("closes") == "wait_closed (fd N, peer 127.0.0.1:P)");
    for (auto& each : tasks) {
        each.cancel();
        (void)co_await as_result(each.join());
    }
    writer->transport().abort();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
