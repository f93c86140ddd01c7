// A transport that lets only so many bytes pass in a second.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <ouro/proto/flow_control.hpp>
#include <ouro/proto/protocol_caller.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/loop.hpp>

namespace ouro {

/// How fast a throttled transport is.
struct throttle_options {
    std::uint64_t read_bytes_per_second = 0;   ///< 0: as fast as it comes
    std::uint64_t write_bytes_per_second = 0;  ///< 0: as fast as it goes
    /// How much may pass at once, as time: at least this lies between two timers. A byte at a time
    /// where that takes longer.
    std::chrono::nanoseconds grain = std::chrono::milliseconds(10);
};

namespace detail {

class write_queue;

/// How much may pass when: bytes for each second, as many as one grain of time has at once.
class pace {
  public:
    pace(std::uint64_t bytes_per_second, std::chrono::nanoseconds grain) noexcept;
    /// How much may pass at `now`; 0: not before `next`.
    std::size_t allowed(clock::time_point now) const noexcept;
    void spend(clock::time_point now, std::size_t bytes) noexcept;
    clock::time_point next() const noexcept { return next_; }

  private:
    std::chrono::nanoseconds time_for(std::size_t bytes) const noexcept;
    std::uint64_t rate_;                               // 0: no limit
    std::size_t step_bytes_;                           // of one grain
    clock::time_point next_{clock::duration::zero()};  // when what has passed is paid for
};

}  // namespace detail

/// Wrapped around any transport that has write limits, it paces both directions: what is written
/// waits in a queue of its own, which counts for the watermarks, and what is received waits while
/// the wrapped transport is paused, so that the peer is held up in the end.
///
///     auto slow = std::make_shared<throttled_transport>(loop::current(), options);
///     co_await create_connection([&] { return slow->wrap(my_protocol); }, "host", 80);
///
/// The protocol is given the outer one by `connection_made`; before that, calls do nothing.
///
/// Lifetime  made by `std::make_shared`, for one connection. The wrapped transport holds it until
///           `connection_lost` has returned.
/// Threads   the loop's thread.
/// Cost      every byte is copied once on its way, in both directions. A timer for each grain of
///           time in which something waits, none while nothing does.
class throttled_transport final : public transport,
                                  private protocol,
                                  public std::enable_shared_from_this<throttled_transport> {
  public:
    /// Throws `std::system_error` (`errc::value_error`) for a grain that is not above zero.
    throttled_transport(loop& home, throttle_options options);
    ~throttled_transport() override;
    /// What to put on the transport that is to be wrapped, in the place of `receiver`.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) unless `receiver` is a `protocol`,
    ///         a `buffered_protocol` or a `lease_protocol`.
    std::shared_ptr<base_protocol> wrap(std::shared_ptr<base_protocol> receiver);

    void close() override;
    bool is_closing() const noexcept override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::shared_ptr<base_protocol> get_protocol() const override { return calls_.receiver(); }
    std::any extra_info(std::string_view name) const override;
    bool is_reading() const noexcept override { return !paused_ && !is_closing(); }
    void pause_reading() override;
    void resume_reading() override;
    using write_transport::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    std::error_code writelines(std::span<const bytes> chunks) override;
    std::error_code write_eof() override;
    bool can_write_eof() const noexcept override;
    void abort() override { end({}); }
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return flow_.limits();
    }
    std::size_t get_write_buffer_size() const noexcept override;

  private:
    // As the protocol of the wrapped transport.
    void connection_made(std::shared_ptr<transport> link) override;
    void data_received(bytes data) override;
    bool eof_received() override;
    void connection_lost(error why) override;
    void pause_writing() override { wrapped_paused_ = true; }
    void resume_writing() override;

    /// True when a write has to go past the queue: what it wraps refuses or drops it.
    bool past_writing() const noexcept {
        return lost_ || ending_ || (closing_ && nothing_queued());
    }
    bool nothing_queued() const noexcept;
    void written();
    void pause_if_above() noexcept;
    void push() noexcept;
    void push_and_tell() noexcept;
    void feed() noexcept;
    void deliver_eof() noexcept;
    void hold_input() noexcept;
    void end(error why) noexcept;
    /// A timer of one direction.
    struct alarm {
        void (throttled_transport::*rings)() noexcept;
        timer_handle timer{};
        bool set = false;
    };
    void wait(alarm& on, clock::time_point when) noexcept;

    loop& home_;
    std::shared_ptr<transport> wrapped_;
    protocol_caller calls_;
    flow_control flow_;
    detail::pace read_pace_;
    detail::pace write_pace_;
    std::unique_ptr<detail::write_queue> out_;
    std::unique_ptr<detail::write_queue> in_;
    alarm read_alarm_{&throttled_transport::feed};
    alarm write_alarm_{&throttled_transport::push_and_tell};
    error why_lost_;
    bool wrapped_paused_ = false;  // it takes no more
    bool paused_ = false;          // pause_reading
    bool eof_held_ = false;        // the peer has ended; what came before may wait here
    bool at_eof_ = false;
    bool eof_written_ = false;
    bool closing_ = false;
    bool ending_ = false;
    bool lost_ = false;
};

}  // namespace ouro
