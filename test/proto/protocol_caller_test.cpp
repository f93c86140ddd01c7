// Calls of protocols: which kind gets what, and what their exceptions come to.
#include <ouro/proto/protocol_caller.hpp>

#include <stdexcept>

#include <ouro/proto/memory_pipe.hpp>

#include "recorder.hpp"

namespace ouro::test {
namespace {

constexpr auto always = [] { return true; };

std::shared_ptr<transport> some_transport() { return memory_pipe(loop::current()).first; }

}  // namespace

BOOST_AUTO_TEST_SUITE(protocol_callers)

OURO_ASYNC_TEST(a_buffered_receiver_gets_what_fits_and_the_others_all) {
    for (const kind of : {kind::streaming, kind::buffered, kind::leasing}) {
        const auto seen = make_recorder(of);
        seen->memory.resize(3);
        protocol_caller calls(loop::current(), "test transport");
        calls.attach(seen->as_protocol());
        calls.made(some_transport());
        const std::size_t taken = co_await calls.give(as_bytes("hello"), always);
        BOOST_TEST(taken == (of == kind::buffered ? 3U : 5U));
        BOOST_TEST(seen->data == std::string("hello").substr(0, taken));
        BOOST_TEST(!co_await calls.eof());
        calls.pause();
        calls.resume();
        calls.lost({});
        BOOST_TEST(!calls.receiver());
        BOOST_TEST(seen->story() == "made data eof pause resume lost");
    }
}

// rules 300, 304, 309, 310, 314-317
OURO_ASYNC_TEST(what_a_protocol_throws_is_reported_and_ends_the_connection_where_it_must) {
    const auto boom = [] { throw std::runtime_error("boom"); };
    const auto seen = make_recorder(kind::buffered);
    seen->on_made = seen->on_data = seen->on_eof = seen->on_lost = boom;
    seen->on_pause = seen->on_resume = boom;
    protocol_caller calls(loop::current(), "test transport");
    calls.attach(seen->as_protocol());
    calls.made(some_transport());
    BOOST_CHECK(calls.give(as_bytes("x"), always).error() == errc::callback_threw);
    BOOST_CHECK(calls.eof().error() == errc::callback_threw);
    calls.pause();
    calls.resume();
    seen->memory.clear();
    BOOST_CHECK(calls.give(as_bytes("x"), always).error() == errc::empty_buffer);
    seen->on_get_buffer = boom;
    BOOST_CHECK(calls.give(as_bytes("x"), always).error() == errc::callback_threw);
    calls.lost({});
    const auto reports = take_reports();
    BOOST_TEST(reports.size() == 8U);
    for (const auto& each : reports) {
        BOOST_TEST(each.subject == "test transport");
        BOOST_TEST(each.message.starts_with("a protocol failed in "));
    }
    seen->link.reset();
    co_return;
}

OURO_ASYNC_TEST(a_buffered_receiver_that_pauses_in_get_buffer_gets_nothing) {
    const auto seen = make_recorder(kind::buffered), next = make_recorder(kind::streaming);
    protocol_caller calls(loop::current(), "test transport");
    calls.attach(seen->as_protocol());
    BOOST_TEST(co_await calls.give(as_bytes("x"), [] { return false; }) == 0U);
    seen->on_get_buffer = [&] { calls.attach(next->as_protocol()); };
    BOOST_TEST(co_await calls.give(as_bytes("x"), always) == 0U);
    BOOST_CHECK_THROW(calls.attach(std::make_shared<base_protocol>()), std::system_error);
    BOOST_CHECK(calls.receiver() == next->as_protocol());
    BOOST_CHECK_THROW(calls.attach(nullptr), std::system_error);
    co_return;
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
