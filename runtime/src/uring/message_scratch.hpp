// What the kernel reads when a vectored send is submitted.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <vector>

namespace ouro::uring {

/// Headers and lists of pieces, used again once the kernel has read them all.
class message_scratch {
  public:
    /// A message of these pieces; more than fit go with the next send. Null when there is no
    /// memory.
    const msghdr* of(std::span<const iovec> pieces) noexcept try {
        if (used_ == messages_.size()) messages_.push_back(std::make_unique<message>());
        message& scratch = *messages_[used_++];
        const std::size_t count = std::min(pieces.size(), most_pieces);
        std::copy_n(pieces.begin(), count, scratch.pieces);
        scratch.header.msg_iov = scratch.pieces;
        scratch.header.msg_iovlen = count;
        return &scratch.header;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
    /// Everything was submitted.
    void all_read() noexcept { used_ = 0; }

  private:
    static constexpr std::size_t most_pieces = 64;
    struct message {
        msghdr header{};
        iovec pieces[most_pieces];
    };
    std::vector<std::unique_ptr<message>> messages_;
    std::size_t used_ = 0;
};

}  // namespace ouro::uring
