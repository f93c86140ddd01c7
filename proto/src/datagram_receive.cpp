// How a datagram transport receives: from the loop's buffers, or one datagram at a time into memory
// of its own; and what comes while it is paused.
#include <algorithm>
#include <cerrno>

#include <ouro/runtime/io.hpp>

#include "datagram_link.hpp"

namespace ouro::detail {
namespace {

// What a unix datagram can have (rule 461), and the most that UDP can.
constexpr std::size_t unix_room_bytes = 262'144;
constexpr std::size_t udp_room_bytes = 64 * 1024;
// How long a receive that failed for want of memory is not tried again.
constexpr auto shortage_pause = std::chrono::milliseconds(10);

/// A socket that says this will say it again.
bool is_hopeless(int failure) noexcept {
    return failure == EBADF || failure == ENOTSOCK || failure == EINVAL || failure == ENOTCONN ||
           failure == EOPNOTSUPP;
}

}  // namespace

void datagram_link::arm_receive() noexcept {
    auto& request = static_cast<datagram_receive_op&>(*this);
    OURO_ASSERT(!request.in_flight, "a second receive on one endpoint");
    if (!one_by_one_) return io::recv_datagrams(*home_, request, fd_);
    if (!make_inbox()) return take_failure(ENOMEM);
    msghdr& header = inbox_->header;
    header = {};
    header.msg_name = &inbox_->name;
    header.msg_namelen = sizeof inbox_->name;
    header.msg_iov = &inbox_->piece;
    header.msg_iovlen = 1;
    if (family_ != AF_UNIX) {  // descriptors that come along are not wanted
        header.msg_control = inbox_->control;
        header.msg_controllen = sizeof inbox_->control;
    }
    io::recv_message(*home_, request, fd_, header, MSG_TRUNC);
}

/// False: there is no memory.
bool datagram_link::make_inbox() noexcept try {
    if (inbox_) return true;
    if (room_bytes_ == 0) room_bytes_ = family_ == AF_UNIX ? unix_room_bytes : udp_room_bytes;
    auto made = std::make_unique<inbox>();
    made->room = std::make_unique_for_overwrite<std::byte[]>(room_bytes_);
    made->piece = {made->room.get(), room_bytes_};
    inbox_ = std::move(made);
    return true;
} catch (const std::bad_alloc&) {
    return false;
}

void datagram_link::received(op& done) noexcept {
    auto& self = static_cast<datagram_link&>(static_cast<datagram_receive_op&>(done));
    const context::use in(self.values_);
    if (done.res >= 0) {
        const bool lent = done.flags & op_flags::lent;
        const auto count = static_cast<std::size_t>(done.res);
        self.take(lent ? io::datagram_of(done) : io::datagram_of(self.inbox_->header, count));
    } else {
        self.take_failure(-done.res);
    }
    if (done.in_flight) return;
    if (self.may_receive()) self.arm_receive();
    self.settle();
}

void datagram_link::take(const io::datagram_view& what) noexcept {
    ++counted_.receive_calls;
    counted_.received_bytes += what.payload.size();
    const std::size_t each = what.segment_bytes;
    const bool joined = each != 0 && each < what.payload.size();
    counted_.received += joined ? (what.payload.size() + each - 1) / each : 1;
    counted_.overflowed = std::max<std::uint64_t>(counted_.overflowed, what.drop_count);
    if (closing_) return;
    const address from(what.name, what.name_length);
    if (!paused_ && held_.empty()) return deliver(what, from);
    hold(what, from);
    stop_receiving();  // so that no more than what is under way has to be held
}

/// One datagram, or each of those that the kernel joined.
void datagram_link::deliver(const io::datagram_view& what, const address& from) noexcept {
    const std::size_t each = what.segment_bytes;
    if (each == 0 || each >= what.payload.size()) {
        return deliver_one(what.payload, from, what.whole_bytes);
    }
    for (bytes left = what.payload; !left.empty() && !closing_;) {
        if (paused_) {  // between two of them
            stop_receiving();
            return hold({nullptr, 0, left, left.size(), each, 0}, from);
        }
        const bytes one = left.first(std::min(each, left.size()));
        left = left.subspan(one.size());
        deliver_one(one, from, one.size());
    }
}

void datagram_link::deliver_one(bytes data, const address& from, std::size_t whole_bytes) noexcept {
    if (whole_bytes > data.size()) {
        ++counted_.truncated;
        return guarded("datagram_truncated",
                       [&] { protocol_->datagram_truncated(data, from, whole_bytes); });
    }
    guarded("datagram_received", [&] { protocol_->datagram_received(data, from); });
}

void datagram_link::hold(const io::datagram_view& what, const address& from) noexcept try {
    held_.push_back(
        {from, {what.payload.begin(), what.payload.end()}, what.whole_bytes, what.segment_bytes});
} catch (const std::bad_alloc&) {
    tell(error(std::errc::not_enough_memory, "hold a datagram"));
}

/// The receive failed, or was taken back by us. The socket stays: the failure is that of one
/// datagram.
void datagram_link::take_failure(int failure) noexcept {
    if (closing_ || failure == ECANCELED) return;
    if (!one_by_one_ && (failure == EOPNOTSUPP || failure == ENOMEM)) {
        one_by_one_ = true;  // there are no buffers of the loop's for it
        return;
    }
    if (is_hopeless(failure)) return end(error::from_errno(failure, "receive"));
    if (failure == ENOMEM || failure == ENOBUFS) receive_later();
    ++counted_.errors;
    guarded("error_received",
            [&] { protocol_->error_received(error::from_errno(failure, "receive")); });
}

void datagram_link::receive_later() noexcept try {
    timer_node::when = home_->time() + shortage_pause;
    add_timer(*home_, *this);
} catch (const std::bad_alloc&) {
    // No memory even for a timer: it is tried again at once.
}

void datagram_link::receive_again(timer_node& timer) noexcept {
    auto& self = static_cast<datagram_link&>(timer);
    const context::use in(self.values_);
    if (self.may_receive() && !self.datagram_receive_op::in_flight) self.arm_receive();
}

void datagram_link::stop_receiving() noexcept {
    if (timer_node::queued()) remove_timer(*home_, *this);
    io::cancel(*home_, static_cast<datagram_receive_op&>(*this));
}

void datagram_link::pause_reading() {
    if (closing_) return;
    paused_ = true;
}

void datagram_link::resume_reading() {
    if (closing_ || !paused_) return;
    paused_ = false;
    if (!begun_) return;
    held_due_ = true;
    schedule();
}

/// After a resume: what was held comes first.
void datagram_link::deliver_held() noexcept {
    const auto held = std::exchange(held_, {});
    for (const held_datagram& each : held) {
        const io::datagram_view what{nullptr, 0, each.data, each.whole_bytes, each.segment_bytes,
                                     0};
        if (closing_) return;
        if (paused_) {
            hold(what, each.from);
        } else {
            deliver(what, each.from);
        }
    }
    if (may_receive() && !datagram_receive_op::in_flight) arm_receive();
}

}  // namespace ouro::detail
