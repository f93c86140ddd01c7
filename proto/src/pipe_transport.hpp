// Pipe transports: one file, one protocol, one direction.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ouro/proto/pipe.hpp>

#include "transport_life.hpp"
#include "write_side.hpp"

namespace ouro::detail {

/// What both directions share.
class pipe_transport : public transport_life<transport, pipe_view> {
  public:
    pipe_transport(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver);
    /// From here on `fd` is its own.
    void own(int fd) noexcept;

    using write_transport::write;
    std::any extra_info(std::string_view name) const override;

  protected:
    void tell_made() override;
    void run_due() noexcept override { retired_.clear(); }
    void lose() noexcept override;
    std::string describe() const override;
    void replace(std::shared_ptr<base_protocol> receiver);

  private:
    std::vector<std::shared_ptr<base_protocol>> retired_;  // replaced, kept until the next turn
};

// Each is a base so that a completion leads to the transport by a cast.
struct file_op : op {
    using op::op;
};
struct watch_op : op {
    using op::op;
};

/// A transport that reads.
class read_pipe final : public pipe_transport, private file_op {
  public:
    read_pipe(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver);

    void close() override { end({}); }
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    bool is_reading() const noexcept override { return !paused_ && !closing_; }
    void pause_reading() override;
    void resume_reading() override;

    // It does not write (rule 485).
    std::error_code write(bytes) override { return make_error_code(errc::unsupported); }
    std::error_code write(std::vector<std::byte>&&) override {
        return make_error_code(errc::unsupported);
    }
    std::error_code writelines(std::span<const bytes>) override {
        return make_error_code(errc::unsupported);
    }
    std::error_code write_eof() override { return make_error_code(errc::unsupported); }
    bool can_write_eof() const noexcept override { return false; }
    std::error_code set_write_buffer_limits(std::ptrdiff_t, std::ptrdiff_t) override {
        return make_error_code(errc::unsupported);
    }
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return {0, 0};
    }
    std::size_t get_write_buffer_size() const noexcept override { return 0; }

  private:
    void start() noexcept override { arm(); }
    void run_due() noexcept override;
    void take_back() noexcept override;
    bool operations_out() const noexcept override { return file_op::in_flight; }
    void lose() noexcept override;

    void attach(std::shared_ptr<base_protocol> receiver);
    bool may_read() const noexcept {
        return begun_ && !paused_ && !closing_ && !file_op::in_flight && !holds_input();
    }
    bool holds_input() const noexcept { return placed_ || !held_.empty() || end_held_; }
    void arm();
    void arm_direct();
    bool ask_buffer(std::ptrdiff_t hint, mut_bytes& room) noexcept;
    static void came(op& done) noexcept;
    void take(const op& done);
    void take_end(std::int32_t res);
    void deliver(bytes data);
    void deliver_placed(std::size_t count);
    void feed_buffered(bytes data);
    void deliver_held();
    void deliver_end(std::int32_t res);
    void hold(bytes data) { held_.insert(held_.end(), data.begin(), data.end()); }
    void stop() noexcept { io::cancel(*home_, static_cast<file_op&>(*this)); }

    protocol* streaming_ = nullptr;  // receiver_ as what it is: one of the two
    buffered_protocol* buffered_ = nullptr;
    std::shared_ptr<base_protocol> lender_;  // replaced, but the kernel fills its buffer, or has
    // What came while reading was paused, in this order.
    std::size_t placed_ = 0;  // bytes in the protocol's own buffer, not told of yet
    std::vector<std::byte> held_;
    std::int32_t end_res_ = 0;
    bool end_held_ = false;
    bool paused_ = false;
    bool direct_ = false;    // the read under way goes into the protocol's memory
    bool eof_due_ = false;   // eof_received, then connection_lost
    bool held_due_ = false;  // what was held
};

/// A transport that writes.
class write_pipe final : public write_side<pipe_transport>, private watch_op {
  public:
    write_pipe(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver);

    void close() override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::error_code write_eof() override;

    // It does not read (rule 485).
    bool is_reading() const noexcept override { return false; }
    void pause_reading() override;
    void resume_reading() override;

  private:
    void start() noexcept override;
    void take_back() noexcept override;
    bool operations_out() const noexcept override {
        return transmit_op::in_flight || watch_op::in_flight;
    }
    void lose() noexcept override;

    std::optional<std::error_code> turned_away(std::size_t) noexcept override {
        return std::error_code();  // rule 488
    }
    result<std::size_t> offer(bytes data) noexcept override;
    const char* doing() const noexcept override { return "write"; }
    static void flush_hook(turn_end_hook& hook) noexcept;
    void flush() noexcept;
    static void written(op& done) noexcept;
    void took(std::int32_t res) noexcept;
    void relieved() noexcept;
    static void reader_gone(op& done) noexcept;
    void lonely() noexcept;

    bool alone_ = false;  // the reader is gone
};

}  // namespace ouro::detail
