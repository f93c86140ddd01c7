// Readers and writers on pipes and on the standard streams of the process.
#pragma once

#include <cstddef>

#include <ouro/proto/pipe.hpp>
#include <ouro/streams/reader.hpp>
#include <ouro/streams/writer.hpp>

namespace ouro {

/// A reader on the reading end of a pipe, which is closed when the reader is gone. Errors and
/// cancellation as `connect_read_pipe`; the end of the stream comes when the last writer is gone.
task<stream_reader> open_read_pipe(pipe_end given,
                                   std::size_t limit_bytes = default_stream_limit_bytes);
/// The same with a descriptor of a pipe, fifo, socket, terminal or character device.
task<stream_reader> open_read_pipe(int fd, std::size_t limit_bytes = default_stream_limit_bytes);
/// A writer on the writing end of a pipe. Errors and cancellation as `connect_write_pipe`; when
/// nobody reads any more, `drain` fails with broken_pipe or connection_reset.
task<stream_writer> open_write_pipe(pipe_end given);
/// The same with a descriptor of a pipe, fifo, socket, terminal or character device.
task<stream_writer> open_write_pipe(int fd);

/// A reader on the standard input, whatever that is: a pipe, a terminal, a file. Descriptor 0 stays
/// open when the reader is gone, and its status flags are left alone.
///
/// Errors  as dup(2) and fstat(2); `errc::value_error` for a folder.
task<stream_reader> open_standard_input(std::size_t limit_bytes = default_stream_limit_bytes);
/// A writer on the standard output, whatever that is. Close it and `wait_closed` to be sure that
/// all was written; descriptor 1 stays open. What is printed by other means is not ordered with it.
task<stream_writer> open_standard_output();
/// A writer on the standard error stream.
task<stream_writer> open_standard_error();

}  // namespace ouro
