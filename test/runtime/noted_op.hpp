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

/// Two connected unix sockets that no loop knows of.
struct descriptors {
    descriptors() {
        int pair[2] = {-1, -1};
        BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        ours = pair[0];
        theirs = pair[1];
    }
    ~descriptors() {
        ::close(ours);
        ::close(theirs);
    }
    descriptors(const descriptors&) = delete;
    descriptors& operator=(const descriptors&) = delete;
    void peer_sends(std::string_view text) const {
        BOOST_REQUIRE(::send(theirs, text.data(), text.size(), MSG_NOSIGNAL) ==
                      static_cast<ssize_t>(text.size()));
    }
    int ours = -1;
    int theirs = -1;
};

}  // namespace ouro::test
