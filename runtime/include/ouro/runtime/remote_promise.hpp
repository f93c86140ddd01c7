// remote_promise<T>: a result that another thread sets for a future of a loop.
#pragma once

#include <atomic>
#include <memory>
#include <new>
#include <source_location>
#include <system_error>
#include <utility>

#include <ouro/runtime/future.hpp>

namespace ouro {

namespace detail {

class mailbox;

/// What the two ends of a remote promise share. Its count is atomic, and so either end may go
/// first; what the loop's end is made of is looked at in the loop's thread only.
class remote_link {
  public:
    explicit remote_link(loop& home) noexcept;
    remote_link(const remote_link&) = delete;
    remote_link& operator=(const remote_link&) = delete;
    virtual ~remote_link() = default;

    /// Hands over what was set: at once in the loop's thread, else through the mailbox. Needs no
    /// memory. False when the loop is closed.
    static bool send(const std::shared_ptr<remote_link>& link) noexcept;
    /// Throws `errc::wrong_thread` unless the loop runs in this thread.
    void require_here(const char* what) const;
    /// Gives what was set to the future. The loop's thread.
    virtual void arrive() noexcept = 0;
    /// Destroys what was set.
    virtual void drop() noexcept = 0;

    std::atomic<bool> abandoned{false};  // nobody would hear of it any more

  private:
    friend class link_queue;
    std::shared_ptr<mailbox> box_;
    std::shared_ptr<remote_link> next_;  // in the mailbox
};

template <class T>
class typed_link;

/// The loop's end: a result whose promise is elsewhere.
template <class T>
class remote_state final : public future_state<T>, private future_hook {
  public:
    remote_state(loop& home, std::shared_ptr<typed_link<T>> link, std::source_location created)
        : future_state<T>(home, created), link_(std::move(link)) {
        this->add_hook(*this);
    }
    ~remote_state() override {
        link_->target = nullptr;
        abandon();
    }

  private:
    void future_done() noexcept override { abandon(); }  // it is set, or was cancelled
    void loop_closed() noexcept override { abandon(); }
    void abandon() noexcept { link_->abandoned.store(true, std::memory_order_relaxed); }
    std::shared_ptr<typed_link<T>> link_;
};

template <class T>
class typed_link final : public remote_link {
  public:
    explicit typed_link(loop& home) noexcept : remote_link(home) {}
    ~typed_link() override { drop(); }
    void drop() noexcept override {
        if constexpr (!std::is_void_v<T>) {
            if (state == outcome::value) value.~T();
        }
        state = outcome::pending;
    }
    void arrive() noexcept override {
        remote_state<T>* const to = target;
        if (to && !to->done()) give(*to);
        drop();
    }

    remote_state<T>* target = nullptr;  // the loop's end, while it lives; the loop's thread

    // What was set, written by the setting thread before it is sent.
    outcome state = outcome::pending;  // pending: the promise was dropped
    struct nothing {};
    union {
        std::conditional_t<std::is_void_v<T>, nothing, T> value;
    };
    error failure;
    std::exception_ptr thrown;

