// Checks of write limits: when the protocol is paused, and when it goes on.
#include <algorithm>
#include <cstdint>

#include <ouro/runtime/spawn.hpp>

#include "stream_check.hpp"

namespace ouro::testing::detail {
namespace {

using limits = std::pair<std::size_t, std::size_t>;

constexpr std::ptrdiff_t no_limit = PTRDIFF_MAX / 8;

void expect_limits(bench& on, limits low_and_high) {
    const limits got = on.near->get_write_buffer_limits();
    const auto text = [](limits of) {
        return std::to_string(of.first) + ", " + std::to_string(of.second);
    };
    on.expect(got == low_and_high, "the write limits are " + text(low_and_high), text(got));
}

task<> default_limits(bench& on) {
    co_await on.connect();
    expect_limits(on, {16 * 1024, 64 * 1024});
}

task<> derived_limits(bench& on) {
    co_await on.connect();
    on.near->set_write_buffer_limits(2000, 100);
    expect_limits(on, {100, 2000});
    on.near->set_write_buffer_limits(1003);
    expect_limits(on, {250, 1003});
    on.near->set_write_buffer_limits(-1, 100);
    expect_limits(on, {100, 400});
    on.near->set_write_buffer_limits(0);
    expect_limits(on, {0, 0});
    on.near->set_write_buffer_limits(500, 500);
    expect_limits(on, {500, 500});
    on.near->set_write_buffer_limits();
    expect_limits(on, {16 * 1024, 64 * 1024});
}

task<> invalid_limits(bench& on) {
    co_await on.connect();
    on.near->set_write_buffer_limits(2000, 100);
    constexpr std::pair<std::ptrdiff_t, std::ptrdiff_t> wrong[] = {
        {10, 11}, {0, 1}, {-5, 1}, {5, -7}, {-2, -2}};
    for (const auto [high, low] : wrong) {
        const std::error_code refused = on.near->set_write_buffer_limits(high, low);
        on.expect(refused == make_error_code(errc::value_error), "wrong limits are a value error",
                  std::to_string(high) + ", " + std::to_string(low) + ": " + refused.message());
        expect_limits(on, {100, 2000});
    }
}

/// Pauses strictly above high, once, from inside the write.
task<> pause_above_high(bench& on) {
    co_await on.connect();
    on.near->set_write_buffer_limits(no_limit, 0);
    std::string sent = co_await on.fill();
    on.expect(on.left->pauses == 0, "no pause below the high limit");
    const auto queued = std::ptrdiff_t(on.near->get_write_buffer_size());
    on.near->set_write_buffer_limits(queued + 10, 0);
    on.near->write("0123456789");
    on.expect(on.left->pauses == 0, "no pause at the high limit");
    on.near->write("!");
    on.expect(on.left->pauses == 1, "pause_writing comes inside the write that goes above high");
    on.near->write("?");
    on.expect(on.left->pauses == 1, "pause_writing comes once");
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent + "0123456789!?");
    co_await on.until([&] { return on.left->resumes == 1; }, "resume_writing comes");
}

task<> writelines_pauses_once(bench& on) {
    co_await on.connect();
    on.near->set_write_buffer_limits(no_limit, 0);
    const std::string sent = co_await on.fill();
    const auto queued = std::ptrdiff_t(on.near->get_write_buffer_size());
    const bytes pieces[] = {as_bytes("01234"), as_bytes("56789"), as_bytes("!")};
    on.near->set_write_buffer_limits(queued + 4, 0);
    std::size_t size_at_pause = 0;
    const hook_scope hooks{on};
    on.left->at(moment::pause) = [&] { size_at_pause = on.near->get_write_buffer_size(); };
    on.near->writelines(pieces);
    on.expect(on.left->pauses == 1, "writelines above the high limit pauses once");
    on.expect(size_at_pause == std::size_t(queued) + 11,
              "writelines queues all pieces before it pauses", std::to_string(size_at_pause));
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent + "0123456789!");
}

task<> new_limits(bench& on) {
    co_await on.connect();
    on.near->set_write_buffer_limits(no_limit, 0);
    const std::string sent = co_await on.fill();
    const auto queued = std::ptrdiff_t(on.near->get_write_buffer_size());
    on.near->set_write_buffer_limits(queued - 1, 0);
    on.expect(on.left->pauses == 1, "a high limit below the queued size pauses at once");
    on.near->set_write_buffer_limits(no_limit, no_limit);
    on.expect(on.left->resumes == 0, "higher limits do not resume by themselves");
    co_await on.linger();
    on.expect(on.left->resumes == 0, "higher limits do not resume by themselves");
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent);
    co_await on.until([&] { return on.left->resumes == 1; }, "resume_writing comes");
}

