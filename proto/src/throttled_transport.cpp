// Bytes for each second: two queues, two clocks, and a timer where something waits.
#include <ouro/proto/throttled_transport.hpp>

#include <algorithm>
#include <limits>
#include <system_error>

#include "write_queue.hpp"

namespace ouro {
namespace detail {
namespace {

constexpr std::uint64_t second_ns = 1'000'000'000;

__extension__ using wide = unsigned __int128;

}  // namespace

pace::pace(std::uint64_t bytes_per_second, std::chrono::nanoseconds grain) noexcept
    : rate_(bytes_per_second),
      step_bytes_(std::max<std::size_t>(
          1, static_cast<std::size_t>(static_cast<wide>(bytes_per_second) *
                                      static_cast<std::uint64_t>(grain.count()) / second_ns))) {}

std::chrono::nanoseconds pace::time_for(std::size_t bytes) const noexcept {
    return std::chrono::nanoseconds((static_cast<wide>(bytes) * second_ns + rate_ - 1) / rate_);
}

std::size_t pace::allowed(clock::time_point now) const noexcept {
    if (rate_ == 0) return std::numeric_limits<std::size_t>::max();
    if (now >= next_) return step_bytes_;
    const auto early = static_cast<std::uint64_t>((next_ - now).count());
    const wide owed = (static_cast<wide>(early) * rate_ + second_ns - 1) / second_ns;
    return owed >= step_bytes_ ? 0 : step_bytes_ - static_cast<std::size_t>(owed);
}

/// What came too late to be used is made up for, by a grain at the most.
void pace::spend(clock::time_point now, std::size_t bytes) noexcept {
    if (rate_ == 0) return;
    next_ = std::max(next_, now - time_for(step_bytes_)) + time_for(bytes);
}

}  // namespace detail

namespace {

std::chrono::nanoseconds checked(std::chrono::nanoseconds grain) {
    if (grain.count() <= 0) {
        throw std::system_error(make_error_code(errc::value_error), "a throttle without a grain");
    }
    return grain;
}

}  // namespace

throttled_transport::throttled_transport(loop& home, throttle_options options)
    : home_(home),
      calls_(home, "throttled transport"),
      read_pace_(options.read_bytes_per_second, checked(options.grain)),
      write_pace_(options.write_bytes_per_second, options.grain),
      out_(std::make_unique<detail::write_queue>()),
      in_(std::make_unique<detail::write_queue>()) {}

throttled_transport::~throttled_transport() = default;

std::shared_ptr<base_protocol> throttled_transport::wrap(std::shared_ptr<base_protocol> receiver) {
    calls_.attach(std::move(receiver));
    return {shared_from_this(), static_cast<protocol*>(this)};
}

void throttled_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    if (!lost_) calls_.attach(std::move(receiver));
}

std::any throttled_transport::extra_info(std::string_view name) const {
    return wrapped_ ? wrapped_->extra_info(name) : std::any();
}

bool throttled_transport::is_closing() const noexcept {
    return closing_ || (wrapped_ && wrapped_->is_closing());
}

/// Calls `rings` at `when`, unless it waits for that already.
void throttled_transport::wait(alarm& on, clock::time_point when) noexcept {
    if (on.set) return;
    try {
        on.timer = home_.call_at(when, [&on, self = weak_from_this()] {
            const auto keep = self.lock();
            if (!keep) return;
            on.set = false;
            (keep.get()->*on.rings)();
        });
        on.set = true;
    } catch (...) {
        end(error::from_exception(std::current_exception(), "wait for the next step"));
    }
}

// ---- writing

std::error_code throttled_transport::write(bytes data) {
    if (!wrapped_) return {};
    if (eof_written_) return make_error_code(errc::write_after_eof);
    if (past_writing()) return wrapped_->write(data);
    if (data.empty()) return {};
    out_->append(data);
    written();
    return {};
}

std::error_code throttled_transport::write(std::vector<std::byte>&& data) {
    if (!wrapped_) return {};
    if (eof_written_) return make_error_code(errc::write_after_eof);
    if (past_writing()) return wrapped_->write(std::move(data));
    if (data.empty()) return {};
    out_->append(std::move(data));
    written();
    return {};
}

std::error_code throttled_transport::writelines(std::span<const bytes> chunks) {
    if (!wrapped_) return {};
    if (eof_written_) return make_error_code(errc::write_after_eof);
    if (past_writing()) return wrapped_->writelines(chunks);
    const std::size_t before = out_->size();
    out_->append(chunks);
    if (out_->size() > before) written();
    return {};
}

bool throttled_transport::nothing_queued() const noexcept { return out_->empty(); }

/// A paused receiver is resumed by what makes room, which never happens inside a call of its own.
void throttled_transport::written() {
    if (!flow_.paused()) push();
    pause_if_above();
}

void throttled_transport::pause_if_above() noexcept {
    if (!ending_ && !lost_ && flow_.should_pause(get_write_buffer_size())) calls_.pause();
}

