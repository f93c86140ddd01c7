// The door to files: the operating system's own calls.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "engine.hpp"

namespace ouro::detail {
namespace {

// The system's own limit, which binds only those without privileges.
constexpr std::size_t most_capacity_bytes = 1024 * 1024;

template <class Call>
std::int64_t again(Call&& call) noexcept {
    std::int64_t outcome = 0;
    do {
        outcome = call();
    } while (outcome < 0 && errno == EINTR);
    return outcome < 0 ? -errno : outcome;
}

// SPLICE_F_NONBLOCK is about the pipe: whether the socket is waited for, its file alone says. So it
// says that it is not, for the time of the call. No operation of the ring begins meanwhile, and
// those that have begun do not look again.
std::int64_t splice_now(int from, int to, int socket, std::size_t count) noexcept {
    const int flags = ::fcntl(socket, F_GETFL);
    if (flags < 0) return -errno;
    const bool waits = !(flags & O_NONBLOCK);
    if (waits) ::fcntl(socket, F_SETFL, flags | O_NONBLOCK);
    const std::int64_t moved =
        again([&] { return ::splice(from, nullptr, to, nullptr, count, SPLICE_F_NONBLOCK); });
    if (waits) ::fcntl(socket, F_SETFL, flags);
    return moved;
}

}  // namespace

int engine::open_carrier(io::carrier& into, std::size_t wanted_bytes) noexcept {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return -errno;
    ignore_broken_pipes();
    const auto wanted = static_cast<int>(std::min(wanted_bytes, most_capacity_bytes));
    (void)::fcntl(ends[1], F_SETPIPE_SZ, wanted);  // over the user's limit: what there is
    const int capacity = ::fcntl(ends[1], F_GETPIPE_SZ);
    into = {ends[1], ends[0], static_cast<std::size_t>(capacity > 0 ? capacity : 4096)};
    return 0;
}
void engine::close_carrier(const io::carrier& used) noexcept {
    ::close(used.in);
    ::close(used.out);
}
std::int64_t engine::try_fetch(const io::carrier& into, int fd, std::size_t count) noexcept {
    return splice_now(fd, into.in, fd, count);
}
std::int64_t engine::try_forward(const io::carrier& from, int fd, std::size_t count) noexcept {
    return splice_now(from.out, fd, fd, count);
}
std::int64_t engine::take(const io::carrier& from, std::span<std::byte> into) noexcept {
    return again([&] { return ::read(from.out, into.data(), into.size()); });
}
int engine::set_position(int file, std::uint64_t offset) noexcept {
    return ::lseek(file, static_cast<off_t>(offset), SEEK_SET) < 0 ? -errno : 0;
}

}  // namespace ouro::detail
