// Honesty: messages with an address, in pieces, and with descriptors.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

#include "async_test.hpp"
#include "honesty_scripts.hpp"

namespace ouro::test {
namespace {

/// A message and the memory it names.
struct mail {
    std::string text, more;
    io::resolved name;
    alignas(cmsghdr) std::array<std::byte, 64> control{};
    std::array<iovec, 2> pieces{};
    msghdr header{};
    running request;

    /// To send: `text`, then `more`.
    void prepare_to_send(const io::resolved* to = nullptr) {
        header = {};
        if (to) {
            name = *to;
            header.msg_name = &name.storage;
            header.msg_namelen = name.length;
        }
        name_pieces();
    }
    /// To receive so many bytes in two pieces.
    void prepare_to_receive(std::size_t first, std::size_t second, std::size_t control_room = 0) {
        text.assign(first, '\0');
        more.assign(second, '\0');
        header = {};
        header.msg_name = &name.storage;
        header.msg_namelen = sizeof name.storage;
        if (control_room) {
            header.msg_control = control.data();
            header.msg_controllen = control_room;
        }
        name_pieces();
    }
    void enclose(std::span<const int> fds) {
        cmsghdr head{};
        head.cmsg_len = CMSG_LEN(fds.size_bytes());
        head.cmsg_level = SOL_SOCKET;
        head.cmsg_type = SCM_RIGHTS;
        std::memcpy(control.data(), &head, sizeof head);
        std::memcpy(control.data() + CMSG_LEN(0), fds.data(), fds.size_bytes());
        header.msg_control = control.data();
        header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    }
    std::vector<int> enclosed(loop& home) {
        std::vector<int> fds;
        for (cmsghdr* each = CMSG_FIRSTHDR(&header); each; each = CMSG_NXTHDR(&header, each)) {
            const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            fds.resize(count);
            std::memcpy(fds.data(), CMSG_DATA(each), count * sizeof(int));
        }
        for (const int fd : fds) io::adopt(home, fd);
        return fds;
    }
    std::string cut_off() const {
        std::string what;
        if (header.msg_flags & MSG_TRUNC) what += " data";
        if (header.msg_flags & MSG_CTRUNC) what += " control";
        return what.empty() ? "nothing" : what;
    }

