// The engine around another one: what the plan says happens to a call before it is handed on.
#include <ouro/testing/injection.hpp>

#include <netdb.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <unordered_map>
#include <utility>

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/thread_pool.hpp>

#include "engine.hpp"
#include "resolve.hpp"

namespace ouro::testing {
namespace {

using detail::completion;

// ---- what the calls are

struct call_facts {
    std::string_view name;
    std::span<const int> errors;
};

// recv(2), send(2), tcp(7), ip(7) and so on: what a program that is right can meet. ENOBUFS of the
// shared ring is met by the engine. EINTR: a worker of the kernel waited when the process was
// stopped. ECONNABORTED: an administrator ended it.
constexpr int recv_errors[] = {ECONNRESET,   ETIMEDOUT, EHOSTUNREACH, ENETDOWN,
                               ECONNABORTED, ENOMEM,    ENOBUFS};
constexpr int recv_ring_errors[] = {ECONNRESET, ETIMEDOUT,    EHOSTUNREACH,
                                    ENETDOWN,   ECONNABORTED, ENOMEM};
constexpr int send_errors[] = {EINTR,       ECONNRESET, EPIPE,   ETIMEDOUT, EHOSTUNREACH,
                               ENETUNREACH, ENETDOWN,   ENOBUFS, ENOMEM};
constexpr int try_send_errors[] = {EAGAIN,      ECONNRESET, EPIPE,   ETIMEDOUT, EHOSTUNREACH,
                                   ENETUNREACH, ENETDOWN,   ENOBUFS, ENOMEM};
constexpr int accept_errors[] = {ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPROTO, EPERM};
constexpr int connect_errors[] = {EINTR,         ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EHOSTUNREACH,
                                  EADDRNOTAVAIL, ECONNRESET,   EACCES,    EPERM,       EAGAIN};
constexpr int read_errors[] = {EIO, ENOMEM};
constexpr int poll_errors[] = {ENOMEM};
constexpr int send_message_errors[] = {EINTR,        ECONNREFUSED, ECONNRESET, EPIPE,
                                       EHOSTUNREACH, ENETUNREACH,  ENETDOWN,   EPERM,
                                       ENOBUFS,      ENOMEM,       EMSGSIZE};
constexpr int recv_message_errors[] = {ECONNREFUSED, ECONNRESET, EHOSTUNREACH,
                                       ENETDOWN,     ENOMEM,     ENOBUFS};
constexpr int recv_datagrams_errors[] = {ECONNREFUSED, EHOSTUNREACH, ENETDOWN, ENOMEM, EOPNOTSUPP};
constexpr int try_send_messages_errors[] = {EAGAIN,   ECONNREFUSED, EHOSTUNREACH, ENETUNREACH,
                                            ENETDOWN, EPERM,        ENOBUFS,      ENOMEM,
                                            EMSGSIZE, EINVAL};
constexpr int resolve_errors[] = {ENOENT, EAGAIN, ENOMEM, EAFNOSUPPORT};
constexpr int offload_errors[] = {EAGAIN, ENOMEM};
constexpr int socket_errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT};
constexpr int socket_pair_errors[] = {EMFILE, ENFILE, ENOMEM};
constexpr int bind_errors[] = {EADDRINUSE, EADDRNOTAVAIL, EACCES, ENOMEM};
constexpr int listen_errors[] = {EADDRINUSE};
constexpr int shutdown_errors[] = {ENOTCONN};
constexpr int get_option_errors[] = {ENOPROTOOPT, EINVAL, ENOBUFS};
constexpr int set_option_errors[] = {ENOPROTOOPT, EINVAL, EPERM, ENOMEM, ENOBUFS};
constexpr int local_name_errors[] = {ENOBUFS};
constexpr int peer_name_errors[] = {ENOTCONN, ENOBUFS};
constexpr int watch_signals_errors[] = {EMFILE, ENFILE, ENOMEM};
constexpr int identify_file_errors[] = {ENOENT, EACCES, ENOMEM};
constexpr int remove_file_errors[] = {ENOENT, EACCES, EROFS};
constexpr int set_file_mode_errors[] = {ENOENT, EPERM, EROFS};
constexpr int peer_credentials_errors[] = {ENOTCONN, ENOPROTOOPT};
constexpr int set_close_on_exec_errors[] = {EBADF};
constexpr int spawn_errors[] = {EAGAIN, ENOMEM, EMFILE, EACCES, ENOENT};
constexpr int write_errors[] = {EPIPE, EIO, ENOMEM};
constexpr int try_write_errors[] = {EAGAIN, EPIPE, EIO, ENOMEM};
constexpr int duplicate_errors[] = {EMFILE};
constexpr int make_pipe_errors[] = {EMFILE, ENFILE, ENOMEM};

constexpr int fetch_errors[] = {EIO, ENOMEM, EINVAL};
constexpr int read_at_errors[] = {EIO, ENOMEM};
constexpr int try_fetch_errors[] = {EAGAIN, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENOMEM, EINVAL};
constexpr int open_carrier_errors[] = {EMFILE, ENFILE, ENOMEM};

constexpr call_facts facts[] = {
    {"recv", recv_errors},
    {"recv_ring", recv_ring_errors},
    {"send", send_errors},
    {"send_pieces", send_errors},
    {"accept", accept_errors},
    {"accept_many", accept_errors},
    {"connect", connect_errors},
    {"read", read_errors},
    {"poll", poll_errors},
    {"send_message", send_message_errors},
    {"recv_message", recv_message_errors},
    {"recv_datagrams", recv_datagrams_errors},
    {"resolve", resolve_errors},
    {"offload", offload_errors},
    {"socket", socket_errors},
    {"socket_pair", socket_pair_errors},
    {"bind", bind_errors},
    {"listen", listen_errors},
    {"try_send", try_send_errors},
    {"try_send_messages", try_send_messages_errors},
    {"shutdown", shutdown_errors},
    {"get_option", get_option_errors},
    {"set_option", set_option_errors},
    {"local_name", local_name_errors},
    {"peer_name", peer_name_errors},
    {"watch_signals", watch_signals_errors},
    {"identify_file", identify_file_errors},
    {"remove_file", remove_file_errors},
    {"set_file_mode", set_file_mode_errors},
    {"peer_credentials", peer_credentials_errors},
    {"set_close_on_exec", set_close_on_exec_errors},
    {"read_ring", read_errors},
    {"write", write_errors},
    {"make_pipe", make_pipe_errors},
    {"try_write", try_write_errors},
    {"spawn", spawn_errors},
    {"fetch", fetch_errors},
    {"read_at", read_at_errors},
    {"open_carrier", open_carrier_errors},
    {"try_forward", try_send_errors},
    {"duplicate", duplicate_errors},
    {"try_fetch", try_fetch_errors},
};
static_assert(std::size(facts) == std::size_t(door_call::try_fetch) + 1, "facts of each call");

constexpr bool reads_file(door_call call) noexcept {
    return call == door_call::fetch || call == door_call::read_at;
}
constexpr bool completes(door_call call) noexcept {
    return call <= door_call::offload || call == door_call::read_ring || call == door_call::write ||
           reads_file(call);
}
constexpr bool receives(door_call call) noexcept {
    return call == door_call::recv || call == door_call::recv_ring ||
           call == door_call::read_ring || call == door_call::try_fetch;
}
constexpr bool sends(door_call call) noexcept {
    return call == door_call::send || call == door_call::send_pieces ||
           call == door_call::try_send || call == door_call::write ||
           call == door_call::try_write || call == door_call::try_forward;
}
constexpr bool can_be_short(door_call call) noexcept {
    return receives(call) || sends(call) || call == door_call::read ||
           call == door_call::try_send_messages || reads_file(call);
}

int gai_code_of(int number) noexcept {
    switch (number) {
    case ENOMEM:
        return EAI_MEMORY;
    case EAGAIN:
        return EAI_AGAIN;
    case EAFNOSUPPORT:
        return EAI_FAMILY;
    default:
        return EAI_NONAME;
    }
}

// ---- what is to happen to them

/// What happens to one call.
struct treatment {
    int failure = 0;             // errno: it is not done at all
    std::size_t most_bytes = 0;  // 0: all that was asked for
    std::uint64_t turns = 0;     // polls that it misses

