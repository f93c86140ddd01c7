// What a simulated socket is ready for.
#include "endpoint.hpp"

#include <poll.h>

#include <algorithm>
#include <cstring>

namespace ouro::testing::sim {

void byte_queue::take(std::span<std::byte> into) noexcept {
    if (into.empty()) return;
    std::memcpy(into.data(), data_.data() + taken_, into.size());
    taken_ += into.size();
    if (taken_ == data_.size()) {
        clear();
    } else if (taken_ > 4096 && taken_ > data_.size() / 2) {
        data_.erase(data_.begin(), data_.begin() + static_cast<std::ptrdiff_t>(taken_));
        taken_ = 0;
    }
}

bool endpoint::readable() const noexcept {
    if (!stream()) return !datagrams.empty() || shut_read;
    return !inbox.empty() || error || ended_by_peer || shut_read || at == state::ended ||
           !backlog.empty();
}

std::uint32_t endpoint::ready_events() const noexcept {
    if (of_pipe()) return pipe_events(*this);
    std::uint32_t events = 0;
    if (readable()) events |= POLLIN | POLLRDNORM;
    if (at == state::listening || family == AF_UNSPEC) return events;  // that of signals
    if (error) events |= POLLERR;
    if (!stream()) return events | POLLOUT | POLLWRNORM;
    if (ended_by_peer || shut_read || at == state::ended) events |= POLLRDHUP;
    if (at == state::fresh) return events | POLLOUT | POLLHUP;
    if (at == state::connecting) return events;
    const bool both_ended = (ended_by_peer || shut_read) && shut_write;
    if (at == state::ended || both_ended) events |= POLLHUP;
    if (at == state::ended || shut_write || room() > 0) events |= POLLOUT | POLLWRNORM;
    return events;
}

}  // namespace ouro::testing::sim