  private:
    void name_pieces() {
        pieces = {iovec{text.data(), text.size()}, iovec{more.data(), more.size()}};
        header.msg_iov = pieces.data();
        header.msg_iovlen = pieces.size();
    }
};

task<int> send_mail(loop& home, int fd, std::string text, const io::resolved* to = nullptr) {
    mail out;
    out.text = std::move(text);
    out.prepare_to_send(to);
    io::send_message(home, out.request, fd, out.header);
    co_return co_await out.request.end();
}

/// A UDP socket on loopback.
int open_bound(loop& home, io::resolved& name) {
    const int fd = io::socket(home, AF_INET, SOCK_DGRAM, 0).value();
    const io::resolved any = loopback_address();
    BOOST_TEST(outcome_of(io::bind(home, fd, raw(any), any.length)) == 0);
    name = io::local_name(home, fd).value();
    return fd;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(honesty_of_messages)

HONESTY(a_message_goes_to_its_address_and_says_where_it_came_from) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_bound(home, there);
    mail in;
    in.prepare_to_receive(3, 64);
    io::recv_message(home, in.request, theirs, in.header);
    notes.say("sent", co_await send_mail(home, ours, "in two pieces", &there));
    notes.say("received", co_await in.request.end());
    notes.say("first", in.text);
    notes.say("then", in.more.c_str());
    in.name.length = in.header.msg_namelen;
    notes.say("from the sender", same(in.name, here));
    notes.say("cut off", in.cut_off());
    notes.say("without an address", co_await send_mail(home, ours, "x"));
    const io::resolved nowhere = loopback_address(0);
    notes.say("to port 0", co_await send_mail(home, ours, "x", &nowhere));
    notes.say("too long", co_await send_mail(home, ours, std::string(65508, 'x'), &there));
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

HONESTY(a_socket_that_sends_gets_a_port) {
    io::resolved there;
    const int ours = co_await io::socket(home, AF_INET, SOCK_DGRAM, 0);
    const int theirs = open_bound(home, there);
    notes.say("before", port_of(co_await io::local_name(home, ours)) != 0);
    notes.say("sent", co_await send_mail(home, ours, "hello", &there));
    const io::resolved name = co_await io::local_name(home, ours);
    notes.say("after", port_of(name) != 0);
    mail in;
    in.prepare_to_receive(64, 0);
    io::recv_message(home, in.request, theirs, in.header);
    notes.say("received", co_await in.request.end());
    in.name.length = in.header.msg_namelen;
    notes.say("from loopback", same(in.name, loopback_address(port_of(name))));
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

// fault 44
HONESTY(what_does_not_fit_is_cut_off_and_said) {
    const connected pair = co_await datagram_pair(home);
    for (const int flags : {0, int{MSG_TRUNC}}) {
        send_at_once(home, pair.theirs, "0123456789");
        mail in;
        in.prepare_to_receive(3, 4);
        io::recv_message(home, in.request, pair.ours, in.header, flags);
        notes.say("received", co_await in.request.end());
        notes.say("bytes", in.text + in.more);
        notes.say("cut off", in.cut_off());
    }
    mail in;
    in.prepare_to_receive(8, 0);
    io::recv_message(home, in.request, pair.ours, in.header);
    co_await quiet();
    notes.say("nothing is left", !in.request.ended());
    send_at_once(home, pair.theirs, "");
    notes.say("an empty one", co_await in.request.end());
    notes.say("cut off", in.cut_off());
    close_both(home, pair);
}

HONESTY(a_message_is_cancelled) {
    const connected pair = co_await datagram_pair(home);
    mail in;
    in.prepare_to_receive(8, 0);
    io::recv_message(home, in.request, pair.ours, in.header);
    co_await quiet();
    io::cancel(home, in.request);
    notes.say("receive", co_await in.request.end());
    send_at_once(home, pair.theirs, "later");
    in.request.forget();
    in.prepare_to_receive(8, 0);
    io::recv_message(home, in.request, pair.ours, in.header);
    notes.say("the next", co_await in.request.end());
    close_both(home, pair);
}

// fault 44
HONESTY(a_refused_message_is_told_to_a_connected_socket_only) {
    io::resolved here, gone;
    const int ours = open_bound(home, here);
    io::close(home, open_bound(home, gone));
    notes.say("sent", co_await send_mail(home, ours, "x", &gone));
    co_await quiet();
    notes.say("poll", co_await events_now(home, ours, POLLIN | POLLOUT));
    running connect;
    io::connect(home, connect, ours, raw(gone), gone.length);
    notes.say("connect", co_await connect.end());
    mail in;
    in.prepare_to_receive(8, 0);
    io::recv_message(home, in.request, ours, in.header);
    notes.say("sent", co_await send_mail(home, ours, "x"));
    notes.say("receive", co_await in.request.end());
    io::close(home, ours);
}

HONESTY(unix_datagrams_have_names_or_none) {
    const io::resolved name = abstract_name(home), nobody = abstract_name(home);
    const int named = co_await io::socket(home, AF_UNIX, SOCK_DGRAM, 0);
    const int unnamed = co_await io::socket(home, AF_UNIX, SOCK_DGRAM, 0);
    notes.say("bind", io::bind(home, named, raw(name), name.length));
    notes.say("without an address", co_await send_mail(home, unnamed, "x"));
    notes.say("to nobody", co_await send_mail(home, unnamed, "x", &nobody));
    notes.say("sent", co_await send_mail(home, unnamed, "from nobody", &name));
    mail in;
    in.prepare_to_receive(64, 0);
    io::recv_message(home, in.request, named, in.header);
    notes.say("received", co_await in.request.end());
    notes.say("its name has bytes", static_cast<int>(in.header.msg_namelen));
    running connect;
    io::connect(home, connect, unnamed, raw(name), name.length);
    notes.say("connect", co_await connect.end());
    notes.say("sent", co_await send_mail(home, unnamed, "again"));
    notes.say("to itself", co_await send_mail(home, named, "to itself", &name));
    for (const std::string_view text : {"again", "to itself"}) {
        in.request.forget();
        in.prepare_to_receive(64, 0);
        io::recv_message(home, in.request, named, in.header);
        notes.say(text, co_await in.request.end());
    }
    in.name.length = in.header.msg_namelen;
    notes.say("its own name", same(in.name, name));
    io::close(home, named);
    notes.say("to one that is gone", co_await send_mail(home, unnamed, "x"));
    io::close(home, unnamed);
}

HONESTY(a_full_unix_datagram_socket_is_waited_for) {
    int fds[2];
    co_await io::socket_pair(home, AF_UNIX, SOCK_DGRAM, fds);
    int taken = 0;
    while (send_at_once(home, fds[0], "x") == 1) ++taken;
    mail out;
    out.text = "waits";
    out.prepare_to_send();
    io::send_message(home, out.request, fds[0], out.header);
    co_await quiet();
    notes.say("it waits", !out.request.ended());
    for (int i = 0; i < taken; ++i) co_await recv_once(home, fds[1]);
    notes.say("sent", co_await out.request.end());
    notes.say("received", co_await recv_once(home, fds[1]));
    for (const int fd : fds) io::close(home, fd);
}

HONESTY(descriptors_go_along_with_bytes_of_a_unix_stream) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    const connected given = co_await connect_pair(home, stream_kind::local);
    send_at_once(home, pair.ours, "before ");
    mail out;
    out.text = "with";
    out.prepare_to_send();
    out.enclose(std::array{given.ours, given.theirs});
    io::send_message(home, out.request, pair.ours, out.header);
    notes.say("sent", co_await out.request.end());
    send_at_once(home, pair.ours, " after");
    close_both(home, given);
    mail in;
    in.prepare_to_receive(64, 0, 64);
    io::recv_message(home, in.request, pair.theirs, in.header);
    notes.say("received", co_await in.request.end());
    notes.say("cut off", in.cut_off());
    const std::vector<int> came = in.enclosed(home);
    notes.say("descriptors", static_cast<int>(came.size()));
    notes.say("the rest", co_await recv_once(home, pair.theirs));
    notes.say("they work", send_at_once(home, came.at(0), "hello"));
    notes.say("both", co_await recv_once(home, came.at(1)));
    for (const int fd : came) io::close(home, fd);
    close_both(home, pair);
}

HONESTY(descriptors_without_room_are_closed) {
    const connected pair = co_await connect_pair(home, stream_kind::local);
    for (const std::size_t room : {std::size_t{0}, CMSG_LEN(sizeof(int))}) {
        const connected given = co_await connect_pair(home, stream_kind::local);
        mail out;
        out.text = "x";
        out.prepare_to_send();
        out.enclose(std::array{given.ours, given.ours});
        io::send_message(home, out.request, pair.ours, out.header);
        notes.say("sent", co_await out.request.end());
        io::close(home, given.ours);
        mail in;
        in.prepare_to_receive(8, 0, room);
        io::recv_message(home, in.request, pair.theirs, in.header);
        notes.say("received", co_await in.request.end());
        notes.say("cut off", in.cut_off());
        const std::vector<int> came = in.enclosed(home);
        notes.say("descriptors", static_cast<int>(came.size()));
        for (const int fd : came) io::close(home, fd);
        notes.say("its peer sees the end", co_await recv_once(home, given.theirs));
        io::close(home, given.theirs);
    }
    close_both(home, pair);
}

HONESTY(descriptors_go_with_a_unix_datagram_and_die_with_it) {
    int fds[2];
    co_await io::socket_pair(home, AF_UNIX, SOCK_DGRAM, fds);
    for (const bool is_read : {true, false}) {
        const connected given = co_await connect_pair(home, stream_kind::local);
        mail out;
        out.text = "one";
        out.prepare_to_send();
        out.enclose(std::array{given.ours});
        io::send_message(home, out.request, fds[0], out.header);
        notes.say("sent", co_await out.request.end());
        io::close(home, given.ours);
        if (is_read) {
            mail in;
            in.prepare_to_receive(8, 0, 64);
            io::recv_message(home, in.request, fds[1], in.header);
            notes.say("received", co_await in.request.end());
            const std::vector<int> came = in.enclosed(home);
            notes.say("descriptors", static_cast<int>(came.size()));
            for (const int fd : came) io::close(home, fd);
        } else {
            notes.say("without asking", co_await recv_once(home, fds[1]));
        }
        notes.say("its peer sees the end", co_await recv_once(home, given.theirs));
        io::close(home, given.theirs);
    }
    for (const int fd : fds) io::close(home, fd);
}

namespace {

/// A receive of datagrams that writes down what each of them was.
struct gathering : op {
    gathering() : op(&noted) {}
    std::string seen;
    std::vector<io::resolved> names;
    int ended_with = 1;

  private:
    static void noted(op& done) noexcept {
        auto& self = static_cast<gathering&>(done);
        if (done.res >= 0) {
            const io::datagram_view what = io::datagram_of(done);
            const std::string_view text(reinterpret_cast<const char*>(what.payload.data()),
                                        what.payload.size());
            self.seen += (self.seen.empty() ? "" : ", ") + quoted(text);
            if (what.whole_bytes != text.size()) self.seen += " of more";
            io::resolved& name = self.names.emplace_back();
            name.length = what.name_length;
            std::memcpy(&name.storage, what.name, what.name_length);
        }
        if (!(done.flags & op_flags::more)) self.ended_with = done.res;
    }
};

}  // namespace

// fault 44
HONESTY(datagrams_come_one_by_one_with_their_senders) {
    io::resolved here, there, third;
    const int ours = open_bound(home, here), theirs = open_bound(home, there);
    const int stranger = open_bound(home, third);
    gathering all;
    io::recv_datagrams(home, all, ours);
    for (const int from : {theirs, stranger, theirs}) {
        notes.say("sent", co_await send_mail(home, from, std::string(5, 'x'), &here));
        co_await quiet();
    }
    notes.say("sent", co_await send_mail(home, theirs, pattern(65'507), &here));
    co_await quiet();
    notes.say("seen", all.seen);
    notes.say("the second is the stranger's", same(all.names.at(1), third));
    notes.say("the others are not", same(all.names.at(0), there) && same(all.names.at(2), there));
    notes.say("goes on", all.in_flight);
    notes.say("an empty one", co_await send_mail(home, theirs, "", &here));
    co_await quiet();
    notes.say("seen", static_cast<int>(all.names.size()));
    notes.say("goes on after it", all.in_flight);
    if (!all.in_flight) io::recv_datagrams(home, all, ours);
    co_await quiet();
    io::cancel(home, all);
    while (all.in_flight) co_await quiet();
    notes.say("ended", all.ended_with);
    notes.say("lent", static_cast<int>(home.counters().lent_buffers));
    for (const int fd : {ours, theirs, stranger}) io::close(home, fd);
}

HONESTY(more_datagrams_than_buffers_wait_in_the_socket) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_bound(home, there);
    int sent = 0;
    for (; sent < 70; ++sent) {
        if (co_await send_mail(home, theirs, std::to_string(sent), &here) <= 0) break;
    }
    co_await quiet();
    gathering all;
    for (int rounds = 0; rounds < 20 && all.names.size() < 70; ++rounds) {
        if (!all.in_flight) io::recv_datagrams(home, all, ours);
        co_await quiet();
    }
    notes.say("sent", sent);
    notes.say("came", static_cast<int>(all.names.size()));
    io::cancel(home, all);
    while (all.in_flight) co_await quiet();
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

// fault 44
HONESTY(a_refusal_ends_a_receive_of_datagrams) {
    connected pair = co_await datagram_pair(home);
    io::close(home, std::exchange(pair.theirs, -1));
    gathering all;
    io::recv_datagrams(home, all, pair.ours);
    notes.say("sent", co_await send_once(home, pair.ours, "x"));
    while (all.in_flight) co_await quiet();
    notes.say("ended", all.ended_with);
    notes.say("seen", all.seen);
    close_both(home, pair);
}

HONESTY(messages_that_are_sent_at_once_go_in_order_up_to_one_that_fails) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_bound(home, there);
    std::array<mail, 4> out;
    std::array<mmsghdr, 4> headers{};
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i].text = i == 2 ? std::string(70'000, 'x') : std::to_string(i);
        out[i].prepare_to_send(&there);
        headers[i].msg_hdr = out[i].header;
    }
    const auto said = [](const result<std::size_t>& sent) {
        return sent ? static_cast<int>(*sent) : -sent.error().code().value();
    };
    notes.say("all", said(io::try_send_messages(home, ours, headers)));
    notes.say("from the failing one on",
              said(io::try_send_messages(home, ours, std::span(headers).subspan(2))));
    notes.say("the last", said(io::try_send_messages(home, ours, std::span(headers).last(1))));
    notes.say("bytes of the first", static_cast<int>(headers[0].msg_len));
    co_await quiet();
    gathering all;
    io::recv_datagrams(home, all, theirs);
    co_await quiet();
    notes.say("came", static_cast<int>(all.names.size()));
    io::cancel(home, all);
    while (all.in_flight) co_await quiet();
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

HONESTY(a_full_unix_datagram_socket_takes_no_more_at_once) {
    int fds[2];
    co_await io::socket_pair(home, AF_UNIX, SOCK_DGRAM, fds);
    mail out;
    out.text = "x";
    out.prepare_to_send();
    std::array<mmsghdr, 64> headers{};
    for (mmsghdr& each : headers) each.msg_hdr = out.header;
    auto sent = io::try_send_messages(home, fds[0], headers);
    notes.say("some", sent.has_value());
    for (int rounds = 0; sent && rounds < 1000; ++rounds) {
        sent = io::try_send_messages(home, fds[0], headers);
    }
    notes.say("in the end", sent ? 1 : -sent.error().code().value());
    for (const int fd : fds) io::close(home, fd);
}

namespace {

/// Sends `text` as one message that the kernel cuts into datagrams of `segment_bytes`.
task<int> send_cut(loop& home, int fd, std::string text, std::uint16_t segment_bytes,
                   const io::resolved& to) {
    mail out;
    out.text = std::move(text);
    out.prepare_to_send(&to);
    cmsghdr head{};
    head.cmsg_len = CMSG_LEN(sizeof segment_bytes);
    head.cmsg_level = IPPROTO_UDP;
    head.cmsg_type = UDP_SEGMENT;
    std::memcpy(out.control.data(), &head, sizeof head);
    std::memcpy(out.control.data() + CMSG_LEN(0), &segment_bytes, sizeof segment_bytes);
    out.header.msg_control = out.control.data();
    out.header.msg_controllen = CMSG_SPACE(sizeof segment_bytes);
    io::send_message(home, out.request, fd, out.header);
    co_return co_await out.request.end();
}

/// What one receive with room for control data says of the datagrams it got.
task<io::datagram_view> receive_view(loop& home, int fd, mail& in) {
    in.request.forget();
    in.prepare_to_receive(200, 0, 64);
    io::recv_message(home, in.request, fd, in.header, MSG_TRUNC);
    const int count = co_await in.request.end();
    co_return io::datagram_of(in.header, static_cast<std::size_t>(count));
}

std::string sizes_of(const io::datagram_view& what) {
    return std::to_string(what.whole_bytes) + " in segments of " +
           std::to_string(what.segment_bytes);
}

result<> change_group(loop& home, int fd, int what, const char* group) {
    ip_mreqn request{};
    BOOST_TEST(inet_pton(AF_INET, group, &request.imr_multiaddr) == 1);
    request.imr_ifindex = 1;  // the loopback device
    return io::set_option(home, fd, IPPROTO_IP, what, std::as_bytes(std::span(&request, 1)));
}

/// A datagram socket at a port of all addresses.
int open_anywhere(loop& home, io::resolved& name) {
    const int fd = io::socket(home, AF_INET, SOCK_DGRAM, 0).value();
    io::resolved any = loopback_address();
    reinterpret_cast<sockaddr_in&>(any.storage).sin_addr.s_addr = htonl(INADDR_ANY);
    BOOST_TEST(outcome_of(io::bind(home, fd, raw(any), any.length)) == 0);
    name = io::local_name(home, fd).value();
    return fd;
}

io::resolved at_host(const char* host, std::uint16_t port) {
    io::resolved name = loopback_address(port);
    auto& where = reinterpret_cast<sockaddr_in&>(name.storage);
    BOOST_TEST(inet_pton(AF_INET, host, &where.sin_addr) == 1);
    return name;
}

}  // namespace

HONESTY(a_message_is_cut_into_datagrams_and_joined_where_that_is_wanted) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_bound(home, there);
    mail in;
    notes.say("sent", co_await send_cut(home, ours, "0123456789", 4, there));
    for (int i = 0; i < 3; ++i) {
        notes.say("apart", sizes_of(co_await receive_view(home, theirs, in)));
    }
    notes.say("join", io::set_option(home, theirs, IPPROTO_UDP, UDP_GRO, 1));
    notes.say("sent", co_await send_cut(home, ours, "0123456789", 4, there));
    notes.say("joined", sizes_of(co_await receive_view(home, theirs, in)));
    notes.say("text", in.text.substr(0, 10));
    notes.say("one segment", co_await send_cut(home, ours, "0123", 4, there));
    notes.say("one", sizes_of(co_await receive_view(home, theirs, in)));
    notes.say("too much", co_await send_cut(home, ours, pattern(66'000), 1000, there));
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

// fault 45
HONESTY(what_a_full_socket_drops_is_counted) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_bound(home, there);
    notes.say("count", io::set_option(home, theirs, SOL_SOCKET, SO_RXQ_OVFL, 1));
    notes.say("little room", io::set_option(home, theirs, SOL_SOCKET, SO_RCVBUF, 1));
    for (int i = 0; i < 200; ++i) co_await send_mail(home, ours, std::string(100, 'x'), &there);
    co_await quiet();
    mail in;
    notes.say("none before the first", (co_await receive_view(home, theirs, in)).drop_count == 0);
    while ((co_await events_now(home, theirs, POLLIN)) == "in") {
        co_await receive_view(home, theirs, in);
    }
    notes.say("sent", co_await send_mail(home, ours, "again", &there));
    notes.say("some since", (co_await receive_view(home, theirs, in)).drop_count > 100);
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

HONESTY(broadcasts_must_be_allowed_and_reach_the_port) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_anywhere(home, there);
    const io::resolved all = at_host("127.255.255.255", port_of(there));
    notes.say("not allowed", co_await send_mail(home, ours, "x", &all));
    notes.say("allow", io::set_option(home, ours, SOL_SOCKET, SO_BROADCAST, 1));
    notes.say("allowed", co_await send_mail(home, ours, "to all", &all));
    notes.say("received", co_await recv_once(home, theirs));
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

HONESTY(groups_are_joined_and_left_once) {
    io::resolved here, there;
    const int ours = open_bound(home, here), theirs = open_anywhere(home, there);
    const io::resolved group = at_host("239.7.8.9", port_of(there));
    notes.say("out by loopback", io::set_option(home, ours, IPPROTO_IP, IP_MULTICAST_IF,
                                                static_cast<int>(htonl(INADDR_LOOPBACK))));
    notes.say("before", co_await send_mail(home, ours, "nobody hears", &group));
    co_await quiet();
    notes.say("join", change_group(home, theirs, IP_ADD_MEMBERSHIP, "239.7.8.9"));
    notes.say("join again", change_group(home, theirs, IP_ADD_MEMBERSHIP, "239.7.8.9"));
    notes.say("no group", change_group(home, theirs, IP_ADD_MEMBERSHIP, "127.0.0.1"));
    notes.say("sent", co_await send_mail(home, ours, "a member hears", &group));
    notes.say("received", co_await recv_once(home, theirs));
    notes.say("leave", change_group(home, theirs, IP_DROP_MEMBERSHIP, "239.7.8.9"));
    notes.say("leave again", change_group(home, theirs, IP_DROP_MEMBERSHIP, "239.7.8.9"));
    notes.say("after", co_await send_mail(home, ours, "nobody hears", &group));
    notes.say("then", co_await events_now(home, theirs, POLLIN));
    for (const int fd : {ours, theirs}) io::close(home, fd);
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
