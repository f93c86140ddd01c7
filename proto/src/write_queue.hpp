// Bytes on their way out: copied together while small, referred to when given away, kept until the
// kernel took them.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/frame_pool.hpp>
#include <ouro/runtime/lease.hpp>

namespace ouro::detail {

/// A FIFO of bytes in chunks. Costs one pointer while empty. Bytes handed to the kernel stay where
/// they are until `consume`; appending never moves them.
class write_queue {
    enum class content : std::uint8_t {
        copied,  // behind the header
        vector,  // in a vector that stands behind the header
        lease,   // in a lease that stands there
    };
    struct chunk {
        chunk* next;
        std::byte* begin;  // first byte that was not taken
        std::byte* end;
        std::byte* limit;  // how far `end` may grow
        chunk* last;       // of the queue; good in the first chunk only
        content what;      // where the bytes are
    };

  public:
    write_queue() noexcept = default;
    write_queue(const write_queue&) = delete;
    write_queue& operator=(const write_queue&) = delete;
    ~write_queue() { clear(); }

    bool empty() const noexcept { return size_ == 0; }
    std::size_t size() const noexcept { return size_; }
    /// Copies `data` to the end. Becomes part of its callers: the call alone would cost as much.
    [[gnu::always_inline]] void append(bytes data) {
        if (data.empty()) return;
        if (!first_ && data.size() <= small_block_bytes - sizeof(chunk)) {
            // The common case: one small message in an empty queue.
            first_ = open_block(small_block_bytes);
            fill(data);
        } else if (room() >= data.size()) {
            fill(data);
        } else {
            append_chunk(data);
        }
    }
    /// Copies all `chunks` to the end, or none of them when there is no memory.
    void append(std::span<const bytes> chunks);
    /// Moves `data` to the end.
    void append(std::vector<std::byte>&& data);
    /// Holds the lease until its bytes were taken.
    void append(buffer_lease data);
    /// The first chunk's bytes.
    bytes front() const noexcept { return {first_->begin, first_->end}; }
    /// True when everything is in the first chunk. There is one.
    bool contiguous() const noexcept { return !first_->next; }
    /// Lists the first chunks in `into`; returns how many there are, `into.size()` at the most.
    std::size_t pieces(std::span<iovec> into) const noexcept;
    /// The kernel took the first `count` bytes.
    void consume(std::size_t count) noexcept {
        size_ -= count;
        if (size_ == 0 && first_ && !first_->next) {
            free_chunk(std::exchange(first_, nullptr));
        } else {
            consume_some(count);
        }
    }
    void clear() noexcept;

  private:
    // Two sizes of pooled memory (header included): one for single small messages, so that a
    // thousand connections with one each stay in the cache, and one for what comes in bulk. What is
    // larger has memory of its own.
    static constexpr std::size_t small_block_bytes = 512;
    static constexpr std::size_t large_block_bytes = 4096 + 64;

    static chunk* open_block(std::size_t block) {
        auto* const memory = static_cast<std::byte*>(frame_pool::allocate(block));
        std::byte* const payload = memory + sizeof(chunk);
        auto* const opened = reinterpret_cast<chunk*>(memory);
        return ::new (memory)
            chunk{nullptr, payload, payload, memory + block, opened, content::copied};
    }
    static chunk* make_chunk(std::size_t payload_bytes);
    static void free_chunk(chunk* unused) noexcept {
        if (unused->what != content::copied) return free_gift(unused);
        auto* const memory = reinterpret_cast<std::byte*>(unused);
        frame_pool::deallocate(memory, static_cast<std::size_t>(unused->limit - memory));
    }
    static void free_gift(chunk* holder) noexcept;
    void append_chunk(bytes data);
    void push(chunk* added) noexcept {
        if (!first_) {
            first_ = added;
        } else {
            first_->last = first_->last->next = added;
        }
    }
    /// What can be copied behind the last bytes.
    std::size_t room() const noexcept {
        return first_ ? static_cast<std::size_t>(first_->last->limit - first_->last->end) : 0;
    }
    /// Copies `data` there.
    void fill(bytes data) noexcept {
        std::memcpy(first_->last->end, data.data(), data.size());
        first_->last->end += data.size();
        size_ += data.size();
    }
    void pop() noexcept;
    void consume_some(std::size_t count) noexcept;

    chunk* first_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ouro::detail
