// The timer queue against a model, and at its edges.
#include "timers.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace {

using ouro::detail::timer_node;
using ouro::detail::timer_queue;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using time_point = steady_clock::time_point;

time_point at(int ms) { return time_point(milliseconds(ms)); }

// A queue that is empty when it dies, whatever the test left in it.
struct fixture {
    std::vector<std::unique_ptr<timer_node>> nodes;
    timer_queue queue;

    ~fixture() {
        while (queue.pop_any()) continue;
    }
    timer_node& add(time_point when) {
        nodes.push_back(std::make_unique<timer_node>());
        nodes.back()->when = when;
        queue.add(*nodes.back());
        return *nodes.back();
    }
};

// What the queue must be indistinguishable from. A multimap inserts equal keys in order of arrival.
class model {
  public:
    void add(timer_node& node) { places_[&node] = order_.emplace(node.when, &node); }
    void remove(timer_node& node) {
        order_.erase(places_.at(&node));
        places_.erase(&node);
    }
    timer_node* first() const { return order_.empty() ? nullptr : order_.begin()->second; }
    timer_node* pop_expired(time_point now) {
        timer_node* node = first();
        if (!node || node->when > now) return nullptr;
        remove(*node);
        return node;
    }
    std::size_t size() const { return order_.size(); }

  private:
    using order = std::multimap<time_point, timer_node*>;
    order order_;
    std::map<timer_node*, order::iterator> places_;
};

