// An operation that writes down its completions, and descriptors to use it on.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/op.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/waiters.hpp>

#include "at_once.hpp"

namespace ouro::test {

struct noted_op : op {
    noted_op() noexcept : op(&noted) {}

    bool ended() const noexcept { return terminals != 0; }
    /// Waits for the terminal completion and yields its `res`.
    task<std::int32_t> end() {
        while (!ended()) co_await endings.wait();
        co_return results.back();
    }
    /// Forgets what came, for the next start.
    void forget() {
        results.clear();
        received.clear();
        terminals = 0;
    }

    std::vector<std::int32_t> results;  // of all completions, in order
    int terminals = 0;                  // completions without `more`: one is right
    std::string received;               // what shared-ring receives lent
    function<void(noted_op&)> then;     // called at each completion
    detail::waiter_list endings;

  private:
    static void noted(op& done) noexcept {
        auto& self = static_cast<noted_op&>(done);
        self.results.push_back(done.res);
        if ((done.flags & op_flags::lent) && done.res > 0) {
            self.received.append(reinterpret_cast<const char*>(done.data),
                                 static_cast<std::size_t>(done.res));
        }
        if (!(done.flags & op_flags::more)) {
            ++self.terminals;
            self.endings.wake_all();
        }
        if (self.then) self.then(self);
    }
};

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
    std::vector<std::byte> piece(65536);
    std::string all;
    for (;;) {
        noted_op receive;
        io::recv(home, receive, fd, piece);
        io::cancel(home, receive);
        const std::int32_t count = co_await receive.end();
        if (count <= 0) co_return all;
        all += as_text(bytes(piece).first(static_cast<std::size_t>(count)));
    }
}

}  // namespace ouro::test
