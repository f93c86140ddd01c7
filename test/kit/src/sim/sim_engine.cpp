// Operations in a simulated world: started, tried, waiting, completed.
//
// It follows the real engine in what can be observed through the door: operations take effect when
// they are handed over (`poll`, `submit`, or a full queue), completions are seen by the next
// `poll`, and in an order of chance, but for those of one operation.
#include "sim_engine.hpp"

#include <poll.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <ouro/runtime/checks.hpp>
#include <ouro/runtime/remote.hpp>

#include "answering_engine.hpp"
#include "datagram_buffers.hpp"

namespace ouro::testing::sim {
namespace {

using ouro::detail::completion;
using ouro::detail::slice_name;
using std::chrono::microseconds;

// What one turn of the loop takes at least: time goes on even for a loop that never waits.
constexpr auto turn_time = microseconds(1);
// Turns without a wait after which a loop is called spinning.
constexpr std::uint64_t most_busy_turns = 2'000'000;
// How long, in real time, a simulation without any event waits for another thread.
constexpr auto patience = std::chrono::seconds(2);

enum class action : std::uint8_t {
    recv,
    recv_ring,
    send_all,
    send_fast,
    send_pieces,
    accept,
    accept_many,
    connect,
    poll,
    send_message,
    recv_message,
    recv_datagrams,
    resolve,
    job,
    read,
    read_ring,
    write,
};

/// An operation the simulated kernel holds.
struct pending {
    op* request;
    action what;
    std::uint64_t number;  // in order of starting
    int fd = -1;
    endpoint_ptr on{};
    std::span<std::byte> into{};
    std::vector<iovec> pieces{};
    std::size_t done = 0;  // bytes sent
    std::uint32_t events = 0;
    address peer{};
    const msghdr* outgoing = nullptr;
    msghdr* incoming = nullptr;
    int flags = 0;
    bool begun = false;  // a connect that is under way
    bool waits = false;  // in the list of its socket
    bool busy = false;   // being tried: what it causes must not try it again
};

bool receives(action what) noexcept {
    return what == action::recv || what == action::recv_message || what == action::read;
}
bool takes_in(action what) noexcept {
    return receives(what) || what == action::recv_ring || what == action::recv_datagrams ||
           what == action::read_ring;
}
/// What a file that is no socket can do.
bool of_file(action what) noexcept {
    return what == action::read || what == action::read_ring || what == action::write ||
           what == action::poll;
}

class sim_engine final : public answering_engine, public listener_to_changes {
  public:
    sim_engine(world& in, loop& home, const loop_options& options)
        : answering_engine(in),
          home_(home),
          sq_entries_(options.sq_entries),
          cq_entries_(options.cq_entries),
          buffer_bytes_(options.ring_buffer_bytes),
          buffers_(std::make_shared<std::vector<buffer>>(options.ring_buffer_count)),
          kept_(options.ring_buffer_count, options.ring_buffer_bytes, options.lease_bytes),
          datagram_buffers_(options.ring_buffer_count) {
        world_.engine = this;
    }
    ~sim_engine() override {
        for (auto& [request, held] : in_flight_) let_go(*held);
        world_.engine = nullptr;
        for (auto& each : *buffers_) {
            if (each.memory) ouro::detail::unpoison(each.memory.get(), buffer_bytes_);
        }
    }

    // ---- operations

