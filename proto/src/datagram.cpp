// Making a datagram endpoint: addresses, socket, options, protocol.
#include <ouro/proto/datagram.hpp>

#include <sys/socket.h>

#include <utility>
#include <vector>

#include <ouro/net/resolve.hpp>

#include "datagram_link.hpp"
#include "made_wait.hpp"
#include "socket_file.hpp"

namespace ouro::detail {
namespace {

error wrong(const char* what) {
    return error(errc::value_error, std::string("make a datagram endpoint: ") + what);
}

/// The addresses one side may have; one that is empty when it has none.
task<std::vector<address>> addresses_of(address given, std::string host, std::uint16_t port,
                                        resolve_options how) {
    if (given && !host.empty()) co_return wrong("an address and a host");
    if (given || host.empty()) co_return std::vector{given};
    co_return co_await resolve(std::move(host), port, how);
}

struct candidate {
    address local, remote;
    int family;
};

/// Every pair of addresses of one family, in resolver order (rules 465, 467).
task<std::vector<candidate>> candidates_of(const datagram_options& options) {
    const auto remotes = co_await addresses_of(options.remote, options.remote_host,
                                               options.remote_port, {.family = options.family});
    const auto locals = co_await addresses_of(options.local, options.local_host, options.local_port,
                                              {.family = options.family, .for_listening = true});
    std::vector<candidate> found;
    for (const address& remote : remotes) {
        for (const address& local : locals) {
            int family = options.family;
            if (remote) family = remote.family();
            if (local) family = local.family();
            if (family == AF_UNSPEC) co_return wrong("no address and no family");
            const bool agrees = (!remote || remote.family() == family) &&
                                (options.family == AF_UNSPEC || options.family == family);
            if (agrees) found.push_back({local, remote, family});
        }
    }
    if (found.empty()) co_return wrong("the addresses share no family");
    co_return found;
}

struct made_socket {
    socket opened;
    datagram_setup how;
};

task<made_socket> open_one(const candidate& at, const datagram_options& options) {
    loop& home = loop::current();
    made_socket made{co_await socket::open(home, at.family, SOCK_DGRAM, options.protocol), {}};
    if (options.reuse_port) co_await made.opened.set_option(SOL_SOCKET, SO_REUSEPORT, 1);
    if (options.allow_broadcast) co_await made.opened.set_option(SOL_SOCKET, SO_BROADCAST, 1);
    const std::string path = at.local.path();
    if (has_file(path)) remove_socket_file(home, path);  // rule 472
    if (at.local) co_await made.opened.bind(at.local);
    if (at.remote && !options.allow_broadcast) co_await made.opened.connect(at.remote);
    made.how = {.remote = at.remote,
                .connected = at.remote && !options.allow_broadcast,
                .family = at.family,
                .receive_bytes = options.receive_bytes,
                .segmentation = options.segmentation};
    co_return made;
}

task<std::shared_ptr<datagram_transport>> put_on(protocol_factory factory, made_socket on) {
    loop& home = on.opened.home();
    const int fd = on.opened.fd();
    auto link = std::make_shared<datagram_link>(home, fd, factory(), on.how);
    (void)on.opened.release();
    io::adopt(home, fd);
    co_await made_wait(link, "make a datagram endpoint");
    co_return link;
}

}  // namespace

task<std::shared_ptr<datagram_transport>> make_datagram_endpoint(protocol_factory factory,
                                                                 datagram_options options) {
    error first;
    for (const candidate& each : co_await candidates_of(options)) {
        auto made = co_await as_result(open_one(each, options));
        if (made) co_return co_await put_on(std::move(factory), std::move(*made));
        if (made.error() == errc::cancelled) co_return made.error();
        if (!first) first = std::move(made.error());
    }
    co_return first;
}

task<std::shared_ptr<datagram_transport>> wrap_datagram_socket(protocol_factory factory,
                                                               socket given) {
    if (!given) co_return wrong("the socket is closed");
    const int type = co_await given.get_option(SOL_SOCKET, SO_TYPE);
    if (type == SOCK_STREAM || type == SOCK_SEQPACKET) {
        co_return wrong("a socket of connections, which end");
    }
    datagram_setup how;
    how.family = co_await given.get_option(SOL_SOCKET, SO_DOMAIN);
    if (auto peer = given.peer_address()) {
        how.connected = true;
        if (how.family != AF_UNIX || !peer->path().empty()) how.remote = *peer;
    }
    co_return co_await put_on(std::move(factory), {std::move(given), std::move(how)});
}

}  // namespace ouro::detail
