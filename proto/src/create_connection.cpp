// A protocol on a new connection, or on a given one.
#include <ouro/proto/create_connection.hpp>

#include <sys/socket.h>

#include "connect_race.hpp"
#include "made_wait.hpp"
#include "stream_transport.hpp"

namespace ouro::detail {
namespace {

task<std::shared_ptr<transport>> put_on(protocol_factory factory, socket connected) {
    loop& home = connected.home();
    const int fd = connected.fd();
    auto link = std::make_shared<stream_transport>(home, fd, factory());
    (void)connected.release();
    io::adopt(home, fd);
    link->set_no_delay();
    co_await made_wait(link, "connect");
    co_return link;
}

}  // namespace

task<std::shared_ptr<transport>> connect_transport(protocol_factory factory,
                                                   std::vector<std::string> hosts,
                                                   std::uint16_t port, connect_options options) {
    auto connected = co_await connect_to(std::move(hosts), port, std::move(options));
    co_return co_await put_on(std::move(factory), std::move(connected));
}

task<std::shared_ptr<transport>> connect_transport(protocol_factory factory, address peer,
                                                   connect_options options) {
    auto connected = co_await connect_to(peer, std::move(options));
    co_return co_await put_on(std::move(factory), std::move(connected));
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
