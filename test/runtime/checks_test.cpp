// What the sanitizers are told, and that it means nothing without them.
#include <ouro/runtime/checks.hpp>

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <memory>
#include <thread>

namespace ouro::test {
namespace {

constexpr std::size_t bytes = 256;

/// AddressSanitizer keeps a guard behind every block; without it all memory counts as addressable.
bool guards_are_seen(const char* block) { return !detail::addressable(block + bytes, 1); }

}  // namespace

BOOST_AUTO_TEST_SUITE(sanitizer_checks)

BOOST_AUTO_TEST_CASE(memory_of_the_kernel_is_not_addressable_until_it_is_ours_again) {
    const auto block = std::make_unique<char[]>(bytes);
    const bool seen = guards_are_seen(block.get());
    BOOST_TEST((!seen || detail::memory_is_watched));
    BOOST_TEST(detail::addressable(block.get(), bytes));
    detail::poison(block.get(), bytes);
    BOOST_TEST(detail::addressable(block.get(), bytes) == !seen);
    BOOST_TEST(detail::addressable(block.get() + bytes / 2, 1) == !seen);
    detail::unpoison(block.get(), bytes);
    BOOST_TEST(detail::addressable(block.get(), bytes));
    std::memset(block.get(), 1, bytes);
}

BOOST_AUTO_TEST_CASE(a_part_that_is_not_addressable_makes_the_whole_so) {
    const auto block = std::make_unique<char[]>(bytes);
    BOOST_TEST(detail::addressable(block.get(), bytes + 1) == !guards_are_seen(block.get()));
}

BOOST_AUTO_TEST_CASE(what_one_thread_released_another_may_read_after_it_acquired) {
    // Without the pair ThreadSanitizer reports a race: the flag orders nothing.
    int message = 0;
    bool told = false;
    std::thread writer([&] {
        message = 42;
        detail::released(&message);
        __atomic_store_n(&told, true, __ATOMIC_RELAXED);
    });
    while (!__atomic_load_n(&told, __ATOMIC_RELAXED)) std::this_thread::yield();
    detail::acquired(&message);
    BOOST_TEST(message == 42);
    writer.join();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
