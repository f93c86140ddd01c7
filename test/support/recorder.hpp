// A protocol of either kind that records what happens to it and does what a test tells it to, and
// the raw other end.
#pragma once

#include <boost/test/unit_test.hpp>

#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <ouro/net/socket.hpp>
#include <ouro/proto/create_connection.hpp>
#include <ouro/runtime/spawn.hpp>

#include "async_test.hpp"
#include "at_once.hpp"

namespace ouro::test {

/// The three kinds of protocol.
enum class kind { streaming, buffered, leasing };
/// "a streaming", "a buffered" or "a leasing".
inline const char* name_of(kind which) {
    return which == kind::streaming  ? "a streaming"
           : which == kind::buffered ? "a buffered"
                                     : "a leasing";
}
/// The two kinds of connection.
enum class medium { tcp, unix_stream };

/// One combination that a rule must hold for.
struct way {
    kind receiver = kind::streaming;
    medium over = medium::tcp;

    friend std::ostream& operator<<(std::ostream& out, const way& how) {
        return out << name_of(how.receiver) << " protocol over "
                   << (how.over == medium::tcp ? "TCP" : "a unix socket");
    }
};

inline constexpr way every_way[] = {
    {kind::streaming, medium::tcp},         {kind::buffered, medium::tcp},
    {kind::streaming, medium::unix_stream}, {kind::buffered, medium::unix_stream},
    {kind::leasing, medium::tcp},           {kind::leasing, medium::unix_stream}};
inline constexpr way each_kind[] = {
    {kind::streaming, medium::tcp}, {kind::buffered, medium::tcp}, {kind::leasing, medium::tcp}};
inline constexpr way each_medium[] = {{kind::streaming, medium::tcp},
                                      {kind::streaming, medium::unix_stream}};

/// What happened to one protocol, and what it does about it. Refuses any order of calls but
/// `made ((data | pause | resume)* eof?)? lost`, with pause and resume in turns.
class recorder {
  public:
    using hook = std::function<void()>;

    // What a test may look at.
    std::vector<std::string> events;  // made, data, eof, pause, resume, lost; runs of data are one
    std::string data;                 // everything received
    std::vector<std::size_t> chunks;  // how much came with each data callback
    std::vector<std::ptrdiff_t> hints;  // what get_buffer was called with
    std::shared_ptr<transport> link;
    std::vector<buffer_lease> leases;  // a leasing protocol's, when it keeps them
    error why;                         // the argument of connection_lost
    int made = 0, eofs = 0, pauses = 0, resumes = 0, losses = 0;
    std::shared_ptr<bool> destroyed;  // told when the protocol is gone

    // What a test may set.
    bool stay_open_after_eof = false;
    bool keeps_leases = false;
    std::vector<std::byte> memory = std::vector<std::byte>(4096);  // a buffered protocol's buffer
    hook on_made, on_data, on_eof, on_lost, on_pause, on_resume, on_get_buffer;
    std::function<mut_bytes(std::ptrdiff_t)> give_buffer;  // in place of `memory`, which it may own

    virtual ~recorder() {
        if (destroyed) *destroyed = true;
    }
    /// The protocol this is.
    virtual std::shared_ptr<base_protocol> as_protocol() = 0;

    /// The events as one line.
    std::string story() const {
        std::string text;
        for (const auto& each : events) text += (text.empty() ? "" : " ") + each;
        return text;
    }
    bool lost() const noexcept { return losses > 0; }
    /// Nothing is done any more, only recorded. What `give_buffer` owns stays: the kernel may still
    /// fill it.
    void forget_hooks() {
        on_made = on_data = on_eof = on_lost = on_pause = on_resume = on_get_buffer = nullptr;
    }

