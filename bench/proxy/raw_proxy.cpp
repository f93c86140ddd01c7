// What does it cost to pass a byte on with nothing in between? Two bars for proxies: an io_uring
// loop that receives into a buffer and sends from it, and splice(2) through a pipe.
#include <fcntl.h>
#include <sys/epoll.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "../echo/raw_ring.hpp"
#include "../echo/server_options.hpp"

namespace {

using bench::checked;

int connect_to(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    checked(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
    return fd;
}

/// Both ends of one client. Closed when both directions have ended.
struct pair {
    int fds[2];
    int open_directions = 2;

    void direction_ended(int from) {
        ::shutdown(fds[1 - from], SHUT_WR);
        if (--open_directions != 0) return;
        ::close(fds[0]);
        ::close(fds[1]);
        delete this;
    }
};

// ---- io_uring

class copying {
  public:
    copying(int listener, std::uint16_t target, std::size_t buffer_bytes)
        : listener_(listener), target_(target), buffer_bytes_(buffer_bytes) {}

    [[noreturn]] void run() {
        accept_more();
        for (;;) {
            ring_.enter(1);
            ring_.drain([this](const io_uring_cqe& cqe) { dispatch(cqe); });
        }
    }

  private:
    struct direction {
        pair* of;
        int from;
        std::unique_ptr<char[]> buffer;
        std::size_t begin = 0, end = 0;  // what is still to be sent
        bool drained = false;            // the last receive left nothing behind
    };

    void accept_more() {
        io_uring_sqe* const sqe = ring_.next_sqe();
        io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        sqe->user_data = 0;
    }

    void dispatch(const io_uring_cqe& cqe) {
        if (cqe.user_data == 0) {
            if (cqe.res < 0) raw::fail(cqe.res, "accept");
            auto* const made = new pair{{cqe.res, connect_to(target_)}};
            for (const int from : {0, 1}) {
                receive(*new direction{made, from,
                                       std::make_unique_for_overwrite<char[]>(buffer_bytes_)});
            }
            return;
        }
        auto& way = *reinterpret_cast<direction*>(cqe.user_data);
        if (way.begin != way.end) return sent(way, cqe.res);
        if (cqe.res <= 0) {
            way.of->direction_ended(way.from);
            delete &way;
            return;
        }
        way.drained = (cqe.flags & IORING_CQE_F_SOCK_NONEMPTY) == 0 &&
                      static_cast<std::size_t>(cqe.res) < buffer_bytes_;
        way.begin = 0;
        way.end = static_cast<std::size_t>(cqe.res);
        send(way);
    }

    void receive(direction& way) {
        io_uring_sqe* const sqe = ring_.next_sqe();
        io_uring_prep_recv(sqe, way.of->fds[way.from], way.buffer.get(), buffer_bytes_, 0);
        if (way.drained) sqe->ioprio = IORING_RECVSEND_POLL_FIRST;
        sqe->user_data = reinterpret_cast<std::uintptr_t>(&way);
    }

    void send(direction& way) {
        io_uring_sqe* const sqe = ring_.next_sqe();
        io_uring_prep_send(sqe, way.of->fds[1 - way.from], way.buffer.get() + way.begin,
                           way.end - way.begin, MSG_NOSIGNAL | MSG_WAITALL);
        sqe->user_data = reinterpret_cast<std::uintptr_t>(&way);
    }

    void sent(direction& way, int result) {
        if (result < 0) {  // the receiver is gone: take what the sender has, and drop it
            way.begin = way.end;
        } else {
            way.begin += static_cast<std::size_t>(result);
        }
        way.begin == way.end ? receive(way) : send(way);
    }

    raw::ring ring_;
    int listener_;
    std::uint16_t target_;
    std::size_t buffer_bytes_;
};

// ---- splice

class splicing {
  public:
    splicing(int listener, std::uint16_t target, std::size_t pipe_bytes)
        : listener_(listener), target_(target), pipe_bytes_(pipe_bytes) {}

    [[noreturn]] void run() {
        poll_ = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
        epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
        checked(::epoll_ctl(poll_, EPOLL_CTL_ADD, listener_, &event), "epoll_ctl");
        std::array<epoll_event, 64> ready;
        for (;;) {
            const int count = ::epoll_wait(poll_, ready.data(), ready.size(), -1);
            ended_.clear();
            for (int i = 0; i < count; ++i) {
                auto* const side = static_cast<end*>(ready[static_cast<std::size_t>(i)].data.ptr);
                if (!side) {
                    accept_one();
                } else if (!side->of->over()) {
                    // Either end may be what the two directions wait for.
                    for (const int from : {0, 1}) pass_on(*side->of, from);
                    if (side->of->over()) ended_.push_back(side->of);
                }
            }
            for (client* each : ended_) finish(each);
        }
    }

  private:
    struct client;
    struct end {
        client* of;
    };
    struct client {
        int fds[2];
        int pipes[2][2];
        std::size_t held[2] = {0, 0};  // bytes in the pipe
        bool drained[2] = {false, false};
        bool ended[2] = {false, false};
        end ends[2] = {{this}, {this}};
        bool over() const { return ended[0] && ended[1]; }
    };

    void accept_one() {
        const int fd = checked(::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK), "accept");
        auto* const made = new client{{fd, connect_to(target_)}, {}};
        checked(::fcntl(made->fds[1], F_SETFL, O_NONBLOCK), "O_NONBLOCK");
        for (auto& pipe : made->pipes) {
            checked(::pipe2(pipe, O_NONBLOCK | O_CLOEXEC), "pipe2");
            checked(::fcntl(pipe[1], F_SETPIPE_SZ, static_cast<int>(pipe_bytes_)), "pipe size");
        }
        for (const int which : {0, 1}) {
            epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                              .data = {.ptr = &made->ends[which]}};
            checked(::epoll_ctl(poll_, EPOLL_CTL_ADD, made->fds[which], &event), "epoll_ctl");
        }
    }

