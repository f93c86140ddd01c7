// The memory pipe: one queue for each direction, of which the first bytes count as arrived.
#include <ouro/proto/memory_pipe.hpp>

#include <algorithm>
#include <limits>
#include <system_error>

#include <ouro/runtime/spawn.hpp>

#include "write_queue.hpp"

namespace ouro {
namespace detail {

/// Bytes from one end to the other. Those up to `capacity` are in the pipe, the rest is queued.
struct memory_direction {
    write_queue data;
    std::size_t capacity = 0;
    /// What may be read still, once the writer is gone; the rest went with it.
    std::size_t left_bytes = std::numeric_limits<std::size_t>::max();
    bool ended = false;        // nothing follows what is there
    bool reader_gone = false;  // nobody will read it
    memory_transport* writer = nullptr;
    memory_transport* reader = nullptr;

    std::size_t queued() const noexcept {
        return data.size() > capacity ? data.size() - capacity : 0;
    }
    bytes readable(std::size_t most) const noexcept {
        if (data.empty()) return {};
        const bytes front = data.front();
        return front.first(std::min({front.size(), most, left_bytes}));
    }
    void consume(std::size_t count) noexcept {
        if (count) data.consume(count);
        if (left_bytes != std::numeric_limits<std::size_t>::max()) left_bytes -= count;
    }
    bool at_end() const noexcept { return ended && (data.empty() || left_bytes == 0); }
};

struct memory_wire {
    memory_direction there;  // from the first end to the second
    memory_direction back;
};

}  // namespace detail

namespace {

// The most a protocol gets in one turn (rule 293).
constexpr std::size_t most_delivered_bytes = 256 * 1024;
// How many dropped writes go unremarked (rule 339).
constexpr unsigned quiet_drops = 5;

constexpr const char* subject = "memory transport";

}  // namespace

memory_transport::memory_transport(loop& home, std::shared_ptr<detail::memory_wire> wire,
                                   bool first)
    : home_(home),
      wire_(std::move(wire)),
      out_(first ? wire_->there : wire_->back),
      in_(first ? wire_->back : wire_->there),
      calls_(home, subject) {
    ready_node::run = &run_soon;
    loop_resource::shut = [](loop_resource& self) noexcept {
        static_cast<memory_transport&>(self).abort();
    };
    out_.writer = in_.reader = this;
}

memory_transport::~memory_transport() {
    if (!lost_) leave_wire();  // it was never begun
    out_.writer = in_.reader = nullptr;
}

void memory_transport::begin(std::shared_ptr<memory_transport> self,
                             std::shared_ptr<base_protocol> receiver) {
    if (self_ || closing_) {
        throw std::system_error(make_error_code(errc::invalid_state),
                                "begin an end of a memory pipe a second time");
    }
    calls_ = protocol_caller(home_, subject);  // its callbacks have the context of this call
    calls_.attach(std::move(receiver));
    self_ = std::move(self);
    detail::add_resource(home_, *this);
    schedule();
}

// ---- what the ready queue runs for us

void memory_transport::schedule() noexcept {
    if (self_ && !ready_node::queued) detail::make_ready(home_, *this);
}

void memory_transport::run_soon(ready_node& node) noexcept {
    static_cast<memory_transport&>(node).run_pending();
}

void memory_transport::run_pending() noexcept {
    const auto keep = self_;
    if (!made_ && !ending_) {
        made_ = true;
        calls_.made(self_);
    }
    if (!ending_) deliver();
    if (!ending_) go_on_writing();
    // A node that was queued again must not be freed: then in its next run.
    if (ending_ && !ready_node::queued) lose();
}

// ---- reading

void memory_transport::deliver() noexcept {
    const auto reads = [this] { return is_reading() && !at_eof_; };
    std::size_t most = most_delivered_bytes;
    while (reads() && most) {
        const bytes next = in_.readable(most);
        if (next.empty()) break;
        const auto taken = calls_.give(next, reads);
        if (!taken) return end(taken.error());
        in_.consume(*taken);
        most -= *taken;
    }
    if (most < most_delivered_bytes && in_.writer) in_.writer->schedule();
    if (!reads()) return;
    if (in_.at_end()) return deliver_eof();
    if (!in_.readable(1).empty()) schedule();
}

void memory_transport::deliver_eof() noexcept {
    at_eof_ = true;
    const auto keep_open = calls_.eof();
    if (!keep_open) return end(keep_open.error());
    if (!*keep_open) close();
}

void memory_transport::pause_reading() {
    if (!closing_) paused_ = true;
}

void memory_transport::resume_reading() {
    if (closing_ || !paused_) return;
    paused_ = false;
    schedule();
}

void memory_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (!lost_) calls_.attach(std::move(receiver));
}

// ---- writing