// Few distinct deadlines make ties, many make depth. Adds outweigh removes until half-way, so that
// the queue grows to hundreds and drains again.
void compare_with_model(unsigned seed, int distinct_deadlines) {
    std::mt19937 random(seed);
    auto below = [&](int limit) {
        return static_cast<int>(random() % static_cast<unsigned>(limit));
    };
    std::vector<timer_node> nodes(1000);
    timer_queue queue;
    model expected;
    const int steps = 20'000;
    int now = 0;
    for (int step = 0; step < steps; ++step) {
        timer_node& node = nodes[static_cast<std::size_t>(below(1000))];
        const int action = below(100);
        if (action < (step < steps / 2 ? 60 : 30)) {
            if (!node.queued()) {
                node.when = at(now + below(distinct_deadlines));
                queue.add(node);
                expected.add(node);
            }
        } else if (action < 80) {
            const bool was_queued = node.queued();
            if (was_queued) expected.remove(node);
            BOOST_REQUIRE_EQUAL(queue.remove(node), was_queued);
        } else {
            now += below(distinct_deadlines / 100 + 1);
            timer_node* const next = expected.pop_expired(at(now));
            BOOST_REQUIRE_EQUAL(queue.pop_expired(at(now)), next);
            if (next) BOOST_REQUIRE(!next->queued());
        }
        BOOST_REQUIRE_EQUAL(queue.first(), expected.first());
        BOOST_REQUIRE_EQUAL(queue.size(), expected.size());
    }
    while (timer_node* next = expected.pop_expired(time_point::max())) {
        BOOST_REQUIRE_EQUAL(queue.pop_expired(time_point::max()), next);
    }
    BOOST_CHECK_EQUAL(queue.size(), 0u);
    BOOST_CHECK(std::none_of(nodes.begin(), nodes.end(), [](auto& n) { return n.queued(); }));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(timers)

BOOST_AUTO_TEST_CASE(an_empty_queue_has_nothing_to_give) {
    timer_queue queue;
    timer_node node;
    BOOST_CHECK(queue.first() == nullptr);
    BOOST_CHECK(queue.pop_expired(time_point::max()) == nullptr);
    BOOST_CHECK(queue.pop_any() == nullptr);
    BOOST_CHECK(!queue.remove(node));
    BOOST_CHECK_EQUAL(queue.size(), 0u);
}

BOOST_FIXTURE_TEST_CASE(a_timer_expires_at_its_deadline_and_not_before, fixture) {
    timer_node& node = add(at(10));
    BOOST_CHECK(node.queued());
    BOOST_CHECK(queue.pop_expired(at(10) - steady_clock::duration(1)) == nullptr);
    BOOST_CHECK(node.queued());
    BOOST_CHECK(queue.pop_expired(at(10)) == &node);
    BOOST_CHECK(!node.queued());
    BOOST_CHECK(queue.pop_expired(at(10)) == nullptr);
}

BOOST_FIXTURE_TEST_CASE(timers_expire_in_order_of_deadline, fixture) {
    for (int ms : {50, 10, 40, 20, 30}) add(at(ms));
    for (int ms : {10, 20, 30, 40, 50}) {
        BOOST_REQUIRE(queue.first() != nullptr);
        BOOST_CHECK(queue.first()->when == at(ms));
        BOOST_CHECK(queue.pop_expired(at(50))->when == at(ms));
    }
}

BOOST_FIXTURE_TEST_CASE(equal_deadlines_expire_first_in_first_out, fixture) {
    for (int i = 0; i < 100; ++i) add(at(i % 2));
    for (int parity : {0, 1}) {
        for (std::size_t i = static_cast<std::size_t>(parity); i < 100; i += 2) {
            BOOST_REQUIRE_EQUAL(queue.pop_expired(at(1)), nodes[i].get());
        }
    }
}

BOOST_FIXTURE_TEST_CASE(a_timer_added_again_goes_behind_its_equals, fixture) {
    timer_node& one = add(at(5));
    timer_node& two = add(at(5));
    BOOST_CHECK(queue.remove(one));
    queue.add(one);
    BOOST_CHECK(queue.pop_expired(at(5)) == &two);
    BOOST_CHECK(queue.pop_expired(at(5)) == &one);
}

BOOST_FIXTURE_TEST_CASE(an_earlier_timer_displaces_the_first_without_losing_its_turn, fixture) {
    timer_node& one = add(at(5));
    timer_node& two = add(at(5));
    timer_node& early = add(at(4));
    timer_node& earliest = add(at(3));
    BOOST_CHECK(queue.first() == &earliest);
    BOOST_CHECK(queue.remove(earliest));
    BOOST_CHECK(queue.first() == &early);
    for (timer_node* node : {&early, &one, &two}) BOOST_CHECK(queue.pop_expired(at(5)) == node);
}

BOOST_FIXTURE_TEST_CASE(removing_twice_removes_once, fixture) {
    timer_node& node = add(at(1));
    add(at(2));
    BOOST_CHECK(queue.remove(node));
    BOOST_CHECK(!queue.remove(node));
    BOOST_CHECK_EQUAL(queue.size(), 1u);
}

BOOST_FIXTURE_TEST_CASE(a_popped_timer_may_remove_others_and_add_itself_again, fixture) {
    for (int i = 0; i < 50; ++i) add(at(i));
    std::vector<timer_node*> fired;
    while (timer_node* node = queue.pop_expired(at(100))) {
        fired.push_back(node);
        BOOST_CHECK(!queue.remove(*node));
        const auto index = static_cast<std::size_t>(
            std::find_if(nodes.begin(), nodes.end(), [&](auto& n) { return n.get() == node; }) -
            nodes.begin());
        if (index + 1 < nodes.size()) queue.remove(*nodes[index + 1]);
        if (fired.size() == 1) {
            node->when = at(200);
            queue.add(*node);
        }
    }
    BOOST_REQUIRE_EQUAL(fired.size(), 25u);
    for (std::size_t i = 0; i < 25; ++i) BOOST_CHECK_EQUAL(fired[i], nodes[2 * i].get());
    BOOST_CHECK_EQUAL(queue.size(), 1u);
    BOOST_CHECK(queue.pop_expired(at(200)) == nodes[0].get());
}

BOOST_FIXTURE_TEST_CASE(the_ends_of_time_are_ordinary_deadlines, fixture) {
    timer_node& never = add(time_point::max());
    timer_node& never_either = add(time_point::max());
    timer_node& soon = add(at(1));
    timer_node& always = add(time_point::min());
    BOOST_CHECK(queue.first() == &always);
    BOOST_CHECK(queue.pop_expired(time_point::min()) == &always);
    BOOST_CHECK(queue.pop_expired(at(1)) == &soon);
    BOOST_CHECK(queue.pop_expired(time_point::max() - steady_clock::duration(1)) == nullptr);
    BOOST_CHECK(queue.remove(never));
    queue.add(never);
    BOOST_CHECK(queue.pop_expired(time_point::max()) == &never_either);
    BOOST_CHECK(queue.pop_expired(time_point::max()) == &never);
}

BOOST_AUTO_TEST_CASE(take_out_unlinks_what_is_wanted_and_leaves_the_rest_in_order) {
    std::mt19937 random(7);
    for (int round = 0; round < 500; ++round) {
        fixture of;
        const int count = static_cast<int>(random() % 40);
        for (int i = 0; i < count; ++i) of.add(at(static_cast<int>(random() % 30)));
        const unsigned one_in = 1 + random() % 4;
        std::vector<const timer_node*> wanted;
        for (const auto& each : of.nodes) {
            if (random() % one_in == 0) wanted.push_back(each.get());
        }
        const auto is_wanted = [&](const timer_node& node) {
            return std::find(wanted.begin(), wanted.end(), &node) != wanted.end();
        };
        of.queue.take_out(is_wanted);
        for (const auto& each : of.nodes) BOOST_TEST_REQUIRE(each->queued() == !is_wanted(*each));
        BOOST_TEST(of.queue.size() == of.nodes.size() - wanted.size());
        time_point last{};
        while (const timer_node* node = of.queue.pop_expired(at(100))) {
            BOOST_TEST_REQUIRE((!is_wanted(*node) && node->when >= last));
            last = node->when;
        }
    }
}

BOOST_FIXTURE_TEST_CASE(pop_any_gives_every_timer_once, fixture) {
    for (int i = 0; i < 20; ++i) add(i % 3 ? at(20 - i) : time_point::max());
    std::vector<timer_node*> popped;
    while (timer_node* node = queue.pop_any()) {
        BOOST_CHECK(!node->queued());
        popped.push_back(node);
        BOOST_CHECK_EQUAL(queue.size(), 20 - popped.size());
    }
    std::sort(popped.begin(), popped.end());
    BOOST_CHECK(std::unique(popped.begin(), popped.end()) == popped.end());
    BOOST_CHECK_EQUAL(popped.size(), 20u);
}

BOOST_AUTO_TEST_CASE(random_operations_with_many_ties_match_a_multimap) {
    for (unsigned seed = 1; seed <= 5; ++seed) compare_with_model(seed, 8);
}

BOOST_AUTO_TEST_CASE(random_operations_with_few_ties_match_a_multimap) {
    for (unsigned seed = 11; seed <= 15; ++seed) compare_with_model(seed, 100'000);
}

BOOST_AUTO_TEST_CASE(a_million_timers_are_added_and_removed_and_the_rest_stay_in_order) {
    std::mt19937 random(7);
    std::vector<timer_node> nodes(1'000'000);
    timer_queue queue;
    for (timer_node& node : nodes) {
        node.when = at(static_cast<int>(random() % 60'000));
        queue.add(node);
    }
    BOOST_CHECK_EQUAL(queue.size(), nodes.size());
    // One in a hundred stays; a stride prime to the size visits all in scattered order.
    std::size_t kept = 0;
    for (std::size_t i = 0, visit = 0; i < nodes.size(); ++i) {
        visit = (visit + 611'953) % nodes.size();
        if (visit % 100 == 0)
            ++kept;
        else
            BOOST_REQUIRE(queue.remove(nodes[visit]));
    }
    BOOST_CHECK_EQUAL(queue.size(), kept);
    const timer_node* before = nullptr;
    while (const timer_node* node = queue.pop_expired(at(60'000))) {
        if (before) {
            BOOST_REQUIRE(before->when < node->when ||
                          (before->when == node->when && before->sequence < node->sequence));
        }
        before = node;
        --kept;
    }
    BOOST_CHECK_EQUAL(kept, 0u);
    BOOST_CHECK_EQUAL(queue.size(), 0u);
}

BOOST_AUTO_TEST_SUITE_END()
