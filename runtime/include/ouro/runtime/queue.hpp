// Queues between tasks, with a limit that slows producers down.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ouro/runtime/waiting_line.hpp>

namespace ouro {

namespace detail {
class queue_join_wait;
class queue_get_base;
class queue_put_base;
template <class Queue>
class queue_get_wait;
template <class Queue>
class queue_put_wait;
}  // namespace detail

/// What queues of all types share.
class queue_base {
  public:
    queue_base(const queue_base&) = delete;
    queue_base& operator=(const queue_base&) = delete;

    /// How many items there are for the next ones to come. An item of which a waiting `get` was
    /// told already does not count.
    std::size_t size() const noexcept { return item_count_ - getters_.granted_count(); }
    /// True when `get_now` would find nothing.
    bool empty() const noexcept { return size() == 0; }
    /// True when there is no room for `put_now`. What a waiting `get` or `put` was told of keeps
    /// its place until that has run.
    bool full() const noexcept {
        return max_count_ > 0 && item_count_ + putters_.granted_count() >= max_count_;
    }
    /// The most it holds; 0 for any number.
    std::size_t max_size() const noexcept { return max_count_; }

    /// Says that the work on one item is done.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) when called more often than items
    ///         were put (rule 257).
    void task_done();
    /// Waits until `task_done` was called for every item that was put.
    ///
    /// Result    nothing.
    /// Errors    errc::wrong_loop, errc::broken_promise.
    /// Cancel    leaves the others waiting.
    /// Lifetime  the queue outlives the wait.
    /// Threads   the loop's thread.
    /// Cost      no allocation; does not suspend when all is done.
    detail::queue_join_wait join() noexcept;
    /// Ends the queue: every `put` fails from now on, and so does every `get` once no item is left
    /// (rules 258, 259).
    void shutdown() noexcept;
    /// True from the first `shutdown` or `shutdown_now` on.
    bool is_shut_down() const noexcept { return shut_down_; }

  protected:
    friend detail::queue_join_wait;
    friend detail::queue_get_base;
    friend detail::queue_put_base;

    explicit queue_base(std::ptrdiff_t max_count) noexcept
        : max_count_(max_count > 0 ? static_cast<std::size_t>(max_count) : 0) {}
    ~queue_base() = default;

    void added() noexcept;
    void taken() noexcept;
    void dropped_all() noexcept;
    void done(std::size_t count) noexcept;
    error put_refusal() const noexcept;
    error get_refusal() const noexcept;

  private:
    bool drained() const noexcept { return shut_down_ && item_count_ == 0; }
    void fail_if_drained() noexcept;

    // A getter that was granted an item finds it in the queue when it runs, and a putter that was
    // granted room has it kept free: cancelled before that, neither takes nor leaves anything.
    detail::waiting_line getters_;
    detail::waiting_line putters_;
    detail::waiting_line joiners_;
    detail::loop_bond bond_;
    std::size_t max_count_;
    std::size_t item_count_ = 0;
    std::size_t unfinished_count_ = 0;
    bool shut_down_ = false;
};

namespace detail {

/// The await of `join`.
class [[nodiscard]] queue_join_wait : public awaitable<queue_join_wait, void, line_wait> {
  public:
    explicit queue_join_wait(queue_base& of) noexcept : awaitable(kind), of_(&of) {}
    bool await_ready() const noexcept { return of_->unfinished_count_ == 0; }
    void start() noexcept;
    void value() const noexcept {}

  private:
    static const wait_kind kind;
    static std::string describe(const wait_point& wait);
    queue_base* of_;
};

/// The await of `get` but for the item.
class queue_get_base : public line_wait {
  public:
    void start() noexcept;

  protected:
    explicit queue_get_base(queue_base& of) noexcept : line_wait(kind), of_(&of) {}
    ~queue_get_base() {
        if (granted()) revoke(*this);
    }
    queue_base* of_;

  private:
    static const wait_kind kind;
    static void revoke(wait_point& wait) noexcept;
    static std::string describe(const wait_point& wait);
};

/// The await of `put` but for the item.
class queue_put_base : public line_wait {
  public:
    void start() noexcept;

