// The queue of bytes: what stays in it when there is no memory for more.
#include "write_queue.hpp"

#include <boost/test/unit_test.hpp>

#include <string>

#include <ouro/testing/allocation_faults.hpp>

namespace ouro::test {
namespace {

using detail::write_queue;

/// Takes everything out.
std::string taken_from(write_queue& queue) {
    std::string all;
    while (!queue.empty()) {
        const bytes front = queue.front();
        all += as_text(front);
        queue.consume(front.size());
    }
    return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(write_queues)

// fault 20
BOOST_AUTO_TEST_CASE(of_several_chunks_all_are_queued_or_none) {
    using testing::allocation_faults;
    const std::string large(100'000, 'x');
    const std::string larger(200'000, 'y');
    const bytes chunks[] = {as_bytes("small"), as_bytes(large), {}, as_bytes(larger)};
    for (const std::string before : {"", "before"}) {
        bool all_came = false;
        std::size_t failures = 0;
        for (std::uint64_t fail_at = 1; !all_came; ++fail_at) {
            write_queue queue;
            queue.append(as_bytes(before));
            allocation_faults::arm(fail_at, false);
            try {
                queue.append(std::span(chunks));
                all_came = true;
            } catch (const std::bad_alloc&) {
                ++failures;
            }
            allocation_faults::disarm();
            const std::string came = all_came ? "small" + large + larger : "";
            BOOST_TEST(queue.size() == before.size() + came.size());
            queue.append(as_bytes("after"));
            BOOST_TEST((taken_from(queue) == before + came + "after"));
        }
        BOOST_TEST(failures >= 2U);
    }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
