// Operations on files that are no sockets, and polls for room: what is not ready is polled for, and
// tried again.
#pragma once

#include <cstdint>

#include <ouro/runtime/io.hpp>

#include "op_state.hpp"
#include "ring.hpp"

namespace ouro::uring {

/// `state`, on a thread of the kernel's where `kind` wants that.
inline std::uint8_t with(std::uint8_t state, io::file_kind kind) noexcept {
    return kind == io::file_kind::terminal ? state | on_worker : state;
}

/// Fills their entries, and says what becomes of those that come back with nothing done.
class file_operations {
  public:
    explicit file_operations(ring& of) noexcept : ring_(of) {}

    void start(op& request, int fd, std::uint8_t state) noexcept;
    /// A worker would take a shared buffer and wait with it: it is sent when something came.
    void start_or_wait(op& request, int fd, std::uint8_t state) noexcept;
    void poll_first(op& request, int fd, std::uint8_t state) noexcept;
    /// Looks at what ended an operation without anything done, or the poll before it. True: it goes
    /// on.
    bool goes_on(op& request, std::uint8_t state, std::int32_t& res) noexcept;

  private:
    io_uring_sqe* prepare(op& request, int fd, std::uint8_t state) noexcept;
    void look_again_later(op& request, std::uint8_t state) noexcept;
    bool goes_on_after_poll(op& request, std::uint8_t state, std::int32_t res) noexcept;

    ring& ring_;
};

}  // namespace ouro::uring
