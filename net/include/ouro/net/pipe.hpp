// Pipes you await: two owned ends, no buffering.
#pragma once

#include <ouro/net/socket.hpp>

namespace ouro {

namespace detail {

/// The await of `pipe_end::read_into`.
class [[nodiscard]] file_read_op : public socket_awaitable<file_read_op, std::size_t> {
  public:
    file_read_op(socket_state& of, mut_bytes into) noexcept;
    void submit(loop& home, op& request) noexcept {
        io::read(home, request, begin(request), into_, use_.target->kind);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "read"; }

  private:
    friend op_awaitable<file_read_op, std::size_t>;
    mut_bytes into_;
};

/// The await of `pipe_end::write`.
class [[nodiscard]] file_write_op : public socket_awaitable<file_write_op, std::size_t> {
  public:
    file_write_op(socket_state& of, bytes from) noexcept;
    void submit(loop& home, op& request) noexcept {
        io::write(home, request, begin(request), from_, use_.target->kind);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "write"; }

  private:
    bytes from_;
};

}  // namespace detail

/// One end of a pipe, or another file that can be waited for, owned on a loop. Move-only; closes
/// itself.
///
/// Closing or destroying it cancels what is under way on it; those awaits end with
/// `errc::cancelled`, and the descriptor is closed after the last of them.
///
/// Lifetime  as `socket`.
/// Threads   the loop's thread.
/// Cost      every operation is one submission entry and no allocation.
class pipe_end : public detail::owned_descriptor {
  public:
    /// Refers to nothing.
    pipe_end() noexcept = default;

    /// Takes ownership of a descriptor made elsewhere.
    static pipe_end adopt(loop& home, int fd);

    /// Reads at least one byte into `into`, waiting if there is none.
    ///
    /// Result    bytes read, 1..into.size(); 0 only when the last writer is gone.
    /// Errors    as read(2).
    /// Cancel    bytes that were read are returned, never dropped; then the next await ends.
    /// Lifetime  `into` must live until the await resumes.
    detail::file_read_op read_into(mut_bytes into) noexcept { return {live(), into}; }
    /// Writes some of `from`, at least one byte, waiting if there is no room.
    ///
    /// Result    bytes taken, 1..from.size().
    /// Errors    broken_pipe when no reader is left, and others as write(2). Never SIGPIPE.
    /// Cancel    the count of bytes that went out is returned, never dropped.
    /// Lifetime  `from` must live and stay as it is until the await resumes.
    detail::file_write_op write(bytes from) noexcept { return {live(), from}; }
    /// Writes all of `from`, or fails; after a failure the amount written is unknown.
    ///
    /// Lifetime  `from` and this end must live until the await resumes.
    task<> write_all(bytes from);

    /// What it is an end of.
    io::file_kind kind() const noexcept { return live().kind; }

  private:
    using owned_descriptor::owned_descriptor;
    friend result<struct pipe_ends> pipe(loop& home);
};

/// Both ends of a pipe: what is written to the one is read from the other.
struct pipe_ends {
    pipe_end reader;
    pipe_end writer;
};

/// Makes a pipe. Its descriptors are close-on-exec. pipe2(2)
///
/// Errors  as pipe2(2): no descriptor is left.
result<pipe_ends> pipe(loop& home);

}  // namespace ouro
