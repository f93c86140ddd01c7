// An engine around another one that fails, shortens or delays what goes through the door.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <ouro/runtime/loop.hpp>
#include <ouro/testing/fault.hpp>

namespace ouro::testing {

/// The calls of the door, as an `injection` sees them.
enum class door_call : std::uint8_t {
    recv,
    recv_ring,
    send,
    send_pieces,
    accept,
    accept_many,
    connect,
    read,
    poll,
    send_message,
    recv_message,
    recv_datagrams,
    resolve,
    offload,  // async
    socket,
    socket_pair,
    bind,
    listen,
    try_send,
    try_send_messages,
    shutdown,
    get_option,
    set_option,
    local_name,
    peer_name,
    watch_signals,
    identify_file,
    remove_file,
    set_file_mode,
    peer_credentials,
    set_close_on_exec,
    read_ring,  // async, and so is write
    write,
    make_pipe,
    try_write,
    spawn,
    fetch,
    read_at,  // async
    open_carrier,
    try_forward,
    duplicate,
    try_fetch,
};
/// The name of `call`.
std::string_view to_string(door_call call) noexcept;
/// The errors with which the kernel may answer `call`. errno values, as in the man pages.
std::span<const int> legal_errors(door_call call) noexcept;

/// Puts an engine around another one: that of the kernel, or that of a simulation. Every call of
/// the door is numbered from 1; the plan says what happens to which:
///
/// - `op_fails`: it is not done and fails with `value`, by default the first of its legal errors.
///   Sticky: so does every later call of the same kind.
/// - `op_short`: a receive, read or send gets `value` bytes of what it was given, at least one; a
///   shared-ring receive lends all that comes in pieces of so many bytes. Of no effect on others.
/// - `op_waits`: an operation misses `value` polls, at least one, before it is handed on. Cancelled
///   meanwhile, it is never done. Of no effect on synchronous calls.
///
/// Lifetime  lives longer than the loops made with its options.
/// Threads   that of the loop.
class injection {
  public:
    /// How it changes what passes.
    struct settings {
        fault_plan plan{};
        /// Every receive from a stream socket gets one byte at most, every send to one takes 1 to 3
        /// bytes (faults 1, 2). Datagrams stay whole.
        bool hostile_io = false;
        /// Whether `memory` is kept.
        bool notes_memory = false;
    };
    /// Memory that the kernel wrote to, or was asked to read from.
    struct memory_use {
        door_call call{};
        int fd = -1;  ///< -1 for what `recv_ring` lends
        const std::byte* data = nullptr;
        std::size_t length = 0;
    };
    injection();
    explicit injection(settings what);
    ~injection();
    injection(const injection&) = delete;
    injection& operator=(const injection&) = delete;

    /// `base`, for a loop behind this. A rig in `base`, such as that of a simulation, is what it is
    /// put around.
    loop_options options(loop_options base = {});

    /// The calls seen so far, in order: `seen()[17 - 1]` is what a plan calls 17.
    const std::vector<door_call>& seen() const noexcept;
    /// How many faults struck.
    std::size_t struck() const noexcept;
    /// What each receive was given or lent, and what each send was: bytes that leave from where
    /// they came were not copied on the way.
    const std::vector<memory_use>& memory() const noexcept;

  private:
    class wrapper;
    std::unique_ptr<wrapper> wrapper_;
};

}  // namespace ouro::testing
