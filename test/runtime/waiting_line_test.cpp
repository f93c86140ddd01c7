// Lines of waiting frames, and what all primitives have in common.
#include <ouro/runtime/waiting_line.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>

#include <ouro/runtime/barrier.hpp>
#include <ouro/runtime/condition.hpp>
#include <ouro/runtime/event.hpp>
#include <ouro/runtime/queue.hpp>
#include <ouro/runtime/semaphore.hpp>
#include <ouro/testing/allocation_faults.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// A line whose grants are counted when they come back.
struct counted_line {
    detail::waiting_line line;
    std::string order;
    int revoked = 0;
};

class counted_wait : public detail::awaitable<counted_wait, void, detail::line_wait> {
  public:
    explicit counted_wait(counted_line& in) noexcept : awaitable(kind), in_(&in) {}
    ~counted_wait() {
        if (granted()) revoke(*this);
    }
    void start() noexcept { in_->line.push(*this); }
    void value() noexcept { leave(); }

  private:
    static void revoke(detail::wait_point& wait) noexcept {
        auto& self = static_cast<counted_wait&>(wait);
        self.leave();
        ++self.in_->revoked;
    }
    static constexpr detail::wait_kind kind{"stand in line", &line_wait::cancelled, &revoke};
    counted_line* in_;
};

task_handle<> stand_in(const std::shared_ptr<counted_line>& line, char name) {
    return spawn(
        [](std::shared_ptr<counted_line> in, char who) -> task<> {
            const auto ended = co_await as_result(counted_wait(*in));
            in->order += ended ? who : static_cast<char>(who - 'a' + 'A');
        },
        line, name);
}

/// What `wait` ends with on a second loop, after it had to wait on a first one.
template <class Wait>
error on_a_second_loop(Wait wait) {
    loop first(options_for(engine::uring));
    loop second(options_for(engine::uring));
    spawn(first, wait());
    first.stop();
    first.run_forever();
    const auto ended = second.run_until_complete(wait());
    return ended ? error() : ended.error();
}

/// The same for what need not wait.
template <class Use>
bool works_on_two_loops(Use use) {
    loop first(options_for(engine::uring));
    loop second(options_for(engine::uring));
    return first.run_until_complete(use()) && second.run_until_complete(use());
}