/// False when a write ends here: refused, dropped, or nothing to do.
bool memory_transport::may_write(bool nothing, std::error_code& refused) noexcept {
    if (eof_written_) {
        refused = make_error_code(errc::write_after_eof);
        return false;
    }
    if (nothing) return false;
    // While a closing one still flushes, writes go along (rule 352).
    if (!ending_ && !lost_) return true;
    if (++dropped_writes_ < quiet_drops) return false;
    // Users may keep a lost end for longer than its loop lives.
    if (loop* const hears = lost_ ? loop::try_current() : &home_) {
        hears->call_exception_handler(
            {.level = severity::warning,
             .message = detail::words("write on a closed transport was dropped"),
             .error = why_lost_,
             .subject = detail::words(subject),
             .created = {}});
    }
    return false;
}

std::error_code memory_transport::write(bytes data) {
    std::error_code refused;
    if (!may_write(data.empty(), refused)) return refused;
    out_.data.append(data);
    written();
    return {};
}

std::error_code memory_transport::write(std::vector<std::byte>&& data) {
    std::error_code refused;
    if (!may_write(data.empty(), refused)) return refused;
    out_.data.append(std::move(data));
    written();
    return {};
}

std::error_code memory_transport::writelines(std::span<const bytes> chunks) {
    std::size_t total = 0;
    for (const bytes chunk : chunks) total += chunk.size();
    std::error_code refused;
    if (!may_write(total == 0, refused)) return refused;
    out_.data.append(chunks);
    written();
    return {};
}

void memory_transport::written() {
    if (out_.reader_gone) return schedule();
    if (out_.reader) out_.reader->schedule();
    pause_if_above();
}

void memory_transport::pause_if_above() noexcept {
    if (self_ && !ending_ && flow_.should_pause(out_.queued())) calls_.pause();
}

/// There may be room in the pipe.
void memory_transport::go_on_writing() noexcept {
    if (out_.reader_gone && !out_.data.empty()) {
        return end(error(std::errc::broken_pipe, "send"));
    }
    if (flow_.should_resume(out_.queued())) calls_.resume();
    if (closing_ && out_.queued() == 0) end({});
}

std::error_code memory_transport::write_eof() {
    if (closing_ || eof_written_) return {};
    eof_written_ = out_.ended = true;
    if (out_.reader) out_.reader->schedule();
    return {};
}

std::error_code memory_transport::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                          std::ptrdiff_t low_bytes) {
    if (auto refused = flow_.set_limits(high_bytes, low_bytes)) return refused;
    pause_if_above();
    return {};
}

std::size_t memory_transport::get_write_buffer_size() const noexcept {
    return ending_ ? 0 : out_.queued();
}

// ---- the end

void memory_transport::close() {
    if (closing_) return;
    closing_ = true;
    if (out_.queued() == 0) end({});
}

/// Drops what is queued; then the connection is lost with `why`. The first reason counts.
void memory_transport::end(error why) noexcept {
    if (ending_) return;
    closing_ = ending_ = true;
    why_lost_ = std::move(why);
    out_.left_bytes = std::min(out_.data.size(), out_.capacity);
    if (self_) return schedule();
    lost_ = true;  // never begun: nobody has to be told but the peer
    leave_wire();
}

void memory_transport::leave_wire() noexcept {
    out_.ended = true;
    in_.reader_gone = true;
    // What is queued at the peer has nowhere to go; what is in the pipe is lost, as with sockets.
    if (in_.queued() == 0) in_.data.clear();
    if (out_.reader) out_.reader->schedule();
}

void memory_transport::lose() noexcept {
    const auto keep = self_;
    lost_ = true;
    leave_wire();
    if (made_) {
        calls_.lost(why_lost_);
    } else {
        calls_ = protocol_caller(home_, subject);
    }
    detail::remove_resource(home_, *this);
    self_.reset();
}

std::pair<std::shared_ptr<memory_transport>, std::shared_ptr<memory_transport>>
memory_pipe(loop& home, memory_pipe_options options) {
    if (options.capacity_bytes == 0) {
        throw std::system_error(make_error_code(errc::value_error), "a memory pipe of 0 bytes");
    }
    const auto wire = std::make_shared<detail::memory_wire>();
    wire->there.capacity = wire->back.capacity = options.capacity_bytes;
    return {std::make_shared<memory_transport>(home, wire, true),
            std::make_shared<memory_transport>(home, wire, false)};
}

task<std::shared_ptr<transport>> detail::begin_memory(protocol_factory factory,
                                                      std::shared_ptr<memory_transport> end) {
    end->begin(end, factory());
    while (!end->made_ && !end->lost_) {
        if (auto waited = co_await as_result(yield()); !waited) {
            end->abort();
            co_return waited.error();
        }
    }
    co_return end;
}

}  // namespace ouro
