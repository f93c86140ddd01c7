// The memory of a reader.
#include "read_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace ouro::detail {

void read_buffer::make_room(std::size_t wanted) {
    if (!viewed_ && empty()) begin_ = end_ = 0;
    // A quarter of the block, or what was asked for, is worth a receive; less than that is not.
    const std::size_t enough = std::max(wanted, std::min(next_capacity_, capacity_) / 4);
    if (capacity_ - end_ >= std::max<std::size_t>(enough, 1) &&
        !(empty() && !viewed_ && capacity_ < next_capacity_)) {
        return;
    }
    // Doubling, so that collecting a long stream copies each byte a few times only.
    std::size_t need =
        std::max(size() + std::max({wanted, next_capacity_ / 2, size()}), next_capacity_);
    if (need > largest_small) {
        next_capacity_ = std::max(next_capacity_, std::min(need, most_capacity));
    } else if (need > first_capacity) {
        need = largest_small;
    }
    if (!viewed_ && need <= capacity_) {
        std::memmove(block_, block_ + begin_, size());
    } else {
        auto* const fresh = static_cast<std::byte*>(frame_pool::allocate(need));
        if (size()) std::memcpy(fresh, block_ + begin_, size());
        if (viewed_ && !retired_) {
            retired_ = block_;
            retired_bytes_ = capacity_;
        } else {
            drop(block_, capacity_);
        }
        block_ = fresh;
        capacity_ = need;
    }
    end_ -= begin_;
    begin_ = 0;
}

/// What was lent for an unknown count has got `count` bytes: filled to the brim, there is more next
/// time.
void read_buffer::learn_from(std::size_t count) noexcept {
    lent_ = false;
    if (end_ == capacity_) {
        small_receives_ = 0;
        next_capacity_ = std::max(next_capacity_,
                                  std::min(most_capacity, std::max(next_capacity_, capacity_) * 4));
    } else if (count > largest_small || !is_large()) {
        small_receives_ = 0;
    } else if (++small_receives_ == many_small_receives) {
        small_receives_ = 0;
        next_capacity_ = first_capacity;
    }
}

}  // namespace ouro::detail
