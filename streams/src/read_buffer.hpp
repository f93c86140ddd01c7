// The memory of a reader: filled at the end by the kernel, read at the front as views.
#pragma once

#include <cstddef>
#include <memory>

#include <ouro/net/socket.hpp>

namespace ouro::detail {

/// One block. A view given out by `take` stays valid until `release_view`: until then nothing
/// moves; when room is needed meanwhile, the unread bytes go to a new block and the old one is
/// kept.
class read_buffer {
  public:
    bytes unread() const noexcept { return {block_.get() + begin_, end_ - begin_}; }
    std::size_t size() const noexcept { return end_ - begin_; }
    bool empty() const noexcept { return begin_ == end_; }
    /// Room behind the unread bytes, at least `wanted` of it. Nothing may be using earlier room.
    mut_bytes room(std::size_t wanted) {
        if (empty() && !viewed_ && capacity_ >= next_capacity_ && capacity_ >= wanted) {
            begin_ = end_ = 0;
            return {block_.get(), capacity_};
        }
        return make_room(wanted);
    }
    /// `count` bytes of the room were filled. Filling it to the brim asks for more next time.
    void filled(std::size_t count) noexcept {
        end_ += count;
        if (end_ == capacity_) ask_for_more();
    }
    /// The first `count` unread bytes, as a view.
    bytes take(std::size_t count) noexcept {
        const bytes view{block_.get() + begin_, count};
        begin_ += count;
        viewed_ = viewed_ || count != 0;
        return view;
    }
    /// The last view is not used any more.
    void release_view() noexcept {
        viewed_ = false;
        if (retired_) retired_.reset();
    }
    void discard() noexcept { begin_ = end_; }

  private:
    mut_bytes make_room(std::size_t wanted);
    void ask_for_more() noexcept;

    std::unique_ptr<std::byte[]> block_;
    std::unique_ptr<std::byte[]> retired_;  // a block that a view still points into
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t next_capacity_ = first_capacity;
    bool viewed_ = false;

    // Small, because it is what an idle connection holds; a reader that is kept busy soon has more.
    static constexpr std::size_t first_capacity = 512;
    static constexpr std::size_t most_capacity =
        256 * 1024;  // one receive of this size is as cheap as they get
};

}  // namespace ouro::detail
