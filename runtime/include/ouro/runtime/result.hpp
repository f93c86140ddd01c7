// A value or the error that stands in its place.
#pragma once

#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include <ouro/runtime/error.hpp>

namespace ouro {

/// A `T`, or the `error` that prevented it. Every call that the world can refuse returns one.
///
/// `co_await` of a result inside a `task` yields the value, and on error ends the task with that
/// error.
template <class T = void>
class [[nodiscard]] result : public tl::expected<T, error> {
    using base = tl::expected<T, error>;

  public:
    using base::base;
    /// A failure.
    result(error why) : base(tl::unexpect, std::move(why)) {}
    /// A failure of the library's own.
    result(errc why) : base(tl::unexpect, error(why)) {}
};

namespace detail {
template <class T>
struct is_result : std::false_type {};
template <class T>
struct is_result<result<T>> : std::true_type {};

/// Throws `why` as `std::system_error`, or the exception it carries.
[[noreturn]] void throw_error(const error& why);
}  // namespace detail

/// Yields the value or throws `std::system_error`: the bridge to code that speaks in exceptions.
template <class T>
T value_or_throw(result<T>&& outcome) {
    if (!outcome) detail::throw_error(outcome.error());
    if constexpr (!std::is_void_v<T>) return std::move(*outcome);
}

}  // namespace ouro
