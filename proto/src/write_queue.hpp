// Bytes on their way out: copied together while small, referred to when given away, kept until the kernel took them.
#pragma once

#include <sys/uio.h>

#include <cstddef>
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
    void append(bytes data);
    /// Moves `data` to the end.
    void append(std::vector<std::byte>&& data);
    /// The first chunk's bytes.
    bytes front() const noexcept;
    /// True when everything is in the first chunk.
    bool contiguous() const noexcept { return first_ == last_; }
    /// Lists the first chunks in `into`; returns how many there are, `into.size()` at the most.
    std::size_t pieces(std::span<iovec> into) const noexcept;
    /// The kernel took the first `count` bytes.
    void consume(std::size_t count) noexcept;
    void clear() noexcept;

  private:
    struct chunk {
        chunk* next = nullptr;
        std::byte* data = nullptr;
        std::size_t begin = 0;             // first byte that was not taken
        std::size_t end = 0;
        std::size_t room_end = 0;          // how far `end` may grow; memory that was given has no room
        std::size_t block_bytes = 0;       // what to give back to the pool
        std::vector<std::byte> owned;      // memory that was given
    };
    static chunk* make_chunk(std::size_t bytes_wanted);
    static void free_chunk(chunk* unused) noexcept;
    void push(chunk* added) noexcept;
    void pop() noexcept;

    chunk* first_ = nullptr;
    chunk* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace ouro::detail
