// Readiness of descriptors whose reading and writing somebody else does: a library with sockets of
// its own, an eventfd, a pipe.
#pragma once

#include <ouro/runtime/function.hpp>
#include <ouro/runtime/result.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

class loop;

/// Calls `what` in every turn in which `fd` can be read without waiting, which is so at its end and
/// in error as well, until `remove_reader`. Takes the place of an earlier reader of `fd`, which is
/// not called any more (rule 677). What is called may add and remove, itself included; what it
/// throws goes to the exception handler.
///
///     co_await add_reader(fd, [&] { library.process(fd); });
///
/// Errors    `errc::value_error` for a negative descriptor or an empty `what`; the system's
///           bad_file_descriptor; `errc::invalid_state` for a descriptor that a transport owns
///           (rule 682); `errc::loop_closed`.
/// Lifetime  remove the reader before `fd` is closed: what is watched stays open until then, behind
///           its number. Number and descriptor may be used again at once after that (rule 684).
/// Threads   the loop's thread.
/// Cost      one operation for each call; adding and removing look a number up.
result<> add_reader(int fd, callback what);
/// The same on a loop that does not run yet.
result<> add_reader(loop& home, int fd, callback what);
/// The same for writing. Readers and writers of one descriptor are independent (rule 678).
result<> add_writer(int fd, callback what);
/// The same on a loop that does not run yet.
result<> add_writer(loop& home, int fd, callback what);

/// The reader is not called any more, also when its descriptor was found readable in this very turn
/// (rule 680), and destroyed.
///
/// Result  whether there was one. False for whatever else `fd` is, and on a closed loop (rules 23,
///         679).
bool remove_reader(int fd) noexcept;
/// The same on a loop that does not run.
bool remove_reader(loop& home, int fd) noexcept;
/// The same for the writer.
bool remove_writer(int fd) noexcept;
/// The same on a loop that does not run.
bool remove_writer(loop& home, int fd) noexcept;

/// Waits until `fd` can be read without waiting: there is something, or it has ended, or is in
/// error. Any number of tasks may wait for one descriptor, beside its reader.
///
/// Errors    as `add_reader`.
/// Cancel    the descriptor is left alone.
/// Lifetime  `fd` stays open until the wait has ended.
/// Threads   the loop's thread.
/// Cost      one operation.
task<> readable(int fd);
/// The same for writing.
task<> writable(int fd);

}  // namespace ouro
