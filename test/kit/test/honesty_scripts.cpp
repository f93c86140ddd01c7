// The words of the honesty scripts.
#include "honesty_scripts.hpp"

#include <linux/tcp.h>

#include <cerrno>
#include <cstring>

#include <ouro/testing/simulation.hpp>

#include "async_test.hpp"

namespace ouro::test {

// ---- what came of it, in words

std::string outcome_of(int res) {
    if (res >= 0) return std::to_string(res);
    const char* const name = ::strerrorname_np(-res);
    return name ? std::string("-") + name : std::to_string(res);
}

int outcome_of(const result<>& outcome) { return outcome ? 0 : -outcome.error().code().value(); }
int outcome_of(const result<int>& outcome) {
    return outcome ? *outcome : -outcome.error().code().value();
}

void transcript::say(std::string_view what, int res) { say(what, outcome_of(res)); }
void transcript::say(std::string_view what, const result<>& outcome) {
    say(what, outcome ? std::string("done") : outcome_of(outcome_of(outcome)));
}

std::string between(std::int64_t least, std::int64_t count, std::int64_t most) {
    if (least <= count && count <= most) {
        return "between " + std::to_string(least) + " and " + std::to_string(most);
    }
    return std::to_string(count);
}

std::string quoted(std::string_view text) {
    constexpr std::size_t most_shown = 64;
    if (text.size() <= most_shown) return '"' + std::string(text) + '"';
    return std::to_string(text.size()) + " bytes, " +
           (text == pattern(text.size()) ? "all as sent" : "not as sent");
}

std::string poll_events(int mask) {
    if (mask <= 0) return outcome_of(mask);
    constexpr std::pair<int, const char*> names[] = {
        {POLLIN, "in"},   {POLLPRI, "pri"},   {POLLOUT, "out"},    {POLLERR, "err"},
        {POLLHUP, "hup"}, {POLLNVAL, "nval"}, {POLLRDHUP, "rdhup"}};
    std::string text;
    for (const auto& [bit, name] : names) {
        if (mask & bit) text += (text.empty() ? "" : " + ") + std::string(name);
        mask &= ~bit;
    }
    return mask ? text + " + " + std::to_string(mask) : text;
}

// ---- operations

namespace {

std::vector<running*>& all_running() {
    static std::vector<running*> all;
    return all;
}

}  // namespace

running::running() : op(&noted) { all_running().push_back(this); }
running::~running() { std::erase(all_running(), this); }

void cancel_what_hangs(loop& home) {
    for (running* each : all_running()) io::cancel(home, *each);
}

void running::noted(op& done) noexcept {
    auto& self = static_cast<running&>(done);
    self.results.push_back(done.res);
    if ((done.flags & op_flags::lent) && done.res > 0) {
        self.received.append(reinterpret_cast<const char*>(done.data),
                             static_cast<std::size_t>(done.res));
        if (self.keeps) {
            self.leases.push_back(
                io::keep(loop::current(), {done.data, static_cast<std::size_t>(done.res)}));
        }
    }
    if (done.flags & op_flags::more) return;
    ++self.terminals;
    self.endings_.wake_all();
}

task<int> running::end() {
    while (!ended()) co_await endings_.wait();
    co_return results.back();
}

void running::forget() {
    results.clear();
    received.clear();
    terminals = 0;
}

void start_recv(loop& home, running& on, int fd, std::size_t size) {
    on.forget();
    on.room.assign(size, '\0');
    io::recv(home, on, fd, std::as_writable_bytes(std::span(on.room)));
}

task<std::string> received(running& by) {
    const int count = co_await by.end();
    if (count <= 0) co_return outcome_of(count);
    co_return quoted(std::string_view(by.room).substr(0, static_cast<std::size_t>(count)));
}

task<std::string> recv_once(loop& home, int fd, std::size_t size) {
    running receive;
    start_recv(home, receive, fd, size);
    co_return co_await received(receive);
}

task<std::string> recv_all(loop& home, int fd, int* ended_with) {
    std::string all;
    running receive;
    for (;;) {
        start_recv(home, receive, fd, 65536);
        const int count = co_await receive.end();
        if (count <= 0) {
            if (ended_with) *ended_with = count;
            co_return all;
        }
        all.append(receive.room, 0, static_cast<std::size_t>(count));
    }
}

task<int> send_once(loop& home, int fd, std::string_view text) {
    running send;
    io::send(home, send, fd, as_bytes(text), io::send_mode::all);
    co_return co_await send.end();
}

task<int> send_fast(loop& home, int fd, std::string_view text) {
    running send;
    io::send(home, send, fd, as_bytes(text), io::send_mode::fast);
    co_await quiet();
    co_return co_await send.end();
}

int send_at_once(loop& home, int fd, std::string_view text) {
    const auto sent = io::try_send(home, fd, as_bytes(text));
    return sent ? static_cast<int>(*sent) : -sent.error().code().value();
}

namespace {

/// Whether a socket that takes nothing now stays so until its peer reads. TCP takes more when what
/// it has sent is confirmed, which may be 40 ms late, and when it asks for the rest of a window
/// into which no segment fitted, 200 ms later.
bool is_full_for_good(int fd) {
    tcp_info now{};
    socklen_t size = sizeof now;
    if (testing::simulation::try_current() ||
        ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &now, &size) != 0) {
        return true;
    }
    return now.tcpi_unacked == 0 && now.tcpi_snd_wnd == 0;
}

}  // namespace

