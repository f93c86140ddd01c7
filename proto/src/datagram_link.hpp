// The datagram transport: one socket, one protocol, one receive that goes on, and sends that leave
// at the end of the turn.
#pragma once

#include <memory>
#include <vector>

#include <ouro/proto/datagram.hpp>
#include <ouro/proto/flow_control.hpp>
#include <ouro/runtime/timer_node.hpp>

#include "datagram_queue.hpp"
#include "transport_life.hpp"

namespace ouro::detail {

struct datagram_receive_op : op {
    using op::op;
};
struct datagram_send_op : op {
    using op::op;
};

/// How a socket was made, as far as the transport must know.
struct datagram_setup {
    address remote{};        // where `send_to` goes without an address
    bool connected = false;  // and nowhere else
    int family = AF_UNSPEC;
    std::size_t receive_bytes = 0;
    bool segmentation = true;
};

/// The same states as a stream transport: made, open, closing (what is queued is sent), ending (the
/// operations are taken back), lost. Errors of single datagrams change none of them.
class datagram_link final : public transport_life<datagram_transport, socket_view>,
                            private datagram_receive_op,
                            private datagram_send_op,
                            private turn_end_hook,
                            private timer_node {
  public:
    datagram_link(loop& home, int fd, std::shared_ptr<base_protocol> receiver,
                  const datagram_setup& how);
    void close() override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    std::any extra_info(std::string_view name) const override;
    bool is_reading() const noexcept override { return !paused_ && !closing_; }
    void pause_reading() override;
    void resume_reading() override;
    using datagram_transport::send_to;
    std::error_code send_to(bytes data, const address& to) override;
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return flow_.limits();
    }
    std::size_t get_write_buffer_size() const noexcept override {
        return ending_ ? 0 : queue_.size();
    }
    result<> join_group(const address& group, unsigned interface_index) override;
    result<> leave_group(const address& group, unsigned interface_index) override;
    datagram_statistics statistics() const noexcept override { return counted_; }

  private:
    // Receiving: in datagram_receive.cpp.
    void arm_receive() noexcept;
    bool make_inbox() noexcept;
    static void received(op& done) noexcept;
    void take(const io::datagram_view& what) noexcept;
    void deliver(const io::datagram_view& what, const address& from) noexcept;
    void deliver_one(bytes data, const address& from, std::size_t whole_bytes) noexcept;
    void hold(const io::datagram_view& what, const address& from) noexcept;
    void deliver_held() noexcept;
    void take_failure(int failure) noexcept;
    void receive_later() noexcept;
    static void receive_again(timer_node& timer) noexcept;
    void stop_receiving() noexcept;
    bool may_receive() const noexcept {
        return begun_ && !paused_ && !closing_ && held_.empty() && !timer_node::queued();
    }

    // Sending: in datagram_send.cpp.
    std::error_code refusal(const address& to) const noexcept;
    void drop() noexcept;
    void pause_if_above();
    void schedule_flush() noexcept;
    void flush() noexcept;
    void flushed() noexcept;
    bool send_some() noexcept;
    void wait_for_room() noexcept;
    void failed_to_send(error why) noexcept;
    static void flush_hook(turn_end_hook& hook) noexcept;
    static void sent(op& done) noexcept;

    // The rest.
    result<> change_membership(const address& group, unsigned interface_index, int v4, int v6);
    void attach(std::shared_ptr<base_protocol> receiver);
    void tell(error why) noexcept;
    void tell_made() override { protocol_->connection_made(self_); }
    void start() noexcept override {
        if (may_receive()) arm_receive();
    }
    void run_due() noexcept override;
    void take_back() noexcept override;
    bool operations_out() const noexcept override {
        return datagram_receive_op::in_flight || datagram_send_op::in_flight;
    }
    void lose() noexcept override;
    std::string describe() const override;

    /// Memory for receives one at a time.
    struct inbox {
        msghdr header{};
        iovec piece{};
        sockaddr_storage name{};
        alignas(cmsghdr) std::byte control[64];
        std::unique_ptr<std::byte[]> room;
    };
    /// A datagram that came while reading was paused.
    struct held_datagram {
        address from;
        std::vector<std::byte> data;
        std::size_t whole_bytes;
        std::size_t segment_bytes;
    };
    /// A datagram that waits for room in the socket; the kernel has it.
    struct outbox {
        msghdr header{};
        iovec piece{};
        address to{};
        std::vector<std::byte> data;
    };

    datagram_protocol* protocol_ = nullptr;                // receiver_ as what it is
    std::vector<std::shared_ptr<base_protocol>> retired_;  // replaced, kept until the next turn
    const address remote_;
    address local_{};  // as it was last seen
    datagram_queue queue_;
    flow_control flow_;
    datagram_statistics counted_;
    std::unique_ptr<inbox> inbox_;
    std::unique_ptr<outbox> outbox_;
    std::vector<held_datagram> held_;
    std::vector<error> errors_;           // to be told
    std::size_t room_bytes_ = 0;          // for one datagram, when they are received one at a time
    std::size_t most_segment_bytes_ = 0;  // of those the kernel may cut up; 0: none
    std::uint32_t dropped_sends_ = 0;
    const int family_;
    const bool connected_;
    bool one_by_one_ = false;  // receives into memory of its own
    bool paused_ = false;
    bool held_due_ = false;
};

}  // namespace ouro::detail