    /// Until nothing comes in, or nothing more goes out.
    void pass_on(client& of, int from) {
        auto& held = of.held[from];
        while (!of.ended[from]) {
            bool moved = false;
            if (held < pipe_bytes_) {
                const ssize_t in = ::splice(of.fds[from], nullptr, of.pipes[from][1], nullptr,
                                            pipe_bytes_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                if (in > 0) held += static_cast<std::size_t>(in);
                moved |= in > 0;
                if (held == 0 && (in == 0 || (in < 0 && errno != EAGAIN))) {
                    of.ended[from] = true;
                    ::shutdown(of.fds[1 - from], SHUT_WR);
                    return;
                }
            }
            if (held) {
                const ssize_t out = ::splice(of.pipes[from][0], nullptr, of.fds[1 - from], nullptr,
                                             held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
                if (out > 0) held -= static_cast<std::size_t>(out);
                moved |= out > 0;
                if (out < 0 && errno != EAGAIN) of.ended[0] = of.ended[1] = true;
            }
            if (!moved) return;
        }
    }

    void finish(client* which) {
        for (auto& pipe : which->pipes) {
            ::close(pipe[0]);
            ::close(pipe[1]);
        }
        ::close(which->fds[0]);
        ::close(which->fds[1]);
        delete which;
    }

    int listener_;
    std::uint16_t target_;
    std::size_t pipe_bytes_;
    int poll_ = -1;
    std::vector<client*> ended_;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("A proxy to the port TARGET on 127.0.0.1, without a library.");
    std::uint16_t target = 0;
    std::size_t buffer_bytes = 256 * 1024;
    bool splice = false;
    bench::server_options options;
    app.add_option("--target", target, "port of the server")->required();
    app.add_option("--buffer", buffer_bytes, "bytes of a buffer, or of a pipe");
    app.add_flag("--splice", splice, "splice(2) through a pipe instead of io_uring");
    return bench::server_main(argc, argv, app, options, [&] {
        std::signal(SIGPIPE, SIG_IGN);
        const int listener = bench::listen_on(options);
        bench::announce(options, listener);
        splice ? splicing(listener, target, buffer_bytes).run()
               : copying(listener, target, buffer_bytes).run();
    });
}