    std::size_t cut(std::size_t asked) const noexcept {
        return most_bytes ? std::min(asked, most_bytes) : asked;
    }
};

/// The plan, and how far it has come.
class planner {
  public:
    explicit planner(injection::settings what) : what_(std::move(what)) {}

    treatment next(door_call call) {
        seen_.push_back(call);
        treatment chosen;
        for (const fault& each : what_.plan) {
            if (!is_due(each, call)) continue;
            if (each.kind == fault_kind::op_fails) {
                ++struck_;
                const auto first = legal_errors(call).front();
                return {.failure = each.value ? static_cast<int>(each.value) : first};
            }
            const auto value = static_cast<std::uint64_t>(std::max(each.value, std::int64_t{1}));
            if (each.kind == fault_kind::op_short && can_be_short(call)) chosen.most_bytes = value;
            if (each.kind == fault_kind::op_waits && completes(call)) chosen.turns = value;
        }
        struck_ += (chosen.most_bytes != 0) + (chosen.turns != 0);
        return chosen;
    }
    /// How many bytes hostile input and output moves with the call that came last; 0 for any.
    std::size_t hostile_bytes() const noexcept {
        if (!what_.hostile_io) return 0;
        if (receives(seen_.back())) return 1;
        return sends(seen_.back()) ? 1 + seen_.size() % 3 : 0;
    }
    void note(door_call call, int fd, const void* data, std::size_t length) {
        if (!what_.notes_memory || length == 0) return;
        memory_.push_back({call, fd, static_cast<const std::byte*>(data), length});
    }
    const std::vector<injection::memory_use>& memory() const noexcept { return memory_; }
    const std::vector<door_call>& seen() const noexcept { return seen_; }
    std::size_t struck() const noexcept { return struck_; }

