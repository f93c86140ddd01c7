#include <ouro/proto/subprocess.hpp>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <ouro/net/pipe.hpp>
#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/spawn.hpp>

#include "async_test.hpp"
#include "child_notes.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(subprocesses)

// rules 497, 499-502, 505, 507
OURO_ASYNC_TEST(a_child_is_made_writes_loses_its_pipes_exits_and_is_lost_in_an_order_that_holds) {
    auto seen = std::make_shared<child_notes>();
    seen->on_made = [seen = seen.get()] { BOOST_TEST(!seen->link->return_code().has_value()); };
    const auto child = co_await shell("echo out; echo err >&2; exit 3", {}, seen);
    BOOST_TEST(child.link->pid() > 0);
    co_await child.over();
    BOOST_TEST(seen->events.at(0) == "made");
    BOOST_TEST(last_of(seen->events) == "lost");
    BOOST_TEST(child.text(1) == "out\n");
    BOOST_TEST(child.text(2) == "err\n");
    for (const char* each : {"lost 0", "lost 1", "lost 2", "exited"}) BOOST_TEST(seen->has(each));
    BOOST_TEST(seen->place("data 1") < seen->place("lost 1"));
    BOOST_TEST(seen->place("data 2") < seen->place("lost 2"));
    BOOST_TEST((seen->code_at_exit == 3));
    BOOST_TEST((child.link->return_code() == 3));
}

// rules 497, 498
OURO_ASYNC_TEST(a_child_that_ends_at_once_is_made_first_all_the_same) {
    for (int i = 0; i < 10; ++i) {
        const auto child = co_await run_program({"true"});
        co_await child.over();
        BOOST_TEST(child.seen->events.at(0) == "made");
        BOOST_TEST((child.link->return_code() == 0));
    }
}

OURO_ASYNC_TEST(bytes_go_in_and_come_out) {
    const auto child = co_await run_program({"cat"});
    const auto in = child.link->pipe_transport(0);
    in->write("one ");
    in->write("two");
    co_await eventually([seen = child.seen] { return seen->text[1] == "one two"; });
    in->close();
    co_await child.over();
    BOOST_TEST((child.link->return_code() == 0));
    BOOST_TEST(!child.seen->pipe_ends[1]);
}

// rule 503
OURO_ASYNC_TEST(a_grandchild_that_keeps_a_pipe_delays_its_loss_but_not_the_exit) {
    const auto child = co_await shell("exec 3<&0; cat <&3 & exit 4");
    co_await child.until("exited");
    BOOST_TEST((child.link->return_code() == 4));
    co_await settle(20);
    BOOST_TEST(!child.seen->has("lost 1"));
    BOOST_TEST(!child.seen->has("lost"));
    child.link->pipe_transport(0)->write("still read");
    co_await eventually([seen = child.seen] { return seen->text[1] == "still read"; });
    child.link->pipe_transport(0)->close();
    co_await child.over();
}

// rule 504
OURO_ASYNC_TEST(an_input_that_the_child_closes_is_lost_although_nothing_was_written) {
    const auto child = co_await shell("exec 0<&-; exec sleep 1000");
    co_await child.until("lost 0");
    BOOST_TEST(!child.link->return_code().has_value());
    BOOST_TEST(!child.seen->pipe_ends[0]);
    child.link->kill();
    co_await child.over();
}

// rules 505, 508
OURO_ASYNC_TEST(signals_end_a_child_and_are_refused_when_it_has_ended) {
    const auto first = co_await run_program({"sleep", "1000"});
    BOOST_TEST(!first.link->terminate());
    co_await first.over();
    BOOST_TEST((first.link->return_code() == -SIGTERM));
    for (const std::error_code refused :
         {first.link->terminate(), first.link->kill(), first.link->send_signal(0)}) {
        BOOST_TEST((refused == std::errc::no_such_process));
    }
    const auto second = co_await run_program({"sleep", "1000"});
    BOOST_TEST((second.link->send_signal(1000) == make_error_code(errc::value_error)));
    BOOST_TEST(!second.link->kill());
    co_await second.over();
    BOOST_TEST((second.link->return_code() == -SIGKILL));
}

