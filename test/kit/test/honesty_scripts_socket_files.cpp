// Honesty: the files of unix sockets, and who is at the other end.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "honesty_scripts.hpp"
#include "scratch_folder.hpp"

namespace ouro::test {
namespace {

io::resolved name_of(const std::string& path) {
    const address where = address::from_path(path).value();
    io::resolved name;
    std::memcpy(&name.storage, where.raw(), where.length());
    name.length = where.length();
    return name;
}

int bind_to(loop& home, int fd, const std::string& path) {
    const io::resolved name = name_of(path);
    return outcome_of(io::bind(home, fd, raw(name), name.length));
}

std::string kind_of(loop& home, const std::string& path) {
    const auto found = io::identify_file(home, path.c_str());
    if (!found) return outcome_of(-found.error().code().value());
    return found->is_socket() ? "socket" : S_ISREG(found->mode) ? "file" : "something else";
}

int outcome_of(const result<io::credentials>& of) { return of ? 0 : -of.error().code().value(); }

task<int> connect_to_path(loop& home, const std::string& path) {
    const int fd = open_stream(home, stream_kind::local);
    const io::resolved name = name_of(path);
    running connect;
    io::connect(home, connect, fd, raw(name), name.length);
    const int outcome = co_await connect.end();
    io::close(home, fd);
    co_return outcome;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_files)

// fault 46
HONESTY(a_bound_unix_socket_leaves_a_file_that_must_be_removed) {
    const scratch_folder folder;
    const std::string path = folder.file();
    notes.say("at first", kind_of(home, path));
    notes.say("removing nothing", io::remove_file(home, path.c_str()));
    const int first = open_stream(home, stream_kind::local);
    notes.say("bind", bind_to(home, first, path));
    notes.say("then", kind_of(home, path));
    const int second = open_stream(home, stream_kind::local);
    notes.say("the same path", bind_to(home, second, path));
    io::close(home, first);
    notes.say("after the close", kind_of(home, path));
    notes.say("still the same path", bind_to(home, second, path));
    notes.say("connect", co_await connect_to_path(home, path));
    notes.say("remove", io::remove_file(home, path.c_str()));
    notes.say("after that", kind_of(home, path));
    notes.say("connect", co_await connect_to_path(home, path));
    notes.say("bind", bind_to(home, second, path));
    io::close(home, second);
    remove_file(path);
}

HONESTY(a_file_that_is_no_socket_is_in_the_way) {
    const scratch_folder folder;
    make_file(folder.file());
    notes.say("it is a", kind_of(home, folder.file()));
    const int fd = open_stream(home, stream_kind::local);
    notes.say("bind", bind_to(home, fd, folder.file()));
    notes.say("connect", co_await connect_to_path(home, folder.file()));
    io::close(home, fd);
    remove_file(folder.file());
    co_return;
}

HONESTY(whoever_bound_a_path_last_is_found_there) {
    const scratch_folder folder;
    const std::string path = folder.file();
    const int first = open_stream(home, stream_kind::local);
    const int second = open_stream(home, stream_kind::local);
    notes.say("first", bind_to(home, first, path));
    notes.say("listen", io::listen(home, first, 5));
    const auto before = co_await io::identify_file(home, path.c_str());
    notes.say("connect", co_await connect_to_path(home, path));
    notes.say("remove", io::remove_file(home, path.c_str()));
    notes.say("connect", co_await connect_to_path(home, path));
    notes.say("second", bind_to(home, second, path));
    notes.say("it is the same file", before == co_await io::identify_file(home, path.c_str()));
    notes.say("connect before it listens", co_await connect_to_path(home, path));
    notes.say("listen", io::listen(home, second, 5));
    notes.say("connect", co_await connect_to_path(home, path));
    io::close(home, second);
    notes.say("connect", co_await connect_to_path(home, path));
    io::close(home, first);
    remove_file(path);
}

HONESTY(the_mode_of_a_socket_file_can_be_set) {
    const scratch_folder folder;
    const std::string path = folder.file();
    notes.say("of nothing", io::set_file_mode(home, path.c_str(), 0600));
    const int fd = open_stream(home, stream_kind::local);
    notes.say("bind", bind_to(home, fd, path));
    const auto before = co_await io::identify_file(home, path.c_str());
    notes.say("set", io::set_file_mode(home, path.c_str(), 0620));
    const auto after = co_await io::identify_file(home, path.c_str());
    notes.say("mode", static_cast<int>(after.mode & 07777U));
    notes.say("it is a", kind_of(home, path));
    notes.say("it is the same file", before == after);
    io::close(home, fd);
    remove_file(path);
}

HONESTY_OF_STREAMS(the_peer_of_a_unix_socket_is_known) {
    const int fresh = open_stream(home, kind);
    notes.say("unconnected", outcome_of(io::peer_credentials(home, fresh)));
    const connected pair = co_await connect_pair(home, kind);
    const auto peer = io::peer_credentials(home, pair.ours);
    notes.say("connected", outcome_of(peer));
    if (peer) {
        notes.say("this process", peer->pid == ::getpid());
        notes.say("this user", peer->uid == ::getuid() && peer->gid == ::getgid());
    }
    io::close(home, pair.theirs);
    co_await quiet();
    notes.say("after it has left", outcome_of(io::peer_credentials(home, pair.ours)));
    notes.say("of no descriptor", outcome_of(io::peer_credentials(home, -1)));
    notes.say("close-on-exec", io::set_close_on_exec(home, pair.ours));
    notes.say("of no descriptor", io::set_close_on_exec(home, -1));
    for (const int fd : {fresh, pair.ours}) io::close(home, fd);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace ouro::test
