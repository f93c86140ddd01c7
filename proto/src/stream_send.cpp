// How a stream transport hands over what was written.
#include "stream_transport.hpp"

#include <cerrno>

#include <ouro/runtime/io.hpp>

namespace ouro::detail {
namespace {

// Sends up to this size need no completion when nobody waits for their end.
constexpr std::size_t fast_send_bytes = 16 * 1024;
// Pieces of one vectored send; far below the system's limit of 1024 (rule 336).
constexpr std::size_t most_pieces = 64;
// How many dropped writes go unremarked (rule 339).
constexpr std::uint32_t quiet_drops = 5;

}  // namespace

std::optional<std::error_code> stream_transport::turned_away(std::size_t size) noexcept {
    if (refuses_) return refusal();
    if (size == 0 || (closing_ && drop_write())) return std::error_code();
    return std::nullopt;
}

/// True when the connection is past writing. While a closing one still flushes, writes go along
/// (rule 352).
bool stream_transport::drop_write() noexcept {
    const bool over = ending_ || lost_ || (closing_ && queue_.empty());
    if (!over) return false;
    set_aside* const noted = try_aside();
    if (!noted || ++noted->dropped_writes < quiet_drops) return true;
    if (loop* const hears = who_hears()) {
        hears->call_exception_handler({.level = severity::warning,
                                       .message = words("write on a closed transport was dropped"),
                                       .error = why_lost_,
                                       .subject = words([this] { return describe(); }),
                                       .created = {}});
    }
    return true;
}

result<std::size_t> stream_transport::offer(bytes data) noexcept {
    auto taken = io::try_send(*home_, fd_, data);
    if (taken) bytes_sent_ += *taken;
    return taken;
}

void stream_transport::flush_hook(turn_end_hook& hook) noexcept {
    static_cast<stream_transport&>(hook).flush();
}

inline bool stream_transport::may_send_fast() const noexcept {
    return queue_.contiguous() && nobody_waits() && !full_ && queue_.size() <= fast_send_bytes;
}

inline void stream_transport::send_fast() noexcept {
    io::send(*home_, static_cast<transmit_op&>(*this), fd_, queue_.front(), io::send_mode::fast);
}

/// Hands what is queued to the kernel at the end of a turn, in one operation. All of it was written
/// in this turn: else a send would be under way.
void stream_transport::flush() noexcept {
    if (transmit_op::in_flight || ending_) return;
    if (queue_.empty()) return taken_early();
    if (may_send_fast()) return send_fast();
    send_slowly(turn_time(*home_));
}

/// The kernel was offered all of it before the turn ended.
[[gnu::noinline]] void stream_transport::taken_early() noexcept {
    const context::use in(values_);  // the protocol may be told
    drained();
}

/// A send whose end is waited for.
void stream_transport::send_slowly(clock::time_point queued_at) noexcept {
    slow_ = true;
    if (set_aside* const noted = try_aside()) {
        noted->queued_at = queued_at;
        noted->offered_at = turn_time(*home_);
    }
    if (!queue_.contiguous()) return flush_pieces();
    io::send(*home_, static_cast<transmit_op&>(*this), fd_, queue_.front(), io::send_mode::all);
}

void stream_transport::flush_pieces() noexcept {
    iovec pieces[most_pieces];
    io::send_pieces(*home_, static_cast<transmit_op&>(*this), fd_, {pieces, queue_.pieces(pieces)});
}

void stream_transport::sent(op& done) noexcept {
    auto& self = static_cast<stream_transport&>(static_cast<transmit_op&>(done));
    // All of it went, and nobody waits for that.
    const auto taken = static_cast<std::size_t>(done.res);
    if (taken == self.queue_.size() && self.nobody_waits()) [[likely]] {
        self.bytes_sent_ += taken;
        return self.queue_.consume(taken);
    }
    self.sent_otherwise(done.res);
}

void stream_transport::sent_otherwise(std::int32_t res) noexcept {
    const context::use in(values_);
    const std::size_t taken = res < 0 ? 0 : static_cast<std::size_t>(res);
    bytes_sent_ += taken;
    if (ending_) {
        queue_.consume(taken);
        return settle();
    }
    // EINTR: the process was stopped, and what waited in a worker of the kernel starts again.
    if (res < 0 && res != -EAGAIN && res != -EINTR) return end(error::from_errno(-res, "send"));
    full_ = taken < transmit_op::length;  // what was offered; more may have been queued since
    queue_.consume(taken);
    clock::time_point queued_at = turn_time(*home_);
    // What the kernel was not offered is younger than what it was.
    if (slow_ && aside_) queued_at = full_ ? aside_->queued_at : aside_->offered_at;
    slow_ = false;
    if (!queue_.empty()) may_send_fast() ? send_fast() : send_slowly(queued_at);
    relieve();
    if (queue_.empty() && !ending_) drained();
}

/// The queue has become empty: what waited for that happens now.
void stream_transport::drained() {
    tell_file();
    if (eof_wanted_ && !eof_sent_) {
        eof_sent_ = true;
        // It fails only when the peer is gone, which reading tells.
        (void)io::shutdown(*home_, fd_, SHUT_WR);
    }
    if (closing_) end({});
}

std::error_code stream_transport::write_eof() {
    if (closing_ || eof_wanted_) return {};
    if (sending_file_) return refusal();
    eof_wanted_ = refuses_ = true;
    if (queue_.empty() && !transmit_op::in_flight) drained();
    return {};
}

}  // namespace ouro::detail
