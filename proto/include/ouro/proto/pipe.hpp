// Pipes under protocols: one direction of bytes each, on pipes, fifos, sockets, terminals and
// devices.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include <ouro/net/pipe.hpp>
#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

/// The file under a pipe transport, for looking at; a transport's extra information "pipe" (rule
/// 495).
class pipe_view {
  public:
    pipe_view(loop& home, int fd, io::file_kind kind) noexcept
        : home_(&home), fd_(fd), kind_(kind) {}
    /// The descriptor; -1 once the transport has closed it.
    int fd() const noexcept { return fd_; }
    /// What it is.
    io::file_kind kind() const noexcept { return kind_; }

  protected:
    ~pipe_view() = default;
    pipe_view(const pipe_view&) = default;
    pipe_view& operator=(const pipe_view&) = default;
    loop* home_;
    int fd_;
    io::file_kind kind_;
};

/// A reading transport and the protocol on it.
template <class Protocol>
struct read_connection {
    std::shared_ptr<read_transport> transport;
    std::shared_ptr<Protocol> protocol;
};
/// A writing transport and the protocol on it.
template <class Protocol>
struct write_connection {
    std::shared_ptr<write_transport> transport;
    std::shared_ptr<Protocol> protocol;
};

namespace detail {
/// What a transport may have below it.
enum class pipe_files : std::uint8_t { waitable, any };
inline constexpr pipe_files file_too = pipe_files::any;
task<std::shared_ptr<transport>> read_from(protocol_factory factory, pipe_end given,
                                           pipe_files allowed = pipe_files::waitable);
task<std::shared_ptr<transport>> read_from(protocol_factory factory, int fd);
task<std::shared_ptr<transport>> write_to(protocol_factory factory, pipe_end given,
                                          pipe_files allowed = pipe_files::waitable);
task<std::shared_ptr<transport>> write_to(protocol_factory factory, int fd);
}  // namespace detail

/// Puts `factory()` on the reading end of a pipe, fifo, socket, terminal or other character device.
///
/// The protocol is a `protocol` or a `buffered_protocol`, whose memory the kernel then fills
/// directly. At the end of the stream it gets `eof_received`, whose answer does not matter, and
/// `connection_lost` without error (rule 480). What `data_received` throws is reported, and reading
/// goes on (rule 484). The link it gets cannot write: that is `errc::unsupported` (rule 485).
///
/// Result    the transport and the protocol, after `connection_made` has run.
/// Errors    `errc::value_error` for a regular file, a folder or a block device (rule 478).
/// Cancel    the transport is closed.
/// Lifetime  the transport closes what it reads from.
/// Cost      one operation that reads again and again (Linux 6.7).
template <protocol_maker Factory>
task<read_connection<detail::made_protocol<Factory>>> connect_read_pipe(Factory factory,
                                                                        pipe_end given) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link =
        co_await detail::read_from(detail::remembering(std::move(factory), made), std::move(given));
    co_return read_connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}
/// The same with a descriptor, which belongs to the transport once this has succeeded, and stays
/// the caller's and open when it has not (rule 478). Its file status flags are left alone: who
/// shares a terminal with others does not make it non-blocking for them.
template <protocol_maker Factory>
task<read_connection<detail::made_protocol<Factory>>> connect_read_pipe(Factory factory, int fd) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::read_from(detail::remembering(std::move(factory), made), fd);
    co_return read_connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

/// Puts `factory()` on the writing end of a pipe, fifo, socket, terminal or other character device.
///
/// The protocol may be any `base_protocol`; of a `protocol` or `buffered_protocol`
/// `connection_made` is called, with a link that cannot read. `write_eof` is the same as `close`
/// (rule 487), and writes after it are dropped (rule 488). When the last reader of a pipe or the
/// peer of a socket goes away, the transport closes itself: without error when nothing was queued,
/// else with broken_pipe (rules 489, 490). No SIGPIPE is raised, in the whole process, unless the
/// program has a handler for it.
///
/// Result    the transport and the protocol, after `connection_made` has run.
/// Errors    `errc::value_error` for a regular file, a folder or a block device (rule 478).
/// Cancel    the transport is closed.
/// Lifetime  the transport closes what it writes to.
template <protocol_maker Factory>
task<write_connection<detail::made_protocol<Factory>>> connect_write_pipe(Factory factory,
                                                                          pipe_end given) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link =
        co_await detail::write_to(detail::remembering(std::move(factory), made), std::move(given));
    co_return write_connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}
/// The same with a descriptor, which stays the caller's and open unless this succeeds.
template <protocol_maker Factory>
task<write_connection<detail::made_protocol<Factory>>> connect_write_pipe(Factory factory, int fd) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::write_to(detail::remembering(std::move(factory), made), fd);
    co_return write_connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

}  // namespace ouro
