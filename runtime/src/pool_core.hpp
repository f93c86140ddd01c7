// What a thread pool is: a queue of jobs and the threads that take them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <ouro/runtime/remote.hpp>

namespace ouro::detail {

/// Shared by the pool, its threads and the jobs that wait. Any thread.
class pool_core : public std::enable_shared_from_this<pool_core> {
  public:
    pool_core(unsigned most, std::size_t most_waiting, std::string name)
        : most_(most), most_waiting_(most_waiting), name_(std::move(name)) {}

    /// Queues `job`. 0, or an errno: no thread to be had, no more jobs taken.
    int add(pool_job& job) noexcept;
    /// The same for a job that nobody awaits: one that would have to wait beside too many others
    /// is not taken (ENOBUFS).
    int add_if_room(pool_job& job) noexcept;
    /// Takes `job` back; false when a thread has begun it.
    bool remove(pool_job& job) noexcept;
    /// Takes no more jobs; false when those it has are not done within `limit`.
    bool shutdown(std::chrono::nanoseconds limit);
    /// True while there are threads to wait for.
    bool has_threads() const noexcept;
    /// True after `shutdown`.
    bool closed() const noexcept;
    std::size_t threads() const noexcept;
    std::size_t waiting() const noexcept;

  private:
    int add_locked(pool_job& job) noexcept;
    bool start_one();
    void live();

    const unsigned most_;
    const std::size_t most_waiting_;  // 0: any number
    const std::string name_;
    mutable std::mutex guard_;
    std::condition_variable work_;  // for idle threads
    std::condition_variable done_;  // for whoever shuts it down
    list<pool_job> queue_;
    std::size_t queued_ = 0;
    std::vector<std::thread> threads_;
    unsigned busy_ = 0;
    unsigned idle_ = 0;
    bool closed_ = false;
};

}  // namespace ouro::detail
