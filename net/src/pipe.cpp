// Pipes you await.
#include <ouro/net/pipe.hpp>

namespace ouro {
namespace detail {
namespace {

const wait_kind file_read_kind{"read", &file_read_op::cancel_op, nullptr, &file_read_op::describe};
const wait_kind file_write_kind{"write", &file_write_op::cancel_op, nullptr,
                                &file_write_op::describe};

}  // namespace

file_read_op::file_read_op(socket_state& of, mut_bytes into, io::file_kind kind) noexcept
    : socket_awaitable(of, file_read_kind), into_(into), kind_(kind) {
    OURO_ASSERT(!into.empty(), "a read into an empty buffer would look like end of stream");
}
file_write_op::file_write_op(socket_state& of, bytes from, io::file_kind kind) noexcept
    : socket_awaitable(of, file_write_kind), from_(from), kind_(kind) {}

}  // namespace detail

pipe_end pipe_end::adopt(loop& home, int fd) {
    io::adopt(home, fd);
    io::ignore_broken_pipes(home);
    try {
        pipe_end made(new detail::socket_state{&home, fd, {}, 1});
        made.kind_ = io::kind_of(home, fd).value_or(io::file_kind::other);
        return made;
    } catch (...) {
        io::close(home, fd);
        throw;
    }
}

task<> pipe_end::write_all(bytes from) {
    while (!from.empty()) from = from.subspan(co_await write(from));
}

void pipe_end::close() noexcept {
    if (detail::socket_state* state = std::exchange(state_, nullptr)) {
        state->closed = true;
        state->cancel_uses();
        state->drop();
    }
}

int pipe_end::release() noexcept {
    OURO_ASSERT(live().uses.empty(), "a pipe was released with an operation under way");
    io::disown(home(), state_->fd);
    const int fd = std::exchange(state_->fd, -1);
    close();
    return fd;
}

// The states come first: there is no descriptor to lose then when there is no memory for them.
result<pipe_ends> pipe(loop& home) {
    pipe_end reader(new detail::socket_state{&home, -1, {}, 1});
    pipe_end writer(new detail::socket_state{&home, -1, {}, 1});
    io::ignore_broken_pipes(home);
    int fds[2];
    if (auto made = io::make_pipe(home, fds); !made) return made.error();
    reader.state_->fd = fds[0];
    writer.state_->fd = fds[1];
    return pipe_ends{std::move(reader), std::move(writer)};
}

}  // namespace ouro