  protected:
    void note_made(std::shared_ptr<transport> on) {
        BOOST_TEST(events.empty(), "connection_made after " << story());
        ++made;
        link = std::move(on);
        happen("made", on_made);
    }
    void note_data(bytes received) {
        expect_open("data");
        BOOST_TEST(eofs == 0, "data after the end of stream");
        BOOST_TEST(!received.empty(), "an empty chunk");
        data += as_text(received);
        chunks.push_back(received.size());
        happen("data", on_data);
    }
    bool note_eof() {
        expect_open("eof");
        BOOST_TEST(++eofs == 1, "a second end of stream");
        happen("eof", on_eof);
        return stay_open_after_eof;
    }
    void note_lost(error reason) {
        expect_open("lost");
        ++losses;
        why = std::move(reason);
        happen("lost", on_lost);
    }
    void note_pause() {
        expect_open("pause");
        BOOST_TEST(++pauses == resumes + 1, "a pause while paused");
        happen("pause", on_pause);
    }
    void note_resume() {
        expect_open("resume");
        BOOST_TEST(++resumes == pauses, "a resume while not paused");
        happen("resume", on_resume);
    }
    mut_bytes lend(std::ptrdiff_t hint) {
        BOOST_TEST(losses == 0, "get_buffer on a lost connection");
        hints.push_back(hint);
        run(on_get_buffer);
        return give_buffer ? give_buffer(hint) : mut_bytes(memory);
    }

  private:
    void expect_open(const char* what) const {
        BOOST_TEST(made == 1, what << " without connection_made");
        BOOST_TEST(losses == 0, what << " after connection_lost");
    }
    void happen(const char* what, const hook& then) {
        if (events.empty() || events.back() != what || *what != 'd') events.emplace_back(what);
        run(then);
    }
    /// Takes a copy: what runs may replace the very hook it is.
    static void run(hook then) {
        if (then) then();
    }
};

/// A streaming protocol that records.
class streaming_recorder final : public protocol,
                                 public recorder,
                                 public std::enable_shared_from_this<streaming_recorder> {
  public:
    std::shared_ptr<base_protocol> as_protocol() override { return shared_from_this(); }
    void connection_made(std::shared_ptr<transport> on) override { note_made(std::move(on)); }
    void data_received(bytes received) override { note_data(received); }
    bool eof_received() override { return note_eof(); }
    void connection_lost(error reason) override { note_lost(std::move(reason)); }
    void pause_writing() override { note_pause(); }
    void resume_writing() override { note_resume(); }
};

/// A buffered protocol that records.
class buffered_recorder final : public buffered_protocol,
                                public recorder,
                                public std::enable_shared_from_this<buffered_recorder> {
  public:
    std::shared_ptr<base_protocol> as_protocol() override { return shared_from_this(); }
    void connection_made(std::shared_ptr<transport> on) override { note_made(std::move(on)); }
    mut_bytes get_buffer(std::ptrdiff_t hint) override { return lent_ = lend(hint); }
    void buffer_updated(std::size_t count) override {
        BOOST_REQUIRE_LE(count, lent_.size());
        note_data(std::exchange(lent_, {}).first(count));
    }
    bool eof_received() override { return note_eof(); }
    void connection_lost(error reason) override { note_lost(std::move(reason)); }
    void pause_writing() override { note_pause(); }
    void resume_writing() override { note_resume(); }

  private:
    mut_bytes lent_;
};

/// A leasing protocol that records.
class lease_recorder final : public lease_protocol,
                             public recorder,
                             public std::enable_shared_from_this<lease_recorder> {
  public:
    std::shared_ptr<base_protocol> as_protocol() override { return shared_from_this(); }
    void connection_made(std::shared_ptr<transport> on) override { note_made(std::move(on)); }
    void data_received(buffer_lease received) override {
        const bytes view = received.view();
        if (keeps_leases) leases.push_back(received.share());
        note_data(view);
    }
    bool eof_received() override { return note_eof(); }
    void connection_lost(error reason) override { note_lost(std::move(reason)); }
    void pause_writing() override { note_pause(); }
    void resume_writing() override { note_resume(); }
};

inline std::shared_ptr<recorder> make_recorder(kind of) {
    if (of == kind::leasing) return std::make_shared<lease_recorder>();
    if (of == kind::streaming) return std::make_shared<streaming_recorder>();
    return std::make_shared<buffered_recorder>();
}

/// A factory that hands out `seen`.
inline auto factory_of(std::shared_ptr<recorder> seen) {
    return [seen = std::move(seen)] { return seen->as_protocol(); };
}

/// A recorder on a transport, and the raw socket at the other end. What the transport does after
/// the end of the scope is recorded only.
struct linked {
    std::shared_ptr<recorder> seen;
    std::shared_ptr<transport> link;
    std::shared_ptr<socket> kept_peer;  // for tasks, which may live longer than this
    socket& peer;

