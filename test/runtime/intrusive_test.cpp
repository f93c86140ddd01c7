// Lists threaded through their elements.
#include <ouro/runtime/intrusive.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <string>

namespace ouro::test {
namespace {

struct item : detail::list_link {
    explicit item(char with) : name(with) {}
    char name;
};

std::string names(detail::list<item>& of) {
    std::string text;
    for (item* each = of.front(); each; each = of.after(*each)) text += each->name;
    return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(intrusive_lists)

BOOST_AUTO_TEST_CASE(an_empty_list_has_nothing_to_give) {
    detail::list<item> list;
    BOOST_TEST(list.empty());
    BOOST_TEST(!list.front());
    BOOST_TEST(!list.pop_front());
}

BOOST_AUTO_TEST_CASE(elements_come_out_in_the_order_they_went_in) {
    item a('a'), b('b'), c('c');
    detail::list<item> list;
    for (item* each : {&a, &b, &c}) list.push_back(*each);
    BOOST_TEST(names(list) == "abc");
    BOOST_TEST(list.pop_front() == &a);
    BOOST_TEST(!a.linked());
    list.push_back(a);
    BOOST_TEST(names(list) == "bca");
    BOOST_TEST(list.after(a) == nullptr);
}

BOOST_AUTO_TEST_CASE(an_element_leaves_from_any_place_and_leaving_twice_is_harmless) {
    item a('a'), b('b'), c('c');
    detail::list<item> list;
    for (item* each : {&a, &b, &c}) list.push_back(*each);
    b.unlink();
    BOOST_TEST(names(list) == "ac");
    b.unlink();
    BOOST_TEST(names(list) == "ac");
    a.unlink();
    c.unlink();
    BOOST_TEST(list.empty());
}

BOOST_AUTO_TEST_CASE(an_element_that_dies_leaves_its_list) {
    item a('a'), c('c');
    auto b = std::make_unique<item>('b');
    detail::list<item> list;
    list.push_back(a);
    list.push_back(*b);
    list.push_back(c);
    b.reset();
    BOOST_TEST(names(list) == "ac");
}

BOOST_AUTO_TEST_CASE(a_list_that_dies_lets_its_elements_go) {
    item a('a'), b('b');
    {
        detail::list<item> list;
        list.push_back(a);
        list.push_back(b);
        while (list.pop_front()) continue;
    }
    BOOST_TEST(!a.linked());
    BOOST_TEST(!b.linked());
}

BOOST_AUTO_TEST_CASE(splicing_moves_everything_to_the_end_and_empties_the_source) {
    item a('a'), b('b'), c('c'), d('d');
    detail::list<item> first, second, none;
    first.push_back(a);
    second.push_back(b);
    second.push_back(c);
    first.splice_back(second);
    BOOST_TEST(names(first) == "abc");
    BOOST_TEST(second.empty());
    first.splice_back(none);
    BOOST_TEST(names(first) == "abc");
    none.splice_back(first);
    BOOST_TEST(names(none) == "abc");
    BOOST_TEST(first.empty());
    first.push_back(d);
    BOOST_TEST(names(first) == "d");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