/// What a report says of a task that waits as `wait` does: up to the address, and behind it.
template <class Wait>
std::string described(Wait wait) {
    loop home(options_for(engine::uring));
    detail::task_core* waiting = nullptr;
    auto body = [&]() -> task<> {
        waiting = detail::task_core::current();
        co_await wait();
    };
    spawn(home, body());
    for (int i = 0; i < 2; ++i) {
        home.stop();
        home.run_forever();
    }
    const detail::wait_point& leaf = *waiting->leaf;
    const std::string what = leaf.kind().describe(leaf);
    return std::string(leaf.kind().name) + what.substr(what.find(" ("));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(waiting_lines)

OURO_ASYNC_TEST(grants_go_to_the_first_and_are_counted_until_their_task_has_run) {
    auto shared = std::make_shared<counted_line>();
    detail::waiting_line& line = shared->line;
    BOOST_TEST(!line.grant());
    for (char name = 'a'; name <= 'c'; ++name) stand_in(shared, name);
    co_await settle();
    BOOST_TEST(line.waiting_count() == 3U);
    BOOST_TEST(line.grant());
    BOOST_TEST(line.grant());
    BOOST_TEST(line.waiting_count() == 1U);
    BOOST_TEST(line.granted_count() == 2U);
    co_await settle();
    BOOST_TEST(shared->order == "ab");
    BOOST_TEST(line.granted_count() == 0U);
    line.wake_all();
    BOOST_TEST(line.empty());
    co_await settle();
    BOOST_TEST(shared->order == "abc");
    BOOST_TEST(shared->revoked == 0);
}

OURO_ASYNC_TEST(a_cancelled_one_leaves_and_one_who_was_granted_something_gives_it_back) {
    auto shared = std::make_shared<counted_line>();
    auto a = stand_in(shared, 'a');
    auto b = stand_in(shared, 'b');
    co_await settle();
    b.cancel();
    BOOST_TEST(shared->line.waiting_count() == 1U);
    shared->line.grant();
    a.cancel();
    co_await settle();
    BOOST_TEST(shared->order == "BA");
    BOOST_TEST(shared->revoked == 1);
    BOOST_TEST(shared->line.granted_count() == 0U);
}

OURO_ASYNC_TEST(those_who_fail_after_a_grant_give_nothing_back_and_those_let_go_keep_it) {
    auto shared = std::make_shared<counted_line>();
    for (char name = 'a'; name <= 'd'; ++name) stand_in(shared, name);
    co_await settle();
    shared->line.grant();
    shared->line.fail_granted(errc::no_address);
    shared->line.grant();
    shared->line.let_granted_go();
    shared->line.grant();
    shared->line.fail_waiting(errc::no_address);
    BOOST_TEST(shared->line.granted_count() == 1U);
    co_await settle();
    BOOST_TEST(shared->order == "AbcD");
    BOOST_TEST(shared->revoked == 0);
}

// rule 215
BOOST_AUTO_TEST_CASE(a_primitive_belongs_to_the_first_loop_on_which_something_had_to_wait_for_it) {
    lock door;
    semaphore permits(0);
    event happened;
    condition changed;
    barrier place(5);
    queue<int> jobs(1);
    BOOST_TEST(jobs.put_now(1).has_value());
    {
        loop taker(options_for(engine::uring));
        auto take = [&]() -> task<> { co_await door.acquire(); };
        BOOST_TEST(taker.run_until_complete(take()).has_value());
    }
    const error of_lock = on_a_second_loop([&]() -> task<> { co_await door.acquire(); });
    BOOST_TEST((of_lock == errc::wrong_loop));
    BOOST_TEST(of_lock.doing() == "acquire lock");
    BOOST_TEST(
        (on_a_second_loop([&]() -> task<> { co_await permits.acquire(); }) == errc::wrong_loop));
    BOOST_TEST(
        (on_a_second_loop([&]() -> task<> { co_await happened.wait(); }) == errc::wrong_loop));
    BOOST_TEST((on_a_second_loop([&]() -> task<> {
                    auto held = co_await changed.scoped();
                    co_await changed.wait();
                }) == errc::wrong_loop));
    BOOST_TEST(!changed.locked());
    BOOST_TEST(
        (on_a_second_loop([&]() -> task<> { (void)co_await place.wait(); }) == errc::wrong_loop));
    BOOST_TEST((on_a_second_loop([&]() -> task<> { co_await jobs.put(2); }) == errc::wrong_loop));
    BOOST_TEST((on_a_second_loop([&]() -> task<> { co_await jobs.join(); }) == errc::wrong_loop));
    BOOST_TEST(jobs.get_now().value() == 1);
    BOOST_TEST(
        (on_a_second_loop([&]() -> task<> { (void)co_await jobs.get(); }) == errc::wrong_loop));
}

// rule 215
BOOST_AUTO_TEST_CASE(what_need_not_wait_works_on_any_loop) {
    lock door;
    semaphore permits(1);
    event happened;
    happened.set();
    condition changed;
    barrier place(1);
    queue<int> jobs(1);
    BOOST_TEST(works_on_two_loops([&]() -> task<> {
        auto held = co_await door.scoped();
        auto permit = co_await permits.scoped();
        auto own = co_await changed.scoped();
        co_await changed.wait_for([] { return true; });
        co_await happened.wait();
        (void)co_await place.wait();
        co_await jobs.put(1);
        (void)co_await jobs.get();
        jobs.task_done();
        co_await jobs.join();
    }));
}

static task<> take_permit(semaphore& from) { co_await from.acquire(); }

OURO_WHOLE_TEST(what_need_not_wait_allocates_nothing_and_neither_does_waiting,
                "counts the allocations itself") {
    lock door;
    semaphore permits(1);
    event happened;
    barrier place(1);
    queue<int> jobs(4);
    co_await jobs.put(0);  // a queue allocates when it holds more than ever before
    auto waits = spawn([&]() -> task<int> {
        co_await happened.wait();
        co_return co_await jobs.get() + co_await jobs.get();
    });
    co_await settle();
    testing::allocation_faults::arm(0, false);
    for (int i = 0; i < 3; ++i) {
        happened.set();
        auto held = co_await door.scoped();
        auto permit = co_await permits.scoped();
        co_await happened.wait();
        (void)co_await place.wait();
    }
    co_await yield();  // the other task takes one item and waits for the second
    co_await yield();
    const bool waited = !waits.done();
    co_await jobs.put(5);
    co_await yield();
    co_await yield();
    const auto allocations = testing::allocation_faults::disarm();
    BOOST_TEST(allocations == 0U);
    BOOST_TEST(waited);
    BOOST_TEST(co_await waits == 5);
}

BOOST_AUTO_TEST_CASE(a_report_says_how_many_wait) {
    lock door;
    semaphore permits(0);
    event happened;
    condition changed;
    barrier place(5);
    queue<int> empty_queue;
    queue<int> full_queue(1);
    queue<int> joined_queue(1);  // each belongs to the loop it is waited for on
    BOOST_TEST(full_queue.put_now(1).has_value());
    BOOST_TEST(joined_queue.put_now(1).has_value());
    BOOST_TEST(described([&]() -> task<> {
                   co_await door.acquire();
                   co_await door.acquire();
               }) == "acquire lock (1 waiter)");
    BOOST_TEST(described([&]() -> task<> {
                   for (int i = 0; i < 2; ++i) spawn(take_permit, std::ref(permits));
                   co_await permits.acquire();
               }) == "acquire semaphore (3 waiters)");
    BOOST_TEST(described([&]() -> task<> { co_await happened.wait(); }) ==
               "wait for event (1 waiter)");
    BOOST_TEST(described([&]() -> task<> {
                   co_await changed.acquire();
                   co_await changed.wait();
               }) == "wait for condition (1 waiter)");
    BOOST_TEST(described([&]() -> task<> { (void)co_await place.wait(); }) ==
               "wait at barrier (1 waiter)");
    BOOST_TEST(described([&]() -> task<> { (void)co_await empty_queue.get(); }) ==
               "get from queue (1 waiter)");
    BOOST_TEST(described([&]() -> task<> { co_await full_queue.put(2); }) ==
               "put into queue (1 waiter)");
    BOOST_TEST(described([&]() -> task<> { co_await joined_queue.join(); }) ==
               "join queue (1 waiter)");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
