// The stream transport: one connected socket, one protocol, one receive and one send at a time.
#pragma once

#include <memory>
#include <vector>

#include <ouro/net/send_file.hpp>
#include <ouro/proto/transport.hpp>

#include "transport_life.hpp"
#include "write_side.hpp"

namespace ouro::detail {

class server_state;
class file_sender;

// A base, so that a completion leads to the transport by a cast.
struct receive_op : op {
    using op::op;
};

using stream_life = transport_life<transport, socket_view>;

class stream_transport final : public write_side<stream_life>, private receive_op {
  public:
    stream_transport(loop& home, int fd, std::shared_ptr<base_protocol> receiver);

    /// Makes the connection live: `connection_made`, then reading. From the loop's run phase.
    void begin(std::shared_ptr<stream_transport> self, list<loop_resource>& owner,
               std::shared_ptr<server_state> accepted_by);
    /// Answers leave at once (rule 343). Accepted sockets have it from their listener.
    void set_no_delay() noexcept;
    /// Output is dropped, and `connection_lost` is due.
    bool is_ending() const noexcept { return ending_; }

    void close() override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::any extra_info(std::string_view name) const override;
    bool is_reading() const noexcept override { return !paused_ && !closing_; }
    void pause_reading() override;
    void resume_reading() override;
    std::error_code write_eof() override;
    void abort() override;
    /// As `ouro::sendfile`.
    static task<std::uint64_t> send_file(std::shared_ptr<stream_transport> link, int file,
                                         sendfile_options how);
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
    std::optional<std::error_code> turned_away(std::size_t size) noexcept override;
    bool drop_write() noexcept;
    result<std::size_t> offer(bytes data) noexcept override;
    const char* doing() const noexcept override { return "send"; }
    void flush() noexcept;
    void taken_early() noexcept;
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
    std::error_code refusal() const noexcept;
    friend class file_sender;
    void tell_file() noexcept;
    void drained();

    // The life.
    void tell_made() override;
    void start() noexcept override {
        if (may_receive()) arm_receive();
    }
    void run_due() noexcept override;
    void take_back() noexcept override;
    bool operations_out() const noexcept override {
        return receive_op::in_flight || transmit_op::in_flight;
    }
    void lose() noexcept override;
    void log_end(std::size_t dropped_bytes) noexcept;
    void fail(const char* where, error why) noexcept;
    void fail_thrown(const char* where) noexcept;
    void attach(std::shared_ptr<base_protocol> receiver);
    void capture_names() noexcept;
    address kept_name(bool of_peer) const noexcept;
    std::string describe() const override;

    protocol* streaming_ = nullptr;  // receiver_ as what it is: one of the three
    buffered_protocol* buffered_ = nullptr;
    lease_protocol* leasing_ = nullptr;
    std::unique_ptr<input_aside> aside_;
    std::shared_ptr<server_state> server_;
    std::unique_ptr<std::byte[]> names_;   // the addresses at the start: the own one, the peer's
    file_sender* sending_file_ = nullptr;  // the transfer under way
    std::uint64_t bytes_received_ = 0;
    std::uint64_t bytes_sent_ = 0;
    clock::time_point made_at_;
    clock::time_point queued_at_;   // the oldest byte, while `slow_`
    clock::time_point offered_at_;  // the send under way was started, while `slow_`
    std::uint32_t dropped_writes_ = 0;
    std::uint8_t local_name_bytes_ = 0;
    std::uint8_t peer_name_bytes_ = 0;
    bool paused_ = false;      // pause_reading
    bool at_eof_ = false;      // the peer's end of stream was seen
    bool direct_ = false;      // the receive under way goes into the protocol's memory
    bool eof_wanted_ = false;  // write_eof was called
    bool eof_sent_ = false;
    bool slow_ = false;  // the send under way is one whose end is waited for
    bool aborted_ = false;
    bool ended_by_peer_ = false;  // its end of stream made us close
    bool held_due_ = false;
};

}  // namespace ouro::detail
