// Buffers for multishot receives of datagrams.
#include "datagram_buffers.hpp"

#include <cstddef>
#include <system_error>

#include "kernel_abi.hpp"

namespace ouro::uring {

static_assert(sizeof(detail::datagram_head) == sizeof(io_uring_recvmsg_out));
static_assert(offsetof(detail::datagram_head, payload_bytes) ==
              offsetof(io_uring_recvmsg_out, payloadlen));
static_assert(offsetof(detail::datagram_head, flags) == offsetof(io_uring_recvmsg_out, flags));

datagram_buffers::datagram_buffers(ring& owner, unsigned count)
    : count_(count),
      entries_memory_(count * sizeof(io_uring_buf)),
      memory_(count * detail::datagram_buffer_bytes),
      entries_(reinterpret_cast<io_uring_buf_ring*>(entries_memory_.start())) {
    abi::buffer_ring_registration request{};
    request.ring_address = reinterpret_cast<std::uintptr_t>(entries_memory_.start());
    request.entry_count = count;
    request.group = group;
    const int outcome = owner.register_call(abi::register_buffer_ring, &request, 1);
    if (outcome < 0) throw std::system_error(-outcome, std::system_category());
    for (unsigned i = 0; i < count; ++i) offer(i);
    publish();
    detail::poison(memory_.start(), count_ * detail::datagram_buffer_bytes);
}

datagram_buffers::~datagram_buffers() {
    detail::unpoison(memory_.start(), count_ * detail::datagram_buffer_bytes);
}

void datagram_buffers::prepare(io_uring_sqe& entry, int fd) const noexcept {
    // The kernel copies what it needs of this when the entry is submitted.
    static constexpr msghdr rooms = [] {
        msghdr header{};
        header.msg_namelen = detail::datagram_name_room;
        header.msg_controllen = detail::datagram_control_room;
        return header;
    }();
    io_uring_prep_recvmsg_multishot(&entry, fd, const_cast<msghdr*>(&rooms), MSG_TRUNC);
    entry.flags |= IOSQE_BUFFER_SELECT;
    entry.buf_group = group;
}

void datagram_buffers::give_back(std::uint32_t lease) noexcept {
    --lent_;
    detail::poison(start_of(lease), detail::datagram_buffer_bytes);
    offer(lease & ~lease_mark);
    publish();
}

void datagram_buffers::offer(std::uint32_t index) noexcept {
    io_uring_buf& entry = entries_->bufs[tail_ & (count_ - 1)];
    entry.addr = reinterpret_cast<std::uintptr_t>(start_of(index));
    entry.len = static_cast<std::uint32_t>(detail::datagram_buffer_bytes);
    entry.bid = static_cast<std::uint16_t>(first_number | index);
    ++tail_;
}

void datagram_buffers::publish() noexcept {
    __atomic_store_n(&entries_->tail, tail_, __ATOMIC_RELEASE);
}

}  // namespace ouro::uring
