// Injection at the door: what is counted, failed, shortened and delayed, and that every operation
// still ends once.
#include <ouro/testing/injection.hpp>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>

#include <ouro/runtime/io.hpp>
#include <ouro/runtime/thread_pool.hpp>

#include "../../runtime/noted_op.hpp"
#include "engine.hpp"
#include "injected.hpp"

namespace ouro::test {
namespace {

using testing::door_call;
using testing::injection;

std::array<std::byte, 64>& scrap() {
    static std::array<std::byte, 64> room;
    return room;
}

bytes as_sent(std::string_view text) { return std::as_bytes(std::span(text)); }

/// A message of one byte.
msghdr& message_of_scrap() {
    static iovec piece;
    static msghdr message;
    piece = {scrap().data(), 1};
    message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    return message;
}

/// What has arrived at `fd`.
std::string arrived(int fd) {
    char room[4096];
    const ssize_t count = ::recv(fd, room, sizeof room, MSG_DONTWAIT);
    return {room, count > 0 ? static_cast<std::size_t>(count) : 0};
}

/// Starts the asynchronous `call` on `fd`.
void start(loop& home, door_call call, op& request, io::resolve_op& look_up, int fd) {
    static constexpr sockaddr_in nowhere{};
    iovec piece{scrap().data(), 1};
    switch (call) {
    case door_call::recv:
        return io::recv(home, request, fd, scrap());
    case door_call::recv_ring:
        return io::recv_ring(home, request, fd);
    case door_call::send:
        return io::send(home, request, fd, scrap(), io::send_mode::all);
    case door_call::send_pieces:
        return io::send_pieces(home, request, fd, {&piece, 1});
    case door_call::accept:
        return io::accept(home, request, fd);
    case door_call::accept_many:
        return io::accept_many(home, request, fd);
    case door_call::connect:
        return io::connect(home, request, fd, reinterpret_cast<const sockaddr*>(&nowhere),
                           sizeof nowhere);
    case door_call::read:
        return io::read(home, request, fd, scrap());
    case door_call::poll:
        return io::poll(home, request, fd, POLLIN);
    case door_call::send_message:
        return io::send_message(home, request, fd, message_of_scrap());
    case door_call::recv_message:
        return io::recv_message(home, request, fd, message_of_scrap());
    case door_call::recv_datagrams:
        return io::recv_datagrams(home, request, fd);
    case door_call::resolve:
        look_up.host = "localhost";
        return io::resolve(home, look_up);
    default:
        BOOST_FAIL("not asynchronous");
    }
}

/// The error of the synchronous `call` on `fd`; 0 if it succeeds.
int error_of(loop& home, door_call call, int fd) {
    int pair[2] = {-1, -1};
    sockaddr_in any{};
    any.sin_family = AF_INET;
    const auto code = [](const auto& outcome) {
        return outcome ? 0 : outcome.error().code().value();
    };
    switch (call) {
    case door_call::socket:
        return code(io::socket(home, AF_INET, SOCK_STREAM, 0));
    case door_call::socket_pair:
        return code(io::socket_pair(home, AF_UNIX, SOCK_STREAM, pair));
    case door_call::bind:
        return code(io::bind(home, fd, reinterpret_cast<const sockaddr*>(&any), sizeof any));
    case door_call::listen:
        return code(io::listen(home, fd, 1));
    case door_call::try_send:
        return code(io::try_send(home, fd, scrap()));
    case door_call::try_send_messages: {
        mmsghdr one{message_of_scrap(), 0};
        return code(io::try_send_messages(home, fd, {&one, 1}));
    }
    case door_call::shutdown:
        return code(io::shutdown(home, fd, SHUT_WR));
    case door_call::get_option:
        return code(io::get_option(home, fd, SOL_SOCKET, SO_TYPE));
    case door_call::set_option:
        return code(io::set_option(home, fd, SOL_SOCKET, SO_KEEPALIVE, 1));
    case door_call::local_name:
        return code(io::local_name(home, fd));
    case door_call::peer_name:
        return code(io::peer_name(home, fd));
    case door_call::watch_signals:
        return code(io::watch_signals(home, -1, 1ULL << (SIGWINCH - 1)));
    case door_call::identify_file:
        return code(io::identify_file(home, "/"));
    case door_call::remove_file:
        return code(io::remove_file(home, "/no/such/file"));
    case door_call::set_file_mode:
        return code(io::set_file_mode(home, "/no/such/file", 0));
    case door_call::peer_credentials:
        return code(io::peer_credentials(home, fd));
    case door_call::set_close_on_exec:
        return code(io::set_close_on_exec(home, fd));
    default:
        BOOST_FAIL("not synchronous");
        return 0;
    }
}

struct noted_look_up : io::resolve_op {
    noted_look_up() noexcept : io::resolve_op(&noted) {}
    task<std::int32_t> end() {
        while (endings == 0) co_await yield();
        co_await settle();
        co_return res;
    }
    int endings = 0;