  protected:
    explicit queue_put_base(queue_base& of) noexcept : line_wait(kind), of_(&of) {}
    ~queue_put_base() {
        if (granted()) revoke(*this);
    }
    bool may_put() const noexcept { return !of_->shut_down_ && !of_->full(); }
    queue_base* of_;

  private:
    static const wait_kind kind;
    static void revoke(wait_point& wait) noexcept;
    static std::string describe(const wait_point& wait);
};

/// The await of `get`.
template <class Queue>
class [[nodiscard]] queue_get_wait
    : public awaitable<queue_get_wait<Queue>, typename Queue::value_type, queue_get_base> {
  public:
    explicit queue_get_wait(Queue& of) noexcept
        : awaitable<queue_get_wait, typename Queue::value_type, queue_get_base>(of) {}
    bool await_ready() const noexcept { return !this->of_->empty(); }
    typename Queue::value_type value() {
        auto& queue = static_cast<Queue&>(*this->of_);
        auto item = queue.items_.take();
        this->leave();
        queue.taken();
        return item;
    }
};

/// The await of `put`.
template <class Queue>
class [[nodiscard]] queue_put_wait : public awaitable<queue_put_wait<Queue>, void, queue_put_base> {
  public:
    queue_put_wait(Queue& of, typename Queue::value_type&& item)
        : awaitable<queue_put_wait, void, queue_put_base>(of), item_(std::move(item)) {}
    bool await_ready() { return this->may_put() && static_cast<Queue&>(*this->of_).make_room(); }
    /// After a wait it needs no memory: a queue that was full has room for all it may hold.
    void value() {
        auto& queue = static_cast<Queue&>(*this->of_);
        queue.items_.add(std::move(item_));
        this->leave();
        queue.added();
    }

  private:
    typename Queue::value_type item_;
};

}  // namespace detail

inline detail::queue_join_wait queue_base::join() noexcept {
    return detail::queue_join_wait(*this);
}

/// Hands items from those who put to those who get. `Items` keeps them: `queue`, `lifo_queue` and
/// `priority_queue` say in which order.
///
/// An item that is put, and room that becomes free, goes to the first one that waits; others that
/// come in between wait behind. An item whose move constructor throws stays where it was, and the
/// exception comes out of the call.
///
/// Lifetime  not movable. Tasks that wait when it dies fail with `errc::broken_promise`.
/// Threads   of one loop, the first one on which a task has to wait for it (rule 215).
template <class T, class Items>
class basic_queue : public queue_base {
  public:
    using value_type = T;

    /// Holds at most `max_count` items; zero or less: any number (rule 247).
    explicit basic_queue(std::ptrdiff_t max_count = 0) noexcept : queue_base(max_count) {}

    /// Waits for room and adds `item`.
    ///
    /// Result    nothing.
    /// Errors    errc::queue_shut_down, std::errc::not_enough_memory; errc::wrong_loop,
    ///           errc::broken_promise. `item` is lost with the failed call.
    /// Cancel    nothing is added; room that was just given to it goes to the next one (rule 253).
    /// Lifetime  the queue outlives the wait.
    /// Threads   the loop's thread.
    /// Cost      does not suspend when there is room; allocates when the queue holds more than ever
    ///           before.
    detail::queue_put_wait<basic_queue> put(T item) { return {*this, std::move(item)}; }
    /// Waits for an item and takes it.
    ///
    /// Result    the item.
    /// Errors    errc::queue_shut_down once it is shut down and no item is left; errc::wrong_loop,
    ///           errc::broken_promise.
    /// Cancel    takes nothing; an item that was just given to it goes to the next one (rule 252).
    /// Lifetime  the queue outlives the wait.
    /// Threads   the loop's thread.
    /// Cost      no allocation; does not suspend when there is an item.
    detail::queue_get_wait<basic_queue> get() noexcept {
        return detail::queue_get_wait<basic_queue>(*this);
    }
    /// Adds `item` now or not at all.
    ///
    /// Errors  errc::queue_full, errc::queue_shut_down, std::errc::not_enough_memory.
    result<> put_now(T item) {
        if (error why = put_refusal()) return why;
        if (!make_room()) return error(std::errc::not_enough_memory, "put into queue");
        items_.add(std::move(item));
        added();
        return {};
    }
    /// Takes an item now.
    ///
    /// Errors  errc::queue_empty; errc::queue_shut_down when it is empty and will stay so.
    result<T> get_now() {
        if (error why = get_refusal()) return result<T>(std::move(why));
        T item = items_.take();
        taken();
        return result<T>(std::move(item));
    }
    /// `shutdown` that drops all items, each of which counts as done (rule 260).
    void shutdown_now() noexcept {
        shutdown();
        Items dropped(std::move(items_));  // their destructors may call back
        dropped_all();
    }

