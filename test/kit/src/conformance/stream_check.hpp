// What a check of stream transports works with: a fresh pair, a recording protocol at each end, and
// a list of what was wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ouro/runtime/loop.hpp>
#include <ouro/testing/check_stream_transport.hpp>

namespace ouro::testing::detail {

using findings = std::vector<conformance_finding>;
/// Adds a finding, unless there are enough with the same expectation.
void add_finding(findings& to, std::string expected, std::string happened);

/// The three kinds of protocol.
enum class kind : std::uint8_t { streaming, buffered, leasing };

/// The callbacks of a protocol.
enum class moment : std::uint8_t { made, data, eof, lost, pause, resume, get_buffer };
inline constexpr std::size_t moment_count = 7;
inline constexpr std::string_view moment_names[moment_count] = {
    "connection_made", "a data callback", "eof_received", "connection_lost",
    "pause_writing",   "resume_writing",  "get_buffer"};

/// Records what happens to one protocol and does what a check tells it to. Any order of calls but
/// `made ((data | pause | resume)* eof?)? lost`, with pause and resume in turns, is a finding.
class probe {
  public:
    using hook = std::function<void()>;

    // What a check may look at.
    std::string story;           // the callbacks in words; runs of data are one
    std::string data;            // everything received
    std::size_t most_bytes = 0;  // the most that came with one data callback
    std::shared_ptr<transport> link;
    error why;           // the argument of connection_lost
    buffer_lease fresh;  // inside a data callback of a lease protocol: what it got
    int made = 0, datas = 0, eofs = 0, losses = 0, pauses = 0, resumes = 0;

    // What a check may set.
    std::string name = "left";
    hook on[moment_count];
    bool stays_open = false;        // what eof_received answers
    bool keeps_link = true;         // holds the transport
    bool inside_call = false;       // a check is inside a call of the transport
    std::size_t room_bytes = 4096;  // what a buffered protocol lends
    bool keeps_leases = false;      // of all that a lease protocol gets

    explicit probe(std::shared_ptr<findings> into) : found_(std::move(into)) {}
    virtual ~probe() = default;
    /// The protocol this is.
    virtual std::shared_ptr<base_protocol> as_protocol() = 0;

    bool lost() const noexcept { return losses > 0; }
    bool paused() const noexcept { return pauses > resumes; }
    hook& at(moment when) noexcept { return on[static_cast<std::size_t>(when)]; }
    /// A finding unless every lease that is kept still has the bytes it came with.
    void expect_leases_unchanged();
    /// Lets go of one of the leases that are kept, or of all.
    void drop_lease(std::size_t index);
    void drop_leases();
    std::size_t kept_leases() const noexcept { return kept_.size(); }
    /// Only records from now on.
    void forget_hooks() {
        for (hook& each : on) each = nullptr;
    }
    void note(std::string expected, std::string happened) {
        add_finding(*found_, std::move(expected), std::move(happened));
    }

  protected:
    void note_made(std::shared_ptr<transport> on_link);
    void note_data(bytes received);
    void note_lease(buffer_lease received);
    bool note_eof();
    void note_lost(error reason);
    void note_pause();
    void note_resume();
    void expect_open(moment when);
    /// Runs a copy of what a check put there: it may replace the very hook it is.
    void run(moment when) {
        if (const hook copy = at(when)) copy();
    }

  private:
    void expect_outside(moment when);
    void tell(const char* word);
    struct kept_lease {
        buffer_lease held;
        std::string came_with;
    };
    std::vector<kept_lease> kept_;
    std::shared_ptr<findings> found_;
};

std::shared_ptr<probe> make_probe(kind of, std::shared_ptr<findings> into);

/// What the body of a check gets.
class bench {
  public:
    bench(transport_maker& make, const conformance_options& chosen, kind receiver);
    bench(const bench&) = delete;
    bench& operator=(const bench&) = delete;
    /// Aborts what is still open; what comes after that is only recorded.
    ~bench();

    std::shared_ptr<findings> found = std::make_shared<findings>();
    std::string skipped;
    std::shared_ptr<probe> left, right;  // on the two ends
    std::shared_ptr<transport> near, far;
    std::vector<failure_report> reports;  // what went to the exception handler
    const conformance_options& options;
    const kind receiver;

    /// Makes the pair. What a check sets on the probes before, holds for connection_made.
    task<> connect();
    /// A finding unless `holds`.
    void expect(bool holds, std::string_view expected, std::string_view happened = {});
    /// Goes on once `holds`. The check ends with a finding when it does not within `patience`.
    task<> until(std::function<bool()> holds, std::string_view expected);
    /// Lets everything happen that may.
    task<> linger();
    /// Until both ends are lost.
    task<> until_both_lost();
    /// A finding unless `at` received exactly `sent`.
    void expect_received(const probe& at, std::string_view sent);
    /// Until `at` has received as much as `sent`, which must then be just that.
    task<> until_received(const probe& at, std::string_view sent);
    /// Stops the far end's reading and writes until the queue of the near end stays filled.
    ///
    /// Result  what was written.
    task<std::string> fill();
    /// A finding unless the lost one was lost without error.
    void expect_no_error(const probe& at);
    /// Puts a fresh probe in the place of the left one, which stays as it is.
    void replace_left(kind of);
    /// A finding unless exactly `count` failures were reported; forgets them.
    void expect_failures(std::size_t count, std::string_view of_what);
    /// Both stories, for a person.
    std::string stories() const;
    /// Ends the check as one that cannot be made here.
    void skip(std::string reason) { skipped = std::move(reason); }
    /// Both ends go, each is lost just once, and nobody is told of anything after it.
    task<> take_down();

  private:
    transport_maker& make_;
};

/// Takes the hooks off when a check ends, at whatever await that is. For checks whose hooks use its
/// locals.
struct hook_scope {
    ~hook_scope() {
        of.left->forget_hooks();
        of.right->forget_hooks();
    }
    bench& of;
};

/// Content that differs at every offset, by seed.
std::string random_text(std::size_t size, std::uint64_t seed = 1);

/// What a check needs to make sense.
enum need : unsigned {
    needs_nothing = 0,
    needs_write_eof = 1,
    needs_no_write_eof = 2,
    needs_buffered = 4,  // once, with buffered protocols
    needs_limits = 8,
    needs_pressure = 16,
    runs_once = 32,     // the kind of protocol does not matter
    needs_leases = 64,  // once, with lease protocols
};

/// One check, as a row of a table.
struct stream_check {
    std::string name;
    const char* rules;
    unsigned needs;
    std::function<task<>(bench&)> body;
};

// One table for each subject.
std::span<const stream_check> life_checks();
std::span<const stream_check> protocol_checks();
std::span<const stream_check> reading_checks();
std::span<const stream_check> lease_checks();
std::span<const stream_check> writing_checks();
std::span<const stream_check> pausing_checks();
std::span<const stream_check> ending_checks();

}  // namespace ouro::testing::detail
