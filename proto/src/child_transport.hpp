// The transport of a child: its pipes, its end, and what its protocol is told of them.
#pragma once

#include <memory>
#include <optional>

#include <ouro/proto/subprocess.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/timer_node.hpp>
#include <ouro/runtime/wait.hpp>

#include "pipe_transport.hpp"
#include "spawn_plan.hpp"

namespace ouro::detail {

// Each is a base so that a completion leads to the transport by a cast.
struct exit_op : op {
    using op::op;
};
struct retry_timer : timer_node {};

/// made -> running -> (ended, pipes gone, in any order) -> lost. What it calls, it calls from the
/// ready queue or from a completion.
class child_transport final : public subprocess_transport,
                              public std::enable_shared_from_this<child_transport>,
                              private exit_op,
                              private retry_timer,
                              private ready_node,
                              public loop_resource {
  public:
    child_transport(loop& home, std::shared_ptr<subprocess_protocol> receiver);
    ~child_transport() override;

    /// Starts the program; from here on it is live, and wakes `creator` after `connection_made`.
    result<> start(spawn_plan& plan, pipe_protocol_factory& pipes, wait_point* creator);
    /// The creator was cancelled: kills the child, and lets the creator go when it is gone.
    void give_up(cancel_cause cause) noexcept;

    void close() override { shut_down(); }
    bool is_closing() const noexcept override { return closing_; }
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::shared_ptr<base_protocol> get_protocol() const override { return receiver_; }
    std::any extra_info(std::string_view name) const override;
    int pid() const noexcept override { return child_.pid; }
    std::optional<int> return_code() const noexcept override { return code_; }
    std::shared_ptr<transport> pipe_transport(int fd) const noexcept override;
    std::error_code send_signal(int signum) override;

    // From the pipes.
    void pipe_data(int fd, bytes data);
    void pipe_pauses();
    void pipe_resumes();
    void pipe_lost(int fd, error why) noexcept;
    void pipe_gone() noexcept;

  private:
    result<> make_pipes(spawn_plan& plan, pipe_protocol_factory& pipes);
    static void run_soon(ready_node& node) noexcept;
    void call_made() noexcept;
    void watch() noexcept;
    static void exit_came(op& done) noexcept;
    void ended(std::int32_t res) noexcept;
    void finish_if_over() noexcept;
    void lose() noexcept;
    void shut_down() noexcept;
    void schedule() noexcept;
    template <class Callback>
    void guarded(const char* where, Callback&& callback) noexcept {
        try {
            callback();
        } catch (...) {
            report(where, error::from_exception(std::current_exception(), where));
        }
    }
    void report(const char* where, error why) noexcept;
    void warn(error why) noexcept;

    loop* home_;
    std::shared_ptr<child_transport> self_;  // the loop's hold, until lost
    context values_ = context::current();    // what callbacks run with
    std::shared_ptr<subprocess_protocol> receiver_;
    // Replaced, kept until the next turn.
    std::vector<std::shared_ptr<subprocess_protocol>> retired_;
    std::shared_ptr<detail::pipe_transport> pipes_[3];
    io::child child_;
    std::optional<int> code_;
    wait_point* creator_ = nullptr;
    cancel_cause given_up_ = cancel_cause::none;
    io::signal_reach reach_ = io::signal_reach::process;
    int pipes_left_ = 0;
    bool begun_ = false;     // connection_made was called
    bool made_due_ = false;  // what the ready node is queued for
    bool creator_due_ = false;
    bool lost_due_ = false;
    bool closing_ = false;
};

}  // namespace ouro::detail