  private:
    static void noted(op& done) noexcept { ++static_cast<noted_look_up&>(done).endings; }
};

/// Receives until the end of stream, and says how large the pieces were at most.
task<std::string> read_in_pieces(int fd, std::int32_t& largest) {
    std::string all;
    for (;;) {
        noted_op receive;
        io::recv(loop::current(), receive, fd, scrap());
        const std::int32_t got = co_await receive.end();
        BOOST_REQUIRE_GE(got, 0);
        if (got == 0) co_return all;
        all += as_text(bytes(scrap()).first(static_cast<std::size_t>(got)));
        largest = std::max(largest, got);
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(injections)

BOOST_AUTO_TEST_CASE(every_call_is_numbered_in_order_and_passes_when_no_fault_is_planned) {
    run_injected({}, [](injection& faults) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op receive, send;
        io::recv(home, receive, fds.ours, scrap());
        BOOST_CHECK(io::get_option(home, fds.ours, SOL_SOCKET, SO_TYPE).value() == SOCK_STREAM);
        io::send(home, send, fds.theirs, as_sent("hello"), io::send_mode::all);
        BOOST_TEST(co_await receive.end() == 5);
        BOOST_TEST(co_await send.end() == 5);
        const std::vector expected{door_call::recv, door_call::get_option, door_call::send};
        BOOST_CHECK((faults.seen() == expected));
        BOOST_TEST(to_string(faults.seen().at(1)) == "get_option");
        BOOST_TEST(faults.struck() == 0U);
        BOOST_TEST(home.engine_report().starts_with("inject + io_uring"));
        BOOST_TEST(home.statistics().submitted > 0U);
    });
}

// fault 22
BOOST_AUTO_TEST_CASE(the_call_of_the_plan_fails_and_is_not_done) {
    run_with_plan("op_fails@2=ECONNRESET", [](injection& faults) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op first, second, third;
        fds.peer_sends("one");
        io::recv(home, first, fds.ours, std::span(scrap()).first(1));
        BOOST_TEST(co_await first.end() == 1);
        io::recv(home, second, fds.ours, scrap());
        BOOST_TEST(second.in_flight);  // it does not fail at the call
        BOOST_TEST(co_await second.end() == -ECONNRESET);
        io::recv(home, third, fds.ours, scrap());
        BOOST_TEST(co_await third.end() == 2);
        BOOST_TEST(second.terminals == 1);
        BOOST_TEST(faults.struck() == 1U);
    });
}

BOOST_AUTO_TEST_CASE(every_operation_fails_once_with_each_error_that_is_legal_for_it) {
    for (auto call = door_call::recv; call <= door_call::resolve;
         call = static_cast<door_call>(static_cast<int>(call) + 1)) {
        for (const int number : testing::legal_errors(call)) {
            static door_call tried;
            static int expected;
            tried = call;
            expected = number;
            run_injected({.plan = {{testing::fault_kind::op_fails, 1, number}}},
                         [](injection& faults) -> task<> {
                             loopless_descriptors fds;
                             noted_op request;
                             noted_look_up look_up;
                             start(loop::current(), tried, request, look_up, fds.ours);
                             if (tried == door_call::resolve) {
                                 BOOST_TEST(co_await look_up.end() == -expected);
                                 BOOST_TEST(look_up.endings == 1);
                                 BOOST_TEST(look_up.gai_code != 0);
                             } else {
                                 BOOST_TEST(co_await request.end() == -expected);
                                 co_await settle();
                                 BOOST_TEST(request.terminals == 1);
                                 BOOST_TEST(request.results.size() == 1U);
                             }
                             BOOST_TEST(to_string(faults.seen().at(0)) == to_string(tried));
                             BOOST_TEST(faults.struck() == 1U);
                             BOOST_TEST(arrived(fds.theirs).empty());
                         });
        }
    }
}

BOOST_AUTO_TEST_CASE(a_job_finds_no_thread_or_begins_later) {
    for (const int number : testing::legal_errors(door_call::offload)) {
        static int expected;
        expected = number;
        run_injected({.plan = {{testing::fault_kind::op_fails, 1, number}}},
                     [](injection& faults) -> task<> {
                         const auto ran = std::make_shared<int>(0);
                         const auto refused = co_await as_result(to_thread([ran] { ++*ran; }));
                         BOOST_TEST(refused.error().code().value() == expected);
                         BOOST_TEST(*ran == 0);
                         co_await to_thread([ran] { ++*ran; });
                         BOOST_TEST(*ran == 1);
                         BOOST_TEST(faults.struck() == 1U);
                     });
    }
    run_with_plan("op_waits@1=3", [](injection& faults) -> task<> {
        BOOST_TEST(co_await to_thread([] { return 5; }) == 5);
        BOOST_TEST(faults.struck() == 1U);
        BOOST_TEST(to_string(faults.seen().at(0)) == "offload");
    });
}

BOOST_AUTO_TEST_CASE(every_synchronous_call_fails_with_each_error_that_is_legal_for_it) {
    for (auto call = door_call::socket; call <= door_call::set_close_on_exec;
         call = static_cast<door_call>(static_cast<int>(call) + 1)) {
        for (const int number : testing::legal_errors(call)) {
            static door_call tried;
            static int expected;
            tried = call;
            expected = number;
            run_injected({.plan = {{testing::fault_kind::op_fails, 1, number}}},
                         [](injection& faults) -> task<> {
                             loopless_descriptors fds;
                             BOOST_TEST(error_of(loop::current(), tried, fds.ours) == expected);
                             BOOST_TEST(to_string(faults.seen().at(0)) == to_string(tried));
                             BOOST_TEST(arrived(fds.theirs).empty());
                             co_return;
                         });
        }
    }
}

BOOST_AUTO_TEST_CASE(without_an_errno_the_first_legal_one_is_taken) {
    run_with_plan("op_fails@1", [](injection&) -> task<> {
        BOOST_TEST(error_of(loop::current(), door_call::bind, -1) ==
                   testing::legal_errors(door_call::bind).front());
        co_return;
    });
}

BOOST_AUTO_TEST_CASE(a_sticky_failure_holds_for_later_calls_of_its_kind_only) {
    run_with_plan("op_fails@2+=EPIPE", [](injection& faults) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        BOOST_TEST(error_of(home, door_call::try_send, fds.ours) == 0);
        for (int i = 0; i < 3; ++i) {
            BOOST_TEST(error_of(home, door_call::try_send, fds.ours) == EPIPE);
            BOOST_TEST(error_of(home, door_call::get_option, fds.ours) == 0);
        }
        BOOST_TEST(faults.struck() == 3U);
        co_return;
    });
}

BOOST_AUTO_TEST_CASE(an_operation_that_is_to_fail_and_is_cancelled_ends_once) {
    run_with_plan("op_fails@1=ETIMEDOUT", [](injection&) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op receive;
        io::recv_ring(home, receive, fds.ours);
        // The inner engine, which never had it, must not be asked.
        BOOST_TEST(static_cast<op&>(receive).engine_state == ouro::detail::completion_queued);
        io::cancel(home, receive);
        io::cancel(home, receive);
        BOOST_TEST(co_await receive.end() == -ETIMEDOUT);
        co_await settle();
        BOOST_TEST(receive.terminals == 1);
        io::recv_ring(home, receive, fds.ours);  // the same op again, on the inner engine now
        receive.forget();
        fds.peer_sends("later");
        while (receive.received.empty()) co_await yield();
        BOOST_TEST(receive.received == "later");
        io::cancel(home, receive);
        BOOST_TEST(co_await receive.end() == -ECANCELED);
    });
}

