// What the tests of tools/ouro_gdb.py look at: a program in which nothing happens any more, or one
// that dies inside a task.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/prctl.h>

#include <ouro/runtime/run.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/task_group.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/streams/open_connection.hpp>

namespace {

using namespace std::chrono_literals;
using ouro::task;

task<> receive(ouro::socket& from) {
    std::byte buffer[16];
    co_await from.recv_into(buffer);  // line: receive
}

task<> serve(ouro::socket from) {
    co_await receive(from);  // line: serve
}

task<> read_line(ouro::stream_reader& from) {
    co_await from.readline();  // line: read_line
}

task<> rest() {
    co_await ouro::sleep(1h);  // line: rest
}

task<> join(ouro::task_handle<> other) {
    co_await other;  // line: join
}

task<> stubborn() {
    (void)co_await ouro::as_result(rest());
    co_await rest();  // line: stubborn
}

task<> innermost(const char* why) {
    co_await ouro::yield();  // line: innermost
    std::fprintf(stderr, "%s\n", why);
    std::abort();
}

task<> crash() {
    co_await innermost("as asked");  // line: crash
}

task<> child() {
    co_await rest();  // line: child
}

task<> family() {
    ouro::timeout limit(2h);
    co_await ouro::with_group([](ouro::task_group& group) -> task<> {
        group.spawn({.name = "child"}, child());
        co_return;
    });
}

task<int> stay(bool crashing) {
    auto one = co_await ouro::socket::pair(ouro::loop::current());
    auto other = co_await ouro::socket::pair(ouro::loop::current());
    auto made = co_await ouro::open_connection(std::move(other.first));
    auto server = ouro::spawn(serve(std::move(one.first)));
    server.set_name("server");
    auto reader = ouro::spawn(read_line(made.reader));
    reader.set_name("reader");
    auto sleeper = ouro::spawn(rest());
    auto joiner = ouro::spawn(join(server));
    joiner.set_name("joiner");
    auto late = ouro::spawn([](int) -> task<> { co_await stubborn(); }, 1);
    late.set_name("late");
    auto parent = ouro::spawn(family());
    parent.set_name("parent");
    co_await ouro::yield();
    co_await ouro::yield();
    late.cancel("the test says so");
    co_await ouro::sleep(10ms);
    if (crashing) ouro::spawn(crash()).set_name("crasher");
    std::puts("ready");
    std::fflush(stdout);
    co_await rest();  // line: stay
    co_return 0;
}

}  // namespace

int main(int count, char** arguments) {
    // The test attaches: allowed to processes of the same user by default on most systems only.
    ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    const bool crashing = count > 1 && std::strcmp(arguments[1], "crash") == 0;
    return ouro::run(&stay, crashing);
}
