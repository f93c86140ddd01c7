// The files of a simulated world, as far as unix sockets have to do with them, without folders.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "world.hpp"

namespace ouro::testing::sim {
namespace {

constexpr std::uint64_t only_device = 1;
constexpr std::uint32_t usual_permissions = 0755;  // what bind(2) leaves with the usual umask
constexpr std::uint32_t permission_bits = 07777;

}  // namespace

int world::make_file(const std::string& path, std::uint32_t mode) {
    const bool is_new =
        files_.try_emplace(path, io::file_identity{only_device, file_count_ + 1, mode}).second;
    if (!is_new) return -EEXIST;
    ++file_count_;
    return 0;
}

int world::bind_to_path(endpoint& what, const address& where) {
    if (make_file(where.path(), S_IFSOCK | usual_permissions) != 0) return -EADDRINUSE;
    what.inode = file_count_;
    what.local = where;
    return 0;
}

/// Abstract names go with their socket.
void world::forget_abstract_name(const endpoint& what) {
    if (!what.bound || !what.unix_domain()) return;
    const auto named = files_.find(what.local.path());
    if (named == files_.end() || !named->first.starts_with('\0')) return;
    if (named->second.inode == what.inode) files_.erase(named);
}

int world::identify_file(const std::string& path, io::file_identity& into) const {
    const auto found = files_.find(path);
    if (found == files_.end()) return -ENOENT;
    into = found->second;
    return 0;
}

int world::remove_file(const std::string& path) { return files_.erase(path) ? 0 : -ENOENT; }

int world::set_file_mode(const std::string& path, std::uint32_t mode) {
    const auto found = files_.find(path);
    if (found == files_.end()) return -ENOENT;
    found->second.mode = (found->second.mode & ~permission_bits) | (mode & permission_bits);
    return 0;
}

int world::credentials(const endpoint& at, io::credentials& into) const {
    const bool somebody = at.unix_domain() && (at.at == state::connected || at.at == state::ended);
    if (!somebody && !(at.unix_domain() && at.at == state::listening)) return -ENOTCONN;
    into = {.pid = ::getpid(), .uid = ::getuid(), .gid = ::getgid()};
    return 0;
}

}  // namespace ouro::testing::sim
