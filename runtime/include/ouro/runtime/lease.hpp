// Received bytes that may be kept: a slice of the loop's shared receive memory with an owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace ouro {

class buffer_lease;
class loop;

namespace io {
/// Keeps `lent`, all or a part of what the completion that is being run lends, for longer than
/// that. When leases withhold `loop_options::lease_bytes` from the kernel, it is copied instead,
/// which throws `std::bad_alloc` if there is no memory.
buffer_lease keep(loop& home, std::span<const std::byte> lent);
}  // namespace io

/// Bytes as the kernel wrote them, which belong to whoever holds this. Dropping it gives the memory
/// back to the loop, in any order.
///
/// A lease is a part of a larger buffer, which the kernel gets back when none of its leases is
/// left: a small one that is kept for long withholds much. What is to be kept for long is copied.
///
/// Lifetime  may outlive the transport it came from, the run of its loop, and the loop, which
///           reports it when it closes; the memory stays until the last lease is gone.
/// Threads   made, shared and dropped on the loop's thread; the bytes may be read on any.
/// Cost      no allocation, no atomic; 32 bytes.
class buffer_lease {
  public:
    /// No bytes.
    buffer_lease() noexcept = default;
    buffer_lease(buffer_lease&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)),
          holder_(std::exchange(other.holder_, nullptr)),
          slice_(other.slice_) {}
    buffer_lease& operator=(buffer_lease&& other) noexcept {
        buffer_lease taken(std::move(other));
        std::swap(data_, taken.data_);
        std::swap(size_, taken.size_);
        std::swap(holder_, taken.holder_);
        std::swap(slice_, taken.slice_);
        return *this;
    }
    ~buffer_lease() {
        if (holder_) let_go();
    }
    /// A lease of memory of its own, for who has bytes and not a lease.
    ///
    /// Errors  throws `std::bad_alloc`.
    static buffer_lease copy_of(std::span<const std::byte> data);

    /// The bytes.
    std::span<const std::byte> view() const noexcept { return {data_, size_}; }
    const std::byte* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    /// False when the kernel wrote the bytes where they are, true when they were copied there.
    bool is_copy() const noexcept { return holder_ && slice_ == own_memory; }
    /// The same bytes once more, not copied.
    buffer_lease share() const noexcept;
    /// Takes `next` in if its bytes stand right behind these ones, which is so when one receive
    /// followed the other; else leaves both as they are.
    bool join(buffer_lease& next) noexcept;
    /// Leaves the first `count` bytes out, or all if there are not so many.
    void remove_prefix(std::size_t count) noexcept {
        if (count > size_) count = size_;
        data_ += count;
        size_ -= count;
    }
    /// Leaves all but the first `count` bytes out.
    void truncate(std::size_t count) noexcept {
        if (count < size_) size_ = count;
    }

  private:
    static constexpr std::uint32_t own_memory = UINT32_MAX;
    buffer_lease(std::span<const std::byte> data, void* holder, std::uint32_t slice) noexcept
        : data_(data.data()), size_(data.size()), holder_(holder), slice_(slice) {}
    void let_go() noexcept;
    friend buffer_lease io::keep(loop& home, std::span<const std::byte> lent);

    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    void* holder_ = nullptr;  // the bank of the loop, or a block of its own
    std::uint32_t slice_ = own_memory;
};

}  // namespace ouro
