// The stream transport.
#include "stream_transport.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <ouro/runtime/io.hpp>

#include "server_state.hpp"

namespace ouro::detail {
namespace {

// A write of this size to an idle transport goes to the socket at once: the call costs less than the copy it saves.
constexpr std::size_t direct_write_bytes = 16 * 1024;
// Sends up to this size need no completion when nobody waits for their end.
constexpr std::size_t fast_send_bytes = 16 * 1024;
// Pieces of one vectored send; far below the system's limit of 1024 (rule 336).
constexpr std::size_t most_pieces = 64;
// How many dropped writes go unremarked (rule 339).
constexpr std::uint32_t quiet_drops = 5;

}  // namespace

/// Input that came while reading was paused, in order: bytes, then perhaps the end of the stream or an error.
struct stream_transport::held_input {
    std::vector<std::byte> data;    // copied out of the shared ring
    std::size_t direct_count = 0;   // bytes in the protocol's own buffer that it was not told of
    bool eof = false;
    error failure;
};

struct stream_transport::end_names {
    address local;
    address peer;
};

// ---- life

stream_transport::stream_transport(loop& home, int fd, std::shared_ptr<base_protocol> receiver)
    : socket_view(home, fd), receive_op(&received), transmit_op(&sent) {
    turn_end_hook::run = &flush_hook;
    ready_node::run = &run_soon;
    loop_resource::shut = [](loop_resource& self) noexcept {
        static_cast<stream_transport&>(self).abort();
    };
    attach(std::move(receiver));
    capture_names();
}

void stream_transport::set_no_delay() noexcept {
    if (auto kind = family(); kind && *kind != AF_UNIX) {
        (void)set_option(IPPROTO_TCP, TCP_NODELAY, 1);  // not TCP after all: nothing to delay
    }
}

stream_transport::~stream_transport() {
    if (fd_ >= 0) io::close(*home_, fd_);  // never begun: its creator was cancelled
}

void stream_transport::capture_names() noexcept try {
    names_ = std::make_unique<end_names>();
    if (auto name = local_address()) names_->local = *name;
    if (auto name = peer_address()) names_->peer = *name;
} catch (...) {
    names_.reset();  // out of memory: the names are not known
}

void stream_transport::attach(std::shared_ptr<base_protocol> receiver) {
    receiver_ = std::move(receiver);
    buffered_ = dynamic_cast<buffered_protocol*>(receiver_.get());
    streaming_ = buffered_ ? nullptr : dynamic_cast<protocol*>(receiver_.get());
    OURO_ASSERT(buffered_ || streaming_,
                "a stream transport needs a protocol or a buffered_protocol");
}

void stream_transport::begin(list<loop_resource>& owner, std::shared_ptr<server_state> accepted_by) {
    self_ = shared_from_this();
    server_ = std::move(accepted_by);
    add_resource(*home_, *this, owner);
    call_made();
}

void stream_transport::begin_soon(wait_point* creator) {
    self_ = shared_from_this();
    creator_ = creator;
    add_resource(*home_, *this);
    made_due_ = true;
    schedule();
}

void stream_transport::call_made() noexcept {
    guarded("connection_made", [this] {
        auto self = std::static_pointer_cast<transport>(self_);
        streaming_ ? streaming_->connection_made(std::move(self))
                   : buffered_->connection_made(std::move(self));
    });
    begun_ = true;
    if (may_receive()) arm_receive();
    if (wait_point* creator = std::exchange(creator_, nullptr)) creator->complete_or_wake();
}

/// Calls into the protocol. False when it threw; that was then reported.
template <class Callback>
bool stream_transport::guarded(const char* where, Callback&& callback) noexcept {
    try {
        callback();
        return true;
    } catch (...) {
        report(where, error::from_exception(std::current_exception(), where));
        return false;
    }
}

void stream_transport::report(const char* where, error why) noexcept try {
    home_->call_exception_handler({.message = std::string("a protocol failed in ") + where,
                                   .error = std::move(why),
                                   .subject = describe(),
                                   .created = {}});
} catch (...) {
    // No memory for the report.
}

std::string stream_transport::describe() const {
    std::string text = "stream transport fd " + std::to_string(fd_);
    if (names_) text += " " + names_->local.to_string() + " <- " + names_->peer.to_string();
    return text;
}

// ---- what the ready queue runs for us

void stream_transport::schedule() noexcept {
    if (!ready_node::queued) make_ready(*home_, *this);
}

void stream_transport::run_soon(ready_node& node) noexcept {
    static_cast<stream_transport&>(node).run_pending();
}

void stream_transport::run_pending() noexcept {
    const auto keep = self_;
    retired_.clear();
    if (std::exchange(made_due_, false)) call_made();
    if (std::exchange(held_due_, false)) {
        try {
            deliver_held();
        } catch (...) {
            end(error(std::errc::not_enough_memory, "hold received data"));
        }
    }
    if (lost_due_ && !ready_node::queued) lose();  // a queued node must not be freed: then in its next run
}

// ---- reading

void stream_transport::arm_receive() {
    OURO_ASSERT(!receive_op::in_flight, "a second receive on one transport");
    buffered_ ? arm_direct_receive() : arm_ring_receive();
}

void stream_transport::arm_ring_receive() {
    direct_ = false;
    io::recv_ring(*home_, static_cast<receive_op&>(*this), fd_);
}

void stream_transport::arm_direct_receive() {
    buffered_protocol* const asked = buffered_;
    mut_bytes room;
    try {
        room = asked->get_buffer(-1);
    } catch (...) {
        return fail_thrown("get_buffer");
    }
    if (!may_receive()) return;  // get_buffer closed or paused,
    if (buffered_ != asked) return arm_receive();  // or gave way to another protocol
    if (room.empty()) return fail("get_buffer", error(errc::empty_buffer, "get_buffer"));
    direct_ = true;
    io::recv(*home_, static_cast<receive_op&>(*this), fd_, room);
}

void stream_transport::received(op& done) noexcept {
    auto& self = static_cast<stream_transport&>(static_cast<receive_op&>(done));
    try {
        if (done.res > 0 && done.in_flight && self.delivers_at_once()) [[likely]] {
            return self.streaming_->data_received({done.data, static_cast<std::size_t>(done.res)});
        }
    } catch (...) {
        return self.fail_thrown("data_received");
    }
    self.received_otherwise(done);
}

/// What is not the next bytes of an open stream for a streaming protocol.
void stream_transport::received_otherwise(op& done) noexcept {
    try {
        if (done.res > 0) {
            direct_ ? take_direct_data(done.res) : take_ring_data(done);
        } else {
            take_end(done.res);
        }
    } catch (...) {  // there was no memory to hold what came
        end(error(std::errc::not_enough_memory, "hold received data"));
    }
    if (done.in_flight) return;
    if (may_receive()) arm_receive();
    settle();
}

/// The receive ended without data: end of stream, an error, or a cancellation of our own.
void stream_transport::take_end(std::int32_t res) {
    direct_ = false;
    lender_.reset();
    if (closing_ || res == -ECANCELED) return;
    error failure = res == 0 ? error() : error::from_errno(-res, "receive");
    if (paused_ || held_any()) {  // rule 721; what came before it is told first
        held_input& held = hold();
        held.eof = res == 0;
        held.failure = std::move(failure);
    } else if (res == 0) {
        deliver_eof();
    } else {
        end(std::move(failure));
    }
}

void stream_transport::take_ring_data(const op& done) {
    if (closing_) return;  // rules 308, 723
    const bytes data{done.data, static_cast<std::size_t>(done.res)};
    if (!paused_ && !held_any()) return deliver(data);
    auto& held = hold().data;
    held.insert(held.end(), data.begin(), data.end());
    stop_receiving();  // so that no more than what is under way has to be held (rule 735)
}

void stream_transport::take_direct_data(std::int32_t count) {
    direct_ = false;
    if (closing_) return;
    const auto placed = static_cast<std::size_t>(count);
    if (lender_) {  // the protocol was replaced: its buffer has what the new one must get (rule 727)
        const bytes data{receive_op::data, placed};
        const auto lender = std::exchange(lender_, nullptr);
        if (!paused_ && !held_any()) return deliver(data);
        auto& held = hold().data;
        held.insert(held.end(), data.begin(), data.end());
    } else if (paused_) {
        hold().direct_count = placed;
    } else {
        direct_placed(placed);
    }
}

void stream_transport::direct_placed(std::size_t count) {
    try {
        buffered_->buffer_updated(count);
    } catch (...) {
        fail_thrown("buffer_updated");
    }
}

void stream_transport::deliver(bytes data) {
    if (buffered_) return feed_buffered(data);
    try {
        streaming_->data_received(data);
    } catch (...) {
        fail_thrown("data_received");
    }
}

/// Bytes that are in memory already, into a protocol's buffers: as many rounds as it takes (rule 319).
void stream_transport::feed_buffered(bytes data) {
    while (!data.empty()) {
        if (closing_) return;
        if (paused_ || !buffered_) {  // it paused, or gave way to another one, between two rounds
            if (!paused_) return deliver(data);
            auto& held = hold().data;
            held.insert(held.end(), data.begin(), data.end());
            return;
        }
        try {
            buffered_protocol* const asked = buffered_;
            const mut_bytes room = asked->get_buffer(static_cast<std::ptrdiff_t>(data.size()));
            if (paused_ || closing_ || buffered_ != asked) continue;
            if (room.empty()) {
                return fail("get_buffer", error(errc::empty_buffer, "get_buffer"));
            }
            const std::size_t part = std::min(room.size(), data.size());
            std::memcpy(room.data(), data.data(), part);
            buffered_->buffer_updated(part);
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
        keep_open = streaming_ ? streaming_->eof_received() : buffered_->eof_received();
    } catch (...) {
        return fail_thrown("eof_received");
    }
    if (!keep_open) close();
}

stream_transport::held_input& stream_transport::hold() {
    if (!held_) held_ = std::make_unique<held_input>();
    return *held_;
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
    if (std::unique_ptr<held_input> held = std::move(held_)) {
        if (held->direct_count) {
            if (lender_) {
                const auto lender = std::exchange(lender_, nullptr);
                deliver({receive_op::data, held->direct_count});
            } else {
                direct_placed(held->direct_count);
            }
        }
        if (!held->data.empty()) deliver_or_hold(held->data);
        if (held->eof || held->failure) {
            if (paused_ && !closing_) {  // it paused again before the end was told
                held_input& again = hold();
                again.eof = held->eof;
                again.failure = std::move(held->failure);
            } else if (!closing_) {
                held->eof ? deliver_eof() : end(std::move(held->failure));
            }
        }
    }
    if (may_receive() && !receive_op::in_flight) arm_receive();
}

void stream_transport::deliver_or_hold(bytes data) {
    if (closing_) return;
    if (!paused_) return deliver(data);
    auto& held = hold().data;
    held.insert(held.end(), data.begin(), data.end());
}

void stream_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (lost_) return;
    const bool was_buffered = buffered_ != nullptr;
    std::shared_ptr<base_protocol> before = receiver_;
    attach(std::move(receiver));
    const bool own_buffer_in_use =
        (receive_op::in_flight && direct_) || (held_ && held_->direct_count);
    if (own_buffer_in_use && !lender_) lender_ = before;
    retired_.push_back(std::move(before));  // a callback of its own may be what replaces it
    schedule();
    // A receive of the other kind ends, and starts again as the new protocol wants it (rule 289).
    const bool other_kind = direct_ || was_buffered != (buffered_ != nullptr);
    if (receive_op::in_flight && other_kind) stop_receiving();
}

// ---- writing

std::error_code stream_transport::write(bytes data) {
    if (eof_wanted_) return make_error_code(errc::write_after_eof);
    if (data.empty() || (closing_ && drop_write())) return {};
    if (data.size() >= direct_write_bytes && queue_.empty() && !transmit_op::in_flight) {
        data = data.subspan(write_directly(data));
        if (data.empty() || ending_) return {};
    }
    queue_.append(data);
    queued();
    return {};
}

/// Offers a large write to the socket before any of it is copied; returns the bytes taken.
std::size_t stream_transport::write_directly(bytes data) noexcept {
    auto taken = io::try_send(*home_, fd_, data);
    if (taken) {
        full_ = *taken < data.size();
        return *taken;
    }
    if (taken.error() == std::errc::resource_unavailable_try_again) {
        full_ = true;
    } else {
        end(taken.error().while_doing("send"));
    }
    return 0;
}

/// Something was added to the queue.
void stream_transport::queued() {
    schedule_flush();
    if (flow_.above(queue_.size())) pause_if_above();
}

std::error_code stream_transport::write(std::vector<std::byte>&& data) {
    if (eof_wanted_) return make_error_code(errc::write_after_eof);
    if (data.empty() || (closing_ && drop_write())) return {};
    queue_.append(std::move(data));
    queued();
    return {};
}

std::error_code stream_transport::writelines(std::span<const bytes> chunks) {
    if (eof_wanted_) return make_error_code(errc::write_after_eof);
    std::size_t total = 0;
    for (const bytes chunk : chunks) total += chunk.size();
    if (total == 0 || (closing_ && drop_write())) return {};
    for (const bytes chunk : chunks) queue_.append(chunk);
    queued();
    return {};
}

/// True when the connection is past writing. While a closing one still flushes, writes go along (rule 352).
bool stream_transport::drop_write() noexcept {
    const bool over = ending_ || lost_ || (closing_ && queue_.empty());
    if (!over) return false;
    if (++dropped_writes_ >= quiet_drops) {
        home_->call_exception_handler({.level = severity::warning,
                                       .message = "write on a closed transport was dropped",
                                       .error = why_lost_,
                                       .subject = describe(),
                                       .created = {}});
    }
    return true;
}

/// Before the protocol is told to pause, the kernel is offered what it can take (rules 280, 731).
void stream_transport::pause_if_above() {
    if (flow_.above(queue_.size()) && !flow_.paused()) {
        if (!transmit_op::in_flight && !full_) offer_now();
        if (ending_) return;
        if (flow_.should_pause(queue_.size())) {
            guarded("pause_writing", [this] { receiver_->pause_writing(); });
        }
    }
}

void stream_transport::offer_now() noexcept {
    while (!queue_.empty()) {
        auto taken = io::try_send(*home_, fd_, queue_.front());
        if (!taken) {
            if (taken.error() == std::errc::resource_unavailable_try_again) break;
            return end(taken.error().while_doing("send"));
        }
        const bool all = *taken == queue_.front().size();
        queue_.consume(*taken);
        if (!all) break;
    }
    full_ = !queue_.empty();
}

void stream_transport::schedule_flush() noexcept {
    if (!transmit_op::in_flight && !turn_end_hook::linked()) at_turn_end(*home_, *this);
}

void stream_transport::flush_hook(turn_end_hook& hook) noexcept {
    static_cast<stream_transport&>(hook).flush();
}

/// Hands what is queued to the kernel, in one operation.
void stream_transport::flush() noexcept {
    if (transmit_op::in_flight || ending_) return;
    if (queue_.empty()) return drained();  // the kernel was offered all of it before the turn ended
    auto& request = static_cast<transmit_op&>(*this);
    if (queue_.contiguous()) {
        // Nobody may be waiting for the end of a fast send: it is learnt with the next wake-up only.
        const bool fast = !full_ && nobody_waits() && queue_.size() <= fast_send_bytes;
        return io::send(*home_, request, fd_, queue_.front(),
                        fast ? io::send_mode::fast : io::send_mode::all);
    }
    flush_pieces();
}

void stream_transport::flush_pieces() noexcept {
    iovec pieces[most_pieces];
    io::send_pieces(*home_, static_cast<transmit_op&>(*this), fd_, {pieces, queue_.pieces(pieces)});
}

void stream_transport::sent(op& done) noexcept {
    auto& self = static_cast<stream_transport&>(static_cast<transmit_op&>(done));
    // All of it went, and nobody waits for that.
    if (static_cast<std::size_t>(done.res) == self.queue_.size() && self.nobody_waits()) [[likely]] {
        self.full_ = false;
        return self.queue_.consume(static_cast<std::size_t>(done.res));
    }
    self.sent_otherwise(done.res);
}

void stream_transport::sent_otherwise(std::int32_t res) noexcept {
    if (ending_) return settle();
    if (res < 0 && res != -EAGAIN) return end(error::from_errno(-res, "send"));
    const std::size_t taken = res < 0 ? 0 : static_cast<std::size_t>(res);
    full_ = taken < queue_.size();
    queue_.consume(taken);
    if (!queue_.empty()) flush();
    if (flow_.should_resume(queue_.size())) {
        guarded("resume_writing", [this] { receiver_->resume_writing(); });
    }
    if (queue_.empty() && !ending_) drained();
}

/// The queue has become empty: what waited for that happens now.
void stream_transport::drained() {
    if (eof_wanted_ && !eof_sent_) {
        eof_sent_ = true;
        (void)io::shutdown(*home_, fd_, SHUT_WR);  // fails only when the peer is gone, which reading tells
    }
    if (closing_) end({});
}

std::error_code stream_transport::write_eof() {
    if (closing_ || eof_wanted_) return {};
    eof_wanted_ = true;
    if (queue_.empty() && !transmit_op::in_flight) drained();
    return {};
}

std::error_code stream_transport::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                          std::ptrdiff_t low_bytes) {
    if (auto refused = flow_.set_limits(high_bytes, low_bytes)) return refused;
    if (!lost_ && !ending_) pause_if_above();
    return {};
}

