// Operations that wait for something, but not for the kernel.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ouro/runtime/op.hpp>

namespace ouro::detail {

/// FIFO of operations that the kernel does not have. They are linked by their `length`, since none
/// of their memory is lent to it then: there is always room for one more.
class op_list {
  public:
    bool empty() const noexcept { return first_ == nullptr; }
    std::size_t size() const noexcept { return size_; }
    void push(op& last) noexcept {
        last.length = 0;
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
        front->length = 0;
        return front;
    }

  private:
    static op* after(const op& each) noexcept { return reinterpret_cast<op*>(each.length); }
    static void link(op& each, op* next) noexcept {
        each.length = reinterpret_cast<std::uintptr_t>(next);
    }

    op* first_ = nullptr;
    op* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ouro::detail
