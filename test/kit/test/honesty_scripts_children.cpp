// Honesty: how processes begin, what they have, and how their end is told.
#include <sys/wait.h>

#include <csignal>
#include <string>

#include <ouro/testing/simulation.hpp>

#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

constexpr const char* no_environment[] = {nullptr};

/// A program with its arguments, and what it has.
struct program {
    std::vector<const char*> paths;
    std::vector<const char*> arguments;
    std::vector<io::spawn_request::descriptor> descriptors{};
    const char* directory = nullptr;
    bool new_group = false;

    result<io::child> run(loop& home) {
        if (descriptors.empty()) {
            for (const int each : {0, 1, 2}) descriptors.push_back({io::null_device, each});
        }
        arguments.push_back(nullptr);
        return io::spawn(home, {.paths = paths,
                                .arguments = arguments.data(),
                                .environment = no_environment,
                                .directory = directory,
                                .descriptors = descriptors,
                                .new_group = new_group});
    }
};

program shell(const char* script, int in_and_out = io::null_device) {
    return {.paths = {"/bin/sh"},
            .arguments = {"sh", "-c", script},
            .descriptors = {{in_and_out, 0}, {in_and_out, 1}, {io::null_device, 2}}};
}

std::string end_of(loop& home, const io::child& whom) {
    const auto code = io::collect_child(home, whom);
    if (!code) return outcome_of(outcome_of(code));
    return *code < 0 ? "signal " + std::to_string(-*code) : "exit " + std::to_string(*code);
}

/// Waits for the end, collects it and lets go of the child.
task<std::string> ended(loop& home, io::child whom) {
    running wait;
    io::wait_child(home, wait, whom);
    const int came = co_await wait.end();
    std::string how = came < 0 ? outcome_of(came) : end_of(home, whom);
    io::close(home, whom.pidfd);
    co_return how;
}

/// A socket for a child's input and output: ours, and the child's, which is to be closed here.
connected channel(loop& home) {
    int fds[2];
    BOOST_TEST(outcome_of(io::socket_pair(home, AF_UNIX, SOCK_STREAM, fds)) == 0);
    return {fds[0], fds[1]};
}

/// Waits until a child that was told to stop has stopped. Until then a signal with a lower number
/// would overtake that one; on a busy machine that is any time.
task<> standing_still(const io::child& whom) {
    constexpr int most_turns = 10'000;
    for (int turn = 0; turn < most_turns; ++turn) {
        co_await quiet();
        if (testing::simulation::try_current()) co_return;  // has no such moment
        siginfo_t told{};
        const auto pid = static_cast<id_t>(whom.pid);
        if (::waitid(P_PID, pid, &told, WSTOPPED | WNOHANG | WNOWAIT) != 0 || told.si_pid) break;
    }
}

std::string failure_of(const result<io::child>& made) {
    return made ? "it runs" : made.error().message();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_children)

HONESTY(a_child_ends_as_its_program_says) {
    for (const char* script : {"exit 0", "exit 3", "true", "false", "no_such_command_anywhere",
                               "kill -TERM $$", "kill -KILL $$", "trap '' TERM; kill -TERM $$"}) {
        notes.say(script, co_await ended(home, co_await shell(script).run(home)));
    }
    notes.say("true", co_await ended(home, co_await program{{"/bin/true"}, {"true"}}.run(home)));
    notes.say("false", co_await ended(home, co_await program{{"/bin/false"}, {"false"}}.run(home)));
}

HONESTY(the_end_of_a_child_is_collected_when_it_has_come) {
    const io::child whom = co_await shell("exit 4").run(home);
    running wait;
    io::wait_child(home, wait, whom);
    notes.say("waited", co_await wait.end() > 0);
    notes.say("a signal meanwhile", io::signal_child(home, whom, SIGKILL, {}));
    notes.say("first", end_of(home, whom));
    notes.say("a signal then", io::signal_child(home, whom, SIGKILL, {}));
    wait.forget();
    io::wait_child(home, wait, whom);
    notes.say("a wait ends at once", co_await wait.end() > 0);
    io::close(home, whom.pidfd);
    notes.say("closed", end_of(home, whom));
}

HONESTY(a_wait_that_is_cancelled_loses_nothing) {
    const io::child whom = co_await shell("sleep 1000").run(home);
    running wait;
    io::wait_child(home, wait, whom);
    co_await quiet();
    notes.say("it runs", end_of(home, whom));
    io::cancel(home, wait);
    notes.say("cancelled", co_await wait.end());
    notes.say("asked whether it is there", io::signal_child(home, whom, 0, {}));
    notes.say("signalled", io::signal_child(home, whom, SIGTERM, {}));
    notes.say("ended", co_await ended(home, whom));
}

HONESTY(a_program_that_cannot_run_is_told_with_the_step_that_failed) {
    const auto fails = [&](program what) { notes.say(failure_of(what.run(home))); };
    fails({{"/nowhere/cat"}, {"cat"}});
    fails({{"/nowhere/cat", "/bin/nothing"}, {"cat"}});
    fails({{"/etc/passwd"}, {"passwd"}});
    fails({{"/etc/passwd", "/nowhere/cat"}, {"cat"}});
    fails({{"/tmp"}, {"tmp"}});
    fails({.paths = {"/bin/true"}, .arguments = {"true"}, .directory = "/nowhere"});
    fails({.paths = {"/bin/true"},
           .arguments = {"true"},
           .descriptors = {{io::null_device, 0}, {2'000'000, 5}}});
    auto second = program{{"/nowhere/true", "/bin/true"}, {"true"}}.run(home);
    notes.say("the second path", failure_of(second));
    notes.say("ended", co_await ended(home, co_await std::move(second)));
}

