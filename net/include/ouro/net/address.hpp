// Where a socket is or goes: IPv4, IPv6 and unix addresses, strictly parsed and printed.
#pragma once

#include <sys/socket.h>

#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <ouro/runtime/result.hpp>

namespace ouro {

/// One socket address, by value.
///
/// As text: `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80`, `unix:/run/app.sock`, and `unix:@name`
/// for the abstract namespace of Linux.
///
/// Cost  128 bytes, no allocation but for text.
class address {
  public:
    /// No address: family AF_UNSPEC.
    address() noexcept = default;
    /// The address in `raw`, as the kernel gave it.
    address(const sockaddr* raw, socklen_t length) noexcept;

    /// Reads the text form above. Nothing is guessed: no leading zeros, no names, no missing port.
    ///
    /// Errors  `errc::value_error`, naming the text.
    static result<address> parse(std::string_view text);
    /// A numeric IPv4 or IPv6 host (the latter with or without a numeric scope: `fe80::1%2`) and a
    /// port.
    ///
    /// Errors  `errc::value_error` when `host` is a name or malformed.
    static result<address> from_ip(std::string_view host, std::uint16_t port);
    /// A unix socket at `path`; a leading zero byte or `@` puts it into the abstract namespace.
    ///
    /// Errors  `errc::value_error` when it is empty, longer than 107 bytes, or a path with a zero
    ///         byte inside.
    static result<address> from_path(std::string_view path);

    /// AF_INET, AF_INET6, AF_UNIX or AF_UNSPEC.
    int family() const noexcept { return storage_.ss_family; }
    /// True unless it is AF_UNSPEC.
    explicit operator bool() const noexcept { return length_ != 0 && family() != AF_UNSPEC; }
    /// The numeric host of an IP address, else empty.
    std::string host() const;
    /// The port of an IP address, else 0.
    std::uint16_t port() const noexcept;
    /// Replaces the port of an IP address.
    void set_port(std::uint16_t port) noexcept;
    /// The path of a unix address; abstract names start with a zero byte; empty when unnamed.
    std::string path() const;
    /// The text form that `parse` reads.
    std::string to_string() const;

    /// For system calls.
    const sockaddr* raw() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
    socklen_t length() const noexcept { return length_; }

    /// True when both name the same place.
    friend bool operator==(const address& left, const address& right) noexcept {
        return left.length_ == right.length_ &&
               std::memcmp(&left.storage_, &right.storage_, left.length_) == 0;
    }

  private:
    sockaddr_storage storage_{};
    socklen_t length_ = 0;
};

}  // namespace ouro
