// The heap that fails: which allocation, in which form, in which thread, and the count of blocks.
#include <ouro/testing/allocation_faults.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/timer_node.hpp>

namespace ouro::testing {
namespace {

constexpr auto wide = std::align_val_t(256);

/// Keeps the compiler from leaving an allocation out.
void* seen(void* block) {
    asm volatile("" : : "r"(block) : "memory");
    return block;
}

/// True when `allocate` is refused while armed for its first allocation, and passes unarmed.
template <class Allocate, class Free>
bool fails_when_armed(Allocate allocate, Free free) {
    allocation_faults::arm(1, false);
    bool refused = false;
    void* block = nullptr;
    try {
        block = seen(allocate());
        refused = block == nullptr;
    } catch (const std::bad_alloc&) {
        refused = true;
    }
    const bool counted = allocation_faults::disarm() == 1;
    free(block);
    const auto before = allocation_faults::live_blocks();
    block = seen(allocate());
    const bool live = block && allocation_faults::live_blocks() == before + 1;
    free(block);
    return refused && counted && live && allocation_faults::live_blocks() == before;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(allocations)

BOOST_AUTO_TEST_CASE(every_form_of_new_can_fail_and_every_form_of_delete_is_counted) {
    using std::nothrow;
    constexpr std::size_t bytes = 24;
    const bool each[] = {
        fails_when_armed([] { return ::operator new(bytes); },
                         [](void* p) { ::operator delete(p); }),
        fails_when_armed([] { return ::operator new[](bytes); },
                         [](void* p) { ::operator delete[](p); }),
        fails_when_armed([] { return ::operator new(bytes); },
                         [](void* p) { ::operator delete(p, bytes); }),
        fails_when_armed([] { return ::operator new[](bytes); },
                         [](void* p) { ::operator delete[](p, bytes); }),
        fails_when_armed([] { return ::operator new(bytes, nothrow); },
                         [](void* p) { ::operator delete(p, nothrow); }),
        fails_when_armed([] { return ::operator new[](bytes, nothrow); },
                         [](void* p) { ::operator delete[](p, nothrow); }),
        fails_when_armed([] { return ::operator new(bytes, wide); },
                         [](void* p) { ::operator delete(p, wide); }),
        fails_when_armed([] { return ::operator new[](bytes, wide); },
                         [](void* p) { ::operator delete[](p, wide); }),
        fails_when_armed([] { return ::operator new(bytes, wide); },
                         [](void* p) { ::operator delete(p, bytes, wide); }),
        fails_when_armed([] { return ::operator new[](bytes, wide); },
                         [](void* p) { ::operator delete[](p, bytes, wide); }),
        fails_when_armed([] { return ::operator new(bytes, wide, nothrow); },
                         [](void* p) { ::operator delete(p, wide, nothrow); }),
        fails_when_armed([] { return ::operator new[](bytes, wide, nothrow); },
                         [](void* p) { ::operator delete[](p, wide, nothrow); }),
    };
    for (const bool right : each) BOOST_TEST(right);
}

BOOST_AUTO_TEST_CASE(blocks_are_aligned_and_of_their_own_even_when_empty) {
    for (const std::size_t boundary : {1U, 2U, 8U, 64U, 4096U}) {
        void* const block = ::operator new(0, std::align_val_t(boundary));
        BOOST_TEST(reinterpret_cast<std::uintptr_t>(block) % boundary == 0U);
        ::operator delete(block, std::align_val_t(boundary));
    }
    void* const one = ::operator new(0);
    void* const two = ::operator new(0);
    BOOST_TEST(one != two);
    ::operator delete(one);
    ::operator delete(two);
}

BOOST_AUTO_TEST_CASE(one_fails_or_from_one_on_all) {
    for (const bool sticky : {false, true}) {
        std::string story(6, '-');
        allocation_faults::arm(3, sticky);
        for (char& each : story) {
            void* const block = ::operator new(8, std::nothrow);
            if (seen(block)) each = '+';
            ::operator delete(block);
        }
        BOOST_TEST(allocation_faults::disarm() == 6U);
        BOOST_TEST(allocation_faults::struck());
        BOOST_TEST(story == (sticky ? "++----" : "++-+++"));
    }
}

BOOST_AUTO_TEST_CASE(without_a_number_they_are_counted_only) {
    allocation_faults::arm(0, true);
    for (int i = 0; i < 5; ++i) ::operator delete(seen(::operator new(8)));
    BOOST_TEST(allocation_faults::disarm() == 5U);
    BOOST_TEST(!allocation_faults::struck());
}

BOOST_AUTO_TEST_CASE(other_threads_are_left_alone) {
    bool worked = false;
    std::uint64_t mine = 1;
    std::thread other([&] {
        allocation_faults::arm(0, false);
        const auto text = std::make_unique<std::string>(100, 'x');
        worked = text->size() == 100;
        mine = allocation_faults::disarm();
    });
    allocation_faults::arm(1, true);
    other.join();
    const auto seen_here = allocation_faults::disarm();
    BOOST_TEST(worked);
    BOOST_TEST(mine == 2U);
    BOOST_TEST(seen_here == 0U);
    BOOST_TEST(!allocation_faults::struck());
}

// fault 20
BOOST_AUTO_TEST_CASE(a_loop_without_memory_for_a_timer_says_so_and_goes_on) {
    const auto before = allocation_faults::live_blocks();
    {
        loop home;
        allocation_faults::arm(1, true);
        bool refused = false;
        try {
            home.call_later(std::chrono::milliseconds(1), [] {});
        } catch (const std::bad_alloc&) {
            refused = true;
        }
        allocation_faults::disarm();
        BOOST_TEST(refused);
        BOOST_TEST(home.counters().timers == 0U);
        bool ran = false;
        home.call_soon([&] {
            ran = true;
            home.stop();
        });
        home.run_forever();
        BOOST_TEST(ran);
    }
    BOOST_TEST(allocation_faults::live_blocks() == before);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::testing
