// The ways a file can go out on a socket, without ouro: what decision 0016 rests on.
//
//   sendfile_ways [MiB] [rounds]
//
// For each way: how fast a file that is in memory goes over loopback TCP to a reader that throws
// it away, what processor time that costs the sending process (helper threads of the kernel
// included), and how often the sending thread sleeps inside of a call that is not there to wait,
// both for a file in memory and for one that has to come from the disk.
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t step_bytes = 256 * 1024;
constexpr std::size_t small_step_bytes = 64 * 1024;
constexpr std::size_t pipe_bytes = 256 * 1024;

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}
long checked(long outcome, const char* what) {
    if (outcome < 0) die(what);
    return outcome;
}

/// How often the sending thread slept inside of its calls: each time, a loop would be held up.
struct hold {
    long sleeps = 0;
    static long slept() {
        rusage used{};
        getrusage(RUSAGE_THREAD, &used);
        return used.ru_nvcsw;
    }
    template <class Call>
    auto operator()(Call&& call) {
        const long before = slept();
        const auto outcome = call();
        const int failure = errno;
        sleeps += slept() - before;
        errno = failure;
        return outcome;
    }
};

struct job {
    int file;
    int out;
    std::size_t size;
    io_uring* ring;
    hold held{};
};

void wait_writable(int fd) {
    pollfd what{fd, POLLOUT, 0};
    checked(poll(&what, 1, -1), "poll");
}
int complete(io_uring* ring) {
    io_uring_cqe* done = nullptr;
    checked(io_uring_submit_and_wait(ring, 1), "submit");
    checked(io_uring_wait_cqe(ring, &done), "wait");
    const int res = done->res;
    io_uring_cqe_seen(ring, done);
    return res;
}

/// sendfile(2) on the thread itself, on a socket that was made non-blocking for it.
void by_sendfile(job& of) {
    fcntl(of.out, F_SETFL, O_NONBLOCK);
    off_t at = 0;
    while (static_cast<std::size_t>(at) < of.size) {
        const long sent =
            of.held([&] { return sendfile(of.out, of.file, &at, of.size - std::size_t(at)); });
        if (sent < 0 && errno == EAGAIN) {
            wait_writable(of.out);
        } else {
            checked(sent, "sendfile");
        }
    }
}

/// read and send through the ring.
template <std::size_t Step>
void by_ring_copy(job& of) {
    std::vector<char> memory(Step);
    for (std::size_t at = 0; at < of.size;) {
        io_uring_sqe* entry = io_uring_get_sqe(of.ring);
        io_uring_prep_read(entry, of.file, memory.data(), unsigned(memory.size()), at);
        checked(of.held([&] { return io_uring_submit(of.ring); }), "submit");
        const int got = int(checked(complete(of.ring), "read"));
        entry = io_uring_get_sqe(of.ring);
        io_uring_prep_send(entry, of.out, memory.data(), std::size_t(got), MSG_WAITALL);
        checked(of.held([&] { return io_uring_submit(of.ring); }), "submit");
        at += std::size_t(checked(complete(of.ring), "send"));
    }
}

/// splice through a pipe by the ring, which gives both halves to a worker of the kernel.
void by_ring_splice(job& of) {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe");
    const auto room = std::size_t(checked(fcntl(ends[1], F_SETPIPE_SZ, pipe_bytes), "pipe size"));
    for (std::size_t at = 0; at < of.size;) {
        io_uring_sqe* entry = io_uring_get_sqe(of.ring);
        io_uring_prep_splice(entry, of.file, std::int64_t(at), ends[1], -1, unsigned(room), 0);
        checked(of.held([&] { return io_uring_submit(of.ring); }), "submit");
        std::size_t inside = std::size_t(checked(complete(of.ring), "splice in"));
        while (inside) {
            entry = io_uring_get_sqe(of.ring);
            io_uring_prep_splice(entry, ends[0], -1, of.out, -1, unsigned(inside), 0);
            checked(of.held([&] { return io_uring_submit(of.ring); }), "submit");
            const auto sent = std::size_t(checked(complete(of.ring), "splice out"));
            inside -= sent;
            at += sent;
        }
    }
    close(ends[0]);
    close(ends[1]);
}

/// splice(2) on the thread itself; the socket's half does not wait.
void by_splice(job& of) {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe");
    fcntl(of.out, F_SETFL, O_NONBLOCK);
    const auto room = std::size_t(checked(fcntl(ends[1], F_SETPIPE_SZ, pipe_bytes), "pipe size"));
    for (std::size_t at = 0; at < of.size;) {
        loff_t from = loff_t(at);
        std::size_t inside = std::size_t(checked(
            of.held([&] { return splice(of.file, &from, ends[1], nullptr, room, 0); }), "splice"));
        while (inside) {
            const long sent = of.held([&] {
                return splice(ends[0], nullptr, of.out, nullptr, inside, SPLICE_F_NONBLOCK);
            });
            if (sent < 0 && errno == EAGAIN) {
                wait_writable(of.out);
                continue;
            }
            inside -= std::size_t(checked(sent, "splice"));
            at += std::size_t(sent);
        }
    }
    close(ends[0]);
    close(ends[1]);
}

/// True when all of that part of the file is in memory. cachestat(2), 6.5
bool in_memory(int file, std::size_t at, std::size_t count) {
    struct {
        std::uint64_t offset, length;
    } range{at, count};
    struct {
        std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } found{};
    if (syscall(451, file, &range, &found, 0) != 0) return false;
    return found.cached >= (count + 4095) / 4096;
}