  private:
    bool is_due(const fault& one, door_call call) const noexcept {
        const std::uint64_t number = seen_.size();
        if (one.at == number) return true;
        if (!one.sticky || one.at == 0 || one.at > number) return false;
        return one.kind != fault_kind::op_fails || seen_[one.at - 1] == call;
    }

    const injection::settings what_;
    std::vector<door_call> seen_;
    std::vector<injection::memory_use> memory_;
    std::size_t struck_ = 0;
};

// ---- the engine

class injecting_engine final : public detail::engine {
  public:
    injecting_engine(loop& home, planner& plan, std::unique_ptr<detail::engine> inner)
        : home_(home), plan_(plan), inner_(std::move(inner)) {}

    // Operations.

    void recv(op& request, int fd, std::span<std::byte> into) noexcept override {
        const treatment how = next(door_call::recv, fd);
        plan_.note(door_call::recv, fd, into.data(), into.size());
        start(request, how, {}, [this, &request, fd, room = into.first(how.cut(into.size()))] {
            inner_->recv(request, fd, room);
        });
    }
    void recv_ring(op& request, int fd) noexcept override {
        const treatment how = next(door_call::recv_ring, fd);
        start(request, how, {.piece_bytes = how.most_bytes},
              [this, &request, fd] { inner_->recv_ring(request, fd); });
    }
    void send(op& request, int fd, std::span<const std::byte> from,
              io::send_mode mode) noexcept override {
        const treatment how = next(door_call::send, fd);
        plan_.note(door_call::send, fd, from.data(), from.size());
        // A fast send that really is short tells at once; this one does not know that it is.
        short_fast_send_ |= mode == io::send_mode::fast && how.cut(from.size()) < from.size();
        start(request, how, {.offered_bytes = from.size()},
              [this, &request, fd, part = from.first(how.cut(from.size())), mode] {
                  inner_->send(request, fd, part, mode);
              });
    }
    void send_pieces(op& request, int fd, std::span<const iovec> pieces) noexcept override {
        const treatment how = next(door_call::send_pieces, fd);
        std::size_t offered = 0;
        for (const iovec& piece : pieces) {
            offered += piece.iov_len;
            plan_.note(door_call::send_pieces, fd, piece.iov_base, piece.iov_len);
        }
        std::size_t left = how.cut(offered);
        std::vector<iovec> parts;
        for (const iovec& piece : pieces) {
            parts.push_back({piece.iov_base, std::min(piece.iov_len, left)});
            left -= parts.back().iov_len;
            if (left == 0) break;
        }
        start(request, how, {.offered_bytes = offered},
              [this, &request, fd, parts = std::move(parts)] {
                  inner_->send_pieces(request, fd, parts);
              });
    }
    void accept(op& request, int fd) noexcept override {
        start(request, next(door_call::accept, fd), {},
              [this, &request, fd] { inner_->accept(request, fd); });
    }
    void accept_many(op& request, int fd) noexcept override {
        start(request, next(door_call::accept_many, fd), {},
              [this, &request, fd] { inner_->accept_many(request, fd); });
    }
    void connect(op& request, int fd, const sockaddr* peer, socklen_t length) noexcept override {
        start(request, next(door_call::connect, fd), {},
              [this, &request, fd, peer, length] { inner_->connect(request, fd, peer, length); });
    }
    void read(op& request, int fd, std::span<std::byte> into,
              io::file_kind kind) noexcept override {
        const treatment how = next(door_call::read, fd);
        start(request, how, {},
              [this, &request, fd, room = into.first(how.cut(into.size())), kind] {
                  inner_->read(request, fd, room, kind);
              });
    }
    void poll_fd(op& request, int fd, std::uint32_t events) noexcept override {
        start(request, next(door_call::poll, fd), {},
              [this, &request, fd, events] { inner_->poll_fd(request, fd, events); });
    }
    void send_message(op& request, int fd, const msghdr& message) noexcept override {
        start(request, plan_.next(door_call::send_message), {},
              [this, &request, fd, &message] { inner_->send_message(request, fd, message); });
    }
    void recv_message(op& request, int fd, msghdr& into, int flags) noexcept override {
        start(request, plan_.next(door_call::recv_message), {}, [this, &request, fd, &into, flags] {
            inner_->recv_message(request, fd, into, flags);
        });
    }
    void recv_datagrams(op& request, int fd) noexcept override {
        start(request, plan_.next(door_call::recv_datagrams), {},
              [this, &request, fd] { inner_->recv_datagrams(request, fd); });
    }
    void read_ring(op& request, int fd, io::file_kind kind) noexcept override {
        const treatment how = next(door_call::read_ring, fd);
        start(request, how, {.piece_bytes = how.most_bytes},
              [this, &request, fd, kind] { inner_->read_ring(request, fd, kind); });
    }
    void write(op& request, int fd, std::span<const std::byte> from,
               io::file_kind kind) noexcept override {
        const treatment how = next(door_call::write, fd);
        start(request, how, {},
              [this, &request, fd, part = from.first(how.cut(from.size())), kind] {
                  inner_->write(request, fd, part, kind);
              });
    }
    void fetch(op& request, const io::carrier& into, int file, std::uint64_t offset,
               std::size_t count) noexcept override {
        const treatment how = plan_.next(door_call::fetch);
        start(request, how, {}, [this, &request, into, file, offset, count = how.cut(count)] {
            inner_->fetch(request, into, file, offset, count);
        });
    }
    void read_at(op& request, int file, std::uint64_t offset,
                 std::span<std::byte> into) noexcept override {
        const treatment how = plan_.next(door_call::read_at);
        start(request, how, {},
              [this, &request, file, offset, room = into.first(how.cut(into.size()))] {
                  inner_->read_at(request, file, offset, room);
              });
    }
    bool resolve(io::resolve_op& request) noexcept override {
        const treatment how = plan_.next(door_call::resolve);
        if (!how.failure && !how.turns) return inner_->resolve(request);
        if (how.failure) request.gai_code = gai_code_of(how.failure);
        start(request, how, {}, [this, &request] {
            if (!inner_->resolve(request)) detail::start_resolve(home_.state(), request);
        });
        return true;
    }
    bool offload(io::job_op& request) noexcept override {
        const treatment how = plan_.next(door_call::offload);
        if (!how.failure && !how.turns) return inner_->offload(request);
        start(request, how, {}, [this, &request] {
            if (!inner_->offload(request)) detail::queue_job(home_.state(), request);
        });
        return true;
    }
    void cancel(op& request) noexcept override {
        const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                        [&](const auto& each) { return each.request == &request; });
        if (found == waiting_.end()) return inner_->cancel(request);
        waiting_.erase(found);
        end_here(request, -ECANCELED);
    }
    void cancel_all() noexcept override {
        for (const auto& each : std::exchange(waiting_, {})) end_here(*each.request, -ECANCELED);
        inner_->cancel_all();
    }

