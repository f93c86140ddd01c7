// The life of pipe transports, and how they are made.
#include "pipe_transport.hpp"

#include <ouro/runtime/io.hpp>

#include "made_wait.hpp"

namespace ouro::detail {

pipe_transport::pipe_transport(loop& home, io::file_kind kind,
                               std::shared_ptr<base_protocol> receiver)
    : pipe_view(home, -1, kind), receiver_(std::move(receiver)) {
    ready_node::run = &run_soon;
    loop_resource::shut = [](loop_resource& self) noexcept {
        static_cast<pipe_transport&>(self).abort();
    };
}

pipe_transport::~pipe_transport() {
    if (fd_ >= 0) io::close(*home_, fd_);  // never begun: its creator was cancelled
}

void pipe_transport::own(int fd) noexcept {
    fd_ = fd;
    io::claim(*home_, fd);
    io::adopt(*home_, fd);
}

void pipe_transport::begin_soon(std::shared_ptr<pipe_transport> self, wait_point* creator) {
    self_ = std::move(self);
    creator_ = creator;
    add_resource(*home_, *this);
    made_due_ = true;
    schedule();
}

void pipe_transport::call_made() noexcept {
    guarded("connection_made", [this] {
        if (auto* streaming = dynamic_cast<protocol*>(receiver_.get())) {
            streaming->connection_made(self_);
        } else if (auto* buffered = dynamic_cast<buffered_protocol*>(receiver_.get())) {
            buffered->connection_made(self_);
        }
    });
    begun_ = true;
    if (!closing_) start();
    if (wait_point* creator = std::exchange(creator_, nullptr)) creator->complete_or_wake();
}

std::any pipe_transport::extra_info(std::string_view name) const {
    if (name == "pipe") return static_cast<const pipe_view*>(this);
    return {};
}

void pipe_transport::replace(std::shared_ptr<base_protocol> receiver) {
    retired_.push_back(std::exchange(receiver_, std::move(receiver)));  // it may be the caller
    schedule();
}

void pipe_transport::report_thrown(const char* where) noexcept {
    report(where, error::from_exception(std::current_exception(), where));
}

void pipe_transport::report(const char* where, error why) noexcept try {
    home_->call_exception_handler({.message = std::string("a protocol failed in ") + where,
                                   .error = std::move(why),
                                   .subject = "pipe transport fd " + std::to_string(fd_),
                                   .created = {}});
} catch (...) {
    // No memory for the report.
}

void pipe_transport::schedule() noexcept {
    if (!ready_node::queued) make_ready(*home_, *this);
}

void pipe_transport::run_soon(ready_node& node) noexcept {
    auto& self = static_cast<pipe_transport&>(node);
    const auto keep = self.self_;
    const context::use in(self.values_);
    self.retired_.clear();
    if (std::exchange(self.made_due_, false)) self.call_made();
    self.run_due();
    // A node that was queued again must not be freed: then in its next run.
    if (self.lost_due_ && !self.ready_node::queued) self.lose();
}

void pipe_transport::end(error why) noexcept {
    if (ending_ || lost_) return;
    closing_ = ending_ = true;
    why_lost_ = std::move(why);
    take_back();
    settle();
}

void pipe_transport::settle() noexcept {
    if (!ending_ || lost_ || lost_due_ || operations_out()) return;
    lost_due_ = true;
    schedule();
}

void pipe_transport::lose() noexcept {
    const auto keep = self_;
    lost_ = true;
    let_go();
    if (begun_) guarded("connection_lost", [this] { receiver_->connection_lost(why_lost_); });
    if (wait_point* creator = std::exchange(creator_, nullptr)) creator->complete_or_wake();
    io::close(*home_, std::exchange(fd_, -1));
    remove_resource(*home_, *this);
    receiver_.reset();
    self_.reset();
}

// ---- making

namespace {

/// What kind `fd` is, if a transport can have it.
result<io::file_kind> usable_kind(loop& home, int fd, pipe_files allowed) {
    auto kind = io::kind_of(home, fd);
    if (!kind) return kind.error().while_doing("connect a pipe");
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
