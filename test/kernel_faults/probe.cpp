// A program that does a bounded amount of everything over loopback, verifies every byte and says
// what it did. kernel_faults.py runs it while the kernel is made to misbehave.
//
//   probe [--clients N] [--rounds N] [--loops N]
//
// Exit code 0 and a line of figures, 1 and a text that says why, or 3 when it hangs.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <ouro/ouro.hpp>

namespace {

using namespace std::chrono_literals;

struct plan {
    unsigned clients = 12;
    unsigned rounds = 12;
    unsigned loops = 1;  // alive at once, and run one after the other
};

struct figures {
    std::uint64_t echoes = 0, bytes = 0, posts = 0, timers = 0, cancelled = 0;
};

constexpr std::size_t small_bytes = 300;
constexpr std::size_t big_bytes = 400'000;  // more than the sockets of one connection hold
constexpr unsigned posts_expected = 64;
constexpr unsigned cancel_rounds = 8;
constexpr auto patience = 60s;

[[noreturn]] void give_up(const std::string& why, int code) {
    std::fprintf(stderr, "probe: %s\n", why.c_str());
    std::fflush(stderr);
    std::_Exit(code);
}

void require(bool holds, const char* what) {
    if (!holds) give_up(std::string("wrong: ") + what, 2);
}

/// A pattern of its own for each message, so that a lost, repeated or strayed piece shows.
std::vector<std::byte> message(unsigned client, unsigned round, std::size_t size) {
    std::vector<std::byte> text(size);
    for (std::size_t i = 0; i < size; ++i) {
        text[i] = std::byte((i * 7 + client * 31 + round * 101) % 251);
    }
    return text;
}

// ---- the servers

ouro::task<> echo(ouro::stream_reader reader, ouro::stream_writer writer) {
    while (true) {
        const ouro::bytes data = co_await reader.read_some();
        if (data.empty()) break;
        writer.write(data);
        co_await writer.drain();
    }
}

/// The same out of the shared receive ring.
class echo_protocol : public ouro::protocol {
  public:
    void connection_made(std::shared_ptr<ouro::transport> link) override {
        link_ = std::move(link);
    }
    void data_received(ouro::bytes data) override { link_->write(data); }
    void pause_writing() override { link_->pause_reading(); }
    void resume_writing() override { link_->resume_reading(); }

