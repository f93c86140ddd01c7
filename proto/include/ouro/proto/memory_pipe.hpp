// Two connected transports in memory: what a socket pair is, without the kernel.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/flow_control.hpp>
#include <ouro/proto/protocol_caller.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/loop.hpp>

namespace ouro {

class memory_transport;

namespace detail {
struct memory_wire;
struct memory_direction;
task<std::shared_ptr<transport>> begin_memory(protocol_factory factory,
                                              std::shared_ptr<memory_transport> end);
}  // namespace detail

/// How a memory pipe is made.
struct memory_pipe_options {
    /// What each direction holds, as a socket's buffers do. What is written beyond it is queued at
    /// the writer, and counts for its watermarks.
    std::size_t capacity_bytes = 64 * 1024;
};

/// One end of a memory pipe: a transport with all of the contract. No descriptor, no system call,
/// and no clock: what one end writes, the other one is told of in the next turn.
///
/// An end that was never begun keeps what its peer sends, up to the capacity; its destruction is
/// the end of the stream.
///
/// Errors    `connection_lost` with `std::errc::broken_pipe` where there is something left to write
///           to a peer that is gone.
/// Threads   the loop's thread.
/// Cost      a byte is copied once, on `write`; not at all when it is given away. A buffered
///           protocol has it copied once more, into its memory.
class memory_transport final : public transport,
                               private detail::ready_node,
                               private detail::loop_resource {
  public:
    /// For `memory_pipe`.
    memory_transport(loop& home, std::shared_ptr<detail::memory_wire> wire, bool first);
    ~memory_transport() override;

    /// Brings `self`, which is this, to life: `connection_made` comes in the next turn. Once.
    ///
    /// Errors  throws `std::system_error` (`errc::invalid_state`) the second time.
    void begin(std::shared_ptr<memory_transport> self, std::shared_ptr<base_protocol> receiver);

    void close() override;
    bool is_closing() const noexcept override { return closing_; }
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::shared_ptr<base_protocol> get_protocol() const override { return calls_.receiver(); }
    std::any extra_info(std::string_view) const override { return {}; }
    bool is_reading() const noexcept override { return !paused_ && !closing_; }
    void pause_reading() override;
    void resume_reading() override;
    using write_transport::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    std::error_code writelines(std::span<const bytes> chunks) override;
    std::error_code write_eof() override;
    bool can_write_eof() const noexcept override { return true; }
    void abort() override { end({}); }
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return flow_.limits();
    }
    std::size_t get_write_buffer_size() const noexcept override;

  private:
    friend task<std::shared_ptr<transport>>
    detail::begin_memory(protocol_factory factory, std::shared_ptr<memory_transport> end);
    bool may_write(bool nothing, std::error_code& refused) noexcept;
    void written();
    void pause_if_above() noexcept;
    void deliver() noexcept;
    void deliver_eof() noexcept;
    void go_on_writing() noexcept;
    void end(error why) noexcept;
    void lose() noexcept;
    void leave_wire() noexcept;
    void schedule() noexcept;
    static void run_soon(ready_node& node) noexcept;
    void run_pending() noexcept;

    loop& home_;
    std::shared_ptr<detail::memory_wire> wire_;
    detail::memory_direction& out_;
    detail::memory_direction& in_;
    std::shared_ptr<memory_transport> self_;  // the loop's hold, until lost
    protocol_caller calls_;
    flow_control flow_;
    error why_lost_;
    unsigned dropped_writes_ = 0;
    bool made_ = false;  // connection_made was called
    bool paused_ = false;
    bool at_eof_ = false;
    bool closing_ = false;
    bool ending_ = false;  // connection_lost is due
    bool lost_ = false;
    bool eof_written_ = false;
};

/// Makes a pipe. Give each end to `create_connection`, or to `open_connection` by a connector; they
/// bring it to life. Or call its `begin`.
///
/// Errors  throws `std::system_error` (`errc::value_error`) for a capacity of 0.
std::pair<std::shared_ptr<memory_transport>, std::shared_ptr<memory_transport>>
memory_pipe(loop& home, memory_pipe_options options = {});

/// Puts `factory()` on one end of a memory pipe.
///
/// Result  the transport and the protocol, after `connection_made` has run (rule 267).
/// Errors  `errc::invalid_state` when the end has a protocol already.
/// Cancel  the end is aborted.
template <protocol_maker Factory>
task<connection<detail::made_protocol<Factory>>>
create_connection(Factory factory, std::shared_ptr<memory_transport> end) {
    auto made = std::make_shared<std::shared_ptr<detail::made_protocol<Factory>>>();
    auto link = co_await detail::begin_memory(detail::remembering(std::move(factory), made),
                                              std::move(end));
    co_return connection<detail::made_protocol<Factory>>{std::move(link), std::move(*made)};
}

}  // namespace ouro