// ---- the end

void stream_transport::close() {
    if (closing_) return;
    closing_ = true;
    stop_receiving();
    if (queue_.empty() && !transmit_op::in_flight) {
        end({});
    } else {
        schedule_flush();
    }
}

/// Drops output, takes the operations back, then the connection is lost with `why`. The first reason counts.
void stream_transport::end(error why) noexcept {
    if (ending_ || lost_) return;
    closing_ = ending_ = true;
    why_lost_ = std::move(why);
    held_.reset();
    turn_end_hook::unlink();
    stop_receiving();
    io::cancel(*home_, static_cast<transmit_op&>(*this));
    settle();
}

/// A callback of the protocol failed.
void stream_transport::fail(const char* where, error why) noexcept {
    report(where, why);
    end(std::move(why));
}

/// A callback of the protocol threw. From a catch block.
void stream_transport::fail_thrown(const char* where) noexcept {
    fail(where, error::from_exception(std::current_exception(), where));
}

/// Ends the connection once the kernel holds nothing of it (rules 725, 726).
void stream_transport::settle() noexcept {
    if (!ending_ || lost_ || lost_due_) return;
    if (receive_op::in_flight || transmit_op::in_flight) return;
    lost_due_ = true;
    schedule();
}

void stream_transport::lose() noexcept {
    const auto keep = self_;
    lost_ = true;
    queue_.clear();
    if (begun_) guarded("connection_lost", [this] { receiver_->connection_lost(why_lost_); });
    if (wait_point* creator = std::exchange(creator_, nullptr)) creator->complete_or_wake();
    io::close(*home_, std::exchange(fd_, -1));
    remove_resource(*home_, *this);
    receiver_.reset();
    lender_.reset();
    retired_.clear();
    streaming_ = nullptr;
    buffered_ = nullptr;
    if (const auto server = std::exchange(server_, nullptr)) server->client_gone();
    self_.reset();
}

std::any stream_transport::extra_info(std::string_view name) const {
    if (name == "socket") return static_cast<const socket_view*>(this);
    if (name == "sockname" && names_ && names_->local) return names_->local;
    if (name == "peername" && names_ && names_->peer) return names_->peer;
    return {};
}

}  // namespace ouro::detail
