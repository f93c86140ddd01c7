// Running programs: the calls, and what protocols do by themselves.
#include <ouro/proto/subprocess.hpp>

#include <csignal>

#include <ouro/runtime/loop.hpp>

#include "child_transport.hpp"

namespace ouro {

void subprocess_protocol::connection_made(std::shared_ptr<subprocess_transport>) {}
void subprocess_protocol::pipe_data_received(int, bytes) {}
void subprocess_protocol::pipe_connection_lost(int, error) {}
void subprocess_protocol::process_exited() {}

std::error_code subprocess_transport::terminate() { return send_signal(SIGTERM); }
std::error_code subprocess_transport::kill() { return send_signal(SIGKILL); }

namespace detail {
namespace {

void give_up(wait_point& wait, cancel_cause cause) noexcept;
void let_go(wait_point& wait) noexcept;
constexpr wait_kind start_kind{"run a program", &give_up, &let_go};

/// Starts the child and waits until `connection_made` has run. It is started here, where a
/// cancellation that was due has been seen: a child that runs always has somebody who waits for it.
class [[nodiscard]] child_start : public awaitable<child_start, void> {
  public:
    child_start(child_transport& link, spawn_plan& plan, pipe_protocol_factory& pipes) noexcept
        : awaitable(start_kind), link_(link), plan_(plan), pipes_(pipes) {}
    void start() noexcept {
        try {
            if (auto started = link_.start(plan_, pipes_, this); !started) {
                wake_failed(std::move(started.error()));
            }
        } catch (...) {
            wake_failed(error::from_exception(std::current_exception(), "run a program"));
        }
    }
    void value() const noexcept {}
    void cancel(cancel_cause cause) noexcept { link_.give_up(cause); }
    void revoke() noexcept { link_.close(); }

  private:
    child_transport& link_;
    spawn_plan& plan_;
    pipe_protocol_factory& pipes_;
};

void give_up(wait_point& wait, cancel_cause cause) noexcept {
    static_cast<child_start&>(wait).cancel(cause);
}
void let_go(wait_point& wait) noexcept { static_cast<child_start&>(wait).revoke(); }

}  // namespace

task<std::shared_ptr<subprocess_transport>>
start_subprocess(std::shared_ptr<subprocess_protocol> receiver, std::vector<std::string> arguments,
                 subprocess_options options, pipe_protocol_factory pipes) {
    loop& home = loop::current();
    auto link = std::make_shared<child_transport>(home, std::move(receiver));
    spawn_plan plan(home, std::move(arguments), std::move(options));
    co_await plan.check();
    co_await child_start(*link, plan, pipes);
    co_return link;
}

std::vector<std::string> shell_arguments(std::string command) {
    return {"/bin/sh", "-c", std::move(command)};
}

}  // namespace detail
}  // namespace ouro
