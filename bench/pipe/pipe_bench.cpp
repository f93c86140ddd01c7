// What a pipe costs: one process reads from it, writes to it, or asks a child and waits for the
// answer; by hand, or with ouro. A forked child with plain blocking calls is
// at the other end. Prints one line: processor time, elapsed time, and the amount.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <ouro/ouro.hpp>

namespace {

constexpr std::size_t block_bytes = 64 * 1024;
constexpr std::size_t question_bytes = 64;

void demand(bool holds, const char* what) {
    if (!holds) throw std::runtime_error(what);
}

void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof set, &set);  // best effort
}

double processor_us() {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto us = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
    };
    return us(used.ru_utime) + us(used.ru_stime);
}

/// What is to be moved, and through what: bytes, or questions of 64 bytes.
struct work {
    int in = -1;
    int out = -1;
    std::size_t amount = 0;
};

// ---- the other end

void write_whole(int fd, const char* from, std::size_t size) {
    while (size) {
        const ssize_t taken = ::write(fd, from, size);
        demand(taken > 0, "write");
        from += taken;
        size -= static_cast<std::size_t>(taken);
    }
}

void child_writes(work is) {
    const std::vector<char> block(block_bytes, 'x');
    for (std::size_t left = is.amount; left;) {
        const std::size_t part = std::min(left, block.size());
        write_whole(is.out, block.data(), part);
        left -= part;
    }
}
void child_reads(work is) {
    std::vector<char> room(block_bytes);
    while (::read(is.in, room.data(), room.size()) > 0) {
    }
}
void child_echoes(work is) {
    char room[question_bytes];
    for (ssize_t got; (got = ::read(is.in, room, sizeof room)) > 0;) {
        write_whole(is.out, room, static_cast<std::size_t>(got));
    }
}

// ---- by hand: non-blocking, and poll(2) when there is nothing to do

void set_non_blocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }
void wait_for(int fd, short events) {
    pollfd one{fd, events, 0};
    ::poll(&one, 1, -1);
}
std::size_t read_by_hand(int fd, char* into, std::size_t most) {
    for (;;) {
        const ssize_t got = ::read(fd, into, most);
        if (got >= 0) return static_cast<std::size_t>(got);
        demand(errno == EAGAIN, "read");
        wait_for(fd, POLLIN);
    }
}
void write_by_hand(int fd, const char* from, std::size_t size) {
    while (size) {
        const ssize_t taken = ::write(fd, from, size);
        if (taken < 0) {
            demand(errno == EAGAIN, "write");
            wait_for(fd, POLLOUT);
            continue;
        }
        from += taken;
        size -= static_cast<std::size_t>(taken);
    }
}

std::size_t raw_read(work is) {
    set_non_blocking(is.in);
    std::vector<char> room(block_bytes);
    std::size_t all = 0;
    while (const std::size_t got = read_by_hand(is.in, room.data(), room.size())) all += got;
    return all;
}
std::size_t raw_write(work is) {
    set_non_blocking(is.out);
    const std::vector<char> block(block_bytes, 'x');
    for (std::size_t done = 0; done < is.amount; done += block.size()) {
        write_by_hand(is.out, block.data(), block.size());
    }
    return is.amount;
}
std::size_t raw_ask(work is) {
    set_non_blocking(is.in);
    char room[question_bytes]{};
    for (std::size_t i = 0; i < is.amount; ++i) {
        write_by_hand(is.out, room, sizeof room);
        for (std::size_t got = 0; got < sizeof room;) {
            got += read_by_hand(is.in, room, sizeof room - got);
        }
    }
    return is.amount;
}

// ---- ouro

struct counting : ouro::protocol {
    void data_received(ouro::bytes data) override { all += data.size(); }
    void connection_lost(ouro::error) override { ended.set(); }
    std::size_t all = 0;
    ouro::event ended;
};
struct counting_buffered : ouro::buffered_protocol {
    ouro::mut_bytes get_buffer(std::ptrdiff_t) override { return room; }
    void buffer_updated(std::size_t count) override { all += count; }
    void connection_lost(ouro::error) override { ended.set(); }
    std::vector<std::byte> room = std::vector<std::byte>(block_bytes);
    std::size_t all = 0;
    ouro::event ended;
};

