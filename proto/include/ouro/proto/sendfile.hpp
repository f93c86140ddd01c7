// A file on a transport.
#pragma once

#include <cstdint>
#include <memory>

#include <ouro/net/send_file.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro {

/// Sends from the open file `file`, in order with what was and will be written to `link`. On the
/// library's stream transports the kernel carries the bytes and nothing is copied, but for what a
/// full socket waits with; on any other transport they are written, as far as its watermarks allow.
///
/// Meanwhile reading is paused. While the kernel carries, `write` and its kin are refused
/// (`errc::invalid_state`, rule 652), and `close` ends the transfer as `abort` does. While bytes
/// are written, callbacks go to a protocol of the transfer's own; the receiver that was there hears
/// of `connection_lost`, and comes back at the end (rule 658): who sets another one meanwhile takes
/// the transfer's away, which then waits for ever.
///
/// Result    how many bytes were sent. The position of the file is then behind them, however it
///           ends (rule 648).
/// Errors    `errc::invalid_state` on a closing transport, or beside another transfer;
///           `errc::unsupported` where the bytes would have to be copied and `fallback` is off;
///           `errc::value_error` for a count of 0; `errc::write_after_eof`. What ended the
///           connection, if that did (rule 659). What reading the file says.
/// Cancel    stops it; what was sent is sent, and the connection lives on (rule 662).
/// Lifetime  `file` stays open until the end.
/// Threads   the loop's thread, which never waits for a disk.
/// Cost      a pipe for the time of the transfer, and one operation for each 256 KiB
///           (docs/decisions/0016).
task<std::uint64_t> sendfile(std::shared_ptr<transport> link, int file, sendfile_options how = {});

}  // namespace ouro
