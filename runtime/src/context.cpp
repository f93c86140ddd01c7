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

/// Nodes before it that somebody else sees too are copied; those after it stay shared.
void context::remove(const void* variable) {
    const detail::context_node* const found = find(variable);
    if (!found) return;
    detail::context_node** link = &running_;  // up to the first node that is shared
    while (*link != found && (*link)->references == 1) link = &(*link)->rest;
    context fresh;
    detail::context_node** end = &fresh.first_;
    for (const auto* each = *link; each != found; each = each->rest) {
        *end = each->copy(nullptr);
        end = &(*end)->rest;
    }
    *end = found->rest;
    if (found->rest) ++found->rest->references;
    std::swap(*link, fresh.first_);
}

void context::push(std::unique_ptr<detail::context_node> fresh) noexcept {
    fresh->rest = running_;
    running_ = fresh.release();
}

}  // namespace ouro
