// Reads as tasks that give texts of their own, for tests of readers.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/streams/reader.hpp>

namespace ouro::test {

inline task<std::string> read_text(stream_reader& reader, std::ptrdiff_t most = -1) {
    co_return std::string(as_text(co_await reader.read(most)));
}
inline task<std::string> read_exactly(stream_reader& reader, std::size_t count) {
    co_return std::string(as_text(co_await reader.readexactly(count)));
}
inline task<std::string> read_line(stream_reader& reader) {
    co_return std::string(co_await reader.readline());
}
inline task<std::string> read_until(stream_reader& reader, std::string separator) {
    co_return std::string(co_await reader.readuntil(separator));
}
inline task<std::string> read_until_either(stream_reader& reader, std::string first,
                                           std::string second) {
    co_return std::string(co_await reader.readuntil({first, second}));
}

/// True when a read, or another call, failed with this.
template <class Result, class Code>
bool failed_with(const Result& outcome, Code code) {
    return !outcome && outcome.error() == code;
}

/// Feeds a text.
inline void feed(stream_reader& reader, std::string_view text) { reader.feed_data(as_bytes(text)); }

}  // namespace ouro::test
