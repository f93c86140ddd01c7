// Connecting: attempts in order, errors that name each of them.
#include <ouro/proto/create_connection.hpp>

#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include <ouro/net/resolve.hpp>
#include <ouro/runtime/wait.hpp>

#include "stream_transport.hpp"

namespace ouro::detail {
namespace {

void give_up(wait_point& wait, cancel_cause cause) noexcept;
constexpr wait_kind made_kind{"connection_made", &give_up};

/// Waits until `connection_made` has run. A cancelled creator closes the connection (rule 380).
class [[nodiscard]] made_wait : public awaitable<made_wait, void> {
  public:
    explicit made_wait(std::shared_ptr<stream_transport> link) noexcept
        : awaitable(made_kind), link_(std::move(link)) {}
    void start() noexcept { link_->begin_soon(link_, this); }
    void value() const noexcept {}
    void cancel(cancel_cause cause) noexcept {
        link_->forget_creator();
        link_->abort();
        wake_failed(error::cancelled(cause, "connect"));
    }

  private:
    std::shared_ptr<stream_transport> link_;
};

void give_up(wait_point& wait, cancel_cause cause) noexcept {
    static_cast<made_wait&>(wait).cancel(cause);
}

task<socket> connect_one(const address& peer, const connect_options& options) {
    loop& home = loop::current();
    auto made = socket::open(home, peer.family());
    if (!made) co_return error(made.error().code(), "connect " + peer.to_string());
    if (options.local) {
        if (options.local.family() != peer.family()) {
            co_return error(errc::no_address,
                            "connect " + peer.to_string() + " (no matching local address)");
        }
        co_await made->bind(options.local);
    }
    co_await made->connect(peer);
    co_return std::move(*made);
}

/// One error that tells of all attempts (rules 371-373).
error summary(std::vector<error> failures, bool all_errors) {
    if (failures.size() == 1 && !all_errors) return std::move(failures.front());
    const auto first = failures.front().message();
    const bool alike = std::all_of(failures.begin(), failures.end(),
                                   [&](const error& each) { return each.message() == first; });
    if (alike && !all_errors) return std::move(failures.front());
    return error::several(std::move(failures));
}

task<std::shared_ptr<transport>> put_on(protocol_factory factory, socket connected) {
    loop& home = connected.home();
    const int fd = connected.fd();
    auto link = std::make_shared<stream_transport>(home, fd, factory());
    (void)connected.release();
    io::adopt(home, fd);
    link->set_no_delay();
    co_await made_wait(link);
    co_return link;
}

}  // namespace

task<std::shared_ptr<transport>> connect_transport(protocol_factory factory, std::string host,
                                                   std::uint16_t port, connect_options options) {
    const auto found = co_await resolve(host, port, {.family = options.family});
    std::vector<error> failures;
    for (const address& peer : found) {
        auto connected = co_await as_result(connect_one(peer, options));
        if (connected) co_return co_await put_on(std::move(factory), std::move(*connected));
        if (connected.error() == errc::cancelled) co_return connected.error();
        failures.push_back(std::move(connected.error()));
    }
    co_return summary(std::move(failures), options.all_errors);
}

task<std::shared_ptr<transport>> connect_transport(protocol_factory factory, address peer,
                                                   connect_options options) {
    co_return co_await put_on(std::move(factory), co_await connect_one(peer, options));
}

task<std::shared_ptr<transport>> wrap_transport(protocol_factory factory, socket given) {
    if (!given) co_return error(errc::value_error, "make a connection of a closed socket");
    if (const int type = co_await given.get_option(SOL_SOCKET, SO_TYPE); type != SOCK_STREAM) {
        co_return error(errc::value_error,
                        "make a connection of a socket that is not a stream socket");
    }
    co_return co_await put_on(std::move(factory), std::move(given));
}

}  // namespace ouro::detail
