// Each call to the kernel fails once, with each error it may have: the request is still applied
// once.
#include <cstdio>
#include <memory>

#include <ouro/testing/injection.hpp>
#include <ouro/testing/simulation.hpp>

#include "service.hpp"

using namespace ouro::testing;

ouro::task<int> one_request() {
    const auto where = co_await ouro::address::parse("127.0.0.1:7000");
    auto book = std::make_shared<ledger>();
    auto server = co_await ouro::as_result(serve_ledger(book, where));
    while (!server) server = co_await ouro::as_result(serve_ledger(book, where));
    client asking(where);
    const long told = co_await asking.add(7);
    server->close();
    co_return told == 7 && book->balance() == 7 ? 0 : 1;
}

struct outcome {
    std::vector<door_call> calls;
    bool right;
};

outcome run_with(fault_plan plan) {
    const std::size_t plan_size = plan.size();
    simulation world;
    injection faults({.plan = std::move(plan)});
    ouro::loop home(faults.options(world.options()));  // the kernel's own: without world.options()
    home.set_exception_handler([](ouro::loop&, const ouro::failure_report&) {});
    const auto result = home.run_until_complete(one_request());
    home.close();
    return {faults.seen(), result && *result == 0 && faults.struck() == plan_size};
}

int main() {
    const auto calls = run_with({}).calls;
    int runs = 0, wrong = 0;
    for (std::size_t at = 1; at <= calls.size(); ++at) {
        for (const int number : legal_errors(calls[at - 1])) {
            const fault_plan plan{{fault_kind::op_fails, at, number}};
            ++runs;
            if (run_with(plan).right) continue;
            ++wrong;
            std::printf("wrong with %s, a %s\n", to_string(plan).c_str(),
                        std::string(to_string(calls[at - 1])).c_str());
        }
    }
    std::printf("%zu calls, %d runs with one failure each, %d wrong\n", calls.size(), runs, wrong);
    return runs == 0 || wrong != 0;
}
