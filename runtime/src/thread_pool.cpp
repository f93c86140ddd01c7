// Thread pools, and the loop's own.
#include <ouro/runtime/thread_pool.hpp>

#include <sched.h>

#include <algorithm>
#include <cerrno>

#include "loop_state.hpp"
#include "pool_core.hpp"
#include "threads.hpp"

namespace ouro {
namespace detail {
namespace {

std::shared_ptr<pool_core> make_core(thread_pool_options options) {
    if (options.threads == 0) {
        const std::size_t processors = std::max<std::size_t>(1, usable_processors().size());
        options.threads = static_cast<unsigned>(std::min<std::size_t>(32, processors + 4));
    }
    return std::make_shared<pool_core>(options.threads, options.max_waiting,
                                       std::move(options.name));
}

void run_job(pool_job& job) noexcept {
    auto& request = static_cast<io::job_op&>(job);
    request.work(request);
    request.worked = true;
    end_remote(request);
}

void take_back(remote_op& request) noexcept {
    auto& job = static_cast<io::job_op&>(request);
    if (job.pool->remove(job)) request.home->state().complete_later(request, -ECANCELED);
}

}  // namespace

std::vector<int> usable_processors() {
    std::vector<int> numbers;
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return numbers;
    for (int i = 0; i < CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &set)) numbers.push_back(i);
    }
    return numbers;
}

// ---- the pool

int pool_core::add(pool_job& job) noexcept {
    const std::lock_guard lock(guard_);
    return add_locked(job);
}

int pool_core::add_if_room(pool_job& job) noexcept {
    const std::lock_guard lock(guard_);
    // A thread that is free, or is still to be made, will take one of those that are queued.
    const std::size_t jobs = queued_ + busy_;
    const bool room = jobs < most_ || jobs - most_ < most_waiting_;
    if (!closed_ && most_waiting_ > 0 && !room) return ENOBUFS;
    return add_locked(job);
}

int pool_core::add_locked(pool_job& job) noexcept {
    if (closed_) return ESHUTDOWN;
    queue_.push_back(job);
    ++queued_;
    if (queued_ <= idle_) {
        work_.notify_one();
    } else if (threads_.size() < most_ && !start_one() && threads_.empty()) {
        job.unlink();
        --queued_;
        return EAGAIN;
    }
    return 0;
}

bool pool_core::start_one() try {
    threads_.reserve(threads_.size() + 1);
    threads_.push_back(start_thread(name_ + "-" + std::to_string(threads_.size() + 1),
                                    [self = shared_from_this()] { self->live(); }));
    return true;
} catch (...) {
    return false;  // no memory or no thread to be had
}

void pool_core::live() {
    std::unique_lock lock(guard_);
    for (;;) {
        if (pool_job* const job = queue_.pop_front()) {
            --queued_;
            ++busy_;
            lock.unlock();
            job->perform(*job);  // it may be gone now
            lock.lock();
            --busy_;
            if (closed_) done_.notify_all();
        } else if (closed_) {
            break;
        } else {
            ++idle_;
            work_.wait(lock);
            --idle_;
        }
    }
    frame_pool::trim();  // of a loop that a job has run
}

bool pool_core::remove(pool_job& job) noexcept {
    const std::lock_guard lock(guard_);
    if (!job.linked()) return false;
    job.unlink();
    --queued_;
    if (closed_) done_.notify_all();
    return true;
}

bool pool_core::shutdown(std::chrono::nanoseconds limit) {
    std::unique_lock lock(guard_);
    closed_ = true;
    work_.notify_all();
    const auto is_this = [](const std::thread& each) {
        return each.get_id() == std::this_thread::get_id();
    };
    // A job of its own may end it, and is not waited for, nor what only its thread could begin.
    const unsigned own = std::ranges::any_of(threads_, is_this) ? 1 : 0;
    const bool alone = own == 1 && threads_.size() == 1;
    const auto over = [&] { return busy_ <= own && (queued_ == 0 || alone); };
    constexpr auto forever = std::chrono::hours(24 * 365);
    const bool in_time =
        limit > forever ? (done_.wait(lock, over), true) : done_.wait_for(lock, limit, over);
    const bool all_done = in_time && queued_ == 0;
    std::vector<std::thread> left = std::exchange(threads_, {});
    lock.unlock();
    for (std::thread& each : left) in_time && !is_this(each) ? each.join() : each.detach();
    return all_done;
}

