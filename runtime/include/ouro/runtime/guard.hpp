// A scope that gives back what it acquired, and the await that acquires.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include <ouro/runtime/waiting_line.hpp>

namespace ouro {

/// Holds a `lock`, or one permit of a `semaphore`, and gives it back when it dies. Move-only. Made
/// by `scoped`.
///
/// Lifetime  what it holds must outlive it. Who gives that back by hand as well gives it back
///           twice.
/// Threads   the loop's thread.
template <class Of>
class [[nodiscard]] guard {
  public:
    /// Holds nothing.
    guard() noexcept = default;
    /// Takes over one acquisition of `of`.
    explicit guard(Of& of) noexcept : of_(&of) {}
    guard(guard&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    guard& operator=(guard&& other) noexcept {
        guard taken(std::move(other));
        std::swap(of_, taken.of_);
        return *this;
    }
    ~guard() { release(); }

    /// True while it holds something.
    explicit operator bool() const noexcept { return of_ != nullptr; }
    /// Gives back now. Harmless when it holds nothing.
    void release() noexcept {
        if (Of* const held = std::exchange(of_, nullptr)) held->give_back();
    }

  private:
    Of* of_ = nullptr;
};

namespace detail {

/// The await of `acquire` and `scoped`. `Of` has `bool take()`, which never waits, `give_back()`,
/// `line_`, `bond_` and `acquire_name`.
template <class Of, class Value>
class [[nodiscard]] acquire_wait : public awaitable<acquire_wait<Of, Value>, Value, line_wait> {
  public:
    explicit acquire_wait(Of& of) noexcept
        : awaitable<acquire_wait, Value, line_wait>(kind), of_(&of) {}
    ~acquire_wait() {
        if (this->granted()) revoke(*this);
    }
    bool await_ready() const noexcept { return of_->take(); }
    void start() noexcept {
        if (of_->bond_.admits(*this)) of_->line_.push(*this);
    }
    Value value() noexcept {
        this->leave();
        if constexpr (!std::is_void_v<Value>) return Value(*of_);
    }

  private:
    static void revoke(wait_point& wait) noexcept {
        auto& self = static_cast<acquire_wait&>(wait);
        self.leave();
        self.of_->give_back();
    }
    static std::string describe(const wait_point& wait) {
        const auto& self = static_cast<const acquire_wait&>(wait);
        return self.line() ? self.line()->describe(self.of_) : std::string();
    }
    static constexpr wait_kind kind{Of::acquire_name, &line_wait::cancelled, &revoke, &describe};

    Of* of_;
};

}  // namespace detail
}  // namespace ouro