    // The kernel.

    void poll(clock::time_point deadline, std::vector<completion>& out) noexcept override {
        if (!waiting_.empty() || !made_here_.empty() || std::exchange(short_fast_send_, false)) {
            deadline = clock::time_point::min();
        }
        forward_due();
        const std::size_t before = out.size();
        inner_->poll(deadline, out);
        for (std::size_t i = before; i < out.size(); ++i) {
            if (!(out[i].flags & op_flags::lent) || out[i].res < 0) continue;
            plan_.note(door_call::recv_ring, -1, out[i].data, static_cast<std::size_t>(out[i].res));
        }
        adjust(out, before);
        out.insert(out.end(), made_here_.begin(), made_here_.end());
        made_here_.clear();
    }
    detail::sight look_out(const detail::mailbox& box,
                           const detail::sight::span& when) noexcept override {
        return inner_->look_out(box, when);
    }
    bool can_look_out() const noexcept override { return inner_->can_look_out(); }
    void submit() noexcept override {
        // Nobody may run the loop again, and what was written must leave all the same.
        for (auto& each : std::exchange(waiting_, {})) each.forward();
        inner_->submit();
    }
    void release(const completion& done) noexcept override {
        const auto whole = std::find_if(lent_.begin(), lent_.end(), [&](const lent& each) {
            return done.data >= each.whole.data && done.data < each.whole.data + each.whole.res;
        });
        if (whole == lent_.end()) return inner_->release(done);
        if (--whole->pieces_left != 0) return;
        inner_->release(whole->whole);
        lent_.erase(whole);
    }
    detail::slice_name keep(const std::byte* data) noexcept override { return inner_->keep(data); }
    void keep_again(detail::slice_name slice) noexcept override { inner_->keep_again(slice); }
    void let_go(detail::slice_name slice) noexcept override { inner_->let_go(slice); }
    std::shared_ptr<void> kept_memory() const noexcept override { return inner_->kept_memory(); }
    bool wake(engine* near) noexcept override { return inner_->wake(near); }
    bool carry(const std::shared_ptr<uring::bell>& to) noexcept override {
        return inner_->carry(to);
    }
    bool foreign_thread() const noexcept override { return inner_->foreign_thread(); }
    bool foreign_process() const noexcept override { return inner_->foreign_process(); }
    void add_statistics(loop_statistics& into) const noexcept override {
        inner_->add_statistics(into);
    }
    std::size_t lent_buffers() const noexcept override { return inner_->lent_buffers(); }
    std::string report() const override { return "inject + " + inner_->report(); }

