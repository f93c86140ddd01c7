// A transport that only notes what it is told, and the two halves of a stream on it.
#pragma once

#include <any>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ouro/proto/transport.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/writer.hpp>

#include "stream_core.hpp"

namespace ouro::test {

class fake_transport : public transport {
  public:
    std::string written;
    bool closing = false;
    bool eof_written = false;
    bool paused = false;
    int pauses = 0;
    int resumes = 0;

    void close() override { closing = true; }
    bool is_closing() const noexcept override { return closing; }
    void set_protocol(std::shared_ptr<base_protocol>) override {}
    std::shared_ptr<base_protocol> get_protocol() const override { return nullptr; }
    std::any extra_info(std::string_view) const override { return {}; }
    bool is_reading() const noexcept override { return !paused && !closing; }
    void pause_reading() override {
        paused = true;
        ++pauses;
    }
    void resume_reading() override {
        paused = false;
        ++resumes;
    }
    using write_transport::write;
    std::error_code write(bytes data) override {
        written += as_text(data);
        return {};
    }
    std::error_code write(std::vector<std::byte>&& data) override { return write(bytes(data)); }
    std::error_code writelines(std::span<const bytes> chunks) override {
        for (const bytes chunk : chunks) written += as_text(chunk);
        return {};
    }
    std::error_code write_eof() override {
        eof_written = true;
        return {};
    }
    bool can_write_eof() const noexcept override { return true; }
    void abort() override { closing = true; }
    std::error_code set_write_buffer_limits(std::ptrdiff_t, std::ptrdiff_t) override { return {}; }
    std::pair<std::size_t, std::size_t> get_write_buffer_limits() const noexcept override {
        return {};
    }
    std::size_t get_write_buffer_size() const noexcept override { return 0; }
};

/// A stream on a fake transport. `core` is what a real one would call.
struct fake_stream {
    explicit fake_stream(std::size_t limit_bytes = default_stream_limit_bytes)
        : core(std::make_shared<detail::stream_core>(limit_bytes)) {
        core->connection_made(link);
    }

    /// As if `text` had come from the peer.
    void arrive(std::string_view text) {
        while (!text.empty()) {
            const mut_bytes room = core->get_buffer(-1);
            const std::size_t part = std::min(room.size(), text.size());
            std::memcpy(room.data(), text.data(), part);
            core->buffer_updated(part);
            text.remove_prefix(part);
        }
    }

    std::shared_ptr<fake_transport> link = std::make_shared<fake_transport>();
    std::shared_ptr<detail::stream_core> core;
    stream_reader reader{core};
    stream_writer writer{core};
};

}  // namespace ouro::test
