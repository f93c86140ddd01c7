// Datagrams on their way out.
#include "datagram_queue.hpp"

#include <algorithm>
#include <cstring>

namespace ouro::detail {
namespace {

// What one message may carry in segments: the limit of older kernels, and what fits into one packet
// of IPv4 with its headers.
constexpr std::size_t most_segments = 64;
constexpr std::size_t most_message_bytes = 65'000;
// An empty queue keeps so much memory for the next turn.
constexpr std::size_t kept_bytes = 256 * 1024;

}  // namespace

void datagram_queue::append(bytes data, const address& to) {
    entry added{0, 0, data.size(), to ? to.length() : 0};
    const entry* const last = empty() ? nullptr : &entries_.back();
    const auto* const name = reinterpret_cast<const std::byte*>(to.raw());
    const bool same_name = last && last->name_bytes == added.name_bytes &&
                           std::equal(name, name + added.name_bytes, block_.data() + last->name_at);
    if (same_name) {
        added.name_at = last->name_at;
    } else {
        added.name_at = block_.size();
        block_.insert(block_.end(), name, name + added.name_bytes);
    }
    added.at = block_.size();
    block_.insert(block_.end(), data.begin(), data.end());
    entries_.push_back(added);
    size_ += data.size() + overhead_bytes;
}

datagram_queue::message datagram_queue::next(std::size_t skip,
                                             std::size_t most_segment_bytes) const noexcept {
    const auto begin = entries_.begin() + static_cast<std::ptrdiff_t>(first_ + skip);
    const entry& first = *begin;
    std::size_t count = 1, total = first.bytes;
    if (first.bytes != 0 && first.bytes <= most_segment_bytes) {
        for (auto each = begin + 1; each != entries_.end() && count < most_segments; ++each) {
            const bool alike = each->name_at == first.name_at &&
                               each->name_bytes == first.name_bytes && each->at == first.at + total;
            if (!alike || each->bytes == 0 || each->bytes > first.bytes) break;
            if (total + each->bytes > most_message_bytes) break;
            total += each->bytes;
            ++count;
            if (each->bytes < first.bytes) break;  // a shorter one ends it
        }
    }
    return {{block_.data() + first.at, total},
            block_.data() + first.name_at,
            first.name_bytes,
            count,
            first.bytes};
}

void datagram_queue::pop(std::size_t count) noexcept {
    for (; count; --count) size_ -= entries_[first_++].bytes + overhead_bytes;
    if (empty()) {
        clear();
    } else if (entries_[first_].at > block_.size() / 2 && block_.size() > kept_bytes) {
        compact();
    }
}

/// Gives the room of what was sent to what is queued next. The first name is moved up to the first
/// payload; those who share it follow it without a gap.
void datagram_queue::compact() noexcept {
    const entry first = entries_[first_];
    const std::size_t gone = first.at - first.name_bytes;
    std::memmove(block_.data() + gone, block_.data() + first.name_at, first.name_bytes);
    block_.erase(block_.begin(), block_.begin() + static_cast<std::ptrdiff_t>(gone));
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(first_));
    for (entry& each : entries_) {
        each.name_at = each.name_at == first.name_at ? 0 : each.name_at - gone;
        each.at -= gone;
    }
    first_ = 0;
}

void datagram_queue::clear() noexcept {
    entries_.clear();
    first_ = 0;
    size_ = 0;
    if (block_.capacity() > kept_bytes) {
        block_ = {};
        entries_ = {};
    }
    block_.clear();
}

}  // namespace ouro::detail
