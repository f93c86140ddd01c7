// Callbacks that wait for the end of a task or a future.
#include <utility>

#include "loop_state.hpp"

namespace ouro::detail {

done_call::done_call(loop_state& owner, callback callable, std::source_location where)
    : scheduled_call(owner, std::move(callable), where) {
    from = origin::done;
    --home->live_calls;  // it is not queued yet
}

void done_call::due() noexcept {
    if (home->closing) return drop();
    waiting = false;
    let_go();
    ++home->live_calls;
    home->ready.push(*this);
}

void done_call::drop() noexcept {
    waiting = false;
    cancelled = true;
    let_go();
    what.reset();
    release();
}

void done_call::withdraw() noexcept {
    if (!waiting) return;  // it is in the ready queue, which skips it, or was dropped
    waiting = false;
    let_go();
    release();
}

}  // namespace ouro::detail
