// How datagrams are sent: in order, whole, in few calls, and what happens when that fails.
#include <sys/socket.h>

#include <string>

#include <ouro/testing/injection.hpp>

#include "datagram_recorder.hpp"
#include "failing_call.hpp"

namespace ouro::test {
namespace {

constexpr std::size_t too_long_bytes = 70'000;

/// Sends numbered datagrams until the endpoint says that it is full.
int fill(const endpoint& from, std::size_t bytes_each = 1000) {
    int count = 0;
    while (from.seen->pauses == from.seen->resumes && count < 20'000) {
        std::string text = std::to_string(count++) + " ";
        text.resize(bytes_each, '.');
        BOOST_CHECK(!from.link->send_to(text));
    }
    return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(datagram_sending)

// rule 447
OURO_ASYNC_TEST(what_one_turn_sends_leaves_at_its_end_in_order_and_in_copies) {
    auto [one, other] = co_await unix_endpoints();
    std::string text = "first";
    BOOST_CHECK(!one.link->send_to(text));
    text = "xxxxx";
    BOOST_CHECK(!one.link->send_to("second, longer"));
    BOOST_CHECK(!one.link->send_to("3"));
    BOOST_TEST(one.link->get_write_buffer_size() == 5U + 14 + 1 + 3 * 8);
    co_await received(other.seen, 3);
    BOOST_TEST(other.seen->texts() == "first second, longer 3");
    BOOST_TEST(one.link->get_write_buffer_size() == 0U);
}

// rule 448
OURO_ASYNC_TEST(an_empty_datagram_is_sent_as_one_and_arrives_as_one) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->send_to(bytes()));
    co_await received(server.seen, 1);
    BOOST_TEST(server.seen->datagrams.at(0).text.empty());
    BOOST_CHECK(!client.link->send_to("after it"));
    co_await received(server.seen, 2);
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->send_to(bytes()));
    BOOST_CHECK(!one.link->send_to("after it"));
    co_await received(other.seen, 2);
    BOOST_TEST(other.seen->datagrams.at(0).text.empty());
    BOOST_TEST(other.seen->datagrams.at(1).text == "after it");
}

// rules 450, 451
OURO_ASYNC_TEST(a_full_endpoint_pauses_its_protocol_and_resumes_it) {
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK((one.link->get_write_buffer_limits() ==
                 std::pair<std::size_t, std::size_t>(16 * 1024, 64 * 1024)));
    BOOST_CHECK(!one.link->set_write_buffer_limits(4000));
    BOOST_CHECK(one.link->set_write_buffer_limits(1, 2) == errc::value_error);
    other.link->pause_reading();
    const int sent = fill(one);
    BOOST_TEST(one.seen->pauses == 1);
    BOOST_TEST(one.link->get_write_buffer_size() > 4000U);
    BOOST_TEST(one.link->get_write_buffer_size() % 1008 == 0U);
    co_await settle();
    BOOST_TEST(one.seen->resumes == 0);
    other.link->resume_reading();
    co_await received(other.seen, static_cast<std::size_t>(sent));
    BOOST_TEST(one.seen->resumes == 1);
    BOOST_TEST(one.link->get_write_buffer_size() == 0U);
    for (int i = 0; i < sent; ++i) {  // rules 447, 456: in order
        BOOST_TEST(other.seen->datagrams[static_cast<std::size_t>(i)].text.starts_with(
            std::to_string(i) + " "));
    }
}

// rule 456
OURO_ASYNC_TEST(a_datagram_that_has_to_wait_keeps_its_place) {
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->set_write_buffer_limits(4000));
    other.link->pause_reading();
    const int sent = fill(one);
    co_await settle();
    BOOST_CHECK(!one.link->send_to("the last"));
    other.link->resume_reading();
    co_await received(other.seen, static_cast<std::size_t>(sent) + 1);
    BOOST_TEST(last_of(other.seen->datagrams).text == "the last");
    BOOST_TEST(one.link->statistics().sent == static_cast<std::uint64_t>(sent) + 1);
}

// rule 456
OURO_ASYNC_TEST(a_long_queue_keeps_its_order_while_it_is_sent) {
    constexpr std::size_t count = 1000;
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->set_write_buffer_limits(8 << 20));
    other.link->pause_reading();
    for (std::size_t i = 0; i < count; ++i) BOOST_CHECK(!one.link->send_to(pattern(1000, i)));
    co_await settle();
    BOOST_TEST(one.link->get_write_buffer_size() > 256U * 1024);
    other.link->resume_reading();
    co_await received(other.seen, count);
    for (std::size_t i = 0; i < count; ++i) {
        BOOST_TEST((other.seen->datagrams[i].text == pattern(1000, i)));
    }
}

