// Tasks that are started from other threads: what needs no type.
#include <ouro/runtime/run_threadsafe.hpp>

#include "loop_state.hpp"

namespace ouro::detail {

bool far_access::leave(const loop_handle& to, remote_call& what) noexcept {
    return to.box_ && to.box_->leave(what, to.box_);
}

void far_access::report(std::exception_ptr thrown) noexcept {
    loop::current().call_exception_handler(
        {.message = words("a task that another thread asked for could not be made"),
         .error = error::from_exception(std::move(thrown)),
         .subject = "run_threadsafe"});
}

error far_access::refusal() noexcept {
    return error(errc::loop_closed, "start a task on another loop");
}

bool far_access::takes_tasks() noexcept {
    const loop_state& home = loop::current().state();
    return !home.closing && !home.closed;
}

}  // namespace ouro::detail
