// Which tasks are left, and where each of them waits.
#include "waiting.hpp"

#include "loop_state.hpp"

namespace ouro::detail {

std::string where_it_waits(const task_core& task) {
    const wait_point* const leaf = task.leaf;
    if (!leaf || !leaf->frame()) return "ready to run";
    std::string text = leaf->kind().name;
    if (leaf->kind().describe) text += " (" + leaf->kind().describe(*leaf) + ")";
    const char* word = ", at ";
    for (const promise_base* frame = leaf->frame(); frame; frame = frame->parent) {
        if (frame->where.line() == 0) continue;
        text += word + std::string(frame->where.file_name()) + ":" +
                std::to_string(frame->where.line());
        word = ", called at ";
    }
    return text;
}

std::string who_is_left(loop_state& home) {
    std::string text;
    for (task_core* each = home.tasks.front(); each; each = home.tasks.after(*each)) {
        text += "    " + each->name() + ": " + where_it_waits(*each) + "\n";
    }
    return text;
}

}  // namespace ouro::detail
