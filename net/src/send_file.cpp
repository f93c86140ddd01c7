// Files on their way out: carried through a pipe of the kernel's, or copied.
#include <ouro/net/send_file.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "socket_hold.hpp"

namespace ouro {
namespace detail {
namespace {

// What is copied at once where bytes are copied: decision 0016.
constexpr std::size_t copied_bytes = 256 * 1024;
// What is copied where a socket has no room: enough to learn when it has, and little beside what it
// then takes uncopied.
constexpr std::size_t waiting_bytes = 16 * 1024;

extern const wait_kind fetch_kind;
extern const wait_kind read_at_kind;

class [[nodiscard]] fetch_op : public op_awaitable<fetch_op, std::size_t> {
  public:
    fetch_op(loop& home, const io::carrier& into, int file, std::uint64_t offset, std::size_t count)
        : op_awaitable(home, fetch_kind),
          into_(into),
          file_(file),
          offset_(offset),
          count_(count) {}
    void submit(loop& home, op& request) noexcept {
        io::fetch(home, request, into_, file_, offset_, count_);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "read a file"; }

  private:
    const io::carrier& into_;
    int file_;
    std::uint64_t offset_;
    std::size_t count_;
};

class [[nodiscard]] read_at_op : public op_awaitable<read_at_op, std::size_t> {
  public:
    read_at_op(loop& home, int file, std::uint64_t offset, mut_bytes into)
        : op_awaitable(home, read_at_kind), file_(file), offset_(offset), into_(into) {}
    void submit(loop& home, op& request) noexcept {
        io::read_at(home, request, file_, offset_, into_);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "read a file"; }

  private:
    int file_;
    std::uint64_t offset_;
    mut_bytes into_;
};

const wait_kind fetch_kind{"read a file", &fetch_op::cancel_op};
const wait_kind read_at_kind{"read a file", &read_at_op::cancel_op};

/// How far it has come.
struct file_progress {
    loop& home;
    int file;
    sendfile_options how;
    std::uint64_t sent = 0;

    file_progress(loop& on, int of, sendfile_options what) : home(on), file(of), how(what) {}
    file_progress(const file_progress&) = delete;
    file_progress& operator=(const file_progress&) = delete;
    ~file_progress() {
        // A file without a position has none to set.
        (void)io::set_position(home, file, position());
    }
    std::uint64_t position() const noexcept { return how.offset + sent; }
    std::size_t next(std::size_t most) const noexcept {
        if (!how.count) return most;
        return static_cast<std::size_t>(std::min<std::uint64_t>(most, *how.count - sent));
    }
};

struct carrier_hold {
    loop& home;
    io::carrier held;
    carrier_hold(loop& on, io::carrier made) : home(on), held(made) {}
    carrier_hold(const carrier_hold&) = delete;
    carrier_hold& operator=(const carrier_hold&) = delete;
    ~carrier_hold() { io::close_carrier(home, held); }
};

/// The kernel cannot carry from this file, or to this socket.
bool cannot_carry(const error& why) {
    return why == std::errc::invalid_argument || why == std::errc::invalid_seek ||
           why == std::errc::function_not_supported || why == std::errc::operation_not_supported;
}

/// Hands `inside` bytes of the carrier over.
task<> forward_all(file_outlet& to, file_progress& on, const io::carrier& from, std::size_t inside,
                   std::vector<std::byte>& room) {
    while (inside != 0) {
        const auto taken = to.forward(from, inside);
        if (taken && *taken != 0) {
            inside -= *taken;
            on.sent += *taken;
            continue;
        }
        if (!taken && taken.error() != std::errc::resource_unavailable_try_again) {
            co_await result<>(taken.error());
        }
        room.resize(waiting_bytes);
        const mut_bytes part = mut_bytes(room).first(std::min(inside, room.size()));
        const std::size_t copied = co_await io::take(on.home, from, part);
        inside -= copied;
        co_await to.put(part.first(copied), on.sent);
    }
}

/// False: nothing was sent, because it cannot be done this way.
task<bool> carry(file_outlet& to, file_progress& on) {
    const auto opened = io::open_carrier(on.home);
    if (!opened) co_return false;
    const carrier_hold pipe(on.home, *opened);
    std::vector<std::byte> room;
    while (const std::size_t most = on.next(pipe.held.capacity)) {
        const auto got =
            co_await as_result(fetch_op(on.home, pipe.held, on.file, on.position(), most));
        if (!got && on.sent == 0 && cannot_carry(got.error())) co_return false;
        if (co_await result<std::size_t>(got) == 0) break;
        const auto went = co_await as_result(forward_all(to, on, pipe.held, *got, room));
        if (!went && on.sent == 0 && cannot_carry(went.error())) co_return false;
        if (!went) co_return went.error();
    }
    co_return true;
}

task<> copy(file_outlet& to, file_progress& on) {
    std::vector<std::byte> room(copied_bytes);
    while (const std::size_t most = on.next(room.size())) {
        const std::size_t got =
            co_await read_at_op(on.home, on.file, on.position(), mut_bytes(room).first(most));
        if (got == 0) break;
        co_await to.put(bytes(room).first(got), on.sent);
    }
}

}  // namespace

task<std::uint64_t> send_file_to(file_outlet& to, int file, sendfile_options how) {
    constexpr auto last = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (how.offset > last || (how.count && (*how.count == 0 || *how.count > last - how.offset))) {
        co_return error(errc::value_error, "sendfile: the offset or the count");
    }
    file_progress on(loop::current(), file, how);
    co_await to.ready();
    const bool carried = to.carries() && co_await carry(to, on);
    if (!carried) {
        if (!how.fallback) co_return error(errc::unsupported, "sendfile without a fallback");
        co_await copy(to, on);
    }
    co_return on.sent;
}

namespace {

/// A socket without a transport.
class socket_outlet final : public file_outlet {
  public:
    explicit socket_outlet(socket_hold on) : on_(std::move(on)) {}
    task<> ready() override { co_return; }
    bool carries() const noexcept override { return true; }
    result<std::size_t> forward(const io::carrier& from, std::size_t count) override {
        if (on_->closed) return error::cancelled(cancel_cause::none, "send a file");
        auto taken = io::try_forward(*on_->home, from, on_->fd, count);
        if (!taken) taken.error().while_doing("send");
        return taken;
    }
    task<> put(bytes piece, std::uint64_t& sent) override {
        while (!piece.empty()) {
            if (on_->closed) co_await result<>(error::cancelled(cancel_cause::none, "send a file"));
            const std::size_t taken = co_await send_op(*on_, piece);
            sent += taken;
            piece = piece.subspan(taken);
        }
    }
    const socket_state& state() const noexcept { return *on_; }

  private:
    socket_hold on_;
};

}  // namespace

task<std::uint64_t> send_file_on(socket_hold on, int file, sendfile_options how) {
    socket_outlet to(std::move(on));
    const auto type = io::get_option(*to.state().home, to.state().fd, SOL_SOCKET, SO_TYPE);
    if (co_await result<int>(type) != SOCK_STREAM) {
        co_return error(errc::value_error, "send a file on a socket that is not a stream socket");
    }
    co_return co_await send_file_to(to, file, how);
}

}  // namespace detail

task<std::uint64_t> socket::send_file(int file, sendfile_options how) {
    return detail::send_file_on(detail::socket_access::hold(*this), file, how);
}

}  // namespace ouro
