// What does an echo cost on epoll with nothing in between? The bar that needs no io_uring.

#include "server_options.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <vector>

namespace {

constexpr int receives_per_turn = 4;  // then the other connections get theirs

struct connection {
    std::vector<char> unsent;  // what the socket did not take; empty while the peer keeps up
    std::size_t unsent_begin = 0;
    bool peer_ended = false;
    bool postponed = false;  // had its turn, has more to read
};

class echo_server {
  public:
    echo_server(int listener, int signals, std::size_t buffer_bytes)
        : poller_(bench::checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
          listener_(listener),
          signals_(signals),
          buffer_(buffer_bytes) {
        watch(listener, EPOLLIN);
        watch(signals, EPOLLIN);
    }

    void run() {
        std::array<epoll_event, 256> events;
        for (;;) {
            const int timeout = postponed_.empty() ? -1 : 0;
            const int count = epoll_wait(poller_, events.data(), events.size(), timeout);
            for (int i = 0; i < count; ++i) {
                const epoll_event& ready = events[static_cast<std::size_t>(i)];
                if (ready.data.fd == signals_) return;
                if (ready.data.fd == listener_) {
                    accept_one();
                } else {
                    on_ready(ready.data.fd, ready.events);
                }
            }
            serve_postponed();
        }
    }

  private:
    connection& connection_of(int fd) { return *connections_[static_cast<std::size_t>(fd)]; }

    void watch(int fd, std::uint32_t events) {
        epoll_event wanted{};
        wanted.events = events;
        wanted.data.fd = fd;
        bench::checked(epoll_ctl(poller_, EPOLL_CTL_ADD, fd, &wanted), "epoll_ctl");
    }

    void accept_one() {
        const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) return;
        const auto index = static_cast<std::size_t>(fd);
        if (index >= connections_.size()) connections_.resize(std::bit_ceil(index + 1));
        if (connections_[index] == nullptr) connections_[index] = std::make_unique<connection>();
        // Edge-triggered in both directions: one epoll_ctl per connection, none per message.
        watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }

    void on_ready(int fd, std::uint32_t events) {
        connection& peer = connection_of(fd);
        if ((events & EPOLLRDHUP) != 0) peer.peer_ended = true;
        if (!peer.unsent.empty() && !send_unsent(fd, peer)) return;
        if (!peer.postponed) serve(fd, peer);
    }

    void serve(int fd, connection& peer) {
        // A short receive means the socket is empty and the next byte makes a new edge, except
        // at the end of the stream, which makes none: then read until the zero.
        for (int turn = 0; turn != receives_per_turn; ++turn) {
            const ssize_t received = ::recv(fd, buffer_.data(), buffer_.size(), 0);
            if (received <= 0) {
                if (received < 0 && errno == EAGAIN) return;
                return close_connection(fd, peer);
            }
            const auto bytes = static_cast<std::size_t>(received);
            if (!echo(fd, peer, bytes)) return;
            if (bytes < buffer_.size() && !peer.peer_ended) return;
        }
        // No new edge will come for what is left.
        peer.postponed = true;
        postponed_.push_back(fd);
    }

    void serve_postponed() {
        postponed_.swap(serving_);
        for (const int fd : serving_) {
            connection& peer = connection_of(fd);
            if (!peer.postponed) continue;  // closed since
            peer.postponed = false;
            if (peer.unsent.empty()) serve(fd, peer);
        }
        serving_.clear();
    }

    /// False if the socket is full or gone: reading more would only fill memory.
    bool echo(int fd, connection& peer, std::size_t bytes) {
        ssize_t sent = ::send(fd, buffer_.data(), bytes, MSG_NOSIGNAL);
        if (sent == static_cast<ssize_t>(bytes)) return true;
        if (sent < 0 && errno != EAGAIN) {
            close_connection(fd, peer);
            return false;
        }
        sent = std::max<ssize_t>(sent, 0);
        peer.unsent.assign(buffer_.data() + sent, buffer_.data() + bytes);
        return false;
    }

    bool send_unsent(int fd, connection& peer) {
        const std::size_t bytes = peer.unsent.size() - peer.unsent_begin;
        const ssize_t sent =
            ::send(fd, peer.unsent.data() + peer.unsent_begin, bytes, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN) close_connection(fd, peer);
            return false;
        }
        peer.unsent_begin += static_cast<std::size_t>(sent);
        if (peer.unsent_begin != peer.unsent.size()) return false;
        peer.unsent.clear();
        peer.unsent_begin = 0;
        return true;
    }

    void close_connection(int fd, connection& peer) {
        peer = connection{};
        ::close(fd);
    }

    int poller_;
    int listener_;
    int signals_;
    std::vector<char> buffer_;  // shared: between two events no connection keeps bytes in it
    std::vector<std::unique_ptr<connection>> connections_;  // by descriptor, kept for its next use
    std::vector<int> postponed_;
    std::vector<int> serving_;  // the postponed ones of the last turn; empty in between
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Echo server on raw epoll."};
    bench::server_options options;
    return bench::server_main(argc, argv, app, options, [&] {
        const int signals = bench::stop_signal_fd();
        const int listener = bench::listen_on(options);
        echo_server server(listener, signals, options.recv_buffer_bytes);
        bench::announce(options, listener);
        server.run();
    });
}
