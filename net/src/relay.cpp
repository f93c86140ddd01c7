// Bytes from one socket to another: waited for by the ring, moved by calls on the loop's thread.
// Decision 0019.
#include <ouro/net/relay.hpp>

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <ouro/runtime/gather.hpp>
#include <ouro/runtime/race.hpp>
#include <ouro/runtime/spawn.hpp>

#include "socket_hold.hpp"

namespace ouro {
namespace detail {
namespace {

using std::chrono::milliseconds;

// What one direction moves before others have their turn.
constexpr std::size_t most_at_once = 1024 * 1024;
// What is copied where bytes are copied.
constexpr std::size_t copied_bytes = 64 * 1024;
// What is copied to a socket without room, or from one that says it has bytes and gives none:
// enough to be told when that has changed, and little beside what then moves uncopied.
constexpr std::size_t waiting_bytes = 16 * 1024;
// How often a direction whose opposite has failed moves that much.
constexpr int most_last_turns = 32;

/// What one step of a direction waits for.
enum class step : std::uint8_t { wait_for_input, wait_for_room, receive, send };

extern const wait_kind relay_kind;

/// An operation on one of the two sockets. Closing either of them ends it.
class [[nodiscard]] relay_op : public socket_awaitable<relay_op, std::size_t> {
  public:
    relay_op(socket_state& on, socket_state& beside, step what, mut_bytes room = {}) noexcept
        : socket_awaitable(on, relay_kind), beside_(beside), what_(what), room_(room) {}
    void submit(loop& home, op& request) noexcept {
        beside_.target->begin(beside_, request);
        const int fd = begin(request);
        switch (what_) {
        case step::wait_for_input:
            return io::poll(home, request, fd, POLLIN);
        case step::wait_for_room:
            return io::poll(home, request, fd, POLLOUT);
        case step::receive:
            return io::recv(home, request, fd, room_);
        case step::send:
            return io::send(home, request, fd, room_, io::send_mode::all);
        }
    }
    bool starts_again() const noexcept {
        return !beside_.target->closed && socket_awaitable::starts_again();
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return what_ == step::send ? "send" : "receive"; }

  private:
    socket_state::use beside_;
    step what_;
    mut_bytes room_;
};

const wait_kind relay_kind{"relay", &relay_op::cancel_op, nullptr, &relay_op::describe};

/// The kernel cannot carry from this socket, or to it.
bool cannot_carry(const error& why) {
    return why == std::errc::invalid_argument || why == std::errc::function_not_supported ||
           why == std::errc::operation_not_supported;
}

/// What the two directions of a relay know of each other.
struct relay_state {
    clock::time_point moved;  // when bytes were handed over for the last time
    bool failed = false;      // one of the directions has
};

/// The way from one socket to the other.
class direction {
  public:
    struct names {
        const char* from;
        const char* to;
    };
    direction(socket_state& from, socket_state& to, names called, std::uint64_t& count,
              relay_state& both, std::size_t pipe_bytes)
        : from_(from), to_(to), called_(called), count_(count), both_(both) {
        // Without a descriptor to spare it goes without a pipe.
        if (auto made = io::open_carrier(*from.home, pipe_bytes)) pipe_ = *made;
        copies_ = pipe_.in < 0;
    }
    ~direction() { io::close_carrier(*from_.home, pipe_); }
    direction(const direction&) = delete;
    direction& operator=(const direction&) = delete;

    void joins(direction& opposite) noexcept { opposite_ = &opposite; }
    /// Until the end of what comes in.
    task<> run();
    /// One of the directions has failed: what has come is handed over as far as it is taken at
    /// once.
    void finish();

  private:
    enum class want : std::uint8_t { nothing, input, room, turn };

    result<want> pass();
    result<want> held_up(error why, want what);
    result<want> end_of_input();
    task<> wait(want what);
    task<> copy(want what);
    task<> receive_piece();
    task<> send_piece();
    result<> still_open();
    void has_moved() noexcept { both_.moved = from_.home->time(); }
    error failed(error why, const socket_state& at);

