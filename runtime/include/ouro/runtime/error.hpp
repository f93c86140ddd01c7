// What went wrong: a code to compare, what was being done, why it was cancelled, and the lines it
// passed through.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace ouro {

/// Failures that are the library's own; those of the operating system are `std::errc`.
enum class errc {
    cancelled = 1,     ///< the wait was cancelled; equals `std::errc::operation_canceled`
    invalid_state,     ///< the object is not in a state that allows the call
    loop_closed,       ///< the loop was closed
    loop_running,      ///< a loop already runs in this thread
    wrong_loop,        ///< the object belongs to another loop
    wrong_thread,      ///< called from a thread that does not own the loop
    stopped_early,     ///< `stop` was called before the awaited task was done
    value_error,       ///< an argument is out of its range
    write_after_eof,   ///< `write` after `write_eof`
    unsupported,       ///< this transport cannot do that
    callback_threw,    ///< a callback of the user threw; see `error::exception`
    empty_buffer,      ///< `get_buffer` returned no memory
    incomplete_read,   ///< end of stream before the data was complete; see `error::partial`
    limit_overrun,     ///< no separator within the limit of the reader; see `error::count`
    already_waiting,   ///< another task already waits for the same thing
    end_of_stream,     ///< the peer closed before this call could do anything
    server_closed,     ///< the server was closed
    already_serving,   ///< `serve_forever` runs already
    no_address,        ///< a name resolved to nothing
    several_failures,  ///< more than one attempt failed; see `error::causes`
    broken_promise,    ///< whoever was to give the result is gone
    queue_empty,       ///< `get_now` of a queue that holds nothing
    queue_full,        ///< `put_now` into a queue, `submit` to a pool, that has no room
    queue_shut_down,   ///< the queue was shut down
    broken_barrier,    ///< the barrier was reset or aborted while this task waited
};

/// The category of `ouro::errc`, named "ouro".
const std::error_category& ouro_category() noexcept;
/// Makes `errc` values convertible to `std::error_code`.
std::error_code make_error_code(errc value) noexcept;

/// Who asked for a cancellation.
enum class cancel_cause : std::uint8_t {
    none,
    user,            ///< somebody called `cancel`
    timeout,         ///< a deadline passed
    shutdown,        ///< the loop or the program ends
    sibling_failed,  ///< another child of the same group failed
    not_needed,      ///< another one was first
};
/// The cause as words: "user", "timeout", ...
const char* to_string(cancel_cause cause) noexcept;

}  // namespace ouro

template <>
struct std::is_error_code_enum<ouro::errc> : std::true_type {};

namespace ouro {

namespace detail {

/// A text for people: what is said, or what a callable says. Without memory for it there is none,
/// and nothing is thrown.
class words {
  public:
    words() noexcept = default;
    words(std::string text) noexcept : text_(std::move(text)) {}
    words(const char* text) noexcept : words([text] { return std::string(text); }) {}
    words(const words& other) noexcept : words([&] { return other.text_; }) {}
    words(words&&) noexcept = default;
    words& operator=(words other) noexcept {
        text_.swap(other.text_);
        return *this;
    }
    template <std::invocable Phrase>
    words(Phrase&& phrase) noexcept {
        try {
            text_ = std::forward<Phrase>(phrase)();
        } catch (const std::bad_alloc&) {
            // What happened counts, not how it is told.
        }
    }
    bool empty() const noexcept { return text_.empty(); }
    const std::string& text() const noexcept { return text_; }
    operator std::string() && noexcept { return std::move(text_); }

