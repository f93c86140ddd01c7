// The probes that check the order of callbacks, and the bench of one check.
#include "stream_check.hpp"

#include <algorithm>
#include <stdexcept>

#include <ouro/runtime/spawn.hpp>

namespace ouro::testing::detail {
namespace {

constexpr int busy_turns = 100;    // of polling before it takes time
constexpr int settling_turns = 8;  // what is ready reaches both ends in as many turns
constexpr std::size_t filled_bytes = 256 * 1024;  // that stay queued are a filled queue
constexpr int most_of_a_kind = 5;                 // findings, in one check
// What a buffered protocol finds in its memory while it lends it to nobody.
constexpr std::byte untouched{0xa5};

class streaming_probe final : public protocol,
                              public probe,
                              public std::enable_shared_from_this<streaming_probe> {
  public:
    using probe::probe;
    std::shared_ptr<base_protocol> as_protocol() override { return shared_from_this(); }
    void connection_made(std::shared_ptr<transport> on_link) override {
        note_made(std::move(on_link));
    }
    void data_received(bytes received) override { note_data(received); }
    bool eof_received() override { return note_eof(); }
    void connection_lost(error reason) override { note_lost(std::move(reason)); }
    void pause_writing() override { note_pause(); }
    void resume_writing() override { note_resume(); }
};

class leasing_probe final : public lease_protocol,
                            public probe,
                            public std::enable_shared_from_this<leasing_probe> {
  public:
    using probe::probe;
    std::shared_ptr<base_protocol> as_protocol() override { return shared_from_this(); }
    void connection_made(std::shared_ptr<transport> on_link) override {
        note_made(std::move(on_link));
    }
    void data_received(buffer_lease received) override { note_lease(std::move(received)); }
    bool eof_received() override { return note_eof(); }
    void connection_lost(error reason) override { note_lost(std::move(reason)); }
    void pause_writing() override { note_pause(); }
    void resume_writing() override { note_resume(); }
};

/// Besides, it checks that its memory is written only while it is lent (rules 320, 725).
class buffered_probe final : public buffered_protocol,
                             public probe,
                             public std::enable_shared_from_this<buffered_probe> {
  public:
    using probe::probe;
    ~buffered_probe() override { expect_untouched(); }
    std::shared_ptr<base_protocol> as_protocol() override { return shared_from_this(); }
    void connection_made(std::shared_ptr<transport> on_link) override {
        note_made(std::move(on_link));
    }
    mut_bytes get_buffer(std::ptrdiff_t hint) override {
        expect_open(moment::get_buffer);
        // rule 311
        if (hint != -1 && hint <= 0) {
            note("get_buffer gets a size or -1 as a hint", std::to_string(hint));
        }
        expect_untouched();
        run(moment::get_buffer);
        lent_ = true;
        lent_bytes_ = std::min(room_bytes, memory_.size());
        return mut_bytes(memory_).first(lent_bytes_);
    }
    void buffer_updated(std::size_t count) override {
        // rule 312
        if (!lent_) note("get_buffer comes before buffer_updated", "it did not");
        if (count > lent_bytes_) {
            return note("buffer_updated tells of no more bytes than were lent",
                        std::to_string(count) + " of " + std::to_string(lent_bytes_));
        }
        const std::vector<std::byte> received(memory_.begin(),
                                              memory_.begin() + std::ptrdiff_t(count));
        take_back();
        note_data(received);
    }
    bool eof_received() override { return note_eof(); }
    void connection_lost(error reason) override {
        take_back();
        note_lost(std::move(reason));
    }
    void pause_writing() override { note_pause(); }
    void resume_writing() override { note_resume(); }

  private:
    void take_back() {
        lent_ = false;
        std::fill(memory_.begin(), memory_.end(), untouched);
    }
    void expect_untouched() {
        const auto same = [](std::byte each) { return each == untouched; };
        if (lent_ || std::all_of(memory_.begin(), memory_.end(), same)) return;
        note("memory of the protocol is written only between get_buffer and buffer_updated",
             "it was written afterwards");
    }
    std::vector<std::byte> memory_ = std::vector<std::byte>(64 * 1024, untouched);
    std::size_t lent_bytes_ = 0;
    bool lent_ = false;
};

/// Hands out `seen`, once.
protocol_factory factory_of(std::shared_ptr<probe> seen) {
    return [seen = std::move(seen)]() mutable -> std::shared_ptr<base_protocol> {
        if (!seen) throw std::logic_error("a protocol factory was called a second time");
        return std::exchange(seen, nullptr)->as_protocol();
    };
}

}  // namespace

void add_finding(findings& to, std::string expected, std::string happened) {
    const auto same = [&](const conformance_finding& each) { return each.expected == expected; };
    if (std::ranges::count_if(to, same) >= most_of_a_kind) return;
    to.push_back({std::move(expected), std::move(happened)});
}

// ---- probes

std::shared_ptr<probe> make_probe(kind of, std::shared_ptr<findings> into) {
    if (of == kind::streaming) return std::make_shared<streaming_probe>(std::move(into));
    if (of == kind::leasing) return std::make_shared<leasing_probe>(std::move(into));
    return std::make_shared<buffered_probe>(std::move(into));
}

void probe::tell(const char* word) { story += (story.empty() ? "" : " ") + std::string(word); }

// rules 262, 263, 265
void probe::expect_open(moment when) {
    const std::string what(moment_names[static_cast<std::size_t>(when)]);
    if (!made) note("connection_made comes before everything else", name + ": " + what + " did");
    if (losses) {
        note("nothing comes after connection_lost", name + ": " + what + " after: " + story);
    }
    expect_outside(when);
}

// rules 266, 298, 358, 741
void probe::expect_outside(moment when) {
    if (!inside_call || when == moment::pause || when == moment::get_buffer) return;
    note("only pause_writing comes from inside a call of the transport",
         name + ": " + std::string(moment_names[static_cast<std::size_t>(when)]) + " did");
}

void probe::note_made(std::shared_ptr<transport> on_link) {
    if (!story.empty()) note("connection_made comes once, and first", name + ": after: " + story);
    expect_outside(moment::made);
    ++made;
    tell("made");
    if (keeps_link) link = std::move(on_link);
    run(moment::made);
}

void probe::note_data(bytes received) {
    expect_open(moment::data);
    if (eofs) note("no data comes after the end of stream", name + ": " + story + " data");
    if (received.empty()) note("data comes in pieces that are not empty", name + ": an empty one");
    if (++datas == 1 || !story.ends_with("data")) tell("data");
    most_bytes = std::max(most_bytes, received.size());
    data += as_text(received);
    run(moment::data);
}

void probe::note_lease(buffer_lease received) {
    if (keeps_leases) kept_.push_back({received.share(), std::string(as_text(received.view()))});
    fresh = std::move(received);
    note_data(fresh.view());
    fresh = {};
}

void probe::expect_leases_unchanged() {
    for (const kept_lease& each : kept_) {
        const std::string_view has = as_text(each.held.view());
        if (has == each.came_with) continue;
        const auto [here, there] =
            std::mismatch(has.begin(), has.end(), each.came_with.begin(), each.came_with.end());
        note("the bytes of a lease that is kept stay as they are",
             name + ": one of " + std::to_string(each.came_with.size()) +
                 " bytes has changed from offset " + std::to_string(here - has.begin()) + " on");
    }
}

void probe::drop_lease(std::size_t index) {
    std::swap(kept_[index], kept_.back());
    kept_.pop_back();
}

void probe::drop_leases() { kept_.clear(); }

bool probe::note_eof() {
    expect_open(moment::eof);
    if (++eofs > 1) note("eof_received comes at most once", name + ": after: " + story);
    tell("eof");
    run(moment::eof);
    return stays_open;
}

void probe::note_lost(error reason) {
    expect_open(moment::lost);
    ++losses;
    tell("lost");
    why = std::move(reason);
    run(moment::lost);
}

// rule 276
void probe::note_pause() {
    expect_open(moment::pause);
    if (paused()) note("pause_writing and resume_writing take turns", name + ": a second pause");
    ++pauses;
    tell("pause");
    run(moment::pause);
}

void probe::note_resume() {
    expect_open(moment::resume);
    if (!paused()) {
        note("pause_writing and resume_writing take turns", name + ": a resume without a pause");
    }
    ++resumes;
    tell("resume");
    run(moment::resume);
}

// ---- the bench

bench::bench(transport_maker& make, const conformance_options& chosen, kind of)
    : left(make_probe(of, found)),
      right(make_probe(of, found)),
      options(chosen),
      receiver(of),
      make_(make) {
    right->name = "right";
}

bench::~bench() {
    left->forget_hooks();
    right->forget_hooks();
    if (near) near->abort();
    if (far) far->abort();
    left->link.reset();
    right->link.reset();
}

task<> bench::connect() {
    auto ends = co_await make_(factory_of(left), factory_of(right));
    near = std::move(ends.first);
    far = std::move(ends.second);
    if (!near || !far) {
        expect(false, "the maker returns two transports", "one is null");
        co_await result<>(error(errc::invalid_state, "a pair of transports"));
    }
}

void bench::expect(bool holds, std::string_view expected, std::string_view happened) {
    if (holds) return;
    add_finding(*found, std::string(expected),
                happened.empty() ? stories() : std::string(happened));
}

std::string bench::stories() const { return "left: " + left->story + "; right: " + right->story; }

task<> bench::until(std::function<bool()> holds, std::string_view expected) {
    const auto deadline = loop::current().deadline_after(options.patience);
    for (int turn = 0; !holds(); ++turn) {
        if (loop::current().time() >= deadline) {
            expect(false, expected, "not within the patience of the suite; " + stories());
            co_await result<>(error(std::errc::timed_out, std::string(expected)));
        }
        if (turn < busy_turns) {
            co_await yield();
        } else {
            co_await sleep(std::chrono::milliseconds(1));
        }
    }
}

task<> bench::linger() {
    for (int turn = 0; turn < settling_turns; ++turn) co_await yield();
    co_await sleep(options.quiet_time);
    for (int turn = 0; turn < settling_turns; ++turn) co_await yield();
}

task<> bench::until_both_lost() {
    co_await until([this] { return left->lost() && right->lost(); },
                   "connection_lost comes on both ends");
}

void bench::expect_received(const probe& at, std::string_view sent) {
    if (at.data == sent) return;
    const auto [here, there] =
        std::mismatch(at.data.begin(), at.data.end(), sent.begin(), sent.end());
    expect(false,
           at.name + " receives the " + std::to_string(sent.size()) + " bytes that were sent",
           std::to_string(at.data.size()) + " bytes, which differ from offset " +
               std::to_string(here - at.data.begin()) + " on; " + stories());
}

task<> bench::until_received(const probe& at, std::string_view sent) {
    co_await until([&at, sent] { return at.data.size() >= sent.size(); },
                   at.name + " receives " + std::to_string(sent.size()) + " bytes");
    expect_received(at, sent);
}

task<std::string> bench::fill() {
    std::string sent;
    std::size_t piece_bytes = 64 * 1024;
    const std::size_t high = near->get_write_buffer_limits().second;
    const std::size_t enough = high < options.pressure_bytes / 2
                                   ? std::max(high, filled_bytes)
                                   : filled_bytes;  // somebody set it out of reach
    far->pause_reading();
    while (sent.size() < options.pressure_bytes) {
        const std::string piece = random_text(piece_bytes, sent.size() + 1);
        near->write(piece);
        sent += piece;
        piece_bytes = std::min<std::size_t>(2 * piece_bytes, 1024 * 1024);
        for (int turn = 0; turn < settling_turns; ++turn) co_await yield();
        const std::size_t queued = near->get_write_buffer_size();
        if (queued <= enough) continue;
        co_await linger();
        if (near->get_write_buffer_size() == queued) co_return sent;
    }
    expect(false, "the write queue grows while the peer does not read",
           std::to_string(sent.size()) + " bytes were written and " +
               std::to_string(near->get_write_buffer_size()) + " stayed");
    co_return error(errc::limit_overrun, "fill the write queue");
}

void bench::expect_no_error(const probe& at) {
    expect(!at.why, at.name + " is lost without an error", at.why ? at.why.message() : "");
}

void bench::replace_left(kind of) {
    auto next = make_probe(of, found);
    next->made = 1;
    next->story = "(set)";
    next->link = near;
    near->set_protocol(next->as_protocol());
    left->link.reset();
    left = std::move(next);
}

void bench::expect_failures(std::size_t count, std::string_view of_what) {
    std::string texts;
    std::size_t failures = 0;
    for (const failure_report& each : std::exchange(reports, {})) {
        if (each.level != severity::failure) continue;
        ++failures;
        texts += "; " + each.message + (each.error ? ": " + each.error.message() : "");
    }
    expect(failures == count,
           std::string(of_what) + ": the exception handler gets " + std::to_string(count) +
               " reports of failures",
           std::to_string(failures) + texts);
}

task<> bench::take_down() {
    for (const auto& each : {left, right}) {
        each->forget_hooks();
        each->inside_call = false;
    }
    if (near) near->abort();
    if (far) far->abort();
    // rule 264
    co_await until([this] { return left->losses >= left->made && right->losses >= right->made; },
                   "connection_lost comes for each connection that was made");
    co_await linger();
    for (const auto& each : {left, right}) {
        expect(each->losses == each->made, each->name + " is lost exactly once");
    }
    expect_failures(0, "at the end of the check");
}

std::string random_text(std::size_t size, std::uint64_t seed) {
    std::string text(size, '\0');
    std::uint64_t state = seed * 0x9e3779b97f4a7c15U + 1;
    for (char& each : text) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        each = static_cast<char>(state >> 32);
    }
    return text;
}

}  // namespace ouro::testing::detail