// fault 1
BOOST_AUTO_TEST_CASE(a_short_receive_gives_what_the_plan_says_and_leaves_the_rest) {
    run_with_plan("op_short@1=3,op_short@3", [](injection& faults) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op receive, peek;
        fds.peer_sends("abcdefgh");
        io::recv(home, receive, fds.ours, scrap());
        BOOST_TEST(co_await receive.end() == 3);
        BOOST_TEST(as_text(bytes(scrap()).first(3)) == "abc");
        io::poll(home, peek, fds.ours, POLLIN);
        BOOST_TEST(co_await peek.end() == POLLIN);
        io::read(home, receive, fds.ours, scrap());
        receive.forget();
        BOOST_TEST(co_await receive.end() == 1);  // at least one: none would be the end of stream
        io::recv(home, receive, fds.ours, scrap());
        receive.forget();
        BOOST_TEST(co_await receive.end() == 4);
        BOOST_TEST(as_text(bytes(scrap()).first(4)) == "efgh");
        BOOST_TEST(faults.struck() == 2U);
    });
}

// fault 2
BOOST_AUTO_TEST_CASE(a_short_send_takes_what_the_plan_says_and_knows_what_it_was_offered) {
    run_with_plan("op_short@1+=3", [](injection& faults) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        const std::string text = "abcdefgh";
        for (const auto mode : {io::send_mode::all, io::send_mode::fast}) {
            noted_op send;
            io::send(home, send, fds.ours, as_sent(text), mode);
            BOOST_TEST(co_await send.end() == 3);
            BOOST_TEST(static_cast<op&>(send).length == 8U);
            BOOST_TEST(arrived(fds.theirs) == "abc");
        }
        {
            std::string first = "ab", second = "cdef";
            const iovec pieces[] = {{first.data(), first.size()}, {second.data(), second.size()}};
            noted_op send;
            io::send_pieces(home, send, fds.ours, pieces);
            BOOST_TEST(co_await send.end() == 3);
            BOOST_TEST(static_cast<op&>(send).length == 6U);
            BOOST_TEST(arrived(fds.theirs) == "abc");
        }
        BOOST_TEST(io::try_send(home, fds.ours, as_sent(text)).value() == 3U);
        BOOST_TEST(arrived(fds.theirs) == "abc");
        BOOST_TEST(faults.struck() == 4U);
    });
}