// rules 509, 510, 743
OURO_ASYNC_TEST(signals_that_meet_the_end_of_a_child_do_not_disturb_its_status) {
    for (int i = 0; i < 20; ++i) {
        const auto child = co_await run_program(
            {"true"}, {.in = stdio::devnull, .out = stdio::devnull, .err = stdio::devnull});
        while (!child.seen->has("lost")) {
            const auto sent = child.link->send_signal(0);
            const bool known = !sent || sent == std::errc::no_such_process;
            BOOST_TEST(known);
            co_await yield();
        }
        BOOST_TEST((child.link->return_code() == 0));
    }
}

// rules 511, 513, 514
OURO_ASYNC_TEST(close_kills_a_child_that_runs_and_everything_is_told_all_the_same) {
    const auto child = co_await run_program({"cat"});
    BOOST_TEST(!child.link->is_closing());
    child.link->close();
    BOOST_TEST(child.link->is_closing());
    child.link->close();
    co_await child.over();
    BOOST_TEST((child.link->return_code() == -SIGKILL));
    for (const char* each : {"lost 0", "lost 1", "lost 2", "exited"}) {
        BOOST_TEST(child.seen->has(each));
    }
    child.link->close();
}

// rules 513, 514
OURO_ASYNC_TEST(a_child_that_ended_by_itself_is_not_closing) {
    const auto child = co_await run_program({"true"});
    co_await child.over();
    BOOST_TEST(!child.link->is_closing());
    child.link->close();
    BOOST_TEST(child.link->is_closing());
    BOOST_TEST((child.link->return_code() == 0));
}

// rules 515, 527
OURO_ASYNC_TEST(there_is_a_transport_for_each_pipe_and_for_nothing_else) {
    const auto all = co_await run_program({"true"});
    for (const int fd : {0, 1, 2}) BOOST_TEST((all.link->pipe_transport(fd) != nullptr));
    for (const int fd : {-1, 3}) BOOST_TEST((all.link->pipe_transport(fd) == nullptr));
    co_await all.over();
    const auto none = co_await run_program(
        {"true"}, {.in = stdio::devnull, .out = stdio::inherit, .err = stdio::to_stdout});
    for (const int fd : {0, 1, 2}) BOOST_TEST((none.link->pipe_transport(fd) == nullptr));
    co_await none.over();
    BOOST_TEST((none.seen->events == std::vector<std::string>{"made", "exited", "lost"}));
}

// rule 516
OURO_ASYNC_TEST(errors_that_lead_to_the_output_come_in_order_and_on_descriptor_1) {
    const auto child =
        co_await shell("echo one; echo two >&2; echo three", {.err = stdio::to_stdout});
    co_await child.over();
    BOOST_TEST(child.text(1) == "one\ntwo\nthree\n");
    BOOST_TEST(child.text(2).empty());
    BOOST_TEST(!child.seen->has("lost 2"));
}

// rules 517, 526
OURO_ASYNC_TEST(what_nobody_can_mean_is_refused) {
    BOOST_TEST(
        ((co_await failure_of({"true"}, {.in = stdio::to_stdout})).why == errc::value_error));
    BOOST_TEST(
        ((co_await failure_of({"true"}, {.out = stdio::to_stdout})).why == errc::value_error));
    BOOST_TEST(((co_await failure_of({})).why == errc::value_error));
    BOOST_TEST(((co_await failure_of({""})).why == errc::value_error));
    BOOST_TEST(((co_await failure_of({"echo", std::string("a\0b", 3)})).why == errc::value_error));
    BOOST_TEST(((co_await failure_of({"true"}, {.env = {{"NO_VALUE"}}})).why == errc::value_error));
    BOOST_TEST(((co_await failure_of({"true"}, {.pass_fds = {2}})).why == errc::value_error));
    BOOST_TEST(
        ((co_await failure_of({"true"}, {.pass_fds = {{7, 5}, {8, 5}}})).why == errc::value_error));
}

