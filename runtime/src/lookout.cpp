// How a loop waits: in the kernel, and before that, if others talk to it, with open eyes.
#include "lookout.hpp"

#include <sched.h>

#include "loop_state.hpp"

namespace ouro::detail {

/// Nobody wakes a loop that is awake: it has promised to look into its mailbox before it sleeps,
/// and does so in `falls_asleep`. Whoever leaves something after that look sees a loop that sleeps,
/// and wakes it; a wake-up that is there before the sleep ends it at once.
void loop_state::poll(clock::time_point deadline) noexcept {
    if (deadline == clock::time_point::min() || !box->is_awake()) [[likely]]
        return kernel->poll(deadline, batch);
    if (lookout.is_due(::sched_getcpu())) {
        kernel->poll(clock::time_point::min(), batch);  // what was started does not wait for it
        if (!batch.empty()) return;
        const sight seen = kernel->look_out(*box, lookout.span(kernel->now(), deadline));
        lookout.looked(seen);
        if (seen.what == sight::mail) return;
        if (seen.what == sight::completion) return kernel->poll(clock::time_point::min(), batch);
    }
    kernel->poll(box->falls_asleep() ? deadline : clock::time_point::min(), batch);
}

}  // namespace ouro::detail
