// The transport that reads from a pipe: the shared ring for streaming protocols, their own memory
// for buffered ones, and what comes while they are paused.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <ouro/runtime/io.hpp>

#include "pipe_transport.hpp"

namespace ouro::detail {

read_pipe::read_pipe(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver)
    : pipe_transport(home, kind, receiver), file_op(&came) {
    attach(std::move(receiver));
}

void read_pipe::attach(std::shared_ptr<base_protocol> receiver) {
    buffered_ = dynamic_cast<buffered_protocol*>(receiver.get());
    streaming_ = buffered_ ? nullptr : dynamic_cast<protocol*>(receiver.get());
    OURO_ASSERT(buffered_ || streaming_, "a reading pipe needs a protocol or a buffered_protocol");
}

void read_pipe::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (lost_) return;
    const bool was_buffered = buffered_ != nullptr;
    const bool own_buffer_in_use = (file_op::in_flight && direct_) || placed_;
    if (own_buffer_in_use && !lender_) lender_ = receiver_;
    attach(receiver);
    replace(std::move(receiver));
    // A read of the other kind ends, and starts again as the new protocol wants it.
    if (file_op::in_flight && (direct_ || was_buffered != (buffered_ != nullptr))) stop();
}

// ---- reading

void read_pipe::arm() {
    if (!may_read()) return;
    if (buffered_) return arm_direct();
    direct_ = false;
    io::read_ring(*home_, static_cast<file_op&>(*this), fd_, kind_);
}

void read_pipe::arm_direct() {
    mut_bytes room;
    if (!ask_buffer(-1, room)) return arm();  // unless it was paused or closed
    direct_ = true;
    io::read(*home_, static_cast<file_op&>(*this), fd_, room, kind_);
}

/// Asks the protocol for memory. False: it has closed, paused or replaced itself, or failed, which
/// is the end.
bool read_pipe::ask_buffer(std::ptrdiff_t hint, mut_bytes& room) noexcept {
    buffered_protocol* const asked = buffered_;
    error failure;
    try {
        room = asked->get_buffer(hint);
    } catch (...) {
        failure = error::from_exception(std::current_exception(), "get_buffer");
    }
    if (!failure && (paused_ || closing_ || buffered_ != asked)) return false;
    if (!failure && room.empty()) failure = error(errc::empty_buffer, "get_buffer");
    if (!failure) return true;
    report("get_buffer", failure);
    end(std::move(failure));
    return false;
}

void read_pipe::came(op& done) noexcept {
    auto& self = static_cast<read_pipe&>(static_cast<file_op&>(done));
    const context::use in(self.values_);
    try {
        done.res > 0 ? self.take(done) : self.take_end(done.res);
    } catch (...) {  // there was no memory to hold what came
        self.end(error(std::errc::not_enough_memory, "hold what was read"));
    }
    if (done.in_flight) return;
    self.arm();
    self.settle();
}

void read_pipe::take(const op& done) {
    const bytes data{done.data, static_cast<std::size_t>(done.res)};
    const bool direct = std::exchange(direct_, direct_ && done.in_flight);
    if (closing_) return lender_.reset();
    const bool waits = paused_ || holds_input();
    if (!direct) {
        if (!waits) return deliver(data);
        hold(data);
        stop();  // so that no more than what is under way has to be held
    } else if (const auto lender = std::exchange(lender_, nullptr)) {
        // The protocol was replaced: its buffer has what the new one must get.
        waits ? hold(data) : deliver(data);
    } else if (waits) {
        placed_ = data.size();
    } else {
        guarded("buffer_updated", [&] { buffered_->buffer_updated(data.size()); });
    }
}

/// The read ended without data: end of stream, an error, or a cancellation of our own.
void read_pipe::take_end(std::int32_t res) {
    direct_ = false;
    lender_.reset();
    if (closing_ || res == -ECANCELED) return;
    // A terminal's master end has no other way to say that the last user of the terminal is gone.
    if (res == -EIO && kind_ == io::file_kind::terminal) res = 0;
    if (paused_ || holds_input()) {
        end_held_ = true;
        end_res_ = res;
    } else {
        deliver_end(res);
    }
}

/// Queues what is called at the end (rule 481).
void read_pipe::deliver_end(std::int32_t res) {
    if (res < 0) return end(error::from_errno(-res, "read"));
    closing_ = true;
    eof_due_ = true;
    schedule();
}

// ---- delivering

void read_pipe::deliver(bytes data) {
    if (buffered_) return feed_buffered(data);
    guarded("data_received", [&] { streaming_->data_received(data); });
}

/// Bytes that are in memory already, into a protocol's buffers: as many rounds as it takes.
void read_pipe::feed_buffered(bytes data) {
    while (!data.empty() && !closing_) {
        if (paused_) return hold(data);
        if (!buffered_) return deliver(data);  // it gave way to another one between two rounds
        mut_bytes room;
        if (!ask_buffer(static_cast<std::ptrdiff_t>(data.size()), room)) continue;
        const std::size_t part = std::min(room.size(), data.size());
        std::memcpy(room.data(), data.data(), part);
        data = data.subspan(part);
        guarded("buffer_updated", [&] { buffered_->buffer_updated(part); });
    }
}

void read_pipe::pause_reading() {
    if (!closing_) paused_ = true;
}

void read_pipe::resume_reading() {
    if (closing_ || !paused_) return;
    paused_ = false;
    if (!begun_) return;
    held_due_ = true;
    schedule();
}

void read_pipe::run_due() noexcept {
    pipe_transport::run_due();
    try {
        if (std::exchange(held_due_, false)) deliver_held();
    } catch (...) {
        end(error(std::errc::not_enough_memory, "hold what was read"));
    }
    if (!std::exchange(eof_due_, false)) return;
    guarded("eof_received", [this] {
        streaming_ ? (void)streaming_->eof_received() : (void)buffered_->eof_received();
    });
    end({});
}

/// After a resume: what was held comes first, as if it arrived now; then the file is read again.
void read_pipe::deliver_held() {
    if (paused_ || closing_) return;
    if (const std::size_t count = std::exchange(placed_, 0)) deliver_placed(count);
    const std::vector<std::byte> data = std::exchange(held_, {});
    if (!data.empty() && !closing_) paused_ ? hold(data) : deliver(data);
    if (end_held_ && !paused_ && !closing_ && held_.empty()) {
        end_held_ = false;
        deliver_end(end_res_);
    }
    arm();
}

/// Tells of bytes in a protocol's own memory: of the present one, or of one it has replaced.
void read_pipe::deliver_placed(std::size_t count) {
    if (const auto lender = std::exchange(lender_, nullptr)) {
        deliver({file_op::data, count});
    } else {
        guarded("buffer_updated", [&] { buffered_->buffer_updated(count); });
    }
}

// ---- the end

void read_pipe::take_back() noexcept {
    placed_ = 0;
    held_.clear();
    end_held_ = false;
    stop();
}

void read_pipe::lose() noexcept {
    lender_.reset();
    streaming_ = nullptr;
    buffered_ = nullptr;
    pipe_transport::lose();
}

}  // namespace ouro::detail
