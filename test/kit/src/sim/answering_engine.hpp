// The synchronous part of the door to a simulated world: what has an answer at once.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine.hpp"
#include "files.hpp"
#include "world.hpp"

namespace ouro::testing::sim {

class answering_engine : public ouro::detail::engine {
  public:
    clock::time_point now() const noexcept override { return world_.now(); }
    void random(std::span<std::byte> into) noexcept override {
        for (std::byte& each : into) {
            each = static_cast<std::byte>(world_.luck.draw(purpose::random_bytes));
        }
    }
    int open_socket(int family, int type, int protocol) noexcept override {
        return world_.open(family, type, protocol);
    }
    int open_pair(int family, int type, int (&fds)[2]) noexcept override {
        return world_.open_pair(family, type, fds);
    }
    int bind(int fd, const sockaddr* where, socklen_t length) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) { return world_.bind(*at, where, length); });
    }
    int listen(int fd, int backlog) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) { return world_.listen(*at, backlog); });
    }
    std::int64_t try_send(int fd, std::span<const std::byte> from) noexcept override {
        const endpoint_ptr at = world_.find(fd);
        if (at && at->of_pipe()) return -ENOTSOCK;
        return at ? world_.send(at, from, false) : -EBADF;
    }
    int try_send_messages(int fd, std::span<mmsghdr> messages) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) { return world_.send_messages(at, messages); });
    }
    int shutdown(int fd, int how) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) { return world_.shutdown(at, how); });
    }
    int get_option(int fd, int level, int name, int& value) noexcept override {
        return on(
            fd, [&](const endpoint_ptr& at) { return world_.get_option(*at, level, name, value); });
    }
    int set_option(int fd, int level, int name,
                   std::span<const std::byte> value) noexcept override {
        return on(
            fd, [&](const endpoint_ptr& at) { return world_.set_option(*at, level, name, value); });
    }
    int local_name(int fd, io::resolved& into) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) { return give_name(at->local, *at, into); });
    }
    int peer_name(int fd, io::resolved& into) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) {
            const bool known =
                at->at == state::connected || (at->unix_domain() && at->at == state::ended);
            return known ? give_name(at->remote, *at, into) : -ENOTCONN;
        });
    }
    void close(int fd) noexcept override {
        if (world_.close(fd) != 0) ++world_.bad_closes;
    }
    int watch_signals(int fd, std::uint64_t mask) noexcept override {
        return world_.watch_signals(fd, mask);
    }
    int take_signal(int fd) noexcept override { return world_.take_signal(fd); }
    bool signal_is_untouched(int) noexcept override { return !world_.signals_watched(); }
    int identify_file(const char* path, io::file_identity& into) noexcept override {
        return world_.identify_file(path, into);
    }
    int remove_file(const char* path) noexcept override { return world_.remove_file(path); }
    int set_file_mode(const char* path, std::uint32_t mode) noexcept override {
        return world_.set_file_mode(path, mode);
    }
    int peer_credentials(int fd, io::credentials& into) noexcept override {
        return on(fd, [&](const endpoint_ptr& at) { return world_.credentials(*at, into); });
    }
    int set_close_on_exec(int fd) noexcept override {
        return on(fd, [](const endpoint_ptr&) { return 0; });
    }
    int spawn(const io::spawn_request& what, io::child& made,
              ouro::detail::spawn_failure& failure) noexcept override {
        return world_.processes.spawn(what, made, failure);
    }
    int collect_child(const io::child& whom, int& code) noexcept override {
        return world_.processes.collect(whom, code);
    }
    int signal_child(const io::child& whom, int signum, io::signal_reach reach) noexcept override {
        return world_.processes.signal(whom, signum, reach);
    }
    std::int64_t try_write(int fd, std::span<const std::byte> from) noexcept override {
        const endpoint_ptr at = world_.find(fd);
        return at ? world_.send(at, from, false) : -EBADF;
    }
    int make_pipe(int (&fds)[2]) noexcept override { return world_.open_pipe(fds); }
    int duplicate(int fd) noexcept override {
        const endpoint_ptr at = world_.find(fd);
        return at ? world_.publish(at) : -EBADF;
    }
    int kind_of(int fd, io::file_kind& into) noexcept override {
        const endpoint_ptr at = world_.find(fd);
        if (!at) return -EBADF;
        into = at->of_pipe() ? io::file_kind::pipe : io::file_kind::socket;
        return 0;
    }
    void ignore_broken_pipes() noexcept override {}
    int open_carrier(io::carrier& into, std::size_t wanted_bytes) noexcept override {
        if (world_.luck.strikes(fault_kind::no_descriptor)) return -EMFILE;
        const std::size_t open = world_.open_descriptors() + 2 * files_.carriers();
        if (open + 2 > world_.settings.descriptor_limit) return -EMFILE;
        return files_.open(into, wanted_bytes);
    }
    void close_carrier(const io::carrier& used) noexcept override { files_.close(used); }
    std::int64_t try_fetch(const io::carrier& into, int fd, std::size_t count) noexcept override {
        const endpoint_ptr at = world_.find(fd);
        if (!at) return -EBADF;
        byte_vector part(std::min(count, files_.room(into)));
        if (part.empty()) return -EAGAIN;
        const std::int64_t got = world_.receive(at, part);
        if (got > 0) files_.put(into, std::span(part).first(static_cast<std::size_t>(got)));
        return got;
    }
    std::int64_t try_forward(const io::carrier& from, int fd, std::size_t count) noexcept override {
        const endpoint_ptr at = world_.find(fd);
        if (!at) return -EBADF;
        const auto offered = files_.front(from, count);
        const std::int64_t taken = world_.send(at, offered, false);
        if (taken > 0) files_.drop(from, static_cast<std::size_t>(taken));
        return taken;
    }
    std::int64_t take(const io::carrier& from, std::span<std::byte> into) noexcept override {
        return files_.take(from, into);
    }

  protected:
    explicit answering_engine(world& in) noexcept : world_(in) {}

    template <class Call>
    int on(int fd, Call&& call) noexcept {
        const endpoint_ptr at = world_.find(fd);
        if (at && at->of_pipe()) return -ENOTSOCK;
        return at ? call(at) : -EBADF;
    }
    static int give_name(const address& name, const endpoint& of, io::resolved& into) noexcept {
        address shown = name;
        if (!shown && of.unix_domain()) {
            const sockaddr unnamed{AF_UNIX, {}};
            shown = address(&unnamed, sizeof(sa_family_t));
        } else if (!shown) {
            shown = *address::from_ip(of.family == AF_INET6 ? "::" : "0.0.0.0", 0);
        }
        std::memcpy(&into.storage, shown.raw(), shown.length());
        into.length = shown.length();
        return 0;
    }

    world& world_;
    files files_;
};

}  // namespace ouro::testing::sim
