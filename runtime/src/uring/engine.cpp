// The io_uring engine: every submission entry of the library is filled here, every completion is
// read here.
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <vector>

#include <ouro/runtime/checks.hpp>

#include "../engine.hpp"
#include "../op_list.hpp"
#include "bell.hpp"
#include "buffer_ring.hpp"
#include "datagram_buffers.hpp"
#include "files.hpp"
#include "kernel_abi.hpp"
#include "message_scratch.hpp"
#include "op_state.hpp"
#include "ring.hpp"

namespace ouro::uring {
namespace {

using detail::completion;

// Below any address: entries without an op.
constexpr std::uint64_t ignored_tag = 0;    // a cancel
constexpr std::uint64_t first_carried = 2;  // a wake-up for another loop; 1 is `bell::tag`
constexpr std::uint64_t end_of_tags = 4096;
constexpr std::size_t usual_count = 256;
// Datagram buffers for each stream buffer: a small datagram takes as much room as a large one, but
// only the pages that are written to are memory.
constexpr unsigned datagrams_for_each = 4;

class uring_engine final : public detail::engine {
  public:
    explicit uring_engine(const loop_options& options)
        : ring_(options),
          buffers_(ring_, options),
          datagram_count_(std::min(datagrams_for_each * options.ring_buffer_count, 4096U)) {
        bell_ = std::make_shared<bell>(ring_);
        // Room for what a turn usually has, so that memory is asked for here and not in the midst.
        under_cancel_.reserve(usual_count);
        fast_sends_.resize(usual_count);
    }
    ~uring_engine() override {
        wake_.in_flight = false;  // the poll behind it has no memory of ours and ends with the ring
    }

    // ---- operations

