// What dumps and reports say about the tasks of a loop.
#include <ouro/runtime/inspect.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <ouro/runtime/as_completed.hpp>
#include <ouro/runtime/future.hpp>
#include <ouro/runtime/remote_promise.hpp>
#include <ouro/runtime/shield.hpp>
#include <ouro/runtime/task_group.hpp>
#include <ouro/runtime/timeout.hpp>
#include <ouro/testing/simulation.hpp>

#include "async_test.hpp"
#include "child_process.hpp"

namespace ouro::test {
namespace {

using namespace std::chrono_literals;

/// The task with this name; an empty one when there is none.
task_report find_report(const std::vector<task_report>& all, const std::string& name) {
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const task_report& each) { return each.name == name; });
    return found == all.end() ? task_report{} : *found;
}

/// Without what differs from run to run.
std::string steady(const std::string& text) {
    const std::pair<const char*, const char*> changes[] = {
        {"(task|fd) [0-9]+", "$1 N"},
        {"ouro::test::", ""},
        {"(for|,|another) [0-9.]+ (ms|s|min|h)( [0-9]+ (s|min))?", "$1 T"},
        {"(127.0.0.1):[0-9]+", "$1:P"},
    };
    std::string result = text;
    for (const auto& [what, with] : changes) {
        result = std::regex_replace(result, std::regex(what), with);
    }
    return result;
}

/// What a dump says of the task with this name.
std::string said_of(const std::string& name) {
    const auto all = capture_tasks(loop::current());
    const auto found = find_report(all, name);
    if (found.name.empty()) return "no such task";
    const std::string lines = steady(found.describe(all));
    BOOST_TEST(contains(steady(dump_tasks(loop::current())), lines));
    return lines;
}

std::string created_at(unsigned line) {
    return "    created at inspect_test.cpp:" + std::to_string(line) + ", T ago\n";
}
std::string at(unsigned line) { return " at inspect_test.cpp:" + std::to_string(line) + "\n"; }

template <class T>
task_handle<T> named(const char* name, task<T> body,
                     std::source_location created = std::source_location::current()) {
    auto made = spawn(std::move(body), created);
    made.set_name(name);
    return made;
}

task<> sleep_long() { co_await sleep(1h); }
constexpr unsigned sleep_line = __LINE__ - 1;

template <class T>
task<> wait_for_all_of(T handle, int) {
    co_await handle;
}
constexpr unsigned join_line = __LINE__ - 2;

struct client {
    task<> handle(std::shared_ptr<socket> from) {
        std::byte buffer[16];
        co_await from->recv_into(buffer);
    }
};
constexpr unsigned recv_line = __LINE__ - 3;

task<> serve(std::shared_ptr<socket> from) {
    client one;
    co_await one.handle(from);
}
constexpr unsigned serve_line = __LINE__ - 2;

}  // namespace

BOOST_AUTO_TEST_SUITE(inspect)

// rule 714
OURO_ASYNC_TEST(a_dump_names_every_frame_from_the_root_to_the_wait_with_its_line) {
    auto [own, other] = co_await socket::pair(loop::current());
    auto from = std::make_shared<socket>(std::move(own));
    auto reader = spawn(serve(from));
    const unsigned line = __LINE__ - 1;
    reader.set_name("reader");
    co_await settle();
    BOOST_TEST(said_of("reader") == "task N \"reader\": waiting in recv (fd N) for T\n" +
                                        created_at(line) + "    serve" + at(serve_line) +
                                        "    client::handle" + at(recv_line));
    const auto report = find_report(capture_tasks(loop::current()), "reader");
    BOOST_TEST(report.details == "fd " + std::to_string(from->fd()));
    reader.cancel();
    (void)co_await as_result(reader.join());
}

OURO_ASYNC_TEST(frames_that_only_keep_arguments_alive_are_left_out) {
    auto held = spawn([](int) -> task<> { co_await sleep_long(); }, 1);
    const unsigned line = __LINE__ - 1;
    held.set_name("held");
    co_await settle();
    const auto report = find_report(capture_tasks(loop::current()), "held");
    BOOST_TEST_REQUIRE(report.frames.size() == 2U);
    BOOST_TEST(report.frames[0].line() == line);
    BOOST_TEST(report.frames[1].line() == sleep_line);
    held.cancel();
    (void)co_await as_result(held.join());
}