    linked(std::shared_ptr<recorder> on, std::shared_ptr<transport> made, socket other)
        : seen(std::move(on)),
          link(std::move(made)),
          kept_peer(std::make_shared<socket>(std::move(other))),
          peer(*kept_peer) {}
    linked(linked&&) = default;
    linked& operator=(linked&&) = delete;
    ~linked() {
        if (!link) return;
        seen->forget_hooks();
        link->abort();
    }
};

inline task<std::pair<socket, socket>> socket_pair(medium over) {
    if (over == medium::tcp) co_return co_await tcp_pair();
    co_return co_await socket::pair(loop::current());
}

/// Puts `seen` on a new connection.
inline task<linked> connect_recorder(std::shared_ptr<recorder> seen, medium over) {
    auto [own, other] = co_await socket_pair(over);
    auto made = co_await create_connection(factory_of(seen), std::move(own));
    co_return linked(std::move(seen), std::move(made.transport), std::move(other));
}

inline task<linked> connect_recorder(way how) {
    co_return co_await connect_recorder(make_recorder(how.receiver), how.over);
}

/// A connection whose kernel buffers are small, so that little data makes back-pressure. Not too
/// small: TCP stalls when a window holds less than one segment, which has 64 KiB on loopback.
inline task<linked> connect_narrow(way how, std::shared_ptr<recorder> seen = nullptr) {
    constexpr int small_bytes = 64 * 1024;
    if (!seen) seen = make_recorder(how.receiver);
    auto [own, other] = co_await socket_pair(how.over);
    co_await own.set_option(SOL_SOCKET, SO_SNDBUF, small_bytes);
    co_await other.set_option(SOL_SOCKET, SO_RCVBUF, small_bytes);
    auto made = co_await create_connection(factory_of(seen), std::move(own));
    co_return linked(std::move(seen), std::move(made.transport), std::move(other));
}

/// More than both ends of a narrow connection hold.
inline constexpr std::size_t too_much_bytes = 2 * 1024 * 1024;

/// Reads exactly `count` bytes, or to the end of the stream if that is sooner.
inline task<std::string> read_text(socket& from, std::size_t count) {
    std::string text;
    std::vector<std::byte> room(64 * 1024);
    while (text.size() < count) {
        const auto most = std::min(room.size(), count - text.size());
        const std::size_t got = co_await from.recv_into(mut_bytes(room).first(most));
        if (got == 0) break;
        text += as_text(bytes(room).first(got));
    }
    co_return text;
}

/// Reads to the end of the stream.
inline task<std::string> read_to_end(socket& from) { return read_text(from, std::string::npos); }
/// The same as a task of its own.
inline task<std::string> read_to_end(std::shared_ptr<socket> from) {
    co_return co_await read_to_end(*from);
}

/// Sends all of `text`.
inline task<> send_text(socket& to, std::string text) { co_await to.send_all(as_bytes(text)); }
/// The same as a task of its own.
inline task<> send_text(std::shared_ptr<socket> to, std::string text) {
    co_await to->send_all(as_bytes(text));
}

}  // namespace ouro::test
