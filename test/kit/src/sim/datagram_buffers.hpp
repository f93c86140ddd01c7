// The buffers in which a simulated engine lends datagrams.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <ouro/runtime/checks.hpp>

#include "datagram_layout.hpp"
#include "world.hpp"

namespace ouro::testing::sim {

class datagram_buffers {
  public:
    static constexpr std::uint32_t lease_mark = 1U << 31;

    explicit datagram_buffers(std::size_t count) : buffers_(count) {}
    ~datagram_buffers() {
        for (auto& each : buffers_) {
            if (each) ouro::detail::unpoison(each.get(), ouro::detail::datagram_buffer_bytes);
        }
    }
    datagram_buffers(const datagram_buffers&) = delete;
    datagram_buffers& operator=(const datagram_buffers&) = delete;

    bool empty() const noexcept { return lent_.size() == buffers_.size(); }
    /// Receives into a buffer; as `world::receive_message`, but the whole length with the head. The
    /// buffer is lent when that is not negative.
    std::int64_t receive(world& from, const endpoint_ptr& on, std::byte*& data,
                         std::uint32_t& lease) {
        using namespace ouro::detail;
        std::size_t free = 0;
        while (std::find(lent_.begin(), lent_.end(), free) != lent_.end()) ++free;
        if (!buffers_[free]) buffers_[free] = std::make_unique<std::byte[]>(datagram_buffer_bytes);
        data = buffers_[free].get();
        lease = lease_mark | static_cast<std::uint32_t>(free);
        unpoison(data, datagram_buffer_bytes);
        iovec room{data + datagram_payload_at, datagram_payload_room};
        msghdr header{};
        header.msg_name = data + sizeof(datagram_head);
        header.msg_namelen = datagram_name_room;
        header.msg_control = data + sizeof(datagram_head) + datagram_name_room;
        header.msg_controllen = datagram_control_room;
        header.msg_iov = &room;
        header.msg_iovlen = 1;
        const std::int64_t got = from.receive_message(on, header, MSG_TRUNC);
        if (got < 0) {
            poison(data, datagram_buffer_bytes);
            return got;
        }
        const datagram_head head{
            header.msg_namelen, static_cast<std::uint32_t>(header.msg_controllen),
            static_cast<std::uint32_t>(got), static_cast<std::uint32_t>(header.msg_flags)};
        std::memcpy(data, &head, sizeof head);
        lent_.push_back(free);
        return static_cast<std::int64_t>(datagram_payload_at) +
               std::min<std::int64_t>(got, datagram_payload_room);
    }
    void give_back(std::uint32_t lease) noexcept {
        const std::size_t index = lease & ~lease_mark;
        std::erase(lent_, index);
        ouro::detail::poison(buffers_[index].get(), ouro::detail::datagram_buffer_bytes);
    }
    std::size_t lent() const noexcept { return lent_.size(); }

  private:
    std::vector<std::unique_ptr<std::byte[]>> buffers_;
    std::vector<std::size_t> lent_;
};

}  // namespace ouro::testing::sim
