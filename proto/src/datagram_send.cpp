// How a datagram transport sends: what one turn queued leaves at its end, in order, in one call.
#include <netinet/in.h>
#include <netinet/udp.h>

#include <array>
#include <cerrno>
#include <cstring>

#include <ouro/runtime/io.hpp>

#include "datagram_link.hpp"

namespace ouro::detail {
namespace {

// How many dropped sends go unremarked (rule 464).
constexpr std::uint32_t quiet_drops = 5;

/// What one call hands to the kernel: messages, each with one datagram or several equal ones.
struct batch {
    static constexpr std::size_t most = 64;

    void fill(const datagram_queue& from, std::size_t most_segment_bytes) noexcept {
        for (std::size_t skip = 0; size < most && from.has(skip); ++size) {
            add(from.next(skip, most_segment_bytes));
            skip += counts[size];
        }
    }
    void add(const datagram_queue::message& what) noexcept {
        pieces[size] = {const_cast<std::byte*>(what.data.data()), what.data.size()};
        msghdr& header = headers[size].msg_hdr = {};
        header.msg_iov = &pieces[size];
        header.msg_iovlen = 1;
        header.msg_namelen = what.name_bytes;
        header.msg_name = what.name_bytes ? const_cast<std::byte*>(what.name) : nullptr;
        counts[size] = what.count;
        segments[size] = what.segment_bytes;
        if (what.count == 1) return;
        const auto bytes = static_cast<std::uint16_t>(what.segment_bytes);
        cmsghdr head{};
        head.cmsg_len = CMSG_LEN(sizeof bytes);
        head.cmsg_level = IPPROTO_UDP;
        head.cmsg_type = UDP_SEGMENT;
        std::memcpy(controls[size].data, &head, sizeof head);
        std::memcpy(controls[size].data + CMSG_LEN(0), &bytes, sizeof bytes);
        header.msg_control = controls[size].data;
        header.msg_controllen = sizeof controls[size].data;
    }

