// What a protocol does when it overrides nothing, and the view of a socket.
#include <ouro/proto/protocol.hpp>
#include <ouro/proto/transport.hpp>

namespace ouro {

void base_protocol::connection_lost(error) {}
void base_protocol::pause_writing() {}
void base_protocol::resume_writing() {}

void protocol::connection_made(std::shared_ptr<transport>) {}
void protocol::data_received(bytes) {}
bool protocol::eof_received() { return false; }

void lease_protocol::connection_made(std::shared_ptr<transport>) {}
bool lease_protocol::eof_received() { return false; }

void buffered_protocol::connection_made(std::shared_ptr<transport>) {}
bool buffered_protocol::eof_received() { return false; }

result<int> socket_view::family() const { return get_option(SOL_SOCKET, SO_DOMAIN); }
result<address> socket_view::local_address() const {
    return detail::to_address(io::local_name(*home_, fd_));
}
result<address> socket_view::peer_address() const {
    return detail::to_address(io::peer_name(*home_, fd_));
}
result<peer_credentials> socket_view::credentials() const {
    return io::peer_credentials(*home_, fd_);
}
result<int> socket_view::get_option(int level, int name) const {
    return io::get_option(*home_, fd_, level, name);
}
result<> socket_view::set_option(int level, int name, int value) const {
    return io::set_option(*home_, fd_, level, name, value);
}

}  // namespace ouro
