// The end of tasks that were never awaited, which may hold each other as arguments.
#include <ouro/runtime/task.hpp>

namespace ouro::detail {
namespace {

// So many may nest, and are destroyed as any arguments are. What is deeper waits until the frame
// at this depth is gone, and goes before anything above it does.
constexpr unsigned most_nested = 64;

constinit thread_local unsigned nested = 0;
constinit thread_local promise_base* first_waiting = nullptr;  // linked by `parent`
constinit thread_local promise_base** next_place = nullptr;    // where one more is put

}  // namespace

void destroy_unstarted(promise_base& frame, std::coroutine_handle<> self) noexcept {
    if (nested == most_nested) {
        frame.self = self;
        frame.parent = *next_place;
        *next_place = &frame;
        next_place = &frame.parent;
        return;
    }
    ++nested;
    next_place = &first_waiting;
    self.destroy();
    while (promise_base* const frontmost = first_waiting) {  // at the last depth only
        first_waiting = frontmost->parent;
        next_place = &first_waiting;  // its own come before what waits already
        frontmost->self.destroy();
    }
    --nested;
}

}  // namespace ouro::detail
