// Operations that other threads end.
#include <ouro/runtime/remote.hpp>

#include <boost/test/unit_test.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "async_test.hpp"

namespace ouro::test {
namespace {

/// Waits for what a thread of its own gives it.
class [[nodiscard]] from_elsewhere
    : public detail::remote_awaitable<from_elsewhere, int, detail::remote_op> {
  public:
    static constexpr const char* wait_name = "elsewhere";
    enum class ends { by_itself, when_asked, before_it_waits };

    explicit from_elsewhere(ends how) : how_(how) {}
    ~from_elsewhere() {
        if (thread_.joinable()) thread_.join();
    }
    void start() noexcept {
        if (!detail::start_remote(loop::current(), op_)) return;
        detail::hand_over(op_, &asked);
        if (how_ == ends::when_asked) return;
        if (how_ == ends::before_it_waits) {
            outcome_.call([] { return 2; });
            return detail::end_remote(op_);
        }
        thread_ = std::thread([this] {
            outcome_.call([] { return 1; });
            detail::end_remote(op_);
        });
    }
    detail::settled<int>& outcome() noexcept { return outcome_; }
    void arrived() noexcept {}
    error refused(int number) const noexcept { return error::from_errno(number); }

  private:
    static void asked(detail::remote_op& request) noexcept {
        auto& self = waiter_of(request);
        if (self.how_ != ends::when_asked || self.thread_.joinable()) return;
        self.thread_ = std::thread([&self] {
            self.outcome_.fail(error::cancelled(cancel_cause::none));
            detail::end_remote(self.op_);
        });
    }
    ends how_;
    std::thread thread_;
    detail::settled<int> outcome_;
};

}  // namespace

OURO_KERNEL_TEST(an_operation_that_another_thread_ends_completes, "real threads") {
    BOOST_TEST(co_await from_elsewhere(from_elsewhere::ends::by_itself) == 1);
    BOOST_TEST(loop::current().counters().ops == 0U);
}

OURO_ASYNC_TEST(an_operation_may_end_on_its_own_thread_before_it_is_waited_for) {
    BOOST_TEST(co_await from_elsewhere(from_elsewhere::ends::before_it_waits) == 2);
}

OURO_KERNEL_TEST(a_cancelled_one_is_asked_to_end_and_waited_for, "real threads") {
    auto waiting =
        spawn([]() -> task<> { co_await from_elsewhere(from_elsewhere::ends::when_asked); });
    co_await settle();
    BOOST_TEST(loop::current().counters().ops > 0U);
    waiting.cancel(cancel_cause::timeout);
    const auto outcome = co_await as_result(waiting.join());
    BOOST_TEST((outcome.error() == errc::cancelled));
    BOOST_TEST((outcome.error().cause() == cancel_cause::timeout));
    BOOST_TEST(outcome.error().doing() == "elsewhere");
}

BOOST_AUTO_TEST_CASE(what_was_settled_is_a_value_an_error_or_an_exception) {
    detail::settled<std::string> outcome;
    outcome.call([] { return "text"; });
    BOOST_TEST(!outcome.failure());
    BOOST_TEST(*outcome.take() == "text");
    detail::settled<void> failed;
    failed.call([]() -> result<> { return error(errc::queue_full); });
    BOOST_REQUIRE(failed.failure());
    BOOST_TEST((*failed.failure() == errc::queue_full));
    detail::settled<int> threw;
    threw.call([]() -> int { throw std::runtime_error("thrown"); });
    BOOST_TEST(!threw.failure());
    BOOST_CHECK_THROW((void)threw.take(), std::runtime_error);
}

// rule 56
BOOST_AUTO_TEST_CASE(an_operation_that_ends_while_its_loop_closes_is_not_lost) {
    for (int round = 0; round < 100; ++round) {
        loop home(options_for(engine::uring));
        (void)spawn(
            home, []() -> task<> { co_await from_elsewhere(from_elsewhere::ends::when_asked); }());
        home.call_soon([&] { home.call_soon([&] { home.stop(); }); });
        home.run_forever();
        home.close();
        BOOST_TEST(home.counters().describe() == "");
    }
}

}  // namespace ouro::test
