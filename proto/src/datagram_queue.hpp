// Datagrams on their way out: copied one after the other into one block, so that equal ones to one
// address can leave as a single message which the kernel cuts up.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/net/socket.hpp>

namespace ouro::detail {

/// A FIFO of datagrams with their addresses. Each counts 8 bytes more than it has (rule 450).
class datagram_queue {
  public:
    static constexpr std::size_t overhead_bytes = 8;

    bool empty() const noexcept { return first_ == entries_.size(); }
    /// Bytes, overhead included.
    std::size_t size() const noexcept { return size_; }
    void append(bytes data, const address& to);
    /// The next message: the first datagram, or as many as one message can carry in segments of at
    /// most `most_segment_bytes`. Valid until the queue is changed.
    struct message {
        bytes data;
        const std::byte* name;
        socklen_t name_bytes;
        std::size_t count;          // datagrams
        std::size_t segment_bytes;  // of each, when they are several
    };
    /// The message behind the first `skip` datagrams; there is one.
    message next(std::size_t skip, std::size_t most_segment_bytes) const noexcept;
    /// Whether there is one behind the first `skip` datagrams.
    bool has(std::size_t skip) const noexcept { return first_ + skip < entries_.size(); }
    /// Forgets the first `count` datagrams.
    void pop(std::size_t count) noexcept;
    void clear() noexcept;

  private:
    struct entry {
        std::size_t name_at;
        std::size_t at;
        std::size_t bytes;
        socklen_t name_bytes;
    };
    void compact() noexcept;

    std::vector<std::byte> block_;  // names and payloads
    std::vector<entry> entries_;
    std::size_t first_ = 0;  // in entries_: those before it were sent
    std::size_t size_ = 0;
};

}  // namespace ouro::detail
