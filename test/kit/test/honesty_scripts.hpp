// The words of the honesty scripts: what they do through the door, and how they write down what
// came of it. A transcript holds nothing that may differ from one honest kernel to the other: no
// port, no time, no count where the kernel is free.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/net/socket.hpp>
#include <ouro/runtime/io.hpp>
#include <ouro/runtime/lease.hpp>
#include <ouro/runtime/loop.hpp>
#include <ouro/runtime/op.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/runtime/task.hpp>
#include <ouro/runtime/waiters.hpp>

namespace ouro::test {

/// What a script saw, one fact a line.
class transcript {
  public:
    void say(std::string_view line) { text_.append(line).append("\n"); }
    /// "what: outcome".
    void say(std::string_view what, std::string_view outcome) {
        text_.append(what).append(": ").append(outcome).append("\n");
    }
    void say(std::string_view what, bool holds) { say(what, std::string(holds ? "yes" : "no")); }
    void say(std::string_view what, const char* outcome) { say(what, std::string_view(outcome)); }
    /// A count, or a failure by the name of its errno.
    void say(std::string_view what, int res);
    void say(std::string_view what, const result<>& outcome);
    const std::string& text() const noexcept { return text_; }

    /// What one loop leaves to the next.
    std::shared_ptr<void> kept;
    std::vector<int> kept_descriptors;

  private:
    std::string text_;
};

/// A script: what is done on one loop, and, if there is more, on a second one after the first was
/// closed.
struct honesty_script {
    using part = task<> (*)(loop& home, transcript& notes);
    part first = nullptr;
    part second = nullptr;
    unsigned descriptor_limit = 0;  ///< RLIMIT_NOFILE while it runs, 0 for what there is
};

/// Runs `script` on the kernel and in simulations, and requires the same transcript of all.
void require_honesty(std::string_view name, const honesty_script& script);
/// Runs every part of it on a loop of its own made with `options`. Yields the transcript.
std::string run_parts(const loop_options& options, const honesty_script& script);
/// The same in the simulation of `seed`.
std::string run_simulated(const honesty_script& script, std::uint64_t seed);

/// `-ECONNRESET`, or a count.
std::string outcome_of(int res);
/// 0, or the negative errno of an error.
int outcome_of(const result<>& outcome);
/// The same, or the value.
int outcome_of(const result<int>& outcome);
/// "yes" when `count` lies there, else the number itself.
std::string between(std::int64_t least, std::int64_t count, std::int64_t most);
/// `text` in quotes when it is short, else its size and whether it is `pattern` from its start.
std::string quoted(std::string_view text);
/// "in + out + hup": the poll(2) events of `mask`, or a failure.
std::string poll_events(int mask);

/// An operation that writes down its completions. It may be started again after it ended.
struct running : op {
    running();
    ~running();
    /// Waits for the terminal completion and yields its `res`.
    task<int> end();
    bool ended() const noexcept { return terminals != 0; }
    /// Forgets what came, for the next start.
    void forget();

    std::vector<int> results;  ///< of all completions, in order
    int terminals = 0;         ///< completions without `more`
    std::string received;      ///< what shared-ring receives lent
    std::string room;          ///< memory for a receive
    bool keeps = false;        ///< whether `leases` keeps what is lent
    std::vector<buffer_lease> leases;

