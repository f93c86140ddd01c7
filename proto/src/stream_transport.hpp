// The stream transport: one connected socket, one protocol, one receive and one send at a time.
#pragma once

#include <memory>
#include <vector>

#include <ouro/net/send_file.hpp>
#include <ouro/proto/transport.hpp>

#include "kept_names.hpp"
#include "transport_life.hpp"
#include "write_side.hpp"

namespace ouro::detail {

class server_state;
class file_sender;

// A base, so that a completion leads to the transport by a cast.
struct receive_op : op {
    using op::op;
};

/// The life, and what reads: before the write side, so that flags of both sides share a word.
class stream_life : public transport_life<transport, socket_view>, protected receive_op {
  protected:
    stream_life(loop& home, int fd, completion received)
        : transport_life(home, fd), receive_op(received) {}
};

class stream_transport final : public write_side<stream_life> {
  public:
    stream_transport(loop& home, int fd, std::shared_ptr<base_protocol> receiver);

    /// Makes the connection live: `connection_made`, then reading. From the loop's run phase.
    void begin(std::shared_ptr<stream_transport> self, list<loop_resource>& owner,
               server_state& accepted_by);
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
    enum class receiver_kind : std::uint8_t { none, streaming, buffered, leasing };

    // Reading.
    void arm_receive();
    bool lends_memory() const noexcept {
        return kind_ == receiver_kind::buffered && !buffered().prefers_copies();
    }
    void arm_ring_receive();
    void arm_direct_receive();
    static void received(op& done) noexcept;
    void received_otherwise(op& done) noexcept;
    bool delivers_at_once() const noexcept {
        return !(direct_ | paused_ | closing_) && !holds_input();  // few branches
    }
    void pass_on(bytes data) noexcept;
    void take_ring_data(const op& done);
    void take_direct_data(std::int32_t count);
    void take_end(std::int32_t res);
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
    /// paused (in this order: direct bytes, bytes, leases, the end), protocols that were replaced,
    /// and what there is to tell of output that had to wait.
    struct set_aside {
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
        void let_go() noexcept {
            drop_input();
            lender.reset();
            retired.clear();
        }
        clock::time_point queued_at;     // the oldest byte, while `slow_`
        clock::time_point offered_at;    // the send under way was started, while `slow_`
        file_sender* sending = nullptr;  // the transfer under way, while `sending_file_`
        std::uint32_t dropped_writes = 0;
    };
    set_aside& aside();
    /// Null when there is no memory for it.
    set_aside* try_aside() noexcept;
    void hold(bytes data);
    void hold(buffer_lease data);
    void hold_end(bool eof, error failure);
    static error cannot_hold() noexcept {
        return error(std::errc::not_enough_memory, "hold received data");
    }

    // Writing.
    std::optional<std::error_code> turned_away(std::size_t size) noexcept override;
    bool drop_write() noexcept;
    result<std::size_t> offer(bytes data) noexcept override;
    const char* doing() const noexcept override { return "send"; }
    void flush() noexcept;
    void taken_early() noexcept;
    void send_fast() noexcept;
    void send_slowly(clock::time_point queued_at) noexcept;
    void flush_pieces() noexcept;
    static void flush_hook(turn_end_hook& hook) noexcept;
    static void sent(op& done) noexcept;
    void sent_otherwise(std::int32_t res) noexcept;
    /// True when nothing is to happen once the queue is empty.
    bool nobody_waits() const noexcept {
        return !(closing_ | eof_wanted_ | sending_file_ | slow_ | flow_.paused());
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
    /// `receiver_` as what `kind_` says it is.
    protocol& streaming() const noexcept { return static_cast<protocol&>(*receiver_); }
    buffered_protocol& buffered() const noexcept {
        return static_cast<buffered_protocol&>(*receiver_);
    }
    lease_protocol& leasing() const noexcept { return static_cast<lease_protocol&>(*receiver_); }
    std::string describe() const override;

    // First, behind the flags of the write side.
    receiver_kind kind_ = receiver_kind::none;
    bool paused_ : 1 = false;      // pause_reading
    bool at_eof_ : 1 = false;      // the peer's end of stream was seen
    bool direct_ : 1 = false;      // the receive under way goes into the protocol's memory
    bool eof_wanted_ : 1 = false;  // write_eof was called
    bool eof_sent_ : 1 = false;
    bool sending_file_ : 1 = false;
    bool slow_ : 1 = false;  // the send under way is one whose end is waited for
    bool aborted_ : 1 = false;
    bool ended_by_peer_ : 1 = false;  // its end of stream made us close
    bool held_due_ = false;
    std::unique_ptr<set_aside> aside_;
    server_state* server_ = nullptr;  // which lives as long as it has connections
    kept_names names_;                // at the start
    std::uint64_t bytes_received_ = 0;
    std::uint64_t bytes_sent_ = 0;
    clock::time_point made_at_;
};

}  // namespace ouro::detail
