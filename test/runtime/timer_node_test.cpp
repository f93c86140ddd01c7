// What an owner of a timer sees of it; the queue itself is tested in timers_test.cpp.
#include <ouro/runtime/timer_node.hpp>

#include <boost/test/unit_test.hpp>

#include <ouro/runtime/loop.hpp>

#include "async_test.hpp"

namespace ouro::test {
namespace {

struct noted_timer : detail::timer_node {
    explicit noted_timer(clock::time_point at) {
        when = at;
        fire = [](timer_node& node) noexcept { ++static_cast<noted_timer&>(node).fired; };
    }
    ~noted_timer() {  // a test may end early
        if (queued()) (void)detail::remove_timer(loop::current(), *this);
    }
    noted_timer(const noted_timer&) = delete;
    noted_timer& operator=(const noted_timer&) = delete;
    int fired = 0;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(timer_nodes)

BOOST_AUTO_TEST_CASE(a_new_node_is_in_no_queue) {
    const detail::timer_node node;
    BOOST_TEST(!node.queued());
}

OURO_ASYNC_TEST(a_node_fires_once_and_keeps_its_deadline) {
    loop& home = loop::current();
    const auto when = home.time();
    noted_timer timer(when);
    detail::add_timer(home, timer);
    BOOST_TEST(timer.queued());
    BOOST_TEST(timer.fired == 0);
    co_await settle();
    BOOST_TEST(timer.fired == 1);
    BOOST_TEST(!timer.queued());
    BOOST_TEST((timer.when == when));
    BOOST_TEST(!detail::remove_timer(home, timer));
}

OURO_ASYNC_TEST(a_node_that_is_removed_does_not_fire_and_can_be_added_again) {
    loop& home = loop::current();
    noted_timer timer(home.time());
    detail::add_timer(home, timer);
    BOOST_TEST(detail::remove_timer(home, timer));
    BOOST_TEST(!timer.queued());
    co_await settle();
    BOOST_TEST(timer.fired == 0);
    detail::add_timer(home, timer);
    co_await settle();
    BOOST_TEST(timer.fired == 1);
}

OURO_ASYNC_TEST(a_due_node_removes_another_that_is_due_in_the_same_turn) {
    loop& home = loop::current();
    struct removing_timer : noted_timer {
        explicit removing_timer(loop& at, noted_timer& of)
            : noted_timer(clock::time_point::min()), home(at), other(of) {
            fire = [](timer_node& node) noexcept {
                auto& self = static_cast<removing_timer&>(node);
                ++self.fired;
                self.removed = detail::remove_timer(self.home, self.other);
            };
        }
        loop& home;
        noted_timer& other;
        bool removed = false;
    };
    noted_timer later(home.time());
    removing_timer sooner(home, later);
    detail::add_timer(home, later);
    detail::add_timer(home, sooner);
    co_await settle();
    BOOST_TEST(sooner.fired == 1);
    BOOST_TEST(sooner.removed);
    BOOST_TEST(later.fired == 0);
    BOOST_TEST(!later.queued());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
