// What a reader, a writer and their transport share: an ordinary buffered protocol.
#pragma once

#include <memory>

#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/spawn.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/start_server.hpp>
#include <ouro/streams/writer.hpp>

#include "read_buffer.hpp"

namespace ouro::detail {

class stream_core final : public buffered_protocol,
                          public std::enable_shared_from_this<stream_core>,
                          private done_hook {
  public:
    /// With a `handler`, for the server side, that runs as a task once the connection stands.
    explicit stream_core(std::size_t limit_bytes, std::shared_ptr<stream_handler> handler = nullptr)
        : limit_(checked_limit(limit_bytes)), handler_(std::move(handler)) {}
    /// `limit_bytes`; throws when it is 0 (rule 594).
    static std::size_t checked_limit(std::size_t limit_bytes);

    ~stream_core() override;

    // From the transport.
    void connection_made(std::shared_ptr<transport> link) override;
    mut_bytes get_buffer(std::ptrdiff_t hint) override;
    void buffer_updated(std::size_t count) override;
    bool prefers_copies() const noexcept override { return !buffer_.is_large(); }
    bool eof_received() override;
    void connection_lost(error why) override;
    void pause_writing() override { write_paused_ = true; }
    void resume_writing() override;

    // For the reader.
    void feed(bytes data);
    void feed_eof() noexcept;
    void set_failure(error why) noexcept;
    bool at_eof() const noexcept { return eof_ && buffer_.empty(); }
    const error& failure() const noexcept { return failure_; }
    void reader_gone() noexcept;
    /// There is no writer: the connection ends with its reader.
    void close_with_reader() noexcept { closes_with_reader_ = true; }
    /// What a read would meet now: satisfied, to wait, or failed (with `why`).
    enum class verdict : unsigned char { ready, waits, fails };
    verdict look(read_wait_base& read, error& why) noexcept;
    bytes take(read_wait_base& read) noexcept;
    void wait(read_wait_base& read) noexcept;
    void stop_waiting(read_wait_base& read) noexcept;
    void fail_read(read_wait_base& read, error why) noexcept;
    void wake_reader() noexcept;
    bool reading() const noexcept { return waiting_ != nullptr; }
    bool has_some(std::size_t wanted) const noexcept {
        return wanted == 0 || !buffer_.empty() || eof_;
    }
    void release_view() noexcept { buffer_.release_view(); }

    // For the writer.
    transport* link() const noexcept { return link_.get(); }
    bool may_write() const noexcept;
    void drain(drain_wait& waiter) noexcept;
    void wait_closed(closed_wait& waiter) noexcept;
    void writer_gone() noexcept;

  private:
    struct match {
        std::size_t start;
        std::size_t end;
    };
    error cut_short(words doing, std::size_t wanted) const noexcept;
    verdict look_until(read_wait_base& read, error& why) noexcept;
    bool find(const read_request& request, std::size_t from, match& found) const noexcept;
    verdict overrun(const read_wait_base& read, std::size_t count, error& why) noexcept;
    std::size_t ready_count(read_wait_base& read) noexcept;
    void consumed() noexcept;
    writer_wait* next_waiting(writer_wait::until what) noexcept;
    void end_closing_drains() noexcept;
    void serve();
    void task_done() noexcept override;
    void handler_failed(loop& home, error why) noexcept;

    std::shared_ptr<transport> link_;
    read_buffer buffer_;
    std::size_t limit_;
    // Server side only: what serves the client, and its task, as long as that runs.
    std::shared_ptr<stream_handler> handler_;
    std::shared_ptr<stream_core> served_;  // itself, which the task may outlive otherwise
    task_core* client_ = nullptr;
    read_wait_base* waiting_ = nullptr;  // the one read that waits
    list<writer_wait> writer_waits_;
    error failure_;  // every read fails with it
    bool eof_ = false;
    bool lost_ = false;
    bool broken_ = false;  // lost because of `failure_`
    bool write_paused_ = false;
    bool read_paused_ = false;
    bool reader_gone_ = false;
    bool closes_with_reader_ = false;
};

}  // namespace ouro::detail
