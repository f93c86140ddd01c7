// What keeps a socket's state: the socket may be closed or gone while a task is at work on it.
#pragma once

#include <memory>

#include <ouro/net/socket.hpp>

namespace ouro::detail {

struct let_go {
    void operator()(socket_state* state) const noexcept { state->drop(); }
};
using socket_hold = std::unique_ptr<socket_state, let_go>;

struct socket_access {
    static socket_hold hold(owned_descriptor& of) noexcept {
        ++of.live().references;
        return socket_hold(of.state_);
    }
};

}  // namespace ouro::detail
