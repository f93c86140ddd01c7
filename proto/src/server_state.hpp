// The inside of a server: listening sockets, what comes in, and who waits for the end.
#pragma once

#include <memory>
#include <vector>

#include <ouro/proto/server.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/timer_node.hpp>
#include <ouro/runtime/waiters.hpp>

namespace ouro::detail {

class server_state final : public loop_resource, public std::enable_shared_from_this<server_state> {
  public:
    server_state(loop& home, protocol_factory factory, const server_options& options);
    ~server_state();

    /// Adds a bound socket. Errors  when it does not tell its address.
    result<> add(socket bound);
    result<> start_serving();
    void close() noexcept;
    void close_clients() noexcept;
    void abort_clients() noexcept;
    /// A connection has ended.
    void client_gone() noexcept;

    bool serving() const noexcept { return serving_; }
    bool closed() const noexcept { return closed_; }
    /// True once closed and no connection is left.
    bool gone() const noexcept { return closed_ && client_count_ == 0; }
    std::size_t client_count() const noexcept { return client_count_; }
    std::vector<const socket_view*> sockets() const;
    std::vector<address> addresses() const;
    loop& home() const noexcept { return *home_; }

    waiter_list closed_waiters;   // released when the server is gone
    waiter_list forever_waiters;  // serve_forever; released when it is closed
    bool forever = false;         // serve_forever is running

  private:
    /// One listening socket.
    struct listener : socket_view, op, timer_node {
        listener(server_state& owner, loop& home, int fd) noexcept;
        server_state* owner;
        address where{};
        unsigned failures = 0;               // in a row
        std::shared_ptr<server_state> keep;  // while an accept or its retry is under way
        void forget_descriptor() noexcept { fd_ = -1; }
    };
    void arm(listener& at) noexcept;
    static void accepted(op& done) noexcept;
    static void retry(timer_node& timer) noexcept;
    void take_connection(int fd) noexcept;
    void refused(listener& at, int failure) noexcept;
    void leave_if_gone() noexcept;

    loop* home_;
    protocol_factory factory_;
    context values_ = context::current();  // what it runs with, and what connections get (rule 291)
    server_options options_;
    std::vector<std::unique_ptr<listener>> listeners_;
    list<loop_resource> clients_;
    std::size_t client_count_ = 0;
    std::shared_ptr<server_state> self_;  // the loop's hold, while it serves or has connections
    bool serving_ = false;
    bool closed_ = false;
    bool warned_ = false;  // the lack of descriptors was reported
};

}  // namespace ouro::detail