// rule 518
OURO_ASYNC_TEST(a_pipe_that_is_closed_here_breaks_in_the_child) {
    const auto child = co_await run_program({"yes"});
    co_await child.until("data 1");
    child.link->pipe_transport(1)->close();
    co_await child.over();
    BOOST_TEST((child.link->return_code() == -SIGPIPE));
    BOOST_TEST(!child.seen->pipe_ends[1]);
}

// rule 519
OURO_ASYNC_TEST(a_child_that_reads_slowly_pauses_the_protocol) {
    const auto child = co_await shell("read line; exec cat >/dev/null");
    const auto in = child.link->pipe_transport(0);
    const std::string much = pattern(1'000'000) + "\n";
    in->write(much);
    BOOST_TEST(child.seen->has("pause"));
    co_await child.until("resume");
    in->close();
    co_await child.over();
    BOOST_TEST((child.link->return_code() == 0));
}

// rule 520
// fault 81
OURO_ASYNC_TEST(a_program_that_cannot_run_is_named_with_the_step_that_failed) {
    const auto missing = (co_await failure_of({"/nowhere/tool", "-x"})).why;
    BOOST_TEST((missing == std::errc::no_such_file_or_directory));
    BOOST_TEST(missing.doing() == "run /nowhere/tool (execute /nowhere/tool)");
    // Not with our PATH: a folder in it that may not be searched would be another failure.
    const auto unknown =
        (co_await failure_of({"no_such_program_anywhere"}, {.env = {{"PATH=/usr/bin:/bin"}}})).why;
    BOOST_TEST((unknown == std::errc::no_such_file_or_directory));
    BOOST_TEST(unknown.doing() == "run no_such_program_anywhere (execute)");
    const auto refused = (co_await failure_of({"/etc/passwd"})).why;
    BOOST_TEST((refused == std::errc::permission_denied));
    const auto nowhere = (co_await failure_of({"true"}, {.cwd = "/nowhere"})).why;
    BOOST_TEST((nowhere == std::errc::no_such_file_or_directory));
    BOOST_TEST(nowhere.doing() == "run true (change to /nowhere)");
    const auto closed = (co_await failure_of({"true"}, {.in = 2'000'000})).why;
    BOOST_TEST((closed == std::errc::bad_file_descriptor));
    BOOST_TEST(closed.doing() == "run true (pass descriptor 2000000)");
}

namespace {

task<> make_no_pipe() {
    const auto made = co_await as_result(
        subprocess_exec([] { return std::make_shared<subprocess_protocol>(); }, {"true"}));
    BOOST_REQUIRE(!made);
    BOOST_TEST((made.error() == std::errc::too_many_files_open));
    BOOST_TEST(made.error().doing() == "run true (make a pipe)");
}

}  // namespace

// rule 520
BOOST_AUTO_TEST_CASE(a_lack_of_descriptors_names_the_program_in_a_simulation) {
    for (const std::size_t most : {1U, 5U}) {
        auto settings = loopback(1);
        settings.descriptor_limit = most;
        testing::simulation world(settings);
        run_with(world.options(options_for(engine::sim)), &make_no_pipe);
    }
}

// rule 521
OURO_ASYNC_TEST(many_children_one_after_the_other_leave_nothing) {
    for (int i = 0; i < 30; ++i) {
        const auto child = co_await run_program({"true"});
        co_await child.over();
    }
    // The rig counts what is left.
}

