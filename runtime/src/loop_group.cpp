// Loops on threads of their own.
#include <ouro/runtime/loop_group.hpp>

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include <ouro/runtime/assert.hpp>

#include "threads.hpp"

namespace ouro {

struct loop_group::state {
    struct worker {
        std::thread thread;
        loop_handle handle;
        std::error_code failure;
        std::string reason;
    };
    explicit state(loop_group_options how) : options(std::move(how)) {}

    const loop_group_options options;
    std::vector<int> processors;
    std::mutex guard;
    std::condition_variable changed;
    std::size_t made = 0;   // or failed
    std::size_t ended = 0;  // threads
    std::vector<worker> workers;

    void start(std::size_t number);
    void live(std::size_t number) noexcept;
    void pin(std::size_t number) const;
    void throw_failure() const;
    void fail(worker& which, std::error_code why, const char* what) noexcept;
};

void loop_group::state::start(std::size_t number) {
    worker& which = workers[number];
    try {
        which.thread = detail::start_thread(options.name + "-" + std::to_string(number),
                                            [this, number] { live(number); });
    } catch (const std::system_error& refused) {
        const std::lock_guard lock(guard);
        fail(which, refused.code(), "start its thread");
        ++made;
        ++ended;
    } catch (const std::bad_alloc&) {
        const std::lock_guard lock(guard);
        fail(which, make_error_code(std::errc::not_enough_memory), "start its thread");
        ++made;
        ++ended;
    }
}

void loop_group::state::pin(std::size_t number) const {
    if (!options.pinned || processors.empty()) return;
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(processors[number % processors.size()], &only);
    if (const int failed = ::pthread_setaffinity_np(::pthread_self(), sizeof only, &only)) {
        throw std::system_error(failed, std::system_category(), "pin its thread to a processor");
    }
}

void loop_group::state::fail(worker& which, std::error_code why, const char* what) noexcept {
    which.failure = why;
    which.reason = detail::words(what);
}

/// The life of one thread.
void loop_group::state::live(std::size_t number) noexcept {
    worker& which = workers[number];
    const auto tell = [this](std::size_t& count) {
        const std::lock_guard lock(guard);
        ++count;
        changed.notify_all();
    };
    bool told = false;
    try {
        pin(number);
        loop home(options.loop);
        which.handle = home.get_handle();
        home.call_soon([&] {  // now it is known that it runs
            told = true;
            tell(made);
        });
        home.run_forever();
        home.close();
    } catch (const std::system_error& refused) {
        if (!told) fail(which, refused.code(), refused.what());  // else nobody waits to hear of it
    } catch (const std::bad_alloc&) {
        if (!told) fail(which, make_error_code(std::errc::not_enough_memory), "make it");
    }
    if (!told) tell(made);
    tell(ended);
}

void loop_group::state::throw_failure() const {
    for (std::size_t i = 0; i < workers.size(); ++i) {
        if (!workers[i].failure) continue;
        throw std::system_error(workers[i].failure, "loop " + std::to_string(i) + " of " +
                                                        std::to_string(workers.size()) + ": " +
                                                        workers[i].reason);
    }
}

loop_group::loop_group(loop_group_options options)
    : state_(std::make_unique<state>(std::move(options))) {
    state& all = *state_;
    all.processors = detail::usable_processors();
    const std::size_t count =
        all.options.loops ? all.options.loops : std::max<std::size_t>(1, all.processors.size());
    all.workers.resize(count);
    for (std::size_t i = 0; i < count; ++i) all.start(i);
    {
        std::unique_lock lock(all.guard);
        all.changed.wait(lock, [&] { return all.made == count; });
    }
    try {
        all.throw_failure();
    } catch (...) {
        stop();
        throw;
    }
}

loop_group::~loop_group() { stop(); }

std::size_t loop_group::size() const noexcept { return state_->workers.size(); }

loop_group::member loop_group::on(std::size_t number) const {
    OURO_ASSERT(number < size(), "a loop group has no loop of that number");
    return member(state_->workers[number].handle);
}

bool loop_group::stop(clock::duration grace) {
    state& all = *state_;
    // To the end: others may stop the group as well, and a thread is joined once.
    std::unique_lock lock(all.guard);
    for (state::worker& each : all.workers) {
        OURO_ASSERT(each.thread.get_id() != std::this_thread::get_id(),
                    "a loop group was stopped by one of its own loops, which waits for itself");
        each.handle.stop();
    }
    constexpr auto forever = std::chrono::hours(24 * 365);
    const auto is_over = [&] { return all.ended == all.workers.size(); };
    if (grace > forever) {
        all.changed.wait(lock, is_over);
    } else if (!all.changed.wait_for(lock, grace, is_over)) {
        return false;
    }
    for (state::worker& each : all.workers) {
        if (each.thread.joinable()) each.thread.join();
    }
    return true;
}

}  // namespace ouro
