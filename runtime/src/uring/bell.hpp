// How other threads wake a loop: a message from ring to ring, or an eventfd that the ring polls.
#pragma once

#include <cstdint>

struct io_uring_sqe;

namespace ouro::uring {

class ring;

/// The way into the sleep of one loop. Shared with those who have a message under way: it may
/// outlive the ring it leads to.
///
/// Threads  any, but for `answer_event`.
class bell {
  public:
    /// `user_data` of the completion that a message makes.
    static constexpr std::uint64_t tag = 1;

    /// Throws `std::system_error` when there are no descriptors left.
    explicit bell(const ring& home);
    ~bell();
    bell(const bell&) = delete;
    bell& operator=(const bell&) = delete;

    bool takes_messages() const noexcept { return ring_ >= 0; }
    /// Wakes the loop before it returns.
    void ring() noexcept;
    void ring_by_event() noexcept;
    /// Fills an entry that wakes the loop. It fails when the loop has not run yet, or for want of
    /// memory: then `ring_by_event`.
    void prepare(io_uring_sqe& entry) const noexcept;

    /// The descriptor that is readable after `ring_by_event`.
    int event() const noexcept { return event_; }
    /// Makes it unreadable again; false when it was not readable.
    bool answer_event() noexcept;

  private:
    int ring_ = -1;  // of its own: a number that the loop has closed could be another ring by now
    int event_ = -1;
};

}  // namespace ouro::uring
