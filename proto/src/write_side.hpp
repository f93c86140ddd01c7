// How transports write: small writes are staged and leave together, large ones are offered at once,
// one operation is under way at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <ouro/proto/flow_control.hpp>
#include <ouro/runtime/lease.hpp>

#include "write_queue.hpp"

namespace ouro::detail {

/// The operation that writes; a base so that a completion leads to the transport by a cast.
struct transmit_op : op {
    using op::op;
};

/// `Link` is a `transport_life` of a stream or a pipe.
template <class Link>
class write_side : public Link, protected transmit_op, protected turn_end_hook {
  public:
    using Link::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    std::error_code write(buffer_lease data) override;
    std::error_code writelines(std::span<const bytes> chunks) override;
    bool can_write_eof() const noexcept override { return true; }
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return flow_.limits();
    }
    std::size_t get_write_buffer_size() const noexcept override {
        return ending_ ? 0 : queue_.size();
    }

  protected:
    template <class... Details>
    explicit write_side(void (*written)(op&) noexcept, Details&&... of)
        : Link(std::forward<Details>(of)...), transmit_op(written) {}

    /// What a write of `size` bytes gets that is empty, or comes when a transport is closing or
    /// `refuses_`; nothing when it is taken all the same.
    virtual std::optional<std::error_code> turned_away(std::size_t size) noexcept = 0;
    /// Writes what can be written without waiting, and says how much that was.
    virtual result<std::size_t> offer(bytes data) noexcept = 0;

    /// What that is, for errors.
    virtual const char* doing() const noexcept = 0;

    /// Hands over what is queued at the end of the turn, unless the end of an operation does that.
    void schedule_flush() noexcept {
        if (!transmit_op::in_flight) at_turn_end(*this->home_, *this);
    }
    /// Offers the queue as long as there is room.
    void offer_now() noexcept;
    /// The queue is shorter: a paused protocol may go on.
    void relieve() noexcept;
    void note_resumed() noexcept {
        if (pauses_) pauses_->before += turn_time(*this->home_) - pauses_->since;
    }

    using Link::closing_;
    using Link::ending_;
    using Link::receiver_;
    write_queue queue_;
    flow_control flow_;
    /// What there is to tell of the pauses of the protocol.
    struct pauses {
        clock::time_point since;  // the one under way
        clock::duration before{};
        std::uint32_t count = 0;
    };
    std::unique_ptr<pauses> pauses_;  // null before the first, or without memory for it
    bool full_ = false;     // it took less than it was offered: the next write waits for room
    bool refuses_ = false;  // a write now would not be in order

  private:
    std::optional<std::error_code> not_taken(std::size_t size) noexcept {
        if (size != 0 && !closing_ && !refuses_) [[likely]]
            return std::nullopt;
        return turned_away(size);
    }
    std::error_code write_large(bytes data);
    std::size_t write_directly(bytes data) noexcept;
    void queued() noexcept;
    void pause_if_above() noexcept;
    void torn() noexcept;
};

}  // namespace ouro::detail