bool pool_core::has_threads() const noexcept {
    const std::lock_guard lock(guard_);
    return !threads_.empty();
}
bool pool_core::closed() const noexcept {
    const std::lock_guard lock(guard_);
    return closed_;
}
std::size_t pool_core::threads() const noexcept {
    const std::lock_guard lock(guard_);
    return threads_.size();
}
std::size_t pool_core::waiting() const noexcept {
    const std::lock_guard lock(guard_);
    return queued_;
}

// ---- jobs of a loop

error job_access::refused(int number, bool by_default) noexcept {
    if (number == ENOBUFS) return error(errc::queue_full, "run on a thread");
    if (number != ESHUTDOWN) return error::from_errno(number, "run on a thread");
    return error(errc::invalid_state, by_default ? "to_thread after shutdown_default_executor"
                                                 : "run on a thread pool that was shut down");
}

void job_access::start(io::job_op& request) noexcept { io::offload(loop::current(), request); }

void job_access::work_here(io::job_op& request) noexcept {
    const off_loop apart;
    request.work(request);
}

void job_access::submit(io::job_op& request) noexcept {
    loop& home = loop::current();
    if (!start_remote(home, request)) return;
    if (request.pool->closed()) return home.state().complete_later(request, -ESHUTDOWN);
    if (home.state().kernel->offload(request)) return;
    // A thread that is none of the engine's: the loop does not count the job (rules 56, 60).
    request.in_flight = false;
    --home.state().live_ops;
    if (const int failed = request.pool->add_if_room(request)) {
        if (start_remote(home, request)) home.state().complete_later(request, -failed);
    }
}

/// Finds the pool, which says whether it takes the job; the engine says whose threads these are.
void start_job(loop_state& home, io::job_op& request) noexcept {
    int failed = 0;
    try {
        if (!request.pool && home.executor_shut) failed = ESHUTDOWN;
        if (!failed && !request.pool) request.pool = home.default_executor().core_;
    } catch (const std::bad_alloc&) {
        failed = ENOMEM;
    }
    if (!failed && request.pool->closed()) failed = ESHUTDOWN;
    if (failed) return home.complete_later(request, -failed);
    if (!home.kernel->offload(request)) queue_job(home, request);
}

void queue_job(loop_state& home, io::job_op& request) noexcept {
    request.perform = &run_job;
    hand_over(request, &take_back);
    if (const int failed = request.pool->add(request)) home.complete_later(request, -failed);
}

thread_pool& loop_state::default_executor() {
    if (!executor) executor = std::make_shared<thread_pool>();
    return *executor;
}

}  // namespace detail

thread_pool::thread_pool(thread_pool_options options)
    : core_(detail::make_core(std::move(options))) {}

thread_pool::~thread_pool() {
    if (core_->has_threads()) core_->shutdown(std::chrono::nanoseconds::max());
}

bool thread_pool::shutdown(clock::duration grace) { return core_->shutdown(grace); }
std::size_t thread_pool::threads() const noexcept { return core_->threads(); }
std::size_t thread_pool::waiting() const noexcept { return core_->waiting(); }

task<> shutdown_default_executor(clock::duration grace) {
    detail::loop_state& home = loop::current().state();
    home.executor_shut = true;
    const auto pool = std::exchange(home.executor, nullptr);
    if (!pool) co_return;
    struct no_wait {  // however this ends, the loop's thread does not wait for jobs
        const std::shared_ptr<thread_pool>& of;
        ~no_wait() {
            if (of.use_count() == 1) of->shutdown(clock::duration::zero());
        }
    } const leaving{pool};
    thread_pool aside({.threads = 1, .name = "ouro-join"});
    const bool ended = co_await aside.run([&pool, grace] { return pool->shutdown(grace); });
    if (ended) co_return;
    home.report({.level = severity::warning,
                 .message = detail::words("jobs of the default executor go on after its shutdown"),
                 .error = {},
                 .subject = "shutdown_default_executor"});
}

}  // namespace ouro
