// Events.
#include <ouro/runtime/event.hpp>

namespace ouro::detail {

constexpr wait_kind event_wait::kind{"wait for event", &line_wait::cancelled, nullptr,
                                     &event_wait::describe};

void event_wait::start() noexcept {
    if (of_->bond_.admits(*this)) of_->line_.push(*this);
}

std::string event_wait::describe(const wait_point& wait) {
    const auto& self = static_cast<const event_wait&>(wait);
    return self.line() ? self.line()->describe(self.of_) : std::string();
}

}  // namespace ouro::detail
