// The reading half of a stream: buffered, pulled, without copies.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/wait.hpp>

namespace ouro {

/// How many bytes a reader buffers before it stops the peer, and the longest line it accepts
/// (asyncio's default).
inline constexpr std::size_t default_stream_limit_bytes = 64 * 1024;

namespace detail {

class stream_core;

/// What one read waits for.
struct read_request {
    enum class kind : unsigned char { some, exactly, until, until_any, all };
    kind what = kind::some;
    bool line = false;      // `until`, with the leniency of readline
    std::size_t count = 0;  // most bytes, or exactly so many
    // Views: the caller's text outlives the await.
    union {
        std::string_view separator;                    // until
        std::span<const std::string_view> separators;  // until_any
    } text{.separator = {}};
};

/// The await of a read. `Value` is how the bytes are given: as `bytes` or as `std::string_view`.
class [[nodiscard]] read_wait_base : public wait_point {
  public:
    read_wait_base(stream_core& of, read_request request) noexcept
        : wait_point(read_kind), core_(&of), request_(request) {}
    ~read_wait_base() {
        if (claims_) let_go();
    }
    bool await_ready() noexcept;
    /// The `cancel` of its kind.
    static void cancelled(wait_point& wait, cancel_cause cause) noexcept;
    static std::string describe(const wait_point& wait);

  protected:
    void start() noexcept;
    bytes take() noexcept;

  private:
    friend class stream_core;
    void start_otherwise() noexcept;
    void let_go() noexcept;
    bool look_before() noexcept;

    static const wait_kind read_kind;
    bool must_wait_ = false;  // nothing to have when it was looked at
    bool woken_ = false;      // on its way to take the data
    bool claims_ = false;     // it is the one read that waits
    stream_core* core_;       // null once the stream is gone
    read_request request_;
    std::size_t searched_ = 0;  // bytes known to hold no separator
};

template <class Value>
class [[nodiscard]] read_wait : public read_wait_base {
  public:
    using value_type = Value;
    using read_wait_base::read_wait_base;
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> waiting,
                       std::source_location where = std::source_location::current()) noexcept {
        if (suspend(waiting, where)) start();
    }
    Value await_resume() {
        rethrow_if_failed();
        return value();
    }
    result<Value> take_result() {
        if (failed()) return result<Value>(take_failure());
        return value();
    }

  private:
    Value value() noexcept {
        if constexpr (std::is_same_v<Value, bytes>)
            return take();
        else
            return as_text(take());
    }
};

}  // namespace detail

/// Reads from a stream. What it returns are views into its buffer, which a connection that rests
/// does not have: small pieces are copied there once, from the loop's receive ring. Where much
/// comes the kernel writes into it directly, and only unread bytes that have to make room are
/// copied.
///
/// Every read
/// Errors    the error that ended the connection, also while data is still buffered (rule 617);
///           `errc::already_waiting` when another task is reading (rule 619).
/// Cancel    no data is lost; the next read finds it (rule 620).
/// Lifetime  a view is valid until the next read on this reader, or its destruction.
/// Threads   the loop's thread.
/// Cost      no allocation; no suspension when the data is there.
class stream_reader {
  public:
    /// A reader that is fed by hand (`feed_data`), for tests and protocols of your own.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) for a limit of 0 (rule 594).
    explicit stream_reader(std::size_t limit_bytes = default_stream_limit_bytes);
    explicit stream_reader(std::shared_ptr<detail::stream_core> core) noexcept;
    stream_reader(stream_reader&&) noexcept = default;
    stream_reader& operator=(stream_reader&& other) noexcept;
    ~stream_reader();

    /// Whatever is there, at least one byte; empty at end of stream only.
    detail::read_wait<bytes> read_some() noexcept;
    /// Up to `most` bytes as soon as there is one; 0 returns at once; negative, the default,
    /// collects everything until end of stream, however much that is (rules 596-599). Empty at end
    /// of stream.
    detail::read_wait<bytes> read(std::ptrdiff_t most = -1) noexcept;
    /// Exactly `count` bytes (rules 600-602).
    ///
    /// Errors  `errc::incomplete_read` at end of stream, with the partial data.
    detail::read_wait<bytes> readexactly(std::size_t count) noexcept;
    /// Everything up to and including `separator` (rules 603-612).
    ///
    /// Errors  `errc::incomplete_read` at end of stream, with all there was; `errc::limit_overrun`
    ///         when no separator starts within the limit, with the bytes to skip (`error::count`),
    ///         and the data is kept; `errc::value_error` for an empty separator.
    /// Lifetime  the separator must live until the await resumes.
    detail::read_wait<std::string_view> readuntil(std::string_view separator = "\n");
    /// The same with several separators: the match that ends first wins (rule 606).
    detail::read_wait<std::string_view>
    readuntil(std::initializer_list<std::string_view> separators);
    /// One line with its newline; what is left at end of stream, empty when nothing is (rule 613).
    ///
    /// Errors  `errc::value_error` for a line over the limit, which is then skipped (rule 614).
    detail::read_wait<std::string_view> readline();
    /// True when the stream has ended and everything was read (rule 616).
    bool at_eof() const noexcept;

    /// Producer's side: adds data. Not after `feed_eof` (rule 595).
    void feed_data(bytes data);
    /// Producer's side: no more data follows.
    void feed_eof() noexcept;
    /// Producer's side: every read fails from now on (rules 617, 618).
    void set_exception(error why) noexcept;
    /// The stored error; false when there is none.
    error exception() const noexcept;

  private:
    detail::stream_core& live() const noexcept;
    std::shared_ptr<detail::stream_core> core_;  // shared with the writer and the transport
};

}  // namespace ouro
