// How fast does an echo server answer, and what does a request cost it? Prints one line of JSON.

#include "histogram.hpp"
#include "load_client.hpp"
#include "server_probe.hpp"

#include <CLI/CLI.hpp>

#include <arpa/inet.h>
#include <poll.h>
#include <sys/epoll.h>

#include <array>
#include <cstdio>
#include <stdexcept>

namespace {

using bench::load_client;

struct load_options {
    std::string host = "127.0.0.1";
    std::uint16_t port = 0;
    std::string unix_path;
    unsigned connections = 1;
    std::size_t size = 64;
    unsigned pipeline = 1;
    double seconds = 1.0;
    std::uint64_t requests = 0;  // not 0: exactly so many instead of `seconds`
    double warmup = 0.2;
    pid_t pid = 0;
    std::string mode = "echo";
    bool lockstep = false;
    bool half_close = false;
};

constexpr double patience_seconds = 60;  // without any answer: the server hangs
constexpr int patience_ms = static_cast<int>(patience_seconds * 1000);

bench::endpoint resolve(const load_options& options) {
    bench::endpoint target;
    if (!options.unix_path.empty()) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (options.unix_path.size() >= sizeof address.sun_path)
            throw std::length_error("--unix: path too long");
        std::memcpy(address.sun_path, options.unix_path.c_str(), options.unix_path.size());
        std::memcpy(&target.address, &address, sizeof address);
        target.address_bytes = sizeof address;
        return target;
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options.port);
    if (inet_pton(AF_INET, options.host.c_str(), &address.sin_addr) != 1)
        throw std::invalid_argument("--host: not a numeric IPv4 address");
    std::memcpy(&target.address, &address, sizeof address);
    target.address_bytes = sizeof address;
    return target;
}

/// The server's cost in windows of 25 ms. On a machine shared with others most windows may be
/// disturbed; the lower quartile tells what the work itself costs.
class cost_windows {
  public:
    cost_windows() : costs_(std::size_t{1} << 16) {}

    void start(std::uint64_t now_ns, std::uint64_t cpu_ns) noexcept {
        count_ = 0;
        window_ends_ns_ = now_ns + window_ns;
        cpu_ns_ = cpu_ns;
        bytes_ = 0;
    }

    void add(std::uint64_t bytes) noexcept { bytes_ += bytes; }

    template <typename CpuNs>
    void update(std::uint64_t now_ns, CpuNs cpu_ns) {
        if (now_ns < window_ends_ns_) return;
        const std::uint64_t spent_ns = cpu_ns();
        if (bytes_ != 0 && count_ != costs_.size())
            costs_[count_++] =
                static_cast<double>(spent_ns - cpu_ns_) / static_cast<double>(bytes_);
        cpu_ns_ = spent_ns;
        bytes_ = 0;
        window_ends_ns_ = now_ns + window_ns;
    }

    /// CPU ns per echoed byte in the lower quartile of windows; 0 without a full window.
    double quiet() {
        if (count_ == 0) return 0;
        const auto end = costs_.begin() + static_cast<std::ptrdiff_t>(count_);
        const auto quartile = costs_.begin() + static_cast<std::ptrdiff_t>(count_ / 4);
        std::nth_element(costs_.begin(), quartile, end);
        return *quartile;
    }

  private:
    static constexpr std::uint64_t window_ns = 25'000'000;

    std::vector<double> costs_;  // ns per byte, one per window
    std::size_t count_ = 0;
    std::uint64_t window_ends_ns_ = 0;
    std::uint64_t cpu_ns_ = 0;  // when the window began
    std::uint64_t bytes_ = 0;   // since then
};