    // The synchronous part.

    clock::time_point now() const noexcept override { return inner_->now(); }
    void random(std::span<std::byte> into) noexcept override { inner_->random(into); }
    int open_socket(int family, int type, int protocol) noexcept override {
        const treatment how = plan_.next(door_call::socket);
        return how.failure ? -how.failure : inner_->open_socket(family, type, protocol);
    }
    int open_pair(int family, int type, int (&fds)[2]) noexcept override {
        const treatment how = plan_.next(door_call::socket_pair);
        return how.failure ? -how.failure : inner_->open_pair(family, type, fds);
    }
    int bind(int fd, const sockaddr* where, socklen_t length) noexcept override {
        const treatment how = plan_.next(door_call::bind);
        return how.failure ? -how.failure : inner_->bind(fd, where, length);
    }
    int listen(int fd, int backlog_count) noexcept override {
        const treatment how = plan_.next(door_call::listen);
        return how.failure ? -how.failure : inner_->listen(fd, backlog_count);
    }
    std::int64_t try_send(int fd, std::span<const std::byte> from) noexcept override {
        const treatment how = next(door_call::try_send, fd);
        plan_.note(door_call::try_send, fd, from.data(), from.size());
        return how.failure ? -how.failure : inner_->try_send(fd, from.first(how.cut(from.size())));
    }
    /// Short: so many messages, not bytes.
    int try_send_messages(int fd, std::span<mmsghdr> messages) noexcept override {
        const treatment how = plan_.next(door_call::try_send_messages);
        if (how.failure) return -how.failure;
        return inner_->try_send_messages(fd, messages.first(how.cut(messages.size())));
    }
    int shutdown(int fd, int direction) noexcept override {
        const treatment how = plan_.next(door_call::shutdown);
        return how.failure ? -how.failure : inner_->shutdown(fd, direction);
    }
    int get_option(int fd, int level, int name, int& value) noexcept override {
        const treatment how = plan_.next(door_call::get_option);
        return how.failure ? -how.failure : inner_->get_option(fd, level, name, value);
    }
    int set_option(int fd, int level, int name,
                   std::span<const std::byte> value) noexcept override {
        const treatment how = plan_.next(door_call::set_option);
        return how.failure ? -how.failure : inner_->set_option(fd, level, name, value);
    }
    int local_name(int fd, io::resolved& into) noexcept override {
        const treatment how = plan_.next(door_call::local_name);
        return how.failure ? -how.failure : inner_->local_name(fd, into);
    }
    int peer_name(int fd, io::resolved& into) noexcept override {
        const treatment how = plan_.next(door_call::peer_name);
        return how.failure ? -how.failure : inner_->peer_name(fd, into);
    }
    void close(int fd) noexcept override { inner_->close(fd); }
    int watch_signals(int fd, std::uint64_t mask) noexcept override {
        // To give signals back cannot fail.
        if (mask == 0) return inner_->watch_signals(fd, mask);
        const treatment how = plan_.next(door_call::watch_signals);
        return how.failure ? -how.failure : inner_->watch_signals(fd, mask);
    }
    int take_signal(int fd) noexcept override { return inner_->take_signal(fd); }
    bool signal_is_untouched(int signum) noexcept override {
        return inner_->signal_is_untouched(signum);
    }
    int identify_file(const char* path, io::file_identity& into) noexcept override {
        const treatment how = plan_.next(door_call::identify_file);
        return how.failure ? -how.failure : inner_->identify_file(path, into);
    }
    int remove_file(const char* path) noexcept override {
        const treatment how = plan_.next(door_call::remove_file);
        return how.failure ? -how.failure : inner_->remove_file(path);
    }
    int set_file_mode(const char* path, std::uint32_t mode) noexcept override {
        const treatment how = plan_.next(door_call::set_file_mode);
        return how.failure ? -how.failure : inner_->set_file_mode(path, mode);
    }
    int peer_credentials(int fd, io::credentials& into) noexcept override {
        const treatment how = plan_.next(door_call::peer_credentials);
        return how.failure ? -how.failure : inner_->peer_credentials(fd, into);
    }
    int set_close_on_exec(int fd) noexcept override {
        const treatment how = plan_.next(door_call::set_close_on_exec);
        return how.failure ? -how.failure : inner_->set_close_on_exec(fd);
    }
    int spawn(const io::spawn_request& what, io::child& made,
              detail::spawn_failure& failure) noexcept override {
        const treatment how = plan_.next(door_call::spawn);
        return how.failure ? -how.failure : inner_->spawn(what, made, failure);
    }
    int collect_child(const io::child& whom, int& code) noexcept override {
        return inner_->collect_child(whom, code);
    }
    int signal_child(const io::child& whom, int signum, io::signal_reach reach) noexcept override {
        return inner_->signal_child(whom, signum, reach);
    }
    std::int64_t try_write(int fd, std::span<const std::byte> from) noexcept override {
        const treatment how = next(door_call::try_write, fd);
        return how.failure ? -how.failure : inner_->try_write(fd, from.first(how.cut(from.size())));
    }
    int make_pipe(int (&fds)[2]) noexcept override {
        const treatment how = plan_.next(door_call::make_pipe);
        return how.failure ? -how.failure : inner_->make_pipe(fds);
    }
    int duplicate(int fd) noexcept override {
        const treatment how = plan_.next(door_call::duplicate);
        return how.failure ? -how.failure : inner_->duplicate(fd);
    }
    int kind_of(int fd, io::file_kind& into) noexcept override { return inner_->kind_of(fd, into); }
    void ignore_broken_pipes() noexcept override { inner_->ignore_broken_pipes(); }
    int open_carrier(io::carrier& into, std::size_t wanted_bytes) noexcept override {
        const treatment how = plan_.next(door_call::open_carrier);
        return how.failure ? -how.failure : inner_->open_carrier(into, wanted_bytes);
    }
    void close_carrier(const io::carrier& used) noexcept override { inner_->close_carrier(used); }
    std::int64_t try_fetch(const io::carrier& into, int fd, std::size_t count) noexcept override {
        const treatment how = next(door_call::try_fetch, fd);
        return how.failure ? -how.failure : inner_->try_fetch(into, fd, how.cut(count));
    }
    std::int64_t try_forward(const io::carrier& from, int fd, std::size_t count) noexcept override {
        const treatment how = next(door_call::try_forward, fd);
        return how.failure ? -how.failure : inner_->try_forward(from, fd, how.cut(count));
    }
    std::int64_t take(const io::carrier& from, std::span<std::byte> into) noexcept override {
        return inner_->take(from, into);
    }
    int set_position(int file, std::uint64_t offset) noexcept override {
        return inner_->set_position(file, offset);
    }