// rule 714
OURO_ASYNC_TEST(a_task_that_waits_for_another_one_names_it_and_the_other_names_its_waiters) {
    auto last = named("last", sleep_long());
    const unsigned line = __LINE__ - 1;
    auto middle = named("middle", wait_for_all_of(last, 1));
    auto first = named("first", wait_for_all_of(middle, 1));
    auto also = named("also", wait_for_all_of(last, 1));
    co_await settle();
    BOOST_TEST(said_of("middle") == "task N \"middle\": waiting in join (last) for T\n" +
                                        created_at(line + 2) + "    wait_for_all_of" +
                                        at(join_line) +
                                        "    awaits task N \"last\"\n"
                                        "    awaited by task N \"first\"\n");
    const auto report = find_report(capture_tasks(loop::current()), "last");
    BOOST_TEST(report.waits_in == "sleep");
    BOOST_TEST(report.details.starts_with("another "));
    BOOST_TEST(report.awaits.empty());
    BOOST_TEST(report.awaited_by.size() == 2U);
    last.cancel();
    (void)co_await as_result(first.join());
    (void)co_await as_result(also.join());
}

OURO_ASYNC_TEST(a_task_that_waits_for_a_future_says_where_its_promise_was_made) {
    promise<int> answer;
    const unsigned line = __LINE__ - 1;
    remote_promise<int> from_afar;
    auto here = named("here", wait_for_all_of(answer.get_future(), 1));
    auto there = named("there", wait_for_all_of(from_afar.get_future(), 1));
    co_await settle();
    BOOST_TEST(said_of("here").starts_with("task N \"here\": waiting in wait for a future (made" +
                                           at(line).substr(0, at(line).size() - 1) + ") for T\n"));
    const auto report = find_report(capture_tasks(loop::current()), "there");
    BOOST_TEST(report.details == "made at inspect_test.cpp:" + std::to_string(line + 2));
    answer.set_value(1);
    from_afar.set_value(2);
    co_await here;
    co_await there;
}

// rules 714, 716
OURO_ASYNC_TEST(the_call_graph_of_the_current_task_is_it_and_all_that_wait_for_it) {
    auto graphs = std::make_shared<std::vector<std::vector<task_report>>>();
    auto body = [](auto into) -> task<> {
        co_await sleep(1ms);
        into->push_back(capture_call_graph());
    };
    auto last = named("last", body(graphs));
    auto middle = named("middle", wait_for_all_of(last, 1));
    auto first = named("first", wait_for_all_of(middle, 1));
    co_await first;
    graphs->push_back(capture_call_graph());
    BOOST_TEST_REQUIRE(graphs->size() == 2U);
    std::vector<std::string> names;
    for (const task_report& each : graphs->front()) names.push_back(each.name);
    BOOST_TEST_REQUIRE(names.size() == 4U);  // the body of this test is the fourth
    names.pop_back();
    BOOST_TEST((names == std::vector<std::string>{"last", "middle", "first"}));
    BOOST_TEST((graphs->front()[0].stage == task_stage::running));
    BOOST_TEST((graphs->front()[1].stage == task_stage::waiting));
    BOOST_TEST(graphs->front()[1].awaits == std::vector{graphs->front()[0].id});
    // Whoever was waited for is done: nothing is left of it.
    BOOST_TEST(graphs->back()[0].awaits.empty());
    BOOST_TEST(capture_tasks(loop::current()).size() == 1U);
}

