// Files on transports: carried by the kernel on those of the library, written on any other.
#include <ouro/proto/sendfile.hpp>

#include <ouro/runtime/io.hpp>

#include "stream_transport.hpp"

namespace ouro {
namespace detail {
namespace {

/// Ends the pause of reading that a transfer began.
class reading_pause {
  public:
    explicit reading_pause(transport& of) : of_(of), began_(of.is_reading()) {
        if (began_) of_.pause_reading();
    }
    reading_pause(const reading_pause&) = delete;
    reading_pause& operator=(const reading_pause&) = delete;
    ~reading_pause() {
        try {
            if (began_ && !of_.is_closing()) of_.resume_reading();
        } catch (...) {
            of_.abort();  // it cannot go on as it was
        }
    }

  private:
    transport& of_;
    const bool began_;
};

error gone() { return error(std::errc::connection_aborted, "send a file (the connection ended)"); }

void stop_waiting(wait_point& wait, cancel_cause cause) noexcept;
constexpr wait_kind room_kind{"room for a file", &stop_waiting};

/// Waits until somebody has the waiter go on.
class [[nodiscard]] room_wait : public awaitable<room_wait, void> {
  public:
    explicit room_wait(wait_point*& place) noexcept : awaitable(room_kind), place_(place) {}
    ~room_wait() {
        if (place_ == this) place_ = nullptr;
    }
    void start() noexcept { place_ = this; }
    void value() const noexcept {}
    void cancel(cancel_cause cause) noexcept {
        place_ = nullptr;
        wake_failed(error::cancelled(cause, "send a file"));
    }

  private:
    wait_point*& place_;
};

void stop_waiting(wait_point& wait, cancel_cause cause) noexcept {
    static_cast<room_wait&>(wait).cancel(cause);
}

void go_on(wait_point*& place) noexcept {
    if (wait_point* const waiting = std::exchange(place, nullptr)) waiting->wake();
}

}  // namespace

/// A transfer on a stream transport.
class file_sender final : public file_outlet {
  public:
    explicit file_sender(std::shared_ptr<stream_transport> link) : link_(std::move(link)) {
        link_->aside().sending = this;
        link_->sending_file_ = true;
        link_->refuses_ = true;
    }
    file_sender(const file_sender&) = delete;
    file_sender& operator=(const file_sender&) = delete;
    ~file_sender() {
        link_->sending_file_ = false;
        link_->aside_->sending = nullptr;
        link_->refuses_ = false;
    }

    task<> ready() override {
        while (!link_->ending_ && !idle()) co_await room_wait(waiting_);
        if (link_->is_closing()) co_await result<>(why_it_ended());
    }
    bool carries() const noexcept override { return true; }
    result<std::size_t> forward(const io::carrier& from, std::size_t count) override {
        if (link_->is_closing()) return why_it_ended();
        auto taken = io::try_forward(*link_->home_, from, link_->fd_, count);
        if (taken) link_->bytes_sent_ += *taken;
        if (taken || taken.error() == std::errc::resource_unavailable_try_again ||
            taken.error() == std::errc::invalid_argument) {
            return taken;
        }
        taken.error().while_doing("send");
        link_->end(taken.error());
        return taken;
    }
    task<> put(bytes piece, std::uint64_t& sent) override {
        if (link_->is_closing()) co_await result<>(why_it_ended());
        link_->queue_.append(piece);
        sent += piece.size();
        link_->schedule_flush();
        co_await ready();
    }
    void tell() noexcept { go_on(waiting_); }

  private:
    bool idle() const noexcept {
        return link_->queue_.empty() && !static_cast<transmit_op&>(*link_).in_flight;
    }
    error why_it_ended() const { return link_->why_lost_ ? link_->why_lost_ : gone(); }

