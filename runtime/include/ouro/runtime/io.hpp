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
struct mmsghdr;
struct msghdr;

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

/// What a descriptor refers to, as far as it matters to who waits for it.
enum class file_kind : std::uint8_t {
    regular,
    pipe,  ///< made by pipe(2): asked for what it does not have, the kernel need not wait
    fifo,  ///< has a name, or was opened by one: the kernel polls it first
    socket,
    terminal,  ///< may block whoever found it ready: left to a thread of the kernel's
    device,    ///< another character device
    other,     ///< a folder, a block device
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
/// Sends one message: what the socket takes of the pieces in `message`, with the address and the
/// control data in it. A datagram is sent whole or not at all. `message` and all that it names stay
/// as they are until the completion. Never raises SIGPIPE. sendmsg(2)
void send_message(loop& home, op& request, int fd, const msghdr& message) noexcept;
/// Receives into the pieces of `into`, which also takes the sender's address and the control data,
/// and says in `msg_flags` what was cut off. Completes with the bytes placed there; with MSG_TRUNC
/// in `flags`, which is for datagrams, with the whole length of the datagram. Descriptors that are
/// received are close-on-exec and not counted. `into` and all that it names belong to the kernel
/// until the completion. recvmsg(2)
void recv_message(loop& home, op& request, int fd, msghdr& into, int flags = 0) noexcept;
/// Receives datagram after datagram into buffers of the engine: each completion that is not
/// negative lends one for the time of `op::complete`, to be read with `datagram_of`. Ends without
/// `op_flags::more` on error, on cancel, after an empty datagram, or when the engine must be armed
/// again. ENOMEM: there is no memory for buffers; EOPNOTSUPP: an engine may have none. For
/// UDP: descriptors that come with a unix datagram are closed. recvmsg(2)
void recv_datagrams(loop& home, op& request, int fd) noexcept;
/// One datagram that was received, or several of one sender that were joined.
struct datagram_view {
    const sockaddr* name;  ///< the sender's, of `name_length` bytes; 0 when it has none
    socklen_t name_length;
    std::span<const std::byte> payload;  ///< what there was room for
    std::size_t whole_bytes;             ///< its length on the way
    /// Not 0 with UDP_GRO: several datagrams of this length, of which the last may be shorter.
    std::size_t segment_bytes;
    /// Not 0 with SO_RXQ_OVFL: how many the socket has had no room for before this one.
    std::uint32_t drop_count;
};
/// What a completion of `recv_datagrams` lends.
[[nodiscard]] datagram_view datagram_of(const op& done) noexcept;
/// What `recv_message` with MSG_TRUNC put into the first piece of `header`.
[[nodiscard]] datagram_view datagram_of(const msghdr& header, std::size_t whole_bytes) noexcept;
/// Accepts one connection; completes with its descriptor (close-on-exec). accept4(2)
void accept(loop& home, op& request, int fd) noexcept;
/// Accepts connection after connection; one completion for each. accept4(2)
void accept_many(loop& home, op& request, int fd) noexcept;
/// Connects. `peer` must live until the completion. connect(2)
void connect(loop& home, op& request, int fd, const sockaddr* peer, socklen_t length) noexcept;
/// Reads from a file, pipe or eventfd; `kind` is what `kind_of` says. read(2)
void read(loop& home, op& request, int fd, std::span<std::byte> into,
          file_kind kind = file_kind::pipe) noexcept;
/// Reads again and again into the loop's shared ring, as `recv_ring` does, from a pipe, terminal or
/// device. Files that cannot be waited for end without `op_flags::more` after each piece. read(2)
void read_ring(loop& home, op& request, int fd, file_kind kind = file_kind::pipe) noexcept;
/// Writes from `from`, which must stay as it is until the completion. Completes with the bytes that
/// were taken, which may be some of them. Raises SIGPIPE unless that is ignored. write(2)
void write(loop& home, op& request, int fd, std::span<const std::byte> from,
           file_kind kind = file_kind::pipe) noexcept;
/// Waits until one of the poll(2) `events` holds, or an error, a hang-up or the peer's half-close
/// (POLLERR, POLLHUP, POLLRDHUP); completes with those that do. Who waits for room alone (POLLOUT)
/// is not told of a half-close, but of room.
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

/// Carries bytes from a file or a socket to a socket without copying them: a pipe of the kernel's.
struct carrier {
    int in = -1;
    int out = -1;
    std::size_t capacity = 0;  ///< the most that is in it at a time, in bytes
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

/// Makes a carrier, counted, for `wanted_bytes` or more, or what the system allows, 1 MiB at most.
/// From then on SIGPIPE is ignored, unless the program does something else with it: no flag keeps
/// the kernel from raising it here. pipe2(2)
[[nodiscard]] result<carrier> open_carrier(loop& home, std::size_t wanted_bytes = 256 * 1024);
/// Closes it, with what is in it.
void close_carrier(loop& home, carrier& used) noexcept;
/// Takes up to `count` bytes that a stream socket has into an empty carrier without waiting: how
/// many, 0 at end of stream, or EAGAIN as an error. EINVAL: it cannot be carried. splice(2)
[[nodiscard]] result<std::size_t> try_fetch(loop& home, const carrier& into, int fd,
                                            std::size_t count);
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
/// Sends the messages in order, each whole, without waiting: how many the socket took, or the
/// failure of the first one, such as EAGAIN. sendmmsg(2)
[[nodiscard]] result<std::size_t> try_send_messages(loop& home, int fd,
                                                    std::span<mmsghdr> messages);
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
/// Writes what the file takes without waiting: the bytes taken, or EAGAIN as an error, which also
/// says that this file cannot be asked. pwritev2(2), RWF_NOWAIT
[[nodiscard]] result<std::size_t> try_write(loop& home, int fd, std::span<const std::byte> from);
/// Makes a pipe: close-on-exec, counted; bytes go from `fds[1]` to `fds[0]`. pipe2(2)
[[nodiscard]] result<> make_pipe(loop& home, int (&fds)[2]);
/// Another descriptor for what `fd` refers to: close-on-exec, counted. fcntl(2), F_DUPFD_CLOEXEC
[[nodiscard]] result<int> duplicate(loop& home, int fd);
/// What `fd` refers to. fstat(2)
[[nodiscard]] result<file_kind> kind_of(loop& home, int fd);
/// Sees to it that writing to a pipe without reader is an error and does not kill: SIGPIPE is
/// ignored from then on, unless the program does something else with it. sigaction(2)
void ignore_broken_pipes(loop& home) noexcept;
/// Closes. No operation may be in flight on `fd`. close(2)
void close(loop& home, int fd) noexcept;
/// Notes that `fd` is a transport's until it is closed: nobody else may watch it. Without memory
/// for the note nobody is kept from that.
void claim(loop& home, int fd) noexcept;
/// Whether a transport has claimed it.
bool is_claimed(loop& home, int fd) noexcept;

/// Which file a path names. lstat(2)
struct file_identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint32_t mode = 0;  ///< kind and permissions, as st_mode
    bool is_socket() const noexcept;
    /// True for the same file.
    friend bool operator==(const file_identity& left, const file_identity& right) noexcept {
        return left.device == right.device && left.inode == right.inode;
    }
};
/// What is at `path`, which ends with a zero byte; a symbolic link is not followed. lstat(2)
[[nodiscard]] result<file_identity> identify_file(loop& home, const char* path);
/// Removes the name of a file. unlink(2)
[[nodiscard]] result<> remove_file(loop& home, const char* path);
/// Sets the permission bits of a file. chmod(2)
[[nodiscard]] result<> set_file_mode(loop& home, const char* path, std::uint32_t mode);

/// Who is at the other end of a unix socket.
struct credentials {
    std::int32_t pid = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
};
/// Who connected, made the pair, or listens at the other end; fails with ENOTCONN where nobody is.
/// getsockopt(2) SO_PEERCRED
[[nodiscard]] result<credentials> peer_credentials(loop& home, int fd);
/// Keeps a descriptor from programs that this one starts. fcntl(2) FD_CLOEXEC
[[nodiscard]] result<> set_close_on_exec(loop& home, int fd);

/// A program to run and what its process is like. Read during the call only.
struct spawn_request {
    /// One descriptor of the new process; `ours` may be `null_device`.
    struct descriptor {
        int ours;
        int theirs;
    };
    /// Paths to try in this order: those that do not exist or must not be run are passed over.
    std::span<const char* const> paths{};
    const char* const* arguments = nullptr;    ///< as main gets them: ends with a null
    const char* const* environment = nullptr;  ///< likewise
    const char* directory = nullptr;           ///< where it starts; null: where we are
    /// All that it has, in ascending order of `theirs`. One of 0 to 2 that stays at its place may
    /// be closed here, and is then closed there.
    std::span<const descriptor> descriptors{};
    bool new_session = false;  ///< it leads a new session, and a new group
    bool new_group = false;    ///< it leads a new group
};
/// Stands for /dev/null in the place of a descriptor.
inline constexpr int null_device = -1;
/// A process of ours, from `spawn` until `collect_child` has told its end.
struct child {
    int pid = 0;
    int pidfd = -1;  ///< counted; close it with `io::close`
};
/// Whom a signal reaches: the child alone or all of the group that it leads.
enum class signal_reach : std::uint8_t { process, group };

/// Runs a program in a new process: no signal is blocked in it, and SIGPIPE acts by default. The
/// calling thread stands still until the program has begun. The text of an error names the program
/// and what failed. clone(2), execve(2)
[[nodiscard]] result<child> spawn(loop& home, const spawn_request& what);
/// Completes with 0 or more when the child has ended; `collect_child` says how. A cancel loses
/// nothing. poll(2) of a pidfd
void wait_child(loop& home, op& request, const child& whom) noexcept;
/// How a child has ended, once: its exit status, or minus the number of the signal that ended it.
/// EAGAIN: it runs. ECHILD: its end was collected elsewhere and cannot be told. waitid(2)
[[nodiscard]] result<int> collect_child(loop& home, const child& whom);
/// Sends a signal; never to another process that has the same number by now. ESRCH: it has ended
/// and was collected. pidfd_send_signal(2)
[[nodiscard]] result<> signal_child(loop& home, const child& whom, int signum, signal_reach reach);

}  // namespace io
}  // namespace ouro
