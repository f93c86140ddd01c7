// A bakery: a queue with a limit slows those who take orders down, a semaphore shares two ovens
// between three bakers, and a shutdown sends the bakers home when all is done.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <vector>

#include <ouro/ouro.hpp>

using namespace std::chrono_literals;

// Owned by all who work there: a task may outlive the one that started it.
struct bakery {
    ouro::queue<int> orders{4};
    ouro::semaphore ovens{2};
    int in_the_ovens = 0;
    int most_in_the_ovens = 0;
    int baked = 0;
};

ouro::task<> take_orders(std::shared_ptr<bakery> shop, int first, int count) {
    for (int order = first; order < first + count; ++order) {
        co_await shop->orders.put(order);  // waits while four are queued
    }
}

ouro::task<> bake(std::shared_ptr<bakery> shop, int baker) {
    for (;;) {
        const auto order = co_await ouro::as_result(shop->orders.get());
        if (!order) co_return;  // errc::queue_shut_down
        {
            auto oven = co_await shop->ovens.scoped();
            shop->most_in_the_ovens = std::max(shop->most_in_the_ovens, ++shop->in_the_ovens);
            co_await ouro::sleep(1ms);
            --shop->in_the_ovens;
        }
        ++shop->baked;
        std::printf("baker %d: order %d is done\n", baker, *order);
        shop->orders.task_done();
    }
}

ouro::task<int> open_for_a_day() {
    auto shop = std::make_shared<bakery>();
    std::vector<ouro::task_handle<>> bakers;
    for (int baker = 1; baker <= 3; ++baker) bakers.push_back(ouro::spawn(bake, shop, baker));
    auto morning = ouro::spawn(take_orders, shop, 1, 10);
    auto noon = ouro::spawn(take_orders, shop, 11, 10);
    co_await morning;
    co_await noon;
    co_await shop->orders.join();  // every order is done,
    shop->orders.shutdown();       // and no more will come
    for (auto& baker : bakers) co_await baker;
    std::printf("%d orders, at most %d ovens in use\n", shop->baked, shop->most_in_the_ovens);
    co_return shop->baked == 20 && shop->most_in_the_ovens == 2 ? 0 : 1;
}

int main() { return ouro::run(open_for_a_day); }