// rule 715
BOOST_AUTO_TEST_CASE(without_a_current_task_there_is_no_call_graph) {
    BOOST_CHECK_EXCEPTION(capture_call_graph(), std::system_error, [](const auto& thrown) {
        return thrown.code() == make_error_code(errc::invalid_state);
    });
    loop home(options_for(engine::uring));
    std::size_t tasks = 99;
    home.call_soon([&] {
        tasks = capture_call_graph().size();
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(tasks == 0U);
}

// rule 719
OURO_ASYNC_TEST(a_task_that_is_being_cancelled_says_so_and_why) {
    auto body = []() -> task<> {
        (void)co_await as_result(sleep(1h));
        co_await sleep_long();
    };
    auto stubborn = named("stubborn", body());
    co_await settle();
    stubborn.cancel(cancel_cause::timeout);
    co_await settle();
    BOOST_TEST(contains(said_of("stubborn"), ", cancelling 1 (deadline passed)\n"));
    stubborn.uncancel();
    stubborn.cancel("the client went away");
    BOOST_TEST(
        contains(said_of("stubborn"), ", cancelling 1 (by request: the client went away)\n"));
    stubborn.uncancel();
    BOOST_TEST(said_of("stubborn").find("cancelling") == std::string::npos);
    stubborn.cancel();
    (void)co_await as_result(stubborn.join());
}

OURO_ASYNC_TEST(a_report_tells_how_far_a_task_is) {
    const auto stage_of = [](const char* name) {
        return find_report(capture_tasks(loop::current()), name).stage;
    };
    auto body = []() -> task<> {
        co_await sleep(1h);
        co_await yield();
    };
    auto seen = named("seen", body());
    BOOST_TEST((stage_of("seen") == task_stage::not_started));
    BOOST_TEST(said_of("seen").starts_with("task N \"seen\": not started\n"));
    co_await settle();
    BOOST_TEST((stage_of("seen") == task_stage::waiting));
    seen.cancel();
    BOOST_TEST((stage_of("seen") == task_stage::ready));
    BOOST_TEST(find_report(capture_tasks(loop::current()), "seen").frames.size() == 1U);
    (void)co_await as_result(seen.join());
    const auto own = capture_call_graph();
    BOOST_TEST((own.at(0).stage == task_stage::running));
    BOOST_TEST(own.at(0).describe().find(" past inspect_test.cpp:") != std::string::npos);
    BOOST_TEST(find_report(capture_tasks(loop::current()), "seen").name.empty());
}

OURO_ASYNC_TEST(a_running_task_is_seen_from_inside_a_frame_that_has_waited_for_nothing) {
    auto inner = [](auto into) -> task<> {
        *into = capture_call_graph();
        co_return;
    };
    auto graph = std::make_shared<std::vector<task_report>>();
    auto outer = [](auto what, auto into) -> task<> { co_await what(into); };
    const unsigned line = __LINE__ - 1;
    co_await spawn(outer(inner, graph));
    BOOST_TEST_REQUIRE(!graph->empty());
    BOOST_TEST_REQUIRE(graph->front().frames.size() == 1U);
    BOOST_TEST(graph->front().frames[0].line() == line);
}

OURO_ASYNC_TEST(a_dump_from_the_destructor_of_a_local_sees_the_frames_that_are_left) {
    struct witness {
        std::shared_ptr<std::vector<task_report>> into;
        ~witness() {
            try {
                *into = capture_call_graph();
            } catch (const std::bad_alloc&) {
                into->clear();
            }
        }
    };
    auto seen = std::make_shared<std::vector<task_report>>();
    auto inner = [](auto into) -> task<> {
        witness on_stack{into};
        co_await sleep(1h);
    };
    auto outer = [](auto what, auto into) -> task<> { co_await what(into); };
    const unsigned line = __LINE__ - 1;
    auto doomed = spawn(outer(inner, seen));
    co_await settle();
    doomed.cancel();
    (void)co_await as_result(doomed.join());
    BOOST_TEST_REQUIRE(!seen->empty());
    BOOST_TEST_REQUIRE(!seen->front().frames.empty());
    BOOST_TEST(seen->front().frames[0].line() == line);
}

// ---- what is waited for

OURO_ASYNC_TEST(waits_on_sockets_name_descriptor_and_peer) {
    auto pair = co_await tcp_pair();
    auto own = std::make_shared<socket>(std::move(pair.first));
    auto other = std::make_shared<socket>(std::move(pair.second));
    auto listener = std::make_shared<socket>(co_await socket::open(loop::current(), AF_INET));
    co_await listener->bind(*address::from_ip("127.0.0.1", 0));
    co_await listener->listen();
    auto accept = [](std::shared_ptr<socket> on) -> task<> { co_await on->accept(); };
    auto accepting = named("accepting", accept(listener));
    auto receiving = named("receiving", serve(own));
    co_await settle();
    BOOST_TEST(
        said_of("receiving")
            .starts_with("task N \"receiving\": waiting in recv (fd N, peer 127.0.0.1:P) for T\n"));
    BOOST_TEST(said_of("accepting")
                   .starts_with("task N \"accepting\": waiting in accept (fd N, listening on "
                                "127.0.0.1:P) for T\n"));
    accepting.cancel();
    receiving.cancel();
    (void)co_await as_result(accepting.join());
    (void)co_await as_result(receiving.join());
}

// ---- groups, deadlines, ages

// rule 714
OURO_ASYNC_TEST(a_group_waits_for_its_children_and_a_shield_for_its_task) {
    auto names = std::make_shared<std::vector<std::string>>();
    auto child = [](auto into) -> task<> {
        for (const task_report& each : capture_call_graph()) into->push_back(each.name);
        co_return;
    };
    auto parent = [](auto body, auto into) -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn({.name = "child"}, body(into));
            co_return;
        });
    };
    auto family = named("parent", parent(child, names));
    auto guard = [](task_handle<> of) -> task<> { co_await shield(of); };
    auto guarded = named("guard", guard(family));
    auto both = [](task_handle<> of) -> task<> { (void)co_await wait(std::vector{of}); };
    auto waits = named("waits", both(guarded));
    co_await waits;
    BOOST_TEST_REQUIRE(names->size() == 5U);  // the body of this test is the fifth
    names->pop_back();
    BOOST_TEST((*names == std::vector<std::string>{"child", "parent", "guard", "waits"}));
}

