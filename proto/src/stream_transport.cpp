// The life of a stream transport: made, replaced protocols, and how it comes to be lost.
#include "stream_transport.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cstring>

#include <ouro/runtime/connection_record.hpp>
#include <ouro/runtime/io.hpp>

#include "server_state.hpp"

namespace ouro::detail {
namespace {

/// Where the address after one of `bytes` begins: paths may have an odd length.
constexpr std::size_t aligned(std::size_t bytes) noexcept {
    return (bytes + alignof(sockaddr) - 1) / alignof(sockaddr) * alignof(sockaddr);
}

}  // namespace

stream_transport::stream_transport(loop& home, int fd, std::shared_ptr<base_protocol> receiver)
    : write_side(&sent, home, fd), receive_op(&received) {
    turn_end_hook::run = &flush_hook;
    attach(std::move(receiver));
    capture_names();
    io::claim(home, fd);
}

void stream_transport::set_no_delay() noexcept {
    if (auto kind = family(); kind && *kind != AF_UNIX) {
        (void)set_option(IPPROTO_TCP, TCP_NODELAY, 1);  // not TCP after all: nothing to delay
    }
}

/// Keeps both addresses, each in as many bytes as it has: they are all an idle connection
/// remembers.
void stream_transport::capture_names() noexcept try {
    const auto local = local_address();
    const auto peer = peer_address();
    const socklen_t local_bytes = local ? local->length() : 0;
    const socklen_t peer_bytes = peer ? peer->length() : 0;
    names_ = std::make_unique_for_overwrite<std::byte[]>(aligned(local_bytes) + peer_bytes);
    if (local) std::memcpy(names_.get(), local->raw(), local_bytes);
    if (peer) std::memcpy(names_.get() + aligned(local_bytes), peer->raw(), peer_bytes);
    local_name_bytes_ = static_cast<std::uint8_t>(local_bytes);
    peer_name_bytes_ = static_cast<std::uint8_t>(peer_bytes);
} catch (...) {
    // Out of memory: the names are not known.
}

address stream_transport::kept_name(bool of_peer) const noexcept {
    const std::byte* const at = names_.get() + (of_peer ? aligned(local_name_bytes_) : 0);
    return address(reinterpret_cast<const sockaddr*>(at),
                   of_peer ? peer_name_bytes_ : local_name_bytes_);
}

void stream_transport::attach(std::shared_ptr<base_protocol> receiver) {
    receiver_ = std::move(receiver);
    buffered_ = dynamic_cast<buffered_protocol*>(receiver_.get());
    streaming_ = buffered_ ? nullptr : dynamic_cast<protocol*>(receiver_.get());
    leasing_ = buffered_ || streaming_ ? nullptr : dynamic_cast<lease_protocol*>(receiver_.get());
    OURO_ASSERT(buffered_ || streaming_ || leasing_,
                "a stream transport needs a protocol, a buffered_protocol or a lease_protocol");
}

void stream_transport::begin(std::shared_ptr<stream_transport> self, list<loop_resource>& owner,
                             std::shared_ptr<server_state> accepted_by) {
    self_ = std::move(self);
    server_ = std::move(accepted_by);
    add_resource(*home_, *this, owner);
    const context::use in(values_);
    call_made();
}

void stream_transport::tell_made() {
    made_at_ = turn_time(*home_);
    streaming_  ? streaming_->connection_made(self_)
    : buffered_ ? buffered_->connection_made(self_)
                : leasing_->connection_made(self_);
}

std::string stream_transport::describe() const {
    std::string text = "stream transport fd " + std::to_string(fd_);
    return text + " " + kept_name(false).to_string() + " <- " + kept_name(true).to_string();
}

// ---- what the ready queue runs for us

void stream_transport::run_due() noexcept {
    if (aside_) aside_->retired.clear();
    if (!std::exchange(held_due_, false)) return;
    try {
        deliver_held();
    } catch (...) {
        end(error(std::errc::not_enough_memory, "hold received data"));
    }
}

void stream_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (lost_) return;
    const bool was_buffered = buffered_ != nullptr;
    std::shared_ptr<base_protocol> before = receiver_;
    attach(std::move(receiver));
    input_aside& aside = set_aside();
    const bool own_buffer_in_use = (receive_op::in_flight && direct_) || aside.direct_count != 0;
    if (own_buffer_in_use && !aside.lender) aside.lender = before;
    aside.retired.push_back(std::move(before));  // a callback of its own may be what replaces it
    schedule();
    // A receive of the other kind ends, and starts again as the new protocol wants it (rule 289).
    const bool other_kind = direct_ || was_buffered != (buffered_ != nullptr);
    if (receive_op::in_flight && other_kind) stop_receiving();
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
    if (flow_.paused()) paused_time_ += turn_time(*home_) - paused_at_;
    if (begun_ && logs_connections(*home_)) log_end(dropped_bytes);
    aside_.reset();
    streaming_ = nullptr;
    buffered_ = nullptr;
    leasing_ = nullptr;
    const auto server = std::exchange(server_, nullptr);
    let_go();
    if (server) server->client_gone();
}

void stream_transport::log_end(std::size_t dropped_bytes) noexcept {
    guarded("the connection log", [&] {
        const transport_statistics last = statistics();
        log_connection(*home_, {.local = kept_name(false).to_string(),
                                .peer = kept_name(true).to_string(),
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
                             .high_water_hits = high_water_hits_,
                             .paused_time = paused_time_,
                             .made_at = made_at_};
    if (lost_) return now;  // the loop may be gone
    if (flow_.paused()) now.paused_time += turn_time(*home_) - paused_at_;
    if (transmit_op::in_flight && slow_) now.oldest_queued_age = turn_time(*home_) - queued_at_;
    return now;
}

std::any stream_transport::extra_info(std::string_view name) const {
    if (name == "socket") return static_cast<const socket_view*>(this);
    if (name == "sockname" && local_name_bytes_) return kept_name(false);
    if (name == "peername" && peer_name_bytes_) return kept_name(true);
    return {};
}

}  // namespace ouro::detail
