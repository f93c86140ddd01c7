// The transport that writes to a pipe: one write is under way at a time, and a poll tells when
// nobody reads any more.
#include <cerrno>
#include <system_error>

#include <ouro/runtime/io.hpp>

#include "pipe_transport.hpp"

namespace ouro::detail {
namespace {

[[noreturn]] void refuse_to_read() {
    throw std::system_error(make_error_code(errc::unsupported), "read from a writing pipe");
}

}  // namespace

write_pipe::write_pipe(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver)
    : write_side(&written, home, kind, std::move(receiver)), watch_op(&reader_gone) {
    turn_end_hook::run = &flush_hook;
    io::ignore_broken_pipes(home);
}

void write_pipe::start() noexcept {
    using enum io::file_kind;
    if (closing_) return;
    if (kind_ == pipe || kind_ == fifo || kind_ == socket) {
        io::poll(*home_, static_cast<watch_op&>(*this), fd_, 0);
    }
}

void write_pipe::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (!lost_) replace(std::move(receiver));
}

void write_pipe::pause_reading() { refuse_to_read(); }
void write_pipe::resume_reading() { refuse_to_read(); }

// ---- writing

result<std::size_t> write_pipe::offer(bytes data) noexcept {
    if (kind_ == io::file_kind::terminal) {  // it says it has room, and then blocks
        return error(std::errc::resource_unavailable_try_again);
    }
    return io::try_write(*home_, fd_, data);
}

void write_pipe::flush_hook(turn_end_hook& hook) noexcept {
    auto& self = static_cast<write_pipe&>(hook);
    const context::use in(self.values_);
    self.flush();
}

/// Hands over what is queued: several chunks with a call for each, as long as there is room, then
/// one operation for what has to wait.
void write_pipe::flush() noexcept {
    if (transmit_op::in_flight || ending_) return;
    if (!full_ && !queue_.empty() && !queue_.contiguous()) offer_now();
    if (ending_) return;
    if (!queue_.empty()) {
        io::write(*home_, static_cast<transmit_op&>(*this), fd_, queue_.front(), kind_);
    }
    relieved();
}

void write_pipe::written(op& done) noexcept {
    auto& self = static_cast<write_pipe&>(static_cast<transmit_op&>(done));
    const context::use in(self.values_);
    self.took(done.res);
}

void write_pipe::took(std::int32_t res) noexcept {
    if (ending_) return settle();
    if (res < 0) return end(error::from_errno(-res, "write"));
    full_ = static_cast<std::size_t>(res) < transmit_op::length;
    queue_.consume(static_cast<std::size_t>(res));
    if (alone_) return lonely();
    queue_.empty() ? relieved() : flush();
}

/// The queue is shorter: the protocol may go on, or the end has come.
void write_pipe::relieved() noexcept {
    relieve();
    if (queue_.empty() && closing_) end({});
}

// ---- the end

void write_pipe::close() {
    if (closing_) return;
    closing_ = true;
    if (queue_.empty() && !transmit_op::in_flight) end({});
}

std::error_code write_pipe::write_eof() {
    close();
    return {};
}

void write_pipe::reader_gone(op& done) noexcept {
    auto& self = static_cast<write_pipe&>(static_cast<watch_op&>(done));
    const context::use in(self.values_);
    if (self.ending_) return self.settle();
    if (done.res < 0) return;  // no memory to watch: a write will tell
    self.alone_ = true;
    // A write under way may have succeeded before.
    if (!self.transmit_op::in_flight) self.lonely();
}

/// Nobody reads any more: that is all right when everything was written (rules 489, 490).
void write_pipe::lonely() noexcept {
    end(queue_.empty() ? error() : error(std::errc::broken_pipe, "write"));
}

void write_pipe::lose() noexcept {
    queue_.clear();
    pipe_transport::lose();
}

void write_pipe::take_back() noexcept {
    turn_end_hook::unlink();
    io::cancel(*home_, static_cast<transmit_op&>(*this));
    io::cancel(*home_, static_cast<watch_op&>(*this));
}

}  // namespace ouro::detail
