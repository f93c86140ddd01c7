// Honesty: messages with an address, in pieces, and with descriptors.
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

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

BOOST_AUTO_TEST_SUITE_END()
}  // namespace ouro::test