// rule 522
OURO_ASYNC_TEST(a_cancelled_creator_ends_when_the_child_is_gone) {
    for (int turns = 0; turns < 4; ++turns) {
        auto seen = std::make_shared<child_notes>();
        auto creating = spawn(shell("exec sleep 1000", {}, seen));
        co_await settle(turns);
        creating.cancel();
        auto made = co_await as_result(std::move(creating).join());
        if (made) continue;  // it was made before
        BOOST_TEST((made.error() == errc::cancelled));
        if (!seen->events.empty()) BOOST_TEST(last_of(seen->events) == "lost");
    }
}

// rule 523
OURO_ASYNC_TEST(no_child_holds_the_pipes_of_another_one) {
    const auto first = co_await run_program({"cat"});
    const auto second = co_await run_program({"cat"});
    first.link->pipe_transport(0)->close();
    co_await first.over();
    BOOST_TEST(!second.seen->has("exited"));
    second.link->pipe_transport(0)->close();
    co_await second.over();
}

// rules 524, 525
OURO_ASYNC_TEST(a_child_gets_the_descriptors_environment_and_folder_it_is_given) {
    auto ends = co_await pipe(loop::current());
    const auto child = co_await shell("pwd; echo $COLOUR; echo over there >&7",
                                      {.env = {{"COLOUR=green", "PATH=/bin:/usr/bin"}},
                                       .cwd = "/usr",
                                       .pass_fds = {{ends.writer.fd(), 7}}});
    ends.writer.close();
    std::string told(64, '\0');
    told.resize(co_await ends.reader.read_into(std::as_writable_bytes(std::span(told))));
    BOOST_TEST(told == "over there\n");
    co_await child.over();
    BOOST_TEST(child.text(1) == "/usr\ngreen\n");
}

OURO_ASYNC_TEST(two_children_are_connected_by_a_pipe_of_ours) {
    auto ends = co_await pipe(loop::current());
    const auto writer = co_await shell("echo through both", {.out = ends.writer.fd()});
    const auto reader = co_await run_program({"cat"}, {.in = ends.reader.fd()});
    ends.writer.close();
    ends.reader.close();
    co_await gather(writer.over(), reader.over());
    BOOST_TEST(reader.text(1) == "through both\n");
}

OURO_ASYNC_TEST(a_child_may_be_closed_from_its_own_callbacks) {
    auto seen = std::make_shared<child_notes>();
    seen->on_made = [seen = seen.get()] { seen->link->close(); };
    const auto child = co_await shell("exec cat", {}, seen);
    co_await child.over();
    BOOST_TEST((child.link->return_code() == -SIGKILL));
    auto other = std::make_shared<child_notes>();
    other->on_exit = [other = other.get()] { other->link->close(); };
    const auto ended = co_await shell("exit 5", {}, other);
    co_await ended.over();
    BOOST_TEST((ended.link->return_code() == 5));
}

OURO_ASYNC_TEST(what_a_callback_throws_is_reported_and_the_child_goes_on) {
    auto seen = std::make_shared<child_notes>();
    seen->on_made = [] { throw std::runtime_error("in connection_made"); };
    seen->on_exit = [] { throw std::runtime_error("in process_exited"); };
    const auto child = co_await shell("exit 6", {}, seen);
    co_await child.over();
    BOOST_TEST((child.link->return_code() == 6));
    BOOST_TEST(take_reports().size() == 2u);
}

OURO_ASYNC_TEST(a_protocol_can_be_replaced) {
    const auto child = co_await run_program({"cat"});
    auto next = std::make_shared<child_notes>();
    next->events.push_back("made");
    next->link = child.link;
    child.link->set_protocol(next);
    BOOST_TEST((child.link->get_protocol() == next));
    child.link->pipe_transport(0)->write("to the new one");
    co_await eventually([next] { return next->text[1] == "to the new one"; });
    child.link->pipe_transport(0)->close();
    co_await until(next, "lost");
    next->link.reset();
    BOOST_TEST((child.seen->events == std::vector<std::string>{"made"}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