/// Runs the clients of one measurement; all memory is taken before the first request.
class load {
  public:
    explicit load(const load_options& options)
        : options_(options),
          target_(resolve(options)),
          probe_(options.pid),
          scratch_(bench::pattern::chunk_limit) {
        poller_ = epoll_create1(EPOLL_CLOEXEC);
        if (poller_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
        postponed_.reserve(options.connections);
        revisited_.reserve(options.connections);
        clients_.assign(options.connections, load_client(stream_, options.size, options.pipeline));
    }

    int run() {
        const bool churn = options_.mode == "churn";
        for (load_client& client : clients_) open(client);
        begin();
        for (load_client& client : clients_) issue(client, churn ? 1 : options_.pipeline);
        poll_until_done();
        if (!churn) finish_connections();
        print();
        return errors_ == 0 ? 0 : 1;
    }

  private:
    enum class phase { warmup, measured, draining };

    void open(load_client& client) {
        const bool churn = options_.mode == "churn";
        const int fd = bench::connect_to(target_, churn ? ++connection_number_ : 0);
        if (fd < 0) throw std::system_error(errno, std::generic_category(), "connect");
        client.start(fd);
        epoll_event wanted{};
        // Edge-triggered in both directions: no epoll_ctl while the load runs.
        wanted.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        wanted.data.ptr = &client;
        if (epoll_ctl(poller_, EPOLL_CTL_ADD, fd, &wanted) != 0)
            throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }

    void begin() {
        now_ns_ = last_answer_ns_ = started_ns_ = bench::clock_ns(CLOCK_MONOTONIC);
        if (options_.warmup > 0) {
            phase_ends_ns_ = started_ns_ + to_ns(options_.warmup);
        } else {
            begin_measuring();
        }
    }

    static std::uint64_t to_ns(double seconds) { return static_cast<std::uint64_t>(seconds * 1e9); }

    void begin_measuring() {
        phase_ = phase::measured;
        started_ns_ = now_ns_;
        phase_ends_ns_ = started_ns_ + to_ns(options_.seconds);
        latencies_.clear();
        answered_ = 0;
        issued_ = in_flight_;
        server_cpu_ns_ = probe_.cpu_ns();
        windows_.start(now_ns_, server_cpu_ns_);
    }

    void end_measuring() {
        server_cpu_ns_ = probe_.cpu_ns() - server_cpu_ns_;
        elapsed_ns_ = now_ns_ - started_ns_;
        measured_ = answered_;
        phase_ = phase::draining;
    }

    /// Moves on to the next phase when its time or its number of requests has come.
    void update_phase() {
        const bool counted = options_.requests != 0;
        if (phase_ == phase::warmup && now_ns_ >= phase_ends_ns_) {
            begin_measuring();
        } else if (phase_ == phase::measured &&
                   (counted ? answered_ >= options_.requests
                            : now_ns_ >= phase_ends_ns_ && answered_ > 0)) {
            end_measuring();
        } else if (phase_ == phase::measured) {
            windows_.update(now_ns_, [this] { return probe_.cpu_ns(); });
        }
    }

    /// How many of `wanted` requests may still start.
    unsigned allowed(unsigned wanted) const noexcept {
        if (phase_ == phase::draining) return 0;
        if (phase_ == phase::warmup || options_.requests == 0) return wanted;
        const std::uint64_t left = options_.requests - std::min(options_.requests, issued_);
        return static_cast<unsigned>(std::min<std::uint64_t>(wanted, left));
    }

    void issue(load_client& client, unsigned wanted) {
        const unsigned count = allowed(wanted);
        if (count == 0 || client.fd() < 0) return;
        issued_ += count;
        in_flight_ += count;
        if (!client.send_messages(count, now_ns_)) fail(client, "send failed");
        if (options_.half_close && options_.mode == "churn") ::shutdown(client.fd(), SHUT_WR);
    }

    void poll_until_done() {
        std::array<epoll_event, 256> events;
        while (in_flight_ != 0 && clients_alive_) {
            const int timeout_ms = postponed_.empty() ? 100 : 0;
            const int count = epoll_wait(poller_, events.data(), events.size(), timeout_ms);
            now_ns_ = bench::clock_ns(CLOCK_MONOTONIC);
            for (int i = 0; i < count; ++i) {
                const epoll_event& ready = events[static_cast<std::size_t>(i)];
                auto& client = *static_cast<load_client*>(ready.data.ptr);
                if (client.fd() >= 0) on_ready(client);
            }
            postponed_.swap(revisited_);
            for (load_client* client : revisited_)
                if (client->fd() >= 0) on_ready(*client);
            revisited_.clear();
            update_phase();
            if (options_.lockstep && in_flight_ == 0)
                for (load_client& client : clients_) issue(client, options_.pipeline);
            if (now_ns_ - last_answer_ns_ > to_ns(patience_seconds))
                throw std::runtime_error("no answer from the server");
        }
        if (phase_ != phase::draining) end_measuring();
    }

    void on_ready(load_client& client) {
        if (!client.send_unsent()) return fail(client, "send failed");
        for (;;) {
            unsigned completed = 0;
            std::size_t received = 0;
            const auto outcome =
                client.receive_once(scratch_.data(), received, [&](std::uint64_t sent_at_ns) {
                    if (completed == 0) now_ns_ = bench::clock_ns(CLOCK_MONOTONIC);
                    latencies_.record(now_ns_ - sent_at_ns);
                    ++completed;
                });
            windows_.add(received);
            if (completed != 0) on_answers(client, completed);
            switch (outcome) {
            case load_client::outcome::nothing_more:
                return;
            case load_client::outcome::maybe_more:
                if (completed == 0) break;
                postponed_.push_back(&client);  // one message in a turn: the others wait too
                return;
            case load_client::outcome::wrong_bytes:
                return fail(client, "wrong bytes");
            case load_client::outcome::end_of_stream:
                return fail(client, "early end of stream");
            case load_client::outcome::broken:
                return fail(client, "receive failed");
            }
            if (client.fd() < 0) return;
        }
    }

    void on_answers(load_client& client, unsigned completed) {
        last_answer_ns_ = now_ns_;
        answered_ += completed;
        in_flight_ -= completed;
        if (options_.mode == "churn") {
            reconnect(client);
        } else if (!options_.lockstep) {
            issue(client, completed);
        }
    }

    void reconnect(load_client& client) {
        if (options_.half_close && !ends_cleanly(client)) fail(client, "no end of stream");
        client.close();
        update_phase();
        if (allowed(1) == 0) return;
        now_ns_ = bench::clock_ns(CLOCK_MONOTONIC);  // so that the latency includes the connect
        const std::uint64_t began_ns = now_ns_;
        open(client);
        now_ns_ = began_ns;
        issue(client, 1);
    }

    /// Whether the server closes its side now that it has echoed everything.
    bool ends_cleanly(load_client& client) {
        pollfd ready{.fd = client.fd(), .events = POLLIN, .revents = 0};
        if (poll(&ready, 1, patience_ms) != 1) return false;
        const auto nothing = [](std::uint64_t) {};
        std::size_t received = 0;
        return client.receive_once(scratch_.data(), received, nothing) ==
               load_client::outcome::end_of_stream;
    }

    /// After the measurement every connection must end as a server should end it.
    void finish_connections() {
        for (load_client& client : clients_) {
            if (client.fd() < 0) continue;
            ::shutdown(client.fd(), SHUT_WR);
            if (!ends_cleanly(client)) fail(client, "no end of stream");
            client.close();
        }
    }

    void fail(load_client& client, const char* why) {
        if (errors_++ < 3) std::fprintf(stderr, "echo_load: %s\n", why);
        in_flight_ -= client.in_flight();
        client.close();
        clients_alive_ = std::any_of(clients_.begin(), clients_.end(),
                                     [](const load_client& each) { return each.fd() >= 0; });
    }

    void print() {
        const double seconds = static_cast<double>(elapsed_ns_) / 1e9;
        const auto requests = static_cast<double>(measured_);
        const double bytes = requests * static_cast<double>(options_.size);
        const double quiet_us_per_byte = windows_.quiet() / 1e3;
        const double cpu_us = static_cast<double>(server_cpu_ns_) / 1e3;
        const auto us = [this](double fraction) {
            return static_cast<double>(latencies_.quantile(fraction)) / 1e3;
        };
        std::printf("{\"requests\": %.0f, \"seconds\": %.6f, \"requests_per_s\": %.1f, "
                    "\"bytes\": %.0f, \"cpu_us_per_request\": %.4f, \"cpu_us_per_mb\": %.3f, "
                    "\"quiet_cpu_us_per_request\": %.4f, \"quiet_cpu_us_per_mb\": %.3f, "
                    "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"errors\": %lu}\n",
                    requests, seconds, seconds > 0 ? requests / seconds : 0, bytes,
                    requests > 0 ? cpu_us / requests : 0, bytes > 0 ? cpu_us / (bytes / 1e6) : 0,
                    quiet_us_per_byte * static_cast<double>(options_.size), quiet_us_per_byte * 1e6,
                    us(0.5), us(0.99), us(0.999), errors_);
    }

    const load_options& options_;
    bench::endpoint target_;
    bench::server_probe probe_;
    bench::pattern stream_;
    bench::histogram latencies_;
    cost_windows windows_;
    std::vector<char> scratch_;
    std::vector<load_client> clients_;
    std::vector<load_client*> postponed_;  // had their turn, have more to receive
    std::vector<load_client*> revisited_;  // the postponed ones of the last turn
    int poller_ = -1;
    unsigned connection_number_ = 0;
    bool clients_alive_ = true;
    phase phase_ = phase::warmup;
    std::uint64_t now_ns_ = 0;
    std::uint64_t started_ns_ = 0;
    std::uint64_t phase_ends_ns_ = 0;
    std::uint64_t elapsed_ns_ = 0;
    std::uint64_t last_answer_ns_ = 0;
    std::uint64_t server_cpu_ns_ = 0;
    std::uint64_t issued_ = 0;    // in this phase
    std::uint64_t answered_ = 0;  // in this phase
    std::uint64_t measured_ = 0;  // answered in the measured phase
    std::uint64_t in_flight_ = 0;
    unsigned long errors_ = 0;
};

/// Opens connections that echo once and then rest; the server's memory grows by what they cost.
class idle_measurement {
  public:
    explicit idle_measurement(const load_options& options)
        : options_(options),
          target_(resolve(options)),
          probe_(options.pid),
          scratch_(bench::pattern::chunk_limit) {
        if (!probe_.is_attached()) throw std::invalid_argument("--mode idle needs --pid");
    }

