// Many tasks, random cancellations: what must hold however the steps fall. Each seed is one run
// that is the same every time.
#include <ouro/runtime/semaphore.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <ouro/runtime/barrier.hpp>
#include <ouro/runtime/condition.hpp>
#include <ouro/runtime/lock.hpp>
#include <ouro/runtime/queue.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

constexpr std::uint64_t seed_count = 12;
constexpr int turn_limit = 20000;  // far above what any run needs: reaching it means starvation

class dice {
  public:
    explicit dice(std::uint64_t seed) : engine_(seed) {}
    /// A number below `sides`.
    int operator()(int sides) { return static_cast<int>(engine_() % static_cast<unsigned>(sides)); }

  private:
    std::mt19937_64 engine_;
};

task<> linger(dice& chance) {
    for (int turns = chance(4); turns > 0; --turns) co_await yield();
}

/// Cancels one of `tasks` now and then until all have ended. They go on after a cancellation.
task<> harass(std::vector<task_handle<>> tasks, dice& chance) {
    auto still_runs = [](const task_handle<>& each) { return !each.done(); };
    int turns = 0;
    while (std::any_of(tasks.begin(), tasks.end(), still_runs)) {
        BOOST_TEST_REQUIRE(++turns < turn_limit, "a task starves");
        co_await yield();
        if (chance(2) == 0) tasks[static_cast<std::size_t>(chance(int(tasks.size())))].cancel();
    }
}

/// Who asked for something, in order, and has not got it.
class asked {
  public:
    int ask() { return *waiting_.insert(waiting_.end(), next_++); }
    void leave(int ticket) { waiting_.erase(ticket); }
    /// How many asked before `ticket`.
    std::ptrdiff_t before(int ticket) const {
        return std::distance(waiting_.begin(), waiting_.find(ticket));
    }

  private:
    std::set<int> waiting_;
    int next_ = 0;
};

// ---- locks

struct lock_world {
    explicit lock_world(std::uint64_t seed) : chance(seed) {}
    lock door;
    asked line;
    int inside = 0;
    int entered = 0;
    int refused = 0;
    dice chance;
};

task<> use_lock(std::shared_ptr<lock_world> world) {
    for (int i = 0; i < 15; ++i) {
        const int ticket = world->line.ask();
        const auto got = co_await as_result(world->door.acquire());
        if (got) BOOST_TEST(world->line.before(ticket) == 0);
        world->line.leave(ticket);
        if (!got) {
            ++world->refused;
            continue;
        }
        BOOST_TEST(++world->inside == 1);
        ++world->entered;
        (void)co_await as_result(linger(world->chance));
        --world->inside;
        world->door.release();
        (void)co_await as_result(linger(world->chance));
    }
}

// ---- semaphores

constexpr int permit_count = 3;

struct semaphore_world {
    explicit semaphore_world(std::uint64_t seed) : chance(seed) {}
    bounded_semaphore permits{permit_count};
    asked line;
    int inside = 0;
    int most_inside = 0;
    dice chance;
};

task<> use_semaphore(std::shared_ptr<semaphore_world> world) {
    for (int i = 0; i < 15; ++i) {
        const int ticket = world->line.ask();
        const auto got = co_await as_result(world->permits.scoped());
        // Those before it have a permit and did not run yet.
        if (got) BOOST_TEST(world->line.before(ticket) < permit_count);
        world->line.leave(ticket);
        if (!got) continue;
        BOOST_TEST(++world->inside <= permit_count);
        world->most_inside = std::max(world->most_inside, world->inside);
        (void)co_await as_result(linger(world->chance));
        --world->inside;
    }
}

// ---- queues

template <class Queue>
struct queue_world {
    explicit queue_world(std::uint64_t seed) : chance(seed), items(chance(4)) {}
    dice chance;
    Queue items;
    std::multiset<int> put;
    std::multiset<int> got;
    int next = 0;
    int producers = 0;
};

template <class Queue>
task<> produce(std::shared_ptr<queue_world<Queue>> world) {
    for (int i = 0; i < 15; ++i) {
        const int item = world->next++;
        if (co_await as_result(world->items.put(item))) world->put.insert(item);
        (void)co_await as_result(linger(world->chance));
    }
    if (--world->producers == 0) world->items.shutdown();
}

template <class Queue>
task<> consume(std::shared_ptr<queue_world<Queue>> world) {
    for (;;) {
        const auto got = co_await as_result(world->items.get());
        if (!got && got.error() == errc::queue_shut_down) co_return;
        if (!got) continue;
        world->got.insert(*got);
        world->items.task_done();
        (void)co_await as_result(linger(world->chance));
    }
}

template <class Queue>
task<> run_queue(std::uint64_t seed) {
    auto world = std::make_shared<queue_world<Queue>>(seed);
    std::vector<task_handle<>> tasks;
    world->producers = 4;
    for (int i = 0; i < 4; ++i) tasks.push_back(spawn(&produce<Queue>, world));
    for (int i = 0; i < 4; ++i) tasks.push_back(spawn(&consume<Queue>, world));
    co_await harass(tasks, world->chance);
    BOOST_TEST((world->put == world->got), "seed " << seed << ": items were lost or doubled");
    BOOST_TEST(!world->put.empty());
    BOOST_TEST(world->items.empty());
    co_await world->items.join();
}

// ---- conditions: a bounded buffer made of two of them