// fault 1
BOOST_AUTO_TEST_CASE(shared_ring_bytes_are_lent_in_pieces_and_the_buffers_go_back) {
    run_with_plan("op_short@1=7", [](injection& faults) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op receive;
        std::int32_t largest = 0;
        std::size_t most_lent = 0;
        receive.then = [&](noted_op& each) {
            largest = std::max(largest, each.res);
            if (each.res > 0)
                most_lent = std::max(most_lent, loop::current().counters().lent_buffers);
        };
        io::recv_ring(home, receive, fds.ours);
        const std::string sent = pattern(100'000);
        for (std::size_t at = 0; at < sent.size(); at += 5000) {
            fds.peer_sends(std::string_view(sent).substr(at, 5000));
            co_await yield();
        }
        ::shutdown(fds.theirs, SHUT_WR);
        BOOST_TEST(co_await receive.end() == 0);
        BOOST_CHECK(receive.received == sent);
        BOOST_TEST(largest == 7);
        BOOST_TEST(most_lent > 0U);
        BOOST_TEST(receive.terminals == 1);
        BOOST_TEST(home.counters().lent_buffers == 0U);
        BOOST_TEST(faults.struck() == 1U);
    });
}

BOOST_AUTO_TEST_CASE(a_receive_of_pieces_that_is_cancelled_between_two_of_them_ends_once) {
    run_with_plan("op_short@1=1", [](injection&) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op receive;
        receive.then = [&home](noted_op& each) { io::cancel(home, each); };
        io::recv_ring(home, receive, fds.ours);
        fds.peer_sends("abcdef");
        BOOST_TEST(co_await receive.end() == -ECANCELED);
        co_await settle();
        BOOST_TEST(receive.terminals == 1);
        BOOST_TEST(receive.received == "abcdef");
        BOOST_TEST(home.counters().lent_buffers == 0U);
    });
}

