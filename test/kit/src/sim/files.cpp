// Files in a simulation.
#include "files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>

namespace ouro::testing::sim {
namespace {

// A pipe holds a power of two of pages.
constexpr std::size_t page_bytes = 4096;
constexpr std::size_t most_pipe_bytes = 1024 * 1024;

}  // namespace

int files::open(io::carrier& into, std::size_t wanted_bytes) {
    into = {next_, next_ + 1, std::bit_ceil(std::clamp(wanted_bytes, page_bytes, most_pipe_bytes))};
    next_ += 2;
    carried_[into.in];
    return 0;
}

std::int64_t files::read_at(int file, std::uint64_t offset, std::span<std::byte> into) {
    ssize_t got = ::pread(file, into.data(), into.size(), static_cast<off_t>(offset));
    // The ring takes no offset where there are none.
    if (got < 0 && errno == ESPIPE) got = ::read(file, into.data(), into.size());
    return got < 0 ? -errno : got;
}

std::int64_t files::fetch(const io::carrier& into, int file, std::uint64_t offset,
                          std::size_t count) {
    struct stat what{};
    if (::fstat(file, &what) < 0) return -EBADF;
    if (S_ISFIFO(what.st_mode) || S_ISSOCK(what.st_mode)) return -ESPIPE;
    if ((::fcntl(file, F_GETFL) & O_ACCMODE) == O_WRONLY) return -EBADF;
    if (!S_ISREG(what.st_mode)) return -EINVAL;
    byte_vector& inside = carried_.at(into.in);
    inside.resize(std::min(count, into.capacity));
    const std::int64_t got = read_at(file, offset, inside);
    inside.resize(static_cast<std::size_t>(std::max<std::int64_t>(got, 0)));
    return got;
}

std::size_t files::room(const io::carrier& into) const {
    return into.capacity - carried_.at(into.in).size();
}

void files::put(const io::carrier& into, std::span<const std::byte> more) {
    byte_vector& inside = carried_.at(into.in);
    inside.insert(inside.end(), more.begin(), more.end());
}

std::span<const std::byte> files::front(const io::carrier& from, std::size_t most) const {
    const byte_vector& inside = carried_.at(from.in);
    return std::span(inside).first(std::min(inside.size(), most));
}

void files::drop(const io::carrier& from, std::size_t count) {
    byte_vector& inside = carried_.at(from.in);
    inside.erase(inside.begin(), inside.begin() + static_cast<std::ptrdiff_t>(count));
}

std::int64_t files::take(const io::carrier& from, std::span<std::byte> into) {
    const auto first = front(from, into.size());
    std::copy(first.begin(), first.end(), into.begin());
    drop(from, first.size());
    return static_cast<std::int64_t>(first.size());
}

}  // namespace ouro::testing::sim
