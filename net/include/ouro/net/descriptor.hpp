// Descriptors of any kind of file: owned, and passed along unix sockets.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include <ouro/runtime/io.hpp>

namespace ouro {

/// An owned descriptor on a loop. Move-only; closes itself. What is to be done with it is up to who
/// takes it over: `socket::adopt(home, fd.release())`.
///
/// Threads  the loop's thread.
class descriptor {
  public:
    /// Refers to nothing.
    descriptor() noexcept = default;
    /// Takes ownership of a descriptor made elsewhere.
    descriptor(loop& home, int fd) noexcept : home_(&home), fd_(fd) { io::adopt(home, fd); }
    descriptor(descriptor&& other) noexcept
        : home_(other.home_), fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(home_, other.home_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor() { close(); }

    /// Closes. Idempotent.
    void close() noexcept {
        if (fd_ >= 0) io::close(*home_, std::exchange(fd_, -1));
    }
    /// Gives it to the caller.
    int release() noexcept {
        if (fd_ >= 0) io::disown(*home_, fd_);
        return std::exchange(fd_, -1);
    }
    /// Its number, -1 when there is none.
    int fd() const noexcept { return fd_; }
    /// True until closed or released.
    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    loop* home_ = nullptr;
    int fd_ = -1;
};

/// Bytes, and the descriptors that came with them.
struct received_with_fds {
    std::size_t count = 0;          ///< bytes received; 0 only at end of stream
    std::vector<descriptor> fds{};  ///< close-on-exec
    bool truncated = false;  ///< more came than were asked for or could be had; those are closed
};

}  // namespace ouro
