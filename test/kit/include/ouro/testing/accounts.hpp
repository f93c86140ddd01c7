// The end of a test: what is left may still end by itself.
#pragma once

#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro::testing {

/// Waits until this task is all that is left on `home`: no other task, no operation, no transport
/// or server, no descriptor. Looks at most `most_turns` times, each turn, or every `step` while
/// operations are in flight. What is left then is in `loop::counters`.
task<> farewell(loop& home, clock::duration step, int most_turns);

}  // namespace ouro::testing