BOOST_AUTO_TEST_CASE(an_operation_that_waits_is_done_so_many_turns_later) {
    for (const char* const plan : {"op_waits@1=1", "op_waits@1=6"}) {
        static std::uint64_t turns;
        turns = plan == std::string_view("op_waits@1=1") ? 1 : 6;
        run_with_plan(plan, [](injection& faults) -> task<> {
            loop& home = loop::current();
            loopless_descriptors fds;
            noted_op send;
            const auto before = home.statistics().turns;
            io::send(home, send, fds.ours, as_sent("late"), io::send_mode::all);
            for (;;) {
                co_await yield();
                if (home.statistics().turns - before == turns) break;
                BOOST_TEST(arrived(fds.theirs).empty());
            }
            BOOST_TEST(arrived(fds.theirs).empty());
            BOOST_TEST(!send.ended());
            co_await yield();
            BOOST_TEST(arrived(fds.theirs) == "late");
            BOOST_TEST(co_await send.end() == 4);
            BOOST_TEST(faults.struck() == 1U);
        });
    }
}

BOOST_AUTO_TEST_CASE(the_loop_does_not_sleep_while_an_operation_waits) {
    run_with_plan("op_waits@1=50", [](injection&) -> task<> {
        loopless_descriptors fds;
        noted_op receive;
        fds.peer_sends("here");
        io::recv(loop::current(), receive, fds.ours, scrap());
        BOOST_TEST(co_await receive.end() == 4);  // nothing else wakes the loop
    });
}

BOOST_AUTO_TEST_CASE(an_operation_that_is_cancelled_while_it_waits_is_never_done) {
    run_with_plan("op_waits@1=5,op_short@1=2", [](injection&) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        noted_op send;
        io::send(home, send, fds.ours, as_sent("never"), io::send_mode::all);
        io::cancel(home, send);
        io::cancel(home, send);
        BOOST_TEST(co_await send.end() == -ECANCELED);
        co_await settle(10);
        BOOST_TEST(send.terminals == 1);
        BOOST_TEST(arrived(fds.theirs).empty());
        io::send(home, send, fds.ours, as_sent("whole"), io::send_mode::all);
        send.forget();
        BOOST_TEST(co_await send.end() == 5);
        BOOST_TEST(static_cast<op&>(send).length == 5U);
    });
}

