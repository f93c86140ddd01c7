// How fast does a UDP echo server answer, and what does a packet cost it? Prints one line of JSON.
//
// Each of the clients sends a window of packets, then takes the echoes back; with --gso a window
// leaves in messages that the kernel cuts up. Every echo is compared with what was sent. What is
// not back after a while is lost, and a run that lost more than one in a thousand is no result.

#include <CLI/CLI.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../echo/server_probe.hpp"

namespace {

struct load_options {
    std::uint16_t port = 0;
    unsigned clients = 4;
    std::size_t size = 64;
    unsigned window = 32;
    bool gso = false;
    double seconds = 1.0;
    double warmup = 0.1;
    std::uint64_t rounds = 0;  // not 0: exactly so many instead of `seconds`
    pid_t pid = 0;
};

constexpr int patience_ms = 10'000;
constexpr std::size_t most_gso_bytes = 60'000;

int checked(long outcome, const char* what) {
    if (outcome < 0) throw std::system_error(errno, std::generic_category(), what);
    return static_cast<int>(outcome);
}

class client {
  public:
    explicit client(const load_options& options) : options_(options) {
        fd_ = checked(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
        const int room = 4 << 20;
        checked(::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room), "SO_RCVBUF");
        (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        if (options.gso) {
            const int segment = static_cast<int>(options.size), on = 1;
            checked(::setsockopt(fd_, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment),
                    "UDP_SEGMENT");
            checked(::setsockopt(fd_, IPPROTO_UDP, UDP_GRO, &on, sizeof on), "UDP_GRO");
        }
        sockaddr_in server{};
        server.sin_family = AF_INET;
        server.sin_port = htons(options.port);
        server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        checked(::connect(fd_, reinterpret_cast<sockaddr*>(&server), sizeof server), "connect");
        outgoing_.resize(options.size * options.window);
        incoming_.resize(64 * 1024);
        seen_.resize(options.window);
    }
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    ~client() { ::close(fd_); }

    void send_window() {
        ++round_;
        std::fill(seen_.begin(), seen_.end(), false);
        for (unsigned i = 0; i < options_.window; ++i) fill(&outgoing_[i * options_.size], i);
        const std::size_t each =
            options_.gso ? most_gso_bytes / options_.size * options_.size : options_.size;
        for (std::size_t at = 0; at < outgoing_.size(); at += each) {
            const std::size_t part = std::min(each, outgoing_.size() - at);
            checked(::send(fd_, outgoing_.data() + at, part, 0), "send");
        }
    }
    /// Returns the packets that are lost.
    unsigned take_window() {
        unsigned missing = options_.window;
        while (missing > 0) {
            const ssize_t got = ::recv(fd_, incoming_.data(), incoming_.size(), MSG_DONTWAIT);
            if (got < 0) {
                pollfd waiting{fd_, POLLIN, 0};
                if (checked(::poll(&waiting, 1, patience_ms), "poll") == 0) return missing;
                continue;
            }
            for (std::size_t at = 0; at < static_cast<std::size_t>(got); at += options_.size) {
                missing -= check(&incoming_[at], static_cast<std::size_t>(got) - at);
            }
        }
        return 0;
    }

  private:
    struct head {
        std::uint32_t round;
        std::uint32_t number;
    };
    void fill(char* packet, unsigned number) const noexcept {
        const head mark{round_, number};
        std::memcpy(packet, &mark, sizeof mark);
        std::memset(packet + sizeof mark, static_cast<int>(number & 0x7f),
                    options_.size - sizeof mark);
    }
    /// 1 for an echo of this round that is as it was sent.
    unsigned check(const char* packet, std::size_t bytes) {
        head mark{};
        if (bytes < options_.size) throw std::runtime_error("a packet came back shorter");
        std::memcpy(&mark, packet, sizeof mark);
        if (mark.round != round_) return 0;  // of a round that was given up
        if (mark.number >= options_.window || seen_[mark.number]) {
            throw std::runtime_error("a packet came back twice, or was never sent");
        }
        const char* const sent = &outgoing_[mark.number * options_.size];
        if (std::memcmp(packet, sent, options_.size) != 0) {
            throw std::runtime_error("a packet came back changed");
        }
        seen_[mark.number] = true;
        return 1;
    }

    const load_options& options_;
    int fd_;
    std::uint32_t round_ = 0;
    std::vector<char> outgoing_, incoming_;
    std::vector<bool> seen_;
};

struct outcome {
    std::uint64_t packets = 0, lost = 0, wall_ns = 0, cpu_ns = 0;
};

template <typename GoesOn>
void run(std::vector<std::unique_ptr<client>>& clients, unsigned window, outcome& into,
         GoesOn goes_on) {
    while (goes_on()) {
        for (auto& each : clients) each->send_window();
        for (auto& each : clients) {
            into.lost += each->take_window();
            into.packets += window;
        }
    }
}

outcome measure(const load_options& options) {
    const bench::server_probe server(options.pid);
    std::vector<std::unique_ptr<client>> clients;
    for (unsigned i = 0; i < options.clients; ++i) {
        clients.push_back(std::make_unique<client>(options));
    }
    const auto until = [](double seconds) {
        const auto end =
            bench::clock_ns(CLOCK_MONOTONIC) + static_cast<std::uint64_t>(seconds * 1e9);
        return [end, first = true]() mutable {  // once, however late it is
            return std::exchange(first, false) || bench::clock_ns(CLOCK_MONOTONIC) < end;
        };
    };
    outcome warm, found;
    run(clients, options.window, warm, until(options.warmup));
    const std::uint64_t cpu = server.cpu_ns(), began = bench::clock_ns(CLOCK_MONOTONIC);
    if (options.rounds) {
        run(clients, options.window, found,
            [left = options.rounds]() mutable { return left-- > 0; });
    } else {
        run(clients, options.window, found, until(options.seconds));
    }
    found.cpu_ns = server.cpu_ns() - cpu;
    found.wall_ns = bench::clock_ns(CLOCK_MONOTONIC) - began;
    return found;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Load for UDP echo servers."};
    load_options options;
    app.add_option("--port", options.port)->required();
    app.add_option("--clients", options.clients);
    app.add_option("--size", options.size)->check(CLI::Range(8, 60'000));
    app.add_option("--window", options.window, "packets of one client that are under way");
    app.add_flag("--gso", options.gso, "send windows in messages that the kernel cuts up");
    app.add_option("--seconds", options.seconds);
    app.add_option("--warmup", options.warmup);
    app.add_option("--rounds", options.rounds, "windows of each client, instead of a time");
    app.add_option("--pid", options.pid, "the server, to know its CPU time");
    CLI11_PARSE(app, argc, argv);
    try {
        const outcome found = measure(options);
        const auto packets = static_cast<double>(found.packets);
        std::printf("{\"packets\": %llu, \"lost\": %llu, \"packets_per_s\": %.0f, "
                    "\"cpu_us_per_packet\": %.4f}\n",
                    static_cast<unsigned long long>(found.packets),
                    static_cast<unsigned long long>(found.lost),
                    packets / (static_cast<double>(found.wall_ns) / 1e9),
                    static_cast<double>(found.cpu_ns) / 1e3 / packets);
        return 0;
    } catch (const std::exception& failed) {
        std::fprintf(stderr, "%s\n", failed.what());
        return 1;
    }
}
