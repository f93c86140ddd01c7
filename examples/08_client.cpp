// A client: sends a pattern to an echo service, reads it back at the same time and compares every
// byte.
#include <charconv>
#include <concepts>
#include <cstdio>
#include <cstring>

#include <ouro/ouro.hpp>

constexpr std::size_t chunk_bytes = 64 * 1024;

// A pattern whose period divides nothing of interest, so that a shifted or repeated piece shows.
void fill(std::vector<std::byte>& chunk, std::size_t offset) {
    for (std::size_t i = 0; i < chunk.size(); ++i) chunk[i] = std::byte((offset + i) % 251);
}

ouro::task<> send(ouro::stream_writer& writer, std::size_t total) {
    std::vector<std::byte> chunk(chunk_bytes);
    for (std::size_t sent = 0; sent < total; sent += chunk.size()) {
        fill(chunk, sent);
        writer.write(chunk);
        co_await writer.drain();
    }
    writer.write_eof();
}

ouro::task<int> check(std::string host, std::uint16_t port, std::size_t total) {
    auto [reader, writer] = co_await ouro::open_connection(host, port);
    auto sender = ouro::spawn(send(writer, total));
    std::vector<std::byte> expected(chunk_bytes);
    for (std::size_t seen = 0; seen < total; seen += chunk_bytes) {
        const ouro::bytes data = co_await reader.readexactly(chunk_bytes);
        fill(expected, seen);
        if (std::memcmp(data.data(), expected.data(), chunk_bytes) != 0) {
            std::fprintf(stderr, "the echo differs between bytes %zu and %zu\n", seen,
                         seen + chunk_bytes);
            co_return 1;
        }
    }
    co_await sender;
    if (!(co_await reader.read_some()).empty()) {
        std::fprintf(stderr, "the echo goes on after %zu bytes\n", total);
        co_return 1;
    }
    std::printf("echoed %zu bytes, all equal\n", total);
    co_return 0;
}

/// Reads all of `text` as a number that fits.
bool read(std::string_view text, std::unsigned_integral auto& number) {
    const auto [end, why] = std::from_chars(text.data(), text.data() + text.size(), number);
    return why == std::errc() && end == text.data() + text.size();
}

int main(int argc, char** argv) {
    std::uint16_t port = 0;
    std::uint32_t mebibytes = 0;
    if (argc != 4 || !read(argv[2], port) || !read(argv[3], mebibytes)) {
        std::fprintf(stderr, "usage: %s HOST PORT MEBIBYTES\n", argv[0]);
        return 2;
    }
    return ouro::run(check, std::string(argv[1]), port, std::size_t{mebibytes} << 20);
}
