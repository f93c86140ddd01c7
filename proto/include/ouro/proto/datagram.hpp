// Datagrams: an endpoint, the protocol on it, and how both are made.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <ouro/net/address.hpp>
#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

class datagram_transport;

/// What a datagram endpoint calls: `made (datagram | truncated | error | pause | resume)* lost`.
/// What a callback throws is reported; the endpoint stays open (rule 460).
class datagram_protocol : public base_protocol {
  public:
    /// The endpoint stands; keep `link` to send.
    virtual void connection_made(std::shared_ptr<datagram_transport> link);
    /// One whole datagram, which may be empty; `from` is empty for an unnamed unix peer (rules 448,
    /// 473).
    ///
    /// Lifetime  `data` is a view, valid during the call only.
    virtual void datagram_received(bytes data, const address& from);
    /// A datagram of `whole_bytes` was longer than the room for it; `data` is its beginning. Calls
    /// `error_received` with `std::errc::message_size` unless overridden.
    virtual void datagram_truncated(bytes data, const address& from, std::size_t whole_bytes);
    /// A send or a receive failed, now or earlier; the endpoint stays open (rule 452).
    virtual void error_received(error why);
};

/// What went through an endpoint.
struct datagram_statistics {
    std::uint64_t sent = 0;            ///< datagrams the kernel took
    std::uint64_t sent_bytes = 0;      ///< payload of these
    std::uint64_t send_calls = 0;      ///< messages they went in: fewer where the kernel cuts them
    std::uint64_t received = 0;        ///< datagrams that were delivered, or dropped while closing
    std::uint64_t received_bytes = 0;  ///< payload of these
    std::uint64_t receive_calls = 0;   ///< completions they came in: fewer where the kernel joins
    /// Datagrams the socket had no room for, because they came faster than they were read; as far
    /// as the last one that was received tells. UDP only.
    std::uint64_t overflowed = 0;
    std::uint64_t truncated = 0;  ///< received datagrams that were cut
    std::uint64_t errors = 0;     ///< failed sends and receives
    std::uint64_t dropped = 0;    ///< sends on a closing endpoint
};

/// A socket that sends and receives datagrams, connected to one peer or not.
class datagram_transport : public read_transport {
  public:
    /// Queues a copy of `data`, which may be empty, for `to`, or for the remote address of the
    /// endpoint. What one turn sends leaves at its end, in order, in as few calls as the kernel
    /// allows (rules 447, 448). A failure of the kernel's goes to `error_received`. Never blocks,
    /// never resolves a name (rule 475).
    ///
    /// Errors  `errc::value_error`: the endpoint is connected elsewhere (rule 444);
    ///         `std::errc::destination_address_required` (rule 458);
    ///         `std::errc::address_family_not_supported`: of another kind than the endpoint. A
    ///         closing endpoint drops it without one (rule 464).
    /// Cost    one copy; no allocation in steady state.
    virtual std::error_code send_to(bytes data, const address& to) = 0;
    /// The same to the remote address.
    std::error_code send_to(bytes data) { return send_to(data, address()); }
    /// Queues a text.
    std::error_code send_to(std::string_view text, const address& to = {}) {
        return send_to(as_bytes(text), to);
    }
    /// Drops what is queued and closes; `connection_lost` comes without error (rule 463).
    virtual void abort() = 0;
    /// As `write_transport::set_write_buffer_limits`; each datagram counts 8 bytes more than it has
    /// (rules 450, 451).
    virtual std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes = -1,
                                                    std::ptrdiff_t low_bytes = -1) = 0;
    /// The watermarks: low, then high.
    virtual std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept = 0;
    /// Bytes the kernel has not taken yet, and 8 for each datagram.
    virtual std::size_t get_write_buffer_size() const noexcept = 0;
    /// Receives what is sent to the multicast `group` on the interface of that index; 0 lets the
    /// kernel choose. setsockopt(2): IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP
    virtual result<> join_group(const address& group, unsigned interface_index = 0) = 0;
    /// Undoes `join_group`.
    virtual result<> leave_group(const address& group, unsigned interface_index = 0) = 0;
    /// What went through it so far.
    virtual datagram_statistics statistics() const noexcept = 0;
};

/// How a datagram endpoint is made. Nothing is shared or broadcast unless asked for (rule 470).
struct datagram_options {
    address local{};               ///< bind to this; a unix path that is a stale socket is removed
    std::string local_host{};      ///< or to this name, if there is a `local_port`
    std::uint16_t local_port = 0;  ///< 0 with a `local_host`: one the kernel chooses
    address remote{};              ///< send to this, and hear nobody else
    std::string remote_host{};     ///< or to this name
    std::uint16_t remote_port = 0;
    int family = AF_UNSPEC;   ///< needed when there is no address; else restricts names to one kind
    int protocol = 0;         ///< as in socket(2)
    bool reuse_port = false;  ///< SO_REUSEPORT: several endpoints at one address
    /// SO_BROADCAST. The remote address is then the default target only, because answers come from
    /// others (rule 471).
    bool allow_broadcast = false;
    /// Room for one datagram; longer ones are cut, and said to be. 0: for the longest there is, in
    /// the loop's buffers for UDP, in 256 KiB of the endpoint's own for unix sockets (rule 461).
    std::size_t receive_bytes = 0;
    /// Lets the kernel cut up and join datagrams of equal size (UDP_SEGMENT, UDP_GRO), where it
    /// can.
    bool segmentation = true;
};

/// A transport and the protocol on it.
template <class Protocol>
struct datagram_endpoint {
    std::shared_ptr<datagram_transport> transport;
    std::shared_ptr<Protocol> protocol;
};

namespace detail {
task<std::shared_ptr<datagram_transport>> make_datagram_endpoint(protocol_factory factory,
                                                                 datagram_options options);
task<std::shared_ptr<datagram_transport>> wrap_datagram_socket(protocol_factory factory,
                                                               socket given);
}  // namespace detail

/// A callable that makes a `std::shared_ptr` to a `datagram_protocol`.
template <class Factory>
concept datagram_protocol_maker = std::invocable<Factory&> && requires {
    requires std::derived_from<detail::made_protocol<Factory>, datagram_protocol>;
};

/// Makes a datagram endpoint with `factory()` on it. The addresses of a name are tried in resolver
/// order; the factory is called once one of them worked (rule 468).
///
/// Result  the transport and the protocol, after `connection_made` has run; reading starts after
///         that (rule 477).
/// Errors  `errc::value_error`: no address and no family, or addresses of different families (rules
///         465, 467); else the first failure.
/// Cancel  an endpoint that exists already is closed.
template <datagram_protocol_maker Factory>
task<datagram_endpoint<detail::made_protocol<Factory>>>
create_datagram_endpoint(Factory factory, datagram_options options) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::make_datagram_endpoint(
        detail::remembering(std::move(factory), made), std::move(options));
    co_return datagram_endpoint<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

/// Puts `factory()` on a socket, which belongs to the endpoint from then on. It may be connected:
/// then `send_to` needs no address (rule 474).
///
/// Errors  `errc::value_error` for a socket of connections: SOCK_STREAM, SOCK_SEQPACKET (rule 469).
template <datagram_protocol_maker Factory>
task<datagram_endpoint<detail::made_protocol<Factory>>> create_datagram_endpoint(Factory factory,
                                                                                 socket given) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::wrap_datagram_socket(detail::remembering(std::move(factory), made),
                                                      std::move(given));
    co_return datagram_endpoint<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

}  // namespace ouro
