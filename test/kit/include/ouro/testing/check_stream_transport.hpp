// What every stream transport must do, checked: for transports of yours as for those of the
// library.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ouro/proto/create_connection.hpp>
#include <ouro/proto/transport.hpp>
#include <ouro/runtime/function.hpp>
#include <ouro/runtime/task.hpp>

namespace ouro::testing {

/// The two ends of one connection.
using transport_pair = std::pair<std::shared_ptr<transport>, std::shared_ptr<transport>>;

/// Connects two transports and puts what each factory makes on them. Called once for each check;
/// each factory is to be called once.
///
/// Result  both ends, after `connection_made` has run on both (rule 267).
using transport_maker =
    function<task<transport_pair>(protocol_factory left, protocol_factory right)>;

/// What the transport can do, and how patiently it is looked at. What it cannot do is skipped, and
/// the report says so.
struct conformance_options {
    bool write_eof = true;           ///< one direction can end before the other
    bool buffered_protocols = true;  ///< it serves a `buffered_protocol` too
    bool lease_protocols = true;     ///< it serves a `lease_protocol` too
    bool write_limits = true;        ///< `set_write_buffer_limits` works
    bool back_pressure = true;       ///< a peer that does not read makes the write queue grow
    /// Size of the large transfers.
    std::size_t large_bytes = 1024 * 1024;
    /// The most that is written before a peer that does not read must make the queue grow.
    std::size_t pressure_bytes = 32 * 1024 * 1024;
    /// How long, on the loop's clock, a thing may take that must happen.
    std::chrono::milliseconds patience = std::chrono::seconds(30);
    /// How long nothing must happen where nothing may happen.
    std::chrono::milliseconds quiet_time = std::chrono::milliseconds(5);
    /// Runs only the checks whose name contains this.
    std::string only{};
};

/// One thing that was not as it must be.
struct conformance_finding {
    std::string expected;
    std::string happened;
};

/// What one check saw.
struct conformance_check {
    std::string name;
    std::string rules;    ///< numbers of the rules it stands for, as in "263, 340"
    std::string skipped;  ///< why it did not run; empty when it did
    std::vector<conformance_finding> findings;  ///< at most five with the same expectation

    /// True when it ran and found nothing.
    bool passed() const noexcept { return skipped.empty() && findings.empty(); }
    /// True when it found something.
    bool failed() const noexcept { return !findings.empty(); }
};

/// What all checks saw, in the order in which they ran.
struct conformance_report {
    std::vector<conformance_check> checks;

    /// True when at least one check ran and none failed.
    bool passed() const noexcept;
    /// The counts, then each finding and each skipped check, a line or more for each.
    std::string describe() const;
};

/// Puts transports through many small checks, each on a fresh pair and bounded in time, with
/// streaming protocols, with buffered ones and with those that take leases.
///
/// While it runs, the loop's exception handler is its own: a report it does not expect is a
/// finding. The one that was there comes back at the end. Nothing else should run on the loop.
///
/// Result    what it found; a transport that misbehaves makes no error.
/// Cancel    both ends of the check under way are aborted.
/// Lifetime  `make` lives until the end of the call.
task<conformance_report> check_stream_transport(transport_maker make,
                                                conformance_options options = {});

}  // namespace ouro::testing
