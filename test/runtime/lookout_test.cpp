// When a loop looks out for mail: after each that came, more and more seldom while that is in vain.
#include "lookout.hpp"

#include <boost/test/unit_test.hpp>

#include <chrono>

namespace {

using ouro::detail::lookout;
using ouro::detail::mail_origin;
using ouro::detail::sight;
using namespace std::chrono_literals;

constexpr int here = 0;
constexpr mail_origin there{1, false};
constexpr sight in_vain{};
constexpr sight soon{sight::mail, true};
constexpr sight late{sight::mail, false};

/// How many of `mails` are followed by a look, each of which sees `what`.
int looks(lookout& policy, int mails, sight what, mail_origin from = there) {
    int count = 0;
    for (int i = 0; i < mails; ++i) {
        policy.mail_came(from);
        if (!policy.is_due(here)) continue;
        ++count;
        policy.looked(what);
    }
    return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(looking_out)

BOOST_AUTO_TEST_CASE(nobody_looks_out_without_mail) {
    lookout policy(20us);
    for (int i = 0; i < 1000; ++i) BOOST_TEST(!policy.is_due(here));
    policy.mail_came({});  // nothing did
    BOOST_TEST(!policy.is_due(here));
}

BOOST_AUTO_TEST_CASE(each_mail_is_followed_by_one_look_at_most) {
    lookout policy(20us);
    policy.mail_came(there);
    policy.mail_came({});
    BOOST_TEST(policy.is_due(here));
    policy.looked(soon);
    for (int i = 0; i < 1000; ++i) BOOST_TEST(!policy.is_due(here));
    BOOST_TEST(policy.looks() == 1U);
    BOOST_TEST(policy.met() == 1U);
}

BOOST_AUTO_TEST_CASE(looks_that_are_met_soon_go_on) {
    lookout policy(20us);
    BOOST_TEST(looks(policy, 1000, soon) == 1000);
}

BOOST_AUTO_TEST_CASE(looks_in_vain_become_seldom) {
    lookout policy(20us);
    // The 1st, 3rd, 7th ... 255th, and from there on one in 256.
    BOOST_TEST(looks(policy, 510, in_vain) == 8);
    BOOST_TEST(looks(policy, 256 * 100, in_vain) == 100);
    BOOST_TEST(policy.met() == 0U);
}

BOOST_AUTO_TEST_CASE(looks_that_are_met_late_become_seldom_too) {
    lookout policy(20us);
    // Three in a row are one in vain; on the way there 1 + 3 + 7 ... + 255 sleeps without any.
    BOOST_TEST(looks(policy, 502 + 24, late) == 24);
    BOOST_TEST(looks(policy, (255 + 3) * 100, late) == 300);
}

BOOST_AUTO_TEST_CASE(a_few_that_are_met_soon_do_not_pay_for_one_in_vain) {
    for (const sight end_of_burst : {in_vain, late}) {
        lookout policy(20us);
        int count = 0;
        for (int burst = 0; burst < 1000; ++burst) {
            (void)looks(policy, 3, soon);
            count += looks(policy, 1, end_of_burst);
        }
        BOOST_TEST(count < 100);
    }
}

BOOST_AUTO_TEST_CASE(looks_that_are_met_soon_bring_the_next_ones_nearer) {
    lookout policy(20us);
    (void)looks(policy, 510, in_vain);
    BOOST_TEST(looks(policy, 16 + 8, soon) == 16 + 8);
    BOOST_TEST(looks(policy, 510, in_vain) == 8);  // as at first
}

BOOST_AUTO_TEST_CASE(a_loop_that_will_look_out_says_so_as_long_as_that_is_not_in_vain) {
    lookout policy(20us);
    BOOST_TEST(!policy.is_expected());
    const auto after = [&](sight what) {
        policy.looked(what);
        return policy.is_expected();
    };
    BOOST_TEST(after(soon));
    BOOST_TEST(!after(in_vain));
    BOOST_TEST(after(late));
    BOOST_TEST(after(late));
    BOOST_TEST(!after(late));
    BOOST_TEST(after(late));
    BOOST_TEST(after(soon));
}

BOOST_AUTO_TEST_CASE(who_looks_out_is_answered_by_somebody_who_does) {
    lookout policy(20us);
    (void)looks(policy, 510, in_vain);
    BOOST_TEST(looks(policy, 1, soon, {1, true}) == 1);
    BOOST_TEST(looks(policy, 100, soon) == 100);
}

BOOST_AUTO_TEST_CASE(a_look_is_soon_over_and_never_after_the_deadline) {
    const lookout policy(20us);
    const ouro::clock::time_point now{1h};
    const auto whole = policy.span(now, ouro::clock::time_point::max());
    BOOST_TEST((whole.soon == now + 5us));
    BOOST_TEST((whole.end == now + 20us));
    BOOST_TEST((policy.span(now, now + 7us).end == now + 7us));
}

BOOST_AUTO_TEST_CASE(nobody_looks_out_for_who_needs_the_same_processor) {
    lookout policy(20us);
    BOOST_TEST(looks(policy, 1000, in_vain, {here, false}) == 0);
    BOOST_TEST(looks(policy, 1000, in_vain, {here, true}) == 0);
}

BOOST_AUTO_TEST_CASE(nobody_looks_out_who_is_told_not_to) {
    lookout policy(0us);
    BOOST_TEST(looks(policy, 1000, in_vain) == 0);
    BOOST_TEST(looks(policy, 1000, in_vain, {1, true}) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
