// Honesty: jobs, which real threads run or which are played.
#include <memory>
#include <stdexcept>

#include <ouro/runtime/thread_pool.hpp>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {

BOOST_AUTO_TEST_SUITE(honesty_of_jobs)

HONESTY(a_job_gives_what_it_has) {
    notes.say("its value", co_await to_thread([](int number) { return number + 1; }, 4));
    notes.say("it finds no loop", co_await to_thread([] { return !loop::try_current(); }));
    const auto fails = co_await as_result(
        to_thread([]() -> result<int> { return error(std::errc::no_such_file_or_directory); }));
    notes.say("its error", fails.error() == std::errc::no_such_file_or_directory);
    bool caught = false;
    try {
        co_await to_thread([] { throw std::runtime_error("in the job"); });
    } catch (const std::runtime_error&) {
        caught = true;
    }
    notes.say("its exception", caught);
    notes.say("operations left", static_cast<int>(home.counters().ops));
}

HONESTY(a_pool_that_was_shut_down_refuses) {
    const auto pool = std::make_shared<thread_pool>();
    notes.say("value", co_await pool->run([] { return 1; }));
    notes.say("all is done", pool->shutdown());
    const auto refused = co_await as_result(pool->run([] { return 2; }));
    notes.say("refused", refused.error() == errc::invalid_state);
    co_await shutdown_default_executor();
    const auto by_default = co_await as_result(to_thread([] {}));
    notes.say("refused by default", by_default.error() == errc::invalid_state);
}

HONESTY(jobs_and_their_loop_may_call_each_other) {
    const auto seen = std::make_shared<int>(0);
    co_await to_thread([handle = home.get_handle(), seen] { handle.post([seen] { ++*seen; }); });
    while (*seen == 0) co_await yield();
    notes.say("posts", *seen);
    const auto pool = std::make_shared<thread_pool>();
    auto submitted = pool->submit([] { return 3; });
    notes.say("a future", co_await submitted);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
