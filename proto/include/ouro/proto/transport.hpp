// Transports: what a protocol may ask of its connection. Pure vocabulary; users may write their
// own.
#pragma once

#include <any>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport_statistics.hpp>

namespace ouro {

/// The socket under a transport, for looking at and setting options; it cannot move data, block or
/// close (rule 286).
class socket_view {
  public:
    socket_view(loop& home, int fd) noexcept : home_(&home), fd_(fd) {}

    /// The descriptor; -1 once the transport has closed it (rule 287).
    int fd() const noexcept { return fd_; }
    /// AF_INET, AF_INET6 or AF_UNIX.
    result<int> family() const;
    /// The own address.
    result<address> local_address() const;
    /// The peer's address.
    result<address> peer_address() const;
    /// Who is at the other end of a unix socket, as of when it connected. SO_PEERCRED
    ///
    /// Errors  not connected; where it is no unix socket.
    result<peer_credentials> credentials() const;
    /// Reads an integer option. getsockopt(2)
    result<int> get_option(int level, int name) const;
    /// Sets an integer option. setsockopt(2)
    result<> set_option(int level, int name, int value) const;

  protected:
    ~socket_view() = default;
    socket_view(const socket_view&) = default;
    socket_view& operator=(const socket_view&) = default;
    loop* home_;
    int fd_;
};

/// What all transports share. Every call is harmless on a lost transport (rule 362).
///
/// Threads   the loop's thread.
/// Lifetime  counted; the loop keeps a transport alive until `connection_lost` has returned.
class base_transport {
  public:
    base_transport() = default;
    base_transport(const base_transport&) = delete;
    base_transport& operator=(const base_transport&) = delete;
    virtual ~base_transport() = default;

    /// Stops reading, sends what is queued, then `connection_lost` without error (rules 349-351).
    /// Idempotent.
    virtual void close() = 0;
    /// True from close, abort or a fatal error on.
    virtual bool is_closing() const noexcept = 0;
    /// Replaces the receiver of later callbacks, calling neither made nor lost (rule 288). What has
    /// arrived and was not delivered goes to the new one (rules 289, 727, 728).
    virtual void set_protocol(std::shared_ptr<base_protocol> receiver) = 0;
    /// The receiver of callbacks; null once lost.
    virtual std::shared_ptr<base_protocol> get_protocol() const = 0;
    /// What `name` stands for: "socket" (`const socket_view*`), "sockname" and "peername"
    /// (`address`), or what else a transport documents; empty for unknown names.
    virtual std::any extra_info(std::string_view name) const = 0;
    /// `extra_info` as a `T`, or `fallback` (rule 284).
    template <class T>
    T get_extra_info(std::string_view name, T fallback = {}) const {
        const std::any found = extra_info(name);
        const T* value = std::any_cast<T>(&found);
        return value ? *value : std::move(fallback);
    }
};

/// The reading side.
class read_transport : public virtual base_transport {
  public:
    /// False while paused and when closing (rule 299).
    virtual bool is_reading() const noexcept = 0;
    /// No data and no end of stream is delivered from now on until `resume_reading` (rule 297).
    /// Idempotent.
    virtual void pause_reading() = 0;
    /// Delivers again, from the next turn on (rule 298). Idempotent.
    virtual void resume_reading() = 0;
};

/// The writing side.
class write_transport : public virtual base_transport {
  public:
    /// Queues a copy of `data`; small writes of one turn leave in one send. Never blocks. Dropped
    /// when lost (rule 339).
    ///
    /// Errors  `errc::write_after_eof` (rule 346).
    /// Cost    no allocation in steady state; a write of 16 KiB or more to an idle transport goes
    ///         to the kernel at once, uncopied.
    virtual std::error_code write(bytes data) = 0;
    /// Queues `data` without copying it.
    virtual std::error_code write(std::vector<std::byte>&& data) = 0;
    /// Queues what a lease holds. The library's stream transports keep the lease until the kernel
    /// has taken the bytes, and copy nothing; a transport that does not know leases copies.
    virtual std::error_code write(buffer_lease data) { return write(data.view()); }
    /// Queues all `chunks` in order, applying the high watermark once (rules 331, 332).
    virtual std::error_code writelines(std::span<const bytes> chunks) = 0;
    /// Queues a text.
    std::error_code write(std::string_view text) { return write(as_bytes(text)); }
    /// Half-closes once everything queued is sent; data can still be received (rules 344, 347).
    ///
    /// Errors  `errc::unsupported` where `can_write_eof` is false.
    virtual std::error_code write_eof() = 0;
    /// True when `write_eof` works here.
    virtual bool can_write_eof() const noexcept = 0;
    /// Drops what is queued and ends the connection soon; `connection_lost` comes without error
    /// (rule 355).
    ///
    /// The peer meets an end, or a reset if something it sent was not received. SO_LINGER with a
    /// time of 0, set on the "socket" before, makes it a reset in any case (TCP).
    virtual void abort() = 0;
    /// When to pause and resume the protocol; a missing one follows from the other: low is a
    /// quarter of high (rule 270).
    ///
    /// Errors  `errc::value_error` unless high >= low (rule 271).
    virtual std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes = -1,
                                                    std::ptrdiff_t low_bytes = -1) = 0;
    /// The watermarks: low, then high (rule 272).
    virtual std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept = 0;
    /// Bytes the kernel has not taken yet, those in flight included (rule 341).
    virtual std::size_t get_write_buffer_size() const noexcept = 0;
};

/// A two-way byte stream.
class transport : public read_transport, public write_transport {
  public:
    /// What it has done and what it holds. A transport that counts nothing gives zeros.
    virtual transport_statistics statistics() const noexcept { return {}; }
};

}  // namespace ouro