task<std::int64_t> fill(loop& home, int fd) {
    constexpr int idle_rounds_enough = 3, most_idle_rounds = 10'000;
    const std::string block = pattern(100'000);
    std::int64_t all = 0;
    for (int idle_rounds = 0; idle_rounds < most_idle_rounds; ++idle_rounds) {
        // Asked before the last try: what makes room comes between two of them.
        const bool is_last = idle_rounds >= idle_rounds_enough && is_full_for_good(fd);
        int taken = 0;
        while ((taken = send_at_once(home, fd, block)) > 0) {
            all += taken;
            idle_rounds = 0;
        }
        if (taken != -EAGAIN || (is_last && idle_rounds > 0)) break;
        co_await quiet();  // what is under way makes room
    }
    co_return all;
}

task<int> polled(loop& home, int fd, std::uint32_t events) {
    running poll;
    io::poll(home, poll, fd, events);
    co_return co_await poll.end();
}

task<std::string> events_now(loop& home, int fd, std::uint32_t events) {
    running poll;
    co_await quiet();
    io::poll(home, poll, fd, events);
    co_await quiet();
    if (!poll.ended()) io::cancel(home, poll);
    const int mask = co_await poll.end();
    co_return mask == -ECANCELED ? std::string("nothing") : poll_events(mask);
}

task<> quiet() { co_await sleep(std::chrono::milliseconds(4)); }

// ---- sockets

const char* name_of(stream_kind kind) { return kind == stream_kind::tcp ? "tcp" : "unix"; }

task<connected> connect_pair(loop& home, stream_kind kind) {
    int fds[2] = {-1, -1};
    if (kind == stream_kind::local) {
        co_await io::socket_pair(home, AF_UNIX, SOCK_STREAM, fds);
        co_return {fds[0], fds[1]};
    }
    const listening listener = listen_on_any(home, kind);
    connected made;
    made.ours = co_await connect_to(home, listener, kind);
    made.theirs = co_await accept_from(home, listener.fd);
    io::close(home, listener.fd);
    co_return made;
}

task<connected> datagram_pair(loop& home) {
    connected made;
    std::array<io::resolved, 2> names;
    int* const fds[] = {&made.ours, &made.theirs};
    for (std::size_t i = 0; i < 2; ++i) {
        *fds[i] = co_await io::socket(home, AF_INET, SOCK_DGRAM, 0);
        const io::resolved any = loopback_address();
        co_await io::bind(home, *fds[i], raw(any), any.length);
        names[i] = co_await io::local_name(home, *fds[i]);
    }
    running connect;
    for (std::size_t i = 0; i < 2; ++i) {
        connect.forget();
        io::connect(home, connect, *fds[i], raw(names[1 - i]), names[1 - i].length);
        BOOST_TEST(co_await connect.end() == 0);
    }
    co_return made;
}

void close_both(loop& home, const connected& pair) {
    if (pair.ours >= 0) io::close(home, pair.ours);
    if (pair.theirs >= 0) io::close(home, pair.theirs);
}

void reset_at_once(loop& home, int fd) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    BOOST_TEST(
        io::set_option(home, fd, SOL_SOCKET, SO_LINGER, std::as_bytes(std::span(&at_once, 1)))
            .has_value());
    io::close(home, fd);
}

io::resolved loopback_address(std::uint16_t port) {
    io::resolved name;
    auto& address = reinterpret_cast<sockaddr_in&>(name.storage);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    name.length = sizeof address;
    return name;
}

io::resolved abstract_name(loop& home) {
    io::resolved name;
    auto& address = reinterpret_cast<sockaddr_un&>(name.storage);
    address.sun_family = AF_UNIX;
    const std::string text = "ouro honesty " + std::to_string(io::random(home));
    std::memcpy(address.sun_path + 1, text.data(), text.size());  // a leading 0: abstract
    name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    return name;
}

const sockaddr* raw(const io::resolved& name) {
    return reinterpret_cast<const sockaddr*>(&name.storage);
}

std::uint16_t port_of(const io::resolved& name) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(name.storage).sin_port);
}

bool same(const io::resolved& left, const io::resolved& right) {
    return left.length == right.length &&
           std::memcmp(&left.storage, &right.storage, left.length) == 0;
}

int open_stream(loop& home, stream_kind kind) {
    return io::socket(home, kind == stream_kind::tcp ? AF_INET : AF_UNIX, SOCK_STREAM, 0).value();
}

listening listen_on_any(loop& home, stream_kind kind, int backlog_count) {
    listening made;
    made.fd = open_stream(home, kind);
    made.name = kind == stream_kind::tcp ? loopback_address() : abstract_name(home);
    BOOST_TEST(outcome_of(io::bind(home, made.fd, raw(made.name), made.name.length)) == 0);
    BOOST_TEST(outcome_of(io::listen(home, made.fd, backlog_count)) == 0);
    made.name = io::local_name(home, made.fd).value();
    return made;
}

int start_connect(loop& home, running& by, const listening& to, stream_kind kind) {
    const int fd = open_stream(home, kind);
    io::connect(home, by, fd, raw(to.name), to.name.length);
    return fd;
}

task<int> connect_to(loop& home, const listening& to, stream_kind kind) {
    running connect;
    const int fd = start_connect(home, connect, to, kind);
    BOOST_TEST(co_await connect.end() == 0);
    co_return fd;
}

task<int> accept_from(loop& home, int listener) {
    running accept;
    io::accept(home, accept, listener);
    const int fd = co_await accept.end();
    if (fd >= 0) io::adopt(home, fd);
    co_return fd;
}

}  // namespace ouro::test
