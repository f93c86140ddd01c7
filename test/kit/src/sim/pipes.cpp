// Pipes: bytes written at one end stand in the inbox of the other, at once.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

constexpr std::size_t pipe_bytes = 64 * 1024;  // the kernel's default

std::size_t pipe_room(const endpoint& reader) noexcept {
    return pipe_bytes - std::min(pipe_bytes, reader.inbox.size());
}

}  // namespace

std::uint32_t pipe_events(const endpoint& at) noexcept {
    const endpoint_ptr other = at.peer.lock();
    const bool alone = !other || other->closed;
    if (at.role == pipe_role::reader) {
        const std::uint32_t data = at.inbox.empty() ? 0 : POLLIN | POLLRDNORM;
        return data | (alone ? POLLHUP : 0);
    }
    if (alone) return POLLOUT | POLLWRNORM | POLLERR;
    return pipe_room(*other) >= PIPE_BUF ? POLLOUT | POLLWRNORM : 0;
}

int world::open_pipe(int (&fds)[2]) {
    if (luck.strikes(fault_kind::no_descriptor)) return -EMFILE;
    if (open_descriptors() + 2 > settings.descriptor_limit) return -EMFILE;
    const endpoint_ptr reader = make(AF_UNSPEC, SOCK_STREAM);
    const endpoint_ptr writer = make(AF_UNSPEC, SOCK_STREAM);
    reader->role = pipe_role::reader;
    writer->role = pipe_role::writer;
    reader->peer = writer;
    writer->peer = reader;
    fds[0] = publish(reader);
    fds[1] = publish(writer);
    return 0;
}

std::int64_t world::read_pipe(const endpoint_ptr& what, std::span<std::byte> into) {
    if (what->role != pipe_role::reader) return -EBADF;
    const endpoint_ptr writer = what->peer.lock();
    if (what->inbox.empty()) return writer && !writer->closed ? -EAGAIN : 0;
    const std::size_t count = std::min(into.size(), what->inbox.size());
    what->inbox.take(into.first(count));
    if (writer) changed(writer);
    return static_cast<std::int64_t>(count);
}

std::int64_t world::write_pipe(const endpoint_ptr& what, std::span<const std::byte> from) {
    if (what->role != pipe_role::writer) return -EBADF;
    const endpoint_ptr reader = what->peer.lock();
    if (!reader || reader->closed) return -EPIPE;
    if (from.empty()) return 0;
    std::size_t count = std::min(from.size(), pipe_room(*reader));
    // Up to PIPE_BUF bytes go whole or not at all.
    if (count == 0 || (from.size() <= PIPE_BUF && count < from.size())) return -EAGAIN;
    if (from.size() > PIPE_BUF) {
        if (auto fewer =
                luck.strikes(fault_kind::short_send, 1, static_cast<std::int64_t>(count))) {
            count = std::clamp<std::size_t>(static_cast<std::size_t>(*fewer), 1, count);
        }
    }
    reader->inbox.append(from.first(count));
    changed(reader);
    return static_cast<std::int64_t>(count);
}

void world::close_pipe(const endpoint_ptr& what) {
    what->closed = true;
    what->at = state::ended;
    what->inbox.clear();
    if (const endpoint_ptr other = what->peer.lock()) changed(other);
}

}  // namespace ouro::testing::sim
