// The service in a thousand bad networks, in virtual time: every request is applied exactly once.
//
// With --forget-ids the server has a bug, and the simulation finds it: see docs/testing.md.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/testing/explore.hpp>

#include "service.hpp"

using namespace ouro::testing;
using namespace std::chrono_literals;

constexpr int client_count = 4, requests_each = 12;
constexpr auto trouble_time = 5s;  // how long things go wrong
constexpr auto patience = 30s;     // for all answers, once nothing goes wrong any more

/// A client's view: what it asked for and what it was told.
struct told {
    long amount;
    long balance;
};

// What tasks share is counted: when a check fails, the body is gone before the tasks it started.
using shared_history = std::shared_ptr<std::vector<told>>;

ouro::task<> ask_repeatedly(ouro::address where, shared_history history) {
    auto& world = simulation::current();
    client asking(where);
    for (int i = 0; i < requests_each; ++i) {
        co_await ouro::sleep(std::chrono::milliseconds(world.draw(0, 1000)));
        const long amount = static_cast<long>(world.draw(1, 99));
        const long balance = co_await asking.add(amount);
        history->push_back({amount, balance});
    }
}

/// The oracle, which knows only what clients were told. In the order of the balances each request
/// adds its amount to the one before, from 0 up to what the server has: so each was applied, none
/// twice, and every answer was right.
void check(std::vector<told> history, long balance_at_the_end) {
    if (history.size() != client_count * requests_each) throw std::runtime_error("lost an answer");
    std::ranges::sort(history, {}, &told::balance);
    long sum = 0;
    for (const told& each : history) {
        sum += each.amount;
        if (each.balance == sum) continue;
        throw std::runtime_error("added " + std::to_string(each.amount) + " and was told " +
                                 std::to_string(each.balance) + " instead of " +
                                 std::to_string(sum));
    }
    if (sum != balance_at_the_end) throw std::runtime_error("added more than was asked for");
}

ouro::task<> wait_for_all(std::vector<ouro::task_handle<>> tasks) {
    for (auto& each : tasks) co_await each;
}

/// The server cannot do without a descriptor, and may be refused one.
ouro::task<ouro::server> start(std::shared_ptr<ledger> book, ouro::address where) {
    while (true) {
        auto server = co_await ouro::as_result(serve_ledger(book, where));
        if (server) co_return std::move(*server);
    }
}

bool forget_ids = false;

ouro::task<> each_request_is_applied_once() {
    auto& world = simulation::current();
    auto book = std::make_shared<ledger>();
    book->forget_ids = forget_ids;
    const auto where = co_await ouro::address::parse("10.0.0.2:7000");
    auto server = co_await start(book, where);

    auto history = std::make_shared<std::vector<told>>();
    std::vector<ouro::task_handle<>> clients;
    for (int i = 0; i < client_count; ++i) {
        clients.push_back(ouro::spawn(ask_repeatedly(where, history)));
    }
    co_await ouro::sleep(trouble_time);
    world.heal();
    co_await within(patience, wait_for_all(std::move(clients)));
    server.close();
    co_await server.wait_closed();
    check(*history, book->balance());
}

ouro::task<> add_and_expect(std::shared_ptr<client> asking, long amount, long expected) {
    if (co_await asking->add(amount) != expected) throw std::runtime_error("a wrong answer");
}

/// Nobody is answered across a link that is cut, and everybody soon after it is mended.
ouro::task<> a_cut_link_delays_the_answer() {
    auto& world = simulation::current();
    const auto where = co_await ouro::address::parse("10.0.0.2:7000");
    auto server = co_await start(std::make_shared<ledger>(), where);
    auto asking = std::make_shared<client>(where);
    co_await add_and_expect(asking, 1, 1);

    world.cut("10.0.0.1", "10.0.0.2");
    auto pending = ouro::spawn(add_and_expect(asking, 10, 11));
    co_await ouro::sleep(std::chrono::milliseconds(world.draw(0, 20'000)));
    if (pending.done()) throw std::runtime_error("an answer came across a cut link");
    world.mend("10.0.0.1", "10.0.0.2");
    co_await within(patience, wait_for_all({pending}));
    server.close();
}

/// Everything goes wrong, but healthy round trips stay well below the time in which a client wants
/// its answer: otherwise it could never have one.
simulation_options bad_network(std::uint64_t seed) {
    auto world = simulation_options::hostile(seed);
    world.least_buffer_bytes = std::max<std::size_t>(world.least_buffer_bytes, 64);
    world.most_buffer_bytes = std::max(world.most_buffer_bytes, world.least_buffer_bytes);
    world.most_delay = std::min(world.most_delay, std::chrono::microseconds(10'000));
    return world;
}

int report(const exploration_report& found) {
    std::puts(found.failed ? found.failed->describe().c_str() : found.figures().c_str());
    return found.failed ? 1 : 0;
}

int main(int argc, char** argv) try {
    forget_ids = argc > 1 && std::string_view(argv[1]) == "--forget-ids";
    const exploration bad{.seed_count = forget_ids ? 20u : 1000u, .world = bad_network};
    const int worst = report(explore(bad, each_request_is_applied_once));
    if (forget_ids) return worst;
    const exploration calm{.seed_count = 200, .world = simulation_options::calm};
    return std::max(worst, report(explore(calm, a_cut_link_delays_the_answer)));
} catch (const std::invalid_argument& unreadable) {  // OURO_SEED
    std::fprintf(stderr, "%s\n", unreadable.what());
    return 2;
}
