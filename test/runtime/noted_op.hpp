// An operation that writes down its completions, and descriptors to use it on.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/op.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/waiters.hpp>

#include "at_once.hpp"

namespace ouro::test {

/// The op lives on the heap, with the memory it names (`room`): when a test ends early, the kernel
/// still owns both, and they go with the last completion.
class noted_op {
    struct record;
    std::unique_ptr<record> kept_;

  public:
    noted_op();
    ~noted_op();
    noted_op(const noted_op&) = delete;
    noted_op& operator=(const noted_op&) = delete;
    operator op&() noexcept;

    bool ended() const noexcept { return terminals != 0; }
    /// Waits for the terminal completion and yields its `res`.
    task<std::int32_t> end() {
        while (!ended()) co_await endings.wait();
        co_return results.empty() ? -ENOMEM : results.back();
    }
    /// Forgets what came, for the next start.
    void forget() {
        results.clear();
        received.clear();
        terminals = 0;
    }
    /// Memory for the operation, `size` bytes. The last one is gone after another call.
    std::span<std::byte> room(std::size_t size);

    std::vector<std::int32_t>& results;  // of all completions, in order
    int& terminals;                      // completions without `more`: one is right
    std::string& received;               // what shared-ring receives lent
    function<void(noted_op&)>& then;     // called at each completion
    detail::waiter_list& endings;
    const bool& in_flight;
    const std::int32_t& res;
};

struct noted_op::record : op {
    explicit record(noted_op& made_for) noexcept : op(&noted), owner(&made_for) {}

    noted_op* owner;  // null: it is gone
    std::vector<std::int32_t> results;
    int terminals = 0;
    std::string received;
    function<void(noted_op&)> then;
    detail::waiter_list endings;
    std::vector<std::byte> room;

  private:
    static void noted(op& done) noexcept {
        auto& self = static_cast<record&>(done);
        const bool last = !(done.flags & op_flags::more);
        if (!self.owner) {
            if (last) delete &self;
            return;
        }
        try {
            self.results.push_back(done.res);
            if ((done.flags & op_flags::lent) && done.res > 0) {
                self.received.append(reinterpret_cast<const char*>(done.data),
                                     static_cast<std::size_t>(done.res));
            }
        } catch (const std::bad_alloc&) {
            // Torture takes memory away. What the test asserts fails then, and nothing else does.
        }
        if (last) {
            ++self.terminals;
            self.endings.wake_all();
        }
        if (self.then) self.then(*self.owner);
    }
};

inline noted_op::noted_op()
    : kept_(new record(*this)),
      results(kept_->results),
      terminals(kept_->terminals),
      received(kept_->received),
      then(kept_->then),
      endings(kept_->endings),
      in_flight(kept_->in_flight),
      res(kept_->res) {}

inline noted_op::~noted_op() {
    if (!kept_->in_flight) return;
    BOOST_CHECK_MESSAGE(false, "a test left an operation in flight");
    loop* const home = loop::try_current();
    record* const left = kept_.release();
    left->owner = nullptr;
    left->then = {};
    if (home) io::cancel(*home, *left);
}

inline noted_op::operator op&() noexcept { return *kept_; }
inline std::span<std::byte> noted_op::room(std::size_t size) {
    kept_->room.resize(size);
    return kept_->room;
}

/// Two connected unix sockets of a loop.
struct descriptors {
    explicit descriptors(loop& on) : home(on) {
        int pair[2] = {-1, -1};
        BOOST_REQUIRE(io::socket_pair(home, AF_UNIX, SOCK_STREAM, pair).has_value());
        ours = pair[0];
        theirs = pair[1];
    }
    ~descriptors() {
        io::close(home, ours);
        io::close(home, theirs);
    }
    descriptors(const descriptors&) = delete;
    descriptors& operator=(const descriptors&) = delete;
    void peer_sends(std::string_view text) const { send_now(home, theirs, text); }
    void peer_ends() const { end_now(home, theirs); }
    loop& home;
    int ours = -1;
    int theirs = -1;
};

/// Two connected unix sockets of the process, which no loop knows of.
struct loopless_descriptors {
    loopless_descriptors() {
        int pair[2] = {-1, -1};
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        ours = pair[0];
        theirs = pair[1];
    }
    ~loopless_descriptors() {
        ::close(ours);
        ::close(theirs);
    }
    loopless_descriptors(const loopless_descriptors&) = delete;
    loopless_descriptors& operator=(const loopless_descriptors&) = delete;
    void peer_sends(std::string_view text) const {
        BOOST_REQUIRE(::send(theirs, text.data(), text.size(), MSG_NOSIGNAL) ==
                      static_cast<ssize_t>(text.size()));
    }
    int ours = -1;
    int theirs = -1;
};

/// Takes what has arrived at `fd` and waits for nothing: a receive with its cancel right behind it
/// gives what is there.
inline task<std::string> drained(int fd) {
    loop& home = loop::current();
    std::string all;
    for (;;) {
        noted_op receive;
        const auto piece = receive.room(65536);
        io::recv(home, receive, fd, piece);
        io::cancel(home, receive);
        const std::int32_t count = co_await receive.end();
        if (count <= 0) co_return all;
        all += as_text(bytes(piece).first(static_cast<std::size_t>(count)));
    }
}

}  // namespace ouro::test