    socket_state& from_;
    socket_state& to_;
    const names called_;
    std::uint64_t& count_;
    relay_state& both_;
    direction* opposite_ = nullptr;
    io::carrier pipe_{};
    std::size_t held_ = 0;  // in the pipe
    bool copies_ = false;   // the pipe is of no use, or there is none
    bool ended_ = false;
    std::vector<std::byte> room_{};
    mut_bytes piece_{};  // of that, and still to be sent before what the pipe holds
};

/// Says at which of the two sockets it failed.
error direction::failed(error why, const socket_state& at) {
    both_.failed = true;
    if (why == errc::cancelled) return why;
    const bool came_in = &at == &from_;
    why.while_doing(words([&] {
        const auto peer = to_address(io::peer_name(*at.home, at.fd)).value_or(address());
        return std::string(came_in ? "receive from " : "send to ") +
               (came_in ? called_.from : called_.to) + ", " + describe_socket(at.fd, peer);
    }));
    return why;
}

result<> direction::still_open() {
    if (!from_.closed && !to_.closed) return {};
    return failed(error::cancelled(cancel_cause::none, "relay"), from_);
}

task<> direction::run() {
    want waited = want::nothing;  // for what it waited last, and could do nothing since
    while (!ended_) {
        const std::uint64_t before = count_;
        const want next = copies_ ? (held_ ? want::room : want::input) : co_await pass();
        if (count_ != before) has_moved();
        if (next == want::turn) {
            waited = want::nothing;
            co_await yield();
        } else if (copies_ || (next == waited && count_ == before)) {
            // It was ready, and is not. A poll is told of the peer's half-close again and again.
            waited = want::nothing;
            co_await copy(next);
        } else if (next != want::nothing) {
            waited = next;
            co_await wait(next);
        }
    }
}

/// Moves what it can without waiting, and says what it waits for then.
result<direction::want> direction::pass() {
    loop& home = *from_.home;
    for (std::size_t moved = 0; moved < most_at_once;) {
        if (auto open = still_open(); !open) return open.error();
        if (held_ == 0) {
            auto got = io::try_fetch(home, pipe_, from_.fd, pipe_.capacity);
            if (!got) return held_up(std::move(got.error()), want::input);
            if (*got == 0) return end_of_input();
            held_ = *got;
        }
        auto taken = io::try_forward(home, pipe_, to_.fd, held_);
        if (!taken) return held_up(std::move(taken.error()), want::room);
        held_ -= *taken;
        moved += *taken;
        count_ += *taken;
    }
    return want::turn;
}

result<direction::want> direction::held_up(error why, want what) {
    if (cannot_carry(why)) copies_ = true;
    if (copies_ || why == std::errc::resource_unavailable_try_again) return what;
    return failed(std::move(why), what == want::input ? from_ : to_);
}

/// Passes the end on, if it is one.
result<direction::want> direction::end_of_input() {
    const bool still_sends = opposite_ && !opposite_->ended_;
    if (still_sends && was_reset(*from_.home, from_.fd)) {
        return failed(error::from_errno(ECONNRESET), from_);
    }
    ended_ = true;
    if (both_.failed) return want::nothing;
    if (auto done = io::shutdown(*to_.home, to_.fd, SHUT_WR); !done) {
        return failed(std::move(done.error()), to_);
    }
    return want::nothing;
}

task<> direction::wait(want what) {
    const bool for_input = what == want::input;
    socket_state& on = for_input ? from_ : to_;
    auto ready = co_await as_result(relay_op(
        on, for_input ? to_ : from_, for_input ? step::wait_for_input : step::wait_for_room));
    if (!ready) co_await result<>(failed(std::move(ready.error()), on));
}

/// Copies what comes next, and by that waits until it comes, or until there is room.
task<> direction::copy(want what) {
    room_.resize(copies_ ? copied_bytes : waiting_bytes);
    if (what == want::input) {
        co_await receive_piece();
    } else {
        const mut_bytes some = mut_bytes(room_).first(std::min(held_, room_.size()));
        piece_ = some.first(co_await io::take(*from_.home, pipe_, some));
        held_ -= piece_.size();
    }
    co_await send_piece();
}

task<> direction::receive_piece() {
    co_await still_open();
    auto got = co_await as_result(relay_op(from_, to_, step::receive, room_));
    if (!got) co_await result<>(failed(std::move(got.error()), from_));
    if (*got == 0) {
        co_await end_of_input();
    } else {
        piece_ = mut_bytes(room_).first(*got);
    }
}

task<> direction::send_piece() {
    while (!piece_.empty()) {
        co_await still_open();
        auto taken = co_await as_result(relay_op(to_, from_, step::send, piece_));
        if (!taken) co_await result<>(failed(std::move(taken.error()), to_));
        count_ += *taken;
        piece_ = piece_.subspan(*taken);
        has_moved();
    }
}

void direction::finish() {
    if (!still_open()) return;
    while (!piece_.empty()) {
        const auto taken = io::try_send(*to_.home, to_.fd, piece_);
        if (!taken || *taken == 0) return;
        count_ += *taken;
        piece_ = piece_.subspan(*taken);
    }
    // As much as a dead socket can have received, and no flood of one that is not dead.
    for (int turn = 0; turn < most_last_turns && !copies_ && !ended_; ++turn) {
        const auto next = pass();
        if (!next || *next != want::turn) return;
    }
}

/// Fails once nothing has moved for so long.
task<> watch_for_silence(const relay_state& both, clock::duration most) {
    loop& home = loop::current();
    for (;;) {
        const clock::duration silent = home.time() - both.moved;
        if (silent >= most) {
            const auto all = std::chrono::round<milliseconds>(most).count();
            co_await result<>(error(std::errc::timed_out, words([all] {
                                        return "relay, in which nothing moved for " +
                                               std::to_string(all) + " ms";
                                    })));
        }
        co_await sleep(most - silent);
    }
}

task<> unless_silent(task<> work, const relay_state& both, clock::duration most) {
    if (most <= most.zero()) co_return co_await std::move(work);
    co_await race(std::move(work), watch_for_silence(both, most));
}

task<> run_both(direction& there, direction& back) { co_await gather(there.run(), back.run()); }

result<> must_be_stream(const socket_state& on) {
    const auto type = io::get_option(*on.home, on.fd, SOL_SOCKET, SO_TYPE);
    if (!type) return type.error();
    if (*type == SOCK_STREAM) return {};
    return error(errc::value_error, "relay bytes of a socket that is no stream");
}

constexpr direction::names forth{"the first socket", "the second socket"};
constexpr direction::names backward{forth.to, forth.from};

task<relay_report> relay_both(socket_hold one, socket_hold other, relay_options how) {
    relay_report own;
    relay_report& counts = how.progress ? *how.progress : own;
    counts = {};
    if (one == other) co_return error(errc::value_error, "relay bytes of a socket to itself");
    co_await must_be_stream(*one);
    co_await must_be_stream(*other);
    relay_state both{.moved = one->home->time()};
    direction there(*one, *other, forth, counts.there, both, how.pipe_bytes);
    direction back(*other, *one, backward, counts.back, both, how.pipe_bytes);
    there.joins(back);
    back.joins(there);
    const auto ended =
        co_await as_result(unless_silent(run_both(there, back), both, how.idle_timeout));
    if (!ended) {
        if (both.failed && ended.error() != errc::cancelled) {
            there.finish();
            back.finish();
        }
        co_return ended.error();
    }
    co_return counts;
}

task<std::uint64_t> relay_there(socket_hold from, socket_hold to, relay_options how) {
    relay_report own;
    relay_report& counts = how.progress ? *how.progress : own;
    counts = {};
    co_await must_be_stream(*from);
    co_await must_be_stream(*to);
    relay_state state{.moved = from->home->time()};
    direction there(*from, *to, forth, counts.there, state, how.pipe_bytes);
    co_await unless_silent(there.run(), state, how.idle_timeout);
    co_return counts.there;
}

}  // namespace
}  // namespace detail

task<relay_report> relay(socket& one, socket& other, relay_options how) {
    return detail::relay_both(detail::socket_access::hold(one), detail::socket_access::hold(other),
                              how);
}

task<std::uint64_t> relay_one_way(socket& from, socket& to, relay_options how) {
    return detail::relay_there(detail::socket_access::hold(from), detail::socket_access::hold(to),
                               how);
}

}  // namespace ouro
