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

/// What a dump says of the task with this name, with what differs from run to run left out.
std::string said_of(const std::string& name) {
    const auto all = capture_tasks(loop::current());
    const auto found = find_report(all, name);
    if (found.name.empty()) return "no such task";
    const std::string lines = found.describe(all);
    BOOST_TEST(contains(dump_tasks(loop::current()), lines));
    const std::string numbered = std::regex_replace(lines, std::regex("(task|fd) [0-9]+"), "$1 N");
    const std::string inner = std::regex_replace(numbered, std::regex("ouro::test::"), "");
    return std::regex_replace(inner, std::regex("(127.0.0.1):[0-9]+"), "$1:P");
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
    BOOST_TEST(said_of("reader") == "task N \"reader\": waiting in recv (fd N)\n"
                                    "    created" +
                                        at(line) + "    serve" + at(serve_line) +
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
    BOOST_TEST(said_of("middle") == "task N \"middle\": waiting in join (last)\n"
                                    "    created" +
                                        at(line + 2) + "    wait_for_all_of" + at(join_line) +
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
    BOOST_TEST(said_of("stubborn").find(", cancelling 1 (deadline passed)\n") != std::string::npos);
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
    BOOST_TEST(own[0].describe().find(" past inspect_test.cpp:") != std::string::npos);
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
            .starts_with("task N \"receiving\": waiting in recv (fd N, peer 127.0.0.1:P)\n"));
    BOOST_TEST(
        said_of("accepting")
            .starts_with(
                "task N \"accepting\": waiting in accept (fd N, listening on 127.0.0.1:P)\n"));
    accepting.cancel();
    receiving.cancel();
    (void)co_await as_result(accepting.join());
    (void)co_await as_result(receiving.join());
}

// ---- circles

namespace {

/// Waits for a task and does not look where that leads.
class blind_join : public detail::join_wait {
  public:
    blind_join(detail::task_core& target, std::vector<blind_join*>& all)
        : join_wait(target), all_(all) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) {
        if (!suspend(waiting, where)) return;
        target_->on_done(*this);
        all_.push_back(this);
    }
    void await_resume() const noexcept {}

  private:
    std::vector<blind_join*>& all_;
};

struct ring {
    std::vector<detail::task_core*> tasks;
    std::vector<blind_join*> waits;
};

task<> wait_for_next(std::shared_ptr<ring> in, std::size_t next) {
    in->tasks.push_back(detail::task_core::current());
    co_await yield();
    co_await blind_join(*in->tasks[next], in->waits);
}

}  // namespace

// rule 717
OURO_WHOLE_TEST(tasks_that_wait_in_a_circle_are_reported_and_hang_nothing,
                "the body must break the circle, which no loop could close") {
    auto in = std::make_shared<ring>();
    in->waits.reserve(3);
    std::vector<task_handle<>> tasks;
    tasks.push_back(named("a", wait_for_next(in, 1)));
    tasks.push_back(named("b", wait_for_next(in, 2)));
    tasks.push_back(named("c", wait_for_next(in, 0)));
    auto outside = named("outside", wait_for_all_of(tasks[0], 1));
    co_await settle();
    const auto all = capture_tasks(loop::current());
    const auto circle = find_circle(all);
    BOOST_TEST(circle.size() == 3U);
    const auto outsider = find_report(all, "outside").id;
    BOOST_TEST(std::count(circle.begin(), circle.end(), outsider) == 0);
    const std::string text = dump_tasks(loop::current());
    const auto title = [&](const char* name) {
        return "task " + std::to_string(find_report(all, name).id) + " \"" + name + "\"";
    };
    BOOST_TEST(contains(text, "these wait for each other, none can end: "));
    BOOST_TEST(contains(text, title("a") + " -> " + title("b")) +
                   contains(text, title("b") + " -> " + title("c")) +
                   contains(text, title("c") + " -> " + title("a")) >=
               2);
    BOOST_TEST(
        contains(dump_tasks_json(loop::current()), "\"circle\":[" + std::to_string(circle[0])));
    for (blind_join* each : in->waits) {
        each->list_link::unlink();
        each->wake();
    }
    co_await outside;
    for (auto& each : tasks) co_await each;
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
