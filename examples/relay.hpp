// Bytes from one connection to another, both ways, as fast as the slower end takes them.
// `29_relay.cpp` leaves them in the kernel, and does without streams for that.
#pragma once

#include <sys/socket.h>

#include <ouro/ouro.hpp>

/// Ends a connection with a reset: its peer would take what it got for everything if it met an end.
inline void reset(ouro::stream& which) {
    const linger none{.l_onoff = 1, .l_linger = 0};
    ouro::transport& link = which.writer.transport();
    const auto* on = link.get_extra_info<const ouro::socket_view*>("socket");
    ::setsockopt(on->fd(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
    link.abort();
}

/// Copies until `from` ends, then ends `to` as well: the other direction goes on.
inline ouro::task<> pass_on(ouro::stream_reader& from, ouro::stream_writer& to) {
    while (true) {
        const ouro::bytes data = co_await from.read_some();
        if (data.empty()) break;
        to.write(data);
        co_await to.drain();
    }
    if (to.can_write_eof()) to.write_eof();
}

/// Both directions, until both have ended. When one of the connections fails, the other one does.
inline ouro::task<> relay(ouro::stream& one, ouro::stream& other) {
    const auto ended = co_await ouro::as_result(
        ouro::gather(pass_on(one.reader, other.writer), pass_on(other.reader, one.writer)));
    if (ended) co_return;
    reset(one);
    reset(other);
}
