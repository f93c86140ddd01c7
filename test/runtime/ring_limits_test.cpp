// Queues far too small for what is asked of them, and a system call that is interrupted all the
// time.
#include <ouro/runtime/loop.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include <boost/test/unit_test.hpp>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include "async_test.hpp"
#include "noted_op.hpp"
#include "refused_enters.hpp"

namespace ouro::test {
namespace {

loop_options tiny(engine which) {
    loop_options options = options_for(which);
    options.sq_entries = 8;
    options.cq_entries = 16;
    options.ring_buffer_bytes = 4096;
    return options;
}

/// Runs `body` on tiny rings of both kinds.
void on_tiny_rings(task<> (*body)()) {
    for (const engine which : {engine::uring, engine::plain_uring}) {
        loop home(tiny(which));
        auto outcome = home.run_until_complete(body());
        BOOST_CHECK_MESSAGE(outcome.has_value(), (outcome ? "" : outcome.error().describe()));
        BOOST_TEST(home.counters().ops == 0U);
    }
}

struct event_descriptor {
    ~event_descriptor() { ::close(fd); }
    int fd = ::eventfd(1, EFD_CLOEXEC);  // always readable
};

struct many_ops {
    explicit many_ops(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) each.push_back(std::make_unique<noted_op>());
    }
    std::vector<std::unique_ptr<noted_op>> each;
};

task<> a_burst_larger_than_the_submission_queue() {
    loop& home = loop::current();
    event_descriptor ready;
    many_ops polls(1000);
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < polls.each.size(); ++i) {
        polls.each[i]->then = [&order, i](noted_op&) { order.push_back(i); };
        io::poll(home, *polls.each[i], ready.fd, POLLIN);
    }
    for (auto& poll : polls.each) BOOST_TEST_REQUIRE(co_await poll->end() == POLLIN);
    BOOST_TEST(std::is_sorted(order.begin(), order.end()));
    BOOST_TEST(order.size() == polls.each.size());
    for (auto& poll : polls.each) BOOST_TEST_REQUIRE(poll->terminals == 1);
    BOOST_TEST(home.statistics().sq_full > 0U);
}

task<> many_completions_at_once() {
    loop& home = loop::current();
    descriptors fds(home);
    many_ops polls(500);
    for (auto& poll : polls.each) io::poll(home, *poll, fds.ours, POLLIN);
    co_await settle();
    fds.peer_sends("x");
    for (auto& poll : polls.each) BOOST_TEST_REQUIRE(co_await poll->end() == POLLIN);
    for (auto& poll : polls.each) BOOST_TEST_REQUIRE(poll->terminals == 1);
    BOOST_TEST(home.statistics().cq_overflows > 0U);
    BOOST_TEST(home.statistics().completions == 500U);
}

task<> many_cancels_at_once() {
    loop& home = loop::current();
    descriptors fds(home);
    many_ops polls(300);
    for (auto& poll : polls.each) io::poll(home, *poll, fds.ours, POLLIN);
    co_await settle();
    for (auto& poll : polls.each) io::cancel(home, *poll);
    for (auto& poll : polls.each) BOOST_TEST_REQUIRE(co_await poll->end() == -ECANCELED);
}

task<> sends_of_one_socket_in_one_burst() {
    loop& home = loop::current();
    descriptors fds(home);
    const std::string sent = pattern(200);
    many_ops sends(sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
        io::send(home, *sends.each[i], fds.ours, as_bytes(std::string_view(sent).substr(i, 1)),
                 io::send_mode::all);
    }
    for (auto& send : sends.each) BOOST_TEST_REQUIRE(co_await send->end() == 1);
    BOOST_TEST(co_await drained(fds.theirs) == sent);
}

// The kernel refuses the entries of a poll at first, and takes them when that poll enters it again
// for the completions it could not place. What fast sends came to is told in that same turn.
task<> fast_sends_that_are_taken_on_the_second_try() {
    loop& home = loop::current();
    event_descriptor ready;
    descriptors fds(home), dead(home);
    co_await io::shutdown(home, dead.theirs, SHUT_RDWR);
    many_ops polls(40), sends(3);  // five full queues: they end at once, and most find no place
    noted_op fails;
    for (auto& poll : polls.each) io::poll(home, *poll, ready.fd, POLLIN);
    for (auto& send : sends.each) {
        io::send(home, *send, fds.ours, as_bytes("ab"), io::send_mode::fast);
    }
    io::send(home, fails, dead.ours, as_bytes("x"), io::send_mode::fast);
    const auto before = home.statistics();
    refused_enters once(1, EBUSY);
    co_await yield();  // to the turn after that poll, ahead of what it brought
    BOOST_TEST(once.left() == 0U);
    BOOST_TEST(home.statistics().enter_retries == before.enter_retries + 1);
    BOOST_TEST(home.statistics().cq_overflows > before.cq_overflows);
    co_await yield();
    for (auto& send : sends.each) {
        BOOST_TEST(send->results == std::vector<std::int32_t>{2}, boost::test_tools::per_element());
    }
    BOOST_TEST(fails.results == std::vector<std::int32_t>{-EPIPE},
               boost::test_tools::per_element());
    BOOST_TEST(co_await drained(fds.theirs) == "ababab");
    for (auto& poll : polls.each) BOOST_TEST(co_await poll->end() == POLLIN);
}

