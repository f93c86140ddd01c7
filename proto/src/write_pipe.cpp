// The transport that writes to a pipe: small writes leave together, large ones are offered at once,
// one write is under way at a time, and a poll tells when nobody reads any more.
#include <cerrno>
#include <system_error>

#include <ouro/runtime/io.hpp>

#include "pipe_transport.hpp"

namespace ouro::detail {
namespace {

// A write of this size to an idle transport goes to the file at once: the call costs less than the
// copy it saves.
constexpr std::size_t direct_write_bytes = 16 * 1024;

[[noreturn]] void refuse_to_read() {
    throw std::system_error(make_error_code(errc::unsupported), "read from a writing pipe");
}

}  // namespace

write_pipe::write_pipe(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver)
    : pipe_transport(home, kind, std::move(receiver)), file_op(&written), watch_op(&reader_gone) {
    turn_end_hook::run = &flush_hook;
    io::ignore_broken_pipes(home);
}

void write_pipe::start() {
    using enum io::file_kind;
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

std::error_code write_pipe::write(bytes data) {
    if (data.empty() || closing_) return {};  // rule 488
    const std::size_t total = data.size();
    if (total >= direct_write_bytes && queue_.empty() && !file_op::in_flight) {
        data = data.subspan(write_directly(data));
        if (data.empty() || ending_) return {};
    }
    try {
        queue_.append(data);
    } catch (...) {
        if (data.size() < total) torn();
        throw;
    }
    queued();
    return {};
}

std::error_code write_pipe::write(std::vector<std::byte>&& data) {
    if (data.empty() || closing_) return {};
    queue_.append(std::move(data));
    queued();
    return {};
}

std::error_code write_pipe::writelines(std::span<const bytes> chunks) {
    std::size_t total = 0;
    for (const bytes chunk : chunks) total += chunk.size();
    if (total == 0 || closing_) return {};
    const std::size_t before = queue_.size();
    try {
        for (const bytes chunk : chunks) queue_.append(chunk);
    } catch (...) {
        if (queue_.size() > before) torn();
        throw;
    }
    queued();
    return {};
}

/// A write was taken in part, and there is no memory for the rest.
void write_pipe::torn() noexcept {
    end(error(std::errc::not_enough_memory, "write (a part of it was written)"));
}

/// Offers a large write before any of it is copied; returns the bytes taken.
std::size_t write_pipe::write_directly(bytes data) noexcept {
    if (kind_ == io::file_kind::terminal) return 0;  // it says it has room, and then blocks
    auto taken = io::try_write(*home_, fd_, data);
    if (taken) {
        full_ = *taken < data.size();
        return *taken;
    }
    full_ = true;
    if (taken.error() != std::errc::resource_unavailable_try_again) {
        end(taken.error().while_doing("write"));
    }
    return 0;
}

void write_pipe::queued() {
    if (!file_op::in_flight && !turn_end_hook::linked()) at_turn_end(*home_, *this);
    pause_if_above();
}

/// Before the protocol is told to pause, the kernel is offered what it can take (rule 280).
void write_pipe::pause_if_above() {
    if (!flow_.above(queue_.size()) || flow_.paused()) return;
    if (!file_op::in_flight && !full_) offer_now();
    if (ending_) return;
    if (flow_.should_pause(queue_.size())) {
        guarded("pause_writing", [this] { receiver_->pause_writing(); });
    }
}

void write_pipe::offer_now() noexcept {
    while (!queue_.empty() && !ending_) {
        const std::size_t offered = queue_.front().size();
        const std::size_t taken = write_directly(queue_.front());
        if (!ending_) queue_.consume(taken);
        if (taken < offered) break;
    }
}

std::error_code write_pipe::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                    std::ptrdiff_t low_bytes) {
    if (auto refused = flow_.set_limits(high_bytes, low_bytes)) return refused;
    if (!closing_) pause_if_above();
    return {};
}

void write_pipe::flush_hook(turn_end_hook& hook) noexcept {
    auto& self = static_cast<write_pipe&>(hook);
    const context::use in(self.values_);
    self.flush();
}

/// Hands over what is queued: several chunks with a call for each, as long as there is room, then
/// one operation for what has to wait.
void write_pipe::flush() noexcept {
    if (file_op::in_flight || ending_) return;
    if (!full_ && !queue_.contiguous()) offer_now();
    if (ending_) return;
    if (!queue_.empty()) {
        io::write(*home_, static_cast<file_op&>(*this), fd_, queue_.front(), kind_);
    }
    relieved();
}

void write_pipe::written(op& done) noexcept {
    auto& self = static_cast<write_pipe&>(static_cast<file_op&>(done));
    const context::use in(self.values_);
    self.took(done.res);
}

void write_pipe::took(std::int32_t res) noexcept {
    if (ending_) return settle();
    if (res < 0) return end(error::from_errno(-res, "write"));
    full_ = static_cast<std::size_t>(res) < file_op::length;
    queue_.consume(static_cast<std::size_t>(res));
    if (alone_) return lonely();
    queue_.empty() ? relieved() : flush();
}

/// The queue is shorter: the protocol may go on, or the end has come.
void write_pipe::relieved() noexcept {
    if (flow_.should_resume(queue_.size())) {
        guarded("resume_writing", [this] { receiver_->resume_writing(); });
    }
    if (queue_.empty() && closing_) end({});
}

// ---- the end

void write_pipe::close() {
    if (closing_) return;
    closing_ = true;
    if (queue_.empty() && !file_op::in_flight) end({});
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
    if (!self.file_op::in_flight) self.lonely();
}

/// Nobody reads any more: that is all right when everything was written (rules 489, 490).
void write_pipe::lonely() noexcept {
    end(queue_.empty() ? error() : error(std::errc::broken_pipe, "write"));
}

void write_pipe::take_back() noexcept {
    turn_end_hook::unlink();
    io::cancel(*home_, static_cast<file_op&>(*this));
    io::cancel(*home_, static_cast<watch_op&>(*this));
}

}  // namespace ouro::detail
