// The life of a stream transport: made, replaced protocols, and how it comes to be lost.
#include "stream_transport.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <ouro/runtime/connection_record.hpp>
#include <ouro/runtime/io.hpp>

#include "server_state.hpp"

namespace ouro::detail {

stream_transport::stream_transport(loop& home, int fd, std::shared_ptr<base_protocol> receiver)
    : write_side(&sent, home, fd, &received) {
    turn_end_hook::run = &flush_hook;
    attach(std::move(receiver));
    names_.keep(local_address().value_or(address()), peer_address().value_or(address()));
    io::claim(home, fd);
}

void stream_transport::set_no_delay() noexcept {
    if (auto kind = family(); kind && *kind != AF_UNIX) {
        (void)set_option(IPPROTO_TCP, TCP_NODELAY, 1);  // not TCP after all: nothing to delay
    }
}

void stream_transport::attach(std::shared_ptr<base_protocol> receiver) {
    receiver_ = std::move(receiver);
    base_protocol* const given = receiver_.get();
    kind_ = dynamic_cast<buffered_protocol*>(given) ? receiver_kind::buffered
            : dynamic_cast<protocol*>(given)        ? receiver_kind::streaming
            : dynamic_cast<lease_protocol*>(given)  ? receiver_kind::leasing
                                                    : receiver_kind::none;
    OURO_ASSERT(kind_ != receiver_kind::none,
                "a stream transport needs a protocol, a buffered_protocol or a lease_protocol");
}

void stream_transport::begin(std::shared_ptr<stream_transport> self, list<loop_resource>& owner,
                             server_state& accepted_by) {
    self_ = std::move(self);
    server_ = &accepted_by;
    add_resource(*home_, *this, owner);
    const context::use in(values_);
    call_made();
}

void stream_transport::tell_made() {
    made_at_ = turn_time(*home_);
    kind_ == receiver_kind::streaming  ? streaming().connection_made(self_)
    : kind_ == receiver_kind::buffered ? buffered().connection_made(self_)
                                       : leasing().connection_made(self_);
}

std::string stream_transport::describe() const {
    std::string text = "stream transport fd " + std::to_string(fd_);
    return text + " " + names_.local().to_string() + " <- " + names_.peer().to_string();
}

// ---- what the ready queue runs for us

void stream_transport::run_due() noexcept {
    if (aside_) aside_->retired.clear();
    if (!std::exchange(held_due_, false)) return;
    try {
        deliver_held();
    } catch (...) {
        end(cannot_hold());
    }
}

void stream_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (lost_) return;
    std::shared_ptr<base_protocol> before = receiver_;
    attach(std::move(receiver));
    set_aside& kept = aside();
    const bool own_buffer_in_use = (receive_op::in_flight && direct_) || kept.direct_count != 0;
    if (own_buffer_in_use && !kept.lender) kept.lender = before;
    kept.retired.push_back(std::move(before));  // a callback of its own may be what replaces it
    schedule();
    // A receive of the other kind ends, and starts again as the new protocol wants it (rule 289).
    if (receive_op::in_flight && (direct_ || lends_memory())) stop_receiving();
}

// ---- the end

void stream_transport::close() {
    if (closing_) return;
    if (sending_file_) return end({});
    closing_ = true;
    stop_receiving();
    if (queue_.empty() && !transmit_op::in_flight) {
        end({});
    } else {
        schedule_flush();
    }
}

void stream_transport::abort() {
    if (!ending_) aborted_ = true;
    end({});
}

void stream_transport::take_back() noexcept {
    if (aside_) aside_->drop_input();
    turn_end_hook::unlink();
    stop_receiving();
    io::cancel(*home_, static_cast<transmit_op&>(*this));
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

void stream_transport::lose() noexcept {
    tell_file();
    const std::size_t dropped_bytes = queue_.size();
    queue_.clear();
    tell_lost();
    if (flow_.paused()) note_resumed();
    if (begun_ && logs_connections(*home_)) log_end(dropped_bytes);
    kind_ = receiver_kind::none;
    if (aside_) aside_->let_go();
    server_state* const server = std::exchange(server_, nullptr);
    let_go();
    if (server) server->client_gone();
}

void stream_transport::log_end(std::size_t dropped_bytes) noexcept {
    guarded("the connection log", [&] {
        const transport_statistics last = statistics();
        log_connection(*home_, {.local = names_.local().to_string(),
                                .peer = names_.peer().to_string(),
                                .made_at = last.made_at,
                                .lost_at = turn_time(*home_),
                                .who = why_lost_        ? closed_by::failure
                                       : ended_by_peer_ ? closed_by::peer
                                                        : closed_by::us,
                                .aborted = aborted_,
                                .why = why_lost_,
                                .bytes_received = last.bytes_received,
                                .bytes_sent = last.bytes_sent,
                                .bytes_dropped = dropped_bytes,
                                .high_water_hits = last.high_water_hits,
                                .paused_time = last.paused_time});
    });
}

transport_statistics stream_transport::statistics() const noexcept {
    transport_statistics now{.bytes_queued = get_write_buffer_size(),
                             .bytes_received = bytes_received_,
                             .bytes_sent = bytes_sent_,
                             .made_at = made_at_};
    if (pauses_) {
        now.high_water_hits = pauses_->count;
        now.paused_time = pauses_->before;
    }
    if (lost_) return now;  // the loop may be gone
    const auto turn = turn_time(*home_);
    if (pauses_ && flow_.paused()) now.paused_time += turn - pauses_->since;
    if (transmit_op::in_flight && slow_ && aside_) now.oldest_queued_age = turn - aside_->queued_at;
    return now;
}

std::any stream_transport::extra_info(std::string_view name) const {
    if (name == "socket") return static_cast<const socket_view*>(this);
    address found;
    if (name == "sockname") found = names_.local();
    if (name == "peername") found = names_.peer();
    return found ? std::any(found) : std::any();
}

}  // namespace ouro::detail
