// What liburing 2.3 does not name yet: constants and records of newer kernels, ours by value.
#pragma once

#include <cstdint>

namespace ouro::uring::abi {

inline constexpr unsigned enter_abs_timer = 1U << 5;  // 6.12: the wait's deadline is absolute
inline constexpr unsigned enter_no_iowait = 1U << 7;  // 6.15: an idle loop is not shown as I/O wait
inline constexpr unsigned feat_min_timeout = 1U
                                             << 15;   // 6.12, came together with the absolute timer
inline constexpr unsigned feat_no_iowait = 1U << 17;  // 6.15
inline constexpr unsigned cqe_buffer_more = 1U
                                            << 4;  // 6.12: the kernel will use more of this buffer
inline constexpr unsigned buffer_ring_incremental = 2;  // 6.12
inline constexpr unsigned register_buffer_ring = 22;    // 5.19
inline constexpr unsigned unregister_buffer_ring = 23;
inline constexpr unsigned register_send_message =
    31;                                          // 6.13: a message without a ring of one's own
inline constexpr int op_read_multishot = 49;     // 6.7
inline constexpr unsigned cancel_all = 1U << 0;  // 5.19
inline constexpr unsigned cancel_any = 1U << 2;  // 5.19

/// The argument of `register_buffer_ring`, with the flags that older headers call padding.
struct buffer_ring_registration {
    std::uint64_t ring_address;
    std::uint32_t entry_count;
    std::uint16_t group;
    std::uint16_t flags;
    std::uint64_t reserved[3];
};

}  // namespace ouro::uring::abi
