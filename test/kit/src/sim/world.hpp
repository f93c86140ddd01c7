// The simulated world: its clock, its events, its links and its sockets.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <ouro/runtime/io.hpp>

#include "chance.hpp"
#include "endpoint.hpp"
#include "processes.hpp"

namespace ouro::testing::sim {

/// Who is told that something became possible on an endpoint.
class listener_to_changes {
  public:
    virtual void changed(endpoint& at) = 0;

  protected:
    ~listener_to_changes() = default;
};

class world {
  public:
    explicit world(const simulation_options& options);
    virtual ~world();

    // ---- time and events
    clock::time_point now() const noexcept { return now_; }
    /// Since the beginning.
    std::chrono::microseconds elapsed() const noexcept;
    clock::time_point next_event() const noexcept {
        return events_.empty() ? clock::time_point::max() : events_.front().when;
    }
    void advance_to(clock::time_point when) noexcept {
        if (when > now_) now_ = when;
    }
    void run_due_events();
    void at(clock::time_point when, ouro::function<void()> what);
    void after(clock::duration delay, ouro::function<void()> what) {
        at(now_ + delay, std::move(what));
    }

    // ---- descriptors. Numbers the real kernel does not know; negative results are errno.
    int open(int family, int type, int protocol);
    int open_pair(int family, int type, int (&fds)[2]);
    /// Makes a descriptor for `what`.
    int publish(endpoint_ptr what);
    /// The socket behind `fd`, or null.
    endpoint_ptr find(int fd) const noexcept;
    int close(int fd);
    std::size_t open_descriptors() const noexcept { return descriptors_.size() - free_.size(); }
    void hold(endpoint& what) noexcept { ++what.users; }
    void let_go(const endpoint_ptr& what);

    // ---- what a process can do with a socket at once
    int bind(endpoint& what, const sockaddr* where, socklen_t length);
    int listen(endpoint& what, int backlog);
    int stop_listening(const endpoint_ptr& what, int how);
    void drop_backlog(const endpoint_ptr& what);
    int shutdown(const endpoint_ptr& what, int how);
    int get_option(endpoint& what, int level, int name, int& value);
    int set_option(endpoint& what, int level, int name, std::span<const std::byte> value);
    /// Starts to connect. 0: connected at once; -EINPROGRESS: `changed` tells.
    int connect(const endpoint_ptr& what, const sockaddr* peer, socklen_t length);
    /// Bytes received, 0 at the end, -EAGAIN when there is nothing yet.
    std::int64_t receive(const endpoint_ptr& what, std::span<std::byte> into);
    /// Bytes taken, -EAGAIN when there is no room.
    std::int64_t send(const endpoint_ptr& what, std::span<const std::byte> from, bool whole);
    /// As `send`: the pieces, to the address and with the descriptors in `message`.
    std::int64_t send_message(const endpoint_ptr& what, const msghdr& message);
    /// As sendmmsg(2) without waiting.
    int send_messages(const endpoint_ptr& what, std::span<mmsghdr> messages);
    /// As `receive`; with MSG_TRUNC, the whole length of a datagram.
    std::int64_t receive_message(const endpoint_ptr& what, msghdr& into, int flags);
    /// A descriptor, or -EAGAIN.
    int accept(const endpoint_ptr& what);

    // ---- files: those of unix sockets, also after these were closed, and what tests put there
    int identify_file(const std::string& path, io::file_identity& into) const;
    int remove_file(const std::string& path);
    int set_file_mode(const std::string& path, std::uint32_t mode);
    /// Puts a file at `path`; -EEXIST.
    int make_file(const std::string& path, std::uint32_t mode);
    /// Who is at the other end: this process, or nobody.
    int credentials(const endpoint& at, io::credentials& into) const;
    // ---- pipes
    int open_pipe(int (&fds)[2]);
    std::int64_t read_pipe(const endpoint_ptr& what, std::span<std::byte> into);
    std::int64_t write_pipe(const endpoint_ptr& what, std::span<const std::byte> from);
    void close_pipe(const endpoint_ptr& what);

    // ---- signals
    /// As io::watch_signals; a descriptor or a negative errno.
    int watch_signals(int fd, std::uint64_t mask);
    /// A signal that came, or -EAGAIN.
    int take_signal(int fd);
    bool signals_watched() const noexcept { return watched_signals_ != 0; }
    void raise(int signum);

    // ---- processes
    /// What has no name and can only be waited for.
    endpoint_ptr make_unnamed() { return make(AF_UNSPEC, SOCK_DGRAM); }
    /// Tells those who wait for it that something became possible.
    void tell(const endpoint_ptr& at) { changed(at); }
    process_table processes{*this};

    // ---- names
    void set_name(std::string name, std::vector<std::string> addresses) {
        names_[std::move(name)] = std::move(addresses);
    }
    /// getaddrinfo's code, and the answers.
    int look_up(io::resolve_op& request) const;

    // ---- what happens to links
    void set_delay(const std::string& host, const std::string& other,
                   std::chrono::microseconds least, std::chrono::microseconds most);
    void cut(const std::string& host, const std::string& other);
    void mend(const std::string& host, const std::string& other);
    void heal();
    void crash(const std::string& host);

    // ---- the trace
    void note(std::uint64_t what) noexcept;
    std::uint64_t trace_hash() const noexcept { return trace_; }

