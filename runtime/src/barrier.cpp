// Barriers.
#include <ouro/runtime/barrier.hpp>

#include <system_error>

namespace ouro {
namespace detail {

constexpr wait_kind barrier_wait::kind{"wait at barrier", &line_wait::cancelled,
                                       &barrier_wait::revoke, &barrier_wait::describe};

bool barrier_wait::await_ready() noexcept {
    const bool last = of_->line_.waiting_count() + 1 == of_->party_count_;
    if (!last || of_->broken_ || of_->draining()) return false;
    index_ = of_->party_count_ - 1;
    of_->release();
    return true;
}

void barrier_wait::start() noexcept {
    if (of_->broken_) return wake_failed(error(errc::broken_barrier, kind.name));
    if (!of_->bond_.admits(*this)) return;
    (of_->draining() ? of_->next_round_ : of_->line_).push(*this);
}

void barrier_wait::go() noexcept {
    leave();
    of_->let_in();
}

void barrier_wait::revoke(wait_point& wait) noexcept { static_cast<barrier_wait&>(wait).go(); }

std::string barrier_wait::describe(const wait_point& wait) {
    const auto& self = static_cast<const barrier_wait&>(wait);
    return self.line() ? self.line()->describe(self.of_) : std::string();
}

}  // namespace detail

barrier::barrier(std::ptrdiff_t party_count) : party_count_(static_cast<std::size_t>(party_count)) {
    if (party_count < 1) {
        throw std::system_error(make_error_code(errc::value_error), "a barrier without parties");
    }
}

void barrier::release() noexcept {
    for (std::size_t index = 0; !line_.empty(); ++index) {
        static_cast<detail::barrier_wait*>(line_.front())->index_ = index;
        line_.grant();
    }
}

/// Starts the next round once the last one has left this one.
void barrier::let_in() noexcept {
    while (!draining() && !next_round_.empty()) {
        detail::line_wait& first = *next_round_.front();
        first.leave();
        line_.push(first);
        if (line_.waiting_count() == party_count_) release();
    }
}

void barrier::reset() noexcept {
    broken_ = false;
    const error why(errc::broken_barrier, "wait at barrier that was reset");
    line_.fail_granted(why);
    line_.fail_waiting(why);
    let_in();
}

void barrier::abort() noexcept {
    broken_ = true;
    const error why(errc::broken_barrier, "wait at barrier that was aborted");
    line_.fail_granted(why);
    line_.fail_waiting(why);
    next_round_.fail_waiting(why);
}

}  // namespace ouro