    int run() {
        // The first connections pay for pools, tables and the allocator's first pages: each sends
        // often enough to touch every receive buffer. They stay open; only the later ones count.
        clients_.reserve(warmup_connections + options_.connections);
        open(warmup_connections);
        for (unsigned round = 0; round != warmup_rounds; ++round)
            for (load_client& client : clients_) echo(client);
        const auto before = settled_memory();
        open(options_.connections);
        for (std::size_t i = warmup_connections; i != clients_.size(); ++i) echo(clients_[i]);
        const auto after = settled_memory();
        const auto each = [&](long first, long second) {
            return static_cast<double>(second - first) / options_.connections;
        };
        std::printf("{\"connections\": %u, \"rss_bytes_each\": %.1f, \"pss_bytes_each\": %.1f, "
                    "\"private_bytes_each\": %.1f, \"errors\": 0}\n",
                    options_.connections, each(before.rss_bytes, after.rss_bytes),
                    each(before.pss_bytes, after.pss_bytes),
                    each(before.private_bytes, after.private_bytes));
        return 0;
    }

  private:
    static constexpr unsigned warmup_connections = 128;
    static constexpr unsigned warmup_rounds = 640;  // of 64 B each: more than 4 MiB of buffers

    void open(unsigned count) {
        for (unsigned i = 0; i != count; ++i) {
            const int fd = bench::connect_to(target_, 0);
            if (fd < 0) throw std::system_error(errno, std::generic_category(), "connect");
            clients_.emplace_back(stream_, options_.size, 1);
            clients_.back().start(fd);
        }
    }

