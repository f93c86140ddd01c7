// A datagram protocol that records what happens to it and does what a test tells it to.
#pragma once

#include <boost/test/unit_test.hpp>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/proto/datagram.hpp>
#include <ouro/runtime/spawn.hpp>

#include "async_test.hpp"

namespace ouro::test {

/// Records, and refuses any order of calls but `made (datagram | error | pause | resume)* lost`.
class datagram_recorder final : public datagram_protocol {
  public:
    using hook = std::function<void()>;
    struct seen_datagram {
        std::string text;
        address from;
    };

    std::vector<seen_datagram> datagrams;
    std::vector<error> errors;
    std::vector<std::size_t> cut;  // whole lengths of datagrams that did not fit
    std::shared_ptr<datagram_transport> link;
    error why;
    int made = 0, pauses = 0, resumes = 0, losses = 0;
    hook on_made, on_datagram, on_error, on_pause, on_resume, on_lost;

    void connection_made(std::shared_ptr<datagram_transport> on) override {
        BOOST_TEST(++made == 1);
        link = std::move(on);
        run(on_made);
    }
    void datagram_received(bytes data, const address& from) override {
        expect_open();
        datagrams.push_back({std::string(as_text(data)), from});
        run(on_datagram);
    }
    void datagram_truncated(bytes data, const address& from, std::size_t whole_bytes) override {
        expect_open();
        cut.push_back(whole_bytes);
        if (tells_cuts) return datagram_protocol::datagram_truncated(data, from, whole_bytes);
        datagrams.push_back({std::string(as_text(data)), from});
    }
    void error_received(error reason) override {
        expect_open();
        errors.push_back(std::move(reason));
        run(on_error);
    }
    void pause_writing() override {
        expect_open();
        BOOST_TEST(++pauses == resumes + 1, "a pause while paused");
        run(on_pause);
    }
    void resume_writing() override {
        expect_open();
        BOOST_TEST(++resumes == pauses, "a resume while not paused");
        run(on_resume);
    }
    void connection_lost(error reason) override {
        expect_open();
        ++losses;
        why = std::move(reason);
        run(on_lost);
    }

    /// The texts that came, with a space between two.
    std::string texts() const {
        std::string all;
        for (const auto& each : datagrams) all += (all.empty() ? "" : " ") + each.text;
        return all;
    }
    /// Nothing is done any more, only recorded.
    void forget_hooks() { on_made = on_datagram = on_error = on_pause = on_resume = on_lost = {}; }
    bool tells_cuts = false;  // as the default does

  private:
    void expect_open() const {
        BOOST_TEST(made == 1);
        BOOST_TEST(losses == 0, "a call after connection_lost");
    }
    static void run(hook then) {
        if (then) then();
    }
};

/// An endpoint whose protocol records. It is aborted at the end of the scope.
struct endpoint {
    std::shared_ptr<datagram_recorder> seen;
    std::shared_ptr<datagram_transport> link;

    endpoint() = default;
    endpoint(std::shared_ptr<datagram_recorder> on, std::shared_ptr<datagram_transport> made)
        : seen(std::move(on)), link(std::move(made)) {}
    endpoint(endpoint&&) = default;
    endpoint& operator=(endpoint&&) = default;
    ~endpoint() {
        if (!link) return;
        seen->forget_hooks();
        link->abort();
    }
    /// Its own address.
    address name() const { return link->get_extra_info<address>("sockname"); }
};

/// 127.0.0.1 with a port of the kernel's choice.
inline address any_port() { return address::from_ip("127.0.0.1", 0).value(); }

/// A name in the abstract namespace that nobody else has.
inline address abstract_path() {
    return address::from_path("@ouro datagrams " + std::to_string(io::random(loop::current())))
        .value();
}

inline task<endpoint> open_endpoint(datagram_options options,
                                    std::shared_ptr<datagram_recorder> seen = nullptr) {
    if (!seen) seen = std::make_shared<datagram_recorder>();
    auto made = co_await create_datagram_endpoint([seen] { return seen; }, std::move(options));
    BOOST_CHECK(made.protocol == seen);
    co_return endpoint(std::move(seen), std::move(made.transport));
}

/// One that is bound and connected to nobody.
inline task<endpoint> open_bound() { co_return co_await open_endpoint({.local = any_port()}); }

/// One that is connected to `other`.
inline task<endpoint> open_connected(const address& other) {
    co_return co_await open_endpoint({.local = any_port(), .remote = other});
}

/// Two unix endpoints on a pair of sockets.
inline task<std::pair<endpoint, endpoint>> unix_endpoints() {
    auto sockets = co_await socket::pair(loop::current(), SOCK_DGRAM);
    std::vector<endpoint> made;
    for (socket* each : {&sockets.first, &sockets.second}) {
        auto seen = std::make_shared<datagram_recorder>();
        auto link = co_await create_datagram_endpoint([seen] { return seen; }, std::move(*each));
        made.emplace_back(std::move(seen), std::move(link.transport));
    }
    co_return std::pair(std::move(made[0]), std::move(made[1]));
}

/// Waits until `count` datagrams came.
inline task<> received(std::shared_ptr<datagram_recorder> by, std::size_t count) {
    co_await eventually([by = std::move(by), count] { return by->datagrams.size() >= count; });
}

}  // namespace ouro::test
