// Raw sockets you await: connect, accept, receive, send; no buffering.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/runtime/intrusive.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

/// Bytes to read.
using bytes = std::span<const std::byte>;
/// Bytes to fill.
using mut_bytes = std::span<std::byte>;

/// The bytes of a text.
inline bytes as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
/// Bytes seen as a text.
inline std::string_view as_text(bytes data) noexcept {
    return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// Process, user and group at the other end of a unix socket.
using peer_credentials = io::credentials;

class socket;
struct received_with_fds;

/// A datagram that `socket::recv_from` placed in the caller's memory.
struct datagram {
    std::size_t count = 0;        ///< bytes placed there
    std::size_t whole_bytes = 0;  ///< its length on the way: more than `count` when it was cut
    address from{};               ///< the sender, empty for an unnamed unix peer
};
struct sendfile_options;

namespace detail {

/// A name the door gave, as an address.
result<address> to_address(result<io::resolved> name);

/// Whether `fd`, which has not sent its own end and is told of its peer's, met a reset instead, so
/// that input may be missing. The error of a reset goes to whoever asks first, and is dropped when
/// that is a send that had got rid of a part; but a socket that was reset has no peer any more. To
/// one that came after the peer's end the kernel says EPIPE: then no input is missing.
bool was_reset(loop& home, int fd);

/// A descriptor and the operations under way on it; closed when the socket is gone and the last of
/// them has ended, because close(2) alone would neither end them nor tell the peer.
struct socket_state {
    struct use : list_link {
        explicit use(socket_state& of) noexcept : target(&of) { ++of.references; }
        ~use() {
            unlink();
            target->drop();
        }
        use(const use&) = delete;
        use& operator=(const use&) = delete;
        socket_state* target;
        op* under_way = nullptr;
    };

    loop* home;
    int fd = -1;
    io::file_kind kind = io::file_kind::socket;
    list<use> uses{};         // operations under way
    unsigned references = 1;  // the socket and the operations
    bool closed = false;      // the socket has let go of it

    void begin(use& with, op& request) noexcept {
        if (with.under_way) return;  // it is started again
        with.under_way = &request;
        uses.push_back(with);
    }
    void cancel_uses() noexcept;
    void drop() noexcept;
};

/// What a socket is, and an end of a pipe: an owned descriptor on a loop. Move-only.
class owned_descriptor {
  public:
    /// Cancels what is under way, then closes. Idempotent.
    void close() noexcept;
    /// Gives the descriptor to the caller. Nothing may be under way.
    int release() noexcept;
    /// The descriptor, -1 when closed.
    int fd() const noexcept { return state_ ? state_->fd : -1; }
    /// True until closed.
    explicit operator bool() const noexcept { return state_ != nullptr; }
    /// The loop it works on.
    loop& home() const noexcept { return *live().home; }

  protected:
    owned_descriptor() noexcept = default;
    /// Has no descriptor yet: there is none to lose when there is no memory for the state.
    explicit owned_descriptor(loop& home) : state_(new socket_state{.home = &home}) {}
    /// Takes ownership of `fd`, which is closed when there is no memory for that.
    owned_descriptor(loop& home, int fd);
    owned_descriptor(owned_descriptor&& other) noexcept
        : state_(std::exchange(other.state_, nullptr)) {}
    owned_descriptor& operator=(owned_descriptor&& other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~owned_descriptor() { close(); }
    friend struct socket_access;
    socket_state& live() const noexcept {
        OURO_ASSERT(state_, "a closed socket or pipe was used");
        return *state_;
    }
    socket_state* state_ = nullptr;
};

/// "fd 7, peer 10.0.0.1:80", for reports; without the peer if it has no name.
std::string describe_socket(int fd, const address& peer);

template <class Derived, class Value>
class [[nodiscard]] socket_awaitable : public op_awaitable<Derived, Value> {
  public:
    /// The `describe` of its kind.
    static std::string describe(const wait_point& wait) {
        const socket_state& of = *static_cast<const socket_awaitable&>(wait).use_.target;
        return describe_socket(of.fd,
                               to_address(io::peer_name(*of.home, of.fd)).value_or(address()));
    }
    bool starts_again() const noexcept { return !use_.target->closed; }

  protected:
    socket_awaitable(socket_state& of, const wait_kind& kind) noexcept
        : op_awaitable<Derived, Value>(*of.home, kind), use_(of) {}
    int begin(op& request) noexcept {
        use_.target->begin(use_, request);
        return use_.target->fd;
    }
    socket_state::use use_;
};

extern const wait_kind recv_kind;
extern const wait_kind send_kind;
extern const wait_kind accept_kind;
extern const wait_kind connect_kind;
extern const wait_kind recv_from_kind;
extern const wait_kind send_to_kind;

/// The await of `socket::recv_into`.
class [[nodiscard]] recv_op : public socket_awaitable<recv_op, std::size_t> {
  public:
    recv_op(socket_state& of, mut_bytes into) noexcept
        : socket_awaitable(of, recv_kind), into_(into) {
        OURO_ASSERT(!into.empty(), "receive into an empty buffer would look like end of stream");
    }
    void submit(loop& home, op& request) noexcept {
        io::recv(home, request, begin(request), into_);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "receive"; }

  private:
    friend op_awaitable<recv_op, std::size_t>;
    mut_bytes into_;
};

/// A message of one piece, with an address, inside an awaiting frame.
struct message_of_one {
    message_of_one(bytes data, const address& with) noexcept;
    message_of_one(const message_of_one&) = delete;
    message_of_one& operator=(const message_of_one&) = delete;
    msghdr header{};
    iovec piece;
    address peer;
};

/// The await of `socket::recv_from`.
class [[nodiscard]] recv_from_op : public socket_awaitable<recv_from_op, datagram> {
  public:
    recv_from_op(socket_state& of, mut_bytes into) noexcept;
    void submit(loop& home, op& request) noexcept;
    datagram value() const noexcept;
    std::string doing() const { return "receive"; }

  private:
    message_of_one message_;
};

/// The await of `socket::send_to`.
class [[nodiscard]] send_to_op : public socket_awaitable<send_to_op, std::size_t> {
  public:
    send_to_op(socket_state& of, bytes from, const address& to) noexcept
        : socket_awaitable(of, send_to_kind), message_(from, to) {}
    void submit(loop& home, op& request) noexcept {
        io::send_message(home, request, begin(request), message_.header);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "send to " + message_.peer.to_string(); }
    static std::string describe(const wait_point& wait);

  private:
    message_of_one message_;
};

/// The await of `socket::send`.
class [[nodiscard]] send_op : public socket_awaitable<send_op, std::size_t> {
  public:
    send_op(socket_state& of, bytes from) noexcept : socket_awaitable(of, send_kind), from_(from) {}
    void submit(loop& home, op& request) noexcept {
        io::send(home, request, begin(request), from_, io::send_mode::all);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "send"; }

  private:
    bytes from_;
};

/// The await of `socket::connect`.
class [[nodiscard]] connect_op : public socket_awaitable<connect_op, void> {
  public:
    connect_op(socket_state& of, const address& peer) noexcept
        : socket_awaitable(of, connect_kind), peer_(peer) {}
    void submit(loop& home, op& request) noexcept {
        io::connect(home, request, begin(request), peer_.raw(), peer_.length());
    }
    void value() const noexcept {}
    std::string doing() const { return "connect " + peer_.to_string(); }
    static std::string describe(const wait_point& wait);

  private:
    address peer_;
};

/// The await of `socket::accept`.
class [[nodiscard]] accept_op : public socket_awaitable<accept_op, socket> {
  public:
    explicit accept_op(socket_state& of) noexcept : socket_awaitable(of, accept_kind) {}
    ~accept_op();
    void submit(loop& home, op& request) noexcept { io::accept(home, request, begin(request)); }
    socket value();
    std::string doing() const { return "accept"; }
    static std::string describe(const wait_point& wait);

  private:
    bool claimed_ = false;
};

}  // namespace detail

/// An owned socket on a loop, to be pulled from. Move-only; closes itself.
///
/// Operations may overlap as far as the kernel allows: one receive and one send at a time make
/// sense. Closing or destroying a socket cancels what is under way on it; those awaits end with
/// `errc::cancelled`, and the descriptor is closed after the last of them (rules 675, 742).
///
/// Lifetime  closed or gone before its loop is destroyed: closing is the loop's work.
/// Threads   the loop's thread.
/// Cost      every operation is one submission entry and no allocation.
class socket : public detail::owned_descriptor {
  public:
    /// Refers to nothing.
    socket() noexcept = default;

    /// A new socket. `family` as in socket(2); stream sockets by default.
    static result<socket> open(loop& home, int family, int type = SOCK_STREAM, int protocol = 0);
    /// Takes ownership of a descriptor made elsewhere.
    static socket adopt(loop& home, int fd);
    /// A connected pair of unix sockets. socketpair(2)
    static result<std::pair<socket, socket>> pair(loop& home, int type = SOCK_STREAM);

    /// Receives at least one byte into `into`, waiting if none has arrived.
    ///
    /// Result    bytes received, 1..into.size(); 0 only at end of stream.
    /// Errors    connection_reset and others as recv(2).
    /// Cancel    bytes that already arrived are returned, never dropped; then the next await is
    ///           cancelled.
    /// Lifetime  `into` must live until the await resumes.
    detail::recv_op recv_into(mut_bytes into) noexcept { return {live(), into}; }
    /// Receives up to `most` bytes into memory of its own; empty at end of stream (rule 664).
    task<std::vector<std::byte>> recv(std::size_t most);
    /// Sends from `from`: all of it, or what was taken before an error.
    ///
    /// Result    bytes taken, 1..from.size().
    /// Cancel    the count of bytes that went out is returned, never dropped.
    /// Lifetime  `from` must live and stay as it is until the await resumes.
    detail::send_op send(bytes from) noexcept { return {live(), from}; }
    /// Sends all of `from`, or fails; after a failure the amount sent is unknown (rule 665).
    task<> send_all(bytes from);
    /// Sends from `from`, and with its first byte the descriptors `fds`, which the peer gets as its
    /// own; the caller keeps its. Unix sockets only. `net/descriptor.hpp`
    ///
    /// Result    bytes taken, 1..from.size(). What is left goes by `send_all`, without descriptors.
    /// Errors    `errc::value_error` without a byte to send; `errc::unsupported` on other sockets;
    ///           bad_file_descriptor and others as sendmsg(2).
    /// Cancel    as `send`.
    /// Lifetime  `from` and `fds` must live and stay as they are until the await resumes.
    task<std::size_t> send_with_fds(bytes from, std::span<const int> fds);
    /// Receives as `recv_into`, and up to `most_fds` descriptors that came with these bytes. It
    /// ends with the bytes of one `send_with_fds`. Any other receive drops descriptors.
    ///
    /// Errors    `errc::unsupported` on other sockets; as `recv_into`.
    /// Cancel    as `recv_into`; nothing that was received is lost or left open.
    /// Lifetime  `into` must live until the await resumes.
    task<received_with_fds> recv_with_fds(mut_bytes into, std::size_t most_fds = 16);
    /// Receives one datagram, which may be empty, and who sent it (rule 676).
    ///
    /// Result    what was placed at the start of `into`; the rest of a longer one is gone.
    /// Errors    connection_refused and others as recv(2).
    /// Cancel    a datagram that had arrived is returned, never dropped.
    /// Lifetime  `into` must live until the await resumes.
    detail::recv_from_op recv_from(mut_bytes into) noexcept { return {live(), into}; }
    /// The same of at most `most` bytes, in memory of its own.
    task<std::pair<std::vector<std::byte>, address>> recv_from(std::size_t most);
    /// Sends `from` as one datagram to `to`, whole or not at all.
    ///
    /// Result    the bytes sent.
    /// Errors    message_size, network_unreachable and others as send(2).
    /// Cancel    a datagram that went out is counted.
    /// Lifetime  `from` must live and stay as it is until the await resumes.
    detail::send_to_op send_to(bytes from, const address& to) noexcept {
        return {live(), from, to};
    }
    /// Sends from the open file `file`, without copying where the kernel can carry the bytes.
    /// Include `<ouro/net/send_file.hpp>` to call it.
    ///
    /// Result    how many bytes were sent; the position of the file is then behind them, however it
    ///           ends (rule 648).
    /// Errors    `errc::value_error` on a socket that is no stream, or for a count of 0;
    ///           `errc::unsupported` where the bytes would have to be copied and `fallback` is off.
    /// Cancel    stops it; what was sent is sent.
    /// Lifetime  `file` stays open until the end.
    /// Cost      a pipe for the time of the transfer, and one operation for each 256 KiB.
    task<std::uint64_t> send_file(int file, sendfile_options how);
    /// Connects to `peer`. A cancelled or failed connect leaves the socket fit for closing only.
    detail::connect_op connect(const address& peer) noexcept { return {live(), peer}; }
    /// Connects to the first address of `host` that has the socket's family (rule 666). A numeric
    /// host is used as it is, a name is looked up off the loop's thread.
    ///
    /// Errors  those of `resolve`, and of `connect`, which name the address.
    /// Cancel  the look-up or the connect is given up; `close` does that as well.
    task<> connect(std::string host, std::uint16_t port);
    /// Waits for a connection on a listening socket. A cancelled accept takes no connection (rule
    /// 670).
    detail::accept_op accept() noexcept { return detail::accept_op(live()); }

    /// Binds to `where`. bind(2)
    result<> bind(const address& where);
    /// Starts to listen. listen(2)
    result<> listen(int backlog_count = 100);
    /// Half-closes: the peer reads to the end of what was sent, then end of stream. shutdown(2)
    result<> shutdown_write();
    /// Sets an integer option. setsockopt(2)
    result<> set_option(int level, int name, int value);
    /// Sets an option that is a structure, such as SO_LINGER. setsockopt(2)
    result<> set_option(int level, int name, bytes value);
    /// Reads an integer option. getsockopt(2)
    result<int> get_option(int level, int name) const;
    /// The own address.
    result<address> local_address() const;
    /// The peer's address.
    result<address> peer_address() const;

    /// Who is at the other end of a unix socket, as of when it connected. SO_PEERCRED
    ///
    /// Errors  not connected; where it is no unix socket.
    result<peer_credentials> credentials() const;

  private:
    using owned_descriptor::owned_descriptor;
};

}  // namespace ouro
