// The chain of task-local values.
#include <ouro/runtime/context.hpp>

namespace ouro {

void context::release(detail::context_node* first) noexcept {
    while (first && --first->references == 0) {
        detail::context_node* const rest = first->rest;
        delete first;
        first = rest;
    }
}

const detail::context_node* context::find(const void* variable) noexcept {
    const detail::context_node* each = running_;
    while (each && each->variable != variable) each = each->rest;
    return each;
}

context context::for_other_thread() const {
    context made;
    detail::context_node** end = &made.first_;
    for (const auto* each = first_; each; each = each->rest) {
        *end = each->copy(nullptr);
        end = &(*end)->rest;
    }
    return made;
}

/// The nodes before it are copied when somebody else sees them too; those after it stay shared.
void context::remove(const void* variable) {
    const detail::context_node* const found = find(variable);
    if (!found) return;
    context fresh;
    detail::context_node** end = &fresh.first_;
    for (const auto* each = running_; each != found; each = each->rest) {
        *end = each->copy(nullptr);
        end = &(*end)->rest;
    }
    *end = found->rest;
    if (found->rest) ++found->rest->references;
    std::swap(running_, fresh.first_);
}

}  // namespace ouro