    void echo(load_client& client) {
        bool sound = client.send_messages(1, 0);
        while (sound && client.in_flight() != 0) {
            pollfd ready{.fd = client.fd(), .events = POLLIN, .revents = 0};
            sound = poll(&ready, 1, patience_ms) == 1 && client.send_unsent();
            if (!sound) break;
            std::size_t received = 0;
            const auto outcome =
                client.receive_once(scratch_.data(), received, [](std::uint64_t) {});
            sound = outcome == load_client::outcome::nothing_more ||
                    outcome == load_client::outcome::maybe_more;
        }
        if (!sound) throw std::runtime_error("a connection did not echo");
    }

    bench::server_probe::memory settled_memory() const {
        poll(nullptr, 0, 100);  // the server may still be freeing what the last echo needed
        return probe_.read_memory();
    }

    const load_options& options_;
    bench::endpoint target_;
    bench::server_probe probe_;
    bench::pattern stream_;
    std::vector<char> scratch_;
    std::vector<load_client> clients_;
};

/// Opens connections and half-closes them; each is over when the server has closed its side.
/// Nothing is sent, so what the server does is accept, notice the end, and close.
class accept_measurement {
  public:
    explicit accept_measurement(const load_options& options)
        : options_(options), target_(resolve(options)), probe_(options.pid) {}

    int run() {
        visit_for(options_.warmup);
        latencies_.clear();
        count_ = 0;
        const std::uint64_t cpu_before_ns = probe_.cpu_ns();
        windows_.start(bench::clock_ns(CLOCK_MONOTONIC), cpu_before_ns);
        const double seconds = visit_for(options_.seconds);
        const auto count = static_cast<double>(count_);
        const double cpu_us = static_cast<double>(probe_.cpu_ns() - cpu_before_ns) / 1e3;
        const auto us = [this](double fraction) {
            return static_cast<double>(latencies_.quantile(fraction)) / 1e3;
        };
        std::printf("{\"requests\": %.0f, \"seconds\": %.6f, \"requests_per_s\": %.1f, "
                    "\"cpu_us_per_request\": %.4f, \"quiet_cpu_us_per_request\": %.4f, "
                    "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"errors\": 0}\n",
                    count, seconds, count / seconds, cpu_us / count, windows_.quiet() / 1e3,
                    us(0.5), us(0.99), us(0.999));
        return 0;
    }