template <class Protocol>
ouro::task<std::size_t> read_with(work is) {
    auto made =
        co_await ouro::connect_read_pipe([] { return std::make_shared<Protocol>(); }, is.in);
    co_await made.protocol->ended.wait();
    co_return made.protocol->all;
}
ouro::task<std::size_t> read_stream(work is) {
    auto in = co_await ouro::open_read_pipe(is.in);
    std::size_t all = 0;
    for (auto data = co_await in.read_some(); !data.empty(); data = co_await in.read_some()) {
        all += data.size();
    }
    co_return all;
}
ouro::task<std::size_t> write_stream(work is) {
    auto out = co_await ouro::open_write_pipe(is.out);
    const std::vector<std::byte> block(block_bytes, std::byte{'x'});
    for (std::size_t done = 0; done < is.amount; done += block.size()) {
        out.write(block);
        co_await out.drain();
    }
    out.close();
    co_await out.wait_closed();
    co_return is.amount;
}
ouro::task<std::size_t> ask_by_stream(work is) {
    auto in = co_await ouro::open_read_pipe(is.in);
    auto out = co_await ouro::open_write_pipe(is.out);
    const std::vector<std::byte> question(question_bytes);
    for (std::size_t i = 0; i < is.amount; ++i) {
        out.write(question);
        co_await in.readexactly(question_bytes);
    }
    co_return is.amount;
}
ouro::task<std::size_t> ask_by_end(work is) {
    ouro::loop& home = ouro::loop::current();
    auto in = ouro::pipe_end::adopt(home, is.in);
    auto out = ouro::pipe_end::adopt(home, is.out);
    std::vector<std::byte> room(question_bytes);
    for (std::size_t i = 0; i < is.amount; ++i) {
        co_await out.write(room);
        for (std::size_t got = 0; got < question_bytes;) {
            got += co_await in.read_into(std::span(room).subspan(got));
        }
    }
    co_return is.amount;
}

template <ouro::task<std::size_t> (*Body)(work)>
std::size_t on_loop(work is) {
    ouro::loop home;
    return home.run_until_complete(Body(is)).value();
}

struct way {
    std::size_t (*parent)(work);
    void (*child)(work);
};
const std::map<std::string, way> ways{
    {"read raw", {raw_read, child_writes}},
    {"read protocol", {on_loop<read_with<counting>>, child_writes}},
    {"read buffered", {on_loop<read_with<counting_buffered>>, child_writes}},
    {"read streams", {on_loop<read_stream>, child_writes}},
    {"write raw", {raw_write, child_reads}},
    {"write streams", {on_loop<write_stream>, child_reads}},
    {"ask raw", {raw_ask, child_echoes}},
    {"ask streams", {on_loop<ask_by_stream>, child_echoes}},
    {"ask pipe_end", {on_loop<ask_by_end>, child_echoes}},
};

int measure(const way& how, std::size_t amount) {
    int down[2], up[2];
    demand(::pipe2(down, O_CLOEXEC) == 0 && ::pipe2(up, O_CLOEXEC) == 0, "pipe2");
    const pid_t child = ::fork();
    demand(child >= 0, "fork");
    if (child == 0) {
        pin(0);
        ::close(down[1]);
        ::close(up[0]);
        how.child({down[0], up[1], amount});
        ::_exit(0);
    }
    pin(1);
    ::close(down[0]);
    ::close(up[1]);
    const double used = processor_us();
    const auto began = std::chrono::steady_clock::now();
    const std::size_t done = how.parent({up[0], down[1], amount});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::printf("{\"cpu_us\": %.0f, \"seconds\": %.6f, \"amount\": %zu}\n", processor_us() - used,
                took.count(), done);
    ::close(down[1]);  // those that ouro had are closed already; the number is not used again
    int status = 0;
    ::waitpid(child, &status, 0);
    return done == amount ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
    const std::string name = argc > 2 ? std::string(argv[1]) + " " + argv[2] : "";
    const auto found = ways.find(name);
    if (found == ways.end()) {
        for (const auto& [known, how] : ways) std::printf("%s\n", known.c_str());
        return argc > 1 ? 2 : 0;
    }
    return measure(found->second, argc > 3 ? std::stoull(argv[3]) : block_bytes * 1000);
} catch (const std::exception& failure) {
    std::fprintf(stderr, "pipe_bench: %s\n", failure.what());
    return 1;
}
