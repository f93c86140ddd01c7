// What two ends of one connection say to each other, and the accounts of who got what.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <ouro/net/socket.hpp>

namespace ouro::simulated {

/// Tells that a rule was broken: the simulation takes a report nobody expects for a violation.
void wrong(std::string what);

/// A number from the seed, `least` to `most`.
std::uint64_t draw(std::uint64_t least, std::uint64_t most);
/// True once in `count` times.
bool once_in(std::uint64_t count);
/// A time from the seed.
std::chrono::microseconds draw_time(std::uint64_t least_us, std::uint64_t most_us);

enum class side : unsigned char { client, server };
inline side other(side of) noexcept { return of == side::client ? side::server : side::client; }
/// "client" or "server".
const char* to_string(side of) noexcept;

/// How an end leaves.
enum class ending : unsigned char {
    polite,   ///< says all, half-closes, reads to the end of stream, then closes
    patient,  ///< the same, but half-closes only after the peer did
    closes,   ///< closes at some moment, whatever is still to come
    aborts,   ///< aborts at some moment
};

/// What one end does in a conversation.
struct plan {
    std::uint64_t total_bytes = 0;   ///< to say
    std::uint64_t most_chunk = 1;    ///< bytes in one write
    std::uint64_t leaves_after = 0;  ///< bytes said and heard, for `closes` and `aborts`
    ending how = ending::polite;
    bool rests = false;   ///< waits between writes
    bool pauses = false;  ///< stops reading now and then
};

/// The number at the start of what a client says, by which a server knows which conversation it is.
inline constexpr std::size_t opening_bytes = 8;

/// One connection as both ends know it. Each direction is a stream of bytes that follow from the
/// number of the conversation and their place, so that the receiver can tell what is wrong, twice,
/// or missing.
class conversation {
  public:
    /// A conversation about at most `most_bytes` in each direction. In a strict one both are polite
    /// and nothing may go wrong.
    conversation(std::uint64_t number, std::uint64_t most_bytes, bool strict);

    /// One direction: what its sender did, and what came out at the other end.
    struct half {
        std::uint64_t written = 0;
        std::uint64_t received = 0;
        bool present = false;  ///< there is a sender
        bool ended = false;    ///< it has said its end, after all that was written
        bool broken = false;   ///< it was cut short: an abort, a cancellation, a dead connection
    };
    half& of(side who) noexcept { return halves_[static_cast<int>(who)]; }
    const plan& plan_of(side who) const noexcept { return plans_[static_cast<int>(who)]; }
    std::uint64_t number() const noexcept { return number_; }
    bool strict() const noexcept { return strict_; }

    /// What `sender` says from `offset` on.
    void fill(side sender, std::uint64_t offset, mut_bytes into) const noexcept;
    /// The other end got `data` from `sender`: it must be what comes next (G2).
    void take(side sender, bytes data);
    /// The other end saw the end of `sender`'s stream: what is wrong with that, or empty. Nothing
    /// may be missing.
    std::string take_end(side sender) const;
    /// An end is done. After the second one everything must have gone through in a strict one.
    void finish();
    /// Whether both ends came to their end as they should.
    bool finished() const noexcept { return ends_done_ == 2; }
    /// `why` ended it for `who`. Whether that can be.
    void take_error(side who, const error& why);

    /// Both directions as a text.
    std::string describe() const;

  private:
    std::string name(side sender) const;
    const std::uint64_t number_;
    const bool strict_;
    plan plans_[2];
    half halves_[2];
    int ends_done_ = 0;
};

/// Whether `why` is what a connection may die of in a hostile network.
bool may_end_a_connection(const error& why);
/// Whether `why` is what an attempt to connect or to listen may meet in a hostile network.
bool may_prevent_a_connection(const error& why);

}  // namespace ouro::simulated
