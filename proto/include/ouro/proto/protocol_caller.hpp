// Calls a protocol the way the contract of transports asks. For makers of transports.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include <ouro/proto/protocol.hpp>
#include <ouro/runtime/context.hpp>
#include <ouro/runtime/result.hpp>

namespace ouro {

class loop;

/// The receiver of a transport's callbacks, of any kind: a `lease_protocol` gets leases of copies.
/// Each call goes to the protocol that is attached when it begins, which outlives it though it may
/// be replaced meanwhile. What a protocol throws is reported to the loop's exception handler; where
/// the contract ends the connection for it (rules 300, 304, 314-317), the call returns the error to
/// end it with.
///
/// Threads  the loop's thread; but for `pause`, never from inside a call of the user.
class protocol_caller {
  public:
    /// `subject` is what reports call the transport; it lives as long as this.
    protocol_caller(loop& home, const char* subject) noexcept : home_(&home), subject_(subject) {}

    /// Makes `receiver` the one to call from now on.
    ///
    /// Errors  throws `std::system_error` (`errc::value_error`) unless it is a `protocol`, a
    ///         `buffered_protocol` or a `lease_protocol`.
    void attach(std::shared_ptr<base_protocol> receiver);
    /// The one to call; null once `lost` was called.
    const std::shared_ptr<base_protocol>& receiver() const noexcept { return receiver_; }

    /// Calls `connection_made`.
    void made(std::shared_ptr<transport> link) noexcept;
    /// Gives the receiver a beginning of `data`: all of it, or what a buffered one has room for.
    /// `reads()` tells whether it still may get any: `get_buffer` may pause, close or replace.
    ///
    /// Result  how much it took; 0 when it may not have any.
    /// Errors  end the connection with it.
    template <class Reads>
    result<std::size_t> give(bytes data, Reads&& reads) noexcept;
    /// Calls `eof_received`, whose answer is the result.
    ///
    /// Errors  end the connection with it.
    result<bool> eof() noexcept;
    /// Calls `pause_writing`.
    void pause() noexcept;
    /// Calls `resume_writing`.
    void resume() noexcept;
    /// Calls `connection_lost`, and lets go of the receiver.
    void lost(error why) noexcept;

  private:
    result<std::size_t> stream(bytes data) noexcept;
    result<mut_bytes> buffer(std::ptrdiff_t hint) noexcept;
    result<std::size_t> updated(buffered_protocol& of, std::size_t count) noexcept;
    /// Calls `call` with the receiver as what it is.
    template <class Call>
    void visit(Call&& call);
    template <class Call>
    error attempt(const char* where, Call&& call) noexcept;

    loop* home_;
    const char* subject_;
    context values_ = context::current();  // what callbacks run with (rule 291)
    std::shared_ptr<base_protocol> receiver_;
    protocol* streaming_ = nullptr;  // receiver_ as what it is: one of the three
    buffered_protocol* buffered_ = nullptr;
    lease_protocol* leasing_ = nullptr;
};

template <class Reads>
result<std::size_t> protocol_caller::give(bytes data, Reads&& reads) noexcept {
    if (!buffered_) return stream(data);
    const auto asked = receiver_;
    const auto room = buffer(static_cast<std::ptrdiff_t>(data.size()));
    if (!room) return room.error();
    if (!reads() || receiver_ != asked) return 0;
    if (room->empty()) return updated(*buffered_, 0);
    const std::size_t part = data.size() < room->size() ? data.size() : room->size();
    std::memcpy(room->data(), data.data(), part);
    return updated(*buffered_, part);
}

}  // namespace ouro
