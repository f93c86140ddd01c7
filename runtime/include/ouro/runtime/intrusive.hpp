// Lists threaded through their elements: no allocation, removal in O(1).
#pragma once

#include <cstddef>
#include <iterator>

namespace ouro::detail {

/// A link of a doubly linked ring; unlinks itself when it dies.
struct list_link {
    list_link* previous = this;
    list_link* next = this;

    list_link() noexcept = default;
    list_link(const list_link&) = delete;
    list_link& operator=(const list_link&) = delete;
    ~list_link() { unlink(); }

    bool linked() const noexcept { return next != this; }
    void unlink() noexcept {
        previous->next = next;
        next->previous = previous;
        next = previous = this;
    }
    void insert_before(list_link& position) noexcept {
        previous = position.previous;
        next = &position;
        previous->next = this;
        position.previous = this;
    }
};

/// A list of `T`, which derives from `list_link`. Does not own its elements.
template <class T>
class list {
  public:
    bool empty() const noexcept { return !head_.linked(); }
    void push_back(T& element) noexcept { element.list_link::insert_before(head_); }
    T* front() noexcept { return empty() ? nullptr : static_cast<T*>(head_.next); }
    T* back() noexcept { return empty() ? nullptr : static_cast<T*>(head_.previous); }
    T* pop_front() noexcept {
        T* first = front();
        if (first) first->list_link::unlink();
        return first;
    }
    /// The element after `element`, or null at the end.
    T* after(T& element) noexcept {
        list_link* next = element.list_link::next;
        return next == &head_ ? nullptr : static_cast<T*>(next);
    }
    /// Moves all elements of `other` to the end of this list.
    void splice_back(list& other) noexcept {
        if (other.empty()) return;
        list_link* first = other.head_.next;
        list_link* last = other.head_.previous;
        other.head_.next = other.head_.previous = &other.head_;
        first->previous = head_.previous;
        head_.previous->next = first;
        last->next = &head_;
        head_.previous = last;
    }

  private:
    list_link head_;
};

}  // namespace ouro::detail
