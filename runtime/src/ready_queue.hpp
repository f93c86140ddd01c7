// What runs in the next turn, in order.
#pragma once

#include <ouro/runtime/loop.hpp>

namespace ouro::detail {

/// FIFO of ready nodes.
class ready_queue {
  public:
    bool empty() const noexcept { return first_ == nullptr; }
    void push(ready_node& node) noexcept {
        node.next = nullptr;
        (last_ ? last_->next : first_) = &node;
        last_ = &node;
        node.queued = true;
    }
    ready_node* pop() noexcept {
        ready_node* node = first_;
        if (node) {
            first_ = node->next;
            if (!first_) last_ = nullptr;
            node->queued = false;
        }
        return node;
    }

  private:
    ready_node* first_ = nullptr;
    ready_node* last_ = nullptr;
};

}  // namespace ouro::detail