OURO_ASYNC_TEST(tasks_that_wait_for_long_can_be_asked_for) {
    auto first = named("first", sleep_long());
    co_await sleep(20ms);
    auto second = named("second", sleep_long());
    co_await settle();
    const auto names_of = [](const std::vector<task_report>& all) {
        std::vector<std::string> names;
        for (const task_report& each : all) names.push_back(each.name);
        return names;
    };
    loop& home = loop::current();
    BOOST_TEST(names_of(waiting_longer_than(home, 19ms)).at(0) == "first");
    BOOST_TEST(waiting_longer_than(home, 30min).empty());
    BOOST_TEST((find_report(capture_tasks(home), "first").age >= 19ms));
    for (auto* each : {&first, &second}) {
        each->cancel();
        (void)co_await as_result(each->join());
    }
}

namespace {

task<> ask(std::shared_ptr<socket> from) {
    timeout limit(8s);
    std::byte buffer[8];
    co_await from->recv_into(buffer);
}
constexpr unsigned ask_line = __LINE__ - 2;

task<> work(std::shared_ptr<socket> from) {
    timeout limit(1min);
    co_await with_group([&](task_group& group) -> task<> {
        group.spawn({.name = "asker"}, ask(from));
        co_await sleep_long();
    });
}
constexpr unsigned work_line = __LINE__ - 6;

/// The numbers of tasks and descriptors, in the order in which a text names them first.
std::string renumbered(const std::string& text) {
    std::vector<std::string> known;
    std::string result;
    const std::regex number("(task|fd) ([0-9]+)|ouro::test::(inspect::)?");
    auto rest = text.cbegin();
    for (std::smatch found; std::regex_search(rest, text.cend(), found, number);) {
        result += found.prefix().str();
        rest = found.suffix().first;
        if (!found[1].matched) continue;  // the namespace
        const std::string which = found.str();
        const auto at = std::find(known.begin(), known.end(), which) - known.begin();
        if (at == std::ssize(known)) known.push_back(which);
        result += found.str(1) + " #" + std::to_string(at);
    }
    return result + std::string(rest, text.cend());
}

}  // namespace

