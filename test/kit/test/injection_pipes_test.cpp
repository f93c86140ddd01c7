// Injection at the door: the calls for pipes.
#include <cerrno>

#include <ouro/proto/pipe.hpp>
#include <ouro/runtime/io.hpp>

#include "../../runtime/noted_op.hpp"
#include "injected.hpp"

namespace ouro::test {
namespace {

using testing::door_call;
using testing::injection;

int error_of(loop& home, door_call call, pipe_ends& ends) {
    const auto code = [](const auto& outcome) {
        return outcome ? 0 : outcome.error().code().value();
    };
    int fds[2];
    switch (call) {
    case door_call::make_pipe:
        return code(io::make_pipe(home, fds));
    case door_call::try_write:
        return code(io::try_write(home, ends.writer.fd(), as_bytes("x")));
    case door_call::duplicate:
        return code(io::duplicate(home, ends.writer.fd()));
    default:
        BOOST_FAIL("not synchronous");
        return 0;
    }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(injections_into_pipes)

// The pipe of the test is the first call.
BOOST_AUTO_TEST_CASE(operations_on_pipes_fail_once_with_each_error_that_is_legal_for_them) {
    for (const auto call : {door_call::read_ring, door_call::write}) {
        for (const int number : testing::legal_errors(call)) {
            static door_call tried;
            static int expected;
            tried = call;
            expected = number;
            run_injected({.plan = {{testing::fault_kind::op_fails, 2, number}}},
                         [](injection& faults) -> task<> {
                             loop& home = loop::current();
                             auto ends = co_await pipe(home);
                             noted_op request;
                             if (tried == door_call::write) {
                                 io::write(home, request, ends.writer.fd(), as_bytes("lost"));
                             } else {
                                 io::read_ring(home, request, ends.reader.fd());
                             }
                             BOOST_TEST(co_await request.end() == -expected);
                             BOOST_TEST(request.terminals == 1);
                             BOOST_TEST(to_string(faults.seen().at(1)) == to_string(tried));
                             BOOST_TEST(faults.struck() == 1U);
                         });
        }
    }
}

BOOST_AUTO_TEST_CASE(calls_for_pipes_fail_with_each_error_that_is_legal_for_them) {
    for (const auto call : {door_call::make_pipe, door_call::try_write, door_call::duplicate}) {
        for (const int number : testing::legal_errors(call)) {
            static door_call tried;
            static int expected;
            tried = call;
            expected = number;
            run_injected({.plan = {{testing::fault_kind::op_fails, 2, number}}},
                         [](injection& faults) -> task<> {
                             auto ends = co_await pipe(loop::current());
                             BOOST_TEST(error_of(loop::current(), tried, ends) == expected);
                             BOOST_TEST(to_string(faults.seen().at(1)) == to_string(tried));
                         });
        }
    }
}

BOOST_AUTO_TEST_CASE(short_and_late_calls_lose_no_byte_of_a_pipe) {
    for (const char* plan : {"op_short@2+=1", "op_short@2+=3", "op_waits@2+=2"}) {
        run_with_plan(plan, [](injection& faults) -> task<> {
            auto ends = co_await pipe(loop::current());
            const std::string text = pattern(500);
            std::string came;
            auto reading = spawn([](pipe_end from) -> task<std::string> {
                std::string all;
                std::vector<std::byte> room(100);
                while (const std::size_t got = co_await from.read_into(room)) {
                    all += as_text(bytes(room).first(got));
                }
                co_return all;
            }(std::move(ends.reader)));
            co_await ends.writer.write_all(as_bytes(text));
            ends.writer.close();
            came = co_await reading;
            BOOST_TEST(came == text);
            BOOST_TEST(faults.struck() > 0U);
        });
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