/// Hands on what may go now; the end follows the last byte.
void throttled_transport::push() noexcept {
    while (!out_->empty() && !wrapped_paused_ && !ending_) {
        const auto now = home_.time();
        const bytes front = out_->front();
        const bytes part = front.first(std::min(front.size(), write_pace_.allowed(now)));
        if (part.empty()) return wait(write_alarm_, write_pace_.next());
        try {
            wrapped_->write(part);
        } catch (...) {
            return end(error::from_exception(std::current_exception(), "write"));
        }
        write_pace_.spend(now, part.size());
        out_->consume(part.size());
    }
    if (!out_->empty() || ending_) return;
    if (eof_written_) (void)wrapped_->write_eof();
    if (closing_) wrapped_->close();
}

void throttled_transport::push_and_tell() noexcept {
    if (lost_ || ending_) return;
    push();
    if (!ending_ && flow_.should_resume(get_write_buffer_size())) calls_.resume();
}

void throttled_transport::resume_writing() {
    wrapped_paused_ = false;
    push_and_tell();
}

bool throttled_transport::can_write_eof() const noexcept {
    return wrapped_ && wrapped_->can_write_eof();
}

std::error_code throttled_transport::write_eof() {
    if (!can_write_eof()) return make_error_code(errc::unsupported);
    if (closing_ || eof_written_) return {};
    eof_written_ = true;
    if (out_->empty()) return wrapped_->write_eof();
    return {};
}

std::error_code throttled_transport::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                             std::ptrdiff_t low_bytes) {
    if (auto refused = flow_.set_limits(high_bytes, low_bytes)) return refused;
    pause_if_above();
    return {};
}

std::size_t throttled_transport::get_write_buffer_size() const noexcept {
    if (ending_ || lost_ || !wrapped_) return 0;
    return out_->size() + wrapped_->get_write_buffer_size();
}

// ---- reading

void throttled_transport::connection_made(std::shared_ptr<transport> link) {
    wrapped_ = std::move(link);
    // It shall say when it takes more, so it is paused by the first byte it cannot get rid of.
    (void)wrapped_->set_write_buffer_limits(0);
    calls_.made(shared_from_this());
}

void throttled_transport::data_received(bytes data) {
    if (is_closing()) return;
    in_->append(data);
    feed();
}

bool throttled_transport::eof_received() {
    if (!is_closing()) {
        eof_held_ = true;
        feed();
    }
    return true;  // it is closed here, when its turn has come
}

/// Delivers what may be read now.
void throttled_transport::feed() noexcept {
    const auto reads = [this] { return is_reading() && !at_eof_ && !lost_; };
    while (reads() && !in_->empty()) {
        const auto now = home_.time();
        const bytes front = in_->front();
        const bytes part = front.first(std::min(front.size(), read_pace_.allowed(now)));
        if (part.empty()) {
            wait(read_alarm_, read_pace_.next());
            break;
        }
        const auto taken = calls_.give(part, reads);
        if (!taken) return end(taken.error());
        read_pace_.spend(now, *taken);
        if (*taken) in_->consume(*taken);
    }
    if (reads() && in_->empty() && eof_held_) deliver_eof();
    hold_input();
}

/// The peer goes on once everything it has sent was delivered.
void throttled_transport::hold_input() noexcept try {
    if (lost_ || ending_) return;
    if (is_reading() && in_->empty()) {
        wrapped_->resume_reading();
    } else {
        wrapped_->pause_reading();
    }
} catch (...) {
    end(error::from_exception(std::current_exception(), "pause or resume reading"));
}

void throttled_transport::deliver_eof() noexcept {
    at_eof_ = true;
    const auto keep_open = calls_.eof();
    if (!keep_open) return end(keep_open.error());
    if (!*keep_open) close();
}

void throttled_transport::pause_reading() {
    if (!wrapped_ || is_closing()) return;
    paused_ = true;
    wrapped_->pause_reading();
}

void throttled_transport::resume_reading() {
    if (!wrapped_ || is_closing() || !paused_) return;
    (void)home_.call_soon([self = shared_from_this()] {
        if (!self->lost_) self->feed();
    });
    paused_ = false;
}

// ---- the end

void throttled_transport::close() {
    if (!wrapped_ || closing_) return;
    closing_ = true;
    wrapped_->pause_reading();
    if (out_->empty()) wrapped_->close();
}

/// Drops what is queued; then the connection is lost with `why`. The first reason counts.
void throttled_transport::end(error why) noexcept {
    if (!wrapped_ || ending_ || lost_) return;
    closing_ = ending_ = true;
    why_lost_ = std::move(why);
    wrapped_->abort();
}

void throttled_transport::connection_lost(error why) {
    lost_ = closing_ = true;
    read_alarm_.timer.cancel();
    write_alarm_.timer.cancel();
    out_->clear();
    in_->clear();
    calls_.lost(why_lost_ ? std::move(why_lost_) : std::move(why));
}

}  // namespace ouro
