// Does a zero-copy send (SEND_ZC) pay where there is no network card? Sends blocks of one size over
// TCP on loopback to a thread that receives and drops them, with SEND and with SEND_ZC in turn, one
// at a time, and prints the processor time of the whole process per megabyte.
//
// g++ -O2 -std=c++20 bench/micro/send_zc.cpp -luring -lpthread -o send_zc && ./send_zc
#include <arpa/inet.h>
#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <thread>
#include <vector>

namespace {

double processor_us() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// Sends `total` bytes in blocks, waiting for the notification of each: its memory is in use until
/// then. Returns processor time per megabyte, and how many were copied after all.
double measure(io_uring& ring, int fd, std::vector<char>& block, std::size_t total, bool zero_copy,
               std::size_t& copied) {
    const double began = processor_us();
    for (std::size_t sent = 0; sent < total;) {
        io_uring_sqe* sqe = io_uring_get_sqe(&ring);
        if (zero_copy) {
            io_uring_prep_send_zc(sqe, fd, block.data(), block.size(), MSG_NOSIGNAL | MSG_WAITALL,
                                  8 /* IORING_SEND_ZC_REPORT_USAGE */);
        } else {
            io_uring_prep_send(sqe, fd, block.data(), block.size(), MSG_NOSIGNAL | MSG_WAITALL);
        }
        bool more = true;
        io_uring_submit_and_wait(&ring, 1);
        while (more) {
            io_uring_cqe* cqe = nullptr;
            if (io_uring_wait_cqe(&ring, &cqe) < 0) std::abort();
            if (cqe->flags & IORING_CQE_F_NOTIF) {
                copied += (static_cast<unsigned>(cqe->res) & (1U << 31)) != 0;
            } else if (cqe->res < 0) {
                std::fprintf(stderr, "send: %d\n", cqe->res);
                std::exit(1);
            } else {
                sent += static_cast<std::size_t>(cqe->res);
            }
            more = cqe->flags & IORING_CQE_F_MORE;
            io_uring_cqe_seen(&ring, cqe);
        }
    }
    return (processor_us() - began) / (static_cast<double>(total) / 1e6);
}

}  // namespace

int main() {
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof where;
    if (bind(listener, reinterpret_cast<sockaddr*>(&where), length) < 0 ||
        listen(listener, 1) < 0 ||
        getsockname(listener, reinterpret_cast<sockaddr*>(&where), &length) < 0) {
        return 1;
    }
    std::thread sink([listener] {
        const int fd = accept(listener, nullptr, nullptr);
        std::vector<char> room(1 << 20);
        while (recv(fd, room.data(), room.size(), 0) > 0) continue;
        close(fd);
    });
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, reinterpret_cast<sockaddr*>(&where), length) < 0) return 1;
    io_uring ring{};
    if (io_uring_queue_init(64, &ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) < 0)
        return 1;
    std::printf("%10s%12s%12s%8s%10s\n", "block", "SEND us/MB", "ZC us/MB", "x", "copied");
    for (const std::size_t bytes : {4096, 16384, 65536, 262144, 1048576}) {
        std::vector<char> block(bytes);
        std::vector<double> plain, zero;
        std::size_t copied = 0, blocks = 0;
        for (int round = 0; round < 9; ++round) {
            std::size_t none = 0;
            const std::size_t total = std::max<std::size_t>(bytes * 200, 64 << 20);
            plain.push_back(measure(ring, fd, block, total, false, none));
            zero.push_back(measure(ring, fd, block, total, true, copied));
            blocks += total / bytes;
        }
        std::nth_element(plain.begin(), plain.begin() + 4, plain.end());
        std::nth_element(zero.begin(), zero.begin() + 4, zero.end());
        std::printf("%10zu%12.1f%12.1f%8.2f%9zu%%\n", bytes, plain[4], zero[4], zero[4] / plain[4],
                    100 * copied / blocks);
    }
    close(fd);
    sink.join();
}