// What finds no room in a batch that cannot grow comes in the turns after it; and what a fast send
// came to is told when it is known, not before.
task<> completions_without_memory_for_them() {
    loop& home = loop::current();
    event_descriptor ready;
    descriptors fds(home), dead(home);
    co_await io::shutdown(home, dead.theirs, SHUT_RDWR);
    many_ops polls(400);
    noted_op sent, fails;
    for (noted_op* each : {&sent, &fails}) each->results.reserve(1);
    for (auto& poll : polls.each) io::poll(home, *poll, ready.fd, POLLIN);
    io::send(home, sent, fds.ours, as_bytes("ab"), io::send_mode::fast);
    io::send(home, fails, dead.ours, as_bytes("x"), io::send_mode::fast);
    testing::allocation_faults::arm(1, true);
    co_await yield();
    co_await yield();
    const bool at_once = polls.each.back()->ended();
    for (int turns = 0; turns < 100 && home.counters().ops > 0; ++turns) co_await yield();
    const bool struck = testing::allocation_faults::struck();
    testing::allocation_faults::disarm();
    BOOST_TEST(struck);
    BOOST_TEST(!at_once);
    BOOST_TEST(home.counters().ops == 0U);
    for (auto& poll : polls.each) BOOST_TEST_REQUIRE(poll->terminals == 1);
    BOOST_TEST(sent.results == std::vector<std::int32_t>{2}, boost::test_tools::per_element());
    BOOST_TEST(fails.results == std::vector<std::int32_t>{-EPIPE},
               boost::test_tools::per_element());
    BOOST_TEST(co_await drained(fds.theirs) == "ab");
}

// Each ends at once because there is no memory, and none is needed to say so.
task<> refusals_without_memory_for_them() {
    loop& home = loop::current();
    descriptors fds(home);
    many_ops receives(600);
    for (auto& receive : receives.each) receive->results.reserve(1);
    testing::allocation_faults::arm(1, true);
    for (auto& receive : receives.each) io::recv_datagrams(home, *receive, fds.ours);
    for (int turns = 0; turns < 100 && home.counters().ops > 0; ++turns) co_await yield();
    testing::allocation_faults::disarm();
    for (auto& receive : receives.each) {
        BOOST_TEST_REQUIRE(receive->terminals == 1);
        BOOST_TEST_REQUIRE(receive->results.front() == -ENOMEM);
    }
}

// More receives find no buffer than either queue holds: they wait for the next turn, and that one
// comes.
task<> starved_receives_that_fill_both_queues() {
    loop& home = loop::current();
    constexpr std::size_t count = 60;
    const std::string sent = pattern(5000);
    std::vector<std::unique_ptr<descriptors>> pairs;
    many_ops receives(count);
    for (std::size_t i = 0; i < count; ++i) {
        pairs.push_back(std::make_unique<descriptors>(home));
        pairs.back()->peer_sends(sent);
        pairs.back()->peer_ends();
    }
    for (std::size_t i = 0; i < count; ++i) {
        io::recv_ring(home, *receives.each[i], pairs[i]->ours);
    }
    for (std::size_t i = 0; i < count; ++i) {
        noted_op& receive = *receives.each[i];
        while (co_await receive.end() > 0) {  // a full completion queue ends it: it goes on
            receive.terminals = 0;
            io::recv_ring(home, receive, pairs[i]->ours);
        }
        BOOST_TEST(receive.res == 0);
        BOOST_TEST((receive.received == sent));
    }
    BOOST_TEST(home.statistics().ring_exhausted > 16U);
    BOOST_TEST(home.counters().lent_buffers == 0U);
}

