// How results cross from other threads.
#include <ouro/runtime/remote_promise.hpp>

#include "loop_state.hpp"
#include "mailbox.hpp"

namespace ouro::detail {

remote_link::remote_link(loop& home) noexcept : box_(home.state().box) {}

bool remote_link::send(const std::shared_ptr<remote_link>& link) noexcept {
    if (!link->box_->is_here()) return link->box_->send(link);
    link->arrive();
    return true;
}

void remote_link::require_here(const char* what) const {
    if (!box_->is_here()) {
        throw std::system_error(make_error_code(errc::wrong_thread),
                                std::string(what) + " where the loop does not run");
    }
}

}  // namespace ouro::detail
