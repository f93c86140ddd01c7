// Lines for a log.
#include <ouro/proto/logging_transport.hpp>

#include <algorithm>

#include <ouro/runtime/loop.hpp>

namespace ouro {
namespace {

void append_escaped(std::string& to, std::byte each) {
    constexpr char digits[] = "0123456789abcdef";
    const auto value = std::to_integer<unsigned char>(each);
    switch (value) {
    case '\n':
        to += "\\n";
        return;
    case '\r':
        to += "\\r";
        return;
    case '\t':
        to += "\\t";
        return;
    case '\\':
    case '"':
        to += '\\';
        break;
    default:
        break;
    }
    if (value >= 0x20 && value < 0x7f) {
        to += static_cast<char>(value);
    } else {
        to += {'\\', 'x', digits[value >> 4], digits[value & 15]};
    }
}

std::string described(bytes data, std::size_t most_bytes) {
    return std::to_string(data.size()) + " \"" + escaped(data, most_bytes) + "\"";
}

}  // namespace

std::string escaped(bytes data, std::size_t most_bytes) {
    std::string text;
    for (const std::byte each : data.first(std::min(data.size(), most_bytes))) {
        append_escaped(text, each);
    }
    if (data.size() > most_bytes) text += "...";
    return text;
}

template <class Text>
void logging_transport::line(Text&& text) noexcept {
    try {
        const std::string said = text();
        log_(options_.name.empty() ? said : options_.name + " " + said);
    } catch (...) {
        if (loop* const home = loop::try_current()) {
            home->call_exception_handler(
                {.message = detail::words("a log failed"),
                 .error = error::from_exception(std::current_exception(), "log"),
                 .subject = detail::words("logging transport"),
                 .created = {}});
        }
    }
}

void logging_transport::tell(const char* what) noexcept {
    line([&] { return std::string(what); });
}
void logging_transport::tell(const char* what, bytes data) noexcept {
    line([&] { return what + described(data, options_.most_bytes); });
}

// ---- calls of the user

void logging_transport::close() {
    tell("> close");
    wrapping_transport::close();
}
void logging_transport::abort() {
    tell("> abort");
    wrapping_transport::abort();
}
void logging_transport::set_protocol(std::shared_ptr<base_protocol> receiver) {
    tell("> set_protocol");
    wrapping_transport::set_protocol(std::move(receiver));
}
void logging_transport::pause_reading() {
    tell("> pause_reading");
    wrapping_transport::pause_reading();
}
void logging_transport::resume_reading() {
    tell("> resume_reading");
    wrapping_transport::resume_reading();
}
std::error_code logging_transport::write(bytes data) {
    tell("> write ", data);
    return wrapping_transport::write(data);
}
std::error_code logging_transport::write(std::vector<std::byte>&& data) {
    tell("> write ", data);
    return wrapping_transport::write(std::move(data));
}
std::error_code logging_transport::write(buffer_lease data) {
    tell("> write ", data.view());
    return wrapped() ? wrapped()->write(std::move(data)) : std::error_code();
}
std::error_code logging_transport::writelines(std::span<const bytes> chunks) {
    line([&] {
        std::string text = "> writelines " + std::to_string(chunks.size()) + ":";
        for (const bytes each : chunks) text += " " + described(each, options_.most_bytes);
        return text;
    });
    return wrapping_transport::writelines(chunks);
}
std::error_code logging_transport::write_eof() {
    tell("> write_eof");
    return wrapping_transport::write_eof();
}
std::error_code logging_transport::set_write_buffer_limits(std::ptrdiff_t high_bytes,
                                                           std::ptrdiff_t low_bytes) {
    line(
        [&] { return "> limits " + std::to_string(high_bytes) + " " + std::to_string(low_bytes); });
    return wrapping_transport::set_write_buffer_limits(high_bytes, low_bytes);
}

// ---- callbacks

void logging_transport::received(protocol& to, bytes data) {
    tell("< data ", data);
    wrapping_transport::received(to, data);
}
void logging_transport::placed(buffered_protocol& to, mut_bytes data) {
    tell("< data ", data);
    wrapping_transport::placed(to, data);
}
void logging_transport::leased(lease_protocol& to, buffer_lease data) {
    tell("< data ", data.view());
    wrapping_transport::leased(to, std::move(data));
}
void logging_transport::at_made() { tell("< made"); }
void logging_transport::at_eof() { tell("< eof"); }
void logging_transport::at_pause() { tell("< pause_writing"); }
void logging_transport::at_resume() { tell("< resume_writing"); }
void logging_transport::at_loss(const error& why) {
    line([&] { return why ? "< lost: " + why.message() : std::string("< lost"); });
}

}  // namespace ouro
