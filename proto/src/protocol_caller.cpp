// Protocols as a transport calls them.
#include <ouro/proto/protocol_caller.hpp>

#include <system_error>

#include <ouro/proto/transport.hpp>
#include <ouro/runtime/loop.hpp>

namespace ouro {

void protocol_caller::attach(std::shared_ptr<base_protocol> receiver) {
    auto* const buffered = dynamic_cast<buffered_protocol*>(receiver.get());
    auto* const streaming = buffered ? nullptr : dynamic_cast<protocol*>(receiver.get());
    auto* const leasing =
        buffered || streaming ? nullptr : dynamic_cast<lease_protocol*>(receiver.get());
    if (!buffered && !streaming && !leasing) {
        throw std::system_error(
            make_error_code(errc::value_error),
            "a transport needs a protocol, a buffered_protocol or a lease_protocol");
    }
    receiver_ = std::move(receiver);
    buffered_ = buffered;
    streaming_ = streaming;
    leasing_ = leasing;
}

template <class Call>
void protocol_caller::visit(Call&& call) {
    if (streaming_) return call(*streaming_);
    if (buffered_) return call(*buffered_);
    call(*leasing_);
}

/// Runs `call` with the receiver kept, in its context; reports what it throws.
template <class Call>
error protocol_caller::attempt(const char* where, Call&& call) noexcept {
    const auto keep = receiver_;
    const context::use in(values_);
    error why;
    try {
        why = call();
    } catch (...) {
        why = error::from_exception(std::current_exception(), where);
    }
    if (why) {
        home_->call_exception_handler(
            {.message = detail::words([&] { return "a protocol failed in " + std::string(where); }),
             .error = why,
             .subject = detail::words(subject_),
             .created = {}});
    }
    return why;
}

void protocol_caller::made(std::shared_ptr<transport> link) noexcept {
    (void)attempt("connection_made", [&] {
        visit([&](auto& receiver) { receiver.connection_made(std::move(link)); });
        return error();
    });
}

result<std::size_t> protocol_caller::stream(bytes data) noexcept {
    auto failed = attempt("data_received", [&] {
        streaming_ ? streaming_->data_received(data)
                   : leasing_->data_received(buffer_lease::copy_of(data));
        return error();
    });
    if (failed) return failed;
    return data.size();
}

result<mut_bytes> protocol_caller::buffer(std::ptrdiff_t hint) noexcept {
    mut_bytes room;
    auto failed = attempt("get_buffer", [&] {
        room = buffered_->get_buffer(hint);
        return error();
    });
    if (failed) return failed;
    return room;
}

result<std::size_t> protocol_caller::updated(buffered_protocol& of, std::size_t count) noexcept {
    if (count == 0) {
        return attempt("get_buffer", [] { return error(errc::empty_buffer, "get_buffer"); });
    }
    auto failed = attempt("buffer_updated", [&] {
        of.buffer_updated(count);
        return error();
    });
    if (failed) return failed;
    return count;
}

result<bool> protocol_caller::eof() noexcept {
    bool keep_open = false;
    auto failed = attempt("eof_received", [&] {
        visit([&](auto& receiver) { keep_open = receiver.eof_received(); });
        return error();
    });
    if (failed) return failed;
    return keep_open;
}

void protocol_caller::pause() noexcept {
    (void)attempt("pause_writing", [this] {
        receiver_->pause_writing();
        return error();
    });
}

void protocol_caller::resume() noexcept {
    (void)attempt("resume_writing", [this] {
        receiver_->resume_writing();
        return error();
    });
}

void protocol_caller::lost(error why) noexcept {
    (void)attempt("connection_lost", [&] {
        receiver_->connection_lost(std::move(why));
        return error();
    });
    streaming_ = nullptr;
    buffered_ = nullptr;
    leasing_ = nullptr;
    receiver_.reset();
}

}  // namespace ouro
