// The stream transport: one connected socket, one protocol, one receive and one send at a time.
#pragma once

#include <memory>
#include <vector>

#include <ouro/net/send_file.hpp>
#include <ouro/proto/flow_control.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/wait.hpp>

#include "write_queue.hpp"

namespace ouro::detail {

class server_state;
class file_sender;

// The two operations of a transport; each is a base so that a completion leads to the transport by
// a cast.
struct receive_op : op {
    using op::op;
};
struct transmit_op : op {
    using op::op;
};

/// States, and what may happen in them:
///
///   made -> open -> (peer's end of stream, kept open) -> closing: flushing -> ending: cancelling
///   -> lost
///
/// `closing` refuses new input and lets output drain; `ending` drops output and waits for the
/// operations to come back; then `connection_lost` is called from the ready queue, the descriptor
/// is closed, and the transport lets go of itself.
class stream_transport final : public transport,
                               public socket_view,
                               private receive_op,
                               private transmit_op,
                               private turn_end_hook,
                               private ready_node,
                               public loop_resource {
  public:
    stream_transport(loop& home, int fd, std::shared_ptr<base_protocol> receiver);
    ~stream_transport() override;

    /// Makes the connection live: `connection_made`, then reading. From the loop's run phase.
    void begin(std::shared_ptr<stream_transport> self, list<loop_resource>& owner,
               std::shared_ptr<server_state> accepted_by);
    /// The same from anywhere: queues it, and wakes `creator` afterwards, if there is one.
    void begin_soon(std::shared_ptr<stream_transport> self, wait_point* creator);
    /// Answers leave at once (rule 343). Accepted sockets have it from their listener.
    void set_no_delay() noexcept;
    /// Output is dropped, and `connection_lost` is due.
    bool is_ending() const noexcept { return ending_; }
    /// The creator does not wait any more.
    void forget_creator() noexcept { creator_ = nullptr; }

    void close() override;
    bool is_closing() const noexcept override { return closing_; }
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::shared_ptr<base_protocol> get_protocol() const override { return receiver_; }
    std::any extra_info(std::string_view name) const override;
    bool is_reading() const noexcept override { return !paused_ && !closing_; }
    void pause_reading() override;
    void resume_reading() override;
    using write_transport::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    std::error_code write(buffer_lease data) override;
    std::error_code writelines(std::span<const bytes> chunks) override;
    std::error_code write_eof() override;
    bool can_write_eof() const noexcept override { return true; }
    void abort() override;
    /// As `ouro::sendfile`.
    static task<std::uint64_t> send_file(std::shared_ptr<stream_transport> link, int file,
                                         sendfile_options how);
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return flow_.limits();
    }
    std::size_t get_write_buffer_size() const noexcept override {
        return ending_ ? 0 : queue_.size();
    }
    transport_statistics statistics() const noexcept override;

  private:
    // Reading.
    void arm_receive();
    void arm_ring_receive();
    void arm_direct_receive();
    static void received(op& done) noexcept;
    void received_otherwise(op& done) noexcept;
    bool delivers_at_once() const noexcept {
        return streaming_ && !(direct_ | paused_ | closing_) && !holds_input();  // few branches
    }
    void take_ring_data(const op& done);
    void take_direct_data(std::int32_t count);
    void take_end(std::int32_t res);
    bool was_reset() const noexcept;
    void deliver(bytes data);
    void deliver(buffer_lease data);
    void feed_buffered(bytes data);
    void direct_placed(std::size_t count);
    void deliver_held();
    void deliver_placed(std::size_t count);
    void deliver_eof();
    void stop_receiving() noexcept;
    bool may_receive() const noexcept {
        return !paused_ && !closing_ && !at_eof_ && begun_ && !holds_input();
    }
    bool holds_input() const noexcept { return aside_ && aside_->any_input(); }
    /// What most connections never need, kept out of the others: input that came while reading was
    /// paused (in this order: direct bytes, bytes, leases, the end), and protocols that were
    /// replaced.
    struct input_aside {
        std::size_t direct_count = 0;      // bytes in the protocol's own buffer, not told of yet
        std::vector<std::byte> data;       // copied out of the shared ring
        std::vector<buffer_lease> leases;  // of it, for a protocol that takes such
        bool eof = false;
        error failure;
        std::shared_ptr<base_protocol> lender;  // replaced, but the kernel still fills its buffer
        std::vector<std::shared_ptr<base_protocol>> retired;  // replaced, kept until the next turn
        bool any_input() const noexcept {
            return direct_count != 0 || !data.empty() || !leases.empty() || eof || failure;
        }
        void drop_input() noexcept {
            direct_count = 0;
            data.clear();
            leases.clear();
            eof = false;
            failure = {};
        }
    };
    input_aside& set_aside();
    void hold(bytes data);
    void hold(buffer_lease data);
    void hold_end(bool eof, error failure);

