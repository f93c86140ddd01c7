// A move-only callable; small ones are kept in place.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <utility>

namespace ouro {

template <class Signature>
class function;

/// Any callable with this signature, owned. Up to 48 bytes are kept in place; larger ones take one
/// allocation.
///
/// Lifetime  owns the callable and what it captures.
/// Cost      one indirect call.
template <class R, class... Args>
class function<R(Args...)> {
  public:
    /// Holds nothing; calling it is a mistake.
    function() noexcept = default;
    /// Holds a copy of `callable`.
    template <class F>
        requires(!std::is_same_v<std::decay_t<F>, function> &&
                 std::is_invocable_r_v<R, std::decay_t<F>&, Args...>)
    function(F&& callable) {
        using held = std::decay_t<F>;
        if constexpr (std::is_pointer_v<held>) {
            if (!callable) return;  // nothing is held
        }
        if constexpr (fits<held>) {
            ::new (static_cast<void*>(space_)) held(std::forward<F>(callable));
            verbs_ = &in_place<held>;
        } else {
            *reinterpret_cast<held**>(space_) = new held(std::forward<F>(callable));
            verbs_ = &on_heap<held>;
        }
    }
    /// Takes what `other` holds and leaves it empty.
    function(function&& other) noexcept : verbs_(std::exchange(other.verbs_, nullptr)) {
        if (verbs_) verbs_->relocate(other.space_, space_);
    }
    /// Takes what `other` holds and leaves it empty.
    function& operator=(function&& other) noexcept {
        if (this != &other) {
            reset();
            verbs_ = std::exchange(other.verbs_, nullptr);
            if (verbs_) verbs_->relocate(other.space_, space_);
        }
        return *this;
    }
    ~function() { reset(); }

    /// Calls it. Must hold something.
    R operator()(Args... args) { return verbs_->call(space_, std::forward<Args>(args)...); }
    /// True when something is held.
    explicit operator bool() const noexcept { return verbs_ != nullptr; }
    /// Destroys what is held, at once.
    void reset() noexcept {
        if (auto* verbs = std::exchange(verbs_, nullptr)) verbs->destroy(space_);
    }

  private:
    static constexpr std::size_t inline_bytes = 48;
    template <class H>
    static constexpr bool fits =
        sizeof(H) <= inline_bytes && alignof(H) <= alignof(std::max_align_t) &&
        std::is_nothrow_move_constructible_v<H>;
    struct verbs {
        R (*call)(std::byte*, Args&&...);
        void (*relocate)(std::byte* from, std::byte* to) noexcept;
        void (*destroy)(std::byte*) noexcept;
    };
    template <class H>
    static H& local(std::byte* at) noexcept {
        return *std::launder(reinterpret_cast<H*>(at));
    }
    template <class H>
    static H*& remote(std::byte* at) noexcept {
        return *reinterpret_cast<H**>(at);
    }
    template <class H>
    static constexpr verbs in_place{[](std::byte* at, Args&&... args) -> R {
                                        // A result nobody asked for is dropped.
                                        return static_cast<R>(
                                            local<H>(at)(std::forward<Args>(args)...));
                                    },
                                    [](std::byte* from, std::byte* to) noexcept {
                                        ::new (static_cast<void*>(to)) H(std::move(local<H>(from)));
                                        local<H>(from).~H();
                                    },
                                    [](std::byte* at) noexcept { local<H>(at).~H(); }};
    template <class H>
    static constexpr verbs on_heap{
        [](std::byte* at, Args&&... args) -> R {
            return static_cast<R>((*remote<H>(at))(std::forward<Args>(args)...));
        },
        [](std::byte* from, std::byte* to) noexcept { remote<H>(to) = remote<H>(from); },
        [](std::byte* at) noexcept { delete remote<H>(at); }};

    const verbs* verbs_ = nullptr;
    alignas(std::max_align_t) std::byte space_[inline_bytes];
};

/// A callable without arguments or result: what loops run.
using callback = function<void()>;

}  // namespace ouro
