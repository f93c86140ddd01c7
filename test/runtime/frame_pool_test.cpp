// Memory of coroutine frames: reuse, sizes, accounts.
#include <ouro/runtime/frame_pool.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace ouro::test {
namespace {

using detail::frame_pool;

// A sanitizer that watches for use after free gets every block back.
constexpr bool pooled = !detail::memory_is_watched;

struct trimmed_pool {
    trimmed_pool() { frame_pool::trim(); }
    ~trimmed_pool() { frame_pool::trim(); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(frame_pools, trimmed_pool)

BOOST_AUTO_TEST_CASE(a_block_given_back_is_the_next_one_of_its_size) {
    void* const first = frame_pool::allocate(200);
    frame_pool::deallocate(first, 200);
    void* const second = frame_pool::allocate(250);  // the same step of 64 bytes
    BOOST_TEST((second == first || !pooled));
    void* const third = frame_pool::allocate(200);
    BOOST_TEST(third != second);
    frame_pool::deallocate(second, 250);
    frame_pool::deallocate(third, 200);
    void* const last_in = frame_pool::allocate(256);
    BOOST_TEST((last_in == third || !pooled));
    frame_pool::deallocate(last_in, 256);
}

BOOST_AUTO_TEST_CASE(blocks_of_every_size_are_whole_aligned_and_apart) {
    std::vector<std::pair<unsigned char*, std::size_t>> blocks;
    for (std::size_t bytes : {1U, 63U, 64U, 65U, 128U, 4000U, 4096U, 4097U, 5000U, 100'000U}) {
        for (int i = 0; i < 3; ++i) {
            auto* block = static_cast<unsigned char*>(frame_pool::allocate(bytes));
            BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t) == 0U);
            std::memset(block, static_cast<int>(blocks.size()), bytes);
            blocks.emplace_back(block, bytes);
        }
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const auto [block, bytes] = blocks[i];
        BOOST_TEST(block[0] == i);
        BOOST_TEST(block[bytes - 1] == i);
        frame_pool::deallocate(block, bytes);
    }
}

BOOST_AUTO_TEST_CASE(live_counts_what_is_out) {
    const long before = frame_pool::live();
    void* const small = frame_pool::allocate(64);
    void* const large = frame_pool::allocate(10'000);
    BOOST_TEST(frame_pool::live() == before + 2);
    frame_pool::deallocate(small, 64);
    frame_pool::deallocate(large, 10'000);
    BOOST_TEST(frame_pool::live() == before);
}

// The allocator of a sanitizer stops the program instead.
// fault 20
BOOST_AUTO_TEST_CASE(a_request_that_cannot_be_met_throws_and_is_not_counted,
                     *boost::unit_test::enable_if<pooled>()) {
    const long before = frame_pool::live();
    // Too much for any allocator, but not a size that one refuses as nonsense.
    volatile std::size_t bytes = std::size_t{1} << 46;
    BOOST_CHECK_THROW((void)frame_pool::allocate(bytes), std::bad_alloc);
    BOOST_TEST(frame_pool::live() == before);
}

BOOST_AUTO_TEST_CASE(blocks_come_back_in_any_order_and_none_is_handed_out_twice) {
    std::vector<void*> blocks;
    for (int i = 0; i < 100; ++i) blocks.push_back(frame_pool::allocate(100));
    for (std::size_t i = 0; i < 100; i += 2) frame_pool::deallocate(blocks[i], 100);
    for (std::size_t i = 1; i < 100; i += 2) frame_pool::deallocate(blocks[i], 100);
    std::set<void*> distinct;
    for (void*& block : blocks) distinct.insert(block = frame_pool::allocate(100));
    BOOST_TEST(distinct.size() == 100U);
    for (void* block : blocks) frame_pool::deallocate(block, 100);
}

BOOST_AUTO_TEST_CASE(a_block_may_be_given_back_on_another_thread) {
    const long before = frame_pool::live();
    void* const ours = frame_pool::allocate(100);
    void* theirs = nullptr;
    long there = 0;
    std::thread([&] {
        frame_pool::deallocate(ours, 100);
        there = frame_pool::live();
        theirs = frame_pool::allocate(100);
        frame_pool::trim();
    }).join();
    BOOST_TEST(there == -1);
    frame_pool::deallocate(theirs, 100);
    BOOST_TEST(frame_pool::live() == before);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
