// Any number of frames that wait for one thing to happen. For makers of awaitable objects.
#pragma once

#include <ouro/runtime/intrusive.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro::detail {

/// FIFO of waiting frames; they are woken through the ready queue. A cancelled one leaves without
/// touching the others.
class waiter_list {
  public:
    /// The await: ends when the list is woken.
    class [[nodiscard]] waiter : public awaitable<waiter, void>, public list_link {
      public:
        explicit waiter(waiter_list& in, const wait_kind& kind = wait_kind_default) noexcept
            : awaitable(kind), in_(&in) {}
        void start() noexcept { in_->waiting_.push_back(*this); }
        void value() const noexcept {}
        /// The `cancel` of its kind.
        static void leave(wait_point& wait, cancel_cause cause) noexcept {
            auto& self = static_cast<waiter&>(wait);
            self.list_link::unlink();
            self.wake_failed(error::cancelled(cause, self.kind().name));
        }

      private:
        waiter_list* in_;
    };

    waiter wait() noexcept { return waiter(*this); }
    waiter wait(const wait_kind& kind) noexcept { return waiter(*this, kind); }
    bool empty() const noexcept { return waiting_.empty(); }
    /// The one that has waited for longest, or null.
    const waiter* front() noexcept { return waiting_.front(); }
    void wake_all() noexcept {
        while (waiter* first = waiting_.pop_front()) first->wake();
    }
    void wake_all_failed(const error& why) noexcept {
        while (waiter* first = waiting_.pop_front()) first->wake_failed(why);
    }

  private:
    static const wait_kind wait_kind_default;
    list<waiter> waiting_;
};

inline constexpr wait_kind waiter_list::wait_kind_default{"wait", &waiter::leave};

}  // namespace ouro::detail
