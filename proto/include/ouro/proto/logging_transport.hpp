// A transport that tells a log what passes through it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <ouro/proto/wrapping_transport.hpp>
#include <ouro/runtime/function.hpp>

namespace ouro {

/// `data` as one line of printable ASCII: `\n`, `\r`, `\t`, `\\`, `\"`, and `\x00` to `\xff` for
/// what else is not printable. What is behind `most_bytes` becomes "...".
std::string escaped(bytes data, std::size_t most_bytes = static_cast<std::size_t>(-1));

/// How a connection is logged.
struct logging_options {
    std::string name{};            ///< stands at the start of each line, if there is one
    std::size_t most_bytes = 200;  ///< of the data in one line; its length is always told
};

/// Wrapped around any transport, it gives a line to the log for each call of the user (`>`) and for
/// each callback (`<`), before it is passed on:
///
///     > write 6 "hello\n"
///     < data 3 "ok\n"
///     < eof
///     > close
///     < lost
///
///     auto logged = std::make_shared<logging_transport>(print_line);
///     co_await create_connection([&] { return logged->wrap(my_protocol); }, "host", 80);
///
/// A log that throws is reported to the loop's exception handler and harms nobody.
class logging_transport final : public wrapping_transport {
  public:
    /// Takes one line, without its end.
    using log = function<void(std::string_view line)>;

    explicit logging_transport(log to, logging_options options = {})
        : log_(std::move(to)), options_(std::move(options)) {}

    void close() override;
    void set_protocol(std::shared_ptr<base_protocol> receiver) override;
    void pause_reading() override;
    void resume_reading() override;
    using write_transport::write;
    std::error_code write(bytes data) override;
    std::error_code write(std::vector<std::byte>&& data) override;
    std::error_code write(buffer_lease data) override;
    std::error_code writelines(std::span<const bytes> chunks) override;
    std::error_code write_eof() override;
    void abort() override;
    std::error_code set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                            std::ptrdiff_t low_bytes) override;

  private:
    void received(protocol& to, bytes data) override;
    void placed(buffered_protocol& to, mut_bytes data) override;
    void leased(lease_protocol& to, buffer_lease data) override;
    void at_made() override;
    void at_eof() override;
    void at_pause() override;
    void at_resume() override;
    void at_loss(const error& why) override;

    void tell(const char* what) noexcept;
    void tell(const char* what, bytes data) noexcept;
    template <class Text>
    void line(Text&& text) noexcept;

    log log_;
    logging_options options_;
};

}  // namespace ouro