  private:
    friend detail::queue_get_wait<basic_queue>;
    friend detail::queue_put_wait<basic_queue>;
    bool make_room() {
        try {
            items_.make_room();
            return true;
        } catch (const std::bad_alloc&) {
            return false;
        }
    }
    Items items_;
};

namespace detail {

/// Items in the order in which they were added, in memory that is used again and again.
template <class T>
class first_in_first_out {
  public:
    first_in_first_out() noexcept = default;
    first_in_first_out(first_in_first_out&& other) noexcept
        : slots_(std::exchange(other.slots_, nullptr)),
          capacity_(std::exchange(other.capacity_, 0)),
          first_(other.first_),
          count_(std::exchange(other.count_, 0)) {}
    ~first_in_first_out() {
        for (; count_ > 0; --count_) std::destroy_at(&slot(count_ - 1));
        if (slots_) std::allocator<T>().deallocate(slots_, capacity_);
    }
    void make_room() {
        if (count_ < capacity_) return;
        first_in_first_out larger;
        const std::size_t wanted = std::max<std::size_t>(8, 2 * capacity_);
        larger.slots_ = std::allocator<T>().allocate(wanted);
        larger.capacity_ = wanted;
        for (std::size_t i = 0; i < count_; ++i) larger.add(std::move_if_noexcept(slot(i)));
        std::swap(slots_, larger.slots_);
        std::swap(capacity_, larger.capacity_);
        std::swap(first_, larger.first_);
    }
    template <class From>
    void add(From&& item) {
        std::construct_at(&slot(count_), std::forward<From>(item));
        ++count_;
    }
    T take() {
        T item(std::move(slot(0)));
        std::destroy_at(&slot(0));
        first_ = (first_ + 1) & (capacity_ - 1);
        --count_;
        return item;
    }

  private:
    T& slot(std::size_t index) noexcept { return slots_[(first_ + index) & (capacity_ - 1)]; }

    T* slots_ = nullptr;
    std::size_t capacity_ = 0;  // a power of two, or none
    std::size_t first_ = 0;
    std::size_t count_ = 0;
};

/// A vector that says when it allocates.
template <class T>
class item_stack {
  public:
    void make_room() {
        if (items_.size() < items_.capacity()) return;
        items_.reserve(std::max<std::size_t>(8, 2 * items_.capacity()));
    }
    void add(T&& item) { items_.push_back(std::move(item)); }
    T take() {
        T item(std::move(items_.back()));
        items_.pop_back();
        return item;
    }

  protected:
    std::vector<T> items_;
};

/// The item added last comes first.
template <class T>
class last_in_first_out : public item_stack<T> {};

/// The smallest item comes first.
template <class T, class Compare>
class smallest_first : public item_stack<T> {
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                  "items that throw when they are moved could not be kept in order");

  public:
    void add(T&& item) {
        item_stack<T>::add(std::move(item));
        std::push_heap(this->items_.begin(), this->items_.end(), &larger);
    }
    T take() {
        std::pop_heap(this->items_.begin(), this->items_.end(), &larger);
        return item_stack<T>::take();
    }

  private:
    static bool larger(const T& left, const T& right) { return Compare()(right, left); }
};

}  // namespace detail

/// First in, first out.
template <class T>
using queue = basic_queue<T, detail::first_in_first_out<T>>;

/// Last in, first out.
template <class T>
using lifo_queue = basic_queue<T, detail::last_in_first_out<T>>;

/// Smallest first, by `Compare`, which must not throw. Equal items come in no particular order.
template <class T, class Compare = std::less<T>>
using priority_queue = basic_queue<T, detail::smallest_first<T, Compare>>;

}  // namespace ouro