// rule 462
OURO_ASYNC_TEST(close_waits_until_a_full_socket_has_taken_everything) {
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->set_write_buffer_limits(4000));
    other.link->pause_reading();
    const int sent = fill(one);
    one.link->close();
    co_await settle();
    BOOST_TEST(one.seen->losses == 0);
    other.link->resume_reading();
    co_await eventually([seen = one.seen] { return seen->losses == 1; });
    co_await received(other.seen, static_cast<std::size_t>(sent));
}

// rule 463
OURO_ASYNC_TEST(abort_takes_back_what_waits_for_room) {
    auto [one, other] = co_await unix_endpoints();
    BOOST_CHECK(!one.link->set_write_buffer_limits(4000));
    other.link->pause_reading();
    fill(one);
    co_await settle();
    one.link->abort();
    co_await eventually([seen = one.seen] { return seen->losses == 1; });
    BOOST_TEST(!one.seen->why);
}

// rules 455, 459
// fault 44
OURO_ASYNC_TEST(a_datagram_that_is_too_long_fails_alone) {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    BOOST_CHECK(!client.link->set_write_buffer_limits(1 << 20));  // all of it in one queue
    BOOST_CHECK(!client.link->send_to("before"));
    BOOST_CHECK(!client.link->send_to(std::string(too_long_bytes, 'x')));
    BOOST_CHECK(!client.link->send_to("after"));
    BOOST_TEST(client.seen->errors.empty());  // never from inside the call
    co_await received(server.seen, 2);
    co_await eventually([seen = client.seen] { return seen->errors.size() == 1; });
    BOOST_TEST(server.seen->texts() == "before after");
    BOOST_CHECK(client.seen->errors.at(0) == std::errc::message_size);
    BOOST_TEST(!client.link->is_closing());
    BOOST_TEST(client.link->statistics().errors == 1U);
}

// rules 452, 453
// fault 44
OURO_ASYNC_TEST(a_refused_datagram_is_an_error_of_a_connected_endpoint_which_goes_on) {
    address where;
    {
        const endpoint gone = co_await open_bound();
        where = gone.name();
        gone.link->abort();
        co_await eventually([seen = gone.seen] { return seen->losses == 1; });
    }
    const endpoint client = co_await open_connected(where);
    BOOST_CHECK(!client.link->send_to("to nobody"));
    co_await eventually([seen = client.seen] { return !seen->errors.empty(); });
    BOOST_CHECK(client.seen->errors.at(0) == std::errc::connection_refused);
    const endpoint server = co_await open_endpoint({.local = where});
    BOOST_CHECK(!client.link->send_to("again"));
    co_await received(server.seen, 1);
    BOOST_CHECK(!server.link->send_to("back", client.name()));
    co_await received(client.seen, 1);
    BOOST_TEST(client.seen->losses == 0);
}

// rule 454
OURO_ASYNC_TEST(an_unconnected_endpoint_that_sent_to_a_dead_port_keeps_receiving) {
    address where;
    {
        const endpoint gone = co_await open_bound();
        where = gone.name();
    }
    co_await settle();
    const endpoint own = co_await open_bound();
    BOOST_CHECK(!own.link->send_to("to nobody", where));
    co_await settle();
    BOOST_CHECK(!own.link->send_to("to myself", own.name()));
    co_await received(own.seen, 1);
    BOOST_TEST(own.seen->texts() == "to myself");
}

OURO_ASYNC_TEST(equal_datagrams_to_one_address_leave_together_and_arrive_one_by_one) {
    constexpr std::size_t count = 100, size = 50;
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    for (std::size_t i = 0; i < count; ++i) {
        BOOST_CHECK(!client.link->send_to(pattern(i + 1 < count ? size : size / 2, i)));
    }
    co_await received(server.seen, count);
    for (std::size_t i = 0; i < count; ++i) {
        const auto& each = server.seen->datagrams[i];
        BOOST_TEST((each.text == pattern(i + 1 < count ? size : size / 2, i)));
        BOOST_CHECK(each.from == client.name());
    }
    const datagram_statistics out = client.link->statistics(), in = server.link->statistics();
    BOOST_TEST(out.sent == count);
    BOOST_TEST(out.sent_bytes == count * size - size / 2);
    BOOST_TEST(in.received == count);
    BOOST_TEST(in.received_bytes == out.sent_bytes);
    // 64 at the most in one message; where the kernel cannot cut, each has its own.
    BOOST_CHECK(out.send_calls == 2 || out.send_calls == count);
}

OURO_KERNEL_TEST(the_kernel_cuts_and_joins_equal_datagrams, "whether it does is its own") {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    for (int i = 0; i < 128; ++i) BOOST_CHECK(!client.link->send_to("equal"));
    co_await received(server.seen, 128);
    BOOST_TEST(client.link->statistics().send_calls == 2U);
    BOOST_TEST(server.link->statistics().receive_calls == 2U);
}