  private:
    std::shared_ptr<ouro::transport> link_;
};

// ---- the clients

/// Sends message after message and compares what comes back; then half-closes and reads the end.
ouro::task<> converse(ouro::stream link, unsigned id, unsigned rounds, figures& done) {
    auto& [reader, writer] = link;
    for (unsigned round = 0; round < rounds; ++round) {
        const auto sent = message(id, round, round == 1 ? big_bytes : small_bytes + round);
        writer.write(sent);
        for (std::size_t seen = 0; seen < sent.size();) {
            const std::size_t piece = std::min<std::size_t>(sent.size() - seen, 50'000);
            const ouro::bytes back = co_await reader.readexactly(piece);
            require(std::memcmp(back.data(), sent.data() + seen, piece) == 0, "an echo differs");
            seen += piece;
        }
        ++done.echoes;
        done.bytes += sent.size();
        const auto due = ouro::loop::current().time() + 1ms;
        co_await ouro::sleep_until(due);
        require(ouro::loop::current().time() >= due, "a timer fired early");
        ++done.timers;
    }
    writer.write_eof();
    require((co_await reader.read_some()).empty(), "the echo goes on after its end");
    writer.close();
    co_await writer.wait_closed();
}

ouro::task<> over_tcp(ouro::address where, unsigned id, unsigned rounds, figures& done) {
    co_await converse(co_await ouro::open_connection(where), id, rounds, done);
}

ouro::task<> over_unix(unsigned id, unsigned rounds, figures& done) {
    auto [near, far] = co_await ouro::socket::pair(ouro::loop::current());
    auto [reader, writer] = co_await ouro::open_connection(std::move(far));
    const auto other_end = ouro::spawn(echo(std::move(reader), std::move(writer)));
    auto link = co_await ouro::open_connection(std::move(near));
    auto talked = co_await ouro::as_result(converse(std::move(link), id, rounds, done));
    auto echoed = co_await ouro::as_result(other_end.join());
    co_await std::move(talked);
    co_await std::move(echoed);
}

/// Cancels a receive that waits in the kernel; what is sent afterwards must all arrive.
ouro::task<> cancel_reads(figures& done) {
    auto [near, far] = co_await ouro::socket::pair(ouro::loop::current());
    std::vector<std::byte> into(64);
    const auto receive = [&]() -> ouro::task<std::size_t> {
        co_return co_await near.recv_into(into);
    };
    for (unsigned round = 0; round < cancel_rounds; ++round) {
        auto reading = ouro::spawn(receive);
        co_await ouro::sleep(1ms);
        reading.cancel();
        const auto outcome = co_await ouro::as_result(reading.join());
        require(!outcome && outcome.error() == ouro::errc::cancelled,
                "a receive without data was not cancelled");
        ++done.cancelled;
        const auto sent = message(99, round, into.size());
        co_await far.send_all(sent);
        for (std::size_t seen = 0; seen < sent.size();) {
            const std::size_t count = co_await near.recv_into(into);
            require(count > 0 && std::memcmp(into.data(), sent.data() + seen, count) == 0,
                    "bytes after a cancelled receive differ");
            seen += count;
        }
        done.bytes += sent.size();
    }
}

/// Callbacks from another thread: all of them, in order.
ouro::task<> take_posts(figures& done) {
    const auto home = ouro::loop::current().get_handle();
    std::thread poster([home, &done] {
        for (unsigned i = 0; i < posts_expected; ++i) {
            home.post([i, &done] { require(done.posts++ == i, "posts came out of order"); });
            if (i % 8 == 0) std::this_thread::sleep_for(200us);
        }
    });
    // Joined here, without a co_await before it that an error could end.
    while (done.posts < posts_expected) {
        if (!co_await ouro::as_result(ouro::sleep(1ms))) break;
    }
    poster.join();
}

/// Starts everything; the first failure ends the rest, so that none waits for what cannot come.
ouro::task<> work(plan what, figures& done) {
    ouro::server_options quick;
    quick.accept_retry = 50ms;
    auto streams = co_await ouro::start_server(echo, "127.0.0.1", 0, {.server = quick});
    auto protocols = co_await ouro::create_server([] { return std::make_shared<echo_protocol>(); },
                                                  "127.0.0.1", 0, quick);
    require(!streams.addresses().empty() && !protocols.addresses().empty(), "no address");
    std::deque<ouro::task_handle<>> parts;
    ouro::error first;
    const auto add = [&](ouro::task<> body) {
        parts.push_back(ouro::spawn([](ouro::task<> part, std::deque<ouro::task_handle<>>& all,
                                       ouro::error& why) -> ouro::task<> {
            auto outcome = co_await ouro::as_result(std::move(part));
            if (outcome || why) co_return;
            why = std::move(outcome.error());
            for (auto& each : all) each.cancel(ouro::cancel_cause::sibling_failed);
        }(std::move(body), parts, first)));
    };
    for (unsigned id = 0; id < what.clients; ++id) {
        if (id % 3 == 0) add(over_tcp(streams.addresses().front(), id, what.rounds, done));
        if (id % 3 == 1) add(over_tcp(protocols.addresses().front(), id, what.rounds, done));
        if (id % 3 == 2) add(over_unix(id, what.rounds, done));
    }
    add(cancel_reads(done));
    add(take_posts(done));
    for (auto& each : parts) (void)co_await ouro::as_result(each.join());
    if (first) co_await ouro::result<>(std::move(first));
    for (auto* server : {&streams, &protocols}) {
        server->close();
        co_await server->wait_closed();
    }
    const std::uint64_t echoes = std::uint64_t{what.clients} * what.rounds;
    require(done.echoes == echoes && done.timers == echoes, "an echo or a timer is missing");
    require(done.posts == posts_expected, "a post is missing");
    require(done.cancelled == cancel_rounds, "a cancellation is missing");
}

/// Nothing may be left once a loop is closed, however it went.
void require_empty(const ouro::loop_counters& left) {
    require(left.ops == 0 && left.tasks == 0 && left.timers == 0 && left.calls == 0 &&
                left.descriptors == 0 && left.resources == 0 && left.lent_buffers == 0,
            "something is left after close");
}

int run(const plan& what) {
    std::deque<ouro::loop> loops;
    std::string engine;
    for (unsigned i = 0; i < what.loops; ++i) engine = loops.emplace_back().engine_report();
    figures sum;
    std::uint64_t enters = 0, retries = 0;
    for (ouro::loop& each : loops) {
        figures done;
        each.call_later(patience, [] { give_up("a hang: the work is not done in time", 3); });
        const auto outcome = each.run_until_complete(work(what, done));
        each.close();
        require_empty(each.counters());
        if (!outcome) {
            std::fprintf(stderr, "probe: %s\n", outcome.error().describe().c_str());
            return 1;
        }
        sum.echoes += done.echoes;
        sum.bytes += done.bytes;
        sum.posts += done.posts;
        sum.timers += done.timers;
        sum.cancelled += done.cancelled;
        enters += each.statistics().enters;
        retries += each.statistics().enter_retries;
    }
    const auto number = [](std::uint64_t of) { return static_cast<unsigned long long>(of); };
    std::printf("probe: echoes=%llu bytes=%llu posts=%llu timers=%llu enters=%llu retries=%llu "
                "cancelled=%llu\nengine: %s\n",
                number(sum.echoes), number(sum.bytes), number(sum.posts), number(sum.timers),
                number(enters), number(retries), number(sum.cancelled), engine.c_str());
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    plan what;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string option = argv[i];
        const auto value = static_cast<unsigned>(std::strtoul(argv[i + 1], nullptr, 10));
        if (option == "--clients") what.clients = value;
        if (option == "--rounds") what.rounds = value;
        if (option == "--loops") what.loops = value;
    }
    try {
        return run(what);
    } catch (const std::exception& failure) {  // of the constructor of a loop
        std::fprintf(stderr, "probe: %s\n", failure.what());
        return 1;
    }
}
