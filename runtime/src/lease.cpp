// Leases: slices of the shared receive memory that are kept, and how they come back.
#include <ouro/runtime/lease.hpp>

#include <cstring>
#include <new>

#include <ouro/runtime/frame_pool.hpp>

#include "loop_state.hpp"

namespace ouro {
namespace detail {
namespace {

/// Memory of a lease's own, in front of its bytes.
struct own_block {
    std::size_t references;
    std::size_t block_bytes;
};

}  // namespace

void lease_bank::came_back(slice_name slice) noexcept {
    --out;
    if (!kernel) {
        if (out == 0) delete this;
        return;
    }
    kernel->let_go(slice);
}

/// The engine goes next. What is still kept stays.
void lease_bank::forget_loop() noexcept {
    if (out == 0) return delete this;
    memory = kernel->kept_memory();
    kernel = nullptr;
}

}  // namespace detail

buffer_lease buffer_lease::copy_of(std::span<const std::byte> data) {
    if (data.empty()) return {};
    const std::size_t block_bytes = sizeof(detail::own_block) + data.size();
    void* const memory = detail::frame_pool::allocate(block_bytes);
    auto* const block = ::new (memory) detail::own_block{1, block_bytes};
    std::memcpy(block + 1, data.data(), data.size());
    return buffer_lease({reinterpret_cast<std::byte*>(block + 1), data.size()}, block, own_memory);
}

buffer_lease buffer_lease::share() const noexcept {
    if (!holder_) return {};
    if (slice_ == own_memory) {
        ++static_cast<detail::own_block*>(holder_)->references;
    } else {
        auto& bank = *static_cast<detail::lease_bank*>(holder_);
        ++bank.out;
        if (bank.kernel) bank.kernel->keep_again(slice_);
    }
    return buffer_lease(view(), holder_, slice_);
}

bool buffer_lease::join(buffer_lease& next) noexcept {
    const bool adjacent =
        holder_ && holder_ == next.holder_ && slice_ == next.slice_ && data_ + size_ == next.data_;
    if (!adjacent) return false;
    size_ += next.size_;
    buffer_lease taken(std::move(next));
    return true;
}

void buffer_lease::let_go() noexcept {
    void* const holder = std::exchange(holder_, nullptr);
    if (slice_ != own_memory) return static_cast<detail::lease_bank*>(holder)->came_back(slice_);
    auto* const block = static_cast<detail::own_block*>(holder);
    if (--block->references == 0) detail::frame_pool::deallocate(block, block->block_bytes);
}

namespace io {

buffer_lease keep(loop& home, std::span<const std::byte> lent) {
    detail::lease_bank& bank = *home.state().leases;
    const detail::slice_name slice = bank.kernel->keep(lent.data());
    if (slice == detail::no_slice) {
        ++bank.copied;
        return buffer_lease::copy_of(lent);
    }
    ++bank.out;
    ++bank.made;
    return buffer_lease(lent, &bank, slice);
}

}  // namespace io
}  // namespace ouro
