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

void write_queue::free_gift(chunk* holder) noexcept {
    if (holder->what == content::vector) {
        std::destroy_at(reinterpret_cast<gift*>(holder + 1));
    } else {
        std::destroy_at(reinterpret_cast<buffer_lease*>(holder + 1));
    }
    frame_pool::deallocate(holder, small_block_bytes);
}

/// Fills what room there is, then opens a new chunk for the rest.
void write_queue::append_chunk(bytes data) {
    const std::size_t part = room();
    chunk* const added = make_chunk(data.size() - part);
    if (part) fill(data.first(part));
    push(added);
    fill(data.subspan(part));
}

void write_queue::append(std::span<const bytes> chunks) {
    chunk* const last = first_ ? first_->last : nullptr;
    std::byte* const end = last ? last->end : nullptr;
    const std::size_t size = size_;
    try {
        for (const bytes each : chunks) append(each);
    } catch (...) {
        chunk* added = std::exchange(last ? last->next : first_, nullptr);
        while (added) free_chunk(std::exchange(added, added->next));
        if (last) {
            last->end = end;
            first_->last = last;
        }
        size_ = size;
        throw;
    }
}

void write_queue::append(std::vector<std::byte>&& data) {
    if (data.empty()) return;
    chunk* const added = open_block(small_block_bytes);
    auto* const held = ::new (static_cast<void*>(added + 1)) gift(std::move(data));
    added->what = content::vector;
    added->begin = held->data();
    added->end = added->limit = held->data() + held->size();
    push(added);
    size_ += held->size();
}

/// The bytes are only read: that the other kinds of chunk are written to does not make these so.
void write_queue::append(buffer_lease data) {
    const std::size_t added_bytes = data.size();
    if (added_bytes == 0) return;
    chunk* const last = first_ ? first_->last : nullptr;
    if (last && last->what == content::lease &&
        reinterpret_cast<buffer_lease*>(last + 1)->join(data)) {
        last->end = last->limit += added_bytes;
        size_ += added_bytes;
        return;
    }
    chunk* const added = open_block(small_block_bytes);
    auto* const held = ::new (static_cast<void*>(added + 1)) buffer_lease(std::move(data));
    added->what = content::lease;
    added->begin = const_cast<std::byte*>(held->data());
    added->end = added->limit = added->begin + added_bytes;
    push(added);
    size_ += added_bytes;
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
    if (first_) first_->last = taken->last;
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
