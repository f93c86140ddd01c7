// One simulated socket: what a kernel knows of it.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ouro/net/address.hpp>
#include <ouro/runtime/loop.hpp>

namespace ouro::testing::sim {

struct endpoint;
using endpoint_ptr = std::shared_ptr<endpoint>;
using byte_vector = std::vector<std::byte>;

/// Bytes in the order in which they came.
class byte_queue {
  public:
    std::size_t size() const noexcept { return data_.size() - taken_; }
    bool empty() const noexcept { return size() == 0; }
    void append(std::span<const std::byte> more) {
        data_.insert(data_.end(), more.begin(), more.end());
    }
    /// Moves the first `into.size()` bytes out.
    void take(std::span<std::byte> into) noexcept;
    void clear() noexcept {
        data_.clear();
        taken_ = 0;
    }

  private:
    byte_vector data_;
    std::size_t taken_ = 0;
};

/// What travels from one end of a connection to the other, in order.
struct segment {
    enum class kind : std::uint8_t { data, fin, reset, accepted, established };
    kind what{};
    byte_vector bytes{};
    clock::time_point sent{};
    clock::time_point due{};
};

/// One message of a datagram socket.
struct datagram {
    address from;
    byte_vector bytes;
};

/// Which end of a pipe it is, if any.
enum class pipe_role : std::uint8_t { none, reader, writer };

enum class state : std::uint8_t { fresh, listening, connecting, connected, ended };

struct endpoint {
    endpoint(int in_family, int of_type, std::uint64_t with_number)
        : family(in_family), type(of_type), number(with_number) {}

    bool stream() const noexcept { return type == SOCK_STREAM; }
    bool unix_domain() const noexcept { return family == AF_UNIX; }
    /// Bytes it may still hand to the kernel.
    std::size_t room() const noexcept {
        const std::size_t capacity = send_bytes + peer_receive_bytes;
        return outstanding < capacity ? capacity - outstanding : 0;
    }
    int take_error() noexcept { return std::exchange(error, 0); }
    bool of_pipe() const noexcept { return role != pipe_role::none; }
    bool readable() const noexcept;
    /// The poll(2) events that hold.
    std::uint32_t ready_events() const noexcept;

    // Who it is.
    const int family;
    const int type;
    const std::uint64_t number;  // in order of creation
    address local{};
    address remote{};
    state at = state::fresh;
    pipe_role role = pipe_role::none;
    bool bound = false;
    int backlog_limit = 0;
    struct option {
        int level;
        int name;
        byte_vector value;
    };
    std::vector<option> options{};

    // Who holds it: descriptors and operations. At zero it is closed.
    unsigned users = 0;
    bool closed = false;

    // What came in.
    byte_queue inbox{};
    std::deque<datagram> datagrams{};
    int error = 0;               // met by the next call
    bool ended_by_peer = false;  // its end of stream came
    bool shut_read = false;

    // What goes out.
    std::weak_ptr<endpoint> peer{};
    std::deque<segment> under_way{};
    bool pump_due = false;
    bool shut_write = false;
    bool linger_reset = false;
    bool abandoned = false;       // nobody accepted it before its listener was closed
    std::size_t outstanding = 0;  // sent, and not yet read by the peer as far as we know
    std::size_t unreported = 0;   // read here, and the peer has not heard of it
    bool report_due = false;
    std::size_t send_bytes = 0;
    std::size_t receive_bytes = 0;
    std::size_t peer_receive_bytes = 0;

    // A listener's connections nobody has accepted, and those about to be such.
    std::deque<endpoint_ptr> backlog{};
    std::vector<endpoint_ptr> half_open{};
    std::weak_ptr<endpoint> listener{};  // of a connection that was not accepted yet

    // Operations that wait for it, in order; the engine's own.
    std::vector<void*> waiting{};
};

/// The poll(2) events that hold at one end of a pipe.
std::uint32_t pipe_events(const endpoint& at) noexcept;

}  // namespace ouro::testing::sim
