// The loop's shared receive memory: buffers the kernel picks from when data comes, so that idle
// connections pin none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <ouro/runtime/checks.hpp>

#include "../slice_accounts.hpp"
#include "kernel_abi.hpp"
#include "ring.hpp"

namespace ouro::uring {

/// Anonymous memory of our own that a forked child does not get.
class mapping {
  public:
    mapping() noexcept = default;
    explicit mapping(std::size_t bytes);
    mapping(mapping&& other) noexcept
        : start_(std::exchange(other.start_, nullptr)), bytes_(other.bytes_) {}
    mapping& operator=(mapping&& other) noexcept {
        std::swap(start_, other.start_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~mapping();
    std::byte* start() const noexcept { return start_; }

  private:
    std::byte* start_ = nullptr;
    std::size_t bytes_ = 0;
};

/// A ring of equal buffers registered with the kernel. With incremental buffers (6.12) several
/// receives share one buffer, each taking the next part of it; without them every receive takes a
/// whole one.
///
/// A slice handed out by `take` stays valid until its `give_back`, and longer when it is kept by
/// then: until each `keep` of it was followed by a `let_go`, in any order.
class buffer_ring {
  public:
    buffer_ring(ring& owner, const loop_options& options);
    ~buffer_ring();
    buffer_ring(const buffer_ring&) = delete;
    buffer_ring& operator=(const buffer_ring&) = delete;

    /// The bytes behind a completion of `length` bytes with these flags, in the order of the
    /// completions.
    std::byte* take(std::uint32_t cqe_flags, std::size_t length) noexcept {
        const auto buffer = static_cast<std::uint16_t>(cqe_flags >> IORING_CQE_BUFFER_SHIFT);
        std::byte* const data = start_of(buffer) + used_[buffer];
        used_[buffer] += static_cast<std::uint32_t>(length);
        ++lent_;
        detail::unpoison(data, length);
        return data;
    }
    /// The lease to name in `give_back`: whether the slice was the last one of its buffer.
    std::uint32_t lease_of(std::uint32_t cqe_flags) const noexcept {
        const std::uint32_t buffer = cqe_flags >> IORING_CQE_BUFFER_SHIFT;
        return buffer | (cqe_flags & abi::cqe_buffer_more ? 0 : last_slice);
    }
    /// The slice is not used any more.
    void give_back(std::uint32_t lease, std::byte* data, std::size_t length) noexcept {
        --lent_;
        if constexpr (detail::memory_is_watched) poison_unless_kept(lease, data, length);
        if (lease & last_slice) filled(static_cast<std::uint16_t>(lease));
    }
    /// Keeps the slice that `data` lies in. `no_slice`: the bound is reached, or it lies elsewhere.
    detail::slice_name keep(const std::byte* data) noexcept {
        const std::uintptr_t at =
            reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(memory_);
        if (at >= buffer_bytes_ * count_ || !accounts_.may_keep()) return detail::no_slice;
        const auto buffer = static_cast<detail::slice_name>(at / buffer_bytes_);
        accounts_.keep(buffer);
        return buffer;
    }
    /// One more of those who keep it.
    void keep_again(detail::slice_name buffer) noexcept { accounts_.keep(buffer); }
    /// One less.
    void let_go(detail::slice_name buffer) noexcept {
        if (accounts_.let_go(buffer) && !owner_.foreign_process()) {
            recycle(static_cast<std::uint16_t>(buffer));
        }
    }
    /// The memory, for leases that live longer than the ring.
    std::shared_ptr<void> memory() const noexcept { return memory_map_; }
    bool incremental() const noexcept { return incremental_; }
    std::size_t lent() const noexcept { return lent_; }
    static constexpr std::uint16_t group = 0;

  private:
    static constexpr std::uint32_t last_slice =
        1U << 16;  // lease flag: the kernel is done with the buffer
    void poison_unless_kept(std::uint32_t lease, const std::byte* data,
                            std::size_t length) const noexcept;
    void filled(std::uint16_t buffer) noexcept;
    void recycle(std::uint16_t buffer) noexcept;
    static constexpr unsigned max_count = 32768;  // the kernel's limit
    int set_up_entries(unsigned flags);
    void offer(std::uint16_t buffer) noexcept;
    void publish() noexcept;
    std::byte* start_of(std::uint16_t buffer) const noexcept {
        return memory_ + std::size_t{buffer} * buffer_bytes_;
    }

    ring& owner_;
    std::size_t buffer_bytes_;
    unsigned count_;
    bool incremental_ = false;
    io_uring_buf_ring* entries_ = nullptr;
    mapping entries_memory_;
    std::shared_ptr<mapping> memory_map_;
    std::byte* memory_ = nullptr;
    std::vector<std::uint32_t> used_;  // bytes of each buffer the kernel has filled
    detail::slice_accounts accounts_{1, 1, 1};
    std::uint16_t tail_ = 0;
    std::size_t lent_ = 0;
};

}  // namespace ouro::uring
