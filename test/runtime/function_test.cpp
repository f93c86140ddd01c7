// The move-only callable.
#include <ouro/runtime/function.hpp>

#include <boost/test/unit_test.hpp>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>

namespace ouro::test {
namespace {

/// Counts how many of its kind live.
struct counted {
    explicit counted(int& of) : live(&of) { ++*live; }
    counted(const counted& other) : live(other.live) { ++*live; }
    counted(counted&& other) noexcept : live(other.live) { ++*live; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*live; }
    int* live;
};

int twice(int number) { return 2 * number; }

}  // namespace

BOOST_AUTO_TEST_SUITE(functions)

BOOST_AUTO_TEST_CASE(an_empty_one_tests_false) {
    callback nothing;
    BOOST_TEST(!nothing);
    nothing.reset();
    BOOST_TEST(!nothing);
    callback moved(std::move(nothing));
    BOOST_TEST(!moved);
}

BOOST_AUTO_TEST_CASE(it_calls_what_it_holds_with_arguments_and_result) {
    function<int(int)> held = [offset = 3](int number) { return number + offset; };
    BOOST_TEST(static_cast<bool>(held));
    BOOST_TEST(held(4) == 7);
    held = &twice;
    BOOST_TEST(held(4) == 8);
    function<std::size_t(std::unique_ptr<std::string>)> taking = [](auto text) {
        return text->size();
    };
    BOOST_TEST(taking(std::make_unique<std::string>("abc")) == 3U);
    std::string seen;
    function<void(std::string&, const std::string&)> referring = [](auto& into, auto& from) {
        into += from;
    };
    referring(seen, "x");
    BOOST_TEST(seen == "x");
}

BOOST_AUTO_TEST_CASE(it_keeps_state_between_calls_and_may_hold_what_can_only_be_moved) {
    function<int()> held = [count = std::make_unique<int>(0)] { return ++*count; };
    BOOST_TEST(held() == 1);
    function<int()> moved = std::move(held);
    BOOST_TEST(!held);
    BOOST_TEST(moved() == 2);
}

BOOST_AUTO_TEST_CASE(what_it_holds_is_destroyed_exactly_once_small_or_large) {
    int live = 0;
    const auto check = [&](auto padding) {
        {
            callback first = [token = counted(live), padding] { (void)padding; };
            BOOST_TEST(live == 1);
            callback second = std::move(first);
            BOOST_TEST(live == 1);
            first = std::move(second);
            BOOST_TEST(live == 1);
            first();
            BOOST_TEST(live == 1);
            callback other = [token = counted(live), padding] { (void)padding; };
            BOOST_TEST(live == 2);
            other = std::move(first);
            BOOST_TEST(live == 1);
            other.reset();
            BOOST_TEST(live == 0);
            BOOST_TEST(!other);
            first = [token = counted(live), padding] { (void)padding; };
            BOOST_TEST(live == 1);
        }
        BOOST_TEST(live == 0);
    };
    check(std::array<char, 1>{});
    check(std::array<char, 40>{});  // 48 bytes with the token: the largest in place
    check(std::array<char, 41>{});
    check(std::array<char, 4096>{});
}

BOOST_AUTO_TEST_CASE(moving_onto_itself_changes_nothing) {
    int live = 0;
    callback held = [token = counted(live)] {};
    callback& same = held;
    held = std::move(same);
    BOOST_TEST(static_cast<bool>(held));
    BOOST_TEST(live == 1);
}

BOOST_AUTO_TEST_CASE(a_callable_that_may_throw_when_moved_or_is_overaligned_is_kept_whole) {
    struct throws_on_move {
        throws_on_move() = default;
        throws_on_move(const throws_on_move&) = default;
        throws_on_move(throws_on_move&&) noexcept(false) {}
        int operator()() const { return 5; }
    };
    function<int()> held = throws_on_move();
    function<int()> moved = std::move(held);
    BOOST_TEST(moved() == 5);

    struct alignas(64) wide {
        bool operator()() const { return reinterpret_cast<std::uintptr_t>(this) % 64 == 0; }
    };
    function<bool()> aligned = wide();
    function<bool()> still = std::move(aligned);
    BOOST_TEST(still());
}

BOOST_AUTO_TEST_CASE(an_exception_leaves_the_call_and_the_callable_stays) {
    function<void(bool)> held = [](bool fails) {
        if (fails) throw std::runtime_error("refused");
    };
    BOOST_CHECK_THROW(held(true), std::runtime_error);
    held(false);
    BOOST_TEST(static_cast<bool>(held));
}

// rule 78
BOOST_AUTO_TEST_CASE(a_result_nobody_asked_for_is_dropped) {
    int calls = 0;
    function<void()> small = [&calls] { return ++calls; };
    std::array<int, 100> much{};
    function<void()> large = [&calls, much] { return calls += 1 + much[0]; };
    small();
    large();
    BOOST_TEST(calls == 2);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_called_that_way_does_not_convert) {
    static_assert(!std::is_constructible_v<callback, int>);
    static_assert(!std::is_constructible_v<callback, std::nullptr_t>);
    static_assert(!std::is_constructible_v<callback, int (*)(int)>);
    static_assert(!std::is_constructible_v<function<int()>, void (*)()>);
    static_assert(!std::is_copy_constructible_v<callback>);
    static_assert(std::is_nothrow_move_constructible_v<callback>);
    static_assert(std::is_constructible_v<callback, int (*)()>);
    BOOST_TEST(true);
}

// rule 78
BOOST_AUTO_TEST_CASE(a_null_pointer_to_function_makes_it_empty) {
    void (*nothing)() = nullptr;
    callback held(nothing);
    BOOST_TEST(!held);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
