// Operations whose end needs no kernel.
#pragma once

#include <cstddef>

#include <ouro/runtime/op.hpp>

namespace ouro::detail {

/// FIFO of operations that the kernel never had: so there is always room, in their `data`, to link
/// them.
class op_list {
  public:
    bool empty() const noexcept { return first_ == nullptr; }
    std::size_t size() const noexcept { return size_; }
    void push(op& last) noexcept {
        last.data = nullptr;
        if (last_) {
            link(*last_, &last);
        } else {
            first_ = &last;
        }
        last_ = &last;
        ++size_;
    }
    op* pop() noexcept {
        op* const front = first_;
        if (!front) return nullptr;
        first_ = after(*front);
        if (!first_) last_ = nullptr;
        --size_;
        front->data = nullptr;
        return front;
    }

  private:
    static op* after(const op& each) noexcept { return reinterpret_cast<op*>(each.data); }
    static void link(op& each, op* next) noexcept {
        each.data = reinterpret_cast<std::byte*>(next);
    }

    op* first_ = nullptr;
    op* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ouro::detail