// A few answers must not wait until a flood of others has been dealt with.
task<> io_beside_a_flood_of_completions() {
    loop& home = loop::current();
    event_descriptor ready;
    descriptors fds(home);
    many_ops polls(100);
    bool flooding = true;
    for (auto& poll : polls.each) {
        poll->then = [&](noted_op& self) {
            self.results.clear();
            if (flooding) io::poll(home, self, ready.fd, POLLIN);
        };
        io::poll(home, *poll, ready.fd, POLLIN);
    }
    std::array<std::byte, 8> room;
    for (int i = 0; i < 50; ++i) {
        noted_op receive;
        io::recv(home, receive, fds.ours, room);
        fds.peer_sends("x");
        BOOST_TEST_REQUIRE(co_await receive.end() == 1);
    }
    flooding = false;
    while (home.counters().ops > 0) co_await yield();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(ring_limits)

// fault 7
BOOST_AUTO_TEST_CASE(a_full_submission_queue_drops_no_operation_and_keeps_the_order) {
    on_tiny_rings(&a_burst_larger_than_the_submission_queue);
    on_tiny_rings(&sends_of_one_socket_in_one_burst);
}

// fault 6
BOOST_AUTO_TEST_CASE(a_full_completion_queue_loses_no_completion) {
    on_tiny_rings(&many_completions_at_once);
    on_tiny_rings(&many_cancels_at_once);
}

// faults 6, 7
BOOST_AUTO_TEST_CASE(fast_sends_that_are_refused_at_first_are_told_of_in_the_turn_that_takes_them) {
    on_tiny_rings(&fast_sends_that_are_taken_on_the_second_try);
}

// faults 4, 6, 7
BOOST_AUTO_TEST_CASE(receives_without_a_buffer_wait_for_the_next_turn_however_many_they_are) {
    on_tiny_rings(&starved_receives_that_fill_both_queues);
}

// faults 6, 20
BOOST_AUTO_TEST_CASE(without_memory_for_all_completions_some_come_later_and_none_is_lost) {
    on_tiny_rings(&completions_without_memory_for_them);
    on_tiny_rings(&refusals_without_memory_for_them);
}

// fault 6
BOOST_AUTO_TEST_CASE(a_flood_of_completions_leaves_room_for_others) {
    on_tiny_rings(&io_beside_a_flood_of_completions);
}

// faults 8, 9, 79
OURO_KERNEL_TEST(signals_that_interrupt_the_kernel_call_lose_no_byte,
                 "interrupts io_uring_enter(2) with signals of another thread") {
    loop& home = loop::current();
    struct sigaction quiet{};
    struct sigaction before{};
    quiet.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &quiet, &before);
    std::atomic<bool> storm{true};
    const pthread_t target = ::pthread_self();
    std::thread signals([&] {
        while (storm) {
            ::pthread_kill(target, SIGALRM);
            std::this_thread::yield();
        }
    });
    descriptors fds(home);
    std::thread echo([fd = fds.theirs] {
        char piece[64];
        for (;;) {
            const ssize_t count = ::recv(fd, piece, sizeof piece, 0);
            if (count <= 0) return;
            (void)::send(fd, piece, static_cast<std::size_t>(count), MSG_NOSIGNAL);
        }
    });
    std::array<std::byte, 64> room;
    bool intact = true;
    int rounds = 0;
    for (; intact && (rounds < 200 || home.statistics().enter_retries == 0); ++rounds) {
        const std::string sent = pattern(32, static_cast<std::size_t>(rounds));
        noted_op send, receive;
        io::recv(home, receive, fds.ours, room);
        io::send(home, send, fds.ours, as_bytes(sent), io::send_mode::all);
        intact = co_await send.end() == 32;
        const auto count = co_await receive.end();
        intact = intact && count == 32 && as_text(bytes(room).first(32)) == sent;
    }
    BOOST_TEST(intact);
    BOOST_TEST(home.statistics().enter_retries > 0U);
    storm = false;
    signals.join();
    ::shutdown(fds.ours, SHUT_RDWR);
    echo.join();
    ::sigaction(SIGALRM, &before, nullptr);
}

// fault 8
OURO_KERNEL_TEST(signals_do_not_let_a_timer_fire_early_or_get_lost,
                 "interrupts io_uring_enter(2) with signals of another thread") {
    struct sigaction quiet{};
    struct sigaction before{};
    quiet.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &quiet, &before);
    std::atomic<bool> storm{true};
    std::thread signals([&, target = ::pthread_self()] {
        while (storm) {
            ::pthread_kill(target, SIGALRM);
            std::this_thread::yield();
        }
    });
    for (int i = 0; i < 5; ++i) {
        const auto due = clock::now() + std::chrono::milliseconds(1);
        co_await sleep_until(due);
        BOOST_TEST((clock::now() >= due));
    }
    storm = false;
    signals.join();
    ::sigaction(SIGALRM, &before, nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
