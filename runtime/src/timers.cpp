// A 4-ary heap with back-indices, so that a cancelled timer need not wait for its deadline.
#include "timers.hpp"

#include <ouro/runtime/assert.hpp>

#include <algorithm>

namespace ouro::detail {

timer_queue::~timer_queue() { OURO_ASSERT(size() == 0, "a timer outlives its loop"); }

void timer_queue::add(timer_node& node) {
    OURO_ASSERT(!node.queued(), "a timer is added twice");
    const timer_node* earliest = first();
    const bool leads = !earliest || node.when < earliest->when;
    timer_node* sinks = leads ? front_ : &node;
    if (sinks) heap_.push_back({sinks->when, sinks});  // nothing below this line throws
    node.sequence = next_sequence_++;
    if (sinks) sift_up(heap_.size() - 1, {sinks->when, sinks});
    if (leads) {
        front_ = &node;
        node.position = front_seat;
    }
}

bool timer_queue::remove(timer_node& node) noexcept {
    if (!node.queued()) return false;
    if (&node == front_) {
        pop_first();
        return true;
    }
    OURO_ASSERT(node.position < heap_.size() && heap_[node.position].node == &node,
                "a timer is removed from a queue it is not in");
    erase(node.position);
    return true;
}

timer_node* timer_queue::pop_expired(time_point now) noexcept {
    const timer_node* earliest = first();
    if (!earliest || earliest->when > now) return nullptr;
    return pop_first();
}

timer_node* timer_queue::pop_any() noexcept {
    if (heap_.empty()) return front_ ? pop_first() : nullptr;
    timer_node* node = heap_.back().node;
    erase(heap_.size() - 1);
    return node;
}

bool timer_queue::before(const entry& a, const entry& b) noexcept {
    if (a.when != b.when) return a.when < b.when;
    return a.node->sequence < b.node->sequence;
}

void timer_queue::place(std::size_t position, const entry& moved) noexcept {
    heap_[position] = moved;
    moved.node->position = position;
}

void timer_queue::sift_up(std::size_t hole, const entry& moved) noexcept {
    while (hole != 0) {
        const std::size_t parent = (hole - 1) / 4;
        if (!before(moved, heap_[parent])) break;
        place(hole, heap_[parent]);
        hole = parent;
    }
    place(hole, moved);
}

void timer_queue::sift_down(std::size_t hole, const entry& moved) noexcept {
    const std::size_t size = heap_.size();
    for (;;) {
        const std::size_t begin = 4 * hole + 1;
        if (begin >= size) break;
        std::size_t least = begin;
        for (std::size_t child = begin + 1; child < std::min(begin + 4, size); ++child) {
            if (before(heap_[child], heap_[least])) least = child;
        }
        if (!before(heap_[least], moved)) break;
        place(hole, heap_[least]);
        hole = least;
    }
    place(hole, moved);
}

timer_node* timer_queue::pop_first() noexcept {
    timer_node* node = front_;
    if (node) {
        front_ = nullptr;
        node->position = timer_node::npos;
    } else {
        node = heap_[0].node;
        erase(0);
    }
    return node;
}

void timer_queue::erase(std::size_t position) noexcept {
    heap_[position].node->position = timer_node::npos;
    const entry last = heap_.back();
    heap_.pop_back();
    if (position == heap_.size()) return;
    // The last entry comes from another branch, so it may belong above the hole as well as below.
    if (position != 0 && before(last, heap_[(position - 1) / 4])) {
        sift_up(position, last);
    } else {
        sift_down(position, last);
    }
}

}  // namespace ouro::detail
