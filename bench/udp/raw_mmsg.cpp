// What does a UDP echo cost with recvmmsg and sendmmsg alone? With --gro, the kernel joins and cuts
// datagrams too.

#include "udp_server.hpp"

#include <poll.h>

#include <vector>

namespace {

constexpr unsigned most_messages = 64;
constexpr std::size_t room_bytes = 64 * 1024;

struct control {
    alignas(cmsghdr) char data[CMSG_SPACE(sizeof(int))];
};

struct messages {
    std::vector<char> memory = std::vector<char>(most_messages * room_bytes);
    iovec pieces[most_messages];
    sockaddr_in names[most_messages];
    control controls[most_messages];
    mmsghdr headers[most_messages];

    void prepare(bool gro) noexcept {
        for (unsigned i = 0; i < most_messages; ++i) {
            pieces[i] = {memory.data() + i * room_bytes, room_bytes};
            msghdr& header = headers[i].msg_hdr;
            header = {};
            header.msg_name = &names[i];
            header.msg_namelen = sizeof names[i];
            header.msg_iov = &pieces[i];
            header.msg_iovlen = 1;
            if (!gro) continue;
            header.msg_control = controls[i].data;
            header.msg_controllen = sizeof controls[i].data;
        }
    }
    /// What came in goes back: UDP_GRO of a message becomes UDP_SEGMENT of its answer.
    void turn_round(unsigned count) noexcept {
        for (unsigned i = 0; i < count; ++i) {
            msghdr& header = headers[i].msg_hdr;
            pieces[i].iov_len = headers[i].msg_len;
            cmsghdr* const said = CMSG_FIRSTHDR(&header);
            if (said == nullptr) {
                header.msg_control = nullptr;
                header.msg_controllen = 0;
                continue;
            }
            int segment = 0;
            std::memcpy(&segment, CMSG_DATA(said), sizeof segment);
            const auto bytes = static_cast<std::uint16_t>(segment);
            said->cmsg_type = UDP_SEGMENT;
            said->cmsg_len = CMSG_LEN(sizeof bytes);
            std::memcpy(CMSG_DATA(said), &bytes, sizeof bytes);
            header.msg_controllen = CMSG_SPACE(sizeof bytes);
        }
    }
};

int serve(int fd, bool gro) {
    const int on = 1;
    if (gro) bench::checked(::setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on), "UDP_GRO");
    pollfd waiting[] = {{fd, POLLIN, 0}, {bench::stop_signal_fd(), POLLIN, 0}};
    messages all;
    for (;;) {
        all.prepare(gro);
        const int got = ::recvmmsg(fd, all.headers, most_messages, MSG_DONTWAIT, nullptr);
        if (got <= 0) {
            bench::checked(::poll(waiting, 2, -1), "poll");
            if (waiting[1].revents) return 0;
            continue;
        }
        all.turn_round(static_cast<unsigned>(got));
        for (int sent = 0; sent < got;) {
            const int more =
                ::sendmmsg(fd, all.headers + sent, static_cast<unsigned>(got - sent), 0);
            sent += more > 0 ? more : 1;  // what cannot be sent is lost, as on any network
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"UDP echo server on recvmmsg and sendmmsg."};
    bool gro = false;
    app.add_flag("--gro", gro, "let the kernel join and cut datagrams");
    return bench::udp_server_main(argc, argv, app, [&](int fd, auto announce) {
        announce(fd);
        return serve(fd, gro);
    });
}