/// The last bytes are written while those before them leave: the queue gets short in small steps.
task<> resume_at_low(bench& on, std::size_t low_bytes) {
    co_await on.connect();
    on.near->set_write_buffer_limits(64 * 1024, std::ptrdiff_t(low_bytes));
    const std::string tail = random_text(low_bytes + 1000, 99);
    std::string sent = co_await on.fill();
    std::size_t queued = on.near->get_write_buffer_size();
    int tails = 0;
    const hook_scope hooks{on};
    on.left->at(moment::resume) = [&on, low_bytes] {
        const std::size_t left = on.left->link->get_write_buffer_size();
        on.expect(left <= low_bytes, "resume_writing comes at or below the low limit",
                  std::to_string(left) + " bytes are queued");
    };
    on.right->at(moment::data) = [&] {
        if (on.near->get_write_buffer_size() >= queued || !on.left->paused() || tails == 20) return;
        ++tails;
        on.near->write(tail);
        sent += tail;
        queued = on.near->get_write_buffer_size();
    };
    on.expect(on.left->pauses == 1 && on.left->resumes == 0, "a filled queue pauses the protocol");
    on.near->write(tail);
    sent += tail;
    on.far->resume_reading();
    co_await on.until([&] { return on.left->resumes > 0; }, "resume_writing comes");
    co_await on.until([&] { return on.right->data.size() >= sent.size(); }, "all of it arrives");
    on.expect_received(*on.right, sent);
}

/// A writer that waits while it is paused, as those with a `drain` do.
task<> obedient_writer(bench& on) {
    constexpr std::size_t piece_bytes = 50'000, high_bytes = 64 * 1024;
    co_await on.connect();
    if (on.options.write_limits) on.near->set_write_buffer_limits(high_bytes);
    const std::string sent = random_text(4 * on.options.large_bytes);
    std::size_t most_queued = 0;
    for (std::size_t at = 0; at < sent.size(); at += piece_bytes) {
        on.near->write(std::string_view(sent).substr(at, piece_bytes));
        most_queued = std::max(most_queued, on.near->get_write_buffer_size());
        co_await on.until([&] { return !on.left->paused(); }, "resume_writing comes");
    }
    co_await on.until_received(*on.right, sent);
    const std::size_t high = on.near->get_write_buffer_limits().second;
    on.expect(most_queued <= high + piece_bytes,
              "a protocol that obeys pause_writing keeps the queue short",
              std::to_string(most_queued) + " bytes were queued");
}

task<> resume_writes_again(bench& on) {
    constexpr int rounds = 4;
    co_await on.connect();
    std::string sent = co_await on.fill();
    const std::string more = random_text(on.options.large_bytes, 99);
    for (int round = 0; round < rounds; ++round) sent += more;
    on.left->at(moment::resume) = [&on, more] {
        if (on.left->resumes <= rounds) on.left->link->write(more);
    };
    on.far->resume_reading();
    co_await on.until_received(*on.right, sent);
    co_await on.until([&] { return !on.left->paused(); }, "the last pause ends with a resume");
}

task<> no_resume_after_abort(bench& on) {
    co_await on.connect();
    co_await on.fill();
    on.expect(on.left->paused(), "a filled queue pauses the protocol");
    on.near->abort();
    co_await on.until([&] { return on.left->lost(); }, "connection_lost comes");
    on.expect(on.left->resumes == 0, "an abort resumes nobody");
}

}  // namespace

std::span<const stream_check> pausing_checks() {
    static const stream_check table[] = {
        // rules 269, 272
        {"the default write limits", "269, 272", needs_limits | runs_once, default_limits},
        // rules 270, 272, 273
        {"a missing write limit follows from the other", "270, 272, 273", needs_limits | runs_once,
         derived_limits},
        // rule 271
        {"wrong write limits are refused", "271", needs_limits | runs_once, invalid_limits},
        // rules 274, 276, 277
        {"pause_writing comes strictly above high", "274, 276, 277", needs_limits | needs_pressure,
         pause_above_high},
        // rule 332
        {"writelines pauses once, after all pieces", "332", needs_limits | needs_pressure,
         writelines_pauses_once},
        // rules 278, 279
        {"new limits pause but never resume", "278, 279", needs_limits | needs_pressure,
         new_limits},
        // rules 273, 275
        {"resume_writing comes at or below low", "275, 276", needs_limits | needs_pressure,
         [](bench& on) { return resume_at_low(on, 1000); }},
        {"resume_writing comes at an empty queue when low is 0", "273, 275",
         needs_limits | needs_pressure, [](bench& on) { return resume_at_low(on, 0); }},
        // rules 275, 276
        {"a writer that waits while paused sends everything", "275, 276", needs_nothing,
         obedient_writer},
        // rule 281
        {"resume_writing may write until paused again", "276, 281", needs_pressure,
         resume_writes_again},
        // rules 283, 355
        {"nobody is resumed after abort", "283, 355", needs_pressure, no_resume_after_abort},
    };
    return table;
}

}  // namespace ouro::testing::detail
