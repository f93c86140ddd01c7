// Files on transports: carried on those of the library, written on others.
#include <ouro/proto/sendfile.hpp>

#include <ouro/proto/logging_transport.hpp>
#include <ouro/proto/memory_pipe.hpp>

#include "recorder.hpp"
#include "temporary_file.hpp"

namespace ouro::test {
namespace {

using shared_file = std::shared_ptr<temporary_file>;

shared_file file_of(std::string_view content) { return std::make_shared<temporary_file>(content); }

/// What a file goes through.
enum class route { carried, copied, written };
constexpr route every_route[] = {route::carried, route::copied, route::written};

/// A transport of that kind and, at the other end, a recorder.
struct route_ends {
    std::shared_ptr<recorder> seen = make_recorder(kind::streaming);
    std::shared_ptr<recorder> far = make_recorder(kind::streaming);
    std::shared_ptr<transport> link;
    std::shared_ptr<transport> peer;

    route_ends() = default;
    route_ends(route_ends&&) = default;
    route_ends& operator=(route_ends&&) = delete;
    ~route_ends() {
        for (const auto& each : {seen, far}) {
            if (each) each->forget_hooks();
        }
        if (link) link->abort();
        if (peer) peer->abort();
    }
};

/// `copied` stands for a transport around a socket, `written` for one without any.
task<route_ends> connect_route(route over, bool narrow = false) {
    constexpr int small_bytes = 64 * 1024;
    route_ends on;
    if (over == route::written) {
        auto [one, other] = memory_pipe(loop::current());
        on.link = (co_await create_connection(factory_of(on.seen), one)).transport;
        on.peer = (co_await create_connection(factory_of(on.far), other)).transport;
        co_return on;
    }
    auto [own, other] = co_await tcp_pair();
    if (narrow) {
        co_await own.set_option(SOL_SOCKET, SO_SNDBUF, small_bytes);
        co_await other.set_option(SOL_SOCKET, SO_RCVBUF, small_bytes);
    }
    if (over == route::copied) {
        auto wrapped = std::make_shared<wrapping_transport>();
        co_await create_connection([&] { return wrapped->wrap(on.seen->as_protocol()); },
                                   std::move(own));
        on.link = wrapped;
    } else {
        on.link = (co_await create_connection(factory_of(on.seen), std::move(own))).transport;
    }
    on.peer = (co_await create_connection(factory_of(on.far), std::move(other))).transport;
    co_return on;
}

task<std::uint64_t> send_shared(std::shared_ptr<transport> link, shared_file file,
                                sendfile_options how = {}) {
    co_return co_await sendfile(std::move(link), file->fd(), how);
}

struct ending {
    error why;  // false: it was none
};
task<ending> failure_of(task_handle<std::uint64_t>& of) {
    const auto outcome = co_await as_result(of.join());
    co_return ending{outcome ? error() : outcome.error()};
}

constexpr clock::duration usual_start = std::chrono::milliseconds(20);
/// Whether a busy machine has not read any of the file yet, so that it is to be given more time.
bool had_not_begun(const temporary_file& file, clock::duration after) {
    return file.position() == 0 && after < std::chrono::seconds(5);
}

/// A transfer of 4 MB that waits for a peer that does not read, or soon will.
struct transfer {
    route_ends on;
    shared_file file;
    task_handle<std::uint64_t> sending;
};
task<transfer> held_up_transfer(route over, clock::duration after = usual_start) {
    auto on = co_await connect_route(over, true);
    auto file = file_of(std::string(4'000'000, 'x'));
    on.peer->pause_reading();
    auto sending = spawn(send_shared(on.link, file));
    co_await sleep(after);
    co_return transfer{std::move(on), std::move(file), std::move(sending)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(files_on_transports)

// rules 648-651
OURO_ASYNC_TEST(a_file_goes_between_what_is_written_before_and_after) {
    const std::string content = pattern(600'000);
    for (const route over : every_route) {
        BOOST_TEST_INFO_SCOPE(int(over));
        auto on = co_await connect_route(over);
        const auto file = file_of(content);
        on.link->write("before");
        const std::uint64_t count = co_await send_shared(on.link, file);
        on.link->write("after");
        BOOST_TEST(count == content.size());
        BOOST_TEST(file->position() == long(content.size()));
        const auto part = co_await send_shared(on.link, file, {.offset = 10, .count = 5});
        BOOST_TEST(part == 5U);
        BOOST_TEST(file->position() == 15);
        BOOST_TEST(co_await send_shared(on.link, file_of("")) == 0U);
        on.link->close();
        co_await eventually([&] { return on.far->lost(); });
        BOOST_TEST((on.far->data == "before" + content + "after" + content.substr(10, 5)));
        BOOST_TEST(on.seen->story() == "made lost");
    }
}

// rule 658
OURO_ASYNC_TEST(a_file_waits_for_a_transport_that_was_paused_before) {
    constexpr std::size_t much_bytes = 4'000'000;
    route_ends on;
    auto [one, other] = memory_pipe(loop::current(), {.capacity_bytes = 1000});
    on.link = (co_await create_connection(factory_of(on.seen), one)).transport;
    on.peer = (co_await create_connection(factory_of(on.far), other)).transport;
    on.far->on_data = [far = on.peer.get()] { far->pause_reading(); };
    on.link->write(pattern(35'000));
    on.link->write(pattern(35'000));
    co_await eventually([&] { return !on.far->data.empty(); });
    on.far->forget_hooks();
    // Between the watermarks it is still paused, and does not say so again.
    const auto [low, high] = on.link->get_write_buffer_limits();
    BOOST_TEST(on.link->get_write_buffer_size() > low);
    BOOST_TEST(on.link->get_write_buffer_size() < high);
    BOOST_TEST(on.seen->story() == "made pause");
    auto sending = spawn(send_shared(on.link, file_of(pattern(much_bytes))));
    co_await eventually([&] { return on.link->get_write_buffer_size() > high; });
    co_await sleep(std::chrono::milliseconds(20));  // for what must not come
    BOOST_TEST(on.link->get_write_buffer_size() < much_bytes / 4);
    on.peer->resume_reading();
    BOOST_TEST(co_await sending == much_bytes);
    co_await eventually([&] { return on.far->data.size() == 70'000 + much_bytes; });
    co_await eventually([&] { return on.seen->resumes == 1; });
}

OURO_ASYNC_TEST(the_figures_of_a_transport_count_its_files) {
    const std::string content = pattern(2'000'000);
    auto on = co_await connect_route(route::carried, true);  // some is carried, some is copied
    BOOST_TEST(co_await send_shared(on.link, file_of(content)) == content.size());
    BOOST_TEST(on.link->statistics().bytes_sent == content.size());
}

OURO_ASYNC_TEST(a_second_file_beside_one_is_refused) {
    for (const route over : every_route) {
        BOOST_TEST_INFO_SCOPE(int(over));
        auto going = co_await held_up_transfer(over);
        const auto second = co_await as_result(send_shared(going.on.link, file_of("second")));
        BOOST_CHECK((!second && second.error() == errc::invalid_state));
        going.on.peer->resume_reading();
        const std::uint64_t count = co_await std::move(going.sending);
        co_await eventually([&] { return going.on.far->data.size() == count; });
        BOOST_TEST((going.on.far->data == std::string(count, 'x')));
    }
}

// rule 652
OURO_ASYNC_TEST(a_write_beside_a_carried_file_is_refused) {
    auto on = co_await connect_route(route::carried, true);
    const auto file = file_of(std::string(1'000'000, 'x'));
    on.peer->pause_reading();
    auto sending = spawn(send_shared(on.link, file));
    co_await settle();
    const bytes piece = as_bytes("beside");
    const auto refused = make_error_code(errc::invalid_state);
    BOOST_CHECK(on.link->write(piece) == refused);
    BOOST_CHECK(on.link->write(std::vector<std::byte>(3)) == refused);
    BOOST_CHECK(on.link->writelines(std::span(&piece, 1)) == refused);
    BOOST_CHECK(on.link->write_eof() == refused);
    const auto second = co_await as_result(send_shared(on.link, file));
    BOOST_CHECK((!second && second.error() == errc::invalid_state));
    on.peer->resume_reading();
    BOOST_TEST(co_await sending == 1'000'000U);
    BOOST_CHECK(!on.link->write("afterwards"));
    on.link->close();
    co_await eventually([&] { return on.far->lost(); });
    BOOST_TEST(on.far->data.size() == 1'000'010U);
}

// rule 653
OURO_ASYNC_TEST(reading_is_paused_meanwhile_and_as_before_afterwards) {
    for (const route over : every_route) {
        BOOST_TEST_INFO_SCOPE(int(over));
        auto on = co_await connect_route(over, true);
        on.peer->pause_reading();
        auto sending = spawn(send_shared(on.link, file_of(std::string(1'000'000, 'x'))));
        co_await settle();
        on.peer->write("held back");
        co_await settle(20);
        BOOST_TEST(!on.link->is_reading());
        BOOST_TEST(on.seen->data.empty());
        on.peer->resume_reading();
        (void)co_await sending;
        BOOST_TEST(on.link->is_reading());
        co_await eventually([&] { return on.seen->data == "held back"; });

        on.link->pause_reading();
        (void)co_await send_shared(on.link, file_of("short"));
        BOOST_TEST(!on.link->is_reading());
    }
}

// rule 654
OURO_ASYNC_TEST(a_closing_transport_sends_no_file) {
    for (const route over : every_route) {
        auto on = co_await connect_route(over);
        on.link->close();
        const auto refused = co_await as_result(send_shared(on.link, file_of("content")));
        BOOST_CHECK((!refused && refused.error() == errc::invalid_state));
        co_await eventually([&] { return on.far->lost() && on.seen->lost(); });
        BOOST_TEST(on.far->data.empty());
        const auto lost = co_await as_result(send_shared(on.link, file_of("content")));
        BOOST_CHECK((!lost && lost.error() == errc::invalid_state));
    }
}

// rules 656, 661
OURO_ASYNC_TEST(without_a_fallback_only_what_can_be_carried_is_sent) {
    for (const route over : every_route) {
        auto on = co_await connect_route(over);
        const auto file = file_of("content");
        const auto outcome = co_await as_result(send_shared(on.link, file, {.fallback = false}));
        BOOST_TEST(outcome.has_value() == (over == route::carried));
        if (!outcome) BOOST_CHECK(outcome.error() == errc::unsupported);
        const auto wrong = co_await as_result(send_shared(on.link, file, {.count = 0}));
        BOOST_CHECK((!wrong && wrong.error() == errc::value_error));
        BOOST_TEST(!on.link->is_closing());
    }
}

// rule 656
OURO_ASYNC_TEST(after_write_eof_no_file_is_sent) {
    for (const route over : every_route) {
        auto on = co_await connect_route(over);
        on.far->stay_open_after_eof = true;
        on.link->write_eof();
        const auto refused = co_await as_result(send_shared(on.link, file_of("content")));
        BOOST_CHECK((!refused && refused.error() == errc::write_after_eof));
    }
}

// rule 658
OURO_ASYNC_TEST(a_written_file_keeps_the_queue_short_and_gives_the_protocol_back) {
    auto on = co_await connect_route(route::written);
    on.link->set_write_buffer_limits(1000);
    const auto before = on.link->get_protocol();
    on.peer->pause_reading();
    auto sending = spawn(send_shared(on.link, file_of(std::string(2'000'000, 'x'))));
    co_await sleep(std::chrono::milliseconds(20));
    BOOST_TEST(on.link->get_write_buffer_size() > 1000U);
    BOOST_TEST(on.link->get_write_buffer_size() < 300'000U);
    BOOST_TEST((on.link->get_protocol() != before));
    BOOST_TEST(on.seen->pauses == 0);
    on.peer->resume_reading();
    BOOST_TEST(co_await sending == 2'000'000U);
    BOOST_TEST((on.link->get_protocol() == before));
    on.link->close();
    co_await eventually([&] { return on.far->lost() && on.seen->lost(); });
    BOOST_TEST(on.far->data.size() == 2'000'000U);
    BOOST_TEST(on.seen->pauses == on.seen->resumes);
}

// rule 658
OURO_ASYNC_TEST(a_protocol_that_was_paused_before_is_resumed_after_the_file) {
    auto on = co_await connect_route(route::written);
    on.peer->pause_reading();
    on.link->write(std::string(400'000, 'a'));
    BOOST_TEST(on.seen->pauses == 1);
    auto sending = spawn(send_shared(on.link, file_of(std::string(100'000, 'b'))));
    on.seen->on_resume = [&link = *on.link] { link.write("c"); };  // behind the file
    co_await settle();
    on.peer->resume_reading();
    (void)co_await sending;
    co_await eventually([&] { return on.far->data.size() == 500'001; });
    BOOST_TEST(on.seen->resumes == 1);
    BOOST_TEST(on.far->data.ends_with("bc"));
}

// rules 648, 659
OURO_ASYNC_TEST(a_peer_that_goes_in_the_middle_makes_it_fail) {
    for (const route over : every_route) {
        BOOST_TEST_INFO_SCOPE(int(over));
        for (auto after = usual_start;; after *= 4) {
            auto [on, file, sending] = co_await held_up_transfer(over, after);
            on.peer->abort();
            const error why = (co_await failure_of(sending)).why;
            if (had_not_begun(*file, after)) continue;
            BOOST_CHECK((why == std::errc::connection_reset || why == std::errc::broken_pipe ||
                         why == std::errc::connection_aborted));
            BOOST_TEST(on.link->is_closing());
            co_await eventually([&] { return on.seen->lost(); });
            BOOST_TEST(file->position() > 0);
            BOOST_TEST(file->position() < 4'000'000);
            break;
        }
    }
}

// rule 660
OURO_ASYNC_TEST(a_peer_that_goes_after_everything_is_no_error) {
    for (const route over : every_route) {
        auto on = co_await connect_route(over);
        const std::string content = pattern(300'000);
        on.far->on_data = [&far = *on.far, size = content.size()] {
            if (far.data.size() == size) far.link->close();
        };
        BOOST_TEST(co_await send_shared(on.link, file_of(content)) == content.size());
        co_await eventually([&] { return on.far->lost() && on.seen->lost(); });
        BOOST_TEST(!on.seen->why);
    }
}

// rule 662
OURO_ASYNC_TEST(a_cancelled_transfer_leaves_the_connection_as_it_was) {
    for (const route over : every_route) {
        BOOST_TEST_INFO_SCOPE(int(over));
        for (auto after = usual_start;; after *= 4) {
            auto [on, file, sending] = co_await held_up_transfer(over, after);
            sending.cancel();
            BOOST_CHECK((co_await failure_of(sending)).why == errc::cancelled);
            if (had_not_begun(*file, after)) continue;
            BOOST_TEST(file->position() > 0);
            BOOST_TEST(on.link->is_reading());
            BOOST_TEST(!on.link->write("the end"));
            on.peer->resume_reading();
            co_await eventually([&] { return on.far->data.ends_with("the end"); });
            BOOST_TEST(long(on.far->data.size()) == file->position() + 7);
            break;
        }
    }
}

OURO_ASYNC_TEST(close_and_abort_end_a_transfer) {
    for (const route over : every_route) {
        for (const bool closes : {true, false}) {
            auto [on, file, sending] = co_await held_up_transfer(over);
            closes ? on.link->close() : on.link->abort();
            on.peer->resume_reading();
            BOOST_CHECK((co_await failure_of(sending)).why);
            co_await eventually([&] { return on.far->lost() && on.seen->lost(); });
            BOOST_TEST(!on.seen->why);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