  private:
    void give(remote_state<T>& to) noexcept try {
        switch (state) {
        case outcome::value:
            if constexpr (std::is_void_v<T>) {
                to.set();
            } else {
                to.set(std::move(value));
            }
            break;
        case outcome::failed:
            to.set_failure(std::move(failure));
            break;
        case outcome::threw:
            to.set_thrown(std::move(thrown));
            break;
        default:
            to.break_promise();
        }
    } catch (...) {  // the value could not be moved
        to.set_thrown(std::current_exception());
    }
};

}  // namespace detail

/// Sets, from any thread, the result that a future of a loop waits for. Made on the loop; one
/// thread at a time owns it. Dropped unset, it fails who waits with `errc::broken_promise`.
///
/// Result    the `set_...` calls use the promise up. They return false when nothing is delivered
///           because the loop is closed, or because it was used up before. True does not say that
///           anybody still waits: see `abandoned`.
/// Lifetime  may outlive the future and the loop, and the other way round. A value nobody waits for
///           is destroyed in the loop's thread, or here when the loop is closed.
/// Threads   any, but for the constructor and `get_future`, which are for the loop's thread.
/// Cost      one block of memory, made by the constructor. Setting and delivering need none, so
///           that no result is ever lost for want of memory; one lock, and one system call when the
///           loop sleeps. What is set on the loop's own thread is delivered at once. Results may
///           arrive before callbacks that were posted earlier.
template <class T = void>
class remote_promise {
  public:
    using value_type = T;
    /// A result for a future of `home`.
    explicit remote_promise(loop& home,
                            std::source_location created = std::source_location::current())
        : link_(std::make_shared<detail::typed_link<T>>(home)), created_(created) {}
    /// A result for a future of the running loop.
    explicit remote_promise(std::source_location created = std::source_location::current())
        : remote_promise(loop::current(), created) {}
    remote_promise(remote_promise&&) noexcept = default;
    remote_promise& operator=(remote_promise&& other) noexcept {
        remote_promise old(std::move(*this));
        link_ = std::move(other.link_);
        created_ = other.created_;
        return *this;
    }
    ~remote_promise() {
        if (link_) deliver();
    }

    /// The future to wait for. Without one, what is set is dropped.
    ///
    /// Errors   throws `std::system_error`: `errc::wrong_thread` unless the loop runs in this
    ///          thread, `errc::invalid_state` when it was used up.
    /// Threads  the loop's thread.
    future<T> get_future() const {
        if (!link_) {
            throw std::system_error(make_error_code(errc::invalid_state), "a used-up promise");
        }
        link_->require_here("get_future");
        if (!link_->target) {
            link_->target = new detail::remote_state<T>(loop::current(), link_, created_);
            link_->abandoned.store(false, std::memory_order_relaxed);
        }
        return future<T>(*link_->target);
    }
    /// Sets the value, made from `arguments`. What its constructor throws leaves the promise as it
    /// was and comes out here.
    template <class... Args>
        requires(std::is_void_v<T> ? sizeof...(Args) == 0 : std::constructible_from<T, Args && ...>)
    bool set_value(Args&&... arguments) {
        if (!link_) return false;
        if constexpr (!std::is_void_v<T>) {
            ::new (static_cast<void*>(&link_->value)) T(std::forward<Args>(arguments)...);
        }
        link_->state = detail::outcome::value;
        return deliver();
    }
    /// Sets a failure. `errc::cancelled` makes the future cancelled.
    bool set_error(error why) noexcept {
        OURO_ASSERT(why, "a promise was given an error that is none");
        if (!link_) return false;
        link_->failure = std::move(why);
        link_->state = detail::outcome::failed;
        return deliver();
    }
    /// Sets an exception, which is rethrown where the future is awaited.
    bool set_exception(std::exception_ptr thrown) noexcept {
        OURO_ASSERT(thrown, "a promise was given an exception that is none");
        if (!link_) return false;
        link_->thrown = std::move(thrown);
        link_->state = detail::outcome::threw;
        return deliver();
    }
    /// Sets what `outcome` holds.
    bool set_result(result<T> outcome) { return detail::set_outcome(*this, std::move(outcome)); }
    /// True while it was not used up, nor moved from.
    explicit operator bool() const noexcept { return link_ != nullptr; }
    /// True when nobody would hear of a result any more: the future or the loop is gone, or it was
    /// cancelled. A long job may look at it from time to time and give up.
    bool abandoned() const noexcept {
        return !link_ || link_->abandoned.load(std::memory_order_relaxed);
    }

  private:
    bool deliver() noexcept {
        const auto link = std::move(link_);
        if (detail::remote_link::send(link)) return true;
        link->drop();
        return false;
    }
    std::shared_ptr<detail::typed_link<T>> link_;
    std::source_location created_;
};

}  // namespace ouro