  private:
    struct visit {
        int fd;
        std::uint64_t began_ns;
    };

    /// Visits, as many at a time as there are connections, until the time is over.
    double visit_for(double seconds) {
        const std::uint64_t began_ns = bench::clock_ns(CLOCK_MONOTONIC);
        std::uint64_t now_ns = began_ns;
        do {
            for (unsigned i = 0; i != options_.connections; ++i) open();
            for (const visit& each : visits_) close(each);
            visits_.clear();
            now_ns = bench::clock_ns(CLOCK_MONOTONIC);
            windows_.update(now_ns, [this] { return probe_.cpu_ns(); });
        } while (static_cast<double>(now_ns - began_ns) < seconds * 1e9);
        return static_cast<double>(now_ns - began_ns) / 1e9;
    }

    void open() {
        const std::uint64_t began_ns = bench::clock_ns(CLOCK_MONOTONIC);
        const int fd = bench::connect_to(target_, ++number_);
        if (fd < 0) throw std::system_error(errno, std::generic_category(), "connect");
        ::shutdown(fd, SHUT_WR);
        visits_.push_back({fd, began_ns});
    }

    void close(const visit& done) {
        pollfd ready{.fd = done.fd, .events = POLLIN, .revents = 0};
        char byte = 0;
        const bool ended = poll(&ready, 1, patience_ms) == 1 && ::recv(done.fd, &byte, 1, 0) == 0;
        ::close(done.fd);
        if (!ended) throw std::runtime_error("a connection did not end");
        latencies_.record(bench::clock_ns(CLOCK_MONOTONIC) - done.began_ns);
        windows_.add(1);
        ++count_;
    }

    const load_options& options_;
    bench::endpoint target_;
    bench::server_probe probe_;
    bench::histogram latencies_;
    cost_windows windows_;  // here the unit is a connection, not a byte
    std::vector<visit> visits_;
    std::uint64_t count_ = 0;
    unsigned number_ = 0;
};

void add_options(CLI::App& app, load_options& options) {
    auto* address = app.add_option_group("address", "the server");
    address->add_option("--port", options.port, "TCP port");
    address->add_option("--unix", options.unix_path, "path of an AF_UNIX socket");
    address->require_option(1);
    app.add_option("--host", options.host, "numeric IPv4 address")->capture_default_str();
    app.add_option("--connections", options.connections)
        ->check(CLI::Range(1U, 1U << 20))
        ->capture_default_str();
    app.add_option("--size", options.size, "bytes of a message")
        ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30))
        ->capture_default_str();
    app.add_option("--pipeline", options.pipeline, "messages in flight on each connection")
        ->check(CLI::Range(1U, 1U << 16))
        ->capture_default_str();
    app.add_option("--seconds", options.seconds, "length of the measured window")
        ->capture_default_str();
    app.add_option("--requests", options.requests, "measure exactly this many requests instead");
    app.add_option("--warmup", options.warmup, "seconds before the window, or 0")
        ->capture_default_str();
    app.add_option("--pid", options.pid, "server process whose CPU time or memory is reported");
    app.add_option("--mode", options.mode,
                   "echo: messages on lasting connections, which must end cleanly afterwards. "
                   "churn: connect, echo one message, close, as often as possible. "
                   "accept: connect, half-close, wait for the end, close, as often as possible, "
                   "--connections at a time. "
                   "idle: what an idle connection costs the server in user memory: 128 warm-up "
                   "connections echo until pools and tables exist, then --connections more echo "
                   "once each and rest; the growth of Rss, Pss and Anonymous in the server's "
                   "smaps_rollup is divided by their number. Kernel memory is not included")
        ->check(CLI::IsMember({"echo", "churn", "accept", "idle"}))
        ->capture_default_str();
    app.add_flag("--lockstep", options.lockstep,
                 "start the next message of any connection only when all were answered, "
                 "which makes counted runs repeatable");
    app.add_flag("--half-close", options.half_close,
                 "churn: shut down sending right after the message; demand echo, then the end");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Load generator of the echo benchmark: one thread, epoll, every byte checked."};
    load_options options;
    add_options(app, options);
    CLI11_PARSE(app, argc, argv);
    try {
        if (options.mode == "accept") return accept_measurement(options).run();
        if (options.mode == "idle") return idle_measurement(options).run();
        return load(options).run();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "echo_load: %s\n", error.what());
        return 1;
    }
}