OURO_ASYNC_TEST(datagrams_leave_one_by_one_where_that_is_asked_for) {
    const endpoint server = co_await open_endpoint({.local = any_port(), .segmentation = false});
    const endpoint client = co_await open_endpoint(
        {.local = any_port(), .remote = server.name(), .segmentation = false});
    for (int i = 0; i < 20; ++i) BOOST_CHECK(!client.link->send_to("equal"));
    co_await received(server.seen, 20);
    BOOST_TEST(client.link->statistics().send_calls == 20U);
    BOOST_TEST(server.link->statistics().receive_calls == 20U);
}

OURO_ASYNC_TEST(datagrams_of_mixed_sizes_and_addresses_keep_their_bounds) {
    const endpoint one = co_await open_bound(), other = co_await open_bound();
    const endpoint from = co_await open_bound();
    std::vector<std::string> to_one, to_other;
    for (std::size_t i = 0; i < 60; ++i) {
        const std::size_t size = (i * 7) % 13 == 0 ? 0 : 1 + (i / 5) % 3 * 400;
        const bool first = i % 11 < 7;
        (first ? to_one : to_other).push_back(pattern(size, i));
        BOOST_CHECK(!from.link->send_to(pattern(size, i), (first ? one : other).name()));
    }
    co_await received(one.seen, to_one.size());
    co_await received(other.seen, to_other.size());
    for (std::size_t i = 0; i < to_one.size(); ++i) {
        BOOST_TEST((one.seen->datagrams[i].text == to_one[i]));
    }
    for (std::size_t i = 0; i < to_other.size(); ++i) {
        BOOST_TEST((other.seen->datagrams[i].text == to_other[i]));
    }
}

namespace {

task<> send_equal_ones() {
    const endpoint server = co_await open_bound();
    const endpoint client = co_await open_connected(server.name());
    for (int i = 0; i < 8; ++i) BOOST_CHECK(!client.link->send_to(std::to_string(i)));
    co_await received(server.seen, 8);
    BOOST_TEST(server.seen->texts() == "0 1 2 3 4 5 6 7");
    BOOST_TEST(client.seen->errors.empty());
}

task<> only_open() {
    const endpoint own = co_await open_bound();
    co_await settle();
}

task<> lose_the_endpoint() {
    const endpoint own = co_await open_bound();
    co_await eventually([seen = own.seen] { return seen->losses == 1; });
    BOOST_CHECK(own.seen->why == std::errc::bad_file_descriptor);
}

task<> hear_of_a_shortage() {
    const endpoint own = co_await open_bound();
    co_await eventually([seen = own.seen] { return seen->errors.size() == 1; });
    BOOST_CHECK(own.seen->errors.at(0) == std::errc::no_buffer_space);
    BOOST_CHECK(!own.link->send_to("to myself", own.name()));
    co_await received(own.seen, 1);
}

/// `body` on the kernel, with each of `failures` met once by the first call of that kind, which is
/// the same one in `probed`.
void run_failing(testing::door_call call, std::initializer_list<int> failures, task<> (*probed)(),
                 task<> (*body)()) {
    testing::injection probe;
    run_with(probe.options(options_for(engine::uring)), probed);
    for (const int failure : failures) {
        testing::injection faults(failing_call(probe, call, failure, failing::once));
        run_with(faults.options(options_for(engine::uring)), body);
        BOOST_TEST(faults.struck() == 1U);
    }
}

}  // namespace

BOOST_AUTO_TEST_CASE(where_the_kernel_refuses_to_cut_datagrams_go_one_by_one) {
    run_failing(testing::door_call::try_send_messages, {EINVAL, EIO, EMSGSIZE, EOPNOTSUPP},
                &send_equal_ones, &send_equal_ones);
}

BOOST_AUTO_TEST_CASE(a_socket_that_is_full_for_a_moment_loses_nothing) {
    run_failing(testing::door_call::try_send_messages, {EAGAIN}, &send_equal_ones,
                &send_equal_ones);
}

BOOST_AUTO_TEST_CASE(without_buffers_of_the_loop_datagrams_come_one_by_one) {
    run_failing(testing::door_call::recv_datagrams, {EOPNOTSUPP, ENOMEM}, &send_equal_ones,
                &send_equal_ones);
}

BOOST_AUTO_TEST_CASE(a_socket_that_can_never_receive_again_ends_its_endpoint) {
    run_failing(testing::door_call::recv_datagrams, {EBADF}, &only_open, &lose_the_endpoint);
}

BOOST_AUTO_TEST_CASE(after_a_shortage_datagrams_are_received_again) {
    run_failing(testing::door_call::recv_datagrams, {ENOBUFS}, &only_open, &hear_of_a_shortage);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
