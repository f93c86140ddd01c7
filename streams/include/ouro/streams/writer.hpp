// The writing half of a stream: writes are queued at once, `drain` waits while the peer is slow.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <ouro/proto/transport.hpp>
#include <ouro/runtime/waiters.hpp>

namespace ouro {

namespace detail {

class stream_core;

/// An await of a `stream_writer`, in the list of its stream.
class writer_wait : public wait_point, public list_link {
  public:
    writer_wait(const wait_kind& kind, stream_core& core) noexcept
        : wait_point(kind), core_(&core) {}
    void value() const noexcept {}
    /// The `cancel` of its kind.
    static void leave(wait_point& wait, cancel_cause cause) noexcept;

  protected:
    friend class stream_core;
    enum class until : unsigned char {
        room,     // resume_writing
        turn,     // the next one, on a closing transport (rule 631)
        the_end,  // the connection is lost
    };
    until what_ = until::room;
    stream_core* core_;
};

/// The await of `stream_writer::drain`.
class [[nodiscard]] drain_wait : public awaitable<drain_wait, void, writer_wait> {
  public:
    explicit drain_wait(stream_core& core) noexcept : awaitable(drain_kind, core) {}
    bool await_ready() const noexcept;
    void start() noexcept;
    static std::string describe(const wait_point& wait);

  private:
    static const wait_kind drain_kind;
};

/// The await of `stream_writer::wait_closed`.
class [[nodiscard]] closed_wait : public awaitable<closed_wait, void, writer_wait> {
  public:
    explicit closed_wait(stream_core& core) noexcept;
    void start() noexcept;
    static std::string describe(const wait_point& wait);
};

}  // namespace detail

/// Writes to a stream. Move-only; closes the connection gracefully when it dies.
///
/// Threads  the loop's thread.
class stream_writer {
  public:
    explicit stream_writer(std::shared_ptr<detail::stream_core> core) noexcept;
    stream_writer(stream_writer&&) noexcept = default;
    stream_writer& operator=(stream_writer&& other) noexcept;
    ~stream_writer();

    /// Queues a copy of `data`; follow with `co_await drain()`. Never blocks.
    ///
    /// Errors  `errc::write_after_eof`. On a lost connection data is dropped; `drain` tells.
    std::error_code write(bytes data);
    /// Queues a text.
    std::error_code write(std::string_view text) { return write(as_bytes(text)); }
    /// Queues `data` without copying it.
    std::error_code write(std::vector<std::byte>&& data);
    /// Queues all `chunks` in order.
    std::error_code writelines(std::span<const bytes> chunks);
    /// Half-closes once everything queued is sent.
    std::error_code write_eof();
    /// True when `write_eof` works here.
    bool can_write_eof() const noexcept;

    /// Waits until it makes sense to write on: at once unless more than the high watermark is
    /// queued (rule 627).
    ///
    /// Errors  what ended the connection; connection_reset after the connection is lost (rules
    ///         630-634).
    /// Cancel  leaves this wait; other drains go on (rule 629).
    detail::drain_wait drain() noexcept;
    /// Sends what is queued, then ends the connection. Idempotent.
    void close() noexcept;
    /// True from close, abort or an error on.
    bool is_closing() const noexcept;
    /// Waits until the connection is lost (rules 635-637).
    ///
    /// Errors  the error it was lost with.
    detail::closed_wait wait_closed() noexcept;
    /// What `name` stands for; see `base_transport::extra_info`.
    template <class T>
    T get_extra_info(std::string_view name, T fallback = {}) const {
        return link().template get_extra_info<T>(name, std::move(fallback));
    }
    /// The transport below.
    ouro::transport& transport() const noexcept { return link(); }

  private:
    detail::stream_core& live() const noexcept;
    ouro::transport& link() const noexcept;
    std::shared_ptr<detail::stream_core> core_;  // shared with the reader and the transport
};

}  // namespace ouro
