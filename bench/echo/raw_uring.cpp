// What does an echo cost on io_uring with nothing in between? The bar for every other server here.

#include "raw_ring.hpp"
#include "server_options.hpp"

#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

namespace {

enum class event : std::uint64_t { ignored, accept, receive, send, stop };

constexpr std::uint32_t silent_limit_bytes = 16384;  // more rarely fits into the socket at once
constexpr unsigned silent_limit_events = 2;          // see send_queued
constexpr std::size_t gather_limit = 8;              // slices in one send

/// Received bytes on their way back, still in the buffer the kernel put them in: never copied.
struct slice {
    slice* next;
    char* data;
    std::uint32_t bytes;
    std::uint16_t buffer_id;
};

struct alignas(64) connection {
    slice* first = nullptr;  // the first `sending_count` slices belong to the send in flight
    slice* last = nullptr;
    int fd = -1;
    std::int32_t silent_result = 0;  // what a silent send reported after all
    std::uint8_t sending_count = 0;
    bool silent_pending = false;  // the send in flight reports only failure
    bool silent_failed = false;   // ... and did: silent_result is valid
    bool receiving = false;
    bool ended = false;   // nothing more will be received
    bool broken = false;  // nothing more can be sent
};

class echo_server {
  public:
    echo_server(int listener, int signals, std::size_t buffer_bytes, unsigned buffer_count,
                raw::buffer_pool::mode mode)
        : pool_(ring_, buffer_count, buffer_bytes, mode), listener_(listener), signals_(signals) {
        pool_.publish();
    }

    void run() {
        accept_more();
        io_uring_sqe* const stop = ring_.next_sqe();
        io_uring_prep_poll_add(stop, signals_, POLLIN);
        tag(stop, event::stop, nullptr);
        while (!stopping_) {
            const bool settled = ring_.enter(may_sleep() ? 1 : 0);
            if (settled) silent_.swap(started_);
            const unsigned events = ring_.drain([this](const io_uring_cqe& cqe) { dispatch(cqe); });
            if (settled) finish_silent_sends();
            quiet_ = events <= silent_limit_events;
            pool_.publish();
            feed_starved();
        }
    }

  private:
    static void tag(io_uring_sqe* sqe, event what, connection* peer) noexcept {
        sqe->user_data = reinterpret_cast<std::uintptr_t>(peer) | static_cast<std::uint64_t>(what);
    }

    void dispatch(const io_uring_cqe& cqe) {
        auto& peer = *reinterpret_cast<connection*>(cqe.user_data & ~std::uint64_t{63});
        switch (static_cast<event>(cqe.user_data & 63)) {
        case event::receive:
            return on_receive(peer, cqe.res, cqe.flags);
        case event::send:
            return on_send(peer, cqe.res);
        case event::accept:
            return on_accept(cqe.res, cqe.flags);
        case event::stop:
            stopping_ = true;
            return;
        case event::ignored:
            return;
        }
    }

    /// Not while something waits for a silent send: its success wakes nobody.
    bool may_sleep() const {
        return std::none_of(started_.begin(), started_.end(), [](const connection* peer) {
            const slice* in_flight = peer->first;
            for (int i = 1; i < peer->sending_count; ++i) in_flight = in_flight->next;
            return peer->ended || in_flight->next != nullptr;
        });
    }

    void accept_more() {
        io_uring_sqe* const sqe = ring_.next_sqe();
        io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        tag(sqe, event::accept, nullptr);
    }

    void on_accept(int result, unsigned flags) {
        if (result >= 0) {
            connection& peer = fresh_connection(static_cast<std::size_t>(result));
            peer.fd = result;
            receive_more(peer, 0);
        }
        if ((flags & IORING_CQE_F_MORE) != 0) return;
        // Out of descriptors: the backlog stays readable, so accepting again at once would spin.
        accept_waits_for_close_ = result == -EMFILE || result == -ENFILE;
        if (!accept_waits_for_close_) accept_more();
    }

    connection& fresh_connection(std::size_t fd) {
        if (fd >= connections_.size()) connections_.resize(std::bit_ceil(fd + 1));
        if (connections_[fd] == nullptr) connections_[fd] = std::make_unique<connection>();
        *connections_[fd] = connection{};
        return *connections_[fd];
    }

