// Task-local values: what a task, and everything it schedules, can look up without passing it on.
#pragma once

#include <memory>
#include <utility>

namespace ouro {

namespace detail {

/// One value of one variable. A context is a chain of them, never changed once it is shared.
struct context_node {
    const void* variable;
    context_node* rest;
    unsigned references = 1;

    context_node(const void* of, context_node* after) noexcept : variable(of), rest(after) {}
    virtual ~context_node() = default;
    virtual context_node* copy(context_node* after) const = 0;
};

}  // namespace detail

/// The values of all task-local variables at one moment. Empty, and as cheap as a null pointer,
/// while nothing was set.
///
/// A task runs in a copy of the context of whoever spawned it, a callback in that of whoever
/// scheduled it; what they set is seen by nobody else (rules 30, 126, 133).
///
/// Threads  a context and its copies belong to one thread; `for_other_thread` makes one to hand
///          over.
class context {
  public:
    context() noexcept = default;
    context(const context& other) noexcept : first_(other.first_) {
        if (first_) ++first_->references;
    }
    context(context&& other) noexcept : first_(std::exchange(other.first_, nullptr)) {}
    context& operator=(context other) noexcept {
        std::swap(first_, other.first_);
        return *this;
    }
    ~context() {
        if (first_) release(first_);
    }

    /// The values that whatever runs in this thread sees now.
    static context current() noexcept {
        context shared;
        shared.first_ = running_;
        if (running_) ++running_->references;
        return shared;
    }
    /// A copy that shares nothing with this one. Copies the values.
    context for_other_thread() const;
    /// True when nothing was set.
    bool empty() const noexcept { return first_ == nullptr; }

    /// Runs whatever follows with `values`, until it dies.
    class use {
      public:
        explicit use(context& values) noexcept : values_(values) { change_over(); }
        use(const use&) = delete;
        use& operator=(const use&) = delete;
        ~use() { change_over(); }

      private:
        void change_over() noexcept {
            // Mostly both are empty.
            if (running_ != values_.first_) [[unlikely]]
                std::swap(running_, values_.first_);
        }
        context& values_;
    };

  private:
    template <class T>
    friend class task_local;
    static void release(detail::context_node* first) noexcept;
    static const detail::context_node* find(const void* variable) noexcept;
    /// Takes the node of `variable` out of the running context; what others share stays as it is.
    /// Without memory throws and changes nothing.
    static void remove(const void* variable);
    /// Puts `fresh` before what runs, which hides an older node of the same variable.
    static void push(std::unique_ptr<detail::context_node> fresh) noexcept;

    // Owned, though a plain pointer: a thread-local with a destructor costs a check at each use.
    inline static constinit thread_local detail::context_node* running_ = nullptr;
    detail::context_node* first_ = nullptr;
};

/// A variable that each task has its own value of, inherited by what the task starts: a request
/// number for the log, the user on whose behalf things are done. asyncio's ContextVar.
///
///     inline task_local<std::string> request;
///     request.set("42");        // seen by this task and what it spawns from here on
///     log(request.get());
///
/// Lifetime  outlives everything that runs with a value of it: a global.
/// Cost      `get` walks the variables that were set, one comparison each. Nothing where none is.
template <class T>
class task_local {
  public:
    task_local() = default;
    /// What `get` gives where nothing was set.
    explicit task_local(T otherwise) : otherwise_(std::move(otherwise)) {}
    task_local(const task_local&) = delete;
    task_local& operator=(const task_local&) = delete;

    /// The value set by this task or by whoever it descends from; else the one of the constructor.
    ///
    /// Lifetime  the reference is good until the value is set again in this task.
    const T& get() const noexcept {
        const auto* found = static_cast<const node*>(context::find(this));
        return found ? found->value : otherwise_;
    }
    /// Gives whatever runs now, and what it starts from here on, a value. Outside of a loop that is
    /// the thread itself, which frees nothing when it ends: use `bind` there.
    void set(T value) {
        auto fresh = std::make_unique<node>(this, nullptr, std::move(value));
        context::remove(this);
        context::push(std::move(fresh));
    }
    /// Sets a value and puts the old one back when it dies.
    class [[nodiscard]] binding {
      public:
        binding(task_local& variable, T value)
            : variable_(variable),
              was_set_(context::find(&variable) != nullptr),
              before_(std::make_unique<node>(&variable, nullptr, variable.get())) {
            variable_.set(std::move(value));
        }
        binding(const binding&) = delete;
        binding& operator=(const binding&) = delete;
        ~binding() {
            bool removed = true;
            try {
                context::remove(&variable_);
            } catch (...) {
                removed = false;  // there is no memory: the old value hides this one
            }
            if (was_set_ || !removed) context::push(std::move(before_));
        }

      private:
        task_local& variable_;
        bool was_set_;
        std::unique_ptr<detail::context_node> before_;  // made early: a destructor must not fail
    };
    /// `auto held = variable.bind(value);`: a value for the rest of the block.
    binding bind(T value) { return binding(*this, std::move(value)); }

  private:
    struct node final : detail::context_node {
        T value;
        node(const void* of, context_node* after, T held)
            : context_node(of, after), value(std::move(held)) {}
        context_node* copy(context_node* after) const override {
            return new node(variable, after, value);
        }
    };
    T otherwise_{};
};

}  // namespace ouro
