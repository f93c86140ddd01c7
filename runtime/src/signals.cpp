// Handlers and sets: what is wanted of the signals, and who is told when one came.
#include <ouro/runtime/signals.hpp>

#include <poll.h>

#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <ouro/runtime/io.hpp>

#include "process_signals.hpp"
#include "signal_watch.hpp"

namespace ouro {
namespace detail {
namespace {

// After the kernel had no memory for the wait.
constexpr auto retry_after = std::chrono::milliseconds(10);

}  // namespace

result<> check_signal(loop_state& home, int signum) {
    const auto refused = [&](errc code, const char* why) {
        return error(code, words([&] { return "catch " + signal_name(signum) + why; }));
    };
    if (home.closed || home.closing) return refused(errc::loop_closed, "");
    if (home.kernel->foreign_process()) {
        return refused(errc::invalid_state, " with the parent's loop, in a forked child");
    }
    const bool other_thread = home.running && home.thread != std::this_thread::get_id();
    if (other_thread || (home.signals && !home.signals->belongs_here())) {
        return refused(errc::wrong_thread, " from a thread that does not run the loop");
    }
    if (signum < 1 || signum > last_signal) return refused(errc::value_error, ": there is none");
    switch (signum) {
    case SIGKILL:
    case SIGSTOP:
        return refused(errc::value_error, ", which cannot be caught");
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGFPE:
        return refused(errc::value_error, ", which tells of a fault of the program itself");
    default:
        if (signum < 32 || signum >= SIGRTMIN) return {};
        return refused(errc::value_error, ", which the C library keeps for itself");
    }
}

// ---- the watch

signal_watch::signal_watch(loop_state& home) noexcept
    : home_(home), thread_(std::this_thread::get_id()), ready_(&signal_watch::ready) {
    ready_.watch = this;
    retry_.watch = this;
    retry_.fire = [](timer_node& due) noexcept { static_cast<retry_timer&>(due).watch->arm(); };
}

signal_watch& signal_watch::of(loop_state& home) {
    if (!home.signals) home.signals = new signal_watch(home);
    return *home.signals;
}

result<> signal_watch::set_handler(int signum, callback handler) try {
    auto held = std::make_shared<callback>(std::move(handler));
    auto& place = handlers_[signum];
    place.swap(held);
    auto caught = apply();
    if (!caught) {
        place.swap(held);
        if (!place) handlers_.erase(signum);
        drop_if_idle();
    }
    return caught;
} catch (...) {
    drop_if_idle();
    throw;
}

bool signal_watch::remove_handler(int signum) noexcept {
    if (handlers_.erase(signum) == 0) return false;
    (void)apply();
    return true;
}

result<> signal_watch::add(signal_listener& listener) {
    listeners_.push_back(listener);
    auto caught = apply();
    if (!caught) remove(listener);
    return caught;
}

result<> signal_watch::add_fallback(signal_listener& listener) {
    fallbacks_.push_back(listener);
    auto caught = apply();
    if (!caught) remove(listener);
    return caught;
}

void signal_watch::remove(signal_listener& listener) noexcept {
    listener.unlink();
    (void)apply();  // to want less never fails
}

std::uint64_t signal_watch::wanted() noexcept {
    std::uint64_t all = 0;
    for (const auto& [signum, handler] : handlers_) all |= signal_bit(signum);
    for (auto* each = listeners_.front(); each; each = listeners_.after(*each)) all |= each->wanted;
    for (auto* each = fallbacks_.front(); each; each = fallbacks_.after(*each)) all |= each->wanted;
    return all;
}

/// Catches what is wanted now, and nothing else.
result<> signal_watch::apply() {
    const std::uint64_t mask = wanted();
    if (mask == caught_) {
        drop_if_idle();
        return {};
    }
    if (mask == 0) {
        end();
        return {};
    }
    auto caught = io::watch_signals(home_.self, fd_, mask);
    if (!caught) {
        if (caught.error() != std::errc::device_or_resource_busy) return caught.error();
        return error(errc::wrong_loop, "catch a signal while another loop has the signals");
    }
    fd_ = *caught;
    caught_ = mask;
    // While handlers run, `ready` arms it again at its end.
    if (!telling_ && !ready_.in_flight && !retry_.queued()) arm();
    return {};
}

/// A watch that was made for what could not be caught has nothing to end.
void signal_watch::drop_if_idle() noexcept {
    if (fd_ < 0 && !ended_ && wanted() == 0) end();
}

void signal_watch::end() noexcept {
    ended_ = true;
    home_.signals = nullptr;
    handlers_.clear();
    while (listeners_.pop_front()) continue;
    while (fallbacks_.pop_front()) continue;
    if (caught_) (void)io::watch_signals(home_.self, fd_, 0);
    caught_ = 0;
    if (ready_.in_flight) {
        const engine& kernel = *home_.kernel;
        if (!kernel.foreign_thread() && !kernel.foreign_process()) io::cancel(home_.self, ready_);
    } else if (!telling_) {
        gone();
    }
}

void signal_watch::gone() noexcept {
    if (retry_.queued()) remove_timer(home_.self, retry_);
    if (fd_ >= 0) io::close(home_.self, fd_);
    delete this;
}

void signal_watch::arm() noexcept { io::poll(home_.self, ready_, fd_, POLLIN); }

void signal_watch::arm_later() noexcept {
    try {
        retry_.when = home_.kernel->now() + retry_after;
        add_timer(home_.self, retry_);
    } catch (const std::bad_alloc&) {
        arm();
    }
}

void signal_watch::ready(op& done) noexcept {
    signal_watch& self = *static_cast<ready_op&>(done).watch;
    self.telling_ = true;
    while (!self.ended_) {
        const int signum = io::take_signal(self.home_.self, self.fd_);
        if (signum == 0) break;
        self.tell(signum);
    }
    self.telling_ = false;
    if (self.ended_) return self.gone();
    done.res < 0 ? self.arm_later() : self.arm();
}

void signal_watch::tell(int signum) noexcept {
    bool told = false;
    for (auto* each = listeners_.front(); each; each = listeners_.after(*each)) {
        if (!(each->wanted & signal_bit(signum))) continue;
        each->came(signum);  // wakes a task: nobody leaves the list here
        told = true;
    }
    if (const auto found = handlers_.find(signum); found != handlers_.end()) {
        const auto handler = found->second;  // it may remove or replace itself
        try {
            (*handler)();
        } catch (...) {
            home_.report({.message = words("a signal handler threw"),
                          .error = error::from_exception(std::current_exception()),
                          .subject = words([&] { return signal_name(signum); })});
        }
        told = true;
    }
    signal_listener* next = told ? nullptr : fallbacks_.front();
    while (signal_listener* each = next) {
        next = fallbacks_.after(*each);
        if (each->wanted & signal_bit(signum)) each->came(signum);
    }
}

}  // namespace detail

// ---- handlers

result<> add_signal_handler(loop& home, int signum, callback handler) {
    detail::loop_state& state = home.state();
    if (auto possible = detail::check_signal(state, signum); !possible) return possible;
    if (!handler) return error(errc::value_error, "add an empty signal handler");
    return detail::signal_watch::of(state).set_handler(signum, std::move(handler));
}
result<> add_signal_handler(int signum, callback handler) {
    return add_signal_handler(loop::current(), signum, std::move(handler));
}
bool remove_signal_handler(loop& home, int signum) noexcept {
    detail::signal_watch* const watch = home.state().signals;
    return watch && watch->remove_handler(signum);
}
bool remove_signal_handler(int signum) noexcept {
    return remove_signal_handler(loop::current(), signum);
}

std::string signal_name(int signum) {
    const char* const name = ::sigabbrev_np(signum);
    return name ? std::string("SIG") + name : "signal " + std::to_string(signum);
}

// ---- sets

signal_set::signal_set(std::initializer_list<int> signums) : home_(&loop::current()) {
    detail::loop_state& state = home_->state();
    const auto require = [](const result<>& outcome) {
        if (!outcome) detail::throw_error(outcome.error());
    };
    for (const int signum : signums) {
        require(detail::check_signal(state, signum));
        wanted |= detail::signal_bit(signum);
    }
    if (!wanted) require(error(errc::value_error, "a set of no signals"));
    require(detail::signal_watch::of(state).add(*this));
}

signal_set::~signal_set() {
    OURO_ASSERT(!waiting_, "a signal_set died while a task waited for it");
    if (linked()) home_->state().signals->remove(*this);
}

void signal_set::came(int signum) noexcept {
    if (!waiting_) {
        pending_ |= detail::signal_bit(signum);
        return;
    }
    auto* const waiter = std::exchange(waiting_, nullptr);
    waiter->signum_ = signum;
    waiter->wake();
}

namespace detail {

struct next_signal_access {
    static void cancel(wait_point& wait, cancel_cause cause) noexcept {
        auto& self = static_cast<next_signal_awaitable&>(wait);
        self.from_->waiting_ = nullptr;
        self.wake_failed(error::cancelled(cause, "wait for a signal"));
    }
    /// The signal was not seen: it is the next one's.
    static void revoke(wait_point& wait) noexcept {
        auto& self = static_cast<next_signal_awaitable&>(wait);
        self.from_->came(self.signum_);
    }
    static std::string describe(const wait_point& wait) {
        const auto& self = static_cast<const next_signal_awaitable&>(wait);
        std::string text;
        for (std::uint64_t left = self.from_->wanted; left; left &= left - 1) {
            text += (text.empty() ? "" : ", ") + signal_name(std::countr_zero(left) + 1);
        }
        return text;
    }
};

namespace {
constexpr wait_kind next_signal_kind{"signal", &next_signal_access::cancel,
                                     &next_signal_access::revoke, &next_signal_access::describe};
}

next_signal_awaitable::next_signal_awaitable(signal_set& from) noexcept
    : awaitable(next_signal_kind), from_(&from) {}

next_signal_awaitable::~next_signal_awaitable() {
    if (from_->waiting_ == this) from_->waiting_ = nullptr;  // destroyed by a closing loop
}

void next_signal_awaitable::start() noexcept {
    if (from_->waiting_) {
        return wake_failed(error(errc::already_waiting, "wait for a signal"));
    }
    if (const std::uint64_t came = from_->pending_) {
        signum_ = std::countr_zero(came) + 1;
        from_->pending_ = came & (came - 1);
        return wake();
    }
    if (!from_->linked()) return wake_failed(error(errc::loop_closed, "wait for a signal"));
    from_->waiting_ = this;
}

}  // namespace detail
}  // namespace ouro
