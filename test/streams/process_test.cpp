#include <ouro/streams/process.hpp>

#include <csignal>
#include <memory>
#include <string>

#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/spawn.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

constexpr subprocess_options in_and_out() {
    return {.in = stdio::pipe, .out = stdio::pipe, .err = stdio::devnull};
}

/// What tasks of a test share.
using shared_process = std::shared_ptr<process>;
task<shared_process> shell(std::string script, subprocess_options options = in_and_out(),
                           std::size_t limit_bytes = default_stream_limit_bytes) {
    co_return std::make_shared<process>(
        co_await create_subprocess_shell(std::move(script), std::move(options), limit_bytes));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(processes)

OURO_ASYNC_TEST(lines_go_to_a_child_and_come_back) {
    auto child = co_await create_subprocess_exec({"cat"}, in_and_out());
    child.in->write("one\n");
    co_await child.in->drain();
    BOOST_TEST(co_await child.out->readline() == "one\n");
    child.in->write("two\n");
    child.in->close();
    BOOST_TEST(co_await child.out->readline() == "two\n");
    BOOST_TEST(co_await child.out->readline() == "");
    BOOST_TEST(co_await child.wait() == 0);
}

// rule 527
OURO_ASYNC_TEST(the_standard_descriptors_are_inherited_unless_pipes_are_asked_for) {
    auto child = co_await create_subprocess_exec({"true"});
    BOOST_TEST(!child.in.has_value());
    BOOST_TEST(!child.out.has_value());
    BOOST_TEST(!child.err.has_value());
    BOOST_TEST(co_await child.wait() == 0);
}

// rules 507, 529
OURO_ASYNC_TEST(any_number_of_tasks_wait_and_all_get_the_return_code) {
    const auto child = co_await shell("read x; exit 7");
    BOOST_TEST(!child->return_code().has_value());
    auto first = spawn(child->wait()), second = spawn(child->wait());
    co_await settle();
    BOOST_TEST(!first.done());
    child->in->write("go\n");
    BOOST_TEST(co_await first == 7);
    BOOST_TEST(co_await second == 7);
    BOOST_TEST(co_await child->wait() == 7);
    BOOST_TEST((child->return_code() == 7));
}

// rule 530
OURO_ASYNC_TEST(a_wait_ends_when_the_pipes_are_gone_as_well) {
    const auto child = co_await shell("exec 3<&0; cat <&3 & exit 2");
    auto waiting = spawn(child->wait());
    co_await eventually([child] { return child->return_code().has_value(); });
    co_await settle(20);
    BOOST_TEST(!waiting.done());
    child->in->close();  // the grandchild ends now
    BOOST_TEST(co_await waiting == 2);
}

// rule 531
OURO_ASYNC_TEST(a_cancelled_wait_disturbs_neither_the_child_nor_other_waits) {
    const auto child = co_await shell("read x; exit 3");
    auto given_up = spawn(child->wait()), other = spawn(child->wait());
    co_await settle();
    given_up.cancel();
    BOOST_TEST((co_await as_result(given_up.join())).error().code() ==
               make_error_code(errc::cancelled));
    BOOST_TEST(!other.done());
    child->in->write("go\n");
    BOOST_TEST(co_await other == 3);
}

// rules 532, 533
OURO_ASYNC_TEST(communicate_feeds_reads_both_outputs_and_waits) {
    auto child = co_await create_subprocess_shell(
        "cat; echo complaint >&2; exit 9",
        {.in = stdio::pipe, .out = stdio::pipe, .err = stdio::pipe});
    const auto all = co_await child.communicate("some input");
    BOOST_TEST((all.out == "some input"));
    BOOST_TEST((all.err == "complaint\n"));
    BOOST_TEST((child.return_code() == 9));
    auto silent = co_await create_subprocess_shell("echo unseen", {.out = stdio::devnull});
    const auto none = co_await silent.communicate();
    BOOST_TEST(!none.out.has_value());
    BOOST_TEST(!none.err.has_value());
    BOOST_TEST((silent.return_code() == 0));
}

// rule 534
OURO_ASYNC_TEST(communicate_without_input_closes_the_input) {
    auto child = co_await create_subprocess_exec({"cat"}, in_and_out());
    const auto all = co_await child.communicate();
    BOOST_TEST((all.out == ""));
    BOOST_TEST((child.return_code() == 0));
}

// rule 535
// fault 81
OURO_ASYNC_TEST(communicate_does_not_mind_a_child_that_does_not_read) {
    const auto child = co_await shell("echo done; exit 0");
    const auto all = co_await child->communicate(pattern(1'000'000));
    BOOST_TEST((all.out == "done\n"));
    BOOST_TEST((child->return_code() == 0));
}

// rule 536
OURO_ASYNC_TEST(communicate_with_much_in_both_directions_does_not_get_stuck) {
    auto child = co_await create_subprocess_exec({"cat"}, in_and_out());
    const std::string much = pattern(1'000'000);
    const auto all = co_await child.communicate(much);
    BOOST_TEST((all.out == much));
}

// fault 81
OURO_ASYNC_TEST(a_child_that_writes_without_end_is_stopped_at_the_limit) {
    const auto child = co_await shell("exec yes");
    auto all = co_await as_result(child->communicate({}, {.most_bytes = 100'000}));
    BOOST_REQUIRE(!all.has_value());
    BOOST_TEST((all.error() == errc::limit_overrun));
    BOOST_TEST(!child->return_code().has_value());
    BOOST_TEST(!child->kill());
    (void)co_await child->out->read();  // what is left may be more than the reader takes by itself
    BOOST_TEST(co_await child->wait() == -SIGKILL);
}

// rule 537
OURO_ASYNC_TEST(drain_tells_that_the_child_has_gone) {
    const auto child = co_await shell("exec 0<&-; echo closed; exec sleep 1000");
    BOOST_TEST(co_await child->out->readline() == "closed\n");
    error why;
    while (!why) {
        child->in->write(std::string(1000, 'x'));
        auto drained = co_await as_result(child->in->drain());
        if (!drained) why = drained.error();
    }
    const bool told = why == std::errc::broken_pipe || why == std::errc::connection_reset;
    BOOST_TEST(told, why.describe());
}

// rules 538, 539
OURO_ASYNC_TEST(output_waits_in_the_reader_and_in_the_pipe_until_it_is_read) {
    const auto child = co_await shell("head -c 50000 /dev/zero; exit 0", in_and_out(), 1000);
    co_await eventually([child] { return child->return_code().has_value(); });
    co_await settle(20);
    BOOST_TEST(child->return_code().value() == 0);
    const bytes all = co_await child->out->read();
    BOOST_TEST(all.size() == 50'000u);
    BOOST_TEST(co_await child->wait() == 0);
}

// rule 540
OURO_ASYNC_TEST(a_process_closes_itself_when_it_has_ended_and_its_outputs_have) {
    // A grandchild keeps the input open, and nothing else.
    const auto child = co_await shell("exec 3<&0; cat <&3 >/dev/null & exit 0");
    BOOST_TEST(co_await child->wait() == 0);
    BOOST_TEST(child->transport().is_closing());
}

// rule 541
OURO_ASYNC_TEST(the_input_tells_how_it_was_lost_to_whoever_asks) {
    const auto asked = co_await shell("read x; exec 0<&-; exec sleep 1000");
    asked->in->write(pattern(1'000'000) + "\n");
    const auto told = co_await as_result(asked->in->wait_closed());
    BOOST_REQUIRE(!told.has_value());
    BOOST_TEST((told.error() == std::errc::broken_pipe));
    const auto not_asked = co_await shell("read x; exec 0<&-; exec sleep 1000");
    not_asked->in->write(pattern(1'000'000) + "\n");
    co_await eventually([not_asked] { return not_asked->in->is_closing(); });
}

OURO_ASYNC_TEST(a_process_that_is_let_go_of_is_killed_and_waited_for) {
    {
        const auto child = co_await shell("exec sleep 1000");
    }
    {
        auto child = co_await create_subprocess_exec({"sleep", "1000"});
        BOOST_TEST(child.pid() > 0);
        auto other = co_await create_subprocess_exec({"true"});
        child = std::move(other);
        BOOST_TEST(co_await child.wait() == 0);
    }
    co_await settle();
}

OURO_ASYNC_TEST(signals_reach_a_process) {
    auto child = co_await create_subprocess_exec({"sleep", "1000"});
    BOOST_TEST(!child.send_signal(SIGHUP));
    BOOST_TEST(co_await child.wait() == -SIGHUP);
    BOOST_TEST((child.terminate() == std::errc::no_such_process));
}

// fault 81
OURO_ASYNC_TEST(a_process_that_cannot_run_is_an_error_and_leaves_nothing) {
    auto made = co_await as_result(create_subprocess_exec({"/nowhere/tool"}, in_and_out()));
    BOOST_REQUIRE(!made.has_value());
    BOOST_TEST((made.error() == std::errc::no_such_file_or_directory));
}

// rule 594
OURO_ASYNC_TEST(a_limit_of_zero_is_refused_before_anything_runs) {
    bool refused = false;
    try {
        (void)co_await as_result(shell("true", {}, 0));
    } catch (const std::system_error& thrown) {
        refused = thrown.code() == errc::value_error;
    }
    BOOST_TEST(refused);
}

OURO_ASYNC_TEST(many_processes_run_side_by_side) {
    auto one = [](int number) -> task<int> {
        auto child = co_await create_subprocess_shell("read code; exit $code", in_and_out());
        co_await child.communicate(std::to_string(number) + "\n");
        co_return child.return_code().value();
    };
    std::vector<task<int>> all;
    for (int i = 0; i < 20; ++i) all.push_back(one(i));
    const std::vector<int> codes = co_await gather(std::move(all));
    for (int i = 0; i < 20; ++i) BOOST_TEST(codes[static_cast<std::size_t>(i)] == i);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
