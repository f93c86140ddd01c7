// Bytes on their way out.
#include "write_queue.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include <ouro/runtime/frame_pool.hpp>

namespace ouro::detail {
namespace {

// Two sizes of pooled memory (header included): one for single small messages, so that a thousand connections with one
// each stay in the cache, and one for what comes in bulk. What is larger has memory of its own.
constexpr std::size_t small_block_bytes = 512;
constexpr std::size_t large_block_bytes = 4096;

}  // namespace

write_queue::chunk* write_queue::make_chunk(std::size_t bytes_wanted) {
    const std::size_t wanted = bytes_wanted + sizeof(chunk);
    const std::size_t block = wanted <= small_block_bytes   ? small_block_bytes
                              : wanted <= large_block_bytes ? large_block_bytes
                                                            : wanted;
    void* const memory = frame_pool::allocate(block);
    auto* made = ::new (memory) chunk;
    made->data = static_cast<std::byte*>(memory) + sizeof(chunk);
    made->room_end = block - sizeof(chunk);
    made->block_bytes = block;
    return made;
}

void write_queue::free_chunk(chunk* unused) noexcept {
    const std::size_t block = unused->block_bytes;
    unused->~chunk();
    frame_pool::deallocate(unused, block);
}

void write_queue::push(chunk* added) noexcept {
    (last_ ? last_->next : first_) = added;
    last_ = added;
}

void write_queue::pop() noexcept {
    chunk* const taken = first_;
    first_ = taken->next;
    if (!first_) last_ = nullptr;
    free_chunk(taken);
}

void write_queue::append(bytes data) {
    if (data.empty()) return;
    if (last_) {  // fill the room that is left before opening a new chunk
        const std::size_t part = std::min(last_->room_end - last_->end, data.size());
        if (part) std::memcpy(last_->data + last_->end, data.data(), part);
        last_->end += part;
        size_ += part;
        data = data.subspan(part);
        if (data.empty()) return;
    }
    chunk* const added = make_chunk(data.size());
    std::memcpy(added->data, data.data(), data.size());
    added->end = data.size();
    push(added);
    size_ += data.size();
}

void write_queue::append(std::vector<std::byte>&& data) {
    if (data.empty()) return;
    chunk* const added = make_chunk(0);
    added->owned = std::move(data);
    added->data = added->owned.data();
    added->end = added->room_end = added->owned.size();
    size_ += added->end;
    push(added);
}

bytes write_queue::front() const noexcept {
    return {first_->data + first_->begin, first_->end - first_->begin};
}

std::size_t write_queue::pieces(std::span<iovec> into) const noexcept {
    std::size_t count = 0;
    for (chunk* each = first_; each && count < into.size(); each = each->next) {
        into[count++] = {each->data + each->begin, each->end - each->begin};
    }
    return count;
}

void write_queue::consume(std::size_t count) noexcept {
    size_ -= count;
    while (count) {
        const std::size_t part = std::min(count, first_->end - first_->begin);
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
