// What pipe transports share, and how they are made.
#include "pipe_transport.hpp"

#include <ouro/runtime/io.hpp>

#include "made_wait.hpp"

namespace ouro::detail {

pipe_transport::pipe_transport(loop& home, io::file_kind kind,
                               std::shared_ptr<base_protocol> receiver)
    : transport_life(home, -1, kind) {
    receiver_ = std::move(receiver);
}

void pipe_transport::own(int fd) noexcept {
    fd_ = fd;
    io::claim(*home_, fd);
    io::adopt(*home_, fd);
}

void pipe_transport::tell_made() {
    if (auto* streaming = dynamic_cast<protocol*>(receiver_.get())) {
        streaming->connection_made(self_);
    } else if (auto* buffered = dynamic_cast<buffered_protocol*>(receiver_.get())) {
        buffered->connection_made(self_);
    }
}

std::any pipe_transport::extra_info(std::string_view name) const {
    if (name == "pipe") return static_cast<const pipe_view*>(this);
    return {};
}

void pipe_transport::replace(std::shared_ptr<base_protocol> receiver) {
    retired_.push_back(std::exchange(receiver_, std::move(receiver)));  // it may be the caller
    schedule();
}

std::string pipe_transport::describe() const { return "pipe transport fd " + std::to_string(fd_); }

void pipe_transport::lose() noexcept {
    tell_lost();
    let_go();
}

// ---- making

namespace {

/// What kind `fd` is, if a transport can have it.
result<io::file_kind> usable_kind(loop& home, int fd, pipe_files allowed) {
    auto kind = io::kind_of(home, fd);
    if (!kind) return error(kind.error().code(), "connect a pipe");
    const bool file = *kind == io::file_kind::regular;
    if (*kind == io::file_kind::other || (file && allowed != pipe_files::any)) {
        return error(errc::value_error, "connect a pipe: fd " + std::to_string(fd) +
                                            " is no pipe, socket, terminal or character device");
    }
    return *kind;
}

/// Puts a protocol on `fd`, or on `given` if that is an end; taken over once nothing can fail.
template <class Transport>
task<std::shared_ptr<transport>> put_on(protocol_factory factory, int fd, pipe_end given,
                                        pipe_files allowed) {
    loop& home = loop::current();
    if (given) fd = given.fd();
    const io::file_kind kind = co_await usable_kind(home, fd, allowed);
    auto link = std::make_shared<Transport>(home, kind, factory());
    if (given) fd = given.release();
    link->own(fd);
    co_await made_wait(link, "connect a pipe");
    co_return link;
}

}  // namespace

task<std::shared_ptr<transport>> read_from(protocol_factory factory, pipe_end given,
                                           pipe_files allowed) {
    if (!given) co_return error(errc::value_error, "connect a closed pipe");
    co_return co_await put_on<read_pipe>(std::move(factory), -1, std::move(given), allowed);
}
task<std::shared_ptr<transport>> read_from(protocol_factory factory, int fd) {
    return put_on<read_pipe>(std::move(factory), fd, {}, pipe_files::waitable);
}
task<std::shared_ptr<transport>> write_to(protocol_factory factory, pipe_end given,
                                          pipe_files allowed) {
    if (!given) co_return error(errc::value_error, "connect a closed pipe");
    co_return co_await put_on<write_pipe>(std::move(factory), -1, std::move(given), allowed);
}
task<std::shared_ptr<transport>> write_to(protocol_factory factory, int fd) {
    return put_on<write_pipe>(std::move(factory), fd, {}, pipe_files::waitable);
}

}  // namespace ouro::detail