    struct control {
        alignas(cmsghdr) std::byte data[CMSG_SPACE(sizeof(std::uint16_t))];
    };
    std::size_t size = 0;
    // Filled as far as they are used.
    mmsghdr headers[most];
    iovec pieces[most];
    control controls[most];
    std::size_t counts[most];
    std::size_t segments[most];
};

/// Whether the kernel may have refused to cut the message up, and would take its parts.
bool refuses_segments(const error& why) noexcept {
    return why == std::errc::invalid_argument || why == std::errc::io_error ||
           why == std::errc::message_size || why == std::errc::operation_not_supported;
}

}  // namespace

std::error_code datagram_link::send_to(bytes data, const address& to) {
    if (closing_) return drop(), std::error_code();
    if (auto refused = refusal(to)) return refused;
    queue_.append(data, connected_ ? address() : to ? to : remote_);
    schedule_flush();
    if (flow_.above(queue_.size())) pause_if_above();
    return {};
}

std::error_code datagram_link::refusal(const address& to) const noexcept {
    if (!to) {
        if (connected_ || remote_) return {};
        return std::make_error_code(std::errc::destination_address_required);
    }
    if (connected_) {
        return to == remote_ ? std::error_code() : make_error_code(errc::value_error);
    }
    if (to.family() == family_) return {};
    return std::make_error_code(std::errc::address_family_not_supported);
}

void datagram_link::drop() noexcept {
    ++counted_.dropped;
    if (++dropped_sends_ < quiet_drops) return;
    loop* const hears = who_hears();
    if (!hears) return;
    hears->call_exception_handler({.level = severity::warning,
                                   .message = words("a datagram for a closed endpoint was dropped"),
                                   .error = why_lost_,
                                   .subject = words([this] { return describe(); }),
                                   .created = {}});
}

/// Before the protocol is told to pause, the kernel is offered what it can take.
void datagram_link::pause_if_above() {
    if (flow_.paused()) return;
    flush();
    if (!ending_ && flow_.should_pause(queue_.size())) {
        guarded("pause_writing", [this] { receiver_->pause_writing(); });
    }
}

void datagram_link::schedule_flush() noexcept {
    if (!datagram_send_op::in_flight && !turn_end_hook::linked()) at_turn_end(*home_, *this);
}

void datagram_link::flush_hook(turn_end_hook& hook) noexcept {
    auto& self = static_cast<datagram_link&>(hook);
    self.flush();
    self.flushed();
}

/// Sends what the socket takes. What is left goes when it has room again.
void datagram_link::flush() noexcept {
    while (!queue_.empty() && !datagram_send_op::in_flight && !ending_) {
        if (!send_some()) return wait_for_room();
    }
}

/// After datagrams left: what waited for that happens now.
void datagram_link::flushed() noexcept {
    if (ending_) return;
    if (flow_.should_resume(queue_.size())) {
        const context::use in(values_);
        guarded("resume_writing", [this] { receiver_->resume_writing(); });
    }
    if (closing_ && queue_.empty() && !datagram_send_op::in_flight) end({});
}

/// One call. False: the socket is full.
bool datagram_link::send_some() noexcept {
    batch out;
    out.fill(queue_, most_segment_bytes_);
    auto taken = io::try_send_messages(*home_, fd_, {out.headers, out.size});
    if (taken) {
        std::size_t datagrams = 0;
        for (std::size_t i = 0; i < *taken; ++i) {
            datagrams += out.counts[i];
            counted_.sent_bytes += out.pieces[i].iov_len;
        }
        counted_.send_calls += *taken;
        counted_.sent += datagrams;
        queue_.pop(datagrams);
        return true;
    }
    if (taken.error() == std::errc::resource_unavailable_try_again) return false;
    if (out.counts[0] > 1 && refuses_segments(taken.error())) {
        most_segment_bytes_ = out.segments[0] - 1;  // they go one by one, and larger ones too
        return true;
    }
    failed_to_send(std::move(taken.error()));
    return true;
}

/// The first datagram is dropped, the others are not (rule 455).
void datagram_link::failed_to_send(error why) noexcept {
    queue_.pop(1);
    tell(std::move(why.while_doing("send a datagram")));
}

/// The first datagram is left with the kernel until there is room; it keeps its place (rule 456).
void datagram_link::wait_for_room() noexcept try {
    if (!outbox_) outbox_ = std::make_unique<outbox>();
    const datagram_queue::message first = queue_.next(0, 0);
    outbox& out = *outbox_;
    out.data.assign(first.data.begin(), first.data.end());
    out.piece = {out.data.data(), out.data.size()};
    out.header = {};
    out.header.msg_iov = &out.piece;
    out.header.msg_iovlen = 1;
    if (first.name_bytes) {
        sockaddr_storage name{};  // in the queue it lies anywhere
        std::memcpy(&name, first.name, first.name_bytes);
        out.to = address(reinterpret_cast<const sockaddr*>(&name), first.name_bytes);
        out.header.msg_name = const_cast<sockaddr*>(out.to.raw());
        out.header.msg_namelen = out.to.length();
    }
    io::send_message(*home_, static_cast<datagram_send_op&>(*this), fd_, out.header);
} catch (const std::bad_alloc&) {
    failed_to_send(error(std::errc::not_enough_memory));
    schedule_flush();
}

void datagram_link::sent(op& done) noexcept {
    auto& self = static_cast<datagram_link&>(static_cast<datagram_send_op&>(done));
    const context::use in(self.values_);
    if (done.res >= 0) {
        self.queue_.pop(1);
        ++self.counted_.sent;
        ++self.counted_.send_calls;
        self.counted_.sent_bytes += static_cast<std::size_t>(done.res);
    } else if (!self.ending_ && done.res != -EINTR) {  // which is to be sent again
        self.failed_to_send(error::from_errno(-done.res));
    }
    if (self.ending_) return self.settle();
    self.flush();
    self.flushed();
}

std::error_code datagram_link::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                       std::ptrdiff_t low_bytes) {
    if (auto refused = flow_.set_limits(high_bytes, low_bytes)) return refused;
    if (!lost_ && !ending_ && flow_.above(queue_.size())) pause_if_above();
    return {};
}

}  // namespace ouro::detail
