// Passing descriptors along unix sockets.
#include <ouro/net/descriptor.hpp>

#include <sys/uio.h>

#include <cstring>

#include <ouro/net/socket.hpp>

#include "socket_hold.hpp"

namespace ouro {
namespace {

using detail::socket_hold;

/// One message of bytes and control data, and the await of its way out or in.
class message_op_base {
  public:
    message_op_base(std::byte* memory, std::size_t size, std::span<std::byte> control) noexcept
        : piece_{memory, size} {
        header_.msg_iov = &piece_;
        header_.msg_iovlen = 1;
        if (control.empty()) return;
        header_.msg_control = control.data();
        header_.msg_controllen = control.size();
    }
    message_op_base(const message_op_base&) = delete;
    message_op_base& operator=(const message_op_base&) = delete;

  protected:
    ~message_op_base() = default;
    iovec piece_;
    msghdr header_{};
};

class [[nodiscard]] send_fds_op : public detail::socket_awaitable<send_fds_op, std::size_t>,
                                  message_op_base {
  public:
    send_fds_op(detail::socket_state& of, bytes from, std::span<std::byte> control) noexcept
        : socket_awaitable(of, detail::send_kind),
          message_op_base(const_cast<std::byte*>(from.data()), from.size(), control) {}
    void submit(loop& home, op& request) noexcept {
        io::send_message(home, request, begin(request), header_);
    }
    std::size_t value() const noexcept { return static_cast<std::size_t>(res()); }
    std::string doing() const { return "send"; }
};

class [[nodiscard]] recv_fds_op : public detail::socket_awaitable<recv_fds_op, received_with_fds>,
                                  message_op_base {
  public:
    /// `control` has room for the descriptors and is zeroed.
    recv_fds_op(detail::socket_state& of, mut_bytes into, std::span<std::byte> control) noexcept
        : socket_awaitable(of, detail::recv_kind),
          message_op_base(into.data(), into.size(), control) {}
    ~recv_fds_op() {
        if (claimed_) return;  // else: received, and the frame that waited is gone
        each_fd([this](int fd) { io::discard(home(), fd); });
    }
    void submit(loop& home, op& request) noexcept {
        io::recv_message(home, request, begin(request), header_);
    }
    received_with_fds value() {
        received_with_fds got{.count = static_cast<std::size_t>(res())};
        got.truncated = header_.msg_flags & MSG_CTRUNC;
        std::size_t fds = 0;
        each_fd([&](int) { ++fds; });
        got.fds.reserve(fds);
        each_fd([&](int fd) { got.fds.emplace_back(home(), fd); });
        claimed_ = true;
        return got;
    }
    std::string doing() const { return "receive"; }

  private:
    template <class Use>
    void each_fd(Use use) noexcept {
        for (cmsghdr* each = CMSG_FIRSTHDR(&header_); each; each = CMSG_NXTHDR(&header_, each)) {
            if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
            const std::size_t count = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (std::size_t i = 0; i < count; ++i) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(each) + i * sizeof fd, sizeof fd);
                use(fd);
            }
        }
    }
    bool claimed_ = false;
};

/// Other sockets would leave the descriptors behind without a word.
result<> require_unix(const detail::socket_state& of) {
    const auto family = io::get_option(*of.home, of.fd, SOL_SOCKET, SO_DOMAIN);
    if (!family) return family.error();
    if (*family == AF_UNIX) return {};
    return error(errc::unsupported, "pass descriptors along a socket that is not a unix socket");
}

task<std::size_t> send_along(socket_hold on, bytes from, std::span<const int> fds) {
    if (from.empty()) co_return error(errc::value_error, "pass descriptors without a byte");
    co_await require_unix(*on);
    std::vector<std::byte> control(fds.empty() ? 0 : CMSG_SPACE(fds.size_bytes()));
    if (!fds.empty()) {
        cmsghdr head{};
        head.cmsg_len = CMSG_LEN(fds.size_bytes());
        head.cmsg_level = SOL_SOCKET;
        head.cmsg_type = SCM_RIGHTS;
        std::memcpy(control.data(), &head, sizeof head);
        std::memcpy(control.data() + CMSG_LEN(0), fds.data(), fds.size_bytes());
    }
    if (on->closed) co_return error::cancelled(cancel_cause::none, "send");
    co_return co_await send_fds_op(*on, from, control);
}

task<received_with_fds> receive_along(socket_hold on, mut_bytes into, std::size_t most_fds) {
    co_await require_unix(*on);
    // The exact length: rounded up it would have room for one more.
    std::vector<std::byte> control(most_fds ? CMSG_LEN(most_fds * sizeof(int)) : 0);
    if (on->closed) co_return error::cancelled(cancel_cause::none, "receive");
    co_return co_await recv_fds_op(*on, into, control);
}

}  // namespace

task<std::size_t> socket::send_with_fds(bytes from, std::span<const int> fds) {
    ++live().references;
    return send_along(socket_hold(state_), from, fds);
}

task<received_with_fds> socket::recv_with_fds(mut_bytes into, std::size_t most_fds) {
    OURO_ASSERT(!into.empty(), "receive into an empty buffer would look like end of stream");
    ++live().references;
    return receive_along(socket_hold(state_), into, most_fds);
}

}  // namespace ouro
