// What one loop hears of the signals of its process.
#pragma once

#include <map>
#include <memory>
#include <thread>

#include <ouro/runtime/op.hpp>
#include <ouro/runtime/signals.hpp>

#include "loop_state.hpp"

namespace ouro::detail {

/// Made with the first listener of a loop, and gone with the last: then the kernel is asked for the
/// operation back, and it deletes itself when that has come.
class signal_watch {
  public:
    /// The watch of `home`, made when there is none.
    static signal_watch& of(loop_state& home);

    result<> set_handler(int signum, callback handler);
    bool remove_handler(int signum) noexcept;
    /// Tells `listener` of what it wants.
    result<> add(signal_listener& listener);
    /// Tells `listener` of what it wants as long as there is neither a handler nor a set for it.
    result<> add_fallback(signal_listener& listener);
    void remove(signal_listener& listener) noexcept;
    /// Removes all there are, and gives the signals back.
    void end() noexcept;
    bool belongs_here() const noexcept { return thread_ == std::this_thread::get_id(); }

  private:
    struct ready_op : op {
        using op::op;
        signal_watch* watch = nullptr;
    };
    struct retry_timer : timer_node {
        signal_watch* watch = nullptr;
    };
    explicit signal_watch(loop_state& home) noexcept;
    ~signal_watch() = default;
    std::uint64_t wanted() noexcept;
    result<> apply();
    void drop_if_idle() noexcept;
    void arm() noexcept;
    void arm_later() noexcept;
    static void ready(op& done) noexcept;
    void tell_all() noexcept;
    void tell(int signum) noexcept;
    void gone() noexcept;

    loop_state& home_;
    const std::thread::id thread_;
    ready_op ready_;
    retry_timer retry_;
    int fd_ = -1;
    std::uint64_t caught_ = 0;
    std::map<int, std::shared_ptr<callback>> handlers_;  // shared with the call of one
    list<signal_listener> listeners_;
    list<signal_listener> fallbacks_;
    bool telling_ = false;  // handlers run
    bool ended_ = false;
};

/// Why `signum` cannot be waited for, or nothing.
result<> check_signal(loop_state& home, int signum);

}  // namespace ouro::detail
