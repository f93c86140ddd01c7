// Pipe transports: one file, one protocol, one direction.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ouro/proto/flow_control.hpp>
#include <ouro/proto/pipe.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/wait.hpp>

#include "write_queue.hpp"

namespace ouro::detail {

/// The life that both directions share: made -> open -> closing -> ending (its operations are
/// taken back) -> lost. What it calls, it calls from the ready queue.
class pipe_transport : public transport,
                       public pipe_view,
                       protected ready_node,
                       public loop_resource {
  public:
    pipe_transport(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver);
    ~pipe_transport() override;
    /// From here on `fd` is its own.
    void own(int fd) noexcept;
    /// Makes it live in the next turn, and wakes `creator` then.
    void begin_soon(std::shared_ptr<pipe_transport> self, wait_point* creator);
    /// The creator does not wait any more.
    void forget_creator() noexcept { creator_ = nullptr; }

    using write_transport::write;
    bool is_closing() const noexcept override { return closing_; }
    std::shared_ptr<base_protocol> get_protocol() const override { return receiver_; }
    std::any extra_info(std::string_view name) const override;
    void abort() override { end({}); }

  protected:
    /// What comes after `connection_made`.
    virtual void start() = 0;
    /// The rest of what is due in this turn.
    virtual void run_due() noexcept {}
    /// Asks the operations to come back, and drops what is kept.
    virtual void take_back() noexcept = 0;
    virtual bool operations_out() const noexcept = 0;
    /// What a lost transport does not need any more.
    virtual void let_go() noexcept {}

    /// Takes the operations back, then the connection is lost with `why`. The first reason counts.
    void end(error why) noexcept;
    void settle() noexcept;
    void schedule() noexcept;
    void replace(std::shared_ptr<base_protocol> receiver);
    void report(const char* where, error why) noexcept;
    void report_thrown(const char* where) noexcept;
    template <class Callback>
    void guarded(const char* where, Callback&& callback) noexcept {
        try {
            callback();
        } catch (...) {
            report_thrown(where);
        }
    }

    context values_ = context::current();  // what callbacks run with (rule 291)
    std::shared_ptr<base_protocol> receiver_;
    bool begun_ = false;    // connection_made has returned
    bool closing_ = false;  // no input is delivered, no output taken
    bool ending_ = false;   // connection_lost is due once the operations are back
    bool lost_ = false;

  private:
    static void run_soon(ready_node& node) noexcept;
    void call_made() noexcept;
    void lose() noexcept;

    std::shared_ptr<pipe_transport> self_;                 // the loop's hold, until lost
    std::vector<std::shared_ptr<base_protocol>> retired_;  // replaced, kept until the next turn
    wait_point* creator_ = nullptr;
    error why_lost_;
    bool made_due_ = false;  // what the ready node is queued for
    bool lost_due_ = false;
};

// The operations; each is a base so that a completion leads to the transport by a cast.
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
    void start() override { arm(); }
    void run_due() noexcept override;
    void take_back() noexcept override;
    bool operations_out() const noexcept override { return file_op::in_flight; }
    void let_go() noexcept override;

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
class write_pipe final : public pipe_transport,
                         private file_op,
                         private watch_op,
                         private turn_end_hook {
  public:
    write_pipe(loop& home, io::file_kind kind, std::shared_ptr<base_protocol> receiver);

    void close() override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    using write_transport::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    std::error_code writelines(std::span<const bytes> chunks) override;
    std::error_code write_eof() override;
    bool can_write_eof() const noexcept override { return true; }
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return flow_.limits();
    }
    std::size_t get_write_buffer_size() const noexcept override {
        return ending_ ? 0 : queue_.size();
    }

    // It does not read (rule 485).
    bool is_reading() const noexcept override { return false; }
    void pause_reading() override;
    void resume_reading() override;

  private:
    void start() override;
    void take_back() noexcept override;
    bool operations_out() const noexcept override {
        return file_op::in_flight || watch_op::in_flight;
    }
    void let_go() noexcept override { queue_.clear(); }

    std::size_t write_directly(bytes data) noexcept;
    void torn() noexcept;
    void queued();
    void pause_if_above();
    void offer_now() noexcept;
    static void flush_hook(turn_end_hook& hook) noexcept;
    void flush() noexcept;
    static void written(op& done) noexcept;
    void took(std::int32_t res) noexcept;
    void relieved() noexcept;
    static void reader_gone(op& done) noexcept;
    void lonely() noexcept;

    write_queue queue_;
    flow_control flow_;
    bool full_ = false;   // it took less than it was offered
    bool alone_ = false;  // the reader is gone
};

}  // namespace ouro::detail
