// Files on a socket.
#include <ouro/net/send_file.hpp>

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include <ouro/runtime/spawn.hpp>
#include <ouro/testing/injection.hpp>

#include "async_test.hpp"
#include "failing_call.hpp"
#include "temporary_file.hpp"

namespace ouro::test {
namespace {

using shared_socket = std::shared_ptr<socket>;
using shared_file = std::shared_ptr<temporary_file>;

struct ends {
    shared_socket near;
    shared_socket far;
};

task<ends> connect_ends(bool tcp) {
    auto pair = tcp ? co_await tcp_pair() : co_await socket::pair(loop::current());
    co_return ends{std::make_shared<socket>(std::move(pair.first)),
                   std::make_shared<socket>(std::move(pair.second))};
}

task<std::string> read_to_end(shared_socket from) {
    std::string text;
    std::vector<std::byte> room(64 * 1024);
    while (const std::size_t got = co_await from->recv_into(room)) {
        text += as_text(bytes(room).first(got));
    }
    co_return text;
}

task<std::uint64_t> send_from(shared_socket to, shared_file file, sendfile_options how) {
    co_return co_await to->send_file(file->fd(), how);
}

shared_file file_of(std::string_view content) { return std::make_shared<temporary_file>(content); }

/// What arrives of `file`, and what the call says.
task<std::pair<std::string, std::uint64_t>> sent_of(shared_file file, sendfile_options how,
                                                    bool tcp = true) {
    auto on = co_await connect_ends(tcp);
    auto reading = spawn(read_to_end(on.far));
    const std::uint64_t count = co_await send_from(on.near, file, how);
    on.near->close();
    co_return std::pair(co_await reading, count);
}

/// A transfer of 8 MB, of which the peer has taken a little.
struct transfer {
    ends on;
    shared_file file;
    task_handle<std::uint64_t> sending;
};
task<transfer> begun_transfer() {
    auto on = co_await connect_ends(true);
    auto file = file_of(std::string(8'000'000, 'x'));
    auto sending = spawn(send_from(on.near, file, {}));
    std::vector<std::byte> room(1000);
    (void)co_await on.far->recv_into(room);
    co_return transfer{std::move(on), std::move(file), std::move(sending)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(files_on_sockets)

// rules 648, 649
OURO_ASYNC_TEST(a_file_is_sent_to_its_end_and_its_position_is_there) {
    for (const bool tcp : {true, false}) {
        for (const std::size_t size : {1U, 4096U, 300'000U, 1'500'000U}) {
            const std::string content = pattern(size);
            const auto file = file_of(content);
            const auto [got, count] = co_await sent_of(file, {}, tcp);
            BOOST_TEST(count == size);
            BOOST_TEST((got == content));
            BOOST_TEST(file->position() == long(size));
        }
    }
}

// rules 648, 649
OURO_ASYNC_TEST(an_offset_and_a_count_choose_a_part) {
    const std::string content = pattern(500'000);
    const auto file = file_of(content);
    struct row {
        sendfile_options how;
        std::size_t start, count;
    };
    const row rows[] = {{{.offset = 1000}, 1000, 499'000},
                        {{.offset = 0, .count = 7}, 0, 7},
                        {{.offset = 100'001, .count = 300'000}, 100'001, 300'000},
                        {{.offset = 499'999, .count = 1000}, 499'999, 1},
                        {{.offset = 600'000}, 600'000, 0}};
    for (const row& each : rows) {
        const auto [got, count] = co_await sent_of(file, each.how);
        BOOST_TEST(count == each.count);
        BOOST_TEST((got == (each.count ? content.substr(each.start, each.count) : "")));
        BOOST_TEST(file->position() == long(each.start + each.count));
    }
}

// rule 650
OURO_ASYNC_TEST(an_empty_file_sends_nothing) {
    const auto [got, count] = co_await sent_of(file_of(""), {});
    BOOST_TEST(count == 0U);
    BOOST_TEST(got.empty());
}

// rule 661
OURO_ASYNC_TEST(what_makes_no_sense_is_refused) {
    auto on = co_await connect_ends(true);
    const auto file = file_of("content");
    constexpr auto most = std::numeric_limits<std::uint64_t>::max();
    for (const sendfile_options& how :
         {sendfile_options{.count = 0}, sendfile_options{.offset = most},
          sendfile_options{.offset = 1, .count = most / 2}}) {
        const auto outcome = co_await as_result(send_from(on.near, file, how));
        BOOST_CHECK((!outcome && outcome.error() == errc::value_error));
    }
    const auto datagrams =
        std::make_shared<socket>(co_await socket::open(loop::current(), AF_INET, SOCK_DGRAM));
    const auto outcome = co_await as_result(send_from(datagrams, file, {}));
    BOOST_CHECK((!outcome && outcome.error() == errc::value_error));
    BOOST_TEST(file->position() == 0);
}

// rule 656
OURO_ASYNC_TEST(what_has_no_offsets_is_copied_or_refused) {
    auto on = co_await connect_ends(true);
    int ends[2];
    BOOST_REQUIRE(::pipe(ends) == 0);
    BOOST_REQUIRE(::write(ends[1], "from a pipe", 11) == 11);
    ::close(ends[1]);
    const auto without = co_await as_result(on.near->send_file(ends[0], {.fallback = false}));
    BOOST_CHECK((!without && without.error() == errc::unsupported));
    BOOST_TEST(co_await on.near->send_file(ends[0], {}) == 11U);
    ::close(ends[0]);
    on.near->close();
    BOOST_TEST(co_await read_to_end(on.far) == "from a pipe");
}

// rule 648
OURO_ASYNC_TEST(a_peer_that_goes_makes_it_fail_with_the_position_behind_what_was_sent) {
    auto [on, file, sending] = co_await begun_transfer();
    on.far->close();
    const auto outcome = co_await as_result(sending.join());
    BOOST_CHECK((!outcome && (outcome.error() == std::errc::connection_reset ||
                              outcome.error() == std::errc::broken_pipe)));
    BOOST_TEST(file->position() > 0);
    BOOST_TEST(file->position() < 8'000'000);
}

// rule 662
OURO_ASYNC_TEST(a_cancelled_transfer_leaves_nothing_armed) {
    auto [on, file, sending] = co_await begun_transfer();
    sending.cancel();
    const auto outcome = co_await as_result(sending.join());
    BOOST_CHECK((!outcome && outcome.error() == errc::cancelled));
    BOOST_TEST(loop::current().counters().ops == 0U);
    BOOST_TEST(file->position() > 0);
    // The socket is as it was.
    auto reading = spawn(read_to_end(on.far));
    const auto sent = std::size_t(file->position());
    co_await on.near->send_all(as_bytes("the end"));
    on.near->close();
    const std::string got = co_await reading;
    BOOST_TEST(got.size() >= sent - 1000);
    BOOST_TEST(got.ends_with("the end"));
}

// rule 675
OURO_ASYNC_TEST(closing_the_socket_ends_a_transfer) {
    auto [on, file, sending] = co_await begun_transfer();
    on.near->close();
    const auto outcome = co_await as_result(sending.join());
    BOOST_CHECK((!outcome && outcome.error() == errc::cancelled));
}

namespace {

const std::string& content() {
    static const std::string text = pattern(700'000);
    return text;
}
task<> expect_content_to_arrive() {
    const auto file = file_of(content());
    const auto [got, count] = co_await sent_of(file, {});
    BOOST_TEST(count == content().size());
    BOOST_TEST((got == content()));
    BOOST_TEST(file->position() == long(content().size()));
}
void run_behind(testing::injection& faults) {
    run_with(faults.options(options_for(engine::uring)), &expect_content_to_arrive);
}

}  // namespace

// rule 656
BOOST_AUTO_TEST_CASE(what_cannot_be_carried_is_copied) {
    using testing::door_call;
    testing::injection none;
    run_behind(none);
    for (const auto [call, failure] :
         {std::pair(door_call::fetch, EINVAL), std::pair(door_call::open_carrier, EMFILE),
          std::pair(door_call::try_forward, EINVAL)}) {
        testing::injection faults(failing_call(none, call, failure, failing::from_then_on));
        run_behind(faults);
        BOOST_TEST(faults.struck() >= 1U);
        const auto& seen = faults.seen();
        BOOST_TEST((std::find(seen.begin(), seen.end(), door_call::read_at) != seen.end()));
    }
}

BOOST_AUTO_TEST_CASE(short_reads_and_sends_lose_nothing) {
    testing::injection hostile(
        {.plan = {
             {.kind = testing::fault_kind::op_short, .at = 1, .value = 1000, .sticky = true}}});
    run_behind(hostile);
    BOOST_TEST(hostile.struck() > 700U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