struct buffer_world {
    explicit buffer_world(std::uint64_t seed) : chance(seed) {}
    dice chance;
    lock door;
    condition not_full{door};
    condition not_empty{door};
    int filled = 0;
    int put = 0;
    int got = 0;
    int producers = 0;
};

task<> fill(std::shared_ptr<buffer_world> world) {
    for (int i = 0; i < 15; ++i) {
        auto held = co_await as_result(world->door.scoped());
        if (!held) continue;
        const auto room =
            co_await as_result(world->not_full.wait_for([&] { return world->filled < 2; }));
        BOOST_TEST(world->door.locked());
        if (!room) continue;
        ++world->filled;
        ++world->put;
        world->not_empty.notify();
    }
    while (!co_await as_result(world->door.acquire())) {
    }
    if (--world->producers == 0) world->not_empty.notify_all();
    world->door.release();
}

task<> drain(std::shared_ptr<buffer_world> world) {
    for (;;) {
        auto held = co_await as_result(world->door.scoped());
        if (!held) continue;
        const auto some = co_await as_result(
            world->not_empty.wait_for([&] { return world->filled > 0 || world->producers == 0; }));
        BOOST_TEST(world->door.locked());
        if (!some) continue;
        if (world->filled == 0) co_return;
        --world->filled;
        ++world->got;
        world->not_full.notify();
    }
}

// ---- barriers

struct barrier_world {
    explicit barrier_world(std::uint64_t seed) : chance(seed) {}
    dice chance;
    barrier place{3};
    std::vector<std::size_t> indices;
    bool over = false;
};

task<> meet(std::shared_ptr<barrier_world> world) {
    while (!world->over) {
        const auto index = co_await as_result(world->place.wait());
        if (index) world->indices.push_back(*index);
        if (world->indices.size() > 60) world->over = true;
        (void)co_await as_result(linger(world->chance));
    }
    world->place.abort();  // the others see that it is over
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sync_chaos)

// rules 216, 218, 220-222
OURO_ASYNC_TEST(a_lock_is_exclusive_in_order_and_never_lost_whatever_is_cancelled) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
        auto world = std::make_shared<lock_world>(seed);
        std::vector<task_handle<>> tasks;
        for (int i = 0; i < 6; ++i) tasks.push_back(spawn(&use_lock, world));
        co_await harass(tasks, world->chance);
        BOOST_TEST(!world->door.locked(), "seed " << seed);
        BOOST_TEST(world->entered + world->refused == 6 * 15);
        BOOST_TEST(world->entered > 0);
        BOOST_TEST(world->refused > 0);
    }
}

// rules 235-238
OURO_ASYNC_TEST(permits_are_neither_lost_nor_made_whatever_is_cancelled) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
        auto world = std::make_shared<semaphore_world>(seed);
        std::vector<task_handle<>> tasks;
        for (int i = 0; i < 8; ++i) tasks.push_back(spawn(&use_semaphore, world));
        co_await harass(tasks, world->chance);
        BOOST_TEST(world->most_inside == permit_count);
        for (int i = 0; i < permit_count; ++i) {
            BOOST_TEST(!world->permits.locked(), "seed " << seed);
            co_await world->permits.acquire();
        }
        BOOST_TEST(world->permits.locked());
    }
}

// rules 251-255, 258, 259
OURO_ASYNC_TEST(items_are_neither_lost_nor_doubled_whatever_is_cancelled) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
        co_await run_queue<queue<int>>(seed);
        co_await run_queue<lifo_queue<int>>(seed);
        co_await run_queue<priority_queue<int>>(seed);
    }
}

// rules 227, 230
OURO_ASYNC_TEST(no_notification_is_lost_whatever_is_cancelled) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
        auto world = std::make_shared<buffer_world>(seed);
        std::vector<task_handle<>> tasks;
        world->producers = 3;
        for (int i = 0; i < 3; ++i) tasks.push_back(spawn(&fill, world));
        for (int i = 0; i < 3; ++i) tasks.push_back(spawn(&drain, world));
        co_await harass(tasks, world->chance);
        BOOST_TEST(world->put == world->got, "seed " << seed);
        BOOST_TEST(world->put > 0);
        BOOST_TEST(!world->door.locked());
    }
}

// rules 241, 242
OURO_ASYNC_TEST(rounds_of_a_barrier_never_mix) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
        auto world = std::make_shared<barrier_world>(seed);
        std::vector<task_handle<>> tasks;
        for (int i = 0; i < 7; ++i) tasks.push_back(spawn(&meet, world));
        for (auto& each : tasks) co_await each;
        auto& indices = world->indices;
        for (auto round = indices.begin(); indices.end() - round >= 3; round += 3) {
            std::sort(round, round + 3);
            BOOST_TEST((round[0] == 0 && round[1] == 1 && round[2] == 2), "seed " << seed);
        }
    }
}

// rules 243, 245
OURO_ASYNC_TEST(a_barrier_lets_people_through_whatever_is_cancelled) {
    for (std::uint64_t seed = 1; seed <= seed_count; ++seed) {
        auto world = std::make_shared<barrier_world>(seed);
        std::vector<task_handle<>> tasks;
        for (int i = 0; i < 7; ++i) tasks.push_back(spawn(&meet, world));
        co_await harass(tasks, world->chance);
        for (const std::size_t each : world->indices) BOOST_TEST(each < 3U);
        BOOST_TEST(world->indices.size() > 60U);
        BOOST_TEST(world->place.broken());
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
