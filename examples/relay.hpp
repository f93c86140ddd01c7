// Bytes from one connection to another, both ways, as fast as the slower end takes them.
#pragma once

#include <ouro/ouro.hpp>

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

/// Both directions, until both have ended or one of the connections fails.
inline ouro::task<> relay(ouro::stream& one, ouro::stream& other) {
    co_await ouro::gather(pass_on(one.reader, other.writer), pass_on(other.reader, one.writer));
}
