// What the sanitizers are told.
#include <ouro/runtime/checks.hpp>

#include <boost/test/unit_test.hpp>

#include <array>

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(checks)

BOOST_AUTO_TEST_CASE(poisoned_memory_is_not_addressable_under_asan_until_it_is_given_back) {
    alignas(8) std::array<std::byte, 64> memory{};
    BOOST_TEST(detail::addressable(memory.data(), memory.size()));
    detail::poison(memory.data(), memory.size());
#ifdef OURO_ASAN
    BOOST_TEST(!detail::addressable(memory.data(), memory.size()));
#endif
    detail::unpoison(memory.data(), memory.size());
    BOOST_TEST(detail::addressable(memory.data(), memory.size()));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