  private:
    static void noted(op& done) noexcept;
    detail::waiter_list endings_;
};
/// Cancels what is in flight, so that a script that hangs comes to its end.
void cancel_what_hangs(loop& home);

/// Starts a receive of up to `size` bytes into the op's own memory.
void start_recv(loop& home, running& on, int fd, std::size_t size);
/// Waits for it: what it got in quotes, "0", or its failure.
task<std::string> received(running& by);
/// Both.
task<std::string> recv_once(loop& home, int fd, std::size_t size = 64);
/// Receives until the end of the stream or a failure, in pieces of 64 KiB.
task<std::string> recv_all(loop& home, int fd, int* ended_with = nullptr);
/// Sends all of `text`, whichever way the peer reads.
task<int> send_once(loop& home, int fd, std::string_view text);
/// A fast send, whose end is learnt when the loop wakes: a timer sees to that.
task<int> send_fast(loop& home, int fd, std::string_view text);
/// Sends into the socket there and then; the count or a negative errno.
int send_at_once(loop& home, int fd, std::string_view text);
/// Sends until the socket takes nothing more, also after a while. Yields how much it took.
task<std::int64_t> fill(loop& home, int fd);
/// Waits for poll(2) events, for as long as it takes.
task<int> polled(loop& home, int fd, std::uint32_t events);
/// The events that hold now, in words; "nothing" when none comes for a while.
task<std::string> events_now(loop& home, int fd, std::uint32_t events);
/// Long enough for whatever was going to happen: no segment is that long under way.
task<> quiet();

/// The kinds of stream most scripts run on, one after the other.
enum class stream_kind : std::uint8_t { tcp, local };
/// "tcp" or "unix".
const char* name_of(stream_kind kind);
/// Two connected descriptors.
struct connected {
    int ours = -1;
    int theirs = -1;
};
/// Connects two descriptors; for TCP through a listener that is closed again.
task<connected> connect_pair(loop& home, stream_kind kind);
/// Two UDP sockets on loopback, connected to each other.
task<connected> datagram_pair(loop& home);
/// Closes both; a descriptor of -1 was closed before.
void close_both(loop& home, const connected& pair);
/// Closes so that the other end of a TCP connection meets a reset.
void reset_at_once(loop& home, int fd);

/// 127.0.0.1 with `port`, which is found by the kernel when it is 0.
io::resolved loopback_address(std::uint16_t port = 0);
/// An address in the abstract namespace of AF_UNIX that nobody else has.
io::resolved abstract_name(loop& home);
const sockaddr* raw(const io::resolved& name);
/// The port of an IPv4 address, host order.
std::uint16_t port_of(const io::resolved& name);
/// Equal addresses.
bool same(const io::resolved& left, const io::resolved& right);

/// A listener of that kind, with its name.
struct listening {
    int fd = -1;
    io::resolved name;
};
/// Makes one.
listening listen_on_any(loop& home, stream_kind kind, int backlog_count = 16);
/// Opens a socket of that kind.
int open_stream(loop& home, stream_kind kind);
/// Opens a socket and starts to connect it.
int start_connect(loop& home, running& by, const listening& to, stream_kind kind);
/// Opens a connection that waits in the backlog.
task<int> connect_to(loop& home, const listening& to, stream_kind kind);
/// Accepts one connection, which is the loop's from then on.
task<int> accept_from(loop& home, int listener);

/// A script as a test: HONESTY(name_as_a_sentence) { ...; co_return; } with `home` and `notes`.
#define HONESTY(name)                                                                              \
    static ::ouro::task<> name(::ouro::loop& home, ::ouro::test::transcript& notes);               \
    BOOST_AUTO_TEST_CASE(name##_as_in_the_kernel) {                                                \
        ::ouro::test::require_honesty(#name, {.first = &name});                                    \
    }                                                                                              \
    static ::ouro::task<> name([[maybe_unused]] ::ouro::loop& home,                                \
                               [[maybe_unused]] ::ouro::test::transcript& notes)
/// The same for each kind of stream, with `kind`.
#define HONESTY_OF_STREAMS(name)                                                                   \
    static ::ouro::task<> name(::ouro::loop& home, ::ouro::test::transcript& notes,                \
                               ::ouro::test::stream_kind kind);                                    \
    BOOST_AUTO_TEST_CASE(name##_as_in_the_kernel) {                                                \
        using namespace ::ouro::test;                                                              \
        require_honesty(#name " of tcp", {.first = [](::ouro::loop& home, transcript& notes) {     \
                            return name(home, notes, stream_kind::tcp);                            \
                        }});                                                                       \
        require_honesty(#name " of unix", {.first = [](::ouro::loop& home, transcript& notes) {    \
                            return name(home, notes, stream_kind::local);                          \
                        }});                                                                       \
    }                                                                                              \
    static ::ouro::task<> name([[maybe_unused]] ::ouro::loop& home,                                \
                               [[maybe_unused]] ::ouro::test::transcript& notes,                   \
                               [[maybe_unused]] ::ouro::test::stream_kind kind)

}  // namespace ouro::test
