// One connection of the load generator: sends messages, checks every echoed byte, keeps send times.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <system_error>
#include <vector>

namespace bench {

/// The endless byte stream every client sends: `period` random bytes over and over. The period is
/// prime, so lost, doubled or swapped bytes of any usual size do not match.
class pattern {
  public:
    static constexpr std::size_t period = 65521;
    static constexpr std::size_t chunk_limit = 262144;  // any position has this many bytes in a row

    pattern() : bytes_(period + chunk_limit) {
        std::mt19937_64 random(20);
        for (std::size_t i = 0; i != bytes_.size(); ++i)
            bytes_[i] = i < period ? static_cast<char>(random()) : bytes_[i - period];
    }

    const char* at(std::size_t position) const noexcept { return bytes_.data() + position; }

    static void advance(std::size_t& position, std::size_t bytes) noexcept {
        position += bytes;
        if (position >= period) position %= period;
    }

  private:
    std::vector<char> bytes_;
};

struct endpoint {
    sockaddr_storage address{};
    socklen_t address_bytes = 0;

    bool is_tcp() const noexcept { return address.ss_family == AF_INET; }
};

/// A connected blocking socket (all later calls pass MSG_DONTWAIT); -1 with errno if refused.
/// `source_number` != 0 picks a source address of 127/8, because the ports of one address run out
/// when connections come and go by the thousand.
inline int connect_to(const endpoint& target, unsigned source_number) {
    const int fd = ::socket(target.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (target.is_tcp()) {
        const int on = 1;
        ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (source_number != 0) {
            sockaddr_in source{};
            source.sin_family = AF_INET;
            source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source_number % 250);
            ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
            ::bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source);
        }
    }
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&target.address), target.address_bytes) ==
        0)
        return fd;
    const int error = errno;
    ::close(fd);
    errno = error;
    return -1;
}

class load_client {
  public:
    load_client(const pattern& stream, std::size_t message_bytes, unsigned pipeline)
        : stream_(&stream), message_bytes_(message_bytes), sent_at_(pipeline) {}

    void start(int fd) noexcept {
        fd_ = fd;
        send_position_ = receive_position_ = 0;
        unsent_bytes_ = received_bytes_ = 0;
        oldest_ = in_flight_ = 0;
    }

    void close() noexcept {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }

    int fd() const noexcept { return fd_; }
    unsigned in_flight() const noexcept { return in_flight_; }

    /// Sends `count` more messages, in one call if the socket has room. False: connection broken.
    bool send_messages(unsigned count, std::uint64_t now_ns) noexcept {
        for (unsigned i = 0; i != count; ++i) {
            sent_at_[(oldest_ + in_flight_) % sent_at_.size()] = now_ns;
            ++in_flight_;
        }
        unsent_bytes_ += count * message_bytes_;
        return send_unsent();
    }

    bool send_unsent() noexcept {
        while (unsent_bytes_ != 0) {
            const std::size_t chunk = std::min(unsent_bytes_, pattern::chunk_limit);
            const ssize_t sent =
                ::send(fd_, stream_->at(send_position_), chunk, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0) return errno == EAGAIN;
            unsent_bytes_ -= static_cast<std::size_t>(sent);
            pattern::advance(send_position_, static_cast<std::size_t>(sent));
        }
        return true;
    }

    enum class outcome { nothing_more, maybe_more, wrong_bytes, end_of_stream, broken };

    /// Receives once into `scratch` (chunk_limit bytes) and says in `bytes` how much. Calls
    /// `on_message(sent_at_ns)` for each message that is complete now.
    template <typename OnMessage>
    outcome receive_once(char* scratch, std::size_t& bytes, OnMessage on_message) {
        const ssize_t result = ::recv(fd_, scratch, pattern::chunk_limit, MSG_DONTWAIT);
        if (result == 0) return outcome::end_of_stream;
        if (result < 0) return errno == EAGAIN ? outcome::nothing_more : outcome::broken;
        bytes = static_cast<std::size_t>(result);
        if (std::memcmp(scratch, stream_->at(receive_position_), bytes) != 0)
            return outcome::wrong_bytes;
        pattern::advance(receive_position_, bytes);
        received_bytes_ += bytes;
        while (received_bytes_ >= message_bytes_) {
            if (in_flight_ == 0) return outcome::wrong_bytes;  // more came back than was sent
            received_bytes_ -= message_bytes_;
            on_message(sent_at_[oldest_]);
            oldest_ = (oldest_ + 1) % sent_at_.size();
            --in_flight_;
        }
        return bytes == pattern::chunk_limit ? outcome::maybe_more : outcome::nothing_more;
    }

  private:
    const pattern* stream_;
    std::size_t message_bytes_;
    int fd_ = -1;
    std::size_t send_position_ = 0;  // in the pattern
    std::size_t receive_position_ = 0;
    std::size_t unsent_bytes_ = 0;
    std::size_t received_bytes_ = 0;      // of the oldest message
    std::vector<std::uint64_t> sent_at_;  // ring: one send time per message in flight
    std::size_t oldest_ = 0;
    unsigned in_flight_ = 0;
};

}  // namespace bench
