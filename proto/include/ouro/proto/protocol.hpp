// Protocols: what a transport calls. Derive from one of these and override what you need.
#pragma once

#include <cstddef>
#include <memory>

#include <ouro/net/socket.hpp>
#include <ouro/runtime/error.hpp>
#include <ouro/runtime/lease.hpp>

namespace ouro {

class transport;

/// What all protocols share: `made (pause resume)* lost`.
///
/// Every callback runs on the loop's thread, from the loop, never from inside a call of yours;
/// `pause_writing` is the one exception. What a callback throws goes to the loop's exception
/// handler.
/// Lifetime  the transport holds its protocol until `connection_lost` has returned.
class base_protocol {
  public:
    base_protocol() = default;
    base_protocol(const base_protocol&) = delete;
    base_protocol& operator=(const base_protocol&) = delete;
    virtual ~base_protocol() = default;

    /// The connection is over; nothing is called after this (rule 263). `why` tests false after
    /// close, abort or an orderly end of stream, and is the error otherwise (rule 360).
    virtual void connection_lost(error why);
    /// More than the high watermark is queued: stop writing. Called from inside the `write` that
    /// crossed it (rules 274, 277).
    virtual void pause_writing();
    /// The queue has drained to the low watermark: go on writing (rule 275).
    virtual void resume_writing();
};

/// A byte stream, handed over as it comes: `made (data* eof?)? lost`.
class protocol : public base_protocol {
  public:
    /// The connection stands; keep `link` to write (rule 262).
    virtual void connection_made(std::shared_ptr<transport> link);
    /// Bytes arrived, never none, in order.
    ///
    /// Lifetime  `data` is a view into the loop's receive ring, valid during the call only.
    virtual void data_received(bytes data);
    /// The peer will send no more. True keeps the connection open for writing; false, the default,
    /// closes it once what is queued has been sent (rules 302, 303).
    virtual bool eof_received();
};

/// A byte stream, handed over as leases of what the kernel wrote: `made (data* eof?)? lost`. For
/// who passes the bytes on (`write_transport::write`) or keeps them, without a copy.
///
/// The memory is shared by all connections of the loop. While leases hold as much of it as they may
/// (`loop_options::lease_bytes`), what comes is a lease of a copy (`buffer_lease::is_copy`): no
/// connection waits for another one. Who keeps what comes pauses when that is enough.
class lease_protocol : public base_protocol {
  public:
    /// The connection stands; keep `link` to write (rule 262).
    virtual void connection_made(std::shared_ptr<transport> link);
    /// Bytes arrived, never none, in order.
    virtual void data_received(buffer_lease data) = 0;
    /// As `protocol::eof_received`.
    virtual bool eof_received();
};

/// A byte stream received into memory of your own: `made (buffer updated?)* eof? lost`. The kernel
/// writes there directly.
class buffered_protocol : public base_protocol {
  public:
    /// The connection stands; keep `link` to write (rule 262).
    virtual void connection_made(std::shared_ptr<transport> link);
    /// Memory for the next bytes, not empty. `hint` is a size that would suit, or -1; it binds
    /// nobody (rule 311).
    ///
    /// Lifetime  stays valid until the matching `buffer_updated` or `connection_lost`: the kernel
    ///           owns it while the connection is idle.
    virtual mut_bytes get_buffer(std::ptrdiff_t hint) = 0;
    /// `count` bytes were placed at the start of what `get_buffer` returned last (rule 312).
    virtual void buffer_updated(std::size_t count) = 0;
    /// True while it would rather have what came copied than lend memory for what may come: the
    /// library's socket transports then receive through the loop's ring and ask for memory, with
    /// the count as `hint`, when there is something to put there. Asked before each receive and
    /// after each piece; other transports may not ask. By default never: no byte is copied.
    virtual bool prefers_copies() const noexcept { return false; }
    /// As `protocol::eof_received`.
    virtual bool eof_received();
};

}  // namespace ouro
