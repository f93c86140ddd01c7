// The memory of a reader: filled at the end, read at the front as views, none while it is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/frame_pool.hpp>

namespace ouro::detail {

/// One block. A view given out by `take` stays valid until `release_view`: until then nothing
/// moves; when room is needed meanwhile, the unread bytes go to a new block and the old one is
/// kept. A small block goes back to the pool when it is empty and nobody looks at it; a large one
/// stays, until many small receives in a row have shown that it is not needed.
class read_buffer {
  public:
    read_buffer() noexcept = default;
    read_buffer(const read_buffer&) = delete;
    read_buffer& operator=(const read_buffer&) = delete;
    ~read_buffer() {
        drop(block_, capacity_);
        drop(retired_, retired_bytes_);
    }

    bytes unread() const noexcept { return {block_ + begin_, end_ - begin_}; }
    std::size_t size() const noexcept { return end_ - begin_; }
    bool empty() const noexcept { return begin_ == end_; }
    /// True when so much comes that memory should lie ready for it.
    bool is_large() const noexcept { return next_capacity_ > largest_small; }
    /// Room behind the unread bytes for `count` bytes that are there.
    mut_bytes room_for(std::size_t count) {
        if (!block_ && count <= first_capacity) {
            block_ = static_cast<std::byte*>(frame_pool::allocate(first_capacity));
            capacity_ = first_capacity;
        } else if (capacity_ - end_ < count) {
            make_room(count);
        }
        return {block_ + end_, capacity_ - end_};
    }
    /// Room behind the unread bytes for what may come. Nothing may be using earlier room.
    mut_bytes room() {
        lent_ = true;
        if (empty() && !viewed_ && block_ && capacity_ >= next_capacity_) {
            begin_ = end_ = 0;
        } else {
            make_room(1);
        }
        return {block_ + end_, capacity_ - end_};
    }
    /// `count` bytes of the room were filled.
    void filled(std::size_t count) noexcept {
        end_ += count;
        if (lent_) learn_from(count);
    }
    /// The first `count` unread bytes, as a view.
    bytes take(std::size_t count) noexcept {
        const bytes view{block_ + begin_, count};
        begin_ += count;
        viewed_ = viewed_ || count != 0;
        return view;
    }
    /// The last view is not used any more.
    void release_view() noexcept {
        viewed_ = false;
        if (retired_) drop(std::exchange(retired_, nullptr), retired_bytes_);
        if (block_ && empty() && !lent_ && !is_large()) {
            drop(std::exchange(block_, nullptr), capacity_);
            capacity_ = begin_ = end_ = 0;
        }
    }
    void discard() noexcept { begin_ = end_; }

  private:
    void make_room(std::size_t wanted);
    void learn_from(std::size_t count) noexcept;
    static void drop(std::byte* block, std::size_t bytes) noexcept {
        if (block) frame_pool::deallocate(block, bytes);
    }

    std::byte* block_ = nullptr;
    std::byte* retired_ = nullptr;  // a block that a view still points into
    std::size_t retired_bytes_ = 0;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t next_capacity_ = first_capacity;
    std::uint8_t small_receives_ = 0;  // in a row, while it is large
    bool viewed_ = false;
    bool lent_ = false;  // somebody may write to the room

    static constexpr std::size_t first_capacity = 512;
    // A copy of more than this costs more than a receive of one's own (docs/decisions/0020).
    static constexpr std::size_t largest_small = 2048;
    // One receive of this size is as cheap as they get.
    static constexpr std::size_t most_capacity = 256 * 1024;
    static constexpr std::uint8_t many_small_receives = 32;
};

}  // namespace ouro::detail
