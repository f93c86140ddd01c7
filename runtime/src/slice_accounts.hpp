// Which shared receive buffers are kept by leases: what both engines know of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ouro::detail {

/// The name of a kept slice: its buffer.
using slice_name = std::uint32_t;
/// No slice: nothing was kept.
inline constexpr slice_name no_slice = UINT32_MAX;

/// Counts the leases of each buffer. A buffer that the kernel has filled goes back to it when no
/// lease is left; until then it is withheld. When as many are withheld as may be, no further lease
/// is made.
class slice_accounts {
  public:
    slice_accounts(std::size_t buffer_count, std::size_t buffer_bytes, std::size_t most_kept_bytes)
        : buffers_(buffer_count),
          // One is always left for those who keep nothing.
          most_(std::min(buffer_count - 1,
                         most_kept_bytes == 0
                             ? buffer_count * 3 / 4
                             : std::max<std::size_t>(1, most_kept_bytes / buffer_bytes))) {}

    /// Whether another lease may be made.
    bool may_keep() const noexcept { return withheld_ < most_; }
    bool kept(slice_name buffer) const noexcept { return buffers_[buffer].leases != 0; }
    /// One lease more.
    void keep(slice_name buffer) noexcept { ++buffers_[buffer].leases; }
    /// The kernel will not write to the buffer any more: true when it can have it back now.
    bool filled(slice_name buffer) noexcept {
        if (!kept(buffer)) return true;
        buffers_[buffer].withheld = true;
        ++withheld_;
        return false;
    }
    /// One lease less: true when the kernel can have the buffer back now.
    bool let_go(slice_name buffer) noexcept {
        if (--buffers_[buffer].leases != 0 || !buffers_[buffer].withheld) return false;
        buffers_[buffer].withheld = false;
        --withheld_;
        return true;
    }

  private:
    struct buffer {
        std::uint32_t leases = 0;
        bool withheld = false;
    };
    std::vector<buffer> buffers_;
    std::size_t withheld_ = 0;
    std::size_t most_;
};

}  // namespace ouro::detail
