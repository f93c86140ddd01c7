// The queue of datagrams: what leaves together, and what is kept while the front leaves.
#include "datagram_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <deque>
#include <random>
#include <string>

namespace ouro::test {
namespace {

using detail::datagram_queue;

struct expected {
    std::string text;
    address to;
};

address name_of(const datagram_queue::message& what) {
    if (what.name_bytes == 0) return {};
    sockaddr_storage raw{};
    std::memcpy(&raw, what.name, what.name_bytes);
    return address(reinterpret_cast<const sockaddr*>(&raw), what.name_bytes);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(datagram_queues)

BOOST_AUTO_TEST_CASE(equal_ones_leave_together_and_a_shorter_one_ends_them) {
    datagram_queue queue;
    for (const char* text : {"four", "4444", "2", "four", "", "", "longer", "four"}) {
        queue.append(as_bytes(text), {});
    }
    std::vector<std::size_t> counts;
    for (std::size_t skip = 0; queue.has(skip); skip += counts.back()) {
        counts.push_back(queue.next(skip, 1000).count);
    }
    BOOST_TEST(counts == (std::vector<std::size_t>{3, 1, 1, 1, 2}),
               boost::test_tools::per_element());
    BOOST_TEST(queue.next(0, 3).count == 1U);  // segments as long are not wanted
    BOOST_TEST(queue.size() == 4U + 4 + 1 + 4 + 6 + 4 + 8 * 8);
}

BOOST_AUTO_TEST_CASE(a_message_has_64_datagrams_and_65000_bytes_at_most) {
    datagram_queue queue;
    for (int i = 0; i < 100; ++i) queue.append(as_bytes("x"), {});
    BOOST_TEST(queue.next(0, 1000).count == 64U);
    datagram_queue large;
    const std::string text(1400, 'x');
    for (int i = 0; i < 100; ++i) large.append(as_bytes(text), {});
    BOOST_TEST(large.next(0, 65'000).count == 65'000U / 1400);
}

BOOST_AUTO_TEST_CASE(whatever_is_taken_from_the_front_the_rest_is_kept) {
    std::mt19937 luck(7);
    datagram_queue queue;
    std::deque<expected> kept;
    std::size_t size = 0;
    const address names[] = {
        {}, address::from_ip("127.0.0.1", 1).value(), address::from_ip("::1", 2).value()};
    for (unsigned step = 0; step < 60'000; ++step) {
        // It grows to some thousands, so that the front is let go of while there is a rest.
        if (luck() % 1000 < (step < 40'000 ? 700U : 200U)) {
            expected one{std::string(luck() % 4 * 300, static_cast<char>('a' + luck() % 26)),
                         names[luck() % 8 == 0 ? luck() % 3 : step / 1000 % 3]};
            queue.append(as_bytes(one.text), one.to);
            size += one.text.size() + 8;
            kept.push_back(std::move(one));
        } else if (!kept.empty()) {
            const datagram_queue::message first = queue.next(0, luck() % 2 * 1000);
            std::string text;
            for (std::size_t i = 0; i < first.count; ++i) {
                BOOST_REQUIRE((name_of(first) == kept.front().to));
                text += kept.front().text;
                size -= kept.front().text.size() + 8;
                kept.pop_front();
            }
            BOOST_REQUIRE((as_text(first.data) == text));
            queue.pop(first.count);
        }
        BOOST_REQUIRE(queue.size() == size);
        BOOST_REQUIRE(queue.empty() == kept.empty());
    }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
