// Files that go out on a socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

/// What of a file is sent, and how.
struct sendfile_options {
    std::uint64_t offset = 0;              ///< where it begins
    std::optional<std::uint64_t> count{};  ///< at most so many bytes, not 0; none: to the end
    bool fallback = true;                  ///< copy the bytes where the kernel cannot carry them
};

namespace detail {

/// Where the bytes of a file go: a socket, or a transport.
class file_outlet {
  public:
    /// Waits until what was written before has gone.
    virtual task<> ready() = 0;
    /// True where the kernel may carry the bytes.
    virtual bool carries() const noexcept = 0;
    /// Hands over what is taken without waiting, or EAGAIN.
    virtual result<std::size_t> forward(const io::carrier& from, std::size_t count) = 0;
    /// Sends a copy of `piece`, and waits until there is room again. Adds to `sent` what has gone.
    virtual task<> put(bytes piece, std::uint64_t& sent) = 0;

  protected:
    ~file_outlet() = default;
};

/// Sends from a file to an outlet, which lives as long as the task. Leaves the position of the file
/// behind what was sent, however it ends.
task<std::uint64_t> send_file_to(file_outlet& to, int file, sendfile_options how);

}  // namespace detail
}  // namespace ouro
