// Addresses: strict parsing and printing.
#include <ouro/net/address.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>

namespace ouro {
namespace {

constexpr socklen_t path_offset = offsetof(sockaddr_un, sun_path);

error malformed(std::string_view text, const char* why) {
    // What came from outside is cut and never printed raw.
    std::string shown;
    for (const char c : text.substr(0, 120)) shown += c >= ' ' && c < 127 ? c : '?';
    return error(errc::value_error, "parse address '" + shown + "' (" + why + ")");
}

/// A decimal number without sign, blanks or leading zeros, at most `most`.
std::optional<unsigned> number(std::string_view text, unsigned most) {
    if (text.empty() || text.size() > 10 || (text.size() > 1 && text[0] == '0')) return {};
    unsigned value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure != std::errc() || end != text.data() + text.size() || value > most) return {};
    return value;
}

template <class Raw>
const Raw& as(const sockaddr_storage& storage) noexcept {
    return reinterpret_cast<const Raw&>(storage);
}

}  // namespace

address::address(const sockaddr* raw, socklen_t length) noexcept {
    length_ = std::min<socklen_t>(length, sizeof storage_);
    if (raw && length_) std::memcpy(&storage_, raw, length_);
}

result<address> address::from_ip(std::string_view host, std::uint16_t port) {
    if (host.size() >= INET6_ADDRSTRLEN + 11) return malformed(host, "not an IP address");
    if (host.find('\0') != host.npos) return malformed(host, "a zero byte");
    sockaddr_in v4{};
    if (::inet_pton(AF_INET, std::string(host).c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(port);
        return address(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
    }
    sockaddr_in6 v6{};
    const auto percent = host.find('%');
    if (percent != host.npos) {
        const auto scope = number(host.substr(percent + 1), 0xffffffffU);
        if (!scope || *scope == 0) return malformed(host, "the scope is not a number");
        v6.sin6_scope_id = *scope;
    }
    if (::inet_pton(AF_INET6, std::string(host.substr(0, percent)).c_str(), &v6.sin6_addr) != 1) {
        return malformed(host, "not an IP address");
    }
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    return address(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

result<address> address::from_path(std::string_view path) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    std::string bytes(path);
    const bool abstract = !bytes.empty() && (bytes[0] == '\0' || bytes[0] == '@');
    if (abstract) bytes[0] = '\0';
    if (bytes.empty()) return malformed(path, "the path is empty");
    if (!abstract && bytes.find('\0') != bytes.npos) return malformed(path, "a zero byte");
    if (bytes.size() >= sizeof local.sun_path) return malformed(path, "longer than 107 bytes");
    std::memcpy(local.sun_path, bytes.data(), bytes.size());
    // Abstract names have their exact length; paths count their terminator.
    const std::size_t length = path_offset + bytes.size() + (abstract ? 0 : 1);
    return address(reinterpret_cast<const sockaddr*>(&local), static_cast<socklen_t>(length));
}

result<address> address::parse(std::string_view text) {
    if (text.starts_with("unix:")) return from_path(text.substr(5));
    const auto colon = text.rfind(':');
    if (colon == text.npos) return malformed(text, "the port is missing");
    const auto port = number(text.substr(colon + 1), 65535);
    if (!port) return malformed(text, "the port is not a number up to 65535");
    std::string_view host = text.substr(0, colon);
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (bracketed != (host.find(':') != host.npos)) {
        return malformed(text, "IPv6 addresses, and only they, stand in brackets");
    }
    auto parsed = from_ip(host, static_cast<std::uint16_t>(*port));
    if (!parsed) return malformed(text, "not an IP address");
    return parsed;
}

std::string address::host() const {
    char text[INET6_ADDRSTRLEN] = {};
    if (family() == AF_INET) {
        ::inet_ntop(AF_INET, &as<sockaddr_in>(storage_).sin_addr, text, sizeof text);
        return text;
    }
    if (family() != AF_INET6) return {};
    const auto& v6 = as<sockaddr_in6>(storage_);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return v6.sin6_scope_id ? std::string(text) + "%" + std::to_string(v6.sin6_scope_id) : text;
}

std::uint16_t address::port() const noexcept {
    if (family() == AF_INET) return ntohs(as<sockaddr_in>(storage_).sin_port);
    if (family() == AF_INET6) return ntohs(as<sockaddr_in6>(storage_).sin6_port);
    return 0;
}

void address::set_port(std::uint16_t port) noexcept {
    if (family() == AF_INET) reinterpret_cast<sockaddr_in&>(storage_).sin_port = htons(port);
    if (family() == AF_INET6) reinterpret_cast<sockaddr_in6&>(storage_).sin6_port = htons(port);
}

std::string address::path() const {
    if (family() != AF_UNIX || length_ <= path_offset) return {};
    const char* text = as<sockaddr_un>(storage_).sun_path;
    const std::size_t length = length_ - path_offset;
    if (text[0] == '\0') return std::string(text, length);
    return std::string(text, ::strnlen(text, length));
}

std::string address::to_string() const {
    switch (family()) {
    case AF_INET:
        return host() + ":" + std::to_string(port());
    case AF_INET6:
        return "[" + host() + "]:" + std::to_string(port());
    case AF_UNIX: {
        std::string name = path();
        if (!name.empty() && name[0] == '\0') name[0] = '@';
        return "unix:" + name;
    }
    default:
        return "no address";
    }
}

}  // namespace ouro
