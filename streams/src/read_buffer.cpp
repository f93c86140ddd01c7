// The memory of a reader.
#include "read_buffer.hpp"

#include <algorithm>
#include <cstring>

namespace ouro::detail {

mut_bytes read_buffer::make_room(std::size_t wanted) {
    if (!viewed_ && empty()) begin_ = end_ = 0;
    // A quarter of the block, or what was asked for, is worth a receive; less than that is not.
    const std::size_t enough = std::max(wanted, std::min(next_capacity_, capacity_) / 4);
    if (capacity_ - end_ < std::max<std::size_t>(enough, 1) ||
        (empty() && !viewed_ && capacity_ < next_capacity_)) {
        // Doubling, so that collecting a long stream copies each byte a few times only.
        const std::size_t need =
            std::max(size() + std::max({wanted, next_capacity_ / 2, size()}), next_capacity_);
        if (!viewed_ && need <= capacity_) {
            std::memmove(block_.get(), block_.get() + begin_, size());
        } else {
            auto fresh = std::make_unique_for_overwrite<std::byte[]>(need);
            if (size()) std::memcpy(fresh.get(), block_.get() + begin_, size());
            if (viewed_ && !retired_) retired_ = std::move(block_);
            block_ = std::move(fresh);
            capacity_ = need;
        }
        end_ -= begin_;
        begin_ = 0;
    }
    return {block_.get() + end_, capacity_ - end_};
}

void read_buffer::ask_for_more() noexcept {
    if (next_capacity_ < most_capacity) {
        next_capacity_ = std::min(most_capacity, std::max(next_capacity_, capacity_) * 4);
    }
}

}  // namespace ouro::detail
