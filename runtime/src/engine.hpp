// What stands behind the door: the one interface between a loop and whatever plays the kernel.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <ouro/runtime/io.hpp>
#include <ouro/runtime/loop.hpp>

#include "slice_accounts.hpp"

namespace ouro::uring {
class bell;
}

namespace ouro::detail {

class mailbox;
class ready_queue;

/// One completion, copied out of the engine's queue so that nothing runs while that is being
/// walked.
struct completion {
    op* target;
    std::byte* data;  // flags has `lent`: the bytes, until `release`
    std::int32_t res;
    std::uint32_t lease;       // the engine's name for the lent buffer
    std::uint16_t flags;       // op_flags
    std::uint16_t generation;  // of the op, when it was started
};

/// `op::engine_state` of an op whose terminal completion is queued: a cancel comes too late.
inline constexpr std::uint8_t completion_queued = 0x40;

template <class T>
[[gnu::noinline]] bool grows(std::vector<T>& list) noexcept {
    try {
        list.reserve(list.capacity() < 32 ? 64 : 2 * list.capacity());
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}
/// Whether one more fits into `list`, which grows for it if it can.
template <class T>
bool has_room(std::vector<T>& list) noexcept {
    return list.size() < list.capacity() || grows(list);
}

/// What could not be done for a new process.
enum class spawn_step : std::uint8_t { start, session, directory, descriptor, execute };
struct spawn_failure {
    spawn_step at = spawn_step::start;
    int descriptor = -1;  // which one
};

/// What a loop has seen without asking the kernel.
struct sight {
    struct span {
        clock::time_point soon;
        clock::time_point end;
    };
    enum kind : std::uint8_t {
        nothing,
        mail,
        completion,  ///< or a reason to `poll` for one
    };
    kind what = nothing;
    bool soon = false;  ///< about, it was not worth a look at the clock
};

/// Operations as in `io.hpp`; every started op gets its completions through `poll`, the last one
/// without `more`.
class engine {
  public:
    virtual ~engine() = default;

    virtual void recv(op&, int fd, std::span<std::byte> into) noexcept = 0;
    virtual void recv_ring(op&, int fd) noexcept = 0;
    virtual void send(op&, int fd, std::span<const std::byte> from, io::send_mode) noexcept = 0;
    virtual void send_pieces(op&, int fd, std::span<const iovec> pieces) noexcept = 0;
    virtual void accept(op&, int fd) noexcept = 0;
    virtual void accept_many(op&, int fd) noexcept = 0;
    virtual void connect(op&, int fd, const sockaddr* peer, socklen_t length) noexcept = 0;
    virtual void read(op&, int fd, std::span<std::byte> into, io::file_kind) noexcept = 0;
    virtual void poll_fd(op&, int fd, std::uint32_t events) noexcept = 0;
    virtual void send_message(op&, int fd, const msghdr& message) noexcept = 0;
    virtual void recv_message(op&, int fd, msghdr& into, int flags) noexcept = 0;
    virtual void recv_datagrams(op&, int fd) noexcept = 0;
    virtual void fetch(op&, const io::carrier& into, int file, std::uint64_t offset,
                       std::size_t count) noexcept = 0;
    virtual void read_at(op&, int file, std::uint64_t offset,
                         std::span<std::byte> into) noexcept = 0;
    virtual void read_ring(op&, int fd, io::file_kind) noexcept = 0;
    virtual void write(op&, int fd, std::span<const std::byte> from, io::file_kind) noexcept = 0;
    /// False: this engine leaves names to `getaddrinfo` on a thread.
    virtual bool resolve(io::resolve_op&) noexcept { return false; }
    /// True: this engine plays threads. It completes the job when its turn has come, and the job
    /// runs then, where it is awaited.
    virtual bool offload(io::job_op&) noexcept { return false; }
    virtual void cancel(op&) noexcept = 0;

    /// Hands over what was started, waits until `deadline` for a first completion
    /// (`time_point::min()`: not at all), and appends all that there are.
    virtual void poll(clock::time_point deadline, std::vector<completion>& out) noexcept = 0;
    /// Looks, without a system call, until something is in `box` or there is a reason to `poll`, at
    /// most until `when.end`.
    virtual sight look_out(const mailbox& /*box*/, const sight::span& /*when*/) noexcept {
        return {};
    }
    /// False: this engine learns of completions in `poll` only.
    virtual bool can_look_out() const noexcept { return false; }
    /// Hands over what was started.
    virtual void submit() noexcept = 0;
    /// Takes back the buffer lent with `done`.
    virtual void release(const completion& done) noexcept = 0;
    /// Keeps the lent slice around `data` beyond its `release`. `no_slice`: leases hold as much as
    /// they may.
    virtual slice_name keep(const std::byte* data) noexcept = 0;
    /// One more keeps the slice.
    virtual void keep_again(slice_name slice) noexcept = 0;
    /// One less does.
    virtual void let_go(slice_name slice) noexcept = 0;
    /// What the kept slices lie in, for when they live longer than the engine.
    virtual std::shared_ptr<void> kept_memory() const noexcept = 0;
    /// Ends a `poll` that waits, or the next one. From any thread; `near` is the engine of the loop
    /// that runs in it, if it may carry the wake-up. True when that is done, false when `near`
    /// does it at the end of its turn.
    virtual bool wake(engine* near) noexcept = 0;
    /// Takes a wake-up for another loop along with what is handed over next; false: it cannot.
    virtual bool carry(const std::shared_ptr<uring::bell>&) noexcept { return false; }
    /// Asks every op to end.
    virtual void cancel_all() noexcept = 0;
    /// Makes the calling thread the one that may enter the engine. Idempotent.
    virtual result<> adopt_thread() noexcept { return {}; }
    /// True on a thread from which the engine cannot be entered, because another one has entered
    /// it.
    virtual bool foreign_thread() const noexcept = 0;
    /// True in a forked child, where the engine must not be touched.
    virtual bool foreign_process() const noexcept = 0;
    virtual void add_statistics(loop_statistics& into) const noexcept = 0;
    virtual std::size_t lent_buffers() const noexcept = 0;
    virtual std::string report() const = 0;

    // The synchronous part of the door. The operating system's own calls, unless an engine plays
    // that too.
    virtual clock::time_point now() const noexcept { return clock::now(); }
    /// The same to a few milliseconds, and cheaper.
    virtual clock::time_point coarse_now() const noexcept { return now(); }
    virtual void random(std::span<std::byte> into) noexcept;
    virtual int open_socket(int family, int type, int protocol) noexcept;
    virtual int open_pair(int family, int type, int (&fds)[2]) noexcept;
    virtual int bind(int fd, const sockaddr* where, socklen_t length) noexcept;
    virtual int listen(int fd, int backlog_count) noexcept;
    virtual std::int64_t try_send(int fd, std::span<const std::byte> from) noexcept;
    virtual int try_send_messages(int fd, std::span<mmsghdr> messages) noexcept;
    virtual int shutdown(int fd, int how) noexcept;
    virtual int get_option(int fd, int level, int name, int& value) noexcept;
    virtual int set_option(int fd, int level, int name, std::span<const std::byte> value) noexcept;
    virtual int local_name(int fd, io::resolved& into) noexcept;
    virtual int peer_name(int fd, io::resolved& into) noexcept;
    virtual void close(int fd) noexcept;
    virtual int watch_signals(int fd, std::uint64_t mask) noexcept;
    virtual int take_signal(int fd) noexcept;
    virtual bool signal_is_untouched(int signum) noexcept;
    virtual int identify_file(const char* path, io::file_identity& into) noexcept;
    virtual int remove_file(const char* path) noexcept;
    virtual int set_file_mode(const char* path, std::uint32_t mode) noexcept;
    virtual int peer_credentials(int fd, io::credentials& into) noexcept;
    virtual int set_close_on_exec(int fd) noexcept;
    virtual int spawn(const io::spawn_request& what, io::child& made,
                      spawn_failure& failure) noexcept;
    /// 0 and how it ended.
    virtual int collect_child(const io::child& whom, int& code) noexcept;
    virtual int signal_child(const io::child& whom, int signum, io::signal_reach reach) noexcept;
    virtual std::int64_t try_write(int fd, std::span<const std::byte> from) noexcept;
    virtual int make_pipe(int (&fds)[2]) noexcept;
    virtual int duplicate(int fd) noexcept;
    virtual int kind_of(int fd, io::file_kind& into) noexcept;
    virtual void ignore_broken_pipes() noexcept;
    virtual int open_carrier(io::carrier& into, std::size_t wanted_bytes) noexcept;
    virtual void close_carrier(const io::carrier& used) noexcept;
    virtual std::int64_t try_fetch(const io::carrier& into, int fd, std::size_t count) noexcept;
    virtual std::int64_t try_forward(const io::carrier& from, int fd, std::size_t count) noexcept;
    virtual std::int64_t take(const io::carrier& from, std::span<std::byte> into) noexcept;
    virtual int set_position(int file, std::uint64_t offset) noexcept;
};

/// What a test puts between a loop and the kernel, and is told of it. `loop_options::rig`.
class rig {
  public:
    /// The engine for `home`, which is being constructed.
    virtual std::unique_ptr<engine> make_engine(loop& home, const loop_options& options) = 0;
    /// A turn begins. What is ready in it may be put into another order.
    virtual void turn_begins(loop&, ready_queue&) noexcept {}
    /// The task has run until its next await, and waits there now.
    virtual void suspended(task_core&) noexcept {}

  protected:
    ~rig() = default;
};

/// Makes the engine that `options` ask for. Throws `std::system_error` with cause and remedy.
std::unique_ptr<engine> make_engine(loop& home, const loop_options& options);

}  // namespace ouro::detail

namespace ouro::uring {
std::unique_ptr<detail::engine> make(const loop_options& options);
}