    void recv(op& request, int fd, std::span<std::byte> into) noexcept override {
        OURO_ASSERT(ouro::detail::addressable(into.data(), into.size()),
                    "recv into memory that is freed or in use by another operation");
        start(request, action::recv, fd).into = into;
        request.data = into.data();
        request.length = into.size();
        ouro::detail::poison(into.data(), into.size());
    }
    void recv_ring(op& request, int fd) noexcept override { start(request, action::recv_ring, fd); }
    void send(op& request, int fd, std::span<const std::byte> from,
              io::send_mode mode) noexcept override {
        OURO_ASSERT(ouro::detail::addressable(from.data(), from.size()), "send from freed memory");
        const auto what = mode == io::send_mode::fast ? action::send_fast : action::send_all;
        start(request, what, fd)
            .pieces.push_back({const_cast<std::byte*>(from.data()), from.size()});
        request.length = from.size();
    }
    void send_pieces(op& request, int fd, std::span<const iovec> pieces) noexcept override {
        pending& held = start(request, action::send_pieces, fd);
        held.pieces.assign(pieces.begin(), pieces.end());
        request.length = 0;
        for (const iovec& each : pieces) request.length += each.iov_len;
    }
    void accept(op& request, int fd) noexcept override { start(request, action::accept, fd); }
    void accept_many(op& request, int fd) noexcept override {
        start(request, action::accept_many, fd);
    }
    void connect(op& request, int fd, const sockaddr* peer, socklen_t length) noexcept override {
        start(request, action::connect, fd).peer = address(peer, length);
    }
    void read(op& request, int fd, std::span<std::byte> into, io::file_kind) noexcept override {
        recv(request, fd, into);
        in_flight_[&request]->what = action::read;
    }
    void read_ring(op& request, int fd, io::file_kind) noexcept override {
        start(request, action::read_ring, fd);
    }
    void write(op& request, int fd, std::span<const std::byte> from,
               io::file_kind) noexcept override {
        OURO_ASSERT(ouro::detail::addressable(from.data(), from.size()), "write from freed memory");
        start(request, action::write, fd)
            .pieces.push_back({const_cast<std::byte*>(from.data()), from.size()});
        request.length = from.size();
    }
    void poll_fd(op& request, int fd, std::uint32_t events) noexcept override {
        start(request, action::poll, fd).events = events;
    }
    void send_message(op& request, int fd, const msghdr& message) noexcept override {
        start(request, action::send_message, fd).outgoing = &message;
    }
    void recv_message(op& request, int fd, msghdr& into, int flags) noexcept override {
        pending& held = start(request, action::recv_message, fd);
        held.incoming = &into;
        held.flags = flags;
        if (into.msg_iovlen == 0) return;
        held.into = {static_cast<std::byte*>(into.msg_iov[0].iov_base), into.msg_iov[0].iov_len};
        ouro::detail::poison(held.into.data(), held.into.size());
    }
    void recv_datagrams(op& request, int fd) noexcept override {
        start(request, action::recv_datagrams, fd);
    }
    bool resolve(io::resolve_op& request) noexcept override {
        pending& held = start(request, action::resolve, -1);
        const std::uint64_t number = held.number;
        auto takes = microseconds(world_.luck.draw(purpose::delay, 50, 5'000));
        if (auto slow = world_.luck.strikes(fault_kind::slow_name, 100'000, 30'000'000)) {
            takes += microseconds(*slow);
        }
        world_.after(takes, [this, &request, number] {
            const auto found = in_flight_.find(&request);
            if (found == in_flight_.end() || found->second->number != number) return;
            answer(request);
        });
        return true;
    }
    bool offload(io::job_op& request) noexcept override {
        const std::uint64_t number = start(request, action::job, -1).number;
        const auto takes = microseconds(world_.luck.draw(purpose::delay, 50, 5'000));
        world_.after(takes, [this, &request, number] {
            const auto found = in_flight_.find(&request);
            if (found == in_flight_.end() || found->second->number != number) return;
            finish(*found->second, 0);
        });
        return true;
    }
    void fetch(op& request, const io::carrier& into, int file, std::uint64_t offset,
               std::size_t count) noexcept override {
        later(request, [this, into, file, offset, count] {
            return files_.fetch(into, file, offset, count);
        });
    }
    void read_at(op& request, int file, std::uint64_t offset,
                 std::span<std::byte> into) noexcept override {
        later(request, [file, offset, into] { return files::read_at(file, offset, into); });
    }
    void cancel(op& request) noexcept override { staged_.push_back({&request, 0, true}); }
    void cancel_all() noexcept override {
        hand_over();
        std::vector<pending*> all;
        for (auto& [request, held] : in_flight_) all.push_back(held.get());
        std::sort(all.begin(), all.end(),
                  [](auto* left, auto* right) { return left->number < right->number; });
        for (pending* each : all) end_early(*each);
    }

    // ---- the kernel

    void poll(clock::time_point deadline, std::vector<completion>& out) noexcept override {
        hand_over();
        world_.advance_to(world_.now() + turn_time);
        world_.run_due_events();
        for (op* each : std::exchange(starved_, {})) try_again(*each);
        const bool must_wait = deadline != clock::time_point::min() && starved_.empty();
        watch_for_spinning(must_wait);
        // A receive that finds no buffer during the wait is tried again in the next turn.
        while (must_wait && starved_.empty() && completions_.empty() && !take_wake() &&
               world_.now() < deadline) {
            const clock::time_point next = std::min(world_.next_event(), deadline);
            if (next == clock::time_point::max()) {
                if (!wait_for_another_thread()) break;
                continue;
            }
            world_.advance_to(next);
            world_.run_due_events();
        }
        reap(out);
    }
    void submit() noexcept override { hand_over(); }
    void release(const completion& done) noexcept override {
        if (done.lease & datagram_buffers::lease_mark) {
            return datagram_buffers_.give_back(done.lease);
        }
        --lent_;
        if (kept_.filled(done.lease)) recycle(done.lease);
    }
    slice_name keep(const std::byte* data) noexcept override {
        if (!kept_.may_keep()) return ouro::detail::no_slice;
        slice_name which = 0;
        while (which < buffers_->size() && !(*buffers_)[which].holds(data, buffer_bytes_)) ++which;
        if (which == buffers_->size()) return ouro::detail::no_slice;  // a datagram
        kept_.keep(which);
        return which;
    }
    void keep_again(slice_name slice) noexcept override { kept_.keep(slice); }
    void let_go(slice_name slice) noexcept override {
        if (kept_.let_go(slice)) recycle(slice);
    }
    std::shared_ptr<void> kept_memory() const noexcept override { return buffers_; }
    bool wake(engine*) noexcept override {
        const std::lock_guard lock(wake_guard_);
        woken_ = true;
        wake_signal_.notify_one();
        return true;
    }
    bool foreign_thread() const noexcept override { return false; }
    bool foreign_process() const noexcept override { return false; }
    void add_statistics(loop_statistics& into) const noexcept override {
        into.enters = enters_;
        into.submitted = submitted_;
        into.cq_overflows = overflows_;
        into.sq_full = sq_full_;
        into.ring_exhausted = exhausted_;
    }
    std::size_t lent_buffers() const noexcept override { return lent_ + datagram_buffers_.lent(); }
    std::string report() const override {
        return "simulation, seed " + std::to_string(world_.settings.seed);
    }

    // ---- what the world tells

    void changed(endpoint& at) override {
        // Of one kind, what waits first is served first; what is served may wait again, at its old
        // place.
        std::vector<void*> waiting = at.waiting;
        if (waiting.size() > 1 && world_.luck.draw(purpose::order, 0, 1)) {
            const auto comes_in = [](void* each) {
                return takes_in(static_cast<pending*>(each)->what);
            };
            waiting.clear();
            std::copy_if(at.waiting.begin(), at.waiting.end(), std::back_inserter(waiting),
                         std::not_fn(comes_in));
            std::copy_if(at.waiting.begin(), at.waiting.end(), std::back_inserter(waiting),
                         comes_in);
        }
        for (void* each : waiting) {
            auto* held = static_cast<pending*>(each);
            if (std::find(at.waiting.begin(), at.waiting.end(), each) == at.waiting.end()) continue;
            attempt(*held);
        }
    }

  private:
    struct staged {
        op* request;
        std::uint64_t number;
        bool cancels;
    };
    struct buffer {
        std::unique_ptr<std::byte[]> memory{};
        bool lent = false;

        bool holds(const std::byte* data, std::size_t size) const noexcept {
            return memory && data >= memory.get() && data < memory.get() + size;
        }
    };
    struct done_op {
        completion what;
        std::uint64_t number;
        std::uint64_t socket;  // 0: none
        bool first;            // before the rest of its batch
        /// The kernel completes what it does on one socket in the order in which it does it: who
        /// has taken the error of a dead connection is seen before the end of stream that it left.
        bool keeps_order_with(const done_op& other) const noexcept {
            return number == other.number || (socket && socket == other.socket);
        }
    };

    struct placed {
        std::uint64_t place;  // drawn
        std::size_t index;
        done_op what;
    };

    // ---- starting

    pending& start(op& request, action what, int fd) noexcept {
        auto held = std::make_unique<pending>();
        held->request = &request;
        held->what = what;
        held->number = ++world_.ops;
        held->fd = fd;
        pending& started = *held;
        if (staged_.size() >= sq_entries_) {
            ++sq_full_;
            hand_over();
        }
        in_flight_[&request] = std::move(held);
        staged_.push_back({&request, started.number, false});
        return started;
    }
    /// An operation that ends with what `work` gives, once its time has come.
    template <class Work>
    void later(op& request, Work work) noexcept {
        const std::uint64_t number = start(request, action::job, -1).number;
        world_.after(microseconds(world_.luck.draw(purpose::delay, 20, 2'000)),
                     [this, &request, number, work] {
                         const auto found = in_flight_.find(&request);
                         if (found == in_flight_.end() || found->second->number != number) return;
                         finish(*found->second, work());
                     });
    }
    void hand_over() noexcept {
        ++enters_;
        for (std::size_t i = 0; i < staged_.size(); ++i) {
            const staged each = staged_[i];
            const auto found = in_flight_.find(each.request);
            if (found == in_flight_.end()) continue;  // over already: the cancel came too late
            pending& held = *found->second;
            if (each.cancels) {
                take_back(held);
            } else if (held.number == each.number) {
                ++submitted_;
                submit_one(held);
            }
        }
        staged_.clear();
    }
    void submit_one(pending& held) noexcept {
        if (held.what == action::resolve || held.what == action::job) return;
        held.on = world_.find(held.fd);
        if (!held.on) return finish(held, -EBADF);
        world_.hold(*held.on);
        if (held.on->of_pipe() && !of_file(held.what)) return finish(held, -ENOTSOCK);
        attempt(held);
    }

    // ---- trying

    void attempt(pending& held) noexcept {
        if (std::exchange(held.busy, true)) return;
        const auto number = held.number;
        op* const request = held.request;
        try_now(held);
        const auto found = in_flight_.find(request);
        if (found != in_flight_.end() && found->second->number == number) held.busy = false;
    }
    void try_now(pending& held) noexcept {
        switch (held.what) {
        case action::recv:
        case action::recv_message:
        case action::read: {
            // The kernel's own writing is no misuse.
            ouro::detail::unpoison(held.into.data(), held.into.size());
            const std::int64_t got =
                held.incoming ? world_.receive_message(held.on, *held.incoming, held.flags)
                              : world_.receive(held.on, held.into);
            if (got == -EAGAIN) {
                ouro::detail::poison(held.into.data(), held.into.size());
                return wait(held);
            }
            return finish(held, got);
        }
        case action::recv_ring:
        case action::read_ring:
            return fill_buffers(held);
        case action::recv_datagrams:
            return fill_with_datagrams(held);
        case action::send_fast:
        case action::send_all:
        case action::send_pieces:
        case action::write:
            return push(held);
        case action::send_message: {
            const std::int64_t taken = world_.send_message(held.on, *held.outgoing);
            return taken == -EAGAIN ? wait(held) : finish(held, taken);
        }
        case action::accept: {
            const int fd = world_.accept(held.on);
            return fd == -EAGAIN ? wait(held) : finish(held, fd);
        }
        case action::accept_many:
            return accept_all(held);
        case action::connect:
            return go_on_connecting(held);
        case action::poll: {
            const std::uint32_t half_close = held.events == POLLOUT ? 0 : POLLRDHUP;
            const std::uint32_t ready =
                held.on->ready_events() & (held.events | POLLERR | POLLHUP | half_close);
            return ready ? finish(held, ready) : wait(held);
        }
        case action::resolve:
        case action::job:
            return;
        }
    }
    void try_again(op& request) noexcept {
        const auto found = in_flight_.find(&request);
        if (found != in_flight_.end()) attempt(*found->second);
    }

    void fill_buffers(pending& held) noexcept {
        for (;;) {
            const bool has_bytes = !held.on->inbox.empty() || !held.on->datagrams.empty();
            if (!has_bytes) {
                const std::int64_t end = world_.receive(held.on, {});
                return end == -EAGAIN ? wait(held) : finish(held, end);
            }
            const std::size_t free = free_buffer();
            if (free == buffers_->size() || world_.luck.strikes(fault_kind::ring_exhausted)) {
                ++exhausted_;
                stop_waiting(held);
                starved_.push_back(held.request);
                return;
            }
            buffer& into = (*buffers_)[free];
            ouro::detail::unpoison(into.memory.get(), buffer_bytes_);
            const std::int64_t got = world_.receive(held.on, {into.memory.get(), buffer_bytes_});
            if (got <= 0) {
                ouro::detail::poison(into.memory.get(), buffer_bytes_);
                return finish(held, got);
            }
            into.lent = true;
            ++lent_;
            completion done{held.request,
                            into.memory.get(),
                            static_cast<std::int32_t>(got),
                            static_cast<std::uint32_t>(free),
                            op_flags::lent,
                            held.request->generation};
            if (goes_on(held, done)) continue;
            return finish_with(held, done);
        }
    }
    void fill_with_datagrams(pending& held) noexcept {
        for (;;) {
            if (held.on->datagrams.empty() && !held.on->error) {
                return held.on->shut_read ? finish(held, 0) : wait(held);
            }
            if (datagram_buffers_.empty() || world_.luck.strikes(fault_kind::ring_exhausted)) {
                ++exhausted_;
                stop_waiting(held);
                starved_.push_back(held.request);
                return;
            }
            completion done{held.request, nullptr, 0, 0, op_flags::lent, held.request->generation};
            const std::int64_t got =
                datagram_buffers_.receive(world_, held.on, done.data, done.lease);
            if (got < 0) return finish(held, got);
            done.res = static_cast<std::int32_t>(got);
            const bool is_empty = got == std::int64_t{ouro::detail::datagram_payload_at};
            if (!is_empty && goes_on(held, done)) continue;  // an empty one ends it
            return finish_with(held, done);
        }
    }
    std::size_t free_buffer() noexcept {
        std::size_t i = 0;
        std::vector<buffer>& all = *buffers_;
        while (i < all.size() && all[i].lent) ++i;
        if (i < all.size() && !all[i].memory) {
            all[i].memory = std::make_unique<std::byte[]>(buffer_bytes_);
        }
        return i;
    }
    void recycle(slice_name which) noexcept {
        buffer& free = (*buffers_)[which];
        free.lent = false;
        ouro::detail::poison(free.memory.get(), buffer_bytes_);
    }
    /// Queues one of several completions; false when chance has it be the last.
    bool goes_on(pending& held, completion done) noexcept {
        if (world_.luck.strikes(fault_kind::multishot_ends)) return false;
        done.flags |= op_flags::more;
        queue(held, done, false);
        return true;
    }

    void push(pending& held) noexcept {
        const bool at_once = held.what == action::send_fast;
        const std::size_t total = held.request->length;
        if (total == 0 && held.on->stream()) return finish(held, 0);
        for (;;) {
            std::size_t skip = held.done;
            std::size_t i = 0;
            while (i + 1 < held.pieces.size() && skip >= held.pieces[i].iov_len) {
                skip -= held.pieces[i++].iov_len;
            }
            const std::span rest(static_cast<const std::byte*>(held.pieces[i].iov_base) + skip,
                                 held.pieces[i].iov_len - skip);
            const std::int64_t taken = world_.send(held.on, rest, held.what == action::send_all);
            if (taken == -EAGAIN) {
                if (!at_once) return wait(held);
                return held.done ? finish(held, static_cast<std::int64_t>(held.done))
                                 : finish(held, -EAGAIN);
            }
            if (taken < 0) {
                return finish(held, held.done ? static_cast<std::int64_t>(held.done) : taken);
            }
            held.done += static_cast<std::size_t>(taken);
            const bool is_short = static_cast<std::size_t>(taken) < rest.size();
            if (held.done >= total || (is_short && held.what != action::send_all)) {
                return finish(held, static_cast<std::int64_t>(held.done));
            }
        }
    }

    void accept_all(pending& held) noexcept {
        for (;;) {
            const int fd = world_.accept(held.on);
            if (fd == -EAGAIN) return wait(held);
            if (fd < 0) return finish(held, fd);
            const completion done{held.request, nullptr, fd, 0, 0, held.request->generation};
            if (goes_on(held, done)) continue;
            return finish_with(held, done);
        }
    }

    void go_on_connecting(pending& held) noexcept {
        if (!held.begun) {
            const int outcome = world_.connect(held.on, held.peer.raw(), held.peer.length());
            if (outcome == -EAGAIN) {  // a full backlog of a unix socket: tried again later
                world_.after(std::chrono::milliseconds(1),
                             [this, request = held.request, number = held.number] {
                                 const auto found = in_flight_.find(request);
                                 if (found != in_flight_.end() && found->second->number == number) {
                                     attempt(*found->second);
                                 }
                             });
                return;
            }
            if (outcome != -EINPROGRESS) return finish(held, outcome);
            held.begun = true;
        }
        if (held.on->at == state::connecting) return wait(held);
        finish(held, held.on->at == state::connected ? 0 : -held.on->take_error());
    }

    void answer(op& request) noexcept {
        auto& name = static_cast<io::resolve_op&>(request);
        pending& held = *in_flight_.find(&request)->second;
        name.answers.clear();
        if (world_.luck.strikes(fault_kind::no_name)) {
            name.gai_code = -3;  // EAI_AGAIN
            return finish(held, -EAGAIN);
        }
        name.gai_code = world_.look_up(name);
        finish(held, name.gai_code == 0 ? 0 : -ENOENT);
    }

    void wait(pending& held) noexcept {
        if (std::exchange(held.waits, true)) return;
        held.on->waiting.push_back(&held);
    }
    void stop_waiting(pending& held) noexcept {
        if (!std::exchange(held.waits, false)) return;
        std::erase(held.on->waiting, &held);
    }

    // ---- ending

    void take_back(pending& held) noexcept {
        if (auto later = world_.luck.strikes(fault_kind::cancel_misses, 10, 3'000)) {
            const std::uint64_t number = held.number;
            world_.after(microseconds(*later), [this, request = held.request, number] {
                const auto found = in_flight_.find(request);
                if (found != in_flight_.end() && found->second->number == number) {
                    end_early(*found->second);
                }
            });
            return;
        }
        end_early(held);
    }
    void end_early(pending& held) noexcept {
        std::erase(starved_, held.request);
        finish(held, held.done ? static_cast<std::int64_t>(held.done) : -ECANCELED);
    }
    void finish(pending& held, std::int64_t res) noexcept {
        completion done{held.request,
                        receives(held.what) ? held.into.data() : nullptr,
                        static_cast<std::int32_t>(res),
                        0,
                        0,
                        held.request->generation};
        if (receives(held.what)) {
            ouro::detail::unpoison(held.into.data(), held.into.size());
            const bool emptied = held.on && held.on->inbox.empty();
            if (res > 0 && static_cast<std::size_t>(res) < held.into.size() && emptied) {
                done.flags |= op_flags::drained;
            }
        }
        finish_with(held, done);
    }
    void finish_with(pending& held, const completion& done) noexcept {
        const bool whole_fast_send =
            held.what == action::send_fast && done.res >= 0 && held.done == held.request->length;
        queue(held, done, whole_fast_send);
        const auto last = std::move(in_flight_.find(held.request)->second);
        in_flight_.erase(held.request);
        let_go(*last);
    }
    void let_go(pending& held) noexcept {
        if (!held.on) return;
        stop_waiting(held);
        world_.let_go(held.on);
    }
    void queue(const pending& held, const completion& done, bool first) noexcept {
        completions_.push_back({done, held.number, held.on ? held.on->number : 0, first});
    }

    /// Hands the completions over, in an order of chance and some of them a turn later.
    void reap(std::vector<completion>& out) noexcept {
        if (completions_.empty()) return;
        if (completions_.size() > cq_entries_) ++overflows_;
        std::vector<done_op> held_back;
        std::vector<placed> batch;
        for (const done_op& each : completions_) {
            const auto same = [&](const done_op& other) { return other.keeps_order_with(each); };
            const bool follows = std::any_of(held_back.begin(), held_back.end(), same);
            if (follows || (!each.first && world_.luck.strikes(fault_kind::late_completion))) {
                held_back.push_back(each);
                continue;
            }
            std::uint64_t place = 0;
            if (world_.settings.shuffle_completions && !each.first) {
                place = 1 + world_.luck.draw(purpose::order) / 2;
                for (const placed& before : batch) {
                    if (before.what.keeps_order_with(each)) place = std::max(place, before.place);
                }
            } else if (!each.first) {
                place = 1;
            }
            batch.push_back({place, batch.size(), each});
        }
        std::sort(batch.begin(), batch.end(), [](const placed& left, const placed& right) {
            return std::tie(left.place, left.index) < std::tie(right.place, right.index);
        });
        for (const auto& [place, index, each] : batch) {
            if (!(each.what.flags & op_flags::more)) {
                each.what.target->engine_state = ouro::detail::completion_queued;
            }
            world_.note(each.number);
            world_.note(static_cast<std::uint32_t>(each.what.res));
            world_.note(static_cast<std::uint64_t>(world_.now().time_since_epoch().count()));
            out.push_back(each.what);
        }
        completions_ = std::move(held_back);
    }

    // ---- waiting

    void watch_for_spinning(bool waits) noexcept {
        busy_turns_ = waits ? 0 : busy_turns_ + 1;
        if (busy_turns_ < most_busy_turns) return;
        world_.spinning = true;
        home_.stop();
    }
    bool take_wake() noexcept {
        const std::lock_guard lock(wake_guard_);
        return std::exchange(woken_, false);
    }
    /// Nothing can happen any more unless another thread sees to it.
    bool wait_for_another_thread() noexcept {
        std::unique_lock lock(wake_guard_);
        if (wake_signal_.wait_for(lock, patience, [this] { return woken_; })) return true;
        world_.stuck = true;
        home_.stop();
        return false;
    }

    loop& home_;
    const std::size_t sq_entries_;
    const std::size_t cq_entries_;
    const std::size_t buffer_bytes_;
    std::unordered_map<op*, std::unique_ptr<pending>> in_flight_;
    std::vector<staged> staged_;
    std::vector<op*> starved_;
    std::vector<done_op> completions_;
    std::shared_ptr<std::vector<buffer>> buffers_;  // leases may live longer than this
    ouro::detail::slice_accounts kept_;
    std::size_t lent_ = 0;
    datagram_buffers datagram_buffers_;
    std::uint64_t busy_turns_ = 0;
    std::uint64_t enters_ = 0;
    std::uint64_t submitted_ = 0;
    std::uint64_t overflows_ = 0;
    std::uint64_t sq_full_ = 0;
    std::uint64_t exhausted_ = 0;
    std::mutex wake_guard_;
    std::condition_variable wake_signal_;
    bool woken_ = false;
};

}  // namespace

std::unique_ptr<ouro::detail::engine> make_engine(world& in, loop& home,
                                                  const loop_options& options) {
    return std::make_unique<sim_engine>(in, home, options);
}

}  // namespace ouro::testing::sim