HONESTY(a_child_has_what_it_is_given_and_the_parent_its_own_end_alone) {
    const connected link = channel(home);
    const io::child whom = co_await shell("cat; echo end", link.theirs).run(home);
    io::close(home, link.theirs);
    notes.say("sent", co_await send_once(home, link.ours, "some text"));
    notes.say("came back", co_await recv_once(home, link.ours));
    // The child does not have our end, so this is the end of its input.
    notes.say("shut", io::shutdown(home, link.ours, SHUT_WR));
    notes.say("then", co_await recv_all(home, link.ours));
    notes.say("ended", co_await ended(home, whom));
    io::close(home, link.ours);
}

HONESTY(descriptors_change_places_without_getting_lost) {
    const connected one = channel(home), other = channel(home);
    program what = shell("read a; read b <&3; echo $a-$b; echo $b-$a >&3");
    what.descriptors = {
        {one.theirs, 0}, {other.theirs, 1}, {io::null_device, 2}, {other.theirs, 3}};
    const io::child whom = co_await what.run(home);
    io::close(home, one.theirs);
    io::close(home, other.theirs);
    notes.say("sent", co_await send_once(home, one.ours, "left\n"));
    notes.say("sent", co_await send_once(home, other.ours, "right\n"));
    notes.say("came", co_await recv_all(home, other.ours));
    notes.say("ended", co_await ended(home, whom));
    close_both(home, {one.ours, other.ours});
}

HONESTY(a_child_that_closes_its_output_is_still_there) {
    const connected link = channel(home);
    const io::child whom = co_await shell("exec 0<&- 1>&-; sleep 1000", link.theirs).run(home);
    io::close(home, link.theirs);
    notes.say("came", co_await recv_all(home, link.ours));
    notes.say("it runs", end_of(home, whom));
    notes.say("signalled", io::signal_child(home, whom, SIGKILL, {}));
    notes.say("ended", co_await ended(home, whom));
    io::close(home, link.ours);
}

HONESTY(what_a_grandchild_holds_stays_open_when_the_child_has_ended) {
    const connected link = channel(home);
    program what = shell("sleep 1000 & echo started; exit 5", link.theirs);
    what.new_group = true;
    const io::child whom = co_await what.run(home);
    io::close(home, link.theirs);
    running wait;
    io::wait_child(home, wait, whom);
    notes.say("ended", co_await wait.end() > 0);
    notes.say("came", co_await recv_once(home, link.ours));
    running more;
    start_recv(home, more, link.ours, 64);
    co_await quiet();
    notes.say("and goes on", !more.ended());
    notes.say("its group is signalled",
              io::signal_child(home, whom, SIGKILL, io::signal_reach::group));
    notes.say("then", co_await received(more));
    notes.say("collected", end_of(home, whom));
    io::close(home, whom.pidfd);
    io::close(home, link.ours);
}

HONESTY(a_child_that_is_stopped_ends_when_it_is_killed_or_goes_on) {
    for (const int last : {SIGKILL, SIGCONT}) {
        const connected link = channel(home);
        const io::child whom = co_await shell("echo ready; read x", link.theirs).run(home);
        io::close(home, link.theirs);
        notes.say("it says", co_await recv_once(home, link.ours));
        running wait;
        io::wait_child(home, wait, whom);
        notes.say("stopped", io::signal_child(home, whom, SIGSTOP, {}));
        co_await standing_still(whom);
        notes.say("signalled", io::signal_child(home, whom, SIGTERM, {}));
        co_await quiet();
        notes.say("it is still there", !wait.ended());
        notes.say("the last signal", io::signal_child(home, whom, last, {}));
        notes.say("waited", co_await wait.end() > 0);
        notes.say("ended by", end_of(home, whom));
        io::close(home, whom.pidfd);
        io::close(home, link.ours);
    }
}

HONESTY(a_child_that_writes_to_nobody_is_ended_by_the_signal_of_that) {
    for (const char* script : {"exec yes", "trap '' PIPE; echo one; read x; echo two; exit 3"}) {
        int in[2], out[2];
        notes.say("pipes", io::make_pipe(home, in));
        notes.say("pipes", io::make_pipe(home, out));
        program what = shell(script);
        what.descriptors = {{in[0], 0}, {out[1], 1}, {io::null_device, 2}};
        const io::child whom = co_await what.run(home);
        io::close(home, in[0]);
        io::close(home, out[1]);
        std::array<std::byte, 2> room{};
        running read;
        io::read(home, read, out[0], room);
        notes.say("it says", co_await read.end() > 0);
        io::close(home, out[0]);
        io::close(home, in[1]);
        notes.say("ended", co_await ended(home, whom));
    }
}

HONESTY(a_child_starts_where_it_is_told_and_sees_its_environment) {
    static constexpr const char* environment[] = {"COLOUR=green", "EMPTY=", nullptr};
    const connected link = channel(home);
    const char* arguments[] = {"sh", "-c", "pwd; echo $COLOUR-$EMPTY-$NONE.", nullptr};
    const char* paths[] = {"/bin/sh"};
    const io::spawn_request::descriptor all[] = {{io::null_device, 0}, {link.theirs, 1}};
    const io::child whom = co_await io::spawn(home, {.paths = paths,
                                                     .arguments = arguments,
                                                     .environment = environment,
                                                     .directory = "/usr",
                                                     .descriptors = all,
                                                     .new_session = true});
    io::close(home, link.theirs);
    notes.say(co_await recv_all(home, link.ours));
    notes.say("ended", co_await ended(home, whom));
    io::close(home, link.ours);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
