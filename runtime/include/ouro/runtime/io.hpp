// The door: everything that touches the kernel on behalf of a loop, one free function for each
// operation, in plain types.
//
// Asynchronous operations take an `op` and follow its contract (`op.hpp`). They never fail at the
// call: what goes wrong arrives as the completion. Which engine stands behind the door is chosen
// when the loop is made.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ouro/runtime/op.hpp>
#include <ouro/runtime/result.hpp>

struct iovec;

namespace ouro {

class loop;

namespace io {

/// How a send may complete.
enum class send_mode : std::uint8_t {
    /// Completes when every byte was taken, or with what was taken before an error or a cancel.
    all,
    /// Completes at once with what the socket takes now, which is learnt at the loop's next
    /// wake-up and not before: the cheapest send, for when nobody waits for its end.
    fast,
};

/// Receives into `into`. Completes with the bytes placed there, 0 at end of stream. recv(2)
void recv(loop& home, op& request, int fd, std::span<std::byte> into) noexcept;
/// Receives again and again into the loop's shared ring: each completion lends `op::data` for the
/// time of `op::complete`. Ends without `op_flags::more` at end of stream, on error, on cancel, or
/// when the engine must be armed again; an exhausted ring is waited for inside the engine. recv(2),
/// rule 736
void recv_ring(loop& home, op& request, int fd) noexcept;
/// Sends `from`, which must stay as it is until the completion. Never raises SIGPIPE. send(2)
void send(loop& home, op& request, int fd, std::span<const std::byte> from,
          send_mode mode) noexcept;
/// Sends the pieces in order, as much as the socket takes at once or more. `pieces` is read during
/// the call, the memory behind it until the completion. sendmsg(2)
void send_pieces(loop& home, op& request, int fd, std::span<const iovec> pieces) noexcept;
/// Accepts one connection; completes with its descriptor (close-on-exec). accept4(2)
void accept(loop& home, op& request, int fd) noexcept;
/// Accepts connection after connection; one completion for each. accept4(2)
void accept_many(loop& home, op& request, int fd) noexcept;
/// Connects. `peer` must live until the completion. connect(2)
void connect(loop& home, op& request, int fd, const sockaddr* peer, socklen_t length) noexcept;
/// Reads from a file, pipe or eventfd. read(2)
void read(loop& home, op& request, int fd, std::span<std::byte> into) noexcept;
/// Waits until one of the poll(2) `events` holds, or an error, a hang-up or the peer's half-close
/// (POLLERR, POLLHUP, POLLRDHUP, which are always watched); completes with those that do.
void poll(loop& home, op& request, int fd, std::uint32_t events) noexcept;
/// Asks `request` to end early. Its completion follows in any case, and says what happened.
/// Harmless on an op that is not in flight.
void cancel(loop& home, op& request) noexcept;

/// A resolved name: one socket address of each answer, in resolver order.
struct resolved {
    sockaddr_storage storage{};
    socklen_t length = 0;
};
/// A name look-up that runs off the loop's thread.
struct resolve_op : op {
    using op::op;
    std::string host;
    std::string service;
    int family = 0;
    int flags = 0;
    std::vector<resolved> answers;  ///< valid when `res` is 0
    int gai_code = 0;               ///< getaddrinfo's own error code when `res` is negative
    void* engine_job = nullptr;     ///< the engine's own
};
/// Resolves `request.host` and `request.service`. A cancel frees the waiter at once. getaddrinfo(3)
void resolve(loop& home, resolve_op& request) noexcept;

struct job_op;
/// Runs `request.work` on a thread of its pool, and completes with 0 when it has returned. A cancel
/// takes back a job that no thread has begun, and waits for one that has. EAGAIN: there is no
/// thread to be had; ESHUTDOWN: the pool takes no more jobs. An engine that plays threads completes
/// it unworked when its turn has come; whoever waits runs it then.
void offload(loop& home, job_op& request) noexcept;

/// Carries bytes from a file to a socket without copying them: a pipe of the kernel's.
struct carrier {
    int in = -1;
    int out = -1;
    std::size_t capacity = 0;  ///< how much one `fetch` can get, in bytes
};
/// Takes up to `count` bytes of `file`, from `offset` on, into an empty carrier; completes with how
/// many they are, 0 at the end of the file. EINVAL, ESPIPE: it cannot be carried. The loop's
/// thread never waits for a disk. splice(2)
void fetch(loop& home, op& request, const carrier& into, int file, std::uint64_t offset,
           std::size_t count) noexcept;
/// Reads from `offset` on, or what is next in a file without offsets; completes with how many bytes
/// it placed, 0 at the end of the file. pread(2)
void read_at(loop& home, op& request, int file, std::uint64_t offset,
             std::span<std::byte> into) noexcept;

/// Makes a carrier, counted. From then on SIGPIPE is ignored, unless the program does something
/// else with it: no flag keeps the kernel from raising it here. pipe2(2)
[[nodiscard]] result<carrier> open_carrier(loop& home);
/// Closes it, with what is in it.
void close_carrier(loop& home, carrier& used) noexcept;
/// Hands the socket what it takes of the first `count` bytes in the carrier without waiting: how
/// many it took, or EAGAIN as an error. splice(2)
[[nodiscard]] result<std::size_t> try_forward(loop& home, const carrier& from, int fd,
                                              std::size_t count);
/// Takes the first bytes out of a carrier that is not empty. read(2)
[[nodiscard]] result<std::size_t> take(loop& home, const carrier& from, std::span<std::byte> into);
/// Sets where the next read of a file begins. lseek(2)
[[nodiscard]] result<> set_position(loop& home, int file, std::uint64_t offset);

/// Makes a socket: close-on-exec, counted. socket(2)
[[nodiscard]] result<int> socket(loop& home, int family, int type, int protocol);
/// Makes a connected pair: close-on-exec, counted. socketpair(2)
[[nodiscard]] result<> socket_pair(loop& home, int family, int type, int (&fds)[2]);
/// Binds. bind(2)
[[nodiscard]] result<> bind(loop& home, int fd, const sockaddr* where, socklen_t length);
/// Starts to listen. listen(2)
[[nodiscard]] result<> listen(loop& home, int fd, int backlog_count);
/// Sends what the socket takes without waiting: the bytes taken, or EAGAIN as an error. send(2)
[[nodiscard]] result<std::size_t> try_send(loop& home, int fd, std::span<const std::byte> from);
/// Shuts one direction or both down: SHUT_RD, SHUT_WR, SHUT_RDWR. shutdown(2)
[[nodiscard]] result<> shutdown(loop& home, int fd, int how);
/// Reads an integer option. getsockopt(2)
[[nodiscard]] result<int> get_option(loop& home, int fd, int level, int name);
/// Sets an option, which most often is an int. setsockopt(2)
[[nodiscard]] result<> set_option(loop& home, int fd, int level, int name,
                                  std::span<const std::byte> value);
/// Sets an option that is an int. setsockopt(2)
[[nodiscard]] inline result<> set_option(loop& home, int fd, int level, int name, int value) {
    return set_option(home, fd, level, name, std::as_bytes(std::span(&value, 1)));
}
/// The socket's own address. getsockname(2)
[[nodiscard]] result<resolved> local_name(loop& home, int fd);
/// The peer's address. getpeername(2)
[[nodiscard]] result<resolved> peer_name(loop& home, int fd);
/// Catches exactly the signals of `mask` (bit n - 1 for signal n): they do not act on the process
/// any more, but make the descriptor that is returned readable. `fd`: what an earlier call
/// returned, or -1. An empty mask gives all signals back and leaves `fd` to be closed. One loop of
/// a process at a time can have signals; others get EBUSY. signalfd(2), sigaction(2)
[[nodiscard]] result<int> watch_signals(loop& home, int fd, std::uint64_t mask);
/// Takes the next signal that came, or 0 when there is none. read(2)
int take_signal(loop& home, int fd) noexcept;
/// True for a signal with its default action, on the main thread of the process.
bool signal_is_untouched(loop& home, int signum) noexcept;
/// Counts a descriptor made elsewhere (accepted, inherited) as the loop's.
void adopt(loop& home, int fd) noexcept;
/// Takes a descriptor out of the count without closing it.
void disown(loop& home, int fd) noexcept;
/// Closes a descriptor that was never counted.
void discard(loop& home, int fd) noexcept;
/// A number nobody can guess; in a simulation, one that follows from its seed. getrandom(2)
std::uint64_t random(loop& home) noexcept;
/// Closes. No operation may be in flight on `fd`. close(2)
void close(loop& home, int fd) noexcept;

}  // namespace io
}  // namespace ouro
