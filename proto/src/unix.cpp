// Unix servers and connections: what they have that others do not is a file.
#include <ouro/proto/unix.hpp>

#include "server_open.hpp"
#include "socket_file.hpp"

namespace ouro::detail {
namespace {

server_options general(const unix_server_options& options) {
    return {.backlog_count = options.backlog_count,
            .start_serving = options.start_serving,
            .accept_retry = options.accept_retry,
            .max_connections = options.max_connections,
            .max_accept_rate = options.max_accept_rate};
}

result<> require_unix_stream(const socket& given, const char* doing) {
    if (given) {
        const auto family = given.get_option(SOL_SOCKET, SO_DOMAIN);
        const auto type = given.get_option(SOL_SOCKET, SO_TYPE);
        if (!family) return family.error();
        if (!type) return type.error();
        if (*family == AF_UNIX && *type == SOCK_STREAM) return {};
    }
    return error(errc::value_error,
                 [&] { return std::string(doing) + " what is not a unix stream socket"; });
}

/// Makes the file the server's own, and gives it its mode.
result<> look_after(server_state& of, const std::string& path, const unix_server_options& options) {
    loop& home = of.home();
    if (!has_file(path)) return {};
    if (options.cleanup_socket) {
        const auto file = io::identify_file(home, path.c_str());
        if (!file) return file.error();
        of.own_file(path, *file);
    }
    return options.mode ? io::set_file_mode(home, path.c_str(), *options.mode) : result<>();
}

}  // namespace

task<server> listen_on_unix(protocol_factory factory, std::string path,
                            unix_server_options options) {
    loop& home = loop::current();
    const address where = co_await address::from_path(path);
    path = where.path();
    auto state = co_await make_server(home, std::move(factory), general(options));
    if (has_file(path)) {
        if (options.take_over) {
            remove_socket_file(home, path);
        } else {
            co_await remove_stale_socket_file(home, where);
        }
    }
    co_await state->add(co_await open_listener(home, where, general(options)));
    co_await look_after(*state, path, options);
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<server> listen_on_unix(protocol_factory factory, socket given, unix_server_options options) {
    loop& home = loop::current();
    co_await require_unix_stream(given, "serve on");
    auto state = co_await make_server(home, std::move(factory), general(options));
    const std::string path = (co_await given.local_address()).path();
    co_await state->add(std::move(given));
    co_await look_after(*state, path, options);
    co_return co_await open_server(std::move(state), options.start_serving);
}

task<std::shared_ptr<transport>> connect_unix(protocol_factory factory, std::string path,
                                              unix_connect_options options) {
    const address where = co_await address::from_path(path);
    co_return co_await connect_transport(std::move(factory), where, {.local = options.local});
}

task<std::shared_ptr<transport>> wrap_unix(protocol_factory factory, socket given) {
    co_await require_unix_stream(given, "make a connection of");
    co_return co_await wrap_transport(std::move(factory), std::move(given));
}

}  // namespace ouro::detail