    void receive_more(connection& peer, std::uint16_t receive_flags) {
        io_uring_sqe* const sqe = ring_.next_sqe();
        io_uring_prep_recv_multishot(sqe, peer.fd, nullptr, 0, 0);
        sqe->ioprio |= receive_flags;
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = raw::buffer_pool::group;
        tag(sqe, event::receive, &peer);
        peer.receiving = true;
    }

    void on_receive(connection& peer, int result, unsigned flags) {
        if ((flags & IORING_CQE_F_BUFFER) != 0) {
            const auto id = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
            const auto bytes = static_cast<std::uint32_t>(std::max(result, 0));
            char* const data = pool_.take(id, bytes, flags);
            if (bytes == 0 || peer.broken) {
                pool_.release(id);
            } else {
                append(peer, data, bytes, id);
            }
        }
        if ((flags & IORING_CQE_F_MORE) == 0) receive_stopped(peer, result);
        if (peer.sending_count == 0 && peer.first != nullptr) send_queued(peer, true);
        if (peer.ended) close_if_done(peer);
    }

    void receive_stopped(connection& peer, int result) {
        peer.receiving = false;
        if (result > 0) {
            receive_more(peer, 0);  // data without MORE is normal, for instance after a full queue
        } else if (result == -ENOBUFS) {
            starved_.push_back(&peer);
        } else {
            peer.ended = true;  // end of stream or reset
        }
    }

    /// POLL_FIRST, because a receive on an empty pool fails at once even if there is no data.
    void feed_starved() {
        if (starved_.empty()) return;
        for (connection* peer : starved_) receive_more(*peer, IORING_RECVSEND_POLL_FIRST);
        starved_.clear();
    }

    void append(connection& peer, char* data, std::uint32_t bytes, std::uint16_t id) {
        slice* const added = take_slice();
        *added = {.next = nullptr, .data = data, .bytes = bytes, .buffer_id = id};
        (peer.first == nullptr ? peer.first : peer.last->next) = added;
        peer.last = added;
    }

    /// Sends what is queued, as one send: two in flight could swap their bytes.
    /// A silent send completes without a completion unless the socket could not take all of it,
    /// and then says so within the same enter: one kernel entry per echo instead of two while
    /// little happens. Under load the completions of normal sends keep the loop from sleeping
    /// between two receives, which measured 3 to 5 % better over TCP.
    void send_queued(connection& peer, bool may_be_silent) {
        io_uring_sqe* const sqe = ring_.next_sqe();
        std::uint32_t bytes = peer.first->bytes;
        if (peer.first->next == nullptr) {
            io_uring_prep_send(sqe, peer.fd, peer.first->data, bytes, 0);
            peer.sending_count = 1;
        } else {
            bytes = gather(peer, sqe);
        }
        const bool silent = may_be_silent && quiet_ && bytes <= silent_limit_bytes;
        sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL | (silent ? MSG_DONTWAIT : 0);
        tag(sqe, event::send, &peer);
        if (!silent) return;
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        peer.silent_pending = true;
        started_.push_back(&peer);
    }

    std::uint32_t gather(connection& peer, io_uring_sqe* sqe) {
        // The kernel copies header and vector when it takes the entry; a ring of them suffices.
        gathered& scratch = gathered_[gathered_next_++ % gathered_.size()];
        std::uint32_t bytes = 0;
        std::uint8_t count = 0;
        for (slice* piece = peer.first; piece != nullptr && count != gather_limit;
             piece = piece->next) {
            scratch.parts[count++] = {.iov_base = piece->data, .iov_len = piece->bytes};
            bytes += piece->bytes;
        }
        scratch.header = msghdr{};
        scratch.header.msg_iov = scratch.parts.data();
        scratch.header.msg_iovlen = count;
        io_uring_prep_sendmsg(sqe, peer.fd, &scratch.header, 0);
        peer.sending_count = count;
        return bytes;
    }

    void on_send(connection& peer, int result) {
        if (peer.silent_pending) {
            peer.silent_failed = true;  // settled after the drain, with the silent successes
            peer.silent_result = result;
        } else {
            sent(peer, result);
        }
    }

    void finish_silent_sends() {
        for (connection* peer : silent_) {
            peer->silent_pending = false;
            if (peer->silent_failed) {
                peer->silent_failed = false;
                const bool full = peer->silent_result == -EAGAIN;
                sent(*peer, full ? 0 : peer->silent_result);
            } else {
                drop_sending(*peer);
                continue_sending(*peer);
            }
        }
        silent_.clear();
    }

