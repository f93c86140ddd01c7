// What streams and pipes do with a write.
#include "write_side.hpp"

#include <new>

#include "pipe_transport.hpp"
#include "stream_transport.hpp"

namespace ouro::detail {
namespace {

// A write of this size to an idle transport goes to the kernel at once: the call costs less than
// the copy it saves.
constexpr std::size_t direct_write_bytes = 16 * 1024;

}  // namespace

/// Something was added to the queue.
template <class Link>
inline void write_side<Link>::queued() noexcept {
    schedule_flush();
    if (flow_.above(queue_.size())) pause_if_above();
}

template <class Link>
std::error_code write_side<Link>::write(bytes data) {
    if (const auto answer = not_taken(data.size())) return *answer;
    if (data.size() >= direct_write_bytes && queue_.empty() && !transmit_op::in_flight) {
        return write_large(data);
    }
    queue_.append(data);
    queued();
    return {};
}

template <class Link>
std::error_code write_side<Link>::write_large(bytes data) {
    const std::size_t taken = write_directly(data);
    if (taken == data.size() || ending_) return {};
    try {
        queue_.append(data.subspan(taken));
    } catch (...) {
        if (taken) torn();
        throw;
    }
    queued();
    return {};
}

template <class Link>
std::error_code write_side<Link>::write(std::vector<std::byte>&& data) {
    if (const auto answer = not_taken(data.size())) return *answer;
    queue_.append(std::move(data));
    queued();
    return {};
}

template <class Link>
std::error_code write_side<Link>::write(buffer_lease data) {
    if (const auto answer = not_taken(data.size())) return *answer;
    queue_.append(std::move(data));
    queued();
    return {};
}

template <class Link>
std::error_code write_side<Link>::writelines(std::span<const bytes> chunks) {
    std::size_t total = 0;
    for (const bytes chunk : chunks) total += chunk.size();
    if (const auto answer = not_taken(total)) return *answer;
    queue_.append(chunks);
    queued();
    return {};
}

/// A write was taken in part, and there is no memory for the rest: the stream cannot go on as if
/// nothing had been written.
template <class Link>
void write_side<Link>::torn() noexcept {
    this->end(error(std::errc::not_enough_memory, "write (a part of it was taken)"));
}

/// Offers bytes before any of them is copied; returns how many were taken.
template <class Link>
std::size_t write_side<Link>::write_directly(bytes data) noexcept {
    auto taken = offer(data);
    full_ = !taken || *taken < data.size();
    if (taken) return *taken;
    if (taken.error() != std::errc::resource_unavailable_try_again) {
        this->end(std::move(taken.error().while_doing(doing())));
    }
    return 0;
}

template <class Link>
void write_side<Link>::offer_now() noexcept {
    while (!queue_.empty()) {
        const std::size_t taken = write_directly(queue_.front());
        if (ending_) return;
        queue_.consume(taken);
        if (full_) return;
    }
}

/// Before the protocol is told to pause, the kernel is offered what it can take (rules 280, 731).
template <class Link>
void write_side<Link>::pause_if_above() noexcept {
    if (!flow_.above(queue_.size()) || flow_.paused()) return;
    if (!transmit_op::in_flight && !full_) offer_now();
    if (ending_ || !flow_.should_pause(queue_.size())) return;
    if (!pauses_) pauses_.reset(new (std::nothrow) pauses);
    if (pauses_) {
        ++pauses_->count;
        pauses_->since = turn_time(*this->home_);
    }
    this->guarded("pause_writing", [this] { receiver_->pause_writing(); });
}

template <class Link>
void write_side<Link>::relieve() noexcept {
    if (!flow_.should_resume(queue_.size())) return;
    note_resumed();
    this->guarded("resume_writing", [this] { receiver_->resume_writing(); });
}

template <class Link>
std::error_code write_side<Link>::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                          std::ptrdiff_t low_bytes) {
    if (auto refused = flow_.set_limits(high_bytes, low_bytes)) return refused;
    if (!this->lost_ && !ending_) pause_if_above();
    return {};
}

template class write_side<pipe_transport>;
template class write_side<stream_life>;

}  // namespace ouro::detail
