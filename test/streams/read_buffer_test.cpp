// The memory of a reader against a plain string, and what its views must withstand.
#include "read_buffer.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <random>
#include <string>

namespace ouro::test {
namespace {

using detail::read_buffer;

/// Puts `text` into the buffer: into room of an unknown size, as the kernel does, where `wanted` is
/// 0.
void put(read_buffer& buffer, std::string_view text, std::size_t wanted = 0) {
    const mut_bytes room = wanted ? buffer.room_for(wanted) : buffer.room();
    BOOST_REQUIRE(room.size() >= std::max<std::size_t>(wanted, 1));
    const std::size_t part = std::min(room.size(), text.size());
    std::copy_n(as_bytes(text).begin(), part, room.begin());
    buffer.filled(part);
    if (part < text.size()) put(buffer, text.substr(part), wanted);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(read_buffers)

BOOST_AUTO_TEST_CASE(an_empty_buffer_has_nothing_and_makes_room_on_demand) {
    read_buffer buffer;
    BOOST_TEST(buffer.empty());
    BOOST_TEST(buffer.unread().size() == 0U);
    BOOST_TEST(buffer.take(0).size() == 0U);
    buffer.release_view();
    BOOST_TEST(buffer.room().size() >= 1U);
    BOOST_TEST(buffer.room_for(1'000'000).size() >= 1'000'000U);
}

BOOST_AUTO_TEST_CASE(room_never_overlaps_what_is_unread_or_viewed) {
    read_buffer buffer;
    put(buffer, "view");
    const bytes view = buffer.take(4);
    put(buffer, "unread");
    for (const std::size_t wanted : {0U, 1U, 100U, 5000U, 300'000U}) {
        const mut_bytes room = wanted ? buffer.room_for(wanted) : buffer.room();
        std::fill(room.begin(), room.end(), std::byte{'#'});  // the kernel may write anywhere in it
        BOOST_TEST(as_text(view) == "view");
        BOOST_TEST(as_text(buffer.unread()) == "unread");
    }
}

BOOST_AUTO_TEST_CASE(a_view_outlives_any_number_of_new_blocks) {
    read_buffer buffer;
    const std::string long_text(3000, 'v');
    put(buffer, long_text);
    const bytes view = buffer.take(2999);
    std::string all = "v";
    for (int i = 0; i < 40; ++i) {
        const std::string more(static_cast<std::size_t>(1) << std::min(i, 14),
                               static_cast<char>('a' + i % 26));
        put(buffer, more);
        all += more;
        BOOST_REQUIRE(as_text(view) == std::string_view(long_text).substr(1));
    }
    BOOST_CHECK(as_text(buffer.unread()) == all);
    buffer.release_view();
    BOOST_CHECK(as_text(buffer.take(all.size())) == all);
}

BOOST_AUTO_TEST_CASE(a_view_of_everything_stays_when_the_buffer_is_filled_again) {
    read_buffer buffer;
    put(buffer, "everything");
    const bytes view = buffer.take(10);
    BOOST_TEST(buffer.empty());
    put(buffer, std::string(100'000, 'x'));
    BOOST_TEST(as_text(view) == "everything");
    buffer.discard();
    put(buffer, std::string(100'000, 'y'));
    BOOST_TEST(as_text(view) == "everything");
}

BOOST_AUTO_TEST_CASE(a_drained_buffer_has_no_memory_once_its_view_is_gone) {
    const long before = detail::frame_pool::live();
    read_buffer buffer;
    for (const std::size_t size : {1U, 100U, 512U, 2000U}) {
        put(buffer, std::string(size, 'x'), size);
        BOOST_TEST(detail::frame_pool::live() == before + 1);
        (void)buffer.take(size);
        BOOST_TEST(detail::frame_pool::live() == before + 1);  // the view is looked at
        buffer.release_view();
        BOOST_TEST(detail::frame_pool::live() == before);
    }
}

BOOST_AUTO_TEST_CASE(what_is_lent_stays_although_it_is_empty) {
    read_buffer buffer;
    const mut_bytes room = buffer.room();
    buffer.release_view();
    BOOST_TEST(!buffer.is_large());
    std::fill(room.begin(), room.end(), std::byte{'#'});  // the kernel may write there
    buffer.filled(3);
    BOOST_TEST(as_text(buffer.unread()) == "###");
}

BOOST_AUTO_TEST_CASE(a_large_piece_makes_it_large_and_many_small_ones_do_not) {
    const long before = detail::frame_pool::live();
    read_buffer buffer;
    const auto drain = [&] {
        (void)buffer.take(buffer.size());
        buffer.release_view();
    };
    for (int i = 0; i < 100; ++i) {
        put(buffer, std::string(2048, 'x'), 2048);
        drain();
        BOOST_REQUIRE(!buffer.is_large());
    }
    put(buffer, std::string(2049, 'x'), 2049);
    BOOST_TEST(buffer.is_large());
    drain();
    int small = 0;
    for (; buffer.is_large(); ++small) {
        BOOST_REQUIRE(small < 1000);
        BOOST_TEST(detail::frame_pool::live() == before + 1);  // it lies ready for more
        put(buffer, "x");
        drain();
    }
    BOOST_TEST(small > 8);
    BOOST_TEST(detail::frame_pool::live() == before);
}

BOOST_AUTO_TEST_CASE(filling_it_to_the_brim_asks_for_more_and_idling_does_not) {
    read_buffer buffer;
    const std::size_t first = buffer.room().size();
    buffer.filled(first);
    (void)buffer.take(first);
    buffer.release_view();
    const std::size_t second = buffer.room().size();
    BOOST_TEST(second > first);
    for (int i = 0; i < 10; ++i) {
        put(buffer, "x");
        (void)buffer.take(1);
        buffer.release_view();
    }
    BOOST_TEST(buffer.room().size() == second);
}

BOOST_AUTO_TEST_CASE(collecting_a_long_stream_moves_each_byte_a_few_times_only) {
    read_buffer buffer;
    std::size_t blocks = 0;
    const std::byte* block = nullptr;
    for (std::size_t total = 0; total < 64U << 20;) {
        const mut_bytes room = buffer.room();
        const std::byte* now = room.data() - buffer.size();
        if (std::exchange(block, now) != now) ++blocks;
        const std::size_t part = std::min<std::size_t>(room.size(), 64 * 1024);
        buffer.filled(part);
        total += part;
    }
    BOOST_TEST(blocks < 30U);  // a block for each doubling, not for each receive
}

BOOST_AUTO_TEST_CASE(random_use_gives_what_a_string_gives_and_views_stay) {
    for (unsigned seed = 1; seed <= 300; ++seed) {
        BOOST_TEST_INFO_SCOPE("seed " << seed);
        std::mt19937 random(seed);
        read_buffer buffer;
        std::string model;
        bytes view;
        std::string view_copy;
        unsigned next = 0;
        for (int i = 0; i < 300; ++i) {
            const std::size_t size = random() % (random() % 8 == 0 ? 20'000 : 600);
            switch (random() % 5) {
            case 0:
            case 1: {
                std::string text(size, '\0');
                for (char& each : text) each = static_cast<char>(next++ * 31 >> 3);
                put(buffer, text, random() % 3 ? 0 : size);
                model += text;
                break;
            }
            case 2:
            case 3: {
                buffer.release_view();
                const std::size_t count = std::min(size, model.size());
                view = buffer.take(count);
                view_copy = model.substr(0, count);
                model.erase(0, count);
                break;
            }
            default:
                if (random() % 20 == 0) {
                    buffer.discard();
                    model.clear();
                }
                break;
            }
            BOOST_REQUIRE(as_text(view) == view_copy);
            BOOST_REQUIRE(as_text(buffer.unread()) == model);
            BOOST_REQUIRE(buffer.size() == model.size());
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