  private:
    /// An op that the inner engine does not have yet.
    struct held_back {
        op* request;
        std::uint64_t turns_left;
        function<void()> forward;
    };
    /// What must be put right when the completions of a shortened op come.
    struct alteration {
        std::size_t piece_bytes = 0;    // of a shared-ring receive
        std::size_t offered_bytes = 0;  // of a send: more than the inner engine saw
        std::uint16_t generation = 0;
    };
    /// A lent buffer that was handed out in pieces.
    struct lent {
        completion whole;
        std::size_t pieces_left;
    };

    treatment next(door_call call, int fd) {
        treatment how = plan_.next(call);
        if (how.failure || how.most_bytes) return how;
        const std::size_t hostile = plan_.hostile_bytes();
        if (hostile && is_stream(fd)) how.most_bytes = hostile;
        return how;
    }
    /// Part of a datagram is not less of it, but another one.
    bool is_stream(int fd) noexcept {
        int type = 0;
        return inner_->get_option(fd, SOL_SOCKET, SO_TYPE, type) < 0 || type == SOCK_STREAM;
    }

    template <class Forward>
    void start(op& request, const treatment& how, alteration altered, Forward forward) {
        if (how.failure) return end_here(request, -how.failure);
        if (how.most_bytes && (altered.piece_bytes || altered.offered_bytes)) {
            altered.generation = request.generation;
            altered_[&request] = altered;
        }
        if (how.turns) {
            waiting_.push_back({&request, how.turns, std::move(forward)});
        } else {
            forward();
        }
    }
    void end_here(op& request, std::int32_t res) {
        request.engine_state = detail::completion_queued;
        made_here_.push_back({&request, nullptr, res, 0, 0, request.generation});
        altered_.erase(&request);
    }
    void forward_due() {
        std::vector<held_back> later;
        for (held_back& each : std::exchange(waiting_, {})) {
            if (each.turns_left-- == 0) {
                each.forward();
            } else {
                later.push_back(std::move(each));
            }
        }
        waiting_ = std::move(later);
    }