  private:
    std::string text_;
};

}  // namespace detail

/// One failure. Cheap while there is none: 24 bytes and no allocation; context is kept on the heap
/// and only when there is something to tell. Without memory an error keeps its code and loses the
/// context: making one never throws.
///
/// Tests false when nothing is wrong, so it doubles as asyncio's "error or None"
/// (`connection_lost`).
class error {
  public:
    /// No error.
    error() noexcept = default;
    /// A failure with `code`, while `doing` was attempted ("connect 10.0.0.1:80").
    explicit error(std::error_code code, detail::words doing = {}) noexcept;
    /// A failure of the library's own.
    error(errc code, detail::words doing = {}) noexcept;
    /// A failure of the operating system, by its portable name.
    error(std::errc code, detail::words doing = {}) noexcept;
    /// A failure of the operating system, by its errno.
    static error from_errno(int number, detail::words doing = {}) noexcept;
    /// A C++ exception as an error; a `std::system_error` keeps its code, others become
    /// `errc::callback_threw`.
    static error from_exception(std::exception_ptr thrown, detail::words doing = {}) noexcept;
    /// A cancellation with its cause.
    static error cancelled(cancel_cause cause, detail::words doing = {}) noexcept;
    /// Several failures as one; the text lists each, and says once what all begin with, if that is
    /// `doing` (rule 372). Its code may be the one that all of them have.
    static error several(std::vector<error> causes, detail::words doing = {},
                         std::error_code code = errc::several_failures) noexcept;
    /// The first of `causes`, which has all of them as its `causes` when there are more. At least
    /// one. Without memory it has none, and `causes` is left alone.
    static error first_of(std::vector<error>&& causes) noexcept;

    error(const error& other) noexcept;
    error& operator=(const error& other) noexcept;
    error(error&&) noexcept = default;
    error& operator=(error&&) noexcept = default;
    ~error() = default;

    /// True when there is an error.
    explicit operator bool() const noexcept { return value_ != 0; }
    /// The code, to compare with `std::errc` and `ouro::errc`.
    std::error_code code() const noexcept {
        return category_ ? std::error_code(value_, *category_) : std::error_code();
    }
    /// What was being attempted, or empty.
    const std::string& doing() const noexcept;
    /// Why the wait was cancelled, or a deadline passed; else `none`.
    cancel_cause cause() const noexcept;
    /// The same in words, if whoever cancelled gave any: "deadline of 5 s at server.cpp:88".
    const std::string& reason() const noexcept;
    /// The exception behind `errc::callback_threw`, or null.
    std::exception_ptr exception() const noexcept;
    /// The source lines the error passed through, innermost first.
    std::span<const std::source_location> trail() const noexcept;
    /// The single failures behind this one, when there were several.
    std::span<const error> causes() const noexcept;
    /// `incomplete_read`: what had arrived.
    const std::string& partial() const noexcept;
    /// `incomplete_read`: bytes expected in all, 0 when unknown. `limit_overrun`: bytes to skip.
    std::size_t count() const noexcept;

    /// One line for a person: what was done, on what, why it failed.
    std::string message() const;
    /// `message` followed by one line for each place of the trail.
    std::string describe() const;

    /// Adds context to an error that has none yet.
    error& while_doing(detail::words doing) noexcept;
    /// Adds a reason to an error that has none yet.
    error& because(detail::words reason) noexcept;
    /// Another code for the same event, for this reason if one is given.
    error& becomes(std::errc code, detail::words reason = {}) noexcept;
    /// Attaches what `incomplete_read` and `limit_overrun` carry.
    error& with_data(std::string partial, std::size_t count) noexcept;
    /// Notes a line the error passed through; long chains keep their first and last lines.
    void passed(const std::source_location& where) noexcept;

    /// True when the error has this code.
    friend bool operator==(const error& left, const std::error_code& right) noexcept {
        return left.code() == right;
    }
    /// True when the error means this portable condition.
    friend bool operator==(const error& left, std::errc right) noexcept {
        return left.code() == std::make_error_condition(right);
    }
    /// True when the error is this failure of the library's.
    friend bool operator==(const error& left, errc right) noexcept {
        return left.code() == make_error_code(right);
    }

  private:
    struct details;
    struct free_details {
        void operator()(details* memory) const noexcept;
    };
    details* more() noexcept;

    // A code taken apart: making an empty std::error_code costs a call, and there is an empty error
    // at every await.
    int value_ = 0;
    const std::error_category* category_ = nullptr;
    std::unique_ptr<details, free_details> details_;  // empty for a bare code
};

}  // namespace ouro