BOOST_AUTO_TEST_CASE(in_a_simulation_a_dump_is_the_same_to_the_letter) {
    testing::simulation world(loopback(1));
    loop home(world.options());
    std::string text;
    auto main = [&]() -> task<> {
        auto [own, other] = co_await socket::pair(home);
        auto worker = spawn(work(std::make_shared<socket>(std::move(own))));
        worker.set_name("worker");
        co_await sleep(3050ms);
        text = dump_tasks(home);
        worker.cancel();
        (void)co_await as_result(worker.join());
    };
    const unsigned line = __LINE__ - 7;
    const unsigned run_line = __LINE__ + 1;
    auto running = spawn(home, main());
    BOOST_TEST(home.run_until_complete(running).has_value());
    const auto place = [](unsigned where) {
        return " at inspect_test.cpp:" + std::to_string(where);
    };
    BOOST_TEST(renumbered(text) ==
               "3 tasks\n"
               "task #0: running\n"
               "    created" +
                   place(run_line) +
                   ", 3.0 s ago\n"
                   "    in_a_simulation_a_dump_is_the_same_to_the_letter::"
                   "test_method::lambda past inspect_test.cpp:" +
                   std::to_string(line + 2) +
                   "\n"
                   "task #1 \"worker\": waiting in sleep (another 59 min 56 s) for 3.0 s\n"
                   "    created" +
                   place(line) +
                   ", 3.0 s ago\n"
                   "    in timeout" +
                   place(work_line) +
                   ", 56.9 s left\n"
                   "    in group" +
                   place(work_line + 1) +
                   "\n"
                   "    work" +
                   place(work_line + 1) +
                   "\n"
                   "    work::lambda" +
                   place(work_line + 3) +
                   "\n"
                   "    sleep_long" +
                   place(sleep_line) +
                   "\n"
                   "    awaits task #2 \"asker\"\n"
                   "task #2 \"asker\": waiting in recv (fd #3) for 3.0 s\n"
                   "    created" +
                   place(work_line + 2) +
                   ", 3.0 s ago\n"
                   "    in timeout" +
                   place(work_line) +
                   " of task #1 \"worker\", 56.9 s left\n"
                   "    in group" +
                   place(work_line + 1) +
                   " of task #1 \"worker\"\n"
                   "    in timeout" +
                   place(ask_line - 2) +
                   ", 4.9 s left\n"
                   "    ask" +
                   place(ask_line) +
                   "\n"
                   "    awaited by task #1 \"worker\"\n");
}

// ---- circles

// rule 717
OURO_ASYNC_TEST(a_child_that_waits_for_the_task_of_its_group_is_a_circle) {
    // Through a shield: otherwise a cancellation would go round and the circle stay closed.
    auto own = std::make_shared<task_handle<>>();
    auto child = [](auto of) -> task<> { co_await shield(*of); };
    auto parent = [](auto body, auto self) -> task<> {
        co_await with_group([&](task_group& group) -> task<> {
            group.spawn({.name = "child"}, body, self);
            co_return;
        });
    };
    auto outside = [](task_handle<> of) -> task<> { co_await of; };
    auto family = *own = named("parent", parent(child, own));
    auto watching = named("outside", outside(family));
    co_await settle();
    const auto all = capture_tasks(loop::current());
    BOOST_TEST_REQUIRE(find_circle(all).size() == 2U);
    const auto title = [&](const char* name) {
        return "task " + std::to_string(find_report(all, name).id) + " \"" + name + "\"";
    };
    const std::string text = dump_tasks(loop::current());
    const std::string one = title("parent") + " -> " + title("child") + " -> " + title("parent");
    const std::string other = title("child") + " -> " + title("parent") + " -> " + title("child");
    BOOST_TEST((contains(text, "wait for each other, none can end: " + one + "\n") ||
                contains(text, "wait for each other, none can end: " + other + "\n")));
    BOOST_TEST(contains(dump_tasks_json(loop::current()),
                        "\"circle\":[" + std::to_string(find_circle(all)[0]) + ","));
    watching.cancel();
    (void)co_await as_result(watching.join());
    *own = {};
    family.cancel();
    (void)co_await as_result(family.join());
}

BOOST_AUTO_TEST_CASE(a_circle_is_found_whatever_hangs_on_it) {
    const auto report = [](std::uint64_t id, std::vector<std::uint64_t> awaits,
                           std::vector<std::uint64_t> awaited_by) {
        task_report made;
        made.id = id;
        made.awaits = std::move(awaits);
        made.awaited_by = std::move(awaited_by);
        return made;
    };
    using ids = std::vector<std::uint64_t>;
    const std::vector<task_report> straight{report(1, {2}, {}), report(2, {3}, {1}),
                                            report(3, {}, {2})};
    BOOST_TEST(find_circle(straight) == ids{});
    const std::vector<task_report> alone{report(1, {1}, {1})};
    BOOST_TEST(find_circle(alone) == ids{1});
    // 1 leads into the circle of 2 and 3; 2 waits for 4 as well, which goes on.
    const std::vector<task_report> lasso{report(1, {2}, {}), report(2, {4, 3}, {1, 3}),
                                         report(3, {2}, {2}), report(4, {}, {2})};
    auto found = find_circle(lasso);
    std::sort(found.begin(), found.end());
    BOOST_TEST(found == (ids{2, 3}));
    const std::vector<task_report> torn{report(1, {9}, {9})};
    BOOST_TEST(find_circle(torn) == ids{});
}

