// Bytes on their way out.
#include "write_queue.hpp"

#include <algorithm>
#include <memory>
#include <new>

namespace ouro::detail {
namespace {

using gift = std::vector<std::byte>;

}  // namespace

write_queue::chunk* write_queue::make_chunk(std::size_t payload_bytes) {
    const std::size_t wanted = payload_bytes + sizeof(chunk);
    return open_block(wanted <= small_block_bytes   ? small_block_bytes
                      : wanted <= large_block_bytes ? large_block_bytes
                                                    : wanted);
}

void write_queue::destroy_gift(chunk* holder) noexcept {
    std::destroy_at(reinterpret_cast<gift*>(holder + 1));
}

/// Fills what room there is, then opens a new chunk for the rest.
void write_queue::append_chunk(bytes data) {
    const std::size_t part = last_ ? static_cast<std::size_t>(last_->limit - last_->end) : 0;
    chunk* const added = make_chunk(data.size() - part);
    if (part) {
        std::memcpy(last_->end, data.data(), part);
        last_->end += part;
    }
    std::memcpy(added->end, data.data() + part, data.size() - part);
    added->end += data.size() - part;
    size_ += data.size();
    push(added);
}

void write_queue::append(std::vector<std::byte>&& data) {
    if (data.empty()) return;
    chunk* const added = make_chunk(sizeof(gift));
    auto* const held = ::new (static_cast<void*>(added + 1)) gift(std::move(data));
    added->given = true;
    added->begin = held->data();
    added->end = added->limit = held->data() + held->size();
    size_ += held->size();
    push(added);
}

std::size_t write_queue::pieces(std::span<iovec> into) const noexcept {
    std::size_t count = 0;
    for (chunk* each = first_; each && count < into.size(); each = each->next) {
        into[count++] = {each->begin, static_cast<std::size_t>(each->end - each->begin)};
    }
    return count;
}

void write_queue::pop() noexcept {
    chunk* const taken = first_;
    first_ = taken->next;
    if (!first_) last_ = nullptr;
    free_chunk(taken);
}

void write_queue::consume_some(std::size_t count) noexcept {
    while (count) {
        const auto part = std::min(count, static_cast<std::size_t>(first_->end - first_->begin));
        first_->begin += part;
        count -= part;
        if (first_->begin == first_->end) pop();
    }
}

void write_queue::clear() noexcept {
    while (first_) pop();
    size_ = 0;
}

}  // namespace ouro::detail
