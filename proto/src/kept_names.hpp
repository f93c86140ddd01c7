// The addresses of a connection, as they were when it was made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <ouro/net/address.hpp>

namespace ouro::detail {

/// The own address and the peer's, in as few bytes as they have: an idle connection remembers
/// little else. Those of IPv4 stand here, others in memory of their own.
class kept_names {
  public:
    kept_names() noexcept = default;
    kept_names(const kept_names&) = delete;
    kept_names& operator=(const kept_names&) = delete;
    ~kept_names() {
        if (!is_ip4_) delete[] others_;
    }

    /// Once. Either may be unknown; without memory both are.
    void keep(const address& local, const address& peer) noexcept;
    /// The addresses; empty when unknown.
    address local() const noexcept { return get(0); }
    address peer() const noexcept { return get(1); }

  private:
    address get(std::size_t which) const noexcept;

    union {
        std::byte* others_ = nullptr;  // both, one after the other
        std::uint32_t hosts_[2];       // if both are of IPv4, in the byte order of the network
    };
    std::uint16_t ports_[2]{};
    std::uint8_t lengths_[2]{};  // of the others
    bool is_ip4_ = false;
};

}  // namespace ouro::detail