    /// Goes through what came: lent bytes are cut into pieces, a short send says what was offered.
    void adjust(std::vector<completion>& out, std::size_t before) {
        if (altered_.empty()) return;
        came_.assign(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
        out.resize(before);
        for (const completion& done : came_) {
            const auto found = altered_.find(done.target);
            if (found == altered_.end() || found->second.generation != done.generation) {
                out.push_back(done);
                continue;
            }
            const alteration altered = found->second;
            if (!(done.flags & op_flags::more)) {
                if (altered.offered_bytes) done.target->length = altered.offered_bytes;
                altered_.erase(found);
            }
            if (altered.piece_bytes && (done.flags & op_flags::lent)) {
                cut_up(done, altered.piece_bytes, out);
            } else {
                out.push_back(done);
            }
        }
    }
    void cut_up(const completion& whole, std::size_t most, std::vector<completion>& out) {
        const auto total = static_cast<std::size_t>(whole.res);
        if (total <= most) return out.push_back(whole);
        lent_.push_back({whole, (total + most - 1) / most});
        for (std::size_t at = 0; at < total; at += most) {
            completion piece = whole;
            piece.data += at;
            piece.res = static_cast<std::int32_t>(std::min(most, total - at));
            if (at + most < total) piece.flags |= op_flags::more;
            out.push_back(piece);
        }
    }

    loop& home_;
    planner& plan_;
    std::unique_ptr<detail::engine> inner_;
    std::vector<held_back> waiting_;
    std::vector<completion> made_here_;  // ends of ops that the inner engine did not have
    std::unordered_map<const op*, alteration> altered_;
    std::vector<lent> lent_;
    bool short_fast_send_ = false;  // started since the last poll
    std::vector<completion> came_;  // while a batch is gone through
};

}  // namespace