    simulation_options settings;
    chance luck;
    listener_to_changes* engine = nullptr;
    // What a run found out.
    std::uint64_t ops = 0;
    std::uint64_t bad_closes = 0;  // of descriptors that were not open
    bool stuck = false;
    bool spinning = false;
    std::vector<std::string> violations;  // what the body says is wrong
    ouro::function<bool(const failure_report&)> expected_reports{};

  private:
    struct event {
        clock::time_point when;
        std::uint64_t order;
        ouro::function<void()> what;
        bool operator<(const event& other) const noexcept {
            return when != other.when ? when > other.when : order > other.order;
        }
    };
    using link = std::pair<std::string, std::string>;
    static link link_of(const address& one, const address& other);
    bool is_cut(const address& one, const address& other) const;
    clock::duration travel(const address& from, const address& to);
    void part_for(const address& one, const address& other, std::chrono::microseconds how_long);
    void carry_on();

    endpoint_ptr make(int family, int type);
    void changed(const endpoint_ptr& at) {
        if (engine) engine->changed(*at);
        processes.changed(*at);
    }
    bool bind_conflict(const endpoint& what, const address& where, bool to_listen = false) const;
    int choose_port(endpoint& what);
    void choose_local(endpoint& what, const address& peer);
    endpoint_ptr find_listener(const address& where);
    int bind_to_path(endpoint& what, const address& where);
    void forget_abstract_name(const endpoint& what);
    endpoint_ptr find_receiver(const address& where, const address& from);
    void join(const endpoint_ptr& one, const endpoint_ptr& other);

    // connections
    int connect_unix(const endpoint_ptr& what, const address& to);
    int connect_unix_datagrams(const endpoint_ptr& what, const address& to);
    void send_syn(const endpoint_ptr& from, address to, int attempt);
    void syn_arrives(const endpoint_ptr& from, const address& to, int attempt);
    void fail_connect(const endpoint_ptr& what, int failure);
    void put(const endpoint_ptr& from, segment what);
    void pump(const endpoint_ptr& from);
    void pump_at(const endpoint_ptr& from, clock::time_point when);
    void arrive(const endpoint_ptr& from, const endpoint_ptr& to, segment what);
    void become_acceptable(const endpoint_ptr& child);
    void reset(const endpoint_ptr& what, int failure);
    void reset_both(const endpoint_ptr& from);
    void say_end(const endpoint_ptr& from);
    void finish(const endpoint_ptr& what);
    void report_read(const endpoint_ptr& reader, std::size_t count);
    void send_report(const endpoint_ptr& reader);

    // signals
    void act_by_default(int signum);

    // messages
    std::int64_t receive_stream(const endpoint_ptr& what, std::span<std::byte> into,
                                std::vector<endpoint_ptr>& rights);
    bool collect_rights(const msghdr& message, std::vector<endpoint_ptr>& rights);
    void hand_out_rights(std::vector<endpoint_ptr> rights, msghdr& into);
    void drop_rights(std::vector<endpoint_ptr> rights);
    void drop_rights_of(const endpoint_ptr& what);

    // datagrams
    /// `together`: how long those take that travel together, once the first of them has drawn it.
    std::int64_t send_datagram(const endpoint_ptr& what, datagram message, const address* to,
                               std::optional<clock::duration>* together = nullptr);
    std::int64_t send_unix_datagram(const endpoint_ptr& what, datagram message, const address* to);
    int choose_source(endpoint& what, const address& to, address& source);
    endpoint_ptr find_path(const address& where) const;
    datagram take_datagram(const endpoint_ptr& what);
    std::int64_t send_segments(const endpoint_ptr& what, const msghdr& message, const address* to,
                               std::size_t segment);
    std::size_t join_segments(const endpoint_ptr& what, datagram& first, std::size_t room);
    void datagram_arrives(const endpoint_ptr& from, datagram what, const address& to);
    int change_membership(endpoint& what, int name, std::span<const std::byte> value);
    std::vector<endpoint_ptr> find_receivers(const address& where, const address& from);
    void put_datagram(const endpoint_ptr& receiver, datagram what);

    clock::time_point now_;
    std::vector<event> events_;  // a heap
    std::uint64_t event_count_ = 0;
    std::vector<endpoint_ptr> descriptors_;  // by number
    std::set<int> free_;
    std::vector<std::weak_ptr<endpoint>> sockets_;
    std::uint64_t socket_count_ = 0;
    std::set<link> cut_;                        // on purpose
    std::map<link, clock::time_point> parted_;  // by a fault, and until when
    struct delay_range {
        std::chrono::microseconds least, most;
    };
    std::map<link, delay_range> delays_;  // of links that have one of their own
    std::map<link, clock::time_point> clogged_;
    std::vector<endpoint_ptr> unheard_;  // they have read, and a cut link hides it
    std::map<std::string, std::vector<std::string>> names_;
    std::map<std::string, io::file_identity> files_;  // by path, and abstract names
    std::uint64_t file_count_ = 0;
    std::uint16_t next_port_ = 32768;
    endpoint_ptr signals_;               // what tells of them, while any is watched
    std::uint64_t watched_signals_ = 0;  // bit n - 1 for signal n
    std::uint64_t trace_ = 0xcbf29ce484222325;
};

/// The first number of a simulated descriptor: far above those of the kernel.
inline constexpr int first_descriptor = 1 << 20;

}  // namespace ouro::testing::sim
