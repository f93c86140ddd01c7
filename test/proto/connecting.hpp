// What tests of connecting connect to: listeners, ports that refuse, ports that never answer.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/spawn.hpp>

#include "recorder.hpp"

namespace ouro::test {

inline std::size_t descriptors() { return loop::current().counters().descriptors; }

/// Makes protocols that nobody looks at.
inline std::shared_ptr<base_protocol> any_protocol() {
    return make_recorder(kind::streaming)->as_protocol();
}

/// A listening socket on loopback.
inline task<socket> listening(int backlog_count = 100, std::string where = "127.0.0.1:0") {
    const address at = co_await address::parse(where);
    auto made = co_await socket::open(loop::current(), at.family());
    co_await made.bind(at);
    co_await made.listen(backlog_count);
    co_return made;
}

/// A loopback port nobody listens on: bound, so that nobody else takes it.
inline task<std::pair<socket, address>> deaf_port() {
    auto made = co_await socket::open(loop::current(), AF_INET);
    co_await made.bind(co_await address::parse("127.0.0.1:0"));
    const address where = co_await made.local_address();
    co_return std::pair(std::move(made), where);
}

/// Stands in the queue of `at`, from which nobody accepts. Behind a few of these a connect gets no
/// answer.
inline task<> stand_in_queue(address at) {
    auto made = co_await socket::open(loop::current(), at.family());
    co_await made.connect(at);
    co_await sleep(std::chrono::hours(1));
}

/// Lets every further connect to `at` wait for an answer, while it lives.
class crowd {
  public:
    static task<crowd> before(address at) {
        crowd made;
        for (int i = 0; i < 8; ++i) made.members_.push_back(spawn(stand_in_queue(at)));
        co_await sleep(std::chrono::milliseconds(2));
        co_return made;
    }
    /// Cancels them and waits for their end.
    task<> leave() {
        for (auto& each : members_) {
            each.cancel();
            BOOST_CHECK((co_await as_result(each.join())).error() == errc::cancelled);
        }
    }

  private:
    std::vector<task_handle<>> members_;
};

}  // namespace ouro::test
