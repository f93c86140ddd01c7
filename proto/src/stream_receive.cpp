// How a stream transport reads: the shared ring for streaming protocols, their own memory for
// buffered ones, and what comes while they are paused.
#include "stream_transport.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <ouro/runtime/io.hpp>

namespace ouro::detail {
namespace {

// The most a protocol gets in one call (rule 293).
constexpr std::size_t most_delivered_bytes = 256 * 1024;

}  // namespace

void stream_transport::arm_receive() {
    OURO_ASSERT(!receive_op::in_flight, "a second receive on one transport");
    lends_memory() ? arm_direct_receive() : arm_ring_receive();
}

void stream_transport::arm_ring_receive() {
    direct_ = false;
    io::recv_ring(*home_, static_cast<receive_op&>(*this), fd_);
}

void stream_transport::arm_direct_receive() {
    buffered_protocol* const asked = &buffered();
    mut_bytes room;
    try {
        room = asked->get_buffer(-1);
    } catch (...) {
        return fail_thrown("get_buffer");
    }
    if (!may_receive()) return;                          // get_buffer closed or paused,
    if (receiver_.get() != asked) return arm_receive();  // or gave way to another protocol
    if (room.empty()) return fail("get_buffer", error(errc::empty_buffer, "get_buffer"));
    direct_ = true;
    io::recv(*home_, static_cast<receive_op&>(*this), fd_, room);
}

void stream_transport::received(op& done) noexcept {
    auto& self = static_cast<stream_transport&>(static_cast<receive_op&>(done));
    const context::use in(self.values_);
    if (done.res <= 0 || !done.in_flight || !self.delivers_at_once()) [[unlikely]]
        return self.received_otherwise(done);
    self.bytes_received_ += static_cast<std::uint32_t>(done.res);
    const bytes data{done.data, static_cast<std::size_t>(done.res)};
    if (self.kind_ != receiver_kind::streaming) return self.pass_on(data);
    try {
        self.streaming().data_received(data);
    } catch (...) {
        self.fail_thrown("data_received");
    }
}

/// The next bytes of an open stream.
void stream_transport::pass_on(bytes data) noexcept {
    try {
        kind_ == receiver_kind::leasing ? deliver(io::keep(*home_, data)) : deliver(data);
    } catch (...) {
        end(cannot_hold());
    }
    if (lends_memory()) stop_receiving();  // it has copied enough
}

/// What is not the next bytes of an open stream.
void stream_transport::received_otherwise(op& done) noexcept {
    try {
        if (done.res > 0) {
            direct_ ? take_direct_data(done.res) : take_ring_data(done);
        } else {
            take_end(done.res);
        }
    } catch (...) {
        end(cannot_hold());
    }
    if (done.in_flight) return;
    if (may_receive()) arm_receive();
    settle();
}

/// The receive ended without data: end of stream, an error, or a cancellation of our own.
void stream_transport::take_end(std::int32_t res) {
    direct_ = false;
    if (aside_) aside_->lender.reset();
    if (closing_ || res == -ECANCELED) return;
    // One that has sent its own end loses its peer in good order.
    if (res == 0 && !eof_sent_ && was_reset(*home_, fd_)) res = -ECONNRESET;
    error failure = res == 0 ? error() : error::from_errno(-res, "receive");
    if (paused_ || holds_input()) {  // rule 721; what came before it is told first
        hold_end(res == 0, std::move(failure));
    } else if (res == 0) {
        deliver_eof();
    } else {
        end(std::move(failure));
    }
}

void stream_transport::take_ring_data(const op& done) {
    if (closing_) return;  // rules 308, 723
    const bytes data{done.data, static_cast<std::size_t>(done.res)};
    bytes_received_ += data.size();
    if (!paused_ && !holds_input()) return pass_on(data);
    kind_ == receiver_kind::leasing ? hold(io::keep(*home_, data)) : hold(data);
    stop_receiving();  // so that no more than what is under way is held (rule 735)
}

void stream_transport::take_direct_data(std::int32_t count) {
    direct_ = false;
    if (closing_) return;
    const auto placed = static_cast<std::size_t>(count);
    bytes_received_ += placed;
    if (aside_ && aside_->lender) {
        // The protocol was replaced: its buffer has what the new one must get (rule 727).
        const auto lender = std::exchange(aside_->lender, nullptr);
        const bytes data{receive_op::data, placed};
        paused_ || holds_input() ? hold(data) : deliver(data);
    } else if (paused_) {
        aside().direct_count = placed;
    } else {
        direct_placed(placed);
    }
}

void stream_transport::direct_placed(std::size_t count) {
    try {
        buffered().buffer_updated(count);
    } catch (...) {
        fail_thrown("buffer_updated");
    }
}

void stream_transport::deliver(bytes data) {
    if (kind_ == receiver_kind::buffered) return feed_buffered(data);
    if (kind_ == receiver_kind::leasing) return deliver(buffer_lease::copy_of(data));
    try {
        streaming().data_received(data);
    } catch (...) {
        fail_thrown("data_received");
    }
}

void stream_transport::deliver(buffer_lease data) {
    if (kind_ != receiver_kind::leasing) return deliver(data.view());
    try {
        leasing().data_received(std::move(data));
    } catch (...) {
        fail_thrown("data_received");
    }
}

/// Bytes that are in memory already, into a protocol's buffers: as many rounds as it takes (rule
/// 319).
void stream_transport::feed_buffered(bytes data) {
    while (!data.empty()) {
        if (closing_) return;
        if (paused_ ||
            kind_ != receiver_kind::
                         buffered) {  // it paused, or gave way to another one, between two rounds
            return paused_ ? hold(data) : deliver(data);
        }
        try {
            buffered_protocol* const asked = &buffered();
            const mut_bytes room = asked->get_buffer(static_cast<std::ptrdiff_t>(data.size()));
            if (paused_ || closing_ || receiver_.get() != asked) continue;
            if (room.empty()) {
                return fail("get_buffer", error(errc::empty_buffer, "get_buffer"));
            }
            const std::size_t part = std::min(room.size(), data.size());
            std::memcpy(room.data(), data.data(), part);
            asked->buffer_updated(part);
            data = data.subspan(part);
        } catch (...) {
            return fail_thrown("get_buffer or buffer_updated");
        }
    }
}

void stream_transport::deliver_eof() {
    if (at_eof_) return;
    at_eof_ = true;
    bool keep_open = false;
    try {
        keep_open = kind_ == receiver_kind::streaming  ? streaming().eof_received()
                    : kind_ == receiver_kind::buffered ? buffered().eof_received()
                                                       : leasing().eof_received();
    } catch (...) {
        return fail_thrown("eof_received");
    }
    if (keep_open || closing_) return;
    ended_by_peer_ = true;
    close();
}

stream_transport::set_aside& stream_transport::aside() {
    if (!aside_) aside_ = std::make_unique<set_aside>();
    return *aside_;
}

stream_transport::set_aside* stream_transport::try_aside() noexcept {
    if (!aside_) aside_.reset(new (std::nothrow) set_aside);
    return aside_.get();
}

void stream_transport::hold(bytes data) {
    set_aside& held = aside();
    if (!held.leases.empty()) return hold(buffer_lease::copy_of(data));  // it comes after these
    held.data.insert(held.data.end(), data.begin(), data.end());
}

void stream_transport::hold(buffer_lease data) { aside().leases.push_back(std::move(data)); }

void stream_transport::hold_end(bool eof, error failure) {
    aside().eof = eof;
    aside_->failure = std::move(failure);
}

void stream_transport::stop_receiving() noexcept {
    io::cancel(*home_, static_cast<receive_op&>(*this));
}

void stream_transport::pause_reading() {
    if (closing_) return;
    paused_ = true;
}

void stream_transport::resume_reading() {
    if (closing_ || !paused_) return;
    paused_ = false;
    if (!begun_) return;
    held_due_ = true;
    schedule();
}

/// After a resume: what was held comes first, as if it arrived now; then the socket is read again.
void stream_transport::deliver_held() {
    if (paused_ || closing_) return;
    if (holds_input()) {
        const std::size_t direct_count = std::exchange(aside_->direct_count, 0);
        const std::vector<std::byte> data = std::exchange(aside_->data, {});
        std::vector<buffer_lease> leases = std::exchange(aside_->leases, {});
        const bool eof = std::exchange(aside_->eof, false);
        error failure = std::exchange(aside_->failure, {});
        if (direct_count) deliver_placed(direct_count);
        // The protocol may pause or close at any of these steps.
        for (bytes left = data; !left.empty() && !closing_;) {
            if (paused_) {
                hold(left);
                break;
            }
            const bytes piece = left.first(std::min(left.size(), most_delivered_bytes));
            left = left.subspan(piece.size());
            deliver(piece);
        }
        for (auto& lease : leases) {
            if (closing_) break;
            paused_ ? hold(std::move(lease)) : deliver(std::move(lease));
        }
        if ((eof || failure) && !closing_) {
            if (paused_ || holds_input()) {
                hold_end(eof, std::move(failure));
            } else {
                eof ? deliver_eof() : end(std::move(failure));
            }
        }
    }
    if (may_receive() && !receive_op::in_flight) arm_receive();
}

/// Tells of bytes in a protocol's own memory: of the present one, or of one it has replaced.
void stream_transport::deliver_placed(std::size_t count) {
    if (const auto lender = std::exchange(aside_->lender, nullptr)) {
        deliver({receive_op::data, count});
    } else {
        direct_placed(count);
    }
}

}  // namespace ouro::detail
