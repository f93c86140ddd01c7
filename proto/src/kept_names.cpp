// The addresses of a connection.
#include "kept_names.hpp"

#include <netinet/in.h>

#include <new>

namespace ouro::detail {
namespace {

/// Where the address after one of `bytes` begins: paths may have an odd length.
constexpr std::size_t aligned(std::size_t bytes) noexcept {
    return (bytes + alignof(sockaddr) - 1) / alignof(sockaddr) * alignof(sockaddr);
}

}  // namespace

void kept_names::keep(const address& local, const address& peer) noexcept {
    if (local.family() == AF_INET && peer.family() == AF_INET) {
        is_ip4_ = true;
        for (std::size_t i = 0; const address* each : {&local, &peer}) {
            const auto& name = *reinterpret_cast<const sockaddr_in*>(each->raw());
            hosts_[i] = name.sin_addr.s_addr;
            ports_[i++] = name.sin_port;
        }
        return;
    }
    const std::size_t second = aligned(local.length());
    others_ = new (std::nothrow) std::byte[second + peer.length()];
    if (!others_) return;
    std::memcpy(others_, local.raw(), local.length());
    std::memcpy(others_ + second, peer.raw(), peer.length());
    lengths_[0] = static_cast<std::uint8_t>(local.length());
    lengths_[1] = static_cast<std::uint8_t>(peer.length());
}

address kept_names::get(std::size_t which) const noexcept {
    if (is_ip4_) {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        name.sin_addr.s_addr = hosts_[which];
        name.sin_port = ports_[which];
        return {reinterpret_cast<const sockaddr*>(&name), sizeof(name)};
    }
    if (!lengths_[which]) return {};
    const std::size_t begin = which ? aligned(lengths_[0]) : 0;
    return {reinterpret_cast<const sockaddr*>(others_ + begin), lengths_[which]};
}

}  // namespace ouro::detail
