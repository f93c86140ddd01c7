// The door to files: the operating system's own calls.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "engine.hpp"

namespace ouro::detail {
namespace {

// What a carrier is asked to hold. More is no faster, and the system bounds what pipes may hold.
constexpr int wanted_capacity_bytes = 256 * 1024;

template <class Call>
std::int64_t again(Call&& call) noexcept {
    std::int64_t outcome = 0;
    do {
        outcome = call();
    } while (outcome < 0 && errno == EINTR);
    return outcome < 0 ? -errno : outcome;
}

}  // namespace

int engine::open_carrier(io::carrier& into) noexcept {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return -errno;
    ignore_broken_pipes();
    (void)::fcntl(ends[1], F_SETPIPE_SZ, wanted_capacity_bytes);  // over the limit: what there is
    const int capacity = ::fcntl(ends[1], F_GETPIPE_SZ);
    into = {ends[1], ends[0], static_cast<std::size_t>(capacity > 0 ? capacity : 4096)};
    return 0;
}
void engine::close_carrier(const io::carrier& used) noexcept {
    ::close(used.in);
    ::close(used.out);
}
// SPLICE_F_NONBLOCK is about the pipe: whether the socket is waited for, its file alone says. So it
// says that it is not, for the time of the call. No operation of the ring begins meanwhile, and
// those that have begun do not look again.
std::int64_t engine::try_forward(const io::carrier& from, int fd, std::size_t count) noexcept {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0) return -errno;
    const bool waits = !(flags & O_NONBLOCK);
    if (waits) ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    const std::int64_t taken =
        again([&] { return ::splice(from.out, nullptr, fd, nullptr, count, SPLICE_F_NONBLOCK); });
    if (waits) ::fcntl(fd, F_SETFL, flags);
    return taken;
}
std::int64_t engine::take(const io::carrier& from, std::span<std::byte> into) noexcept {
    return again([&] { return ::read(from.out, into.data(), into.size()); });
}
int engine::set_position(int file, std::uint64_t offset) noexcept {
    return ::lseek(file, static_cast<off_t>(offset), SEEK_SET) < 0 ? -errno : 0;
}

}  // namespace ouro::detail