/// From the file into the pipe by the ring, from there into the socket on the thread itself; with
/// `Looks`, what is in memory goes into the pipe on the thread, too.
template <bool Looks>
void by_both_splices(job& of) {
    int ends[2];
    checked(pipe2(ends, O_CLOEXEC), "pipe");
    const auto room = std::size_t(checked(fcntl(ends[1], F_SETPIPE_SZ, pipe_bytes), "pipe size"));
    for (std::size_t at = 0; at < of.size;) {
        std::size_t inside = 0;
        if (Looks && in_memory(of.file, at, std::min(room, of.size - at))) {
            loff_t from = loff_t(at);
            inside = std::size_t(
                checked(of.held([&] { return splice(of.file, &from, ends[1], nullptr, room, 0); }),
                        "splice in"));
        } else {
            io_uring_sqe* entry = io_uring_get_sqe(of.ring);
            io_uring_prep_splice(entry, of.file, std::int64_t(at), ends[1], -1, unsigned(room), 0);
            checked(of.held([&] { return io_uring_submit(of.ring); }), "submit");
            inside = std::size_t(checked(complete(of.ring), "splice in"));
        }
        while (inside) {
            // The flag is there for the time of the call: the ring must not meet it.
            const long sent = of.held([&] {
                fcntl(of.out, F_SETFL, O_NONBLOCK);
                const long taken =
                    splice(ends[0], nullptr, of.out, nullptr, inside, SPLICE_F_NONBLOCK);
                const int failure = errno;
                fcntl(of.out, F_SETFL, 0);
                errno = failure;
                return taken;
            });
            if (sent < 0 && errno == EAGAIN) {
                wait_writable(of.out);
                continue;
            }
            inside -= std::size_t(checked(sent, "splice"));
            at += std::size_t(sent);
        }
    }
    close(ends[0]);
    close(ends[1]);
}

double processor_seconds() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& of) {
        return double(of.tv_sec) + 1e-6 * double(of.tv_usec);
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// A socket to a process of its own that reads everything.
int connect_to_reader(pid_t& reader) {
    const int listener = int(checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof where;
    checked(bind(listener, reinterpret_cast<sockaddr*>(&where), length), "bind");
    checked(listen(listener, 1), "listen");
    checked(getsockname(listener, reinterpret_cast<sockaddr*>(&where), &length), "name");
    reader = pid_t(checked(fork(), "fork"));
    if (reader == 0) {
        const int in = int(checked(accept(listener, nullptr, nullptr), "accept"));
        // MSG_TRUNC: TCP throws the bytes away, so that the sender's part is what is seen.
        std::vector<char> memory(step_bytes);
        while (checked(recv(in, memory.data(), memory.size(), MSG_TRUNC), "recv") > 0) {
        }
        _exit(0);
    }
    const int out = int(checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    checked(connect(out, reinterpret_cast<sockaddr*>(&where), length), "connect");
    close(listener);
    return out;
}

void measure(const char* name, void (*way)(job&), int file, std::size_t size, int rounds) {
    io_uring ring;
    checked(io_uring_queue_init(8, &ring, IORING_SETUP_SINGLE_ISSUER), "ring");
    double best_seconds = 1e9, least_processor = 1e9;
    long warm = 0, cold_sleeps = 0;
    for (int round = 0; round <= rounds; ++round) {
        const bool cold = round == rounds;
        if (cold) posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
        pid_t reader = 0;
        job work{file, connect_to_reader(reader), size, &ring};
        const double before = processor_seconds();
        const auto start = steady::now();
        way(work);
        const double took = std::chrono::duration<double>(steady::now() - start).count();
        const double used = processor_seconds() - before;
        close(work.out);
        waitpid(reader, nullptr, 0);
        if (cold) {
            cold_sleeps = work.held.sleeps;
            continue;
        }
        warm = std::max(warm, work.held.sleeps);
        best_seconds = std::min(best_seconds, took);
        least_processor = std::min(least_processor, used);
    }
    const double megabytes = double(size) / 1e6;
    std::printf("%-31s %6.2f GB/s %7.1f us/MB   sleeps %5ld, %5ld from disk\n", name,
                megabytes / 1e3 / best_seconds, 1e6 * least_processor / megabytes, warm,
                cold_sleeps);
    io_uring_queue_exit(&ring);
}

}  // namespace

int main(int count, char** words) {
    const std::size_t size = std::size_t(count > 1 ? std::atoi(words[1]) : 256) * 1024 * 1024;
    const int rounds = count > 2 ? std::atoi(words[2]) : 5;
    char name[] = "sendfile-ways-XXXXXX";  // where it is run: /tmp is memory on some machines
    const int file = int(checked(mkstemp(name), "file"));
    unlink(name);
    const std::vector<char> block(1024 * 1024, 'x');
    for (std::size_t at = 0; at < size; at += block.size()) {
        checked(write(file, block.data(), block.size()), "write");
    }
    checked(fsync(file), "fsync");
    measure("sendfile(2) on the thread", by_sendfile, file, size, rounds);
    measure("splice(2) on the thread", by_splice, file, size, rounds);
    measure("splice by the ring", by_ring_splice, file, size, rounds);
    measure("splice, half by the ring", by_both_splices<false>, file, size, rounds);
    measure("splice, ring if not in memory", by_both_splices<true>, file, size, rounds);
    measure("read, send by the ring, 64 K", by_ring_copy<small_step_bytes>, file, size, rounds);
    measure("read, send by the ring, 256 K", by_ring_copy<step_bytes>, file, size, rounds);
}
