// A purchase that asks four services at once: groups, deadlines, races, and a payment that nobody
// tears apart.
#include <chrono>
#include <cstdio>
#include <string>

#include <ouro/ouro.hpp>

using namespace std::chrono_literals;

ouro::task_local<int> customer;  // for the log; every task has the one of whoever started it

void log(const std::string& what) {
    std::printf("customer %d: %s\n", customer.get(), what.c_str());
}

ouro::task<> answer(ouro::stream_reader from, ouro::stream_writer to, std::string line,
                    std::chrono::milliseconds delay) {
    co_await from.readline();
    co_await ouro::sleep(delay);
    to.write(line + "\n");
    co_await to.drain();
}

ouro::task<ouro::server> service(std::string line, std::chrono::milliseconds delay = 0ms) {
    return ouro::start_server(
        [=](auto from, auto to) { return answer(std::move(from), std::move(to), line, delay); },
        "127.0.0.1", 0);
}

ouro::task<std::string> ask(const ouro::server& whom) {
    auto [reader, writer] = co_await ouro::open_connection(whom.addresses().front());
    writer.write("tell me\n");
    const auto line = co_await reader.readline();
    co_return std::string(line.substr(0, line.size() - 1));
}

ouro::task<> pay() {
    co_await ouro::sleep(50ms);
    log("paid");
}

ouro::task<> buy() {
    customer.set(7);
    // The two that keep the stock tell the same: whoever is first will do.
    auto [price, here, there, reviews] = co_await ouro::gather(
        service("5 euros"), service("3 left", 1h), service("3 left"), service("excellent", 1h));
    auto [cost, stock, opinion] = co_await ouro::gather_results(
        ask(price), ouro::race(ask(here), ask(there)), ouro::wait_for(ask(reviews), 1s));
    log(cost.value() + ", " + stock->value + " says replica " + std::to_string(stock->index));
    log(opinion ? *opinion : "no reviews in time");

    co_await ouro::with_group([](ouro::task_group& group) -> ouro::task<> {
        auto payment = group.spawn(pay());
        auto waited = co_await as_result(ouro::wait_for(ouro::shield(payment), 1ms));
        if (!waited) log("does not wait for the payment");
    });  // but the group does
    log("done");
}

int main() { return ouro::run(buy); }
