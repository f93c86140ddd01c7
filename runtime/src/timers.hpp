// The loop's pending deadlines, in exact order. Why a heap: docs/decisions/0001-timer-queue.md.
#pragma once

#include <ouro/runtime/timer_node.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ouro::detail {

/// Nodes it does not own, in a 4-ary heap behind a front seat. Every node knows its place, so a
/// cancelled timer leaves at once: the queue never points to a node that its owner has removed.
class timer_queue {
  public:
    using time_point = std::chrono::steady_clock::time_point;

    timer_queue() noexcept = default;
    timer_queue(const timer_queue&) = delete;
    timer_queue& operator=(const timer_queue&) = delete;
    ~timer_queue();

    /// Throws std::bad_alloc with nothing changed.
    void add(timer_node& node);
    /// False if the node was not queued.
    bool remove(timer_node& node) noexcept;
    /// The node that fires next, or null.
    const timer_node* first() const noexcept {
        if (front_) return front_;
        return heap_.empty() ? nullptr : heap_[0].node;
    }
    /// Unlinks and returns the earliest node if its deadline is not after `now`, else null.
    timer_node* pop_expired(time_point now) noexcept;
    /// Unlinks and returns some node, or null if there is none.
    timer_node* pop_any() noexcept;
    /// Shows all nodes to `takes` and unlinks those for which it returns true. It must leave the
    /// queue alone.
    template <class Takes>
    void take_out(Takes takes) noexcept {
        if (front_ && takes(*front_)) pop_first();
        // What comes to the place of one that is gone is from behind, and was seen, or from before.
        for (std::size_t left = heap_.size(); left > 0; --left) {
            while (left <= heap_.size() && takes(*heap_[left - 1].node)) erase(left - 1);
        }
    }

    std::size_t size() const noexcept { return heap_.size() + (front_ ? 1 : 0); }

  private:
    // The deadline is repeated here so that comparing touches the array and not the nodes, which
    // lie scattered in coroutine frames. Four entries are one cache line.
    struct entry {
        time_point when;
        timer_node* node;
    };

    static constexpr std::size_t front_seat = timer_node::npos - 1;

    static bool before(const entry& a, const entry& b) noexcept;
    void place(std::size_t position, const entry& moved) noexcept;
    void sift_up(std::size_t hole, const entry& moved) noexcept;
    void sift_down(std::size_t hole, const entry& moved) noexcept;
    timer_node* pop_first() noexcept;
    void erase(std::size_t position) noexcept;

    // Null, or a node that fires before all of heap_. A timer shorter than all others takes the
    // seat and, if it is cancelled, frees it again, without sifting past the others.
    timer_node* front_ = nullptr;
    std::vector<entry> heap_;          // children of i are 4i+1 .. 4i+4
    std::uint64_t next_sequence_ = 0;  // 64 bits do not wrap
};

}  // namespace ouro::detail