BOOST_AUTO_TEST_CASE(what_still_waits_when_a_run_ends_is_handed_over_and_when_a_loop_closes_ends) {
    loopless_descriptors fds;
    noted_op send, receive;
    injection faults({.plan = testing::parse_fault_plan("op_waits@1+=1000000000").value()});
    loop home(faults.options());
    home.call_soon([&] {
        io::send(home, send, fds.ours, as_sent("left"), io::send_mode::all);
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(arrived(fds.theirs) == "left");
    fds.peer_sends("stays");
    io::recv(home, receive, fds.ours, scrap());
    home.close();
    BOOST_TEST(receive.results == std::vector{-ECANCELED}, boost::test_tools::per_element());
    BOOST_TEST(send.terminals == 1);
    BOOST_TEST(home.counters().ops == 0U);
}

// fault 55
BOOST_AUTO_TEST_CASE(a_look_up_fails_with_the_code_of_the_resolver) {
    static int number, code;
    for (const auto& [error, gai] : {std::pair{EAGAIN, EAI_AGAIN},
                                     {ENOENT, EAI_NONAME},
                                     {ENOMEM, EAI_MEMORY},
                                     {EAFNOSUPPORT, EAI_FAMILY}}) {
        number = error;
        code = gai;
        run_injected({.plan = {{testing::fault_kind::op_fails, 1, number}}},
                     [](injection&) -> task<> {
                         noted_look_up look_up;
                         look_up.host = "localhost";
                         io::resolve(loop::current(), look_up);
                         io::cancel(loop::current(), look_up);  // too late
                         BOOST_TEST(co_await look_up.end() == -number);
                         BOOST_TEST(look_up.gai_code == code);
                         BOOST_TEST(look_up.endings == 1);
                     });
    }
}

// fault 55
BOOST_AUTO_TEST_CASE(a_look_up_that_waits_is_answered_or_cancelled) {
    run_with_plan("op_waits@1+=3", [](injection&) -> task<> {
        loop& home = loop::current();
        noted_look_up answered, early, late;
        for (auto* each : {&answered, &early, &late}) {
            each->host = "127.0.0.1";
            each->flags = AI_NUMERICHOST;
            io::resolve(home, *each);
        }
        io::cancel(home, early);
        BOOST_TEST(co_await early.end() == -ECANCELED);  // some turns went by: it is under way
        io::cancel(home, late);
        const auto outcome = co_await late.end();
        BOOST_CHECK((outcome == 0 || outcome == -ECANCELED));
        BOOST_TEST(co_await answered.end() == 0);
        BOOST_TEST(answered.answers.size() == 1U);
        BOOST_TEST(answered.endings + early.endings + late.endings == 3);
    });
}

// faults 1, 2
BOOST_AUTO_TEST_CASE(hostile_input_and_output_moves_a_byte_or_a_few) {
    run_injected({.hostile_io = true}, [](injection&) -> task<> {
        loop& home = loop::current();
        loopless_descriptors fds;
        const std::string text = pattern(200);
        noted_op send, ring;
        std::string piece = text;
        std::size_t at = 0;
        while (at < text.size()) {
            const auto rest = std::string_view(text).substr(at);
            iovec pieces{piece.data() + at, rest.size()};
            std::int32_t sent = 0;
            send.forget();
            if (at % 3 == 0) {
                io::send(home, send, fds.theirs, as_sent(rest), io::send_mode::fast);
                while (!send.ended()) co_await yield();  // the end of a fast send wakes nobody
                sent = send.res;
            } else if (at % 3 == 1) {
                io::send_pieces(home, send, fds.theirs, {&pieces, 1});
                sent = co_await send.end();
            } else {
                sent = static_cast<std::int32_t>(
                    io::try_send(home, fds.theirs, as_sent(rest)).value());
            }
            BOOST_REQUIRE_GE(sent, 1);
            BOOST_REQUIRE_LE(sent, 3);
            at += static_cast<std::size_t>(sent);
        }
        ::shutdown(fds.theirs, SHUT_WR);
        std::int32_t largest = 0;
        BOOST_CHECK(co_await read_in_pieces(fds.ours, largest) == text);
        BOOST_TEST(largest == 1);

        loopless_descriptors others;
        others.peer_sends(text);
        ::shutdown(others.theirs, SHUT_WR);
        io::recv_ring(home, ring, others.ours);
        BOOST_TEST(co_await ring.end() == 0);
        BOOST_CHECK(ring.received == text);
        BOOST_TEST(ring.results.size() == text.size() + 1);
    });
}

// fault 44
BOOST_AUTO_TEST_CASE(hostile_input_and_output_leaves_datagrams_whole) {
    run_injected({.hostile_io = true}, [](injection&) -> task<> {
        loop& home = loop::current();
        int fds[2] = {-1, -1};
        BOOST_REQUIRE(io::socket_pair(home, AF_UNIX, SOCK_DGRAM, fds).has_value());
        noted_op send, receive;
        io::send(home, send, fds[0], as_sent("datagram"), io::send_mode::all);
        io::recv(home, receive, fds[1], scrap());
        BOOST_TEST(co_await send.end() == 8);
        BOOST_TEST(co_await receive.end() == 8);
        io::close(home, fds[0]);
        io::close(home, fds[1]);
    });
}

BOOST_AUTO_TEST_CASE(a_rig_beneath_makes_the_engine_and_hears_of_turns_and_tasks) {
    struct counting final : ouro::detail::rig {
        std::unique_ptr<ouro::detail::engine> make_engine(loop& home,
                                                          const loop_options& options) override {
            ++engines;
            loop_options plain = options;
            plain.rig = nullptr;
            return ouro::detail::make_engine(home, plain);
        }
        void turn_begins(loop&, ouro::detail::ready_queue&) noexcept override { ++turns; }
        void suspended(ouro::detail::task_core&) noexcept override { ++suspensions; }
        int engines = 0, suspensions = 0;
        std::uint64_t turns = 0;
    } beneath;
    injection inner, outer;
    loop_options base;
    base.rig = &beneath;
    loop home(outer.options(inner.options(base)));
    const auto outcome = home.run_until_complete([]() -> task<> { co_await settle(3); }());
    BOOST_TEST(outcome.has_value());
    BOOST_TEST(home.engine_report().starts_with("inject + inject + io_uring"));
    BOOST_TEST(beneath.engines == 1);
    BOOST_TEST(beneath.turns == home.statistics().turns);
    BOOST_TEST(beneath.suspensions >= 3);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
