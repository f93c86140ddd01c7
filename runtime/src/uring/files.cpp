// Files that are no sockets.
#include "files.hpp"

#include <poll.h>

#include <cerrno>

#include <ouro/runtime/checks.hpp>

#include "buffer_ring.hpp"
#include "kernel_abi.hpp"

namespace ouro::uring {
namespace {

// The kernel tells of the peer's half-close whether it is asked or not, and does so at once, again
// and again. To who waits for room that says nothing; so it is looked at again a little later.
__kernel_timespec look_again_after{.tv_sec = 0, .tv_nsec = 5'000'000};

std::uint8_t polled(std::uint8_t state) noexcept { return state | polled_for; }
std::uint8_t not_polled(std::uint8_t state) noexcept {
    return static_cast<std::uint8_t>(state & ~polled_for);
}
bool wants_room(std::uint8_t state) noexcept {
    return (state & kinds) == file_write || (state & kinds) == await_room;
}
bool has_room(std::int32_t found) noexcept { return found & (POLLOUT | POLLERR | POLLHUP); }

}  // namespace

io_uring_sqe* file_operations::prepare(op& request, int fd, std::uint8_t state) noexcept {
    detail::released(&request);
    request.engine_fd = fd;
    request.engine_state = state;
    return ring_.get_sqe();
}

void file_operations::start(op& request, int fd, std::uint8_t state) noexcept {
    const std::uint8_t what = state & kinds;
    constexpr std::uint64_t where_it_stands = std::uint64_t(-1);
    io_uring_sqe* entry = prepare(request, fd, state);
    const auto bytes = static_cast<unsigned>(request.length);
    if (what == file_read) {
        io_uring_prep_read(entry, fd, request.data, bytes, where_it_stands);
    } else if (what == ring_read || what == single_read) {
        io_uring_prep_read(entry, fd, nullptr, 0, where_it_stands);
        if (what == ring_read) entry->opcode = abi::op_read_multishot;
        entry->flags |= IOSQE_BUFFER_SELECT;
        entry->buf_group = buffer_ring::group;
    } else {
        io_uring_prep_write(entry, fd, request.data, bytes, where_it_stands);
    }
    if (state & on_worker) entry->flags |= IOSQE_ASYNC;
    ring_.filled(*entry, tag(request));
}

void file_operations::start_or_wait(op& request, int fd, std::uint8_t state) noexcept {
    state& on_worker ? poll_first(request, fd, state) : start(request, fd, state);
}

void file_operations::poll_first(op& request, int fd, std::uint8_t state) noexcept {
    io_uring_sqe* entry = prepare(request, fd, polled(state));
    io_uring_prep_poll_add(entry, fd, wants_room(state) ? POLLOUT : POLLIN);
    ring_.filled(*entry, tag(request));
}

void file_operations::look_again_later(op& request, std::uint8_t state) noexcept {
    io_uring_sqe* entry = prepare(request, request.engine_fd, polled(state));
    io_uring_prep_timeout(entry, &look_again_after, 0, 0);
    ring_.filled(*entry, tag(request));
}

bool file_operations::goes_on(op& request, std::uint8_t state, std::int32_t& res) noexcept {
    if (request.engine_state & cancel_sent) {
        const bool found_room = (state & kinds) == await_room && res > 0 && has_room(res);
        const bool nothing_done = state & polled_for || res == -EAGAIN;
        if (nothing_done && !found_room) res = -ECANCELED;
    } else if (state & polled_for) {
        return goes_on_after_poll(request, state, res);
    } else if (res == -EINTR) {
        start_or_wait(request, request.engine_fd, state);
        return true;
    } else if (res == -EAGAIN) {
        // O_NONBLOCK, on a file for which the kernel does not wait by itself then.
        poll_first(request, request.engine_fd, state);
        return true;
    } else if ((state & kinds) == ring_read && (res == -EINVAL || res == -EBADFD)) {
        // An older kernel, or a file that cannot be waited for.
        if (res == -EINVAL) ring_.can().multishot_read = false;
        start(request, request.engine_fd, single_read);
        return true;
    }
    return false;
}

bool file_operations::goes_on_after_poll(op& request, std::uint8_t state,
                                         std::int32_t res) noexcept {
    if (res == -ETIME) {
        poll_first(request, request.engine_fd, state);
    } else if (res < 0) {
        return false;
    } else if (wants_room(state) && !has_room(res)) {
        look_again_later(request, state);
    } else if ((state & kinds) == await_room) {
        return false;
    } else {
        start(request, request.engine_fd, not_polled(state));
    }
    return true;
}

}  // namespace ouro::uring