// ---- the rig

class injection::wrapper final : public detail::rig {
  public:
    explicit wrapper(settings what) : plan(std::move(what)) {}

    std::unique_ptr<detail::engine> make_engine(loop& home, const loop_options& options) override {
        loop_options beneath = options;
        beneath.rig = inner;
        return std::make_unique<injecting_engine>(home, plan, detail::make_engine(home, beneath));
    }
    void turn_begins(loop& home, detail::ready_queue& ready) noexcept override {
        if (inner) inner->turn_begins(home, ready);
    }
    void suspended(detail::task_core& task) noexcept override {
        if (inner) inner->suspended(task);
    }

    planner plan;
    detail::rig* inner = nullptr;
};

std::string_view to_string(door_call call) noexcept {
    return facts[static_cast<std::size_t>(call)].name;
}
std::span<const int> legal_errors(door_call call) noexcept {
    return facts[static_cast<std::size_t>(call)].errors;
}

injection::injection() : injection(settings{}) {}
injection::injection(settings what) : wrapper_(std::make_unique<wrapper>(std::move(what))) {}
injection::~injection() = default;

loop_options injection::options(loop_options base) {
    wrapper_->inner = std::exchange(base.rig, wrapper_.get());
    return base;
}

const std::vector<door_call>& injection::seen() const noexcept { return wrapper_->plan.seen(); }
const std::vector<injection::memory_use>& injection::memory() const noexcept {
    return wrapper_->plan.memory();
}
std::size_t injection::struck() const noexcept { return wrapper_->plan.struck(); }

}  // namespace ouro::testing