    void recv(op& request, int fd, std::span<std::byte> into) noexcept override {
        OURO_ASSERT(detail::addressable(into.data(), into.size()),
                    "recv into memory that is freed or in use by another operation");
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_recv(entry, fd, into.data(), into.size(), 0);
        // A socket that the last receive emptied is not tried first: that would cost a look that
        // finds nothing.
        if (request.flags & op_flags::drained) entry->ioprio = IORING_RECVSEND_POLL_FIRST;
        finish(entry, request);
        request.engine_state = direct_receive;
        lend(request, into.data(), into.size());
    }
    void recv_ring(op& request, int fd) noexcept override {
        request.engine_fd = fd;
        arm_ring_receive(request);
    }
    void send(op& request, int fd, std::span<const std::byte> from,
              io::send_mode mode) noexcept override {
        OURO_ASSERT(detail::addressable(from.data(), from.size()), "send from freed memory");
        io_uring_sqe* entry = prepare(request);
        const bool fast = mode == io::send_mode::fast;
        io_uring_prep_send(entry, fd, from.data(), from.size(),
                           MSG_NOSIGNAL | MSG_WAITALL | (fast ? MSG_DONTWAIT : 0));
        request.length = from.size();
        if (fast && ring_.can().fast_send && fast_count_ < fast_sends_.size()) {
            entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
            request.engine_state = fast_send;
            fast_sends_[fast_count_++] = {&request, nullptr, static_cast<std::int32_t>(from.size()),
                                          0,        0,       request.generation};
        }
        finish(entry, request);
    }
    void send_pieces(op& request, int fd, std::span<const iovec> pieces) noexcept override {
        // The kernel reads the header and the list when the entry is submitted, which is before the
        // next poll returns.
        const msghdr* const message = messages_.of(pieces);
        if (!message) return end_here(request, -ENOMEM);
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_sendmsg(entry, fd, message, MSG_NOSIGNAL | MSG_WAITALL);
        finish(entry, request);
        request.length = 0;
        for (const iovec& piece : pieces.first(message->msg_iovlen))
            request.length += piece.iov_len;
    }
    void accept(op& request, int fd) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_accept(entry, fd, nullptr, nullptr, SOCK_CLOEXEC);
        finish(entry, request);
    }
    void accept_many(op& request, int fd) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_multishot_accept(entry, fd, nullptr, nullptr, SOCK_CLOEXEC);
        finish(entry, request);
    }
    void connect(op& request, int fd, const sockaddr* peer, socklen_t length) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_connect(entry, fd, peer, length);
        finish(entry, request);
    }
    void read(op& request, int fd, std::span<std::byte> into,
              io::file_kind kind) noexcept override {
        lend(request, into.data(), into.size());
        files_.start(request, fd, with(file_read, kind));
    }
    void read_ring(op& request, int fd, io::file_kind kind) noexcept override {
        const bool waits_by_itself = kind == io::file_kind::pipe || kind == io::file_kind::socket;
        const bool again_and_again = waits_by_itself && ring_.can().multishot_read;
        files_.start_or_wait(request, fd, with(again_and_again ? ring_read : single_read, kind));
    }
    void write(op& request, int fd, std::span<const std::byte> from,
               io::file_kind kind) noexcept override {
        OURO_ASSERT(detail::addressable(from.data(), from.size()), "write from freed memory");
        request.data = const_cast<std::byte*>(from.data());
        request.length = from.size();
        files_.start(request, fd, with(file_write, kind));
    }
    void poll_fd(op& request, int fd, std::uint32_t events) noexcept override {
        if (events == POLLOUT) return files_.poll_first(request, fd, await_room);
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_poll_add(entry, fd, events);
        finish(entry, request);
    }
    void send_message(op& request, int fd, const msghdr& message) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_sendmsg(entry, fd, &message, MSG_NOSIGNAL);
        finish(entry, request);
    }
    void recv_message(op& request, int fd, msghdr& into, int flags) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_recvmsg(entry, fd, &into, static_cast<unsigned>(flags | MSG_CMSG_CLOEXEC));
        finish(entry, request);
        if (into.msg_iovlen == 0) return;
        request.engine_state = direct_receive;
        lend(request, static_cast<std::byte*>(into.msg_iov[0].iov_base), into.msg_iov[0].iov_len);
    }
    void recv_datagrams(op& request, int fd) noexcept override {
        if (const int failure = make_datagram_buffers()) {
            return end_here(request, -failure);
        }
        request.engine_fd = fd;
        arm_datagram_receive(request);
    }
    void fetch(op& request, const io::carrier& into, int file, std::uint64_t offset,
               std::size_t count) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_splice(entry, file, static_cast<std::int64_t>(offset), into.in, -1,
                             static_cast<unsigned>(std::min(count, into.capacity)), 0);
        finish(entry, request);
    }
    void read_at(op& request, int file, std::uint64_t offset,
                 std::span<std::byte> into) noexcept override {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_read(entry, file, into.data(), static_cast<unsigned>(into.size()), offset);
        finish(entry, request);
        request.engine_state = direct_receive;
        lend(request, into.data(), into.size());
    }
    void cancel(op& request) noexcept override {
        if (request.engine_state & cancel_sent || request.engine_state == fast_send) return;
        request.engine_state |= cancel_sent;
        if (is_starved(request.engine_state)) return;  // the next poll ends it
        if (detail::has_room(under_cancel_)) under_cancel_.push_back(&request);
        send_cancel(tag(request), 0);
    }
    void cancel_all() noexcept override {
        send_cancel(0, abi::cancel_any | abi::cancel_all);
        while (op* const each = starved_.pop()) end_here(*each, -ECANCELED);
    }

    // ---- the kernel

    void poll(clock::time_point deadline, std::vector<completion>& out) noexcept override {
        if (!wake_.in_flight) arm_wake();
        if (!starved_.empty()) start_starved_again();
        if (cancel_failed_ && !under_cancel_.empty()) deadline = cancel_again(deadline);
        if (!made_here_.empty() || crowded_) deadline = clock::time_point::min();
        const bool waits = deadline != clock::time_point::min();
        if (waits || ring_.wants_enter()) ring_.enter(deadline);
        if (!ring_.overflowed() && holds_all(out)) complete_fast_sends(out);
        reap(out);
        while (ring_.overflowed() && holds_all(out)) {  // the kernel had no place for them
            ring_.enter(clock::time_point::min());
            reap(out);
        }
        crowded_ = ring_.overflowed() || ring_.completions() || !holds_all(out);
        if (!crowded_) complete_fast_sends(out);  // of those that were taken just now
        if (ring_.pending() == 0) {
            messages_.all_read();
            carried_.clear();
        }
        while (!made_here_.empty() && detail::has_room(out)) {
            op* const ended = made_here_.pop();
            out.push_back({ended, nullptr, ended->res, 0, 0, ended->generation});
        }
    }
    detail::sight look_out(const detail::mailbox& box,
                           const detail::sight::span& when) noexcept override {
        // These do not come by themselves: the next poll has them.
        if (!starved_.empty() || !made_here_.empty() || crowded_)
            return {detail::sight::completion, true};
        return ring_.look_out(box, when);
    }
    bool can_look_out() const noexcept override { return ring_.can().taskrun_flag; }
    void submit() noexcept override {
        if (ring_.pending()) ring_.enter(clock::time_point::min());
        if (ring_.pending() == 0) messages_.all_read();
        // Nobody may come back to see which of them found no ring.
        for (const auto& each : carried_) each->ring_by_event();
        carried_.clear();
    }
    void release(const completion& done) noexcept override {
        if (done.lease & datagram_buffers::lease_mark) return datagrams_->give_back(done.lease);
        buffers_.give_back(done.lease, done.data, static_cast<std::size_t>(done.res));
    }
    detail::slice_name keep(const std::byte* data) noexcept override { return buffers_.keep(data); }
    void keep_again(detail::slice_name slice) noexcept override { buffers_.keep_again(slice); }
    void let_go(detail::slice_name slice) noexcept override { buffers_.let_go(slice); }
    std::shared_ptr<void> kept_memory() const noexcept override { return buffers_.memory(); }
    bool wake(detail::engine* near) noexcept override {
        if (near && bell_->takes_messages() && near->carry(bell_)) return false;
        bell_->ring();
        return true;
    }
    bool carry(const std::shared_ptr<bell>& to) noexcept override {
        const std::uint64_t name = first_carried + carried_.size();
        if (!ring_.can().messages || name >= end_of_tags || !detail::has_room(carried_))
            return false;
        carried_.push_back(to);
        io_uring_sqe* entry = ring_.get_sqe();
        to->prepare(*entry);
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        ring_.filled(*entry, name);
        return true;
    }
    result<> adopt_thread() noexcept override {
        if (const int failed = ring_.enable(); failed < 0) {
            return error::from_errno(-failed,
                                     "enable the ring (io_uring_register; a seccomp filter "
                                     "or a restriction may forbid it)");
        }
        return {};
    }
    bool foreign_thread() const noexcept override { return ring_.foreign_thread(); }
    bool foreign_process() const noexcept override { return ring_.foreign_process(); }
    clock::time_point coarse_now() const noexcept override {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        return clock::time_point(std::chrono::seconds(now.tv_sec) +
                                 std::chrono::nanoseconds(now.tv_nsec));
    }
    void add_statistics(loop_statistics& into) const noexcept override {
        into.enters = ring_.enters;
        into.submitted = ring_.submitted;
        into.cq_overflows = ring_.overflows;
        into.sq_full = ring_.sq_full;
        into.enter_retries = ring_.retries;
        into.ring_exhausted = exhausted_;
        into.wakes = wakes_;
        into.ring_wakes = ring_wakes_;
    }
    std::size_t lent_buffers() const noexcept override {
        return buffers_.lent() + (datagrams_ ? datagrams_->lent() : 0);
    }
    std::string report() const override { return ring_.report(); }

  private:
    void end_here(op& request, std::int32_t res) noexcept {
        request.engine_state = detail::completion_queued;
        request.res = res;
        made_here_.push(request);
    }

    io_uring_sqe* prepare(op& request) noexcept {
        detail::released(&request);
        return ring_.get_sqe();
    }
    void finish(io_uring_sqe* entry, const op& request) noexcept {
        ring_.filled(*entry, tag(request));
    }
    static void lend(op& request, std::byte* memory, std::size_t bytes) noexcept {
        request.data = memory;
        request.length = bytes;
        detail::poison(memory, bytes);
    }

    void arm_ring_receive(op& request) noexcept {
        io_uring_sqe* entry = prepare(request);
        io_uring_prep_recv(entry, request.engine_fd, nullptr, 0, 0);
        entry->ioprio = IORING_RECV_MULTISHOT;
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = buffer_ring::group;
        finish(entry, request);
        request.engine_state = ring_receive;
    }
    /// An errno, or 0 when they are there.
    int make_datagram_buffers() noexcept try {
        if (datagrams_) return 0;
        datagrams_ = std::make_unique<datagram_buffers>(ring_, datagram_count_);
        return 0;
    } catch (const std::system_error& refused) {
        return refused.code().value();
    } catch (const std::bad_alloc&) {
        return ENOMEM;
    }
    void arm_datagram_receive(op& request) noexcept {
        io_uring_sqe* entry = prepare(request);
        datagrams_->prepare(*entry, request.engine_fd);
        finish(entry, request);
        request.engine_state = datagram_receive;
    }
    /// Receives that found no buffer start again in the next turn: all buffers are back by then,
    /// because slices are lent for the time of a callback only. They do not poll first, which would
    /// let some of them miss an end of stream that came together with the data (seen on 6.18 with
    /// AF_UNIX).
    void start_starved_again() noexcept {
        for (auto waiting = std::exchange(starved_, {}); op* const each = waiting.pop();) {
            const std::uint8_t state = each->engine_state;
            if (state & cancel_sent) {
                end_here(*each, -ECANCELED);
            } else if (state == starved_receive) {
                arm_ring_receive(*each);
            } else if (state == starved_datagrams) {
                arm_datagram_receive(*each);
            } else {
                files_.start_or_wait(*each, each->engine_fd, single_read | (state & on_worker));
            }
        }
    }
    void starve(op& request) noexcept {
        const std::uint8_t state = request.engine_state;
        request.engine_state = of_file(state)              ? starved_read | (state & on_worker)
                               : state == datagram_receive ? starved_datagrams
                                                           : starved_receive;
        starved_.push(request);
    }
    void send_cancel(std::uint64_t target, unsigned flags) noexcept {
        io_uring_sqe* entry = ring_.get_sqe();
        io_uring_prep_cancel64(entry, target, static_cast<int>(flags));
        entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
        ring_.filled(*entry, ignored_tag);
    }

    /// Whether there is room in `out` for all that is to be told; without memory there may not be.
    bool holds_all(std::vector<completion>& out) noexcept {
        const std::size_t all = out.size() + fast_count_ + ring_.completions();
        while (all > out.capacity()) [[unlikely]] {
            if (!detail::grows(out)) return false;
        }
        return true;
    }
    /// As many as there is room for: the others wait in the ring for the next turn.
    void reap(std::vector<completion>& out) noexcept {
        const auto room = static_cast<unsigned>(out.capacity() - out.size());
        ring_.reap(std::min(ring_.completions(), room), [&](const io_uring_cqe& cqe) {
            if (cqe.user_data < end_of_tags) [[unlikely]]
                return reap_tag(cqe.user_data);
            op& target = *reinterpret_cast<op*>(cqe.user_data &
                                                ((std::uint64_t{1} << generation_shift) - 1));
            const auto generation = static_cast<std::uint16_t>(cqe.user_data >> generation_shift);
            detail::acquired(&target);
            constexpr std::uint32_t next_bytes = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE;
            if ((cqe.flags & (next_bytes | datagram_buffers::cqe_mark)) == next_bytes) [[likely]] {
                out.emplace_back(
                    &target, buffers_.take(cqe.flags, static_cast<std::size_t>(cqe.res)), cqe.res,
                    buffers_.lease_of(cqe.flags), op_flags::lent | op_flags::more, generation);
            } else if (target.engine_state == direct_receive && cqe.res > 0) {
                out.emplace_back(&target, target.data, cqe.res, 0U, took_all(cqe, target),
                                 generation);
                detail::unpoison(target.data, target.length);
                target.engine_state = detail::completion_queued;
            } else {
                reap_one(cqe, target, generation, out);
            }
        });
    }
    /// `drained`, if a receive left nothing behind in its socket.
    static std::uint16_t took_all(const io_uring_cqe& cqe, const op& target) noexcept {
        const bool short_read = static_cast<std::size_t>(cqe.res) < target.length;
        const bool left_some = cqe.flags & IORING_CQE_F_SOCK_NONEMPTY;
        return short_read && !left_some ? op_flags::drained : std::uint16_t{0};
    }
    void reap_tag(std::uint64_t name) noexcept {
        if (name == ignored_tag) {  // a cancel that found nothing to stop
            cancel_failed_ = true;
        } else if (name == bell::tag) {
            ++wakes_;
            ++ring_wakes_;
        } else if (name - first_carried <
                   carried_.size()) {  // a wake-up that found no ring to take it
            carried_[name - first_carried]->ring_by_event();
        }
    }
    /// Nothing is in a buffer that came with an error, as from a terminal whose other side is gone.
    void give_up_buffer(const io_uring_cqe& cqe) noexcept {
        if (!(cqe.flags & IORING_CQE_F_BUFFER) || cqe.flags & datagram_buffers::cqe_mark) return;
        buffers_.give_back(buffers_.lease_of(cqe.flags), buffers_.take(cqe.flags, 0), 0);
    }
    /// Any completion but the next bytes of a receive that goes on.
    void reap_one(const io_uring_cqe& cqe, op& target, std::uint16_t generation,
                  std::vector<completion>& out) noexcept {
        if (&target == &wake_) return woken();
        if (target.engine_state == fast_send) return fast_send_failed(target, cqe.res, out);
        const bool more = cqe.flags & IORING_CQE_F_MORE;
        const std::uint8_t state = target.engine_state & ~cancel_sent;
        const std::uint8_t what = state & kinds;
        const bool from_buffers = what == ring_receive || what == datagram_receive ||
                                  what == ring_read || what == single_read;
        const bool starved = from_buffers && cqe.res == -ENOBUFS && !more;
        if (starved) {
            ++exhausted_;
            if (!(target.engine_state & cancel_sent)) return starve(target);
        }
        std::int32_t res = cqe.res;
        // A cancel interrupts a worker of the kernel that waits.
        if ((starved || res == -EINTR) && target.engine_state & cancel_sent) res = -ECANCELED;
        const bool no_end = of_file(state) && !more && (res <= 0 || (state & polled_for));
        if (cqe.res <= 0) give_up_buffer(cqe);
        if (no_end && files_.goes_on(target, state, res)) return;
        completion done{
            &target,   target.data, res, 0, static_cast<std::uint16_t>(more ? op_flags::more : 0),
            generation};
        if (cqe.flags & IORING_CQE_F_BUFFER && cqe.flags & datagram_buffers::cqe_mark) {
            done.data = datagrams_->take(cqe.flags, static_cast<std::size_t>(std::max(cqe.res, 0)));
            done.lease = datagrams_->lease_of(cqe.flags);
            done.flags |= op_flags::lent;
        } else if (cqe.flags & IORING_CQE_F_BUFFER && cqe.res > 0) {
            done.data = buffers_.take(cqe.flags, static_cast<std::size_t>(cqe.res));
            done.lease = buffers_.lease_of(cqe.flags);
            done.flags |= op_flags::lent;
        }
        if (!more) {
            if (what == file_read || what == direct_receive)
                detail::unpoison(target.data, target.length);
            if (target.engine_state & cancel_sent) std::erase(under_cancel_, &target);
            target.engine_state = detail::completion_queued;
        }
        out.push_back(done);
    }
    /// The kernel does not find an operation while it tries it again and again, as it does with a
    /// send to a full socket whose peer has half-closed (seen on 6.18: the poll behind it always
    /// includes RDHUP). So whoever is still there is asked again, a little later.
    clock::time_point cancel_again(clock::time_point deadline) noexcept {
        cancel_failed_ = false;
        for (op* each : under_cancel_) send_cancel(tag(*each), 0);
        return std::min(deadline, clock::now() + std::chrono::milliseconds(1));
    }
    /// A fast send that makes no completion has put all its bytes into the socket by the time the
    /// kernel returns. That was before anything of this batch came, so it stands before that: a
    /// transport hears of its last send before it answers the next message. One that failed has a
    /// completion, which must come in the same batch (`fast_send_failed`): `out` holds all.
    void complete_fast_sends(std::vector<completion>& out) noexcept {
        if (ring_.pending() != 0) return;
        out.insert(out.end(), fast_sends_.begin(),
                   fast_sends_.begin() + static_cast<std::ptrdiff_t>(fast_count_));
        if (fast_count_ == fast_sends_.size()) more_fast_sends();
        fast_count_ = 0;
    }
    void more_fast_sends() noexcept try {
        fast_sends_.resize(2 * fast_sends_.size());
    } catch (const std::bad_alloc&) {
        // The others have a completion each.
    }
    /// Its success was noted when it was started: in `out`, unless entries are left that the kernel
    /// has not taken.
    void fast_send_failed(op& sent, std::int32_t res, std::vector<completion>& out) noexcept {
        for (auto* list : {&out, &fast_sends_}) {
            for (completion& each : *list) {
                if (each.target == &sent && each.generation == sent.generation) each.res = res;
            }
        }
    }

    /// A poll, not a read: it leaves no memory of ours with the kernel when the engine goes.
    void arm_wake() noexcept {
        io_uring_sqe* entry = ring_.get_sqe();
        io_uring_prep_poll_add(entry, bell_->event(), POLLIN);
        wake_.in_flight = true;
        ++wake_.generation;
        finish(entry, wake_);
    }
    void woken() noexcept {
        wake_.in_flight = false;
        if (bell_->answer_event()) ++wakes_;
    }

    ring ring_;
    file_operations files_{ring_};
    buffer_ring buffers_;
    const unsigned datagram_count_;
    std::unique_ptr<datagram_buffers> datagrams_;  // null until somebody receives some
    std::vector<completion> fast_sends_;  // since the last batch; the first `fast_count_` are used
    std::size_t fast_count_ = 0;
    std::vector<op*> under_cancel_;               // asked to end, not back yet
    bool cancel_failed_ = false;                  // a cancel found nothing since they were asked
    detail::op_list starved_;                     // receives without a buffer
    detail::op_list made_here_;                   // ended without the kernel
    bool crowded_ = false;                        // some completions found no room in the batch
    message_scratch messages_;                    // of vectored sends that are not submitted yet
    std::shared_ptr<bell> bell_;                  // by which others wake this loop
    std::vector<std::shared_ptr<bell>> carried_;  // of others, rung with the entries of this turn
    op wake_{nullptr};
    std::uint64_t wakes_ = 0;
    std::uint64_t ring_wakes_ = 0;
    std::uint64_t exhausted_ = 0;
};

}  // namespace

std::unique_ptr<detail::engine> make(const loop_options& options) {
    return std::make_unique<uring_engine>(options);
}

}  // namespace ouro::uring