    std::shared_ptr<stream_transport> link_;
    wait_point* waiting_ = nullptr;
};

void stream_transport::tell_file() noexcept {
    if (sending_file_) aside_->sending->tell();
}

std::error_code stream_transport::refusal() const noexcept {
    return make_error_code(eof_wanted_ ? errc::write_after_eof : errc::invalid_state);
}

task<std::uint64_t> stream_transport::send_file(std::shared_ptr<stream_transport> link, int file,
                                                sendfile_options how) {
    if (link->closing_ || link->sending_file_) co_return error(errc::invalid_state, "sendfile");
    if (link->eof_wanted_) co_return error(errc::write_after_eof, "sendfile");
    const reading_pause pause(*link);
    file_sender sender(link);
    co_return co_await send_file_to(sender, file, how);
}

namespace {

/// The receiver of callbacks while a file is written to a transport of any kind. What the one it
/// stands in for must know, it is told at the end.
class file_protocol final : public protocol {
  public:
    explicit file_protocol(std::shared_ptr<base_protocol> before) : before_(std::move(before)) {}
    void connection_lost(error why) override {
        lost_ = true;
        why_ = why;
        go_on(waiting);
        if (const auto before = std::exchange(before_, nullptr)) {
            before->connection_lost(std::move(why));
        }
    }
    void pause_writing() override { paused_ = true; }
    /// There is more than the high watermark: it is paused. If that was not said here, it was said
    /// to the protocol before.
    void note_full() noexcept {
        if (!std::exchange(paused_, true)) told_ = true;
    }
    void resume_writing() override {
        if (!paused_) told_ = true;  // it was paused before, and only that protocol knew
        paused_ = false;
        go_on(waiting);
    }
    bool eof_received() override { return true; }

    bool paused() const noexcept { return paused_ && !lost_; }
    bool lost() const noexcept { return lost_; }
    error why() const { return why_ ? why_ : gone(); }
    /// Gives its place back.
    void hand_over(transport& link) {
        const auto before = std::exchange(before_, nullptr);
        if (!before || lost_) return;
        link.set_protocol(before);
        if (paused_ && !told_) before->pause_writing();
        if (!paused_ && told_) before->resume_writing();
    }

    wait_point* waiting = nullptr;

  private:
    std::shared_ptr<base_protocol> before_;
    error why_;
    bool paused_ = false;  // the transport is
    bool told_ = false;    // the protocol before believes so
    bool lost_ = false;
};

/// A transfer on a transport of any kind.
class file_writer final : public file_outlet {
  public:
    explicit file_writer(std::shared_ptr<transport> link)
        : link_(std::move(link)), between_(std::make_shared<file_protocol>(link_->get_protocol())) {
        link_->set_protocol(between_);
        look();
    }
    file_writer(const file_writer&) = delete;
    file_writer& operator=(const file_writer&) = delete;
    ~file_writer() {
        try {
            between_->hand_over(*link_);
        } catch (...) {
            link_->abort();  // its protocol would wait for ever
        }
    }
    task<> ready() override {
        while (between_->paused()) co_await room_wait(between_->waiting);
        if (between_->lost()) co_await result<>(between_->why());
        if (link_->is_closing()) co_await result<>(gone());
    }
    bool carries() const noexcept override { return false; }
    result<std::size_t> forward(const io::carrier&, std::size_t) override {
        return error(std::errc::invalid_argument, "sendfile");
    }
    task<> put(bytes piece, std::uint64_t& sent) override {
        co_await ready();
        if (const std::error_code refused = link_->write(piece)) {
            co_await result<>(error(refused, "sendfile"));
        }
        sent += piece.size();
        look();
        co_await ready();
    }

  private:
    /// A transport says that it is paused once, and that may have been before.
    void look() noexcept {
        const std::size_t high = link_->get_write_buffer_limits().second;
        if (link_->get_write_buffer_size() > high) between_->note_full();
    }

    std::shared_ptr<transport> link_;
    std::shared_ptr<file_protocol> between_;
};

/// Open, and not taking one already.
bool takes_files(const transport& link) {
    const auto receiver = link.get_protocol();
    return !link.is_closing() && receiver && !dynamic_cast<file_protocol*>(receiver.get());
}

task<std::uint64_t> write_file(std::shared_ptr<transport> link, int file, sendfile_options how) {
    if (!takes_files(*link)) co_return error(errc::invalid_state, "sendfile");
    const reading_pause pause(*link);
    file_writer writer(link);
    co_return co_await send_file_to(writer, file, how);
}

}  // namespace
}  // namespace detail

task<std::uint64_t> sendfile(std::shared_ptr<transport> link, int file, sendfile_options how) {
    if (auto stream = std::dynamic_pointer_cast<detail::stream_transport>(link)) {
        return detail::stream_transport::send_file(std::move(stream), file, how);
    }
    return detail::write_file(std::move(link), file, how);
}

}  // namespace ouro
