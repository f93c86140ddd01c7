// Buffers for multishot receives of datagrams: whole ones, each for one completion.
#pragma once

#include <cstddef>
#include <cstdint>

#include <ouro/runtime/checks.hpp>

#include "../datagram_layout.hpp"
#include "buffer_ring.hpp"

namespace ouro::uring {

/// A second ring of buffers, made when the first datagram socket wants it. Its buffers have numbers
/// of their own, so that a completion tells by itself where it lies.
class datagram_buffers {
  public:
    /// Throws `std::system_error` when there is no memory for it.
    datagram_buffers(ring& owner, unsigned count);
    ~datagram_buffers();
    datagram_buffers(const datagram_buffers&) = delete;
    datagram_buffers& operator=(const datagram_buffers&) = delete;

    static constexpr std::uint16_t group = 1;
    static constexpr std::uint16_t first_number = 0x8000;  // above those of the stream buffers
    static constexpr std::uint32_t cqe_mark = std::uint32_t{first_number}
                                              << IORING_CQE_BUFFER_SHIFT;
    static constexpr std::uint32_t lease_mark = 1U << 31;

    /// Arms `entry` for `fd`.
    void prepare(io_uring_sqe& entry, int fd) const noexcept;
    /// The buffer of a completion with `cqe_flags`.
    std::byte* take(std::uint32_t cqe_flags, std::size_t length) noexcept {
        std::byte* const data = start_of(lease_of(cqe_flags));
        ++lent_;
        detail::unpoison(data, length);
        return data;
    }
    std::uint32_t lease_of(std::uint32_t cqe_flags) const noexcept {
        return lease_mark | ((cqe_flags & ~cqe_mark) >> IORING_CQE_BUFFER_SHIFT);
    }
    void give_back(std::uint32_t lease) noexcept;
    std::size_t lent() const noexcept { return lent_; }

  private:
    std::byte* start_of(std::uint32_t lease) const noexcept {
        return memory_.start() + (lease & ~lease_mark) * detail::datagram_buffer_bytes;
    }
    void offer(std::uint32_t index) noexcept;
    void publish() noexcept;

    unsigned count_;
    mapping entries_memory_;
    mapping memory_;
    io_uring_buf_ring* entries_;
    std::uint16_t tail_ = 0;
    std::size_t lent_ = 0;
};

}  // namespace ouro::uring
