// Bytes on their way out: copied together while small, referred to when given away, kept until the kernel took them.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include <ouro/net/socket.hpp>

namespace ouro::detail {

/// A FIFO of bytes in chunks. Costs one pointer while empty. Bytes handed to the kernel stay where they are until
/// `consume`; appending never moves them.
class write_queue {
  public:
    write_queue() noexcept = default;
    write_queue(const write_queue&) = delete;
    write_queue& operator=(const write_queue&) = delete;
    ~write_queue() { clear(); }

    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }
    /// Copies `data` to the end.
    void append(bytes data) {
        size_ += data.size();
        if (last_ && static_cast<std::size_t>(last_->limit - last_->end) >= data.size()) {
            std::memcpy(last_->end, data.data(), data.size());
            last_->end += data.size();
        } else {
            append_chunk(data);
        }
    }
    /// Moves `data` to the end.
    void append(std::vector<std::byte>&& data);
    /// The first chunk's bytes.
    bytes front() const noexcept { return {first_->begin, first_->end}; }
    /// True when everything is in the first chunk.
    bool contiguous() const noexcept { return first_ == last_; }
    /// Lists the first chunks in `into`; returns how many there are, `into.size()` at the most.
    std::size_t pieces(std::span<iovec> into) const noexcept;
    /// The kernel took the first `count` bytes.
    void consume(std::size_t count) noexcept {
        size_ -= count;
        if (size_ == 0 && first_ == last_) {
            if (first_) free_chunk(first_);
            first_ = last_ = nullptr;
        } else {
            consume_some(count);
        }
    }
    void clear() noexcept;

  private:
    struct chunk {
        chunk* next;
        std::byte* begin;         // first byte that was not taken
        std::byte* end;
        std::byte* limit;         // how far `end` may grow
        std::size_t block_bytes;  // what to give back to the pool
        bool given;               // the bytes are those of a vector that stands behind this header
    };
    static chunk* make_chunk(std::size_t payload_bytes);
    static void free_chunk(chunk* unused) noexcept;
    void append_chunk(bytes data);
    void push(chunk* added) noexcept {
        (last_ ? last_->next : first_) = added;
        last_ = added;
    }
    void pop() noexcept;
    void consume_some(std::size_t count) noexcept;

    chunk* first_ = nullptr;
    chunk* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ouro::detail