// ---- texts

BOOST_AUTO_TEST_CASE(function_names_are_shortened_to_what_a_person_would_say) {
    const std::pair<const char*, const char*> names[] = {
        {"int main()", "main"},
        {"task<> serve(socket, std::function<void (int)>)", "serve"},
        {"task<> ouro::(anonymous namespace)::helper(int, void (*)(int))", "ouro::helper"},
        {"auto main()::(anonymous class)::operator()(int) const", "main::lambda"},
        {"auto f()::(anonymous class)::operator()(T)::(anonymous class)::operator()() const",
         "f::lambda::lambda"},
        {"task<T> ouro::q<std::basic_string<char>>::get(U, std::string) const [T = "
         "std::basic_string<char>, U = int]",
         "ouro::q::get"},
        {"ouro::task<int> main()::local::go()", "main::local::go"},
        {"bool thing::operator()(int) const", "thing::operator()"},
        {"const char *name()", "name"},
        {"", ""},
    };
    for (const auto& [full, shortened] : names) BOOST_TEST(short_function_name(full) == shortened);
}

namespace {

/// What python's parser, which is strict, makes of a text: the result of `expression` on `d`.
std::string parsed(const std::string& json, const std::string& expression) {
    char path[] = "/tmp/ouro_json_XXXXXX";
    ::close(::mkstemp(path));
    std::ofstream(path) << json;
    const std::string command = std::string("python3 -c \"import json; d = json.load(open('") +
                                path + "', encoding='utf-8')); print(" + expression + ")\"";
    std::string text;
    std::FILE* const from = ::popen(command.c_str(), "r");
    for (int c = std::getc(from); c != EOF; c = std::getc(from)) text += static_cast<char>(c);
    BOOST_TEST(::pclose(from) == 0);
    ::unlink(path);
    return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_json_form_is_json_whatever_the_names_are) {
    loop home(options_for(engine::uring));
    std::string json;
    const std::string odd = "a\"b\\c\n\x01\x7f \xc3\xa9 \xff \xed\xa0\x80 \xf0\x9f\x90\xba \xc3";
    auto first = spawn(home, sleep_long());
    const unsigned line = __LINE__ - 1;
    first.set_name(odd);
    auto second = spawn(home, wait_for_all_of(first, 1));
    home.call_later(1ms, [&] {
        json = dump_tasks_json(home);
        home.stop();
    });
    home.run_forever();
    BOOST_TEST(parsed(json, "len(d['tasks']), d['circle']") == "2 []\n");
    BOOST_TEST(parsed(json, "ascii(d['tasks'][0]['name'])") ==
               "'a\"b\\\\c\\n\\x01\\x7f \\xe9 \\ufffd \\ufffd\\ufffd\\ufffd \\U0001f43a "
               "\\ufffd'\n");
    BOOST_TEST(parsed(json, "d['tasks'][0]['created']['line'], d['tasks'][0]['stage']") ==
               std::to_string(line) + " waiting\n");
    BOOST_TEST(parsed(json, "d['tasks'][0]['awaited_by'] == [d['tasks'][1]['id']], "
                            "d['tasks'][1]['awaits'] == [d['tasks'][0]['id']]") == "True True\n");
    BOOST_TEST(parsed(json, "d['tasks'][0]['frames'][0]['function'], "
                            "d['tasks'][0]['frames'][0]['line'], d['tasks'][0]['waits_in']") ==
               "ouro::test::sleep_long " + std::to_string(sleep_line) + " sleep\n");
    first.cancel();
    second.cancel();
}

OURO_KERNEL_TEST(another_thread_asks_by_a_post, "threads do not run in simulations") {
    auto asked = std::make_shared<std::string>();
    auto home = loop::current().get_handle();
    std::thread([home, asked] {
        (void)home.post([asked] { *asked = dump_tasks(loop::current()); });
    }).join();
    co_await eventually([asked] { return !asked->empty(); });
    BOOST_TEST(asked->starts_with("1 task\ntask "));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
