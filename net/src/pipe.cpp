// Pipes you await.
#include <ouro/net/pipe.hpp>

namespace ouro {
namespace detail {
namespace {

const wait_kind file_read_kind{"read", &file_read_op::cancel_op, nullptr, &file_read_op::describe};
const wait_kind file_write_kind{"write", &file_write_op::cancel_op, nullptr,
                                &file_write_op::describe};

}  // namespace

file_read_op::file_read_op(socket_state& of, mut_bytes into) noexcept
    : socket_awaitable(of, file_read_kind), into_(into) {
    OURO_ASSERT(!into.empty(), "a read into an empty buffer would look like end of stream");
}
file_write_op::file_write_op(socket_state& of, bytes from) noexcept
    : socket_awaitable(of, file_write_kind), from_(from) {}

}  // namespace detail

pipe_end pipe_end::adopt(loop& home, int fd) {
    io::ignore_broken_pipes(home);
    pipe_end made(home, fd);
    made.state_->kind = io::kind_of(home, fd).value_or(io::file_kind::other);
    return made;
}

task<> pipe_end::write_all(bytes from) {
    while (!from.empty()) from = from.subspan(co_await write(from));
}

result<pipe_ends> pipe(loop& home) {
    pipe_end reader(home);
    pipe_end writer(home);
    io::ignore_broken_pipes(home);
    int fds[2];
    if (auto made = io::make_pipe(home, fds); !made) return made.error();
    reader.state_->fd = fds[0];
    writer.state_->fd = fds[1];
    reader.state_->kind = writer.state_->kind = io::file_kind::pipe;
    return pipe_ends{std::move(reader), std::move(writer)};
}

}  // namespace ouro
