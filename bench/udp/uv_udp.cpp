// What does a UDP echo cost with libuv? recvmmsg into one large buffer, uv_udp_try_send.

#include "udp_server.hpp"

#include <uv.h>

#include <vector>

namespace {

std::vector<char>& memory() {
    static std::vector<char> all(20 * 64 * 1024);  // as many messages as libuv takes in one call
    return all;
}

void require(int status, const char* what) {
    if (status < 0) throw std::system_error(-status, std::generic_category(), what);
}

void on_allocate(uv_handle_t*, std::size_t, uv_buf_t* buffer) {
    *buffer = uv_buf_init(memory().data(), static_cast<unsigned>(memory().size()));
}

void on_receive(uv_udp_t* socket, ssize_t received, const uv_buf_t* buffer, const sockaddr* from,
                unsigned) {
    if (received < 0 || from == nullptr) return;  // nothing more, or the end of a batch
    const uv_buf_t answer = uv_buf_init(buffer->base, static_cast<unsigned>(received));
    (void)uv_udp_try_send(socket, &answer, 1, from);  // what cannot be sent is lost
}

int serve(int fd) {
    uv_loop_t loop;
    uv_udp_t socket;
    uv_signal_t terminate;
    require(uv_loop_init(&loop), "uv_loop_init");
    require(uv_udp_init_ex(&loop, &socket, AF_UNSPEC | UV_UDP_RECVMMSG), "uv_udp_init_ex");
    require(uv_udp_open(&socket, fd), "uv_udp_open");
    require(uv_udp_recv_start(&socket, on_allocate, on_receive), "uv_udp_recv_start");
    require(uv_signal_init(&loop, &terminate), "uv_signal_init");
    const auto stop = [](uv_signal_t* signal, int) { uv_stop(signal->loop); };
    require(uv_signal_start(&terminate, stop, SIGTERM), "uv_signal_start");
    uv_run(&loop, UV_RUN_DEFAULT);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"UDP echo server on libuv."};
    return bench::udp_server_main(argc, argv, app, [&](int fd, auto announce) {
        announce(fd);
        return serve(fd);
    });
}
