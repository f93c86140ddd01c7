// The wait of whoever makes a transport.
#pragma once

#include <memory>
#include <utility>

#include <ouro/runtime/wait.hpp>

namespace ouro::detail {

/// Begins `link` and waits until `connection_made` has run. A cancelled creator ends the transport
/// (rule 380). `doing` is a literal.
template <class Link>
class [[nodiscard]] made_wait : public awaitable<made_wait<Link>, void> {
  public:
    made_wait(std::shared_ptr<Link> link, const char* doing) noexcept
        : awaitable<made_wait, void>(kind), link_(std::move(link)), doing_(doing) {}
    void start() noexcept { link_->begin_soon(link_, this); }
    void value() const noexcept {}

  private:
    static void cancel(wait_point& wait, cancel_cause cause) noexcept {
        auto& self = static_cast<made_wait&>(wait);
        self.link_->forget_creator();
        self.link_->abort();
        self.wake_failed(error::cancelled(cause, self.doing_));
    }
    static constexpr wait_kind kind{"connection_made", &made_wait::cancel};
    std::shared_ptr<Link> link_;
    const char* doing_;
};

}  // namespace ouro::detail