    // Writing.
    bool drop_write() noexcept;
    std::size_t write_directly(bytes data) noexcept;
    void queued();
    void torn() noexcept;
    void offer_now() noexcept;
    void schedule_flush() noexcept;
    void flush() noexcept;
    void send_fast() noexcept;
    void send_slowly() noexcept;
    void flush_pieces() noexcept;
    static void flush_hook(turn_end_hook& hook) noexcept;
    static void sent(op& done) noexcept;
    void sent_otherwise(std::int32_t res) noexcept;
    /// True when nothing is to happen once the queue is empty.
    bool nobody_waits() const noexcept {
        return !(closing_ | eof_wanted_ | flow_.paused() | (sending_file_ != nullptr));
    }
    /// Nobody may be waiting for the end of a fast send: only the next wake-up tells of it.
    bool may_send_fast() const noexcept;
    /// A write now would not be in order.
    bool refuses_writes() const noexcept { return eof_wanted_ || sending_file_; }
    std::error_code refusal() const noexcept;
    friend class file_sender;
    void tell_file() noexcept;
    void drained();
    void pause_if_above();

    // The end.
    void end(error why) noexcept;
    void fail(const char* where, error why) noexcept;
    void fail_thrown(const char* where) noexcept;
    void settle() noexcept;
    void lose() noexcept;
    void log_end(std::size_t dropped_bytes) noexcept;
    static void run_soon(ready_node& node) noexcept;
    void run_pending() noexcept;
    void schedule() noexcept;
    /// Calls into the protocol; what it throws is reported.
    template <class Callback>
    void guarded(const char* where, Callback&& callback) noexcept {
        try {
            callback();
        } catch (...) {
            report(where, error::from_exception(std::current_exception(), where));
        }
    }
    void report(const char* where, error why) noexcept;
    void attach(std::shared_ptr<base_protocol> receiver);
    void call_made() noexcept;
    void capture_names() noexcept;
    address kept_name(bool of_peer) const noexcept;
    std::string describe() const;

    std::shared_ptr<stream_transport> self_;  // the loop's hold, until lost
    context values_ = context::current();     // what callbacks run with (rule 291)
    std::shared_ptr<base_protocol> receiver_;
    protocol* streaming_ = nullptr;  // receiver_ as what it is: one of the three
    buffered_protocol* buffered_ = nullptr;
    lease_protocol* leasing_ = nullptr;
    write_queue queue_;
    flow_control flow_;
    std::unique_ptr<input_aside> aside_;
    std::shared_ptr<server_state> server_;
    std::unique_ptr<std::byte[]> names_;  // the addresses at the start: the own one, the peer's
    wait_point* creator_ = nullptr;
    file_sender* sending_file_ = nullptr;  // the transfer under way
    error why_lost_;
    std::uint64_t bytes_received_ = 0;
    std::uint64_t bytes_sent_ = 0;
    clock::time_point made_at_;
    clock::time_point queued_at_;   // the oldest byte, while `slow_`
    clock::time_point offered_at_;  // the send under way was started, while `slow_`
    clock::time_point paused_at_;   // the protocol was, while it is
    clock::duration paused_time_{};
    std::uint32_t high_water_hits_ = 0;
    std::uint32_t dropped_writes_ = 0;
    std::uint8_t local_name_bytes_ = 0;
    std::uint8_t peer_name_bytes_ = 0;
    bool begun_ = false;   // connection_made has returned
    bool paused_ = false;  // pause_reading
    bool at_eof_ = false;  // the peer's end of stream was seen
    bool direct_ = false;  // the receive under way goes into the protocol's memory
    bool closing_ = false;
    bool ending_ = false;  // connection_lost is due once the operations are back
    bool lost_ = false;
    bool eof_wanted_ = false;  // write_eof was called
    bool eof_sent_ = false;
    bool full_ = false;  // the socket took less than it was offered: the next send waits for room
    bool slow_ = false;  // the send under way is one whose end is waited for
    bool aborted_ = false;
    bool ended_by_peer_ = false;  // its end of stream made us close
    bool made_due_ = false;       // what the ready node is queued for
    bool lost_due_ = false;
    bool held_due_ = false;
};

}  // namespace ouro::detail
