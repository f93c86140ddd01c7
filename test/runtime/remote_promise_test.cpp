// Results that other threads set.
#include <ouro/runtime/remote_promise.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "async_test.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(remote_promises)

OURO_KERNEL_TEST(a_result_comes_from_another_thread, "threads") {
    remote_promise<std::string> maker;
    auto made = maker.get_future();
    BOOST_TEST(!maker.abandoned());
    std::thread([maker = std::move(maker)]() mutable {
        BOOST_TEST(maker.set_value("from afar"));
        BOOST_TEST(!maker.set_value("again"));
        BOOST_TEST(!maker);
    }).detach();
    const std::string got = co_await std::move(made);
    BOOST_TEST(got == "from afar");
}

OURO_ASYNC_TEST(a_result_set_on_the_loop_itself_is_there_at_once) {
    remote_promise<int> maker;
    const auto made = maker.get_future();
    BOOST_TEST(maker.set_value(4));
    BOOST_TEST(made.get_now().value() == 4);
    BOOST_TEST(!maker.set_error(errc::unsupported));
    BOOST_TEST(maker.abandoned());
    co_return;
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