    /// A send ended after `result` bytes, fewer than asked for if the socket was full.
    void sent(connection& peer, int result) {
        if (result < 0) return break_connection(peer);
        auto left = static_cast<std::uint32_t>(result);
        while (peer.sending_count != 0 && left >= peer.first->bytes) {
            left -= peer.first->bytes;
            drop_first(peer);
            --peer.sending_count;
        }
        if (peer.sending_count != 0) {
            peer.first->data += left;
            peer.first->bytes -= left;
            send_queued(peer, false);
        } else {
            continue_sending(peer);
        }
    }

    void continue_sending(connection& peer) {
        if (peer.first != nullptr) {
            send_queued(peer, true);
        } else if (peer.ended) {
            close_if_done(peer);
        }
    }

    void drop_sending(connection& peer) {
        for (; peer.sending_count != 0; --peer.sending_count) drop_first(peer);
    }

    void drop_first(connection& peer) {
        slice* const done = peer.first;
        pool_.release(done->buffer_id);
        peer.first = done->next;
        done->next = free_slices_;
        free_slices_ = done;
    }

    void break_connection(connection& peer) {
        peer.broken = true;
        peer.sending_count = 0;
        while (peer.first != nullptr) drop_first(peer);
        ::shutdown(peer.fd, SHUT_RDWR);  // ends the receive, which then closes
        if (peer.ended) close_if_done(peer);
    }

    void close_if_done(connection& peer) {
        if (peer.receiving || peer.first != nullptr) return;
        io_uring_sqe* const sqe = ring_.next_sqe();
        io_uring_prep_close(sqe, peer.fd);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        tag(sqe, event::ignored, nullptr);
        peer.ended = false;  // closed once
        if (!accept_waits_for_close_) return;
        accept_waits_for_close_ = false;
        accept_more();
    }

    slice* take_slice() {
        if (free_slices_ == nullptr) {
            constexpr std::size_t chunk = 256;
            slice_chunks_.push_back(std::make_unique<slice[]>(chunk));
            for (std::size_t i = 0; i != chunk; ++i) {
                slice& fresh = slice_chunks_.back()[i];
                fresh.next = free_slices_;
                free_slices_ = &fresh;
            }
        }
        slice* const taken = free_slices_;
        free_slices_ = taken->next;
        return taken;
    }

    struct gathered {
        msghdr header;
        std::array<iovec, gather_limit> parts;
    };

    raw::ring ring_;
    raw::buffer_pool pool_;
    int listener_;
    int signals_;
    bool stopping_ = false;
    bool quiet_ = true;  // the last turn had little to do
    bool accept_waits_for_close_ = false;
    std::vector<std::unique_ptr<connection>> connections_;  // by descriptor, kept for its next use
    std::vector<connection*> started_;  // silent sends not yet known to be with the kernel
    std::vector<connection*> silent_;  // silent sends that succeed unless this drain says otherwise
    std::vector<connection*> starved_;  // receives that found the pool empty
    slice* free_slices_ = nullptr;
    std::vector<std::unique_ptr<slice[]>> slice_chunks_;
    std::array<gathered, 512> gathered_;  // as many as the submission queue holds
    unsigned gathered_next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Echo server on raw io_uring: the bar."};
    bench::server_options options;
    unsigned buffer_count = 0;
    bool incremental = false;
    app.add_flag("--inc", incremental, "let the kernel hand out receive buffers piece by piece");
    app.add_option("--buffers", buffer_count, "receive buffers, a power of two (0: a 4 MiB pool)");
    return bench::server_main(argc, argv, app, options, [&] {
        const std::size_t fitting = (std::size_t{4} << 20) / options.recv_buffer_bytes;
        if (buffer_count == 0)
            buffer_count =
                std::bit_floor(static_cast<unsigned>(std::clamp<std::size_t>(fitting, 16, 4096)));
        const int signals = bench::stop_signal_fd();
        const int listener = bench::listen_on(options);
        using mode = raw::buffer_pool::mode;
        echo_server server(listener, signals, options.recv_buffer_bytes, buffer_count,
                           incremental ? mode::incremental : mode::whole);
        bench::announce(options, listener);
        server.run();
    });
}
