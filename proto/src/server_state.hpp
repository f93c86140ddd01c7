// The inside of a server: listening sockets, what comes in, and who waits for the end.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ouro/proto/server.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/timer_node.hpp>
#include <ouro/runtime/waiters.hpp>

namespace ouro::detail {

/// server.cpp has its life, server_accept.cpp what comes in, server_open.cpp how it is made.
class server_state final : public loop_resource, public std::enable_shared_from_this<server_state> {
  public:
    server_state(loop& home, protocol_factory factory, const server_options& options);
    ~server_state();

    /// Adds a bound socket. Errors  when it does not tell its address.
    result<> add(socket bound);
    /// The socket that was added last has a file at `path`, which goes with the server as long as
    /// it is this one.
    void own_file(std::string path, const io::file_identity& file);
    result<> start_serving();
    void close() noexcept;
    void close_clients() noexcept;
    void abort_clients() noexcept;
    /// Aborts every connection. Yields who they were and what they had not sent.
    std::vector<stop_report::aborted_client> abort_the_rest();
    /// A connection has ended.
    void client_gone() noexcept;

    bool serving() const noexcept { return serving_; }
    bool closed() const noexcept { return closed_; }
    /// True once closed and no connection is left.
    bool gone() const noexcept { return closed_ && client_count_ == 0; }
    std::size_t client_count() const noexcept { return client_count_; }
    bool has_sockets() const noexcept { return !listeners_.empty(); }
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
        bool held = false;                   // its accept was cancelled by the limit or the rate
        std::string path;                    // of the file that goes with the server, or empty
        io::file_identity file;
        bool idle() const noexcept { return !op::in_flight && !timer_node::queued(); }
        void forget_descriptor() noexcept { fd_ = -1; }
    };
    /// The timer of the accept rate.
    struct pacemaker : timer_node {
        server_state* owner = nullptr;
    };
    // Accepting.
    bool limited() const noexcept {
        return options_.max_connections != 0 || options_.max_accept_rate > 0;
    }
    bool full() const noexcept {
        return options_.max_connections != 0 && client_count_ >= options_.max_connections;
    }
    bool may_accept() const noexcept { return !closed_ && !full() && !pace_.queued(); }
    void arm(listener& at) noexcept;
    void hold_back() noexcept;
    void go_on() noexcept;
    void count_for_rate() noexcept;
    static void accepted(op& done) noexcept;
    static void retry(timer_node& timer) noexcept;
    static void pace_came(timer_node& timer) noexcept;
    void came_in(int fd) noexcept;
    void take_connection(int fd) noexcept;
    void take_from_hand() noexcept;
    void refused(listener& at, int failure) noexcept;
    void warn_of(int failure) noexcept;
    // The end.
    void remove_file_of(const listener& at) noexcept;
    void leave_if_gone() noexcept;

    loop* home_;
    protocol_factory factory_;
    context values_ = context::current();  // what it runs with, and what connections get (rule 291)
    server_options options_;
    std::vector<std::unique_ptr<listener>> listeners_;
    list<loop_resource> clients_;
    std::size_t client_count_ = 0;
    std::vector<int> in_hand_;            // accepted at the limit: at most one of each listener
    pacemaker pace_;                      // queued while the rate forbids to accept
    clock::time_point next_accept_{};     // by the rate
    std::shared_ptr<server_state> self_;  // the loop's hold, while it serves or has connections
    bool serving_ = false;
    bool closed_ = false;
    bool warned_ = false;  // the lack of descriptors was reported
};

}  // namespace ouro::detail
