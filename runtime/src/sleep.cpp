// Waits that only time ends.
#include <ouro/runtime/spawn.hpp>

#include "inspection.hpp"
#include "loop_state.hpp"

namespace ouro::detail {
namespace {

void cancel_yield(wait_point&, cancel_cause) noexcept {}  // it is in the ready queue already

}  // namespace

const wait_kind yield_kind{"yield", &cancel_yield};

struct sleep_access {
    static void fired(timer_node& timer) noexcept {
        static_cast<sleep_awaitable&>(timer).complete();
    }
    static void cancelled(wait_point& wait, cancel_cause cause) noexcept {
        auto& self = static_cast<sleep_awaitable&>(wait);
        remove_timer(*self.home_, self);
        self.wake_failed(error::cancelled(cause, "sleep"));
    }
    static std::string describe(const wait_point& wait) {
        const auto& self = static_cast<const sleep_awaitable&>(wait);
        if (self.when == clock::time_point::max()) return "for ever";
        return "another " + to_text(self.when - self.home_->time());
    }
};

const wait_kind sleep_kind{"sleep", &sleep_access::cancelled, nullptr, &sleep_access::describe};

sleep_awaitable::sleep_awaitable(result<clock::time_point> deadline) noexcept
    : awaitable(sleep_kind), deadline_(std::move(deadline)) {
    fire = &sleep_access::fired;
}

sleep_awaitable::~sleep_awaitable() {
    if (queued()) remove_timer(*home_, *this);  // its task was destroyed by a closing loop
}

void sleep_awaitable::start() noexcept {
    home_ = &loop::current();
    if (!deadline_) return wake_failed(std::move(deadline_.error()));
    if (*deadline_ == clock::time_point::min()) return wake();
    when = *deadline_;
    try {
        add_timer(*home_, *this);
    } catch (const std::bad_alloc&) {
        wake_failed(error(std::errc::not_enough_memory, "sleep"));
    }
}

}  // namespace ouro::detail
